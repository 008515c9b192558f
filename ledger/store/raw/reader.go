package raw

import (
	"context"
	"iter"

	ds "github.com/ipfs/go-datastore"
)

// Pair is a key and its value.
type Pair struct {
	Key   []byte
	Value []byte
}

// Reader is what a ledger is read from.
type Reader interface {
	// Get returns a copy of the value under a key, or [ds.ErrNotFound].
	Get(ctx context.Context, key ds.Key) ([]byte, error)
	// Scan yields the keys from lower (inclusive) to upper (exclusive) in ascending byte order, as they were at the
	// start of the scan. Neither bound may be empty. Key and value are valid until the next step.
	Scan(ctx context.Context, lower, upper string) iter.Seq2[Pair, error]
}
