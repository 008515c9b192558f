package p2p

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// maxCited is how many disputed entries are fetched for one citation. What builds on more does not join here: a limit that
// nodes would have to raise together.
const maxCited = 1 << 16

// fetchPast gets an entry and everything in its past that is disputed and not held. What is undisputed comes by a pull;
// until it has, the entry cannot be taken, and the next comparison tries again.
func (b *neighbour) fetchPast(s *session, c ledger.Citation) error {
	n := b.n
	// First what there is, from the newest back; only then what it says, from the oldest on, so that little is in memory.
	var found []ledger.Citation
	seen := map[ledger.Hash]bool{}
	for todo := []ledger.Citation{c}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[c.Hash] || n.holds(c) || !n.store.Disputed(store.Ref{Origin: c.Origin, Seq: c.Seq}) {
			continue
		}
		seen[c.Hash] = true
		if len(seen) > maxCited {
			return fmt.Errorf("more than %d disputed entries behind entry %d of %v", maxCited, c.Seq, c.Origin)
		}
		e, err := s.entryOf(c)
		if err != nil {
			return err
		}
		found = append(found, e.Citation())
		todo = append(todo, e.Header.Seen...)
		if before, ok := predecessor(e); ok {
			todo = append(todo, before)
		}
	}
	slices.SortFunc(found, func(a, b ledger.Citation) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), a.Origin.Compare(b.Origin), cmp.Compare(a.Seq, b.Seq), a.Hash.Compare(b.Hash))
	})
	for part := range slices.Chunk(found, 64) {
		var entries []*ledger.Entry
		for _, c := range part {
			e, err := s.entryOf(c)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		_, err := n.store.IngestDisputed(b.ctx, entries...)
		var missing *store.MissingError
		if errors.As(err, &missing) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entryOf asks for an entry by its hash.
func (s *session) entryOf(c ledger.Citation) (*ledger.Entry, error) {
	p := place{origin: c.Origin, seq: c.Seq, hash: c.Hash}
	kind, body, err := s.ask(frameEntryOf, p.append(nil))
	switch {
	case err != nil:
		return nil, err
	case kind == frameNone:
		return nil, fmt.Errorf("the peer does not have entry %d of %v with hash %s, which it cites", c.Seq, c.Origin, c.Hash.Short())
	case kind != frameEntry:
		return nil, unexpected(kind)
	}
	e, err := ledger.DecodeEntry(slices.Clone(body))
	if err != nil {
		return nil, err
	}
	if e.Hash != c.Hash {
		return nil, fmt.Errorf("%w: another entry than was asked for", errFrame)
	}
	return e, nil
}
