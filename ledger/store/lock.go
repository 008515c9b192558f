package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lockFileName is the file of a database's directory that whoever uses it has locked. It is empty.
const lockFileName = "LOCK"

// locks are the databases that this process uses. The system's locks are no help inside one process: it gives them up as soon as
// any handle on the file is closed.
var locks = lockTable{used: map[string]*lockState{}}

type lockTable struct {
	mu   sync.Mutex
	used map[string]*lockState
}

type lockState struct {
	readers int // 0 for one writer
	file    io.Closer
}

// errInProcess says that this process itself uses the database.
var errInProcess = errors.New("this process uses it already")

// lock locks a database's directory, for one writer or for any number of readers. Readers change nothing, not even the file that
// they lock; where they cannot open it they go without, as on media on which nobody can write.
func (l *lockTable) lock(dir string, reading bool) (unlock func() error, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.used[dir]
	switch {
	case state == nil:
		file := filepath.Join(dir, lockFileName)
		state = new(lockState)
		if reading {
			state.file, err = shareLock(file)
		} else {
			state.file, err = vfs.Default.Lock(file)
		}
		if err != nil {
			return nil, err
		}
		l.used[dir] = state
	case !reading || state.readers == 0:
		return nil, errInProcess
	}
	if reading {
		state.readers++
	}
	return func() error { return l.unlock(dir, state) }, nil
}

func (l *lockTable) unlock(dir string, state *lockState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if state.readers--; state.readers > 0 {
		return nil
	}
	delete(l.used, dir)
	return state.file.Close()
}

// noLock reports whether a lock's file is not there to be opened, or must not be.
func noLock(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openLock opens a lock's file for readers; nil where there is none to be had.
func openLock(file string) (*os.File, error) {
	f, err := os.Open(file)
	if noLock(err) {
		return nil, nil
	}
	return f, err
}
