package store

import (
	"context"

	"github.com/bits-and-blooms/bloom/v3"
)

// filter knows of most prefixes of index rows that have none that they have none, which spares the builder nearly all
// reads: new records are the rule. It is a Bloom filter over the prefixes in the content and header indexes, of 10 bits
// for each, filled in the background after opening and again when it has grown too full; until then the builder reads.
type filter struct {
	bits     *bloom.BloomFilter
	capacity uint64
	count    uint64
}

// filterErrors is how often, of 1, a prefix that has no rows is read all the same.
const filterErrors = 0.01

// mayHold reports false only when there are no rows for sure.
func (f *filter) mayHold(prefix string) bool { return f.bits.TestString(prefix) }

func (f *filter) add(prefix string) {
	f.bits.AddString(prefix)
	f.count++
}

// minFilter is the least capacity of a filter, in prefixes. It is a variable for tests only.
var minFilter uint64 = 1 << 18

// buildFilter reads all keys of the indexes.
func buildFilter(ctx context.Context, d Datastore, entries uint64) (*filter, error) {
	capacity := 4*entries + minFilter // two prefixes for each entry, and room to double
	f := &filter{bits: bloom.NewWithEstimates(uint(capacity), filterErrors), capacity: capacity}
	for _, prefix := range []string{prefixContent, prefixHeader} {
		for pair, err := range d.Scan(ctx, prefix, after(prefix)) {
			if err != nil {
				return nil, err
			}
			f.bits.Add(pair.Key[:max(0, len(pair.Key)-placeText)])
			f.count++
		}
	}
	return f, nil
}
