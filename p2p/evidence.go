package p2p

import (
	"cmp"
	"errors"
	"fmt"
	"iter"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// Whoever finds that an origin's statements cannot all be true makes evidence of it, stores it, and publishes it before
// anything else. Evidence is of the origin that signed, never of the peer that sent it.

// accuseFork makes evidence of two different entries for one place. Either may lack its record.
func (n *Network) accuseFork(held, other *ledger.Entry, from peer.ID) {
	n.accuse(from)(proof.Fork(n.genesis, held, other))
}

// accuseInvalid makes evidence of an entry that its bytes and the genesis document prove invalid. Often there is none,
// because nobody signed those bytes.
func (n *Network) accuseInvalid(e *ledger.Entry, why *ledger.InvalidError, from peer.ID) {
	if why.Reason == ledger.ReasonSignature || why.Reason == ledger.ReasonNetwork || !e.VerifySignature() {
		return
	}
	n.accuse(from)(proof.InvalidEntry(n.genesis, e))
}

// accuseLinked makes evidence of a signed entry that contradicts the entries it builds on, all of which are held.
func (n *Network) accuseLinked(e *ledger.Entry, why *ledger.InvalidError, from peer.ID) {
	h := &e.Header
	if !e.VerifySignature() {
		return
	}
	var prev *ledger.Entry
	if h.Seq > 0 {
		held, err := n.store.Get(n.ctx, store.Ref{Origin: h.Origin, Seq: h.Seq - 1})
		if err != nil {
			n.log.Error("no evidence could be made", "origin", h.Origin, "seq", h.Seq, "error", err)
			return
		}
		prev = held.Entry
	}
	accuse := n.accuse(from)
	switch why.Reason {
	case ledger.ReasonPrev:
		if prev == nil {
			accuse(proof.BadRoot(n.genesis, nil, e, n.leaves(h.Origin)))
			return
		}
		leaves := n.leaves(h.Origin)
		held, err := proof.NewClaim(prev, h.Seq-1, leaves)
		if err == nil {
			var named proof.Claim
			if named, err = proof.NewClaim(e, h.Seq-1, leaves); err == nil {
				accuse(proof.Conflict(n.genesis, h.Seq-1, held, named))
				return
			}
		}
		accuse(nil, err)
	case ledger.ReasonRoot:
		accuse(proof.BadRoot(n.genesis, prev, e, n.leaves(h.Origin)))
	case ledger.ReasonHeight:
		accuse(proof.BadHeight(n.genesis, prev, e))
	case ledger.ReasonCitation:
		for _, c := range h.Seen {
			cited, err := n.store.Get(n.ctx, store.Ref{Origin: c.Origin, Seq: c.Seq})
			if err == nil && cited.Hash == c.Hash && cited.Header.Height != c.Height {
				accuse(proof.BadCitation(n.genesis, e, cited.Entry))
				return
			}
		}
	case ledger.ReasonRepeated:
		n.accuseRepeated(e, accuse)
	default:
		accuse(proof.InvalidEntry(n.genesis, e))
	}
}

func (n *Network) accuseRepeated(e *ledger.Entry, accuse func(*proof.Evidence, error)) {
	facts, err := (&ledger.Checker{Genesis: n.genesis}).Check(e)
	if err != nil {
		accuse(nil, err)
		return
	}
	refs, err := n.store.ByContent(n.ctx, e.Header.Kind, facts.ContentID)
	for _, ref := range refs {
		if ref.Origin != e.Header.Origin || ref.Seq >= e.Header.Seq {
			continue
		}
		first, err := n.store.Get(n.ctx, ref)
		if err != nil {
			accuse(nil, err)
			return
		}
		accuse(proof.Repeated(n.genesis, first.Entry, e, n.leaves(e.Header.Origin)))
		return
	}
	accuse(nil, errors.Join(errors.New("the first copy is not held"), err))
}

// accuseSignature makes evidence of an entry in a range that was taken by hashing and whose own signature is bad: a later
// signed entry commits to it.
func (n *Network) accuseSignature(bad *ledger.InvalidError) {
	e, err := n.store.Get(n.ctx, store.Ref{Origin: bad.Origin, Seq: bad.Seq})
	if err != nil {
		n.log.Error("no evidence could be made", "origin", bad.Origin, "seq", bad.Seq, "error", err)
		return
	}
	for head, err := range n.store.Log(n.ctx, bad.Origin, bad.Seq+1, ^uint64(0)) {
		if err != nil {
			n.log.Error("no evidence could be made", "origin", bad.Origin, "seq", bad.Seq, "error", err)
			return
		}
		if head.VerifySignature() {
			n.accuse("")(proof.BadSignature(n.genesis, bad.Seq, e.Entry, head, n.leaves(bad.Origin)))
			return
		}
	}
}

// leaves yields the entry hashes of a log, which are the leaves of its tree.
func (n *Network) leaves(o ledger.Origin) proof.Leaves {
	return func(from, to uint64) iter.Seq2[ledger.Hash, error] {
		return func(yield func(ledger.Hash, error) bool) {
			for e, err := range n.store.Log(n.ctx, o, from, to) {
				if err != nil {
					yield(ledger.Hash{}, err)
					return
				}
				if !yield(e.Hash, nil) {
					return
				}
			}
		}
	}
}

// accuse returns what takes the result of making evidence.
func (n *Network) accuse(from peer.ID) func(*proof.Evidence, error) {
	return func(ev *proof.Evidence, err error) {
		if err != nil {
			n.log.Debug("no evidence of what a peer sent", "peer", from, "error", err)
			return
		}
		if n.accusable(ev.Origin()) {
			n.takeEvidence(ev, from)
		}
	}
}

// takeEvidence stores evidence that was verified, and passes on what is new.
func (n *Network) takeEvidence(ev *proof.Evidence, from peer.ID) {
	held := n.store.EvidenceOf(ev.Origin())
	again := held != nil
	added, err := n.store.AddEvidence(n.ctx, ev)
	if err != nil {
		if n.ctx.Err() == nil {
			n.log.Error("evidence was not stored", "origin", ev.Origin(), "error", err)
		}
		return
	}
	if !added {
		return
	}
	if more, ok := n.quietLies.say(); ok || n.genesis.Names(ev.Origin()) {
		n.log.Warn("an origin lied; its log is frozen", "origin", ev.Origin(), "seq", ev.Seq(), "evidence", ev.ID(), "what", ev.String(), "peer", from, "others", more)
	}
	if ev.Origin() == n.own {
		n.log.Error("the own log is frozen; not signing any more", "seq", ev.Seq(), "what", ev.String())
	}
	if again && held.Seq() == ev.Seq() || len(ev.Bytes()) > MaxMessage {
		return // it changes nothing for anybody who has the other; comparing frontiers brings it
	}
	select {
	case n.gossip.accuse <- ev:
	default: // others find it by comparing frontiers
	}
}

// accusable reports whether evidence against an origin is taken from whoever has it: the genesis document names the origin,
// or something of it is known here. Keys cost nothing, so in an open network anybody could make evidence against as many as
// he likes. Of other origins it is taken when an entry cites what it disputes ([neighbour.disputes]).
func (n *Network) accusable(o ledger.Origin) bool {
	if n.genesis.Names(o) || n.store.EvidenceOf(o) != nil {
		return true
	}
	_, held := n.store.Row(o)
	return held
}

// blame deals with an error of a pull: evidence where there is some, and no more of a peer that sent what it must have
// known to be wrong.
func (n *Network) blame(id peer.ID, err error) {
	var fork *store.ForkError
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &fork):
		n.accuseFork(fork.Held, fork.Other, id)
	case errors.As(err, &invalid):
		n.drop(id, err) // honest nodes pass on only what they checked
	}
}

