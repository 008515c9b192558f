package dataroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger/durable"
	"pyvnode/ledger/record"
	"pyvnode/legacy/chainfile"
	"pyvnode/legacy/wire"
)

// A Builder writes a data directory that the original opens. It appears under its name whole or not at all: until Commit
// it is beside it, under another name. After an error nothing of it is any good.
type Builder struct {
	path string
	tmp  string
	root *os.Root // nil when it is done
}

// NotEmptyError says that a directory cannot be written because there is something already.
type NotEmptyError struct{ Path string }

func (e *NotEmptyError) Error() string {
	return e.Path + " is there already, and is not an empty directory"
}

// Create begins a data directory. There must be nothing under its name, or an empty directory. Abort or Commit must follow.
func Create(dir string) (*Builder, error) {
	dir = filepath.Clean(dir)
	if err := vacant(dir); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*.part") // of mode 0700, as the original makes it
	if err != nil {
		return nil, err
	}
	b := &Builder{path: dir, tmp: tmp}
	if b.root, err = os.OpenRoot(tmp); err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	for _, name := range []string{chainDir, usersDir, publicDir, privateDir, payloadDir} {
		if err := b.root.Mkdir(name, 0o700); err != nil {
			return nil, errors.Join(err, b.Abort())
		}
	}
	return b, nil
}

func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return &NotEmptyError{dir}
	}
	return nil
}

// Commit makes the directory durable under its name.
func (b *Builder) Commit() error {
	err := fs.WalkDir(b.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return durable.SyncDirIn(b.root, name)
	})
	if err == nil {
		err = vacant(b.path)
	}
	if err == nil {
		if err = os.Remove(b.path); errors.Is(err, fs.ErrNotExist) { // not everywhere can an empty directory be replaced
			err = nil
		}
	}
	if err == nil {
		err = errors.Join(b.root.Close(), os.Rename(b.tmp, b.path))
	}
	if err != nil {
		return errors.Join(err, b.Abort())
	}
	b.root = nil
	return durable.SyncDir(filepath.Dir(b.path))
}

// Abort leaves nothing. After Commit it does nothing.
func (b *Builder) Abort() error {
	if b.root == nil {
		return nil
	}
	_ = b.root.Close() // may be closed
	b.root = nil
	return os.RemoveAll(b.tmp)
}

// create makes a file for its owner alone.
func (b *Builder) create(name string) (*os.File, error) {
	return b.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (b *Builder) write(name string, data []byte) error {
	f, err := b.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// ChainBuilder writes the chain of one kind.
type ChainBuilder struct {
	*chainfile.Writer
	files []*os.File
}

// Chain begins the chain of a kind. It must be closed.
func (b *Builder) Chain(kind string) (*ChainBuilder, error) {
	if err := b.root.Mkdir(path.Join(chainDir, kind), 0o700); err != nil {
		return nil, err
	}
	c := new(ChainBuilder)
	for _, name := range []string{chainfile.Name, chainfile.IndexName, chainfile.IDsName} {
		f, err := b.create(chainPath(kind, name))
		if err != nil {
			return nil, errors.Join(err, c.closeFiles())
		}
		c.files = append(c.files, f)
	}
	c.Writer = chainfile.NewWriter(c.files[0], c.files[1], c.files[2])
	return c, nil
}

// Close makes the chain durable.
func (c *ChainBuilder) Close() error {
	err := c.Flush()
	for _, f := range c.files {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, c.closeFiles())
}

func (c *ChainBuilder) closeFiles() (err error) {
	for _, f := range c.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Users writes the users. Without any there is no file, and the original lets the first client make the first user.
func (b *Builder) Users(users []User) error {
	var text strings.Builder
	for _, u := range users {
		line, err := u.line()
		if err != nil {
			return err
		}
		text.WriteString(line)
	}
	if text.Len() == 0 {
		return nil
	}
	return b.write(usersFile, []byte(text.String()))
}

// SiteID writes the site's ID.
func (b *Builder) SiteID(id uuid.UUID) error {
	return b.write(siteFile, fmt.Appendf(nil, "# Server Identification String for pyvserv.py.\n\n%v\n", id))
}

// Key writes a key pair.
func (b *Builder) Key(name string, k *wire.PrivateKey) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("%.64q is no name of a key", name)
	}
	return errors.Join(b.write(path.Join(publicDir, name+publicExt), []byte(k.Public().Text())),
		b.write(path.Join(privateDir, name+privateExt), []byte(k.Text())))
}

// Hosts writes the list of servers to replicate to, added at a time by nobody in particular. Without any there is no
// file.
func (b *Builder) Hosts(hosts []string, now time.Time) error {
	if len(hosts) == 0 {
		return nil
	}
	chain, err := b.create(hostsFile)
	if err != nil {
		return err
	}
	index, err := b.create(strings.TrimSuffix(hostsFile, ".pydb") + ".pidx")
	if err != nil {
		return errors.Join(err, chain.Close())
	}
	c := &ChainBuilder{Writer: chainfile.NewWriter(chain, index, nil), files: []*os.File{chain, index}}
	for _, host := range hosts {
		header, packed, err := hostRecord(host, now)
		if err == nil {
			err = c.Add(header, packed)
		}
		if err != nil {
			return errors.Join(err, c.closeFiles())
		}
	}
	return c.Close()
}

// hostRecord returns a record of the list of hosts. It is a record without hash and proof.
func hostRecord(host string, now time.Time) (header string, packed []byte, err error) {
	id, err := uuid.NewUUID()
	if err != nil {
		return "", nil, err
	}
	header = id.String()
	text := func(s string) record.Value { return record.Text(s) }
	iso := now.Format("2006-01-02T15:04:05")
	var payload, r record.Dict
	payload.Set(text("Default"), text("None"))
	payload.Set(hostKey, text(host))
	payload.Set(text("header"), text(header))
	payload.Set(text("now"), text(iso))
	payload.Set(text("oper"), text("import"))
	r.Set(text(record.KeyPayload), &payload)
	r.Set(text(record.KeyHeader), text(header))
	r.Set(text(record.KeyNow), text(now.Format("Mon, 02 Jan 2006 15:04:05")))
	r.Set(text(record.KeyStamp), text(fmt.Sprintf("%d.0", now.Unix())))
	r.Set(text(record.KeyISO), text(iso))
	r.Set(text(record.KeyReplicated), record.NewInt(0))
	packed, err = record.AppendPack(nil, &r)
	return header, packed, err
}

// File writes a file of a user. The user's directory has the user's name.
func (b *Builder) File(user, name string, content io.Reader) error {
	if strings.ContainsAny(user, "/\x00") || user == "." || user == ".." || user == "" {
		return fmt.Errorf("%.64q is no user name", user)
	}
	full := path.Join(payloadDir, user, name)
	if err := b.root.MkdirAll(path.Dir(full), 0o700); err != nil {
		return err
	}
	f, err := b.create(full)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}
