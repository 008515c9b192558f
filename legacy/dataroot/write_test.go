package dataroot_test

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/wire"
)

// TestWriteRead reads back what was written.
func TestWriteRead(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "root")
	const hash = "ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe23409638ff15"
	users := []dataroot.User{{"admin", 3, hash}, {"two words", 0, hash}, {`a,b'"%20%`, 2, hash}, {"Žofie", 4, hash}}
	id := uuid.New()
	key, err := wire.GenerateKey(rand.Reader, 256)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"192.0.2.1:6666", "example.org:1", "[::1]:6666"}
	b, err := dataroot.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(b.Users(users), b.SiteID(id), b.Key("k", key), b.Hosts(hosts, time.Unix(1795310066, 0)),
		b.File("two words", "a/b", strings.NewReader("hello")), b.File("admin", "c", strings.NewReader("")))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Commit(), b.Abort()); err != nil {
		t.Fatal(err)
	}
	if _, found := check(t, dir); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
	r, err := dataroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if got := r.Users(none); !slices.Equal(got, users) {
		t.Errorf("users %v", got)
	}
	if got := r.SiteID(none); got != id {
		t.Errorf("ID %v", got)
	}
	if got := r.Keys(none); len(got) != 1 || got[0].Name != "k" || got[0].Private.Text() != key.Text() {
		t.Errorf("keys %v", got)
	}
	if got, err := r.Hosts(t.Context(), none); err != nil || !slices.Equal(got, hosts) {
		t.Errorf("hosts %v, %v", got, err)
	}
	files := map[string]string{}
	for f, err := range r.Files(t.Context(), func(f dataroot.Finding) { t.Error(f) }) {
		if err != nil {
			t.Fatal(err)
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		files[f.User+":"+f.Name] = string(raw)
	}
	if len(files) != 2 || files["two words:a/b"] != "hello" || files["admin:c"] != "" {
		t.Errorf("files %v", files)
	}
	// Nothing is replaced.
	var full *dataroot.NotEmptyError
	if _, err := dataroot.Create(dir); !errors.As(err, &full) {
		t.Errorf("a second time: %v", err)
	}
}

// TestAbort leaves nothing.
func TestAbort(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "root")
	b, err := dataroot.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Chain("vote")
	if err := errors.Join(err, c.Add("key", []byte("data")), c.Close()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []error{
		b.Users([]dataroot.User{{Name: "a\nb", Password: "x"}}),
		b.File("../out", "a", strings.NewReader("")), b.File("", "a", strings.NewReader("")), b.File("a", "../../../../out", strings.NewReader("")),
		b.Key("../k", nil),
	} {
		if bad == nil {
			t.Error("what cannot be read back is written")
		}
	}
	if err := c.Add(strings.Repeat("x", 300), nil); err == nil {
		t.Error("a key that is too long is written")
	}
	if err := b.Abort(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// Somebody else was faster.
	if b, err = dataroot.Create(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err == nil {
		t.Error("something was replaced")
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
