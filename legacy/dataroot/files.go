package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"unicode/utf8"
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

// Open opens the file for reading.
func (f UserFile) Open() (*os.File, error) {
	file, _, err := f.root.open(f.Path())
	return file, err
}

// Files yields the users' files, in order. What is no file or cannot be read is a finding, and so are symbolic links: they
// are not followed. The error of the sequence is that of the context.
func (r *Root) Files(ctx context.Context, found func(Finding)) iter.Seq2[UserFile, error] {
	return func(yield func(UserFile, error) bool) {
		err := fs.WalkDir(r.root.FS(), payloadDir, func(name string, e fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				if name != payloadDir || !errors.Is(err, fs.ErrNotExist) {
					found(unreadable(name, err))
				}
				return nil
			}
			if e.IsDir() {
				return nil
			}
			user, inside, ok := strings.Cut(strings.TrimPrefix(name, payloadDir+"/"), "/")
			info, err := e.Info()
			switch {
			case err != nil:
				found(unreadable(name, err))
			case !info.Mode().IsRegular():
				found(Finding{File: name, Reason: BadFile, Detail: fmt.Sprintf("it is no regular file but %v", info.Mode().Type())})
			case !ok:
				found(Finding{File: name, Reason: BadFile, Detail: "it is in no user's directory"})
			case !utf8.ValidString(name):
				found(Finding{File: name, Reason: BadFile, Detail: "its name is not UTF-8"})
			case !yield(UserFile{User: user, Name: inside, Size: info.Size(), root: r}, nil):
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(UserFile{}, err)
		}
	}
}
