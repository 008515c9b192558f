package legacytest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
)

// Ledger is a [legacy.Ledger] over a store in memory with one origin, so that each record has one entry.
type Ledger struct {
	Store *store.Store
	// BeforePut, unless nil, is called before a record is stored, and may refuse it.
	BeforePut func(ctx context.Context) error
	// Change, unless nil, may change a record on its way from the store, as a damaged disk would.
	Change func(*legacy.Record)

	genesis *ledger.Genesis
	mu      sync.Mutex
	hops    map[hopsKey]uint32
}

type hopsKey struct {
	kind   string
	header uuid.UUID
}

// NewLedger returns an empty ledger in which records need the proof of work that original servers ask for.
func NewLedger(tb testing.TB) *Ledger {
	tb.Helper()
	doc := ledgertest.Doc("a")
	doc.Strength = record.DefaultStrength
	g := ledgertest.Genesis(tb, doc)
	s, _, err := store.Open(context.Background(), store.NewMemory(), g, store.Options{Key: ledgertest.Key("a")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &Ledger{Store: s, genesis: g, hops: map[hopsKey]uint32{}}
}

// Put implements [legacy.Ledger].
func (l *Ledger) Put(ctx context.Context, kind string, packed []byte, hops uint32) error {
	if l.BeforePut != nil {
		if err := l.BeforePut(ctx); err != nil {
			return err
		}
	}
	normal, _, err := record.Check(packed, l.genesis.StrengthOf(kind))
	if err != nil {
		return err
	}
	checker := ledger.Checker{Genesis: l.genesis}
	d, err := checker.Draft(kind, normal)
	if err != nil {
		return &legacy.RefusedError{Reason: err.Error()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.Store.Append(ctx, d)
	var duplicate *store.DuplicateError
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &duplicate):
		return legacy.ErrDuplicate
	case errors.As(err, &conflict):
		return legacy.ErrConflict
	case err == nil:
		l.hops[hopsKey{kind, d.Facts.Header}] = hops
	}
	return err
}

// Known implements [legacy.Ledger]. The original knows votes from the start.
func (l *Ledger) Known(kind string) bool { return kind == "vote" || l.Store.Count(kind) > 0 }

// Strength implements [legacy.Ledger].
func (l *Ledger) Strength(kind string) int { return l.genesis.StrengthOf(kind) }

// Count implements [legacy.Ledger].
func (l *Ledger) Count(_ context.Context, kind string) (uint64, error) {
	return l.Store.Count(kind), nil
}

// Get implements [legacy.Ledger].
func (l *Ledger) Get(ctx context.Context, kind string, header uuid.UUID) (legacy.Record, error) {
	refs, err := l.Store.ByHeader(ctx, kind, header)
	if err == nil && len(refs) == 0 {
		err = legacy.ErrNotFound
	}
	if err != nil {
		return legacy.Record{}, err
	}
	return l.read(ctx, refs[0])
}

// At implements [legacy.Ledger].
func (l *Ledger) At(ctx context.Context, kind string, position uint64) (legacy.Record, error) {
	ref, err := l.Store.At(ctx, kind, position)
	if errors.Is(err, store.ErrNotFound) {
		err = legacy.ErrNotFound
	}
	if err != nil {
		return legacy.Record{}, err
	}
	return l.read(ctx, ref)
}

func (l *Ledger) read(ctx context.Context, ref store.Ref) (legacy.Record, error) {
	e, err := l.Store.Get(ctx, ref)
	if err != nil {
		return legacy.Record{}, err
	}
	l.mu.Lock()
	hops := l.hops[hopsKey{e.Header.Kind, e.Header.RecordUUID}]
	l.mu.Unlock()
	r := legacy.Record{Header: e.Header.RecordUUID, Packed: e.Record, Hops: hops}
	if l.Change != nil {
		r.Packed = slices.Clone(r.Packed)
		l.Change(&r)
	}
	return r, nil
}

// Position implements [legacy.Ledger].
func (l *Ledger) Position(ctx context.Context, kind string, header uuid.UUID) (uint64, error) {
	n, err := l.Store.RecordNumber(ctx, kind, header)
	if errors.Is(err, store.ErrNotFound) {
		err = legacy.ErrNotFound
	}
	return n, err
}

// Between implements [legacy.Ledger].
func (l *Ledger) Between(ctx context.Context, kind string, from, to float64, limit int) (headers []uuid.UUID, more bool, err error) {
	count := l.Store.Count(kind)
	for i := range count {
		r, err := l.At(ctx, kind, count-1-i)
		if err != nil {
			return nil, false, err
		}
		if at := unix(r.Header); at > from && at < to {
			if len(headers) == limit {
				return headers, true, nil
			}
			headers = append(headers, r.Header)
		}
	}
	return headers, false, nil
}

// CountBetween implements [legacy.Ledger].
func (l *Ledger) CountBetween(ctx context.Context, kind string, from, to float64) (n uint64, err error) {
	for r, err := range l.All(ctx, kind) {
		if err != nil {
			return 0, err
		}
		if at := unix(r.Header); at >= from && at <= to {
			n++
		}
	}
	return n, nil
}

func unix(header uuid.UUID) float64 {
	return float64(record.HeaderTime(header).UnixNano()) / float64(time.Second)
}

// All implements [legacy.Ledger].
func (l *Ledger) All(ctx context.Context, kind string) iter.Seq2[legacy.Record, error] {
	return func(yield func(legacy.Record, error) bool) {
		for i := range l.Store.Count(kind) {
			r, err := l.At(ctx, kind, i)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Kinds implements [legacy.Source].
func (l *Ledger) Kinds() []string { return l.Store.Kinds() }

// Watch implements [legacy.Source].
func (l *Ledger) Watch() (changed <-chan struct{}, stop func()) { return l.Store.Watch() }
