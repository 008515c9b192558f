package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names lists a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	there, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range there {
		list = append(list, entry.Name())
	}
	return list
}

// TestReadFile reads files up to a limit, and nothing of a larger one is taken for the whole.
func TestReadFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 9, 10, 11, 1000} {
		must(t, os.WriteFile(file, make([]byte, size), 0o600))
		raw, err := ReadFile(file, 10)
		if size <= 10 && (err != nil || len(raw) != size) {
			t.Errorf("%d bytes: %d, %v, want all of them", size, len(raw), err)
		}
		if size > 10 && (err == nil || !strings.Contains(err.Error(), "limit of 10 bytes")) {
			t.Errorf("%d bytes: %v, want to hear of the limit", size, err)
		}
	}
	if _, err := ReadFile(file+".missing", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestWriteFile replaces a file, with the mode asked for whatever the old one had, and leaves nothing else.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, mode := range []fs.FileMode{0o644, 0o600} {
		must(t, WriteFile(file, []byte(mode.String()), mode))
		raw, err := os.ReadFile(file)
		must(t, err)
		info, err := os.Stat(file)
		must(t, err)
		if string(raw) != mode.String() || runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("there is %q with mode %v, want mode %v", raw, info.Mode(), mode)
		}
	}
	if err := WriteFile(filepath.Join(dir, "nowhere", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v", err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "taken"), 0o700))
	if err := WriteFile(filepath.Join(dir, "taken"), nil, 0o600); err == nil {
		t.Error("a file took the place of a directory")
	}
	if got, want := names(t, dir), []string{"file", "taken"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// TestCreateNew never replaces what is there, not even what came while the file was written.
func TestCreateNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	f, err := CreateNew(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("of somebody else"), 0o600))
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Commit: %v, want to hear that there is one", err)
	}
	if _, err := CreateNew(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CreateNew: %v, want to hear that there is one", err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "of somebody else" {
		t.Errorf("the other file is %q, %v", raw, err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("there is %v, want the other file alone", got)
	}
}

// TestFileMode: a secret can be read by nobody else while it is written, nor afterwards.
func TestFileMode(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	f, err := Create(file)
	must(t, err)
	f.Mode = 0o600
	info, err := f.Stat()
	must(t, errors.Join(err, CheckPrivate(f.Name(), info)))
	must(t, f.Commit())
	info, err = os.Stat(file)
	must(t, errors.Join(err, CheckPrivate(file, info)))
}

func TestCheckPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("has no such bits")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for mode, private := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o604: false, 0o601: false, 0o620: false} {
		must(t, os.Chmod(file, mode))
		info, err := os.Stat(file)
		must(t, err)
		var wide *PermissionError
		if err := CheckPrivate(file, info); private != (err == nil) || !private && (!errors.As(err, &wide) || wide.Mode != mode || wide.Path != file) {
			t.Errorf("mode %v: %v, want private %v", mode, err, private)
		}
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "c")
	for range 2 { // the second time it is there
		must(t, MkdirAll(dir))
	}
	for d := dir; d != top; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		must(t, err)
		if err := CheckPrivate(d, info); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
	if err := MkdirAll(filepath.Join(top, "file", "d")); err == nil {
		t.Error("a directory was made inside a file")
	}
}

// TestRemoveUnfinished removes what a killed WriteFile leaves of the files named, and nothing that only looks like it.
func TestRemoveUnfinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := []string{"a", "a.unfinished", "a.unfinished-", "a.unfinished-1x", "a.unfinished-business", "b.unfinished-1", "xa.unfinished-1"}
	for _, name := range append([]string{"a.unfinished-1", "a.unfinished-23456789"}, kept...) {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	f, err := create(filepath.Join(dir, "a"), Unfinished+"*") // as WriteFile does
	must(t, err)
	must(t, f.Close())
	must(t, os.Mkdir(filepath.Join(dir, "a.unfinished-2"), 0o700))
	must(t, RemoveUnfinished(dir, "a", "c"))
	want := slices.Sorted(slices.Values(append(kept, "a.unfinished-2")))
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// TestLockDir lets in one writer or many readers, whatever the path by which they come.
func TestLockDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := filepath.Join(dir, "..", filepath.Base(dir))
	refused := func(what, dir string, reading bool) {
		t.Helper()
		if _, err := LockDir(dir, reading); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v, want that it is locked", what, err)
		}
	}
	first, err := LockDir(dir, true)
	must(t, err)
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("a reader left %v", got)
	}
	second, err := LockDir(other, true)
	must(t, err)
	refused("a writer beside two readers", dir, false)
	must(t, first())
	refused("a writer beside a reader", other, false)
	must(t, second())
	writer, err := LockDir(dir, false)
	must(t, err)
	refused("a reader beside a writer", other, true)
	refused("a writer beside a writer", dir, false)
	must(t, writer())
	last, err := LockDir(dir, true)
	must(t, err)
	must(t, last())
}
