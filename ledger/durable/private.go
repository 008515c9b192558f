package durable

import (
	"fmt"
	"io/fs"
	"runtime"
)

// PermissionError says that others on this machine can read a file that is the node's alone.
type PermissionError struct {
	Path string
	Mode fs.FileMode
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s can be read by other users of this machine (mode %#o), and what is in it is this node's alone", e.Path, e.Mode)
}

// CheckPrivate returns a [*PermissionError] when others may do anything with a file. Windows has no such bits.
func CheckPrivate(file string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return &PermissionError{Path: file, Mode: mode}
	}
	return nil
}
