package accounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyvnode/ledger/store"
)

// TestMain makes hashing cheap: it is what all tests would wait for.
func TestMain(m *testing.M) {
	todaysWork = work{memory: 64, time: 1, threads: 1}
	m.Run()
}

var (
	home      = netip.MustParseAddr("192.0.2.1")
	elsewhere = netip.MustParseAddr("198.51.100.7")
)

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// open opens the users of a directory in a time of their own.
func open(t *testing.T, dir string) (*Accounts, *clock) {
	t.Helper()
	c := newClock()
	a, err := Open(dir, Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, a.Close()) })
	return a, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func login(t *testing.T, a *Accounts, name, password string) error {
	_, err := a.Authenticate(t.Context(), name, password, home)
	return err
}

// TestUsers goes through the life of users, as the original's commands do.
func TestUsers(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "data")
	a, _ := open(t, dir)
	if users, err := a.Users(ctx); err != nil || len(users) != 0 {
		t.Errorf("at first %v, %v", users, err)
	}
	want(t, "login before there are users", login(t, a, "admin", "1234"), ErrNoUser)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made the directory: %v", err)
	}

	must(t, a.Initialise(ctx, "admin", "1234"))
	want(t, "second initial user", a.Initialise(ctx, "admin2", "1234"), ErrHasInitial)
	must(t, a.Add(ctx, "bob", "pw1", 0))
	must(t, a.Add(ctx, "carol", "pw3", Administrator))
	want(t, "bob twice", a.Add(ctx, "bob", "pw2", 0), ErrUserExists)
	want(t, "another initial", a.Add(ctx, "eve", "pw2", Initial), ErrFlags)
	want(t, "a replicator from everywhere", a.Add(ctx, "eve", "pw2", Replicator), ErrFlags)
	want(t, "unknown flag", a.Add(ctx, "eve", "pw2", 16), ErrFlags)
	want(t, "no password", a.Add(ctx, "eve", "", 0), ErrPassword)
	want(t, "long password", a.Add(ctx, "eve", strings.Repeat("x", MaxPassword+1), 0), ErrPassword)

	must(t, login(t, a, "admin", "1234"))
	must(t, login(t, a, "bob", "pw1"))
	want(t, "wrong password", login(t, a, "bob", "pw2"), ErrBadPassword)
	want(t, "empty password", login(t, a, "bob", ""), ErrBadPassword)
	want(t, "capital letter", login(t, a, "Bob", "pw1"), ErrNoUser)
	want(t, "no name", login(t, a, "../bob", "pw1"), ErrNoUser)

	must(t, a.SetPassword(ctx, "bob", "pw9"))
	want(t, "old password", login(t, a, "bob", "pw1"), ErrBadPassword)
	must(t, login(t, a, "bob", "pw9"))
	want(t, "password of nobody", a.SetPassword(ctx, "nobody", "x"), ErrNoUser)
	want(t, "empty new password", a.SetPassword(ctx, "bob", ""), ErrPassword)

	must(t, a.SetDisabled(ctx, "bob", true))
	want(t, "disabled", login(t, a, "bob", "pw9"), ErrDisabled)
	want(t, "disabled, wrong password", login(t, a, "bob", "x"), ErrBadPassword)
	if u, err := a.User(ctx, "bob"); err != nil || u.Flags != Disabled {
		t.Errorf("disabled: %v, %v", u, err)
	}
	must(t, a.SetDisabled(ctx, "bob", false))
	must(t, login(t, a, "bob", "pw9"))
	want(t, "disable nobody", a.SetDisabled(ctx, "nobody", true), ErrNoUser)

	want(t, "delete the initial user", a.Delete(ctx, "admin"), ErrInitialUser)
	want(t, "delete nobody", a.Delete(ctx, "nobody"), ErrNoUser)
	must(t, a.Delete(ctx, "bob"))
	want(t, "deleted", login(t, a, "bob", "pw9"), ErrNoUser)

	again, _ := open(t, dir)
	users, err := again.Users(ctx)
	must(t, err)
	wantUsers := []User{{Name: "admin", Flags: Initial | Administrator}, {Name: "carol", Flags: Administrator}}
	if d := cmp.Diff(wantUsers, users, anyGeneration); d != "" {
		t.Error(d)
	}
	must(t, login(t, again, "carol", "pw3"))
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("files %v, %v", names, err)
	}
}

