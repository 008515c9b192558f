//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package store

import (
	"io"
	"syscall"
)

// shareLock locks a file against writers, and lets others read.
func shareLock(file string) (io.Closer, error) {
	f, err := openLock(file)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return io.NopCloser(nil), nil
	}
	all := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &all); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// CanWrite reports whether the system would let this process write to a directory.
func CanWrite(dir string) bool {
	const w = 2 // W_OK of access(2)
	return syscall.Access(dir, w) == nil
}