// readEvidence parses and verifies evidence that a peer sent.
func (n *Network) readEvidence(body []byte) (*proof.Evidence, error) {
	ev, err := proof.ParseEvidence(body)
	if err == nil {
		err = ev.Verify(n.genesis)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return ev, nil
}

// exchangeEvidence gets the evidence that a peer's rows show and this node lacks, and tells the peer of what it lacks and could not
// know to ask for. The first ends when the peer has claimed more than claims pieces that it does not have, which is held
// against it.
func (b *neighbour) exchangeEvidence(s *session, theirs ledger.Frontier, claims *int) error {
	n := b.n
	for i := range theirs {
		row := &theirs[i]
		if err := b.tellEvidence(s, row); err != nil {
			return err
		}
		if row.Frozen == nil || *claims == 0 || !n.accusable(row.Origin) || !n.betterEvidence(row.Origin, row.Frozen) {
			continue
		}
		has, err := b.askEvidence(s, row.Origin)
		if err != nil {
			return err
		}
		if !has {
			if *claims--; *claims == 0 {
				n.standings.note(b.id, 0, 0)
			}
		}
	}
	return nil
}

// betterEvidence reports whether a freeze goes before the one that is known here.
func (n *Network) betterEvidence(o ledger.Origin, f *ledger.Freeze) bool {
	ev := n.store.EvidenceOf(o)
	return ev == nil || cmp.Or(cmp.Compare(f.Seq, ev.Seq()), f.Evidence.Compare(ev.ID())) < 0
}

// askEvidence gets a peer's evidence against an origin, and takes it as far as the limits allow. It reports whether the peer
// has some.
func (b *neighbour) askEvidence(s *session, o ledger.Origin) (has bool, err error) {
	n := b.n
	if !n.gossip.limits.takesEvidence(o, false) {
		return true, nil
	}
	p := place{origin: o}
	kind, body, err := s.ask(frameEvidence, p.append(nil))
	if err != nil || kind != frameEvidence {
		return false, err
	}
	ev, err := n.readEvidence(body)
	if err == nil && ev.Origin() != o {
		err = fmt.Errorf("%w: evidence against %v, which was not asked for", errFrame, ev.Origin())
	}
	if err != nil {
		n.drop(b.id, err)
		return false, err
	}
	if n.gossip.limits.takesEvidence(o, true) {
		n.takeEvidence(ev, b.id)
	}
	return true, nil
}

// tellEvidence tells a peer of evidence that disputes what its row shows as good, and that this node's frontier does not
// show, because nothing undisputed is left of that log.
func (b *neighbour) tellEvidence(s *session, row *ledger.Row) error {
	n := b.n
	ev := n.store.EvidenceOf(row.Origin)
	if ev == nil || row.Frozen != nil && cmp.Or(cmp.Compare(ev.Seq(), row.Frozen.Seq), ev.ID().Compare(row.Frozen.Evidence)) >= 0 {
		return nil
	}
	if _, shown := n.store.Row(row.Origin); shown {
		return nil
	}
	kind, _, err := s.ask(frameAccuse, ev.Bytes())
	if err == nil && kind != frameNone {
		err = unexpected(kind)
	}
	return err
}

func (n *Network) answerAccuse(f *framer, from peer.ID, body []byte) error {
	ev, err := proof.ParseEvidence(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	o := ev.Origin()
	if held := n.store.EvidenceOf(o); (held == nil || held.Compare(ev) > 0) && n.accusable(o) && n.gossip.limits.takesEvidence(o, false) {
		if err := ev.Verify(n.genesis); err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
		if n.gossip.limits.takesEvidence(o, true) {
			n.takeEvidence(ev, from)
		}
	}
	return f.send(frameNone, nil)
}

// disputes reports whether a cited entry is in the disputed part of its log. Of an origin that this node knows nothing of,
// the peer is asked for evidence: what an entry cites must be held, so here it is owed, whoever the origin is. It costs
// whoever makes it up an entry, with its proof of work.
func (b *neighbour) disputes(s *session, c ledger.Citation) (bool, error) {
	if !b.n.accusable(c.Origin) {
		if _, err := b.askEvidence(s, c.Origin); err != nil {
			return false, err
		}
	}
	return b.n.store.Disputed(store.Ref{Origin: c.Origin, Seq: c.Seq}), nil
}

func (n *Network) answerEvidence(f *framer, o ledger.Origin) error {
	if ev := n.store.EvidenceOf(o); ev != nil {
		return f.send(frameEvidence, ev.Bytes())
	}
	return f.send(frameNone, nil)
}
