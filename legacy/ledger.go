package legacy

import (
	"context"
	"errors"
	"iter"

	"github.com/google/uuid"
)

// Ledger is what the server needs of a node's ledger. A record is one kind with one content. If it
// is held more than once, because others wrote it too, it counts once. A position is a record's
// place in the order of arrival at this node, from 0, and never changes. Records of one kind with
// one header and different contents are different records.
type Ledger interface {
	// Put stores a packed record, its keys in any order, that was sent on hops times, and returns when it is durable.
	// The errors that are the client's to know are *[record.Error], [ErrDuplicate], [ErrConflict] and *[RefusedError].
	Put(ctx context.Context, kind string, packed []byte, hops uint32) error
	// Known reports whether there are records of a kind, or could be without anybody being surprised.
	Known(kind string) bool
	// Strength is the number of zero hex digits that proofs of a kind must end in.
	Strength(kind string) int
	// Count returns how many records of a kind are held.
	Count(ctx context.Context, kind string) (uint64, error)
	// Get returns the record with a header, or [ErrNotFound]. Of several it is the one that was put here, if any was.
	Get(ctx context.Context, kind string, header uuid.UUID) (Record, error)
	// At returns the record at a position, or [ErrNotFound].
	At(ctx context.Context, kind string, position uint64) (Record, error)
	// Position returns the position of the record with a header, or [ErrNotFound].
	Position(ctx context.Context, kind string, header uuid.UUID) (uint64, error)
	// Between returns up to limit headers whose own time, in Unix seconds, is after from and before to: the latest arrival
	// first, one for each record, and whether there are more.
	Between(ctx context.Context, kind string, from, to float64, limit int) (headers []uuid.UUID, more bool, err error)
	// CountBetween returns how many headers have a time from from to to, both included.
	CountBetween(ctx context.Context, kind string, from, to float64) (uint64, error)
	// All yields the records of a kind in the order of arrival, each read anew.
	All(ctx context.Context, kind string) iter.Seq2[Record, error]
}

// Record is a record as a node holds it.
type Record struct {
	Header uuid.UUID
	Packed []byte // in normal form
	Hops   uint32 // how often it was sent on before it came here; original clients see it as Replicated
}

// Errors of a [Ledger].
var (
	// ErrNotFound says that no record is held under that name.
	ErrNotFound = errors.New("no such record")
	// ErrDuplicate says that the record is held already.
	ErrDuplicate = errors.New("the record is held already")
	// ErrConflict says that a record with this kind and header and other content is held.
	ErrConflict = errors.New("another record with this header is held")
)

// RefusedError says why the ledger does not take a record, in words for the client: they hold no path and nothing else
// that is the operator's own.
type RefusedError struct {
	Reason string
	// NotNow says that it is not for the record's sake: it could be taken another time.
	NotNow bool
}

func (e *RefusedError) Error() string { return e.Reason }
