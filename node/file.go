package node

import (
	"errors"
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
	done    bool
}

// CreateAtomic starts a file beside the path it will have.
func CreateAtomic(path string) (*AtomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return nil, err
	}
	return &AtomicFile{File: f, path: path}, nil
}

// Commit makes the file durable under its name, in place of one that was there.
func (f *AtomicFile) Commit() error {
	mode := os.FileMode(0o644)
	if f.Private {
		mode = 0o600
	}
	err := errors.Join(f.Chmod(mode), f.Sync(), f.File.Close())
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
