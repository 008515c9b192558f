package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pyvnode/ledger/store"
)

// AtomicFile is a file that appears under its name whole or not at all. It is for writing streams; whoever has all bytes
// at hand uses store.WriteFileAtomic.
type AtomicFile struct {
	*os.File
	Private bool // others on the machine must not read it
	path    string
	fresh   bool // nothing may be replaced
	done    bool
}

// CreateNew is [CreateAtomic] where nothing may be, now or when the file is whole: the error wraps [fs.ErrExist].
func CreateNew(path string) (*AtomicFile, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	f, err := CreateAtomic(path)
	if err == nil {
		f.fresh = true
	}
	return f, err
}

// CreateAtomic starts a file beside the path it will have, in place of one that is there.
func CreateAtomic(path string) (*AtomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return nil, err
	}
	return &AtomicFile{File: f, path: path}, nil
}

func vacant(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// Commit makes the file durable under its name.
func (f *AtomicFile) Commit() error {
	mode := os.FileMode(0o644)
	if f.Private {
		mode = 0o600
	}
	err := errors.Join(f.Chmod(mode), f.Sync(), f.File.Close())
	if err == nil && f.fresh {
		err = vacant(f.path)
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, f.Abort())
	}
	f.done = true
	return store.SyncDir(filepath.Dir(f.path))
}

// Abort removes the file. After Commit it does nothing.
func (f *AtomicFile) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	_ = f.File.Close() // may have been closed; what counts is that the name goes
	return os.Remove(f.Name())
}
