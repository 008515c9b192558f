package store

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store/raw"
)

// freezer works out what evidence changes about frozen logs. It runs beside the committer: it reads
// what it needs of the ledger while batches go on being written. The committer waits for it only at
// two moments: while it copies what is frozen now, and while it catches up with at most
// freezeCatchUp entries and shows the result. Until then readers see the ledger as it is without
// the evidence, and the callers that added it wait.
//
// All evidence that has come meanwhile is worked on together, the next time.
type freezer struct {
	s     *Store
	wake  chan struct{}
	cites citeIndex

	// mu is held by the committer while it shows a batch and works out what that changes.
	mu      sync.Mutex
	pending map[ledger.Origin]*proof.Evidence // durable, and not shown
	waiting []*request                        // of the callers that added it
}

// freezeCatchUp is how many entries the freezer may still have to read when it asks the committer
// to wait. Until the committer does, one more batch may be written.
const freezeCatchUp = maxBatchEntries

func newFreezer(s *Store) *freezer {
	return &freezer{s: s, wake: make(chan struct{}, 1), pending: map[ledger.Origin]*proof.Evidence{}}
}

// add takes a piece of evidence that is durable and moves a freeze. The caller holds mu.
func (f *freezer) add(ev *proof.Evidence) {
	f.pending[ev.Origin()] = ev
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// keep holds back the requests whose evidence waits to be shown, and returns the others. The caller
// holds mu.
func (f *freezer) keep(requests []*request) []*request {
	if len(f.pending) == 0 {
		return requests
	}
	return slices.DeleteFunc(requests, func(r *request) bool {
		waits := r.evidence != nil && f.pending[r.evidence.Origin()] != nil
		if waits {
			f.waiting = append(f.waiting, r)
		}
		return waits
	})
}

// run works until the committer has ended. What it did not come to then is worked out when the store is opened again.
func (f *freezer) run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		select {
		case <-f.s.ended:
			stop()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
		}
		err := ctx.Err()
		if err == nil {
			err = f.work(ctx)
		}
		if ctx.Err() != nil { // the evidence is durable, which is what was asked for
			f.mu.Lock()
			f.answer(f.waiting, nil)
			f.mu.Unlock()
			return
		}
		if err != nil {
			err = f.s.fail(err)
			f.mu.Lock()
			f.answer(f.waiting, err)
			f.waiting = nil
			f.mu.Unlock()
		}
	}
}

func (f *freezer) answer(requests []*request, err error) {
	for _, r := range requests {
		if err != nil {
			r.fail(err)
		}
		close(r.done)
	}
}

// work takes the evidence that waits, works out what follows from it, and shows the result.
func (f *freezer) work(ctx context.Context) error {
	s := f.s
	f.mu.Lock()
	evidence := maps.Clone(f.pending)
	s.mu.RLock()
	now := make(map[ledger.Origin]*frozen, len(s.frozen)+len(evidence))
	for o, z := range s.frozen {
		next := *z
		next.reached = make(map[ledger.Hash]*reached, len(z.reached))
		for hash, r := range z.reached {
			is := *r
			next.reached[hash] = &is
		}
		now[o] = &next
	}
	s.mu.RUnlock()
	heads := s.heads()
	f.mu.Unlock()
	if len(evidence) == 0 {
		return nil
	}

	if err := f.cites.extend(ctx, s, heads); err != nil {
		return err
	}
	changed, err := f.move(ctx, now, evidence, heads)
	if err != nil {
		return err
	}
	for {
		for newer := s.heads(); between(heads, newer) > freezeCatchUp; newer = s.heads() {
			if err := f.follow(ctx, now, heads, newer, changed); err != nil {
				return err
			}
			heads = newer
		}
		if done, err := f.show(ctx, now, evidence, heads, changed); done || err != nil {
			return err
		}
	}
}

// show lets readers see what was worked out, together with what was written since. It reports false when that is too much.
func (f *freezer) show(ctx context.Context, now map[ledger.Origin]*frozen, evidence map[ledger.Origin]*proof.Evidence, heads []*raw.Head, changed map[ledger.Origin]bool) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	newer := f.s.heads()
	if between(heads, newer) > 2*freezeCatchUp {
		return false, nil
	}
	if err := f.follow(ctx, now, heads, newer, changed); err != nil {
		return false, err
	}
	for o := range changed {
		now[o] = now[o].sorted()
	}
	f.s.mu.Lock()
	for o, z := range f.s.frozen {
		if evidence[o] == nil { // another piece for the same place may have come
			now[o].evidence = z.evidence
		}
	}
	f.s.frozen = now
	f.s.version++
	f.s.notify()
	f.s.mu.Unlock()
	for o, ev := range evidence {
		if f.pending[o] == ev {
			delete(f.pending, o)
		}
	}
	var later []*request
	for _, r := range f.waiting {
		if ev := evidence[r.evidence.Origin()]; ev != nil && ev.Compare(r.evidence) <= 0 {
			f.answer([]*request{r}, nil)
		} else {
			later = append(later, r)
		}
	}
	f.waiting = later
	if len(f.pending) > 0 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return true, nil
}

// between returns how many entries there are in newer heads that are not in older ones.
func between(older, newer []*raw.Head) (n uint64) {
	for _, h := range newer {
		n += h.Log.Size() - sizeOf(older, h.Number)
	}
	return n
}

func sizeOf(heads []*raw.Head, number uint32) uint64 {
	if int(number) >= len(heads) {
		return 0
	}
	return heads[number].Log.Size()
}

