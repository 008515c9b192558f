package store

import (
	"context"
	"iter"

	"pyvnode/ledger"
)

// What counts entries need not begin anew with each entry that comes: it goes from one [Held] to the
// next. Both were true of this ledger at some moment, and what either covers can still be read.

// HeldEntry is an entry as a [Held] covers it.
type HeldEntry struct {
	*ledger.Entry
	Disputed bool // see [Held.Disputed]
	// Verified says that the signature is known to be good. Otherwise nobody has looked yet, and a
	// disputed entry may never have been signed at all.
	Verified bool
}

// Added yields the entries that newer covers and older does not, in canonical order: each comes after all
// it names, unless older covers that. Without an older one it yields all. An error ends the sequence.
//
// An entry that both cover and that has become disputed meanwhile is in neither Added nor [Store.Gone];
// newer.Disputed tells.
func (s *Store) Added(ctx context.Context, older, newer *Held) iter.Seq2[HeldEntry, error] {
	if older == nil {
		older = &Held{}
	}
	return s.difference(ctx, newer, older)
}

// Gone yields the entries that older covers and newer does not, in canonical order: a freeze has made
// them disputed, or what led to them, and no undisputed entry leads to them now. It says of each what
// older said. They are held all the same. An error ends the sequence.
func (s *Store) Gone(ctx context.Context, older, newer *Held) iter.Seq2[HeldEntry, error] {
	return s.difference(ctx, older, newer)
}

// difference yields what a has and b has not.
func (s *Store) difference(ctx context.Context, a, b *Held) iter.Seq2[HeldEntry, error] {
	logs := []iter.Seq2[*ledger.Entry, error]{s.undisputedBesides(ctx, a, b)}
	for o, f := range a.frozen {
		if len(f.disputed) > 0 && f != b.frozen[o] {
			logs = append(logs, s.disputedBesides(ctx, f, b))
		}
	}
	return func(yield func(HeldEntry, error) bool) {
		verified := map[ledger.Origin]uint64{} // those of a, looked up once for each log
		for e, err := range ledger.Chain(logs...) {
			if err != nil {
				yield(HeldEntry{}, err)
				return
			}
			o := e.Header.Origin
			n, ok := verified[o]
			if !ok {
				n = a.Verified(o)
				verified[o] = n
			}
			if !yield(HeldEntry{e, a.Disputed(Ref{o, e.Header.Seq}), e.Header.Seq < n}, nil) {
				return
			}
		}
	}
}

// undisputedBesides yields the undisputed entries of a that b does not cover.
func (s *Store) undisputedBesides(ctx context.Context, a, b *Held) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		m := s.NewMerge()
		cited := map[ledger.Hash]bool{} // entries that b covers as disputed ones
		rest := b.Frontier              // both are in order of their origins
		for i := range a.Frontier {
			row := &a.Frontier[i]
			for len(rest) > 0 && rest[0].Origin.Compare(row.Origin) < 0 {
				rest = rest[1:]
			}
			var from uint64
			if len(rest) > 0 && rest[0].Origin == row.Origin {
				from = rest[0].Size()
			}
			if from >= row.Size() {
				continue
			}
			m.Add(row.Origin, from, row.Size())
			for _, c := range b.Cited(row.Origin) {
				cited[c.Hash] = true
			}
		}
		for e, err := range m.All(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !cited[e.Hash] && !yield(e.Entry, nil) {
				return
			}
		}
	}
}

// disputedBesides yields the disputed entries of one log, as its freeze in a has them, that b does not
// cover.
func (s *Store) disputedBesides(ctx context.Context, f *frozen, b *Held) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		o := f.evidence.Origin()
		cited, undisputed := map[ledger.Hash]bool{}, b.Undisputed(o)
		for _, c := range b.Cited(o) {
			cited[c.Hash] = true
		}
		for _, c := range f.disputed {
			if cited[c.Hash] {
				continue
			}
			ref := Ref{o, c.Seq}
			if c.Seq < undisputed { // covered, if it is not of another branch
				is, err := s.Get(ctx, ref)
				if err != nil {
					yield(nil, err)
					return
				}
				if is.Hash == c.Hash {
					continue
				}
			}
			e, err := s.exact(ctx, ref, c.Hash, true)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
