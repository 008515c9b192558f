package p2p

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// signing is the own-head check: no node forks itself by accident. A directory that was put back
// from an old backup, or copied, does not know what was signed with its key since. To go on signing
// would be a fork. So before the first signature after a start, a node asks others for the newest
// entry of its own log that they hold, and fetches what it lacks.
//
// An entry with this node's signature is proof, whichever peer shows it, and no vote overrides it:
// the store keeps the newest one as its floor and signs nothing until that is held
// ([store.Store.NoteSigned]). That there is nothing newer cannot be proved. For that there are only
// votes: of the members, cosigners and configured peers. A peer that holds nothing of a log that
// has entries here knows nothing about it. Such a vote counts only together with a majority.
type signing struct {
	n      *Network
	wanted int
	others map[peer.ID]bool // whose votes count; set before start

	mu       sync.Mutex
	stage    SigningState
	why      string
	asking   map[peer.ID]bool
	knows    map[peer.ID]bool // that hold of this node's log what is held here, and nothing newer
	none     map[peer.ID]bool // that held nothing of it when first asked: more they have from here
	settling bool
	returned uint64 // how many own entries had come from elsewhere when the votes began
}

func newSigning(n *Network) *signing {
	s := &signing{n: n, wanted: max(1, n.o.Confirmations), others: map[peer.ID]bool{}, asking: map[peer.ID]bool{},
		knows: map[peer.ID]bool{}, none: map[peer.ID]bool{}, returned: n.store.OwnLog().Returned}
	for id := range n.configure {
		s.others[id] = true
	}
	for _, list := range [][]ledger.Origin{n.genesis.Members, n.genesis.Cosigners} {
		for _, o := range list {
			if o != n.own {
				s.others[o.PeerID()] = true
			}
		}
	}
	switch {
	case !n.genesis.MayWrite(n.own):
		s.stage, s.why = SigningNever, fmt.Sprintf("the genesis document of %q does not let %v write", n.genesis.Name, n.own)
	case s.nobodyToAsk():
		s.stage = SigningReady
	case n.o.Alone:
		n.log.Warn("signing without asking others for the newest entry of this node's log: if this directory is a copy or from a backup, this forks the log")
		s.stage = SigningReady
	default:
		s.wait()
	}
	return s
}

// nobodyToAsk reports whether nobody else has a reason to hold this node's log.
func (s *signing) nobodyToAsk() bool { return len(s.others) == 0 && !s.n.genesis.Open }

// wait begins to wait for votes. The caller holds mu.
func (s *signing) wait() {
	clear(s.knows)
	s.stage = SigningWaiting
	s.why = fmt.Sprintf("waiting for %d of the members, cosigners or configured peers to say which entries of this node's log they hold; "+
		"one that holds none of a log that has entries here counts only together with a majority. "+
		"Start with --alone to sign without asking, if you know that this directory is the only and newest copy", s.wanted)
	if len(s.n.configure) == 0 {
		s.why += ". No peer is configured: list other nodes in bootstrap.json, unless they find this one"
	}
}

func frozenWhy(ev *proof.Evidence) string {
	return fmt.Sprintf("its own log is frozen at entry %d: %s. Find out who else has this node's key (a copied or restored directory, or a thief), "+
		"and go on with a new identity", ev.Seq(), ev)
}

func (s *signing) state() (SigningState, string) {
	if err := s.check(); err != nil {
		return err.State, err.Why
	}
	return SigningReady, ""
}

// MaySign returns nil, or a [*NotReadyError].
func (n *Network) MaySign() error {
	if err := n.signing.check(); err != nil {
		return err
	}
	return nil
}

// check returns why this node does not sign, or nil. Evidence against its log ends signing, however
// it came into the ledger.
func (s *signing) check() *NotReadyError {
	ev := s.n.store.EvidenceOf(s.n.own)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	switch {
	case ev != nil:
		return &NotReadyError{SigningStopped, frozenWhy(ev)}
	case s.stage != SigningReady:
		return &NotReadyError{s.stage, s.why}
	}
	return nil
}

