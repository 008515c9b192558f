package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// DamageError says that a small file is not what was written.
type DamageError struct {
	Path   string
	Detail string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %s", e.Path, e.Detail) }

// ReadFile reads a whole file that must not be larger than a limit in bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("larger than the limit of %d bytes", limit)
	}
	return raw, err
}

// WriteFile writes a file that is afterwards either as before or whole, also after power loss.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := create(path, Unfinished+"*")
	if err != nil {
		return err
	}
	f.Mode = mode
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Abort())
	}
	return f.Commit()
}

// File is a file that appears under its name whole or not at all. Commit or Abort must follow. It is for writing streams;
// [WriteFile] is for all bytes at hand.
type File struct {
	*os.File
	Mode  fs.FileMode // that the file has once it is whole: 0644 unless set before Commit
	path  string
	fresh bool // nothing may be replaced
	done  bool
}

// Create starts a file beside the path that it will have, in place of one that is there. Until then only its owner can
// read it.
func Create(path string) (*File, error) { return create(path, ".*.part") }

// CreateNew is [Create] where nothing may be, now or when the file is whole: the error wraps [fs.ErrExist].
func CreateNew(path string) (*File, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	f, err := Create(path)
	if err == nil {
		f.fresh = true
	}
	return f, err
}

// create starts a file whose name goes on with a pattern until it is whole.
func create(path, pattern string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+pattern)
	if err != nil {
		return nil, err
	}
	return &File{File: f, Mode: 0o644, path: path}, nil
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

// Commit makes the file durable under its name. After an error nothing of it is left.
func (f *File) Commit() error {
	err := errors.Join(f.Chmod(f.Mode), f.Sync(), f.File.Close())
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
	return SyncDir(filepath.Dir(f.path))
}

// Abort removes the file. After Commit it does nothing.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	_ = f.File.Close() // may have been closed; what counts is that the name goes
	return os.Remove(f.Name())
}
