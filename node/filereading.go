package node

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// OpenEntries opens a node that holds what an entry file does, for reading. Everything in the file is checked as an import
// checks it, and kept in a directory for temporary files until the node is closed. The error is an [*InputError] or wraps
// [ledger.ErrEntryFile] where the file is not what it should be, or is one of [Node.ImportEntries].
func OpenEntries(ctx context.Context, path string, o Options, progress func(ImportProgress)) (*Node, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReader(f)
	format, err := DetectFormat(in)
	if err == nil && format != EntryFormat {
		err = &InputError{Reason: NotEntries, Detail: "it is not an entry file", Hint: "an entry file is what this writes: pyvnode export --raw"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	g, err := ReadGenesis(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pyvnode-*") // of mode 0700
	if err != nil {
		return nil, err
	}
	n, err := openTemporary(ctx, dir, g, o)
	if err == nil {
		if _, err = n.ImportEntries(ctx, in, progress); err == nil {
			return n, nil
		}
		err = fmt.Errorf("%s: %w", path, err)
		return nil, errors.Join(err, n.Close())
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// openTemporary makes and opens a ledger in a directory that goes when the node is closed. Its owner is that of the data
// directory of the options.
func openTemporary(ctx context.Context, dir string, g *ledger.Genesis, o Options) (*Node, error) {
	if err := store.CreateDir(ctx, dir, g); err != nil {
		return nil, err
	}
	var key ed25519.PrivateKey
	if o.Data != "" {
		key, _ = ReadIdentity(o.Data) // only says which log is its own
	}
	o.Data = dir
	n, err := OpenForImport(ctx, o)
	if err != nil {
		return nil, err
	}
	if key != nil {
		n.own, n.hasKey = ledger.OriginOf(key), true
	}
	closing := n.close
	n.close = func() error { return errors.Join(closing(), os.RemoveAll(dir)) }
	return n, nil
}