func TestReplicator(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	from := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	must(t, a.AddReplicator(ctx, "north", "secret", from))
	for _, c := range []struct {
		from string
		want error
	}{
		{"192.0.2.77", nil},
		{"::ffff:192.0.2.77", nil},
		{"2001:db8::1", nil},
		{"2001:db8::1%eth0", nil},
		{"192.0.3.1", ErrAddress},
		{"2001:db9::1", ErrAddress},
		{"127.0.0.1", ErrAddress},
	} {
		_, err := a.Authenticate(ctx, "north", "secret", netip.MustParseAddr(c.from))
		if !errors.Is(err, c.want) {
			t.Errorf("from %s: %v, want %v", c.from, err, c.want)
		}
	}
	_, err := a.Authenticate(ctx, "north", "wrong", netip.MustParseAddr("192.0.3.1"))
	want(t, "wrong password from elsewhere, of which nothing is said", err, ErrAddress)
	_, err = a.Authenticate(ctx, "north", "secret", netip.Addr{})
	want(t, "from nowhere", err, ErrAddress)
	_, err = a.Enrol(ctx, "north")
	want(t, "second factor", err, ErrNoSecondFactor)
	u, err := a.User(ctx, "north")
	if d := cmp.Diff(User{Name: "north", Flags: Replicator, From: from}, u, anyGeneration, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" || err != nil {
		t.Error(d, err)
	}

	for _, bad := range [][]netip.Prefix{
		nil,
		{{}},
		{netip.MustParsePrefix("192.0.2.1/24")},
		{netip.MustParsePrefix("::ffff:192.0.2.0/120")},
		slices.Repeat(from[:1], MaxPrefixes+1),
	} {
		want(t, fmt.Sprint(bad), a.AddReplicator(ctx, "south", "secret", bad), ErrFlags)
	}
}

// TestNames checks what may be a name, and that a name is the same in each of its forms.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"admin", "a b", "o'neill", `"q"`, "x,y", "100%", "Ünal", "Влад", "山田太郎", "אבי", "مریم\u200cسادات", "क्\u200dष", "zoë@example.org", "👩", strings.Repeat("é", MaxName), "...",
	} {
		if got, err := NormalName(good); err != nil || got != good {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "a/b", `a\b`, "a\x00b", "a\nb", "a\x7fb", "\x80", "a\xffb", "a\ufffdb", " a", "a ", "a\u00a0b", "a\u202eb", "a\u200bb", "a\ue000b",
		strings.Repeat("é", MaxName+1), strings.Repeat("x", 1<<20),
	} {
		if got, err := NormalName(bad); !errors.Is(err, ErrUserName) || len(err.Error()) > 200 {
			t.Errorf("%.80q: %q, %.300v", bad, got, err)
		}
	}
	ctx := t.Context()
	a, _ := open(t, t.TempDir())
	must(t, a.Add(ctx, "zoe\u0308", "mot de passe\u0301", 0))
	want(t, "the other form", a.Add(ctx, "zo\u00eb", "x", 0), ErrUserExists)
	must(t, login(t, a, "zo\u00eb", "mot de pass\u00e9"))
	must(t, login(t, a, "zoe\u0308", "mot de passe\u0301"))
}

