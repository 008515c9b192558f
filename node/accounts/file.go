package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"pyvnode/ledger/durable"
)

const (
	// File is the name of the file that holds the users, in a data directory.
	File = "accounts.json"
	// LockFile is the name of the empty file that whoever changes the users locks.
	LockFile = "accounts.lock"

	fileFormat  = "pyvnode-accounts"
	fileVersion = 1
)

// document is the content of the file.
type document struct {
	Format  string     `json:"format"`
	Version int        `json:"version"`
	Users   []*account `json:"users"`
}

// table is all users at one moment. Once made it is never changed.
type table struct {
	users map[string]*account
	names []string // in order
}

func newTable(users map[string]*account) *table {
	return &table{users: users, names: slices.Sorted(maps.Keys(users))}
}

// parse reads the content of a file. Its errors do not quote it, names apart.
func parse(raw []byte) (*table, error) {
	var doc document
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(&doc)
	if err == nil && doc.Format == fileFormat && doc.Version > fileVersion {
		return nil, fmt.Errorf("it has version %d, this pyvnode knows version %d; use a newer one", doc.Version, fileVersion)
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("it is not JSON from byte %d on", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("it is cut off")
	case err != nil || doc.Format != fileFormat || doc.Version != fileVersion:
		return nil, errors.New("it is not as pyvnode writes it")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind its end")
	}
	if len(doc.Users) > MaxUsers {
		return nil, ErrTooMany
	}
	users := make(map[string]*account, len(doc.Users))
	initial := 0
	for _, u := range doc.Users {
		if u == nil {
			return nil, errors.New("it is not as pyvnode writes it")
		}
		if err := u.check(); err != nil {
			return nil, err
		}
		if users[u.Name] != nil {
			return nil, fmt.Errorf("user %q is in it twice", u.Name)
		}
		if users[u.Name] = u; u.Flags.Has(Initial) {
			initial++
		}
	}
	if initial > 1 {
		return nil, errors.New("there are two initial users in it")
	}
	return newTable(users), nil
}

// encode returns the content of the file: one user a line, in order.
func (t *table) encode() ([]byte, error) {
	if len(t.users) > MaxUsers {
		return nil, ErrTooMany
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "{%q:%q,%q:%d,%q:[", "format", fileFormat, "version", fileVersion, "users")
	for i, name := range t.names {
		if i > 0 {
			out.WriteByte(',')
		}
		line, err := json.Marshal(t.users[name])
		if err != nil {
			return nil, err
		}
		out.WriteByte('\n')
		out.Write(line)
	}
	out.WriteString("\n]}\n")
	if out.Len() > MaxFile {
		return nil, ErrTooMany
	}
	return out.Bytes(), nil
}

// file is the file with what was last read of it.
type file struct {
	dir  string        // absolute
	turn chan struct{} // holds one element while this process changes the file
	// write is durable.WriteFile but in tests of failures. Set before use.
	write func(file string, data []byte, mode fs.FileMode) error

	mu    sync.Mutex // guards what follows
	table *table
	info  fs.FileInfo // of the file that table was read from; nil for no file
	// held is that file, kept open: as long as it is, no other file can get its inode, so that one with the same inode,
	// time and size is the same. On Windows an open file could not be replaced; there the number of a file is its own.
	held *os.File
}

func newFile(dir string) (*file, error) {
	dir, err := filepath.Abs(dir) // see durable.Lock
	return &file{dir: dir, turn: make(chan struct{}, 1), write: durable.WriteFile, table: newTable(nil)}, err
}

func (f *file) path() string { return filepath.Join(f.dir, File) }

// close lets go of the file. It may be used again afterwards.
func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keep(newTable(nil), nil, nil)
}

// keep takes over what was read. The file that was held before is closed.
func (f *file) keep(t *table, info fs.FileInfo, held *os.File) (err error) {
	if f.held != nil {
		err = f.held.Close()
	}
	f.table, f.info, f.held = t, info, held
	return err
}

// current returns the users as they are in the file now. It reads the file only when it is another one than before.
func (f *file) current() (*table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_ = f.keep(newTable(nil), nil, nil) // opened for reading only
		return f.table, nil
	case err != nil:
		return nil, err
	case f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size():
		return f.table, durable.CheckPrivate(f.path(), info)
	}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f.table, nil
}

func (f *file) read() (err error) {
	in, err := os.Open(f.path())
	if err != nil {
		return err
	}
	defer func() {
		if in != nil {
			_ = in.Close() // opened for reading only
		}
	}()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := durable.CheckPrivate(f.path(), info); err != nil {
		return err
	}
	if info.Size() > MaxFile {
		return &FileError{f.path(), fmt.Sprintf("it is longer than %d bytes", MaxFile)}
	}
	raw, err := io.ReadAll(io.LimitReader(in, MaxFile))
	if err != nil {
		return err
	}
	t, err := parse(raw)
	if err != nil {
		return &FileError{f.path(), err.Error()}
	}
	held := in
	if in = nil; runtime.GOOS == "windows" {
		in, held = held, nil
	}
	_ = f.keep(t, info, held)
	return nil
}

// change calls do with the users as they are in the file, to change them, and returns when they are in the file, durable.
// Nobody else changes the file meanwhile. When do returns an error nothing is written.
func (f *file) change(ctx context.Context, do func(users map[string]*account) error) (err error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	unlock, err := durable.Lock(ctx, filepath.Join(f.dir, LockFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	before, err := f.current()
	if err != nil {
		return err
	}
	users := maps.Clone(before.users)
	if users == nil {
		users = map[string]*account{}
	}
	if err := do(users); err != nil {
		return err
	}
	raw, err := newTable(users).encode()
	if err != nil {
		return err
	}
	return f.write(f.path(), raw, 0o600)
}
