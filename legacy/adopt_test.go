package legacy_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"pyvnode/legacy"
	"pyvnode/legacy/wire"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "legacy")
	a, err := legacy.NewAdopter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	wants := func(what string, wantTaken bool, want error) func(bool, error) {
		return func(taken bool, err error) {
			t.Helper()
			if taken != wantTaken || !errors.Is(err, want) {
				t.Errorf("%s: %v, %v; want %v, %v", what, taken, err, wantTaken, want)
			}
		}
	}
	id := uuid.New()
	wants("ID", true, nil)(a.SiteID(id))
	wants("the same ID", false, nil)(a.SiteID(id))
	wants("another ID", false, legacy.ErrOther)(a.SiteID(uuid.New()))

	keys := make([]*wire.PrivateKey, 2)
	for i := range keys {
		if keys[i], err = wire.GenerateKey(rand.Reader, 256); err != nil {
			t.Fatal(err)
		}
	}
	wants("key", true, nil)(a.Key("k", keys[0]))
	wants("the same key", false, nil)(a.Key("k", keys[0]))
	wants("another key of that name", false, legacy.ErrOther)(a.Key("k", keys[1]))
	wants("another key", true, nil)(a.Key("l", keys[1]))
	for _, name := range []string{"", "..", "a/b", `a\b`, strings.Repeat("x", 300)} {
		if taken, err := a.Key(name, keys[0]); taken || err == nil {
			t.Errorf("key %q is taken", name)
		}
	}
	if pool, err := legacy.OpenKeyPool(dir); err != nil || pool.Len() != 2 {
		t.Errorf("%v, %v", pool, err)
	}

	wants("host", true, nil)(a.Host("192.0.2.1:6666"))
	wants("the same host", false, nil)(a.Host("192.0.2.1:6666"))
	for i := range legacy.MaxHosts {
		_, err = a.Host("192.0.2.2:" + string(rune('1'+i/10)) + string(rune('0'+i%10)))
	}
	if err == nil {
		t.Error("a list of hosts without an end")
	}
	if hosts, err := legacy.Hosts(dir); err != nil || len(hosts) != legacy.MaxHosts || hosts[0] != "192.0.2.1:6666" {
		t.Errorf("%v, %v", hosts, err)
	}

	file := func(user, name, content string) (bool, error) { return a.File(user, name, strings.NewReader(content)) }
	wants("file", true, nil)(file("alice", "a/b/c.txt", "hello"))
	wants("the same file", false, nil)(file("alice", "a/b/c.txt", "hello"))
	for _, other := range []string{"hullo", "hell", "hello!", ""} {
		wants("another file of that name", false, legacy.ErrOther)(file("alice", "a/b/c.txt", other))
	}
	wants("file of another user", true, nil)(file("bob", "a", "x"))
	wants("a file where a directory is", false, legacy.ErrOther)(file("alice", "a/b", "x"))
	wants("a directory where a file is", false, legacy.ErrOther)(file("alice", "a/b/c.txt/d", "x"))
	wants("empty file", true, nil)(file("alice", "empty", ""))
	wants("the same empty file", false, nil)(file("alice", "empty", ""))
	for _, name := range []string{"", ".", "..", "../bob/b", "/etc/x", "a//b", ".part/x", "a\nb", "\xff", strings.Repeat("x", 300), strings.Repeat("x/", 600) + "x"} {
		if taken, err := file("alice", name, "x"); taken || err == nil {
			t.Errorf("file %.20q is taken", name)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, legacy.PayloadDir, "alice", "out")); err == nil {
		if taken, err := file("alice", "out/file", "x"); taken || err == nil {
			t.Error("a file leaves the user's directory")
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, legacy.PayloadDir, "alice", "a", "b", "c.txt"))
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAdoptStops takes nothing of a file that cannot be read to its end.
func TestAdoptStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := legacy.NewAdopter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	broken := errors.New("broken")
	if taken, err := a.File("alice", "a", &failingReader{strings.NewReader("hello"), broken}); taken || !errors.Is(err, broken) {
		t.Errorf("%v, %v", taken, err)
	}
	if _, err := os.Stat(filepath.Join(dir, legacy.PayloadDir, "alice", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file: %v", err)
	}
}

type failingReader struct {
	*strings.Reader
	err error
}

func (r *failingReader) Read(p []byte) (int, error) {
	if n, _ := r.Reader.Read(p); n > 0 {
		return n, nil
	}
	return 0, r.err
}
