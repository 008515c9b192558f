package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"pyvnode/ledger"
	"pyvnode/ledger/store/raw"
)

// The floor is the newest entry that carries this node's signature, as far as anybody has shown. A directory that was put
// back from an old backup, or copied, may lack it. Nothing is signed until it is held, because an entry at a place that is
// signed already is a fork. The floor is kept on disk, so that a restart does not forget it.

// BehindError says that this node's key has signed an entry which this ledger lacks, so nothing can be signed here.
type BehindError struct {
	Missing ledger.Citation // an entry of this node's log
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("this node's key has signed entry %d already, and this ledger does not hold it: it is not the newest copy. "+
		"Connect to a node that holds it, or, if it is lost everywhere, go on with a new identity", e.Missing.Seq)
}

// OwnLog says what is known of this node's log besides what stands in it.
type OwnLog struct {
	// Signed is how many entries this store has signed since it was opened.
	Signed uint64
	// Returned is how many entries of this node's log have joined since then that came from elsewhere.
	Returned uint64
	// Missing is an entry that this node's key has signed and this ledger lacks; nil if none is known.
	Missing *ledger.Citation
}

// ownLog counts what [OwnLog] says. The builder counts an entry when it is signed, before it is durable.
type ownLog struct{ signed, returned atomic.Uint64 }

// OwnLog returns what is known of this node's log.
func (s *Store) OwnLog() OwnLog {
	own := OwnLog{Signed: s.own.signed.Load(), Returned: s.own.returned.Load()}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.floor != nil {
		c := s.floor.Citation()
		own.Missing = &c
	}
	return own
}

// NoteSigned takes a signed header, with or without its record, that others hold of this node's log. If this ledger lacks
// the entry, nothing is signed from now on until it has joined; that is durable when NoteSigned returns. It refuses what
// this node's key has not signed for this network. Another entry at a place that is held is a [*ForkError].
func (s *Store) NoteSigned(ctx context.Context, e *ledger.Entry) error {
	switch {
	case e.Header.Origin != s.origin:
		return fmt.Errorf("entry %d is of %v, not of this node", e.Header.Seq, e.Header.Origin)
	case e.Header.Network != s.genesis.Network():
		return fmt.Errorf("%w: entry %d of %v", ErrOtherNetwork, e.Header.Seq, e.Header.Origin)
	case !e.VerifySignature():
		return fmt.Errorf("entry %d of %v: this node did not sign it", e.Header.Seq, e.Header.Origin)
	}
	p, err := s.enqueue(ctx, &request{signed: e})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// raise makes an entry that this node's key has signed the floor, unless it is held or a newer one is.
func (b *builder) raise(e *ledger.Entry) error {
	if h := b.logs[b.s.origin]; h != nil && e.Header.Seq < h.Log.Size() {
		is, err := b.citation(h, e.Header.Seq)
		if err != nil || is.Hash == e.Hash {
			return err
		}
		first, err := b.entry(raw.Place{Log: h.Number, Seq: e.Header.Seq})
		if err != nil {
			return err
		}
		return &ForkError{Held: first, Other: e}
	}
	if b.floor != nil && b.floor.Header.Seq >= e.Header.Seq {
		return nil
	}
	b.floor, b.cur.floor = e, e
	b.cur.others = append(b.cur.others, raw.KeyValue{Key: raw.KeyFloor, Value: slices.Concat(e.Signature[:], e.RawHeader)})
	return nil
}

// behind returns the error with which a draft is refused, or nil.
func (b *builder) behind() error {
	if b.floor == nil {
		return nil
	}
	if h := b.logs[b.s.origin]; h != nil && h.Log.Size() > b.floor.Header.Seq {
		is, err := b.citation(h, b.floor.Header.Seq)
		if err != nil {
			return err
		}
		if is.Hash == b.floor.Hash {
			b.floor = nil
			return nil
		}
	}
	return &BehindError{b.floor.Citation()}
}

// noteReturned looks at foreign entries that could not join for what they build on: an entry of
// this node's log was signed by an earlier run, or by somebody else with its key.
func (b *builder) noteReturned(entries []*checked) error {
	var newest *checked
	for _, e := range entries {
		if e.Header.Origin == b.s.origin && (newest == nil || e.Header.Seq > newest.Header.Seq) {
			newest = e
		}
	}
	if newest == nil || !newest.VerifySignature() {
		return nil
	}
	return b.raise(newest.Entry)
}

// showFloor makes the floor of a durable batch visible, and forgets one that is held now. The caller holds mu.
func (s *Store) showFloor(e *ledger.Entry) {
	if e != nil {
		s.floor = e
	}
	if s.floor == nil {
		return
	}
	if h := s.logs[s.origin]; h != nil && h.Log.Size() > s.floor.Header.Seq {
		s.floor = nil // if the log holds another entry there, that is a fork, for which there is evidence
	}
}

// loadFloor reads the floor. One of another key is of an identity that this directory had before.
func (s *Store) loadFloor(ctx context.Context) error {
	f, ok, err := raw.ReadFloor(ctx, s.ds)
	if err != nil || !ok {
		return err
	}
	if f.Err != nil {
		return damage(f.Key, "%v", f.Err)
	}
	if f.Entry.Header.Origin != s.origin || f.Entry.Header.Network != s.genesis.Network() {
		return nil
	}
	s.showFloor(f.Entry)
	return nil
}
