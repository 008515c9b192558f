package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guard stands between Pebble and its files, and makes errors of the disk ours.
//
// Pebble answers a failed write in one of three ways: it tries again at once, for ever and in
// silence (flushes, merges); it panics with its locks held (the write log); or it calls its
// logger's Fatalf. None of them ever comes to that here. The first change of a file that fails is
// noted, the store learns of it, and the goroutine that asked for the change is parked for ever. So
// is each that asks for another one: Pebble never learns that it failed. It holds no lock of its
// own during such a call, so what it has can still be read. Nothing of it is called any more that
// would wait for those goroutines; they end with the process, and what is on disk is found out at
// the next start.
type guard struct {
	vfs.FS
	readOnly bool
	locked   bool          // the opener of the database has locked it
	stopped  chan struct{} // closed with the first failure

	mu  sync.Mutex
	err error // the first failure

	note   *ackNote         // nil while it is not kept
	cut    map[string]int64 // see guard.show; by name of the file
	hidden []string
	opened []string // write logs that were opened for reading, in order
}

func newGuard(files vfs.FS, readOnly, locked bool) *guard {
	return &guard{FS: files, readOnly: readOnly, locked: locked, stopped: make(chan struct{})}
}

// Unwrap implements [vfs.FS].
func (g *guard) Unwrap() vfs.FS { return g.FS }

// fail notes a failure. Only the first one counts: what fails after it may fail because of it.
func (g *guard) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		close(g.stopped)
	}
}

// failure returns the first failure, nil while there is none.
func (g *guard) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// do calls Pebble, and returns with the failure of what is under it, if that comes first. Then the call may stay under way for
// ever.
func (g *guard) do(call func() error) error {
	if err := g.failure(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				g.fail(fmt.Errorf("the database cannot go on: %v", p))
			}
		}()
		done <- call()
	}()
	select {
	case err := <-done:
		return err
	case <-g.stopped:
		return g.failure()
	}
}

// park never returns.
func park() { select {} }

// change calls what changes a file. After a failure nothing is changed any more.
func (g *guard) change(what, name string, call func() error) error {
	if g.readOnly {
		return fmt.Errorf("%s %s: %w", what, filepath.Base(name), ErrReadOnly)
	}
	if g.failure() != nil {
		park()
	}
	if err := call(); err != nil {
		if !errors.As(err, new(*fs.PathError)) { // which says as much
			err = fmt.Errorf("%s %s: %w", what, filepath.Base(name), err)
		}
		g.fail(err)
		park()
	}
	return nil
}

// changeFile is change for what opens a file for writing.
func (g *guard) changeFile(what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := g.change(what, name, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return g.wrap(f, name), nil
}

func (g *guard) wrap(f vfs.File, name string) vfs.File {
	number, isLog := logNumber(name)
	return &guardedFile{File: f, g: g, name: name, isLog: isLog, log: number}
}

// Create implements [vfs.FS], as do the following.
func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.changeFile("make", name, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.changeFile("open", name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, opts...) })
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.changeFile("make", newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, category) })
}

func (g *guard) Link(oldname, newname string) error {
	return g.change("make", newname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *guard) Rename(oldname, newname string) error {
	return g.change("rename", oldname, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *guard) MkdirAll(dir string, perm fs.FileMode) error {
	return g.change("make", dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

func (g *guard) Remove(name string) (err error) {
	_ = g.change("remove", name, func() error {
		if err = g.FS.Remove(name); errors.Is(err, fs.ErrNotExist) {
			return nil // which the caller expects to happen
		}
		return err
	})
	if g.readOnly {
		return ErrReadOnly
	}
	return err
}

func (g *guard) RemoveAll(name string) error {
	return g.change("remove", name, func() error { return g.FS.RemoveAll(name) })
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return g.wrap(f, name), nil
}

// Lock leaves the lock to the opener of the database, which has to give it up when Pebble no longer
// can.
func (g *guard) Lock(name string) (io.Closer, error) {
	if g.locked {
		return io.NopCloser(nil), nil
	}
	return g.FS.Lock(name)
}

// GetDiskUsage lets a file system that cannot tell pass for one that does not: Pebble would complain again and again.
func (g *guard) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := g.FS.GetDiskUsage(path)
	if err != nil {
		err = vfs.ErrUnsupported
	}
	return usage, err
}

// Open shows a write log only as far as it is intact, see guard.show.
func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(name)
	if _, ok := logNumber(name); !ok {
		return f, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = append(g.opened, base)
	if size, ok := g.cut[base]; ok {
		return &cutFile{File: f, left: size}, nil
	}
	return f, nil
}

func (g *guard) List(dir string) ([]string, error) {
	names, err := g.FS.List(dir)
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(g.hidden, name) }), err
}

// guardedFile is a file that is written.
type guardedFile struct {
	vfs.File
	g       *guard
	name    string
	isLog   bool
	log     uint64 // its number
	written int64  // bytes; Pebble writes and syncs a write log in one goroutine
}

func (f *guardedFile) Write(p []byte) (n int, err error) {
	err = f.g.change("write", f.name, func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	f.written += int64(n)
	return n, err
}

func (f *guardedFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.g.change("write", f.name, func() (err error) {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

func (f *guardedFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *guardedFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *guardedFile) sync(sync func() error) error {
	return f.g.change("sync", f.name, func() error {
		err := sync()
		if err == nil && f.isLog && f.g.note != nil {
			err = f.g.note.set(logMark{f.log, f.written})
		}
		return err
	})
}

func (f *guardedFile) SyncTo(length int64) (full bool, err error) {
	err = f.g.change("sync", f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *guardedFile) Close() error {
	if f.g.readOnly {
		return f.File.Close()
	}
	return f.g.change("close", f.name, f.File.Close)
}

// cutFile is a file of which only the beginning is shown.
type cutFile struct {
	vfs.File
	left int64
}

func (f *cutFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.File.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// ReadAt is what nobody asks of a write log.
func (f *cutFile) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
