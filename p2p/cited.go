package p2p

import (
	"cmp"
	"container/heap"
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
func (b *neighbour) fetchPast(s *session, c ledger.Citation) (all store.Result, err error) {
	// First what there is, from the newest back; only then what it says, from the oldest on, so that little is in memory.
	past, err := b.disputedPast(s, c)
	if err != nil {
		return all, err
	}
	for len(past) > 0 {
		run, bytes := 1, past[0].length
		for run < len(past) && run < store.RangeEntries && past[run].prev == past[run-1].Hash && bytes+past[run].length <= store.RangeBytes {
			bytes += past[run].length
			run++
		}
		entries, err := s.branch(past[run-1].Citation, run)
		if err != nil {
			return all, err
		}
		if len(entries) != run || entries[run-1].Hash != past[0].Hash {
			return all, fmt.Errorf("%w: a branch that is not what it was before", errFrame)
		}
		slices.Reverse(entries)
		result, err := b.n.store.IngestDisputed(b.ctx, entries...)
		b.n.received.sync.count(result)
		all.Joined, all.Held = all.Joined+result.Joined, all.Held+result.Held
		var missing *store.MissingError
		if errors.As(err, &missing) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		past = past[run:]
	}
	return all, nil
}

// disputedPast finds the entries that fetchPast gets, in canonical order: at most [maxPast], the first. What a peer shows of
// the disputed part of a log need not be signed, and it can make it up as it goes: however much that is, a bounded part is
// remembered and a bounded part looked at.
func (b *neighbour) disputedPast(s *session, c ledger.Citation) ([]disputedEntry, error) {
	var failed error
	p := past{most: maxPast, known: map[ledger.Hash]bool{}, below: ledger.MaxHeight + 1, lacks: func(c ledger.Citation) bool {
		disputed, err := b.disputes(s, c)
		failed = cmp.Or(failed, err)
		return disputed && !b.n.holds(c)
	}}
	if c.Height == 0 {
		c.Height = ledger.MaxHeight // it was named as a predecessor
	}
	p.cite(c)
	for looks := 0; len(p.todo) > 0; {
		c := p.next()
		entries, err := s.branch(c, store.RangeEntries)
		if err = cmp.Or(failed, err); err != nil {
			return nil, err
		}
		for i, e := range entries {
			at := e.Citation()
			if i == 0 && at.Height > c.Height {
				return nil, fmt.Errorf("%w: entry %d of %v is higher than was said", errFrame, at.Seq, at.Origin)
			}
			if i > 0 && !p.lacks(at) || !p.find(e) {
				break
			}
			looks += 1 + len(e.Header.Seen)
			for _, cited := range e.Header.Seen {
				p.cite(cited)
			}
			if before, ok := predecessor(e); ok && i == len(entries)-1 {
				before.Height = at.Height - 1 // at most
				p.cite(before)
			}
		}
		if looks > pastLooks {
			return nil, fmt.Errorf("entry %d of %v leads to more than %d disputed ones", c.Seq, c.Origin, pastLooks)
		}
	}
	return p.first(), failed
}

// past is what is known of the disputed entries that one leads to. When it is too much, the lowest are kept: what they lead
// to is lower still.
type past struct {
	most  int
	known map[ledger.Hash]bool // true when found, false while it is in todo
	found []disputedEntry
	todo  pastHeap // lowest first
	below uint64   // nothing as high counts any more
	lacks func(ledger.Citation) bool
}

// cite adds an entry that is to be found.
func (p *past) cite(c ledger.Citation) {
	if _, known := p.known[c.Hash]; known || c.Height >= p.below || !p.lacks(c) {
		return
	}
	p.known[c.Hash] = false
	heap.Push(&p.todo, c)
	if len(p.todo) >= 2*p.most {
		slices.SortFunc(p.todo, func(a, b ledger.Citation) int { return cmp.Compare(a.Height, b.Height) })
		p.cut(p.todo[p.most].Height)
	}
}

func (p *past) next() ledger.Citation { return heap.Pop(&p.todo).(ledger.Citation) }

// find adds an entry that was found, unless it was before or does not count any more.
func (p *past) find(e *ledger.Entry) bool {
	if p.known[e.Hash] || e.Header.Height >= p.below {
		return false
	}
	p.known[e.Hash] = true
	p.found = append(p.found, disputedEntry{e.Citation(), e.Header.Prev, e.Len()})
	if len(p.found) >= 2*p.most {
		p.cut(p.first()[p.most].Height)
	}
	return true
}

// cut forgets all that is as high or higher.
func (p *past) cut(height uint64) {
	p.below = height
	high := func(c ledger.Citation) bool {
		if c.Height >= height {
			delete(p.known, c.Hash)
		}
		return c.Height >= height
	}
	p.found = slices.DeleteFunc(p.found, func(e disputedEntry) bool { return high(e.Citation) })
	p.todo = slices.DeleteFunc(p.todo, high)
	heap.Init(&p.todo)
}

// first returns what was found in canonical order.
func (p *past) first() []disputedEntry {
	slices.SortFunc(p.found, func(a, b disputedEntry) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), a.Origin.Compare(b.Origin), cmp.Compare(a.Seq, b.Seq), a.Hash.Compare(b.Hash))
	})
	return p.found
}

// pastHeap has the lowest first.
type pastHeap []ledger.Citation

func (h pastHeap) Len() int           { return len(h) }
func (h pastHeap) Less(i, j int) bool { return h[i].Height < h[j].Height }
func (h pastHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pastHeap) Push(x any)        { *h = append(*h, x.(ledger.Citation)) }
func (h *pastHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
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
