package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// MkdirAll makes a directory for its owner alone, of mode 0700, with those above it that are missing. Its name is durable
// afterwards, whoever made it.
func MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in a directory durable. Windows cannot, and does not need to.
func SyncDir(path string) error {
	return syncDir(path, os.Open)
}

// SyncDirIn is [SyncDir] of a directory inside a root.
func SyncDirIn(root *os.Root, name string) error {
	return syncDir(name, root.Open)
}

func syncDir(name string, open func(string) (*os.File, error)) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Unfinished stands between the name of a file and a number while [WriteFile] writes it.
const Unfinished = ".unfinished-"

// RemoveUnfinished removes what is left of files, named without their directory, whose writing by [WriteFile] was cut
// short. The caller holds the lock under which these files are written, so that nobody is writing them.
func RemoveUnfinished(dir string, files ...string) error {
	there, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range there {
		name, number, ok := strings.Cut(entry.Name(), Unfinished)
		if !ok || number == "" || strings.Trim(number, "0123456789") != "" || !slices.Contains(files, name) || !entry.Type().IsRegular() {
			continue
		}
		errs = append(errs, os.Remove(filepath.Join(dir, entry.Name())))
	}
	return errors.Join(errs...)
}