// look follows what the ledger says of this node's log: entries of it that turned up from
// elsewhere, or are known to exist. An earlier run signed them, unless this one has signed too:
// then somebody else has this node's key. The caller holds mu.
func (s *signing) look() {
	own := s.n.store.OwnLog()
	turnedUp := own.Returned > s.returned
	s.returned = own.Returned
	if s.stage == SigningReady && (turnedUp || own.Missing != nil) {
		if own.Signed > 0 {
			s.stage = SigningStopped
			s.why = "entries of its own log came from another node, although this one has signed since it started. Stop the other node " +
				"that has this node's key (a copied or restored directory, or a thief), then start this one again"
			s.n.log.Error("somebody else signs with this node's key; not signing any more")
			return
		}
		s.n.log.Warn("others hold more of this node's log than was here; asking them anew")
		s.wait()
	}
	switch {
	case s.stage == SigningWaiting && own.Missing != nil:
		s.stage = SigningBehind
		s.why = fmt.Sprintf("others hold entry %d of this node's log, which is not here: this directory is not the newest. "+
			"What is missing is being fetched. If nobody has it any more, go on with a new identity", own.Missing.Seq)
		s.n.log.Warn("others hold more of this node's log than is here; fetching it", "seq", own.Missing.Seq)
	case s.stage == SigningBehind && own.Missing == nil:
		s.wait()
	}
	if s.stage == SigningWaiting && !s.settling && s.enough() {
		s.settling = true
		s.n.running.Go(s.settle)
	}
}

// enough reports whether the votes suffice. The caller holds mu.
func (s *signing) enough() bool {
	none := len(s.none)
	if row, _ := s.n.store.Row(s.n.own); row.Size() == 0 {
		return len(s.knows)+none >= s.wanted || s.nobodyToAsk() // nothing is what is held here too
	}
	return len(s.knows) >= s.wanted || s.nobodyToAsk() ||
		len(s.knows)+none >= s.wanted && len(s.knows)+none > len(s.others)/2
}

// settle gives all connected peers whose votes count the time to show something newer, then lets
// this node sign.
func (s *signing) settle() {
	begin := time.Now()
	for pause := settleTime; ; pause = settleStep {
		select {
		case <-time.After(pause):
		case <-s.n.ctx.Done():
			return
		}
		silent := 0
		for _, b := range s.n.allNeighbours() {
			if s.others[b.id] && !s.answered(b.id) {
				silent++
			}
		}
		s.mu.Lock()
		s.look()
		switch {
		case s.stage != SigningWaiting || !s.enough():
			s.settling = false
			s.mu.Unlock()
			return
		case silent == 0 || time.Since(begin) >= settleMost:
			s.stage, s.why, s.settling = SigningReady, "", false
			s.n.log.Info("ready to sign", "confirmed_by", len(s.knows), "without_it", len(s.none), "silent", silent)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

func (s *signing) answered(id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knows[id] || s.none[id]
}

// serves notes that a peer asks for this node's log from its beginning, which says that it held
// nothing of it.
func (s *signing) serves(id peer.ID, size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size == 0 && s.others[id] && !s.knows[id] {
		s.none[id] = true
	}
}

// heard is called after each comparison with a neighbour, before what it has more is fetched. While
// nothing is signed, every neighbour is asked: an entry is proof whichever peer has it.
func (s *signing) heard(b *neighbour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	switch {
	case s.stage == SigningNever, s.stage == SigningStopped, s.asking[b.id], s.knows[b.id], s.none[b.id], b.asked,
		s.stage == SigningReady && s.n.store.OwnLog().Signed > 0:
		return
	}
	s.asking[b.id] = true
	s.n.running.Go(func() {
		err := s.ask(b)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asking, b.id)
		if err != nil {
			s.n.log.Debug("a peer did not say what it holds of this node's log", "peer", b.id, "error", err)
		}
		s.look()
	})
}

// ask lets a neighbour say which entry of this node's log is the newest it holds.
func (s *signing) ask(b *neighbour) (err error) {
	n := s.n
	session, err := n.open(b.ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { session.close(err) }()
	e, err := session.statement(n.own, newest)
	if err != nil {
		return err
	}
	if e == nil || n.holds(e.Citation()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case !s.others[b.id]:
			b.asked = true
		case e == nil:
			s.none[b.id] = true
		case !s.none[b.id]:
			s.knows[b.id] = true
		}
		return nil
	}
	err = n.store.NoteSigned(b.ctx, e)
	var fork *store.ForkError
	if errors.As(err, &fork) {
		n.accuseFork(fork.Held, fork.Other, b.id)
		return nil
	}
	if err != nil {
		return err
	}
	b.kick() // the next comparison fetches it, and asks again
	return nil
}

// NotReadyError says why a node does not sign yet, and what to do.
type NotReadyError struct {
	State SigningState
	Why   string
}

func (e *NotReadyError) Error() string { return "this node does not sign: " + e.Why }
