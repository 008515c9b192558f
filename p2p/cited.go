package p2p

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// disputedEntry is an entry on a disputed branch that is to be fetched.
type disputedEntry struct {
	ledger.Citation
	prev   ledger.Hash
	length int
}

// fetchPast gets an entry and everything in its past that is disputed and not held, or, where that is very much, the
// oldest part of it; the next comparison goes on. What is undisputed comes by a pull; until it has, the entry cannot be
// taken.
func (b *neighbour) fetchPast(s *session, c ledger.Citation) error {
	// First what there is, from the newest back; only then what it says, from the oldest on, so that little is in memory.
	past, err := b.disputedPast(s, c)
	if err != nil {
		return err
	}
	for len(past) > 0 {
		run, bytes := 1, past[0].length
		for run < len(past) && run < store.RangeEntries && past[run].prev == past[run-1].Hash && bytes+past[run].length <= store.RangeBytes {
			bytes += past[run].length
			run++
		}
		entries, err := s.branch(past[run-1].Citation, run)
		if err != nil {
			return err
		}
		if len(entries) != run || entries[run-1].Hash != past[0].Hash {
			return fmt.Errorf("%w: a branch that is not what it was before", errFrame)
		}
		slices.Reverse(entries)
		result, err := b.n.store.IngestDisputed(b.ctx, entries...)
		b.n.received.sync.count(result)
		var missing *store.MissingError
		if errors.As(err, &missing) {
			return nil
		}
		if err != nil {
			return err
		}
		past = past[run:]
	}
	return nil
}

// disputedPast finds the entries that fetchPast gets, in canonical order: at most [maxPast], the first.
func (b *neighbour) disputedPast(s *session, c ledger.Citation) ([]disputedEntry, error) {
	var failed error
	lacks := func(c ledger.Citation) bool {
		disputed, err := b.disputes(s, c)
		failed = cmp.Or(failed, err)
		return disputed && !b.n.holds(c)
	}
	var past []disputedEntry
	first := func() {
		slices.SortFunc(past, func(a, b disputedEntry) int {
			return cmp.Or(cmp.Compare(a.Height, b.Height), a.Origin.Compare(b.Origin), cmp.Compare(a.Seq, b.Seq), a.Hash.Compare(b.Hash))
		})
		past = past[:min(len(past), maxPast)]
	}
	var todo []ledger.Citation
	done := map[ledger.Hash]bool{} // false while it is still to do
	add := func(c ledger.Citation) {
		if _, known := done[c.Hash]; !known && lacks(c) {
			done[c.Hash] = false
			todo = append(todo, c)
		}
	}
	add(c)
	for len(todo) > 0 {
		c, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if done[c.Hash] {
			continue
		}
		entries, err := s.branch(c, store.RangeEntries)
		if err = cmp.Or(failed, err); err != nil {
			return nil, err
		}
		for i, e := range entries {
			at := e.Citation()
			if done[at.Hash] || i > 0 && !lacks(at) {
				break
			}
			done[at.Hash] = true
			past = append(past, disputedEntry{at, e.Header.Prev, e.Len()})
			for _, cited := range e.Header.Seen {
				add(cited)
			}
			if before, ok := predecessor(e); ok && i == len(entries)-1 {
				add(before)
			}
		}
		if len(past) >= 2*maxPast {
			for _, late := range past {
				delete(done, late.Hash)
			}
			first()
			for _, early := range past {
				done[early.Hash] = true
			}
		}
	}
	first()
	return past, failed
}

// branch asks for an entry by its hash and for those before it in its log, as far as they are disputed: some, newest first,
// and count at most.
func (s *session) branch(c ledger.Citation, count int) ([]*ledger.Entry, error) {
	q := branchQuery{place{origin: c.Origin, seq: c.Seq, hash: c.Hash}, uint16(count)}
	kind, body, err := s.ask(frameBranch, q.append(nil))
	var entries []*ledger.Entry
	for {
		switch {
		case err != nil:
			return nil, err
		case kind == frameNone && len(entries) == 0:
			return nil, fmt.Errorf("the peer does not have entry %d of %v with hash %s, which it cites", c.Seq, c.Origin, c.Hash.Short())
		case kind == frameEnd && len(entries) > 0:
			s.patience.brought(answerWorth, 0)
			return entries, nil
		case kind != frameEntry || len(entries) == count:
			return nil, unexpected(kind)
		}
		e, bad := ledger.DecodeEntry(slices.Clone(body))
		if bad != nil {
			return nil, bad
		}
		if e.Hash != c.Hash || e.Header.Origin != c.Origin || e.Header.Seq != c.Seq {
			return nil, fmt.Errorf("%w: another entry than was asked for", errFrame)
		}
		entries = append(entries, e)
		if before, ok := predecessor(e); ok {
			c = before
		} else {
			c = ledger.Citation{} // nothing is before it
		}
		kind, body, err = s.answer()
	}
}
