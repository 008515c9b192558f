package store

import (
	"context"
	"iter"
	"slices"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Datastore is what a [Store] keeps its keys in.
//
// Beyond go-datastore's contract: Commit of a batch is atomic, also in a crash; batches become durable in the order of
// their commits, and all committed before Sync is called are durable when it returns. After an error of Commit or Sync
// the outcome is unknown. All methods may be called concurrently. The suite in storetest checks implementations.
type Datastore interface {
	ds.Batching
	// Scan yields the keys from lower (inclusive) to upper (exclusive) in ascending byte order, as they were at the
	// start of the scan. Neither bound may be empty. Key and value are valid until the next step.
	Scan(ctx context.Context, lower, upper string) iter.Seq2[Pair, error]
}

// Stopper is a [Datastore] that can find out by itself that it cannot go on. It serves what was written before, as far as it
// can, and writes nothing any more.
type Stopper interface {
	Stopped() <-chan struct{} // is closed then
	Failure() error           // says why; nil before
}

// Pair is a key and its value.
type Pair struct {
	Key   []byte
	Value []byte
}

// Memory is a [Datastore] over go-datastore's map. Nothing in it is durable; it is for tests and simulations.
type Memory struct {
	mu   sync.RWMutex
	m    *ds.MapDatastore
	keys []string // in ascending order; nil when stale
}

// NewMemory returns an empty datastore in memory.
func NewMemory() *Memory { return &Memory{m: ds.NewMapDatastore()} }

// Get implements [ds.Datastore].
func (m *Memory) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, err := m.m.Get(ctx, key)
	return slices.Clone(value), err
}

// Has implements [ds.Datastore].
func (m *Memory) Has(ctx context.Context, key ds.Key) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.m.Has(ctx, key)
}

// GetSize implements [ds.Datastore].
func (m *Memory) GetSize(ctx context.Context, key ds.Key) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.m.GetSize(ctx, key)
}

// Query implements [ds.Datastore].
func (m *Memory) Query(ctx context.Context, q query.Query) (query.Results, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.m.Query(ctx, q)
}

// Put implements [ds.Datastore].
func (m *Memory) Put(ctx context.Context, key ds.Key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = nil
	return m.m.Put(ctx, key, slices.Clone(value))
}

// Delete implements [ds.Datastore].
func (m *Memory) Delete(ctx context.Context, key ds.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = nil
	return m.m.Delete(ctx, key)
}

// Sync implements [ds.Datastore].
func (m *Memory) Sync(context.Context, ds.Key) error { return nil }

// Close implements [ds.Datastore].
func (m *Memory) Close() error { return nil }

// Batch implements [ds.Batching]; its Commit is atomic.
func (m *Memory) Batch(context.Context) (ds.Batch, error) { return &memoryBatch{m: m}, nil }

// Scan implements [Datastore].
func (m *Memory) Scan(ctx context.Context, lower, upper string) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for _, pair := range m.snapshot(ctx, lower, upper) {
			if err := ctx.Err(); err != nil {
				yield(Pair{}, err)
				return
			}
			if !yield(pair, nil) {
				return
			}
		}
	}
}

func (m *Memory) snapshot(ctx context.Context, lower, upper string) []Pair {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		all, _ := m.m.Query(ctx, query.Query{KeysOnly: true}) // the map's Query has no way to fail
		for r := range all.Next() {
			m.keys = append(m.keys, r.Key)
		}
		slices.Sort(m.keys)
	}
	from, _ := slices.BinarySearch(m.keys, lower)
	var pairs []Pair
	for _, key := range m.keys[from:] {
		if key >= upper {
			break
		}
		value, _ := m.m.Get(ctx, ds.RawKey(key))
		pairs = append(pairs, Pair{Key: []byte(key), Value: slices.Clone(value)})
	}
	return pairs
}

type memoryBatch struct {
	m   *Memory
	ops []memoryOp
}

type memoryOp struct {
	key    ds.Key
	value  []byte
	delete bool
}

func (b *memoryBatch) Put(_ context.Context, key ds.Key, value []byte) error {
	b.ops = append(b.ops, memoryOp{key: key, value: slices.Clone(value)})
	return nil
}

func (b *memoryBatch) Delete(_ context.Context, key ds.Key) error {
	b.ops = append(b.ops, memoryOp{key: key, delete: true})
	return nil
}

func (b *memoryBatch) Commit(ctx context.Context) error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.keys = nil
	for _, op := range b.ops {
		var err error
		if op.delete {
			err = b.m.m.Delete(ctx, op.key)
		} else {
			err = b.m.m.Put(ctx, op.key, op.value)
		}
		if err != nil {
			return err
		}
	}
	b.ops = nil
	return nil
}
