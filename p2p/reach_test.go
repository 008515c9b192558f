package p2p

import (
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"

	"pyvnode/ledger"
)

// TestAgreesNow: a neighbour that said before what this node holds now agrees with it, as the status counts it.
func TestAgreesNow(t *testing.T) {
	t.Parallel()
	h, err := newClientHost()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	b := newNeighbour(&Network{host: h, ctx: t.Context()}, "other")
	now := ledger.Hash{1}
	if b.status(now).Agrees {
		t.Error("it has said nothing")
	}
	b.hear(&have{digest: now, entries: 5})
	if s := b.status(now); !s.Agrees || s.Entries != 5 {
		t.Errorf("it said what this node holds now: %+v", s)
	}
	if b.status(ledger.Hash{2}).Agrees {
		t.Error("it said what this node held once")
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	var r reach
	const id = peer.ID("other")
	down := errors.New("all dials failed\n  * [/ip4/127.0.0.1/tcp/1] refused\n  * [/ip4/127.0.0.1/tcp/2] refused\n")
	if r.lastError(id) != "" || r.note(id, nil) {
		t.Error("it was never dialled")
	}
	if !r.note(id, down) || r.note(id, down) {
		t.Error("the first failure is told once")
	}
	if got, want := r.lastError(id), "all dials failed; [/ip4/127.0.0.1/tcp/1] refused; [/ip4/127.0.0.1/tcp/2] refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	attempt := func(cause error) error {
		return fmt.Errorf("failed to dial: %w", &swarm.DialError{Peer: id, Cause: swarm.ErrAllDialsFailed,
			DialErrors: []swarm.TransportError{{Address: multiaddr.StringCast("/ip4/127.0.0.1/tcp/1"), Cause: cause}}})
	}
	if r.note(id, attempt(errors.New("refused"))) || r.lastError(id) != "/ip4/127.0.0.1/tcp/1: refused" {
		t.Errorf("%q", r.lastError(id))
	}
	if r.note(id, attempt(swarm.ErrDialBackoff)) || r.note(id, swarm.ErrDialBackoff) || r.lastError(id) != "/ip4/127.0.0.1/tcp/1: refused" {
		t.Errorf("that it was tried too soon is no news: %q", r.lastError(id))
	}
	if r.note(id, nil) || r.lastError(id) != "" {
		t.Error("it was reached")
	}
	if !r.note(id, down) {
		t.Error("the first failure after that is told")
	}
}
