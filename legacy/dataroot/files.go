package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"unicode/utf8"
)

// Bounds of users' files. A client can name no path longer than maxUserPath.
const (
	maxUserPath  = 1024 // bytes, in the user's directory
	maxUserFiles = 1_000_000
)

// UserFile is a file that a user has on the server.
type UserFile struct {
	User string
	Name string // in the user's directory, with slashes
	Size int64
	root *Root
}

// Path is where the file is in the data directory.
func (f UserFile) Path() string { return path.Join(payloadDir, f.User, f.Name) }

// Open opens the file for reading, as long as it was when it was found: it may grow.
func (f UserFile) Open() (io.ReadCloser, error) {
	file, _, err := f.root.open(f.Path())
	if err != nil {
		return nil, err
	}
	return &cutFile{io.LimitReader(file, f.Size), file}, nil
}

type cutFile struct {
	io.Reader
	file *os.File
}

func (f *cutFile) Close() error { return f.file.Close() }

// Files yields the users' files, in order. What is no file or cannot be read is a finding, and so are symbolic links: they
// are not followed. An empty directory is one that is no fault ([NotTaken]). The error of the sequence is that of the context.
func (r *Root) Files(ctx context.Context, found func(Finding)) iter.Seq2[UserFile, error] {
	return func(yield func(UserFile, error) bool) {
		w := &fileWalk{root: r, ctx: ctx, found: found, yield: yield}
		for _, e := range r.list(payloadDir, maxListed, found) {
			if w.ended {
				return
			}
			name := path.Join(payloadDir, e.Name())
			switch {
			case e.IsDir() && utf8.ValidString(name):
				w.dir(e.Name(), "")
			case e.IsDir():
				found(Finding{File: name, Reason: BadFile, Detail: "its name is not UTF-8"})
			case !e.Type().IsRegular():
				found(Finding{File: name, Reason: BadFile, Detail: notRegular(e.Type())})
			default:
				found(Finding{File: name, Reason: BadFile, Detail: "it is in no user's directory"})
			}
		}
		if w.left > 0 {
			found(Finding{File: payloadDir, Reason: TooMany, Detail: fmt.Sprintf("%d files more than %d, which are left out", w.left, maxUserFiles)})
		}
	}
}

func notRegular(mode fs.FileMode) string {
	return fmt.Sprintf("it is no regular file but %v", mode.Type())
}

// fileWalk goes through users' directories.
type fileWalk struct {
	root  *Root
	ctx   context.Context
	found func(Finding)
	yield func(UserFile, error) bool
	files int
	left  int // files over the bound
	ended bool
}

// dir goes through a directory of a user, "" for his own.
func (w *fileWalk) dir(user, inside string) {
	where := path.Join(payloadDir, user, inside)
	if len(inside) > maxUserPath {
		w.found(Finding{File: where, Reason: BadFile, Detail: fmt.Sprintf("its path has more than %d bytes, which no client can give; nothing in it is looked at", maxUserPath)})
		return
	}
	problems := 0
	entries := w.root.list(where, maxListed, func(f Finding) {
		problems++
		w.found(f)
	})
	if len(entries) == 0 && problems == 0 {
		w.found(Finding{File: where, Reason: NotTaken, Detail: "an empty directory"})
	}
	for _, e := range entries {
		if w.ctx.Err() != nil && !w.ended {
			w.ended = true
			w.yield(UserFile{}, context.Cause(w.ctx))
		}
		if w.ended {
			return
		}
		w.entry(user, path.Join(inside, e.Name()), e)
	}
}

func (w *fileWalk) entry(user, name string, e fs.DirEntry) {
	if e.IsDir() && utf8.ValidString(name) {
		w.dir(user, name)
		return
	}
	at := path.Join(payloadDir, user, name)
	info, err := w.root.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it went meanwhile
	case err != nil:
		w.found(unreadable(at, err))
	case !utf8.ValidString(name):
		w.found(Finding{File: at, Reason: BadFile, Detail: "its name is not UTF-8"})
	case !info.Mode().IsRegular():
		w.found(Finding{File: at, Reason: BadFile, Detail: notRegular(info.Mode())})
	case w.files == maxUserFiles:
		w.left++
	default:
		w.files++
		w.ended = !w.yield(UserFile{User: user, Name: name, Size: info.Size(), root: w.root}, nil)
	}
}
