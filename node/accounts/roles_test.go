package accounts

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRolesImplyNothing checks every set of roles that can be given against what the user is found to have, here and after
// reading the file anew: each role is there exactly when it was given, and the flags are those of the original protocol.
func TestRolesImplyNothing(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	for set := range allRoles + 1 {
		if set.Has(Pusher) {
			continue
		}
		changed, err := a.ChangeRoles(ctx, "bob", set, allRoles&^set&^Pusher)
		must(t, err)
		fresh, err := Open(dir, Options{})
		must(t, err)
		read, err := fresh.User(ctx, "bob")
		must(t, errors.Join(err, fresh.Close()))
		if changed.Roles() != set || read.Roles() != set {
			t.Errorf("given %v: has %v, and in the file %v", set, changed.Roles(), read.Roles())
		}
		want := Flags(0)
		if set.Has(Admin) {
			want = Administrator
		}
		if read.Flags != want {
			t.Errorf("given %v: flags %v, want %v", set, read.Flags, want)
		}
	}
}

// TestRolesAreFlags: the original's administrators and replicators have those roles and no others.
func TestRolesAreFlags(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	must(t, a.Initialise(ctx, "root", "pw"))
	must(t, a.Add(ctx, "anna", "pw", Administrator))
	must(t, a.Add(ctx, "bob", "pw", 0))
	must(t, a.AddReplicator(ctx, "north", "pw", []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}))
	must(t, a.Import(ctx, []Imported{{Name: "old", Flags: Administrator, Hash: LegacyHash(strings.Repeat("0", 72))}}))
	for name, want := range map[string]Roles{"root": Admin, "anna": Admin, "bob": 0, "north": Pusher, "old": Admin} {
		u, err := a.User(ctx, name)
		must(t, err)
		if u.Roles() != want {
			t.Errorf("%s: roles %v, want %v", name, u.Roles(), want)
		}
	}
	u, err := a.ChangeRoles(ctx, "north", Desk, 0) // an original server may be a desk
	must(t, err)
	if u.Roles() != Desk|Pusher || u.Flags != Replicator || len(u.From) != 1 {
		t.Errorf("a replicator with a desk: %+v", u)
	}
}

// TestRolesRefused checks what cannot be asked, and that nothing is changed by asking.
func TestRolesRefused(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	must(t, a.AddReplicator(ctx, "north", "pw", []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}))
	before, err := os.ReadFile(filepath.Join(dir, File))
	must(t, err)
	for _, c := range []struct {
		name       string
		give, take Roles
		want       error
	}{
		{"nobody", Desk, 0, ErrNoUser},
		{"../bob", Desk, 0, ErrNoUser},
		{"bob", Desk, Desk, ErrRoles},
		{"bob", Pusher, 0, ErrRoles},
		{"bob", Desk | Pusher, 0, ErrRoles},
		{"bob", 1 << 7, 0, ErrRoles},
		{"bob", 0, 1 << 7, ErrRoles},
		{"north", 0, Pusher, ErrRoles},
		{"north", Admin, 0, ErrRoles},
	} {
		if _, err := a.ChangeRoles(ctx, c.name, c.give, c.take); !errors.Is(err, c.want) {
			t.Errorf("%s +%v -%v: %v, want %v", c.name, c.give, c.take, err, c.want)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, File))
	must(t, err)
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("the file changed: %s", diff)
	}
}

// TestRolesEndSessions: the generation changes with the roles, and with nothing else that was asked.
func TestRolesEndSessions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	must(t, a.Add(ctx, "bob", "pw", 0))
	seen := map[uint64]bool{generation(t, a, "bob"): true}
	for i, c := range []struct {
		give, take Roles
		ends       bool
	}{{Desk, 0, true}, {Desk, 0, false}, {0, Officer, false}, {Officer, Desk, true}, {Admin, 0, true}, {0, Admin, true}, {0, 0, false}} {
		before := generation(t, a, "bob")
		u, err := a.ChangeRoles(ctx, "bob", c.give, c.take)
		must(t, err)
		now := generation(t, a, "bob")
		if u.Generation != now {
			t.Errorf("change %d: returned generation %d, want %d", i, u.Generation, now)
		}
		if c.ends && seen[now] || !c.ends && now != before {
			t.Errorf("change %d, +%v -%v: generation %d after %d", i, c.give, c.take, now, before)
		}
		seen[now] = true
	}
}

// TestRolesInFile: a file with other roles than pyvnode writes is refused as a whole; one without any is read as ever.
func TestRolesInFile(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	file := filepath.Join(dir, File)
	plain, err := os.ReadFile(file)
	must(t, err)
	if strings.Contains(string(plain), "roles") {
		t.Errorf("a user without roles: %s", plain)
	}
	_, err = a.ChangeRoles(ctx, "bob", Desk|Officer, 0)
	must(t, err)
	raw, err := os.ReadFile(file)
	must(t, err)
	const written = `"roles":["officer","desk"]`
	if !strings.Contains(string(raw), written) {
		t.Fatalf("no %s in %s", written, raw)
	}
	for _, bad := range []string{`"roles":["king"]`, `"roles":["desk","desk"]`, `"roles":["admin"]`, `"roles":["replicator"]`, `"roles":"desk"`, `"roles":4`, `"roles":[4]`} {
		if _, err := parse([]byte(strings.Replace(string(raw), written, bad, 1))); err == nil {
			t.Errorf("a file with %s is taken", bad)
		}
	}
	if _, err := parse(plain); err != nil {
		t.Errorf("a file without roles: %v", err)
	}
}
