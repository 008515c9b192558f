package node

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// IdentityFile is the name of the node's key in its data directory: an Ed25519 key in PKCS #8 and PEM (RFC 8410, RFC
// 7468), as openssl makes and reads it. Who has the file can write in the node's name.
const IdentityFile = "identity.pem"

const (
	identityBlock = "PRIVATE KEY"
	maxIdentity   = 16 << 10
)

// ErrNoIdentity says that a data directory holds no key.
var ErrNoIdentity = errors.New("this node has no key to sign with")

// IdentityError says that a file is not the key it should be.
type IdentityError struct {
	Path   string
	Detail string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("%s is not a usable key: %s", e.Path, e.Detail)
}

// ReadIdentity reads the node's key. The errors that are the caller's to handle are [ErrNoIdentity],
// [*store.PermissionError] and [*IdentityError].
func ReadIdentity(dir string) (ed25519.PrivateKey, error) {
	file := filepath.Join(dir, IdentityFile)
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", file, ErrNoIdentity)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := store.CheckPrivate(file, info); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxIdentity+1))
	if err != nil {
		return nil, err
	}
	key, err := parseIdentity(raw)
	if err != nil {
		return nil, &IdentityError{Path: file, Detail: err.Error()}
	}
	return key, nil
}

func parseIdentity(raw []byte) (ed25519.PrivateKey, error) {
	if len(raw) > maxIdentity {
		return nil, fmt.Errorf("larger than %d bytes", maxIdentity)
	}
	if what, hint := record.ForeignForm(raw); what != "" {
		return nil, fmt.Errorf("it is %s; %s", what, hint)
	}
	block, rest := pem.Decode(record.TrimMark(raw))
	switch {
	case block == nil:
		return nil, errors.New("no PEM block in it")
	case block.Type != identityBlock:
		return nil, fmt.Errorf("holds %q, want %q, unencrypted", block.Type, identityBlock)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one key in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("damaged, or not PKCS #8") // what x509 says is about ASN.1
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it holds a key of another sort, want Ed25519: openssl genpkey -algorithm ed25519")
	}
	return key, nil
}

// CreateIdentity makes the node's key in a data directory, which it makes where it is missing. A key that is there
// already is returned as it is and never overwritten; created tells which.
func CreateIdentity(dir string, rand io.Reader) (key ed25519.PrivateKey, created bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, err
	}
	if key, err := ReadIdentity(dir); !errors.Is(err, ErrNoIdentity) {
		return key, false, err
	}
	_, key, err = ed25519.GenerateKey(rand)
	if err != nil {
		return nil, false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, false, err
	}
	// A link, unlike renaming, never replaces a key that another process made meanwhile.
	file := filepath.Join(dir, IdentityFile)
	fresh := file + ".new"
	if err := store.WriteFileAtomic(fresh, pem.EncodeToMemory(&pem.Block{Type: identityBlock, Bytes: der}), 0o600); err != nil {
		return nil, false, err
	}
	err = os.Link(fresh, file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		created = err == nil
		err = os.Remove(fresh)
	} else if _, missing := os.Lstat(file); errors.Is(missing, fs.ErrNotExist) { // a file system without links
		created, err = true, os.Rename(fresh, file)
	}
	if err != nil {
		return nil, false, err
	}
	if err := store.SyncDir(dir); err != nil {
		return nil, false, err
	}
	key, err = ReadIdentity(dir) // the file says which key it is, also when two processes raced
	return key, created, err
}