// follow follows what the entries between older and newer heads cite.
func (f *freezer) follow(ctx context.Context, now map[ledger.Origin]*frozen, older, newer []*raw.Head, changed map[ledger.Origin]bool) error {
	for _, h := range newer {
		end := now[h.Log.Origin].undisputed(h.Log.Size())
		for c, err := range f.s.citations(ctx, h, min(sizeOf(older, h.Number), end), end) {
			if err == nil {
				err = f.s.reach(ctx, now, ledger.Named{Citation: c}, changed)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// move works out what better evidence changes, as of the given heads. A freeze only ever goes back,
// from one entry to an earlier one. What lies between becomes disputed. It is reached if undisputed
// entries, or disputed ones that are reached, lead to it. What was reached stays so, unless one of
// the entries that became disputed led to it: then all is worked out anew.
func (f *freezer) move(ctx context.Context, now map[ledger.Origin]*frozen, evidence map[ledger.Origin]*proof.Evidence, heads []*raw.Head) (changed map[ledger.Origin]bool, err error) {
	changed = map[ledger.Origin]bool{}
	before := make(spans, len(now))
	for o, z := range now {
		before[o] = span{z.evidence.Seq(), math.MaxUint64}
	}
	byOrigin := make(map[ledger.Origin]*raw.Head, len(heads))
	for _, h := range heads {
		byOrigin[h.Log.Origin] = h
	}
	wanted := spans{}
	anew := false
	for o, ev := range evidence {
		changed[o] = true
		next := &frozen{evidence: ev, reached: map[ledger.Hash]*reached{}}
		end := uint64(math.MaxUint64)
		if z := now[o]; z != nil {
			next.reached, end = z.reached, z.evidence.Seq()
		}
		now[o], wanted[o] = next, span{ev.Seq(), end}
		h := byOrigin[o]
		if h.Size() <= ev.Seq() {
			continue
		}
		if ev.Seq() > 0 {
			e, err := f.s.Get(ctx, Ref{o, ev.Seq() - 1})
			if err != nil {
				return nil, err
			}
			next.before = e.Citation()
		}
		if !anew {
			if anew, err = f.leads(ctx, h, span{ev.Seq(), min(end, h.Log.Size())}, before); err != nil {
				return nil, err
			}
		}
	}
	if anew {
		for o, z := range now {
			z.reached = map[ledger.Hash]*reached{}
			changed[o] = true
			wanted[o] = span{z.evidence.Seq(), math.MaxUint64}
		}
	} else if err := f.onward(ctx, now, wanted, changed); err != nil {
		return nil, err
	}
	return changed, f.citing(ctx, now, wanted, heads, changed)
}

// citing follows what entries of the logs as they are held cite of what is wanted: undisputed entries, and disputed ones
// that are reached.
func (f *freezer) citing(ctx context.Context, now map[ledger.Origin]*frozen, wanted spans, heads []*raw.Head, changed map[ledger.Origin]bool) error {
	for _, h := range heads {
		for e, err := range f.cites.scan(ctx, f.s, h, span{0, h.Log.Size()}, wanted) {
			if err != nil {
				return err
			}
			z := now[h.Log.Origin]
			if e.seq >= z.undisputed(math.MaxUint64) { // disputed: it counts if it is reached
				hash, err := e.hash()
				if err != nil {
					return err
				}
				if z.reached[hash] == nil {
					continue
				}
			}
			for _, c := range e.seen {
				if wanted.have(c) {
					if err := f.s.reach(ctx, now, ledger.Named{Citation: c}, changed); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// leads reports whether entries of a log in a span cite what was disputed before.
func (f *freezer) leads(ctx context.Context, h *raw.Head, in span, before spans) (bool, error) {
	for e, err := range f.cites.scan(ctx, f.s, h, in, before) {
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(e.seen, before.have) {
			return true, nil
		}
	}
	return false, nil
}

// onward follows what leads from reached entries to those that became disputed, apart from citations in the logs as they are
// held: their predecessors, and what entries of other branches cite.
func (f *freezer) onward(ctx context.Context, now map[ledger.Origin]*frozen, wanted spans, changed map[ledger.Origin]bool) error {
	for o, w := range wanted {
		var first []ledger.Citation // those whose predecessors became disputed
		for hash, r := range now[o].reached {
			if r.Seq == w.to {
				first = append(first, ledger.Citation{Origin: o, Seq: r.Seq, Hash: hash})
			}
		}
		for _, c := range first {
			e, err := f.s.exact(ctx, Ref{o, c.Seq}, c.Hash, true)
			if err == nil && c.Seq > 0 {
				before := ledger.Citation{Origin: o, Seq: c.Seq - 1, Hash: e.Header.Prev}
				err = f.s.reach(ctx, now, ledger.Named{Citation: before, Predecessor: true}, changed)
			}
			if err != nil {
				return err
			}
		}
	}
	for raw, err := range raw.ScanBranches(ctx, f.s.ds) {
		if err == nil && raw.Err != nil {
			err = damage(raw.Key, "%v", raw.Err)
		}
		if err != nil {
			return err
		}
		if z := now[raw.Origin]; z == nil || z.reached[raw.Hash] == nil {
			continue
		}
		for _, c := range raw.Entry.Header.Seen {
			if wanted.have(c) {
				if err := f.s.reach(ctx, now, ledger.Named{Citation: c}, changed); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
