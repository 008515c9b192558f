package store

import (
	"context"

	"github.com/bits-and-blooms/bloom/v3"

	"pyvnode/ledger/store/raw"
)

// filter says of a prefix of index rows that there are none, or that there may be some. Before the
// builder adds a record, it must know whether the indexes have it already. Most records are new, so
// most answers are "none", and they cost no read. The filter is filled in the background after
// opening. Until then the builder reads the indexes.
//
// It is a chain of Bloom filters over the prefixes in the content and header indexes. Each is as
// large as all before it together, so the chain grows without reading the indexes again.
type filter struct {
	layers   []*bloom.BloomFilter
	capacity uint64 // of all layers, in prefixes
	room     uint64 // prefixes that the last layer still takes
}

// Of each layer: bits for each prefix, and how many of them are set. Few are set, because each
// costs a cache miss. One prefix in 900 without rows is read all the same.
const (
	filterBits   = 20
	filterHashes = 4
)

// firstLayer is the capacity, in prefixes, of the first layer for an empty index. It is a variable for tests only.
var firstLayer uint64 = 1 << 18

func newFilter(capacity uint64) *filter {
	f := new(filter)
	f.grow(capacity)
	return f
}

func (f *filter) grow(capacity uint64) {
	f.layers = append(f.layers, bloom.New(uint(capacity*filterBits), filterHashes))
	f.capacity += capacity
	f.room = capacity
}

// mayHold reports false only if there are certainly no rows under the prefix.
func (f *filter) mayHold(prefix string) bool {
	for _, layer := range f.layers {
		if layer.TestString(prefix) {
			return true
		}
	}
	return false
}

func (f *filter) add(prefix string) {
	if f.room == 0 {
		f.grow(f.capacity)
	}
	f.layers[len(f.layers)-1].AddString(prefix)
	f.room--
}

// buildFilter reads all keys of the indexes.
func buildFilter(ctx context.Context, d Datastore, entries uint64) (*filter, error) {
	f := newFilter(2*entries + firstLayer) // two prefixes for each entry
	for _, prefix := range []string{raw.PrefixContent, raw.PrefixHeader} {
		for pair, err := range d.Scan(ctx, prefix, raw.After(prefix)) {
			if err != nil {
				return nil, err
			}
			f.add(string(pair.Key[:max(0, len(pair.Key)-raw.PlaceText)]))
		}
	}
	return f, nil
}
