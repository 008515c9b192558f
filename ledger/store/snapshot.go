package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// ManyReader is a [Reader] from which many keys are read for less than one by one, such as one in another process.
type ManyReader interface {
	Reader
	// GetMany returns copies of the values under keys, in their order; nil for a key that is not
	// there.
	GetMany(ctx context.Context, keys []ds.Key) ([][]byte, error)
}

// getMany is GetMany of any reader.
func getMany(ctx context.Context, r Reader, keys []ds.Key) ([][]byte, error) {
	if many, ok := r.(ManyReader); ok {
		return many.GetMany(ctx, keys)
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, err := r.Get(ctx, key)
		switch {
		case errors.Is(err, ds.ErrNotFound):
			continue
		case err != nil:
			return nil, fmt.Errorf("read %v: %w", key, err)
		case value == nil:
			value = []byte{}
		}
		values[i] = value
	}
	return values, nil
}

// Snapshot is a [Reader] of what a datastore held at one moment, whatever is written meanwhile. It must be closed, before
// the datastore and after the last scan. What it shows may be a moment from being durable.
type Snapshot interface {
	Reader
	Close() error
}

// Snapshot returns what the store's datastore holds now. The error is [errors.ErrUnsupported] if
// the datastore has no snapshots.
func (s *Store) Snapshot() (Snapshot, error) {
	d, ok := s.ds.(interface{ Snapshot() Snapshot })
	if !ok {
		return nil, fmt.Errorf("snapshot of a %T: %w", s.ds, errors.ErrUnsupported)
	}
	return d.Snapshot(), nil
}

// ReadOnly makes a datastore of a reader that does not change, for [Open] with ReadOnly and for audits. What writes returns
// [ErrReadOnly].
func ReadOnly(r Reader) Datastore { return readOnly{r} }

type readOnly struct{ Reader }

func (r readOnly) GetMany(ctx context.Context, keys []ds.Key) ([][]byte, error) {
	return getMany(ctx, r.Reader, keys)
}

func (r readOnly) Has(ctx context.Context, key ds.Key) (bool, error) {
	return ds.GetBackedHas(ctx, r, key)
}

func (r readOnly) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, r, key)
}

// Query is what nothing here asks for: see Scan.
func (r readOnly) Query(context.Context, query.Query) (query.Results, error) {
	return nil, errors.ErrUnsupported
}

func (r readOnly) Put(context.Context, ds.Key, []byte) error { return ErrReadOnly }
func (r readOnly) Delete(context.Context, ds.Key) error      { return ErrReadOnly }
func (r readOnly) Batch(context.Context) (ds.Batch, error)   { return nil, ErrReadOnly }
func (r readOnly) Sync(context.Context, ds.Key) error        { return nil }
func (r readOnly) Close() error                              { return nil }

// Snapshot is the reader as it is: a snapshot itself, or a datastore that nobody writes to.
func (r readOnly) Snapshot() Snapshot { return r }

// Snapshot returns what the database holds now. While it is open, compactions keep what it shows.
func (p *Pebble) Snapshot() Snapshot { return pebbleSnapshot{p.DB.NewSnapshot()} }

type pebbleSnapshot struct{ *pebble.Snapshot }

func (s pebbleSnapshot) Get(_ context.Context, key ds.Key) ([]byte, error) {
	value, closer, err := s.Snapshot.Get(key.Bytes())
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ds.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	value = bytes.Clone(value)
	return value, closer.Close()
}

func (s pebbleSnapshot) Scan(ctx context.Context, lower, upper string) iter.Seq2[Pair, error] {
	return scanPebble(ctx, s.Snapshot, lower, upper)
}

// Snapshot returns a copy of all that is there: the map is for tests.
func (m *Memory) Snapshot() Snapshot {
	frozen := NewMemory()
	m.mu.RLock()
	defer m.mu.RUnlock()
	all, _ := m.m.Query(context.Background(), query.Query{}) // the map has no way to fail
	for r := range all.Next() {
		_ = frozen.m.Put(context.Background(), ds.RawKey(r.Key), slices.Clone(r.Value))
	}
	return frozen
}
