package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/store/raw"
)

// commitAll makes batches durable one after the other, shows them to readers and answers their requests. It is the
// only place that writes.
func (s *Store) commitAll() {
	defer close(s.ended)
	for b := range s.batches {
		err := s.writeFailure()
		if err == nil {
			err = s.commit(b)
		}
		answered := b.requests
		if err == nil {
			s.freezer.mu.Lock()
			s.show(b)
			err = s.freeze(context.Background(), b)
			if err == nil {
				answered = s.freezer.keep(answered)
			}
			s.freezer.mu.Unlock()
		}
		if err != nil {
			err = s.fail(err)
		}
		for _, r := range answered {
			if err != nil {
				r.fail(err)
			}
			close(r.done)
		}
	}
}

func (s *Store) writeFailure() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// fail stops all writing. It returns the failure that did, which is the first one.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		s.opts.Logger.Error("the ledger stopped writing; what it holds is served, and what was acknowledged is kept", "error", err)
		s.notify()
	}
	return s.failed
}

// commit writes one batch and syncs.
func (s *Store) commit(b *batch) (err error) {
	// Entries come first and what follows from them after, so that even if a batch could tear, what
	// is left can be completed from its entries. Neighbours are written faster one after the other.
	puts := make([]raw.KeyValue, 0, 4*len(b.entries)+len(b.others)+len(b.kinds)+len(b.logs)+len(b.evidence))
	size := 0
	for i := range b.entries {
		size += b.entries[i].size()
	}
	room := make([]byte, size)
	for i := range b.entries {
		j := &b.entries[i]
		n := j.size()
		puts = append(puts, raw.KeyValue{Key: raw.EntryKey(j.place), Value: j.stored(room[:0:n])})
		room = room[n:]
	}
	puts = append(puts, b.others...)
	for index := range 3 {
		for i := range b.entries {
			puts = append(puts, b.entries[i].row(index))
		}
	}
	for kind, n := range b.kinds {
		puts = append(puts, raw.KeyValue{Key: raw.PrefixKind + kind, Value: strconv.AppendUint(nil, n, 10)})
	}
	for _, h := range slices.SortedFunc(maps.Values(b.logs), byNumber) {
		puts = append(puts, raw.KeyValue{Key: raw.LogKey(h.Log.Origin), Value: h.Append(nil)})
	}
	for _, ev := range b.evidence {
		puts = append(puts, raw.FrozenRow(ev))
	}
	if len(puts) == 0 {
		return nil
	}
	start := time.Now()
	err = writeBatch(s.ds, puts)
	if err == nil && s.opts.Committed != nil {
		s.opts.Committed(Commit{Entries: b.count, Took: time.Since(start)})
	}
	return err
}

// writeBatch writes keys in one atomic batch and waits until they are durable.
func writeBatch(d Datastore, puts []raw.KeyValue) error {
	ctx := context.Background() // half a batch must not depend on a caller's patience
	batch, err := d.Batch(ctx)
	if err != nil {
		return fmt.Errorf("start batch: %w", err)
	}
	for _, kv := range puts {
		if err := batch.Put(ctx, raw.Key(kv.Key), kv.Value); err != nil {
			return fmt.Errorf("batch %s: %w", kv.Key, err)
		}
	}
	if err := batch.Commit(ctx); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	if err := d.Sync(ctx, ds.RawKey("/")); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// show makes a durable batch visible.
func (s *Store) show(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := make([]*raw.Head, 0, 1)
	for o, h := range b.logs {
		if old, ok := s.logs[o]; ok {
			s.byNum[old.Number] = h
		} else {
			fresh = append(fresh, h)
		}
		s.logs[o] = h
	}
	slices.SortFunc(fresh, byNumber)
	s.byNum = append(s.byNum, fresh...)
	s.showFloor(b.floor)
	for kind, n := range b.kinds {
		s.kinds[kind] = n
	}
	s.version++
	s.notify()
}

func byNumber(a, b *raw.Head) int { return cmp.Compare(a.Number, b.Number) }

func (s *Store) heads() []*raw.Head {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.byNum)
}

// Row returns the frontier's row of a log; ok is false if there is none: see [ledger.Genesis.Covers].
func (s *Store) Row(o ledger.Origin) (row ledger.Row, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.row(o)
}

// row is Row for callers that hold mu.
func (s *Store) row(o ledger.Origin) (row ledger.Row, ok bool) {
	h, z := s.logs[o], s.frozen[o]
	row.Origin = o
	if z != nil {
		row.Frozen = &ledger.Freeze{Seq: z.evidence.Seq(), Evidence: z.evidence.ID(), Cited: z.cited}
		if !z.before.Hash.IsZero() {
			row.Citation = z.before
			return row, true
		}
	}
	if z.undisputed(h.Size()) > 0 {
		row.Citation = ledger.Citation{Origin: o, Seq: h.Log.Size() - 1, Hash: h.Log.Head, Height: h.Log.Height}
	}
	return row, s.genesis.Covers(&row)
}
