package store

import (
	"context"

	"github.com/bits-and-blooms/bloom/v3"
)

// filter knows of most index keys that are absent that they are, which spares the builder nearly all reads: new records
// are the rule and their keys are in no index. It is a Bloom filter over the keys of the content and header indexes, of
// 10 bits for each key, filled in the background after opening and again when it has grown too full; until then the
// builder reads.
type filter struct {
	bits     *bloom.BloomFilter
	capacity uint64
	count    uint64
}

// filterErrors is how often, of 1, a key that is absent is read all the same.
const filterErrors = 0.01

// mayHold reports false only when a key is absent for sure.
func (f *filter) mayHold(key string) bool { return f.bits.TestString(key) }

func (f *filter) add(key string) {
	f.bits.AddString(key)
	f.count++
}

// buildFilter reads all keys of the indexes. It returns nil when the context ends first or a read fails; reads then go
// on as without a filter, and say what is wrong.
func buildFilter(ctx context.Context, d Datastore, entries uint64) *filter {
	capacity := 4*entries + 1<<18 // two keys for each entry, and room to double
	f := &filter{bits: bloom.NewWithEstimates(uint(capacity), filterErrors), capacity: capacity}
	for _, prefix := range []string{prefixContent, prefixHeader} {
		for pair, err := range d.Scan(ctx, prefix, after(prefix)) {
			if err != nil {
				return nil
			}
			f.bits.Add(pair.Key)
			f.count++
		}
	}
	return f
}
