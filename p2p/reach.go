package p2p

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// reach is what came of dialling configured peers that are not connected.
type reach struct {
	mu     sync.Mutex
	failed map[peer.ID]error // why the last attempt failed
}

// note notes how an attempt ended, and reports whether it is the first that failed since the peer was connected last.
func (r *reach) note(id peer.ID, err error) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failed, id)
		return false
	}
	if tooSoon(err) {
		return false
	}
	if r.failed == nil {
		r.failed = map[peer.ID]error{}
	}
	first = r.failed[id] == nil
	r.failed[id] = err
	return first
}

func (r *reach) lastError(id peer.ID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failed[id]; err != nil {
		return oneLine(err)
	}
	return ""
}

// absent returns the configured peers that are dialled and not connected.
func (n *Network) absent() (all []PeerStatus) {
	for i, p := range n.o.Peers {
		if p.ID == n.host.ID() || i >= configuredOutbound || n.neighbour(p.ID) != nil {
			continue
		}
		s := PeerStatus{ID: p.ID, Protected: true, LastError: n.reach.lastError(p.ID)}
		if len(p.Addrs) > 0 {
			s.Addr = p.Addrs[0].String()
		}
		all = append(all, s)
	}
	return all
}

// tooSoon reports whether a dial failed only because another one failed a moment ago, which says nothing new.
func tooSoon(err error) bool {
	var dial *swarm.DialError
	if !errors.As(err, &dial) || len(dial.DialErrors) == 0 {
		return errors.Is(err, swarm.ErrDialBackoff)
	}
	for _, attempt := range dial.DialErrors {
		if !errors.Is(attempt.Cause, swarm.ErrDialBackoff) {
			return false
		}
	}
	return true
}

// oneLine is the message of an error on one line, and of attempts to dial a peer what came of each: libp2p writes a list of
// them.
func oneLine(err error) string {
	var parts []string
	var dial *swarm.DialError
	if errors.As(err, &dial) && len(dial.DialErrors) > 0 {
		for _, attempt := range dial.DialErrors {
			parts = append(parts, fmt.Sprintf("%s: %v", attempt.Address, attempt.Cause))
		}
		return strings.Join(parts, "; ")
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.Trim(line, " *\n"); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// Answers reports whether a node listens at an address and holds the key of the peer ID in it. Whoever asks for its own
// peer ID, before it listens, learns so that its key is used elsewhere.
func Answers(ctx context.Context, at peer.AddrInfo) bool {
	h, err := newClientHost()
	if err != nil {
		return false
	}
	defer func() { _ = h.Close() }()
	return h.Connect(ctx, at) == nil
}
