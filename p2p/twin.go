package p2p

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Two nodes that run with one key (a copied directory) do not meet: each takes the other for itself. But a third that both
// are connected to hears them in turn under one name. So a node says in each comparison which run of it this is, a random
// number, and is told if somebody else answers to its name too. That is a warning before either has signed a fork. It stops
// nothing: who says so may lie.

// runID is what a node chooses anew at each start.
type runID [8]byte

func newRunID() (id runID) {
	_, _ = rand.Read(id[:]) // which never fails
	return id
}

// runs are those that a neighbour has said last. After a restart the earlier one is not heard again, so two that take turns
// are two nodes.
type runs struct {
	now, before runID
	turns       int // how often they changed places
	at          time.Time
}

// twinTurns is how many turns it takes, since what a node sent before it was restarted may be heard late.
const twinTurns = 2

// hear notes a run.
func (r *runs) hear(id runID, now time.Time) {
	switch {
	case id == runID{} || id == r.now:
		return
	case id == r.before:
		r.turns++
		r.at = now
	default:
		r.turns = 0
	}
	r.now, r.before = id, r.now
}

// twin reports whether two nodes have answered to the name lately.
func (r *runs) twin(now time.Time) bool {
	return r.turns >= twinTurns && now.Sub(r.at) < twinTime
}

// twin is what this node was told of another one with its key.
type twin struct {
	mu   sync.Mutex
	from peer.ID
	at   time.Time
}

// told notes that a peer hears another node with this node's key.
func (n *Network) toldOfTwin(from peer.ID) {
	t := &n.twin
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) >= twinTime {
		n.log.Error("another node runs with this node's key; stop one of them before both write, since two nodes with one key sign two histories", "peer", from)
	}
	t.from, t.at = from, time.Now()
}

// seenBy returns the peer that hears another node with this node's key; empty if none has said so lately.
func (t *twin) seenBy() peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() || time.Since(t.at) >= twinTime {
		return ""
	}
	return t.from
}
