package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "before" {
		t.Errorf("after Abort: %q, %v", raw, err)
	}
	if f, err = Create(path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("whole"); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := f.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "whole" {
		t.Errorf("after Commit: %q, %v", raw, err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if _, err := Create(filepath.Join(dir, "nowhere", "out")); !os.IsNotExist(err) {
		t.Errorf("in a missing directory: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^fs.FileMode(0o644) != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
