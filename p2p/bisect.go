package p2p

import (
	"errors"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// bisectAll bisects logs up to the heads of rows.
func (b *neighbour) bisectAll(rows []ledger.Row) (err error) {
	if len(rows) == 0 {
		return nil
	}
	s, err := b.n.open(b.ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	for _, row := range rows {
		if err := b.bisect(s, row.Origin, row.Seq); err != nil {
			return err
		}
	}
	return nil
}

// bisect finds the first entry at which the peer's history of a log differs from the one here. It
// looks up to an entry of the peer's at top, and asks nothing about what is disputed here already.
// Two good signatures for one place are evidence; anything less says nothing about anybody.
func (b *neighbour) bisect(s *session, o ledger.Origin, top uint64) error {
	n := b.n
	own, ok := n.store.Row(o)
	if !ok || own.Size() == 0 {
		return nil
	}
	low, high := uint64(0), min(top, own.Seq)
	// The first of the peer's entries that is known to differ. The very first that differs is in
	// low…high.
	first, err := s.statement(o, high)
	if err != nil || first == nil || n.holds(first.Citation()) {
		return err
	}
	for low < high {
		mid := low + (high-low)/2
		theirs, err := s.statement(o, mid)
		if err != nil || theirs == nil {
			return err
		}
		if n.holds(theirs.Citation()) {
			low = mid + 1
		} else {
			high, first = mid, theirs
		}
	}
	mine, err := n.store.Get(b.ctx, store.Ref{Origin: o, Seq: low})
	if errors.Is(err, store.ErrNotFound) {
		return nil // this node's log ends before the first difference, and what comes is disputed
	}
	if err != nil || mine.Hash == first.Hash {
		return err
	}
	n.accuseFork(mine.Entry, first, b.id)
	return nil
}
