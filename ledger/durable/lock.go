package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked says that somebody else holds a lock.
var ErrLocked = errors.New("in use by another process")

const (
	// lockPatience is how long Lock waits for others, who hold such a lock while they change one file.
	lockPatience = 10 * time.Second
	lockPoll     = 2 * time.Millisecond
)

// Lock waits until no other process, and nobody else in this one, holds the lock of that name, and holds it until the
// returned function is called. The file is made if it is missing, and stays. Within one process a lock must always be
// called by the same path. After 10 seconds of waiting the error wraps [ErrLocked]; it may be the context's before.
func Lock(ctx context.Context, file string) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, ErrLocked)
	defer cancel()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		lock, err := vfs.Default.Lock(file)
		if err == nil {
			return lock.Close, nil
		}
		if errors.As(err, new(*fs.PathError)) { // the file cannot be made: no lock is in the way
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", file, context.Cause(ctx))
		}
	}
}

// LockFile is the file of a directory that whoever uses the directory has locked. It is empty.
const LockFile = "LOCK"

// locks are the directories that this process uses. The system's locks are no help inside one process: it gives them up as
// soon as any handle on the file is closed.
var locks = lockTable{used: map[string]*lockState{}}

type lockTable struct {
	mu   sync.Mutex
	used map[string]*lockState
}

type lockState struct {
	readers int // 0 for one writer
	file    io.Closer
}

// errInProcess says that this process itself uses the directory.
var errInProcess = errors.New("this process uses it already")

// LockDir locks a directory, for one writer or for any number of readers, without waiting. Readers change nothing, not even
// the file that they lock; if they cannot open it they go without, as on media on which nobody can write. The error wraps
// [ErrLocked] when somebody else is in the way, and says otherwise why there is no lock to be had.
func LockDir(dir string, reading bool) (unlock func() error, err error) {
	unlock, err = locks.lock(dir, reading)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	return unlock, err
}

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
		file := filepath.Join(dir, LockFile)
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

// openLock opens a lock's file for readers; nil if there is none to be had.
func openLock(file string) (*os.File, error) {
	f, err := os.Open(file)
	if noLock(err) {
		return nil, nil
	}
	return f, err
}