// TestImport takes over a user of the original server: its data directory in legacy/testdata has this one, admin with the
// password 1234.
func TestImport(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	admin := Imported{Name: "admin", Flags: Initial | Administrator, Hash: originalsHash}
	bad := admin
	bad.Name, bad.Hash = "bob", originalsHash[:71]
	if err := a.Import(ctx, []Imported{admin, bad}); err == nil || strings.Contains(err.Error(), string(originalsHash[:8])) {
		t.Errorf("damaged hash: %v", err)
	}
	want(t, "all or none", login(t, a, "admin", "1234"), ErrNoUser)
	bob := admin
	bob.Name = "bob"
	want(t, "two initial users", a.Import(ctx, []Imported{admin, bob}), ErrHasInitial)
	bob.Flags = Replicator
	want(t, "replicator", a.Import(ctx, []Imported{admin, bob}), ErrFlags)
	bob.Flags = 0
	must(t, a.Import(ctx, []Imported{admin, bob}))
	want(t, "again", a.Import(ctx, []Imported{admin}), ErrUserExists)

	file := filepath.Join(dir, File)
	if raw, err := os.ReadFile(file); err != nil || strings.Count(string(raw), "$pyvserv$") != 2 {
		t.Errorf("imported: %s, %v", raw, err)
	}
	want(t, "wrong password", login(t, a, "admin", "12345"), ErrBadPassword)
	// Many log in at once, and only one of them finds the old hash in the file in the end.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := login(t, a, "admin", "1234"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	raw, err := os.ReadFile(file)
	if err != nil || strings.Count(string(raw), "$pyvserv$") != 1 || strings.Count(string(raw), "$argon2id$v=19$m=64,t=1,p=1$") != 1 {
		t.Errorf("after login: %s, %v", raw, err)
	}
	must(t, login(t, a, "admin", "1234"))
	if again, err := os.ReadFile(file); err != nil || string(again) != string(raw) {
		t.Errorf("hashed again: %s, %v", again, err)
	}
}

// originalsHash is what the original server's passwd.secret has of the password 1234.
const originalsHash LegacyHash = "ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe23409638ff15"

// TestRehash hashes anew what was hashed with other parameters than today's.
func TestRehash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := parsedHash{work: work{memory: 32, time: 1, threads: 2}, salt: []byte("12345678")}
	old.key = old.work.key("pass", old.salt, 16)
	writeUsers(t, dir, &account{Name: "bob", Password: old.text()})
	a, _ := open(t, dir)
	want(t, "wrong password", login(t, a, "bob", "Pass"), ErrBadPassword)
	must(t, login(t, a, "bob", "pass"))
	u, err := a.find("bob")
	must(t, err)
	if p, err := parseHash(u.Password); err != nil || p.outdated() {
		t.Errorf("still %+v, %v", p.work, err)
	}
	must(t, login(t, a, "bob", "pass"))
	stale := *u
	stale.Password = old.text()
	a.rehash(t.Context(), &stale, newHash("stale"))
	must(t, login(t, a, "bob", "pass"))

	// A file that cannot be written does not keep anybody out.
	writeUsers(t, dir, &account{Name: "bob", Password: old.text()})
	must(t, os.Remove(filepath.Join(dir, LockFile)))
	must(t, os.Mkdir(filepath.Join(dir, LockFile), 0o700))
	must(t, login(t, a, "bob", "pass"))
	must(t, login(t, a, "bob", "pass"))
}

func writeUsers(t *testing.T, dir string, users ...*account) {
	t.Helper()
	byName := map[string]*account{}
	for _, u := range users {
		byName[u.Name] = u
	}
	raw, err := newTable(byName).encode()
	must(t, err)
	must(t, store.WriteFileAtomic(filepath.Join(dir, File), raw, 0o600))
}

