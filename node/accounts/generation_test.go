package accounts

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
)

// anyGeneration leaves out of a comparison what is random.
var anyGeneration = cmpopts.IgnoreFields(User{}, "Generation")

// generation returns a user's generation.
func generation(t *testing.T, a *Accounts, name string) uint64 {
	t.Helper()
	u, err := a.User(t.Context(), name)
	must(t, err)
	return u.Generation
}

// TestGeneration is another number after everything that must end what a user began, and the same after everything else: his
// logins, which hash the password anew, his codes and his image.
func TestGeneration(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Initialise(ctx, "admin", "1234"))
	must(t, a.Import(ctx, []Imported{{Name: "bob", Hash: LegacyHash(strings.Repeat("0", 72))}}))
	must(t, a.SetPassword(ctx, "bob", "pw"))
	seen := map[uint64]string{0: "no generation"}
	fresh := func(change string) {
		t.Helper()
		now := generation(t, a, "bob")
		if before, known := seen[now]; known {
			t.Errorf("after %s: the generation is that after %s", change, before)
		}
		if now >= 1<<53 {
			t.Errorf("after %s: %d is more than a program that reads JSON keeps", change, now)
		}
		seen[now] = change
	}
	same := func(change string) {
		t.Helper()
		if now := generation(t, a, "bob"); len(seen[now]) == 0 {
			t.Errorf("after %s: another generation", change)
		}
	}
	fresh("import and a password")
	must(t, a.SetPassword(ctx, "bob", "pw"))
	fresh("the same password once more")
	must(t, a.SetDisabled(ctx, "bob", true))
	fresh("disabling")
	must(t, a.SetDisabled(ctx, "bob", true))
	same("disabling again")
	must(t, a.SetDisabled(ctx, "bob", false))
	fresh("enabling")
	_, err := a.Enrol(ctx, "bob")
	must(t, err)
	fresh("a second factor")
	_, err = a.Enrol(ctx, "bob")
	must(t, err)
	fresh("another second factor")
	_, err = a.QRImage(ctx, "bob", false)
	must(t, err)
	same("the image")
	want(t, "a wrong code", a.VerifyCode(ctx, "bob", "000", netip.Addr{}), ErrBadCode)
	must(t, login(t, a, "bob", "pw"))
	same("a login")
	must(t, a.Delete(ctx, "bob"))
	must(t, a.Add(ctx, "bob", "pw", 0))
	fresh("being made anew")

	other, _ := open(t, dir)
	if generation(t, other, "bob") != generation(t, a, "bob") {
		t.Error("another process sees another generation")
	}
	// Imported users log in with the original's hash, which is replaced by a better one then.
	const hash = LegacyHash("bb091c69c01e4b5087b03da6d6931fa3baa630f2f21f255c6ecd0a53815e4dd5abcdef01") // of pw9
	must(t, a.Import(ctx, []Imported{{Name: "eve", Hash: hash}}))
	before := generation(t, a, "eve")
	must(t, login(t, a, "eve", "pw9"))
	if before == 0 || generation(t, a, "eve") != before {
		t.Error("a first login after import is another generation")
	}
}

// TestChangePassword is for a user as he logged in, and for nobody who has his name since.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	must(t, a.Add(ctx, "bob", "pw", 0))
	bob, err := a.User(ctx, "bob")
	must(t, err)
	changed, err := a.ChangePassword(ctx, bob, "pw2")
	must(t, err)
	if changed.Generation == bob.Generation || changed.Generation != generation(t, a, "bob") {
		t.Errorf("it was %d, is %d, and %d was returned", bob.Generation, generation(t, a, "bob"), changed.Generation)
	}
	_, err = a.ChangePassword(ctx, bob, "pw3")
	want(t, "from before", err, ErrNoUser)
	must(t, login(t, a, "bob", "pw2"))
	_, err = a.ChangePassword(ctx, changed, "")
	want(t, "empty", err, ErrPassword)
}

// TestWithoutGeneration reads a file of an earlier version, whose users have none until they are changed.
func TestWithoutGeneration(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	raw, err := os.ReadFile(filepath.Join(dir, File))
	must(t, err)
	var doc map[string]any
	must(t, json.Unmarshal(raw, &doc))
	delete(doc["users"].([]any)[0].(map[string]any), "generation")
	raw, err = json.Marshal(doc)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, File), raw, 0o600))
	old, _ := open(t, dir)
	if generation(t, old, "bob") != 0 {
		t.Error("made up")
	}
	must(t, old.SetPassword(ctx, "bob", "pw2"))
	if generation(t, old, "bob") == 0 {
		t.Error("none after a change")
	}
}

// TestKeepAdministrator keeps the last administrator who may log in, where the rule is asked for.
func TestKeepAdministrator(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	must(t, a.Add(ctx, "anna", "pw", Administrator))
	must(t, a.Add(ctx, "bert", "pw", Administrator))
	must(t, a.Add(ctx, "carl", "pw", 0))
	must(t, a.SetDisabled(ctx, "carl", true, KeepAdministrator))
	must(t, a.SetDisabled(ctx, "anna", true, KeepAdministrator))
	want(t, "disable the last", a.SetDisabled(ctx, "bert", true, KeepAdministrator), ErrLastAdministrator)
	want(t, "delete the last", a.Delete(ctx, "bert", KeepAdministrator), ErrLastAdministrator)
	must(t, a.Delete(ctx, "anna", KeepAdministrator)) // she could do nothing
	must(t, a.SetDisabled(ctx, "bert", false, KeepAdministrator))
	must(t, a.SetDisabled(ctx, "bert", true)) // the operator
}

// TestImportEach takes those whom it can, says why not the others, and writes the file once or, with nobody new, not at all.
func TestImportEach(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	writes := 0
	write := a.file.write
	a.file.write = func(file string, data []byte, mode fs.FileMode) error {
		writes++
		return write(file, data, mode)
	}
	hash := func(digit string) LegacyHash { return LegacyHash(strings.Repeat(digit, 72)) }
	must(t, a.Add(ctx, "here", "pw", 0))
	all := []Imported{
		{Name: "anna", Flags: Initial | Administrator, Hash: hash("1")}, {Name: "here", Hash: hash("2")}, {Name: "x/y", Hash: hash("3")},
		{Name: "bert", Flags: Initial, Hash: hash("4")}, {Name: "carl", Hash: "short"}, {Name: "dora", Flags: Disabled, Hash: hash("5")},
	}
	for run, wants := range [][]error{
		{nil, ErrUserExists, ErrUserName, ErrHasInitial, errHash, nil},
		{ErrImported, ErrUserExists, ErrUserName, ErrHasInitial, errHash, ErrImported},
	} {
		each, err := a.ImportEach(ctx, all)
		must(t, err)
		for i, w := range wants {
			if !errors.Is(each[i], w) || (w == nil) != (each[i] == nil) {
				t.Errorf("run %d, %s: %v, want %v", run, all[i].Name, each[i], w)
			}
		}
	}
	if users, err := a.Users(ctx); err != nil || len(users) != 3 || writes != 2 {
		t.Errorf("%v, %v, %d writes", users, err, writes)
	}
}
