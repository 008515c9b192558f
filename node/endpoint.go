package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// Names of where the local API is to be found, inside a data directory: a Unix socket, or, on Windows and where the path is
// too long for a socket, a file that names a port of the loopback interface and a token. Others on the machine can use
// neither; see [provingListener].
const (
	APISocket = "api.sock"
	APIFile   = "api.json"
)

// maxSocketPath is how long the path of a Unix socket may be everywhere.
const maxSocketPath = 103

// endpoint is where the local API listens.
type endpoint struct {
	Network string `json:"network"` // "unix" or "tcp"
	Address string `json:"address"`
	Token   string `json:"token,omitempty"`
}

// listenAPI listens for the local API in a data directory that the caller has locked: what is there from an earlier run
// is dead, and is replaced. The listener's Close leaves nothing behind.
func listenAPI(dir string) (net.Listener, endpoint, error) {
	socket, file := filepath.Join(dir, APISocket), filepath.Join(dir, APIFile)
	const temporary = ".api-*"
	dead, err := filepath.Glob(filepath.Join(dir, temporary))
	for _, path := range append(dead, socket, file) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	err = errors.Join(err, store.RemoveUnfinished(dir, APIFile))
	if err != nil {
		return nil, endpoint{}, err
	}
	tmp, err := os.MkdirTemp(dir, temporary) // of mode 0700: nobody sees the socket before it has its mode
	if err != nil {
		return nil, endpoint{}, err
	}
	defer func() { _ = os.Remove(tmp) }()
	fresh := filepath.Join(tmp, "s")
	if runtime.GOOS == "windows" || len(fresh) > maxSocketPath {
		return listenLoopback(file)
	}
	l, err := net.Listen("unix", fresh)
	if err != nil {
		return nil, endpoint{}, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, socket)); err != nil {
		return nil, endpoint{}, errors.Join(err, l.Close(), removeIfThere(fresh))
	}
	return &leavingNothing{l, socket}, endpoint{Network: "unix", Address: socket}, nil
}

func listenLoopback(file string) (net.Listener, endpoint, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, endpoint{}, err
	}
	e := endpoint{Network: "tcp", Address: l.Addr().String(), Token: rand.Text()}
	raw, err := json.Marshal(e)
	if err == nil {
		err = store.WriteFileAtomic(file, raw, 0o600)
	}
	if err != nil {
		return nil, endpoint{}, errors.Join(err, l.Close())
	}
	return &leavingNothing{provingListener{l, e.Token}, file}, e, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// leavingNothing is a listener that takes its file away when it closes.
type leavingNothing struct {
	net.Listener
	file string
}

func (l *leavingNothing) Close() error { return errors.Join(removeIfThere(l.file), l.Listener.Close()) }

// findAPI returns where the API of the node that runs on a data directory is; wrapping [fs.ErrNotExist] when none does.
func findAPI(dir string) (endpoint, error) {
	const maxFile = 4 << 10
	file, socket := filepath.Join(dir, APIFile), filepath.Join(dir, APISocket)
	raw, err := store.ReadBounded(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Lstat(socket)
		return endpoint{Network: "unix", Address: socket}, err
	}
	if err != nil {
		return endpoint{}, err
	}
	var e endpoint
	if err := json.Unmarshal(raw, &e); err != nil {
		return endpoint{}, &store.FileDamageError{Path: file, Detail: record.ExplainJSON(raw, err)}
	}
	if at, err := netip.ParseAddrPort(e.Address); err != nil || !at.Addr().IsLoopback() || e.Network != "tcp" || e.Token == "" {
		return endpoint{}, &store.FileDamageError{Path: file, Detail: "it names no port of this machine with a token"}
	}
	return e, nil
}

// dial connects. Where others could listen too, the other side has proved to be the node when it returns.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, e.Network, e.Address)
	if err != nil || e.Token == "" {
		return conn, err
	}
	if err := proveAsClient(ctx, conn, e.Token); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