// TestManyAtOnce changes one file through several Accounts, as several processes do: nothing gets lost, and all see it.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	const openers, each = 4, 25
	var all [openers]*Accounts
	for i := range all {
		all[i], _ = open(t, dir)
	}
	weak := (&parsedHash{work: work{memory: 8, time: 1, threads: 1}, salt: []byte("12345678"), key: make([]byte, minKey)}).text()
	var wg sync.WaitGroup
	for i, a := range all {
		for half := range 2 {
			wg.Go(func() {
				for j := range each {
					name := fmt.Sprintf("%d-%d-%d", i, half, j)
					err := a.file.change(ctx, func(users map[string]*account) error {
						users[name] = &account{Name: name, Password: weak}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					if j%2 == 0 {
						err = a.SetDisabled(ctx, name, true)
					} else {
						err = a.Delete(ctx, name)
					}
					if err != nil {
						t.Error(err)
					}
					if _, err := a.User(ctx, name); (err == nil) != (j%2 == 0) {
						t.Errorf("own change is not seen: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, a := range all {
		users, err := a.Users(ctx)
		if err != nil || len(users) != openers*2*(each+1)/2 {
			t.Fatalf("%d users, %v", len(users), err)
		}
		for _, u := range users {
			if !u.Flags.Has(Disabled) {
				t.Errorf("%s lost a change", u.Name)
			}
		}
	}
}

// TestFailedWrite leaves the users as they were when the file cannot be replaced, and goes on when it can. Where the file was replaced but
// perhaps not for good, what it says counts.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	file := filepath.Join(dir, File)
	before, err := os.ReadFile(file)
	must(t, err)
	full := errors.New("disk full")

	a.file.write = func(file string, data []byte, _ fs.FileMode) error { // as a crash leaves it
		return errors.Join(full, os.WriteFile(file+".123", data[:len(data)/2], 0o600))
	}
	want(t, "no room", a.SetPassword(ctx, "bob", "other"), full)
	want(t, "no room", a.Add(ctx, "eve", "pw", 0), full)
	if _, err := a.Enrol(ctx, "bob"); !errors.Is(err, full) {
		t.Errorf("enrolled: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("changed: %s, %v", after, err)
	}
	must(t, login(t, a, "bob", "pw"))

	a.file.write = func(file string, data []byte, mode fs.FileMode) error {
		return errors.Join(store.WriteFileAtomic(file, data, mode), full)
	}
	want(t, "not durable", a.SetPassword(ctx, "bob", "other"), full)
	must(t, login(t, a, "bob", "other"))

	a.file.write = store.WriteFileAtomic
	must(t, a.SetPassword(ctx, "bob", "third"))
	must(t, login(t, a, "bob", "third"))
}

// TestFull writes no file that it would not read.
func TestFull(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	before, err := os.ReadFile(filepath.Join(dir, File))
	must(t, err)
	many := make([]Imported, MaxUsers)
	for i := range many {
		many[i] = Imported{Name: fmt.Sprint("user", i), Hash: originalsHash}
	}
	want(t, "one too many", a.Import(ctx, many), ErrTooMany)
	long := slices.Repeat([]netip.Prefix{netip.MustParsePrefix("2001:db8:1111:2222:3333:4444:5555:6666/128")}, MaxPrefixes)
	err = a.file.change(ctx, func(users map[string]*account) error {
		for i := range 30_000 {
			name := fmt.Sprint("user", i)
			users[name] = &account{Name: name, Flags: Replicator, Password: users["bob"].Password, From: long}
		}
		return nil
	})
	want(t, "file too long", err, ErrTooMany)
	if after, err := os.ReadFile(filepath.Join(dir, File)); err != nil || string(after) != string(before) {
		t.Errorf("changed: %v", err)
	}
	must(t, login(t, a, "bob", "pw"))
}

// TestDamaged refuses files that others can read or that are not as they should be, when they are opened and when they
// become so.
func TestDamaged(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	file := filepath.Join(dir, File)
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	good, err := os.ReadFile(file)
	must(t, err)
	must(t, login(t, a, "bob", "pw"))
	if runtime.GOOS != "windows" {
		must(t, os.Chmod(file, 0o640))
		var wide *store.PermissionError
		if err := login(t, a, "bob", "pw"); !errors.As(err, &wide) || wide.Path != file {
			t.Errorf("readable by others: %v", err)
		}
		if _, err := Open(dir, Options{}); !errors.As(err, &wide) {
			t.Errorf("readable by others: %v", err)
		}
		if err := a.SetPassword(ctx, "bob", "pw2"); !errors.As(err, &wide) {
			t.Errorf("readable by others: %v", err)
		}
		must(t, os.Chmod(file, 0o600))
		must(t, login(t, a, "bob", "pw"))
	}
	user := string(good[strings.Index(string(good), "\n")+1 : strings.LastIndex(string(good), "\n]")])
	with := func(line string) string { return strings.Replace(string(good), user, line, 1) }
	edit := func(old, fresh string) string {
		if !strings.Contains(user, old) {
			t.Fatalf("no %q in %s", old, user)
		}
		return with(strings.Replace(user, old, fresh, 1))
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "cut off"},
		"cut":             {string(good[:len(good)/2]), "cut off"},
		"text":            {"hello", "not JSON from byte 1 on"},
		"list":            {"[]", "not as pyvnode writes it"},
		"other format":    {strings.Replace(string(good), fileFormat, "other", 1), "not as pyvnode writes it"},
		"newer":           {strings.Replace(string(good), `"version":1`, `"version":2`, 1), "use a newer one"},
		"version 0":       {strings.Replace(string(good), `"version":1`, `"version":0`, 1), "not as pyvnode writes it"},
		"more":            {string(good) + "{}", "more behind its end"},
		"twice":           {with(user + "," + user), "twice"},
		"null":            {with("null"), "not as pyvnode writes it"},
		"unknown field":   {edit(`"flags"`, `"x":1,"flags"`), "not as pyvnode writes it"},
		"flags":           {edit(`"flags":0`, `"flags":16`), "no such kind of user"},
		"big flags":       {edit(`"flags":0`, `"flags":256`), "not as pyvnode writes it"},
		"two initial":     {with(strings.Replace(user, `"flags":0`, `"flags":3`, 1) + "," + strings.NewReplacer(`"flags":0`, `"flags":3`, "bob", "bib").Replace(user)), "two initial users"},
		"name":            {edit("bob", ".."), "no user name"},
		"name's form":     {edit("bob", "zoe\u0308"), "no user name in its normal form"},
		"hash":            {edit("$argon2id$", "$argon2i$"), "hash is damaged"},
		"much memory":     {edit("m=64", "m=65537"), "hash is damaged"},
		"no memory":       {edit("m=64", "m=7"), "hash is damaged"},
		"much time":       {edit("t=1", "t=17"), "hash is damaged"},
		"no time":         {edit("t=1", "t=0"), "hash is damaged"},
		"no threads":      {edit("p=1", "p=0"), "hash is damaged"},
		"version of hash": {edit("v=19", "v=16"), "hash is damaged"},
		"written so":      {edit("m=64", "m=+64"), "hash is damaged"},
		"prefix":          {edit(`"flags":0`, `"from":["10.0.0.0/8"],"flags":0`), "only replicators"},
		"replicator":      {edit(`"flags":0`, `"flags":8`), "needs the addresses"},
		"bad prefix":      {edit(`"flags":0`, `"from":["ten"],"flags":8`), "not as pyvnode writes it"},
		"second factor":   {edit(`"flags":0`, `"second_factor":{"secret":"ABC"},"flags":0`), "second factor is damaged"},
		"second of both":  {edit(`"flags":0`, `"second_factor":{"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"from":["10.0.0.0/8"],"flags":8`), "no second factor"},
		"large":           {string(good) + strings.Repeat(" ", MaxFile), "longer than"},
	} {
		must(t, os.WriteFile(file, []byte(c.text), 0o600))
		err := login(t, a, "bob", "pw")
		var bad *FileError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || bad.Path != file {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err := a.Add(ctx, "eve", "pw", 0); !errors.As(err, &bad) {
			t.Errorf("%s: written over: %v", name, err)
		}
		if _, err := Open(dir, Options{}); !errors.As(err, &bad) {
			t.Errorf("%s: opened: %v", name, err)
		}
	}
	must(t, os.WriteFile(file, good, 0o600))
	must(t, login(t, a, "bob", "pw"))
	must(t, os.Remove(file))
	want(t, "without the file", login(t, a, "bob", "pw"), ErrNoUser)
}

// TestNoticed sees a change in the file whatever hides it: the same length, the same time, and where the file system uses
// them again at once, even the inode of the file before the last.
func TestNoticed(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, _ := open(t, dir)
	writer, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "pw", 0))
	old := time.Now().Add(-time.Hour)
	set := func(disabled bool) {
		must(t, writer.SetDisabled(ctx, "bob", disabled))
		must(t, os.Chtimes(filepath.Join(dir, File), old, old))
	}
	for i := range 50 {
		disabled := i%2 == 0
		if set(disabled); i%3 > 0 {
			set(disabled)
		}
		if u, err := a.User(ctx, "bob"); err != nil || u.Flags.Has(Disabled) != disabled {
			t.Fatalf("change %d was not seen: %v, %v", i, u, err)
		}
	}
}

// TestChangedMeanwhile changes a password while it is compared: the new one counts.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, c := open(t, dir)
	other, _ := open(t, dir)
	must(t, a.Add(ctx, "bob", "old", 0))
	calls := 0
	a.opts.Now = func() time.Time {
		if calls++; calls == 2 { // the turn has come, and the user is read
			must(t, other.SetPassword(ctx, "bob", "new"))
		}
		return c.Now()
	}
	want(t, "old password", login(t, a, "bob", "old"), ErrBadPassword)
	calls = 0
	a.opts.Now = func() time.Time {
		if calls++; calls == 2 {
			must(t, other.SetDisabled(ctx, "bob", true))
		}
		return c.Now()
	}
	want(t, "disabled", login(t, a, "bob", "new"), ErrDisabled)
}

// TestTurns checks that few hash at once, few wait, and who waits can give up.
func TestTurns(t *testing.T) {
	t.Parallel()
	a, _ := open(t, t.TempDir())
	for range MaxHashing {
		must(t, a.turns.take(t.Context()))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	errs := make(chan error)
	for range MaxWaiting {
		go func() {
			_, err := a.Authenticate(ctx, "bob", "pw", home)
			errs <- err
		}()
	}
	for a.turns.waiting.Load() < MaxWaiting {
		select {
		case err := <-errs:
			t.Fatalf("did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	_, err := a.Authenticate(t.Context(), "bob", "pw", home)
	want(t, "one more", err, ErrBusy)
	cancel(gone)
	for range MaxWaiting {
		if err := <-errs; !errors.Is(err, gone) {
			t.Errorf("gave up: %v", err)
		}
	}
	for range MaxHashing {
		a.turns.giveBack()
	}
	want(t, "afterwards", login(t, a, "bob", "pw"), ErrNoUser)
}

// TestCrowd logs in many at once from one address: no limit is in the way of right passwords.
func TestCrowd(t *testing.T) {
	t.Parallel()
	a, _ := open(t, t.TempDir())
	must(t, a.Add(t.Context(), "bob", "pw", 0))
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if err := login(t, a, "bob", "pw"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestSilence formats everything that this package gives out and looks for what must not be in it.
func TestSilence(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	var log strings.Builder
	c := newClock()
	a, err := Open(dir, Options{Now: c.Now, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	must(t, err)
	const password, other = "correct-horse", "battery-staple"
	must(t, a.Add(ctx, "bob", password, 0))
	must(t, a.Import(ctx, []Imported{{Name: "old", Hash: originalsHash}}))
	e, err := a.Enrol(ctx, "bob")
	must(t, err)
	u, err := a.find("bob")
	must(t, err)
	old, err := a.find("old")
	must(t, err)
	code, err := u.Second.code(stepOf(c.Now()))
	must(t, err)
	hidden := []string{password, other, e.Secret(), string(u.Password), string(originalsHash), string(originalsHash[:64]), "otpauth"}
	shown, err := a.User(ctx, "bob")
	must(t, err)
	_, wrong := a.Authenticate(ctx, "bob", other, home)
	_, nobody := a.Authenticate(ctx, "nobody", other, home)
	errs := []error{wrong, nobody, a.VerifyCode(ctx, "bob", other, home), a.Add(ctx, "bob", other, 0), a.Initialise(ctx, "x", other),
		a.SetPassword(ctx, "nobody", other), a.SetPassword(ctx, "bob", strings.Repeat(other, 100)),
		a.Import(ctx, []Imported{{Name: "eve", Hash: originalsHash[1:]}}), &LimitedError{time.Second}}
	must(t, a.VerifyCode(ctx, "bob", code, home))
	errs = append(errs, a.VerifyCode(ctx, "bob", code, home))
	// However a byte of the file is damaged, the error does not quote it.
	file := filepath.Join(dir, File)
	raw, err := os.ReadFile(file)
	must(t, err)
	for i := range raw {
		for _, b := range []byte{raw[i] ^ 1, '"', 0} {
			damaged := slices.Clone(raw)
			damaged[i] = b
			if _, err := parse(damaged); err != nil {
				errs = append(errs, err)
			}
		}
	}

	values := []any{a, shown, &shown, *e, e, struct{ E *Enrolment }{e}, originalsHash, Imported{Hash: originalsHash}, &Imported{Hash: originalsHash},
		[]Imported{{Hash: originalsHash}}, *u, *u.Second, *old, u.Password, u.Second.Secret, a.opts, Administrator, errs}
	var out strings.Builder
	text := slog.New(slog.NewTextHandler(&out, nil))
	json := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		switch v.(type) {
		case account, secondFactor, hash, secret: // never leave the package; as JSON they are what is in the file
		default:
			json.Info("x", "v", v)
		}
		text.Info("x", "v", v)
	}
	for _, err := range errs {
		if err == nil {
			t.Error("no error where there should be one")
			continue
		}
		fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
	}
	out.WriteString(log.String())
	if regexp.MustCompile(`\b` + code + `\b`).MatchString(out.String()) {
		t.Errorf("the code %s can be read", code)
	}
	for _, h := range hidden {
		for _, form := range []string{h, fmt.Sprintf("%x", h), fmt.Sprintf("%X", h)} {
			if i := strings.Index(out.String(), form); i >= 0 {
				t.Errorf("%q can be read: …%.200s…", form, out.String()[max(0, i-100):])
			}
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, n := range []int{10, MaxUsers} {
		b.Run(fmt.Sprint("users=", n), func(b *testing.B) {
			a := benchAccounts(b, n)
			for b.Loop() {
				if _, err := a.Authenticate(b.Context(), "user7", "pw", home); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUser(b *testing.B) {
	a := benchAccounts(b, MaxUsers)
	for b.Loop() {
		if _, err := a.User(b.Context(), "user7"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChange is what each change costs, an accepted code among them.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 1000, MaxUsers} {
		b.Run(fmt.Sprint("users=", n), func(b *testing.B) {
			a := benchAccounts(b, n)
			disabled := false
			for b.Loop() {
				disabled = !disabled
				if err := a.SetDisabled(b.Context(), "user7", disabled); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchAccounts(b *testing.B, n int) *Accounts {
	b.Helper()
	cheap := todaysWork
	b.Cleanup(func() { todaysWork = cheap })
	todaysWork = recommendedWork
	a, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	password := newHash("pw")
	err = a.file.change(b.Context(), func(users map[string]*account) error {
		for i := range n {
			name := fmt.Sprint("user", i)
			users[name] = &account{Name: name, Password: password}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Close() })
	if _, err := a.Users(b.Context()); err != nil { // reads the file
		b.Fatal(err)
	}
	return a
}

// TestExport gives the original what it can check, and takes the same user only once.
func TestExport(t *testing.T) {
	t.Parallel()
	a, _ := open(t, t.TempDir())
	const hash = LegacyHash("ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe23409638ff15")
	imported := []Imported{{Name: "admin", Flags: Initial | Administrator, Hash: hash}}
	if err := a.Import(t.Context(), imported); err != nil {
		t.Fatal(err)
	}
	if err := a.Add(t.Context(), "ours", "secret", 0); err != nil {
		t.Fatal(err)
	}
	users, others, err := a.Export(t.Context())
	if err != nil || !slices.Equal(users, imported) || !slices.Equal(others, []string{"ours"}) {
		t.Errorf("%v, %v, %v", users, others, err)
	}
	if err := a.Import(t.Context(), imported); !errors.Is(err, ErrImported) || !errors.Is(err, ErrUserExists) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), "admin", "1234", netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if users, others, err = a.Export(t.Context()); err != nil || len(users) != 0 || !slices.Equal(others, []string{"admin", "ours"}) {
		t.Errorf("after a login: %v, %v, %v", users, others, err)
	}
	if err := a.Import(t.Context(), imported); errors.Is(err, ErrImported) || !errors.Is(err, ErrUserExists) {
		t.Errorf("after a login: %v", err)
	}
}
