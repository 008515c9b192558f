package p2p

import (
	"errors"
	"fmt"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// maxCited is how many disputed entries are fetched for one citation.
const maxCited = 4096

// fetchCited gets the disputed entries that undisputed ones cite at the peer, and all that those build on: without them
// the undisputed ones could not join here.
func (b *neighbour) fetchCited(s *session, theirs ledger.Frontier) error {
	n := b.n
	for i := range theirs {
		if theirs[i].Frozen == nil {
			continue
		}
		for _, c := range theirs[i].Frozen.Cited {
			if n.holds(c) || !n.store.Disputed(store.Ref{Origin: c.Origin, Seq: c.Seq}) {
				continue
			}
			if err := b.fetchPast(s, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchPast gets an entry and everything in its past that is disputed and not held. What is undisputed comes by a pull;
// until it has, the entry cannot be taken, and the next comparison tries again.
func (b *neighbour) fetchPast(s *session, c ledger.Citation) error {
	n := b.n
	var found []*ledger.Entry
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
		p := place{origin: c.Origin, seq: c.Seq, hash: c.Hash}
		kind, body, err := s.ask(frameEntryOf, p.append(nil))
		if err != nil {
			return err
		}
		if kind == frameNone {
			return fmt.Errorf("the peer does not have entry %d of %v with hash %s, which it cites", c.Seq, c.Origin, c.Hash.Short())
		}
		if kind != frameEntry {
			return unexpected(kind)
		}
		e, err := ledger.DecodeEntry(slices.Clone(body))
		if err != nil {
			return err
		}
		if e.Hash != c.Hash {
			return fmt.Errorf("%w: another entry than was asked for", errFrame)
		}
		found = append(found, e)
		todo = append(todo, e.Header.Seen...)
		if e.Header.Seq > 0 {
			todo = append(todo, ledger.Citation{Origin: c.Origin, Seq: c.Seq - 1, Hash: e.Header.Prev})
		}
	}
	slices.SortFunc(found, ledger.CompareCanonical)
	_, err := n.store.IngestDisputed(b.ctx, found...)
	var missing *store.MissingError
	if errors.As(err, &missing) {
		return nil
	}
	return err
}
