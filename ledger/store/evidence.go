package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store/raw"
)

// This file, branches.go and freeze.go tell one story. Evidence is kept here: one piece for each
// accused origin, the least that was seen (see [proof.Evidence.Compare]). So all nodes that have
// seen the same keep the same. Evidence freezes the origin's log at the first disputed entry. From
// there on the ledger takes an entry only if undisputed ones cite it, because those could not join
// otherwise. branches.go keeps such entries. freeze.go works out which disputed entries the
// undisputed ones lead to. What was held before stays readable.

// LostEvidenceError says that evidence was held and is not there any more. Without it the log of
// the accused would seem as good as others. The store does not open.
type LostEvidenceError struct {
	Origin ledger.Origin
	Seq    uint64      // of the entry at which the log was frozen
	ID     ledger.Hash // of the evidence
}

func (e *LostEvidenceError) Error() string {
	return fmt.Sprintf("the ledger has lost evidence %v, which freezes the log of %v at entry %d", e.ID, e.Origin, e.Seq)
}

// FrozenError says that an entry belongs to the disputed part of a log.
type FrozenError struct {
	Entry    ledger.Citation
	Evidence *proof.Evidence
}

func (e *FrozenError) Error() string {
	return fmt.Sprintf("entry %d is disputed: the log of %v is frozen at %d, because it %s",
		e.Entry.Seq, e.Entry.Origin, e.Evidence.Seq(), e.Evidence.Reason())
}

// AddEvidence keeps a piece of evidence and freezes the log of the accused. It returns when that is
// durable. It reports false if a piece that is as good was held already. Evidence that does not
// verify is an error.
func (s *Store) AddEvidence(ctx context.Context, ev *proof.Evidence) (added bool, err error) {
	if held := s.EvidenceOf(ev.Origin()); held != nil && held.Compare(ev) <= 0 {
		return false, nil
	}
	if err := ev.Verify(s.genesis); err != nil {
		return false, err
	}
	p, err := s.enqueue(ctx, &request{evidence: ev})
	if err != nil {
		return false, err
	}
	r, err := p.Wait(ctx)
	return r.Joined > 0, err
}

// accept takes a piece of evidence into the batch under way. It is called by the builder.
func (b *builder) accept(r *request) {
	o := r.evidence.Origin()
	if held := b.evidence[o]; held != nil && held.Compare(r.evidence) <= 0 {
		return
	}
	b.evidence[o] = r.evidence
	b.cur.others = append(b.cur.others, raw.KeyValue{Key: raw.EvidenceKey(o), Value: r.evidence.Bytes()})
	b.cur.evidence = append(b.cur.evidence, r.evidence)
	delete(b.citable, o)
	r.result.Joined = 1
}

// frozenAt returns the evidence that makes an entry disputed.
func (b *builder) frozenAt(o ledger.Origin, seq uint64) (*proof.Evidence, bool) {
	ev, ok := b.evidence[o]
	return ev, ok && seq >= ev.Seq()
}

// Accusable reports whether evidence against an origin is taken from every peer. It is if the
// genesis document names the origin, or if something of it is held. Keys cost nothing, so in an
// open network anybody could make evidence against as many strangers as he likes.
func (s *Store) Accusable(o ledger.Origin) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, held := s.row(o)
	return held || s.frozen[o] != nil || s.genesis.Names(o)
}

// EvidenceOf returns the evidence against an origin, nil if there is none.
func (s *Store) EvidenceOf(o ledger.Origin) *proof.Evidence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.frozen[o]; f != nil {
		return f.evidence
	}
	return nil
}

// Evidence returns all evidence, in the order of the accused.
func (s *Store) Evidence() []*proof.Evidence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*proof.Evidence
	for _, o := range slices.SortedFunc(maps.Keys(s.frozen), ledger.Origin.Compare) {
		all = append(all, s.frozen[o].evidence)
	}
	return all
}

// Disputed reports whether an entry is at or after the place at which its log is frozen.
func (s *Store) Disputed(ref Ref) bool {
	ev := s.EvidenceOf(ref.Origin)
	return ev != nil && ref.Seq >= ev.Seq()
}

// loadEvidence reads the evidence and works out what is frozen. It comes after the logs.
func (s *Store) loadEvidence(ctx context.Context, r *Recovery) error {
	all := map[ledger.Origin]*proof.Evidence{}
	for raw, err := range raw.ScanEvidence(ctx, s.ds) {
		if err != nil {
			return err
		}
		if raw.Err == nil {
			raw.Err = raw.Evidence.Verify(s.genesis)
		}
		if raw.Err != nil {
			return damage(raw.Key, "%v", raw.Err)
		}
		all[raw.Evidence.Origin()] = raw.Evidence
	}
	listed := map[ledger.Origin]ledger.Hash{}
	for raw, err := range raw.ScanFrozen(ctx, s.ds) {
		switch {
		case err != nil:
			return err
		case raw.Err != nil:
			return damage(raw.Key, "%v", raw.Err)
		case raw.Lacks(all[raw.Origin]):
			return &LostEvidenceError{raw.Origin, raw.Seq, raw.ID}
		}
		listed[raw.Origin] = raw.ID
	}
	var mend []raw.KeyValue
	for o, ev := range all {
		if listed[o] != ev.ID() {
			mend = append(mend, raw.FrozenRow(ev))
			r.Mended = append(r.Mended, fmt.Sprintf("evidence against %v was written but not listed", o))
		}
	}
	if len(mend) > 0 && !s.opts.ReadOnly {
		if err := writeBatch(s.ds, mend); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	var err error
	s.frozen, err = s.refreeze(ctx, all)
	return err
}
