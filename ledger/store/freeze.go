package store

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store/raw"
)

// This file works out what evidence and entries together make of a frozen log: where its undisputed
// part ends, and which disputed entries the undisputed ones lead to. There are three occasions.
// When the store opens, everything is worked out (refreeze). When a batch adds entries, what they
// cite is followed (freeze). When evidence moves a freeze, freezer.go works beside the committer,
// and citeindex.go spares it most of the reading. See evidence.go for the story.

// frozen is what follows from the evidence against an origin and from all entries that are durable.
// It is never changed once readers can see it: a new one takes its place.
type frozen struct {
	evidence *proof.Evidence
	before   ledger.Citation   // the newest undisputed entry, if the log goes on after it; otherwise that is the head
	cited    ledger.Hash       // see ledger.Freeze
	disputed []ledger.Citation // all of them, in canonical order

	reached map[ledger.Hash]*reached // the same by hash; belongs to the committer
}

type reached struct {
	ledger.Citation
	followed bool // a later reached entry names it as predecessor
}

// undisputed returns how many entries of a log are before the freeze.
func (f *frozen) undisputed(size uint64) uint64 {
	if f == nil {
		return size
	}
	return min(size, f.evidence.Seq())
}

// undisputed returns how many entries of a log are before the freeze, if there is one.
func (s *Store) undisputed(h *raw.Head) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.frozen[h.Log.Origin].undisputed(h.Log.Size())
}

// freeze works out what a durable batch changes about frozen logs. Evidence that moves a freeze is left to the freezer. It
// belongs to the committer, which holds the freezer's mu.
func (s *Store) freeze(ctx context.Context, b *batch) error {
	now := map[ledger.Origin]*frozen{}
	s.mu.RLock()
	maps.Copy(now, s.frozen)
	s.mu.RUnlock()
	changed := map[ledger.Origin]bool{}
	for _, ev := range b.evidence {
		o := ev.Origin()
		if f := now[o]; f != nil && f.evidence.Seq() == ev.Seq() {
			// The same entries are disputed as before. A liar can make as many such pieces as he
			// likes, so they must cost little.
			next := *f
			next.evidence = ev
			now[o], changed[o] = &next, true
		} else {
			s.freezer.add(ev)
		}
	}
	if len(now) == 0 {
		return nil
	}
	for _, c := range b.cites {
		if err := s.reach(ctx, now, ledger.Named{Citation: c}, changed); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	for o := range changed {
		now[o] = now[o].sorted()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = now
	s.version++
	s.notify()
	return nil
}

// refreeze works everything out from evidence and entries, when the store opens.
func (s *Store) refreeze(ctx context.Context, all map[ledger.Origin]*proof.Evidence) (map[ledger.Origin]*frozen, error) {
	now := map[ledger.Origin]*frozen{}
	lowest := uint64(ledger.MaxHeight) // height above which all disputed entries, and so all that cite them, are
	sizes := map[ledger.Origin]*raw.Head{}
	for _, h := range s.heads() {
		sizes[h.Log.Origin] = h
	}
	for o, ev := range all {
		f := &frozen{evidence: ev, reached: map[ledger.Hash]*reached{}}
		now[o] = f
		h := sizes[o]
		if h == nil || ev.Seq() == 0 {
			lowest = 0
			continue
		}
		if h.Log.Size() <= ev.Seq() {
			lowest = min(lowest, h.Log.Height)
			continue
		}
		e, err := s.Get(ctx, Ref{o, ev.Seq() - 1})
		if err != nil {
			return nil, err
		}
		f.before = e.Citation()
		lowest = min(lowest, f.before.Height)
	}
	for o, h := range sizes {
		end := now[o].undisputed(h.Log.Size())
		from, err := s.above(ctx, o, end, lowest)
		if err != nil {
			return nil, err
		}
		for c, err := range s.citations(ctx, h, from, end) {
			if err == nil {
				err = s.reach(ctx, now, ledger.Named{Citation: c}, nil)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for o, f := range now {
		now[o] = f.sorted()
	}
	return now, nil
}

// citations yields what the entries of a log with from ≤ seq < to cite.
func (s *Store) citations(ctx context.Context, h *raw.Head, from, to uint64) iter.Seq2[ledger.Citation, error] {
	return func(yield func(ledger.Citation, error) bool) {
		var seen []ledger.Citation
		for pair, err := range s.scanLog(ctx, h, from, to) {
			if err != nil {
				yield(ledger.Citation{}, err)
				return
			}
			st, err := raw.ParseValue(pair.Value)
			if err == nil {
				seen, err = ledger.AppendSeen(seen[:0], st.Entry)
			}
			if err != nil {
				yield(ledger.Citation{}, damage(string(pair.Key), "%v", err))
				return
			}
			for _, c := range seen {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// above returns the first of a log's entries that is higher than a height. Heights rise within a log.
func (s *Store) above(ctx context.Context, o ledger.Origin, size, height uint64) (uint64, error) {
	low, high := uint64(0), size
	for low < high {
		mid := low + (high-low)/2
		e, err := s.Get(ctx, Ref{o, mid})
		if err != nil {
			return 0, err
		}
		if e.Header.Height > height {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}

// reach follows what an entry names into the disputed part of a log, and from there to all that leads to. It notes in
// changed, if that is not nil, which logs have more reached entries.
func (s *Store) reach(ctx context.Context, now map[ledger.Origin]*frozen, from ledger.Named, changed map[ledger.Origin]bool) error {
	return ledger.Follow([]ledger.Named{from}, func(n ledger.Named) (*ledger.Header, error) {
		f := now[n.Origin]
		if f == nil || n.Seq < f.evidence.Seq() {
			return nil, nil
		}
		if r := f.reached[n.Hash]; r != nil {
			r.followed = r.followed || n.Predecessor
			return nil, nil
		}
		e, err := s.exact(ctx, Ref{n.Origin, n.Seq}, n.Hash, true)
		if err != nil {
			return nil, err
		}
		f.reached[n.Hash] = &reached{e.Citation(), n.Predecessor}
		if changed != nil {
			changed[n.Origin] = true
		}
		return &e.Header, nil
	})
}

// sorted returns the same with disputed and cited made anew.
func (f *frozen) sorted() *frozen {
	next := *f
	next.disputed = make([]ledger.Citation, 0, len(f.reached))
	var cited []ledger.Hash
	for hash, r := range f.reached {
		next.disputed = append(next.disputed, r.Citation)
		if !r.followed {
			cited = append(cited, hash)
		}
	}
	next.cited = ledger.CitedHash(cited)
	slices.SortFunc(next.disputed, func(a, b ledger.Citation) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.Seq, b.Seq), a.Hash.Compare(b.Hash))
	})
	return &next
}
