package p2p

import (
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// signing is the own-head check: no node forks itself by accident. A directory that was put back from an old backup, or
// copied, does not know what was signed with its key since; signing on would be a fork. So before the first signature
// after a start, a node asks others for the newest entry of its own log that they hold, and fetches what it lacks. A
// network that lists only this node has nobody to ask.
type signing struct {
	n      *Network
	wanted int

	mu        sync.Mutex
	is        SigningState
	why       string
	signed    bool // something was, since the start
	confirmed map[peer.ID]bool
	asking    map[peer.ID]bool
}

func newSigning(n *Network) *signing {
	s := &signing{n: n, is: SigningWaiting, wanted: max(1, n.o.Confirmations), confirmed: map[peer.ID]bool{}, asking: map[peer.ID]bool{}}
	switch {
	case !n.genesis.MayWrite(n.own):
		s.is, s.why = SigningNever, fmt.Sprintf("the genesis document of %q does not let %v write", n.genesis.Name, n.own)
	case n.genesis.OnlyWriter(n.own): // there is nobody to ask
		s.is = SigningReady
	case n.o.Alone:
		n.log.Warn("signing without asking others for the own head: if this directory is a copy or from a backup, this forks the log")
		s.is = SigningReady
	default:
		s.why = fmt.Sprintf("waiting for %d of the members or configured peers to say which entries of this node's log they hold; "+
			"start with --alone to sign without asking, if you know that this directory is the only and newest copy", s.wanted)
		if len(n.configure) == 0 {
			s.why += ". No peer is configured: list other nodes in bootstrap.json, unless they find this one"
		}
	}
	return s
}

func frozenWhy(ev *proof.Evidence) string {
	return fmt.Sprintf("its own log is frozen at entry %d: %s. Find out who else has this node's key (a copied or restored directory, or a thief), "+
		"and go on with a new identity", ev.Seq(), ev)
}

func (s *signing) state() (SigningState, string) {
	if err := s.check(false); err != nil {
		return err.State, err.Why
	}
	return SigningReady, ""
}

// MaySign returns nil, or a [*NotReadyError].
func (n *Network) MaySign() error {
	if err := n.signing.check(false); err != nil {
		return err
	}
	return nil
}

// check returns why this node does not sign, or nil and notes whether it is going to. Evidence against the own log ends
// signing by whatever way it came into the ledger.
func (s *signing) check(signs bool) *NotReadyError {
	ev := s.n.store.EvidenceOf(s.n.own)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ev != nil:
		return &NotReadyError{SigningStopped, frozenWhy(ev)}
	case s.is != SigningReady:
		return &NotReadyError{s.is, s.why}
	}
	s.signed = s.signed || signs
	return nil
}

// counts reports whether a peer's word counts: it is a member, a cosigner or a configured peer.
func (s *signing) counts(id peer.ID) bool {
	if s.n.configure[id] {
		return true
	}
	o, err := ledger.ParseOrigin(id.String())
	return err == nil && s.n.genesis.Names(o)
}

// heard is called after each comparison with a neighbour, when what it has more is not fetched yet.
func (s *signing) heard(b *neighbour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is != SigningWaiting && s.is != SigningBehind || !s.counts(b.id) || s.asking[b.id] || s.confirmed[b.id] {
		return
	}
	s.asking[b.id] = true
	s.n.running.Go(func() {
		err := s.ask(b)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asking, b.id)
		if err != nil {
			s.n.log.Debug("a peer did not say what it holds of the own log", "peer", b.id, "error", err)
		}
	})
}

// ask lets a neighbour say which entry of the own log is the newest it holds.
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
		s.confirm(b.id)
		return nil
	}
	if !e.VerifySignature() {
		return fmt.Errorf("%w: an own entry that this node did not sign", errFrame)
	}
	s.mu.Lock()
	if s.is == SigningWaiting {
		s.is = SigningBehind
		s.why = fmt.Sprintf("others hold this node's log up to entry %d, which is not here: this directory is not the newest. What is missing is being fetched", e.Header.Seq)
		n.log.Warn("others hold more of the own log than is here; fetching it", "seq", e.Header.Seq, "peer", b.id)
	}
	s.mu.Unlock()
	if held, err := n.store.Get(b.ctx, store.Ref{Origin: n.own, Seq: e.Header.Seq}); err == nil {
		n.accuseFork(held.Entry, e, b.id)
		return nil
	}
	b.kick() // the next comparison fetches it, and asks again
	return nil
}

func (s *signing) confirm(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed[id] = true
	if (s.is == SigningWaiting || s.is == SigningBehind) && len(s.confirmed) >= s.wanted {
		s.is, s.why = SigningReady, ""
		s.n.log.Info("ready to sign", "confirmed_by", len(s.confirmed))
	}
}

// metOwn is called when an own entry that was not held came from another node. While the check is on, and where a node
// that was started without it has not signed yet, that is what an earlier run signed; afterwards somebody else signs with
// this node's key.
func (s *signing) metOwn(e *ledger.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is != SigningReady {
		return
	}
	if !s.signed {
		s.n.log.Warn("others held more of the own log than was here", "seq", e.Header.Seq)
		return
	}
	s.is = SigningStopped
	s.why = fmt.Sprintf("entry %d of its own log came from another node, signed with this node's key at %s. Stop the other node that has this key "+
		"(a copied or restored directory, or a thief), then start this one again", e.Header.Seq, time.UnixMilli(int64(e.Header.Time)).UTC().Format(time.RFC3339))
	s.n.log.Error("somebody else signs with this node's key; not signing any more", "seq", e.Header.Seq)
}

// NotReadyError says why a node does not sign yet, and what to do.
type NotReadyError struct {
	State SigningState
	Why   string
}

func (e *NotReadyError) Error() string { return "this node does not sign: " + e.Why }
