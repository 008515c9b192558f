package legacy

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"pyvnode/ledger/durable"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/wire"
)

// DirName is the name of the adapter's directory inside a node's data directory. It is laid out like the data directory
// of the original (docs/original-protocol.md §9).
const DirName = "legacy"

// The places of keys in the adapter's directory: each pair is in two files of the same name.
const (
	publicDir  = "keys"
	publicExt  = ".pub"
	privateDir = "private"
	privateExt = ".pem"
)

// ErrKeyReadable is wrapped when others on this machine can read a private key.
var ErrKeyReadable = errors.New("can be read by other users of this machine")

// ErrTooManyKeys is wrapped when a pool has, or would have, more than [dataroot.MaxKeys] pairs.
var ErrTooManyKeys = fmt.Errorf("more than %d key pairs", dataroot.MaxKeys)

// KeyFileError says that a file of a key pool cannot be used: it wraps [wire.ErrKey], [ErrKeyReadable] or an error of
// the file system.
type KeyFileError struct {
	Path string
	Err  error
}

func (e *KeyFileError) Error() string { return e.Path + ": " + e.Err.Error() }

func (e *KeyFileError) Unwrap() error { return e.Err }

// A KeyPool is the key pairs of a server. It answers each akey with a random one of them
// (docs/original-protocol.md §4). It is safe for use by several goroutines.
type KeyPool struct {
	keys []*wire.PrivateKey
}

// OpenKeyPool reads all private keys of an adapter's directory. If there is none, it makes one
// first, of [wire.DefaultKeyBits]. A file that is no key, or that others can read, gets a
// [*KeyFileError]; other names than those of keys do not matter.
func OpenKeyPool(dir string) (*KeyPool, error) {
	names, err := keyNames(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		k, err := GenerateKey(dir, wire.DefaultKeyBits)
		if err != nil {
			return nil, err
		}
		return &KeyPool{[]*wire.PrivateKey{k}}, nil
	}
	p := new(KeyPool)
	for _, name := range names {
		k, err := readPrivateKey(dir, name)
		if err != nil {
			return nil, err
		}
		p.keys = append(p.keys, k)
	}
	return p, nil
}

// Len returns the number of key pairs, at least 1.
func (p *KeyPool) Len() int { return len(p.keys) }

// Pick returns a random key pair.
func (p *KeyPool) Pick() *wire.PrivateKey { return p.keys[rand.IntN(len(p.keys))] }

// KeyFiles returns the paths of the two files of a key pair.
func KeyFiles(dir string, id wire.KeyID) (public, private string) {
	return filepath.Join(dir, publicDir, id.String()+publicExt), filepath.Join(dir, privateDir, id.String()+privateExt)
}

// GenerateKey makes a key pair of 256, 384 or 521 bits and adds it to an adapter's directory, which
// it makes if it is missing. When it returns without an error the pair is on disk. The error wraps
// [wire.ErrKey] for other sizes, and [ErrTooManyKeys] when the directory is full.
func GenerateKey(dir string, bits int) (*wire.PrivateKey, error) {
	names, err := keyNames(dir)
	if err != nil {
		return nil, err
	}
	if len(names) >= dataroot.MaxKeys {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, privateDir), ErrTooManyKeys)
	}
	k, err := wire.GenerateKey(crand.Reader, bits)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{privateDir, publicDir} {
		if err := durable.MkdirAll(filepath.Join(dir, sub)); err != nil {
			return nil, err
		}
	}
	// The private half is first: it holds both, and without it the public one would be of no use.
	public, private := KeyFiles(dir, k.ID())
	if err := durable.WriteFile(private, []byte(k.Text()), 0o600); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(public, []byte(k.Public().Text()), 0o644); err != nil {
		return nil, err
	}
	return k, durable.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

// keyNames lists the files of private keys. A directory that does not exist has none.
func keyNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, privateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), privateExt) {
			names = append(names, e.Name())
		}
	}
	if len(names) > dataroot.MaxKeys {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, privateDir), ErrTooManyKeys)
	}
	return names, nil
}

func readPrivateKey(dir, name string) (*wire.PrivateKey, error) {
	path := filepath.Join(dir, privateDir, name)
	bad := func(err error) (*wire.PrivateKey, error) { return nil, &KeyFileError{Path: path, Err: err} }
	f, err := os.Open(path)
	if err != nil {
		return nil, err // it names the file
	}
	defer func() { _ = f.Close() }()
	if readable, err := othersCanRead(f); err != nil {
		return nil, err
	} else if readable {
		return bad(ErrKeyReadable)
	}
	text, err := io.ReadAll(io.LimitReader(f, wire.MaxKeyText+1))
	if err != nil {
		return nil, err
	}
	k, err := wire.ParsePrivateKey(string(text))
	if err != nil {
		return bad(err)
	}
	return k, nil
}

// othersCanRead reports whether the modes of a file and of its directory let other users read it. The original makes
// files that all may read in a directory that is closed.
func othersCanRead(f *os.File) (bool, error) {
	if runtime.GOOS == "windows" { // has no such bits
		return false, nil
	}
	file, err := f.Stat()
	if err != nil {
		return false, err
	}
	dir, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return false, err
	}
	return file.Mode().Perm()&0o077 != 0 && dir.Mode().Perm()&0o077 != 0, nil
}
