// Package p2ptest makes networks of real nodes in one process, for tests: over loopback, or over
// simulated links in fake time.
//
// [Start] starts a [Node] on loopback. A [Sim] is a network of simulated links, which can lose
// packets, be split and have firewalls. It is used inside [testing/synctest], so that hours pass in
// a moment. [Agree] and [WaitFor] wait until nodes have come to something.
//
// A [Liar] (liar.go) is a party that breaks the rules, and a [Crowd] (crowd.go) is many strangers
// in an open network.
package p2ptest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// Node is a node of a network under test.
type Node struct {
	*p2p.Network
	Name  string
	Store *store.Store
	gate  *gate
}

// Info returns how others reach the node.
func (n *Node) Info() peer.AddrInfo {
	return peer.AddrInfo{ID: n.Host().ID(), Addrs: n.Host().Addrs()}
}

// Start starts a node of a party on loopback, with a ledger in memory unless the options bring one.
// It is closed with the test.
func Start(tb testing.TB, g *ledger.Genesis, name string, o p2p.Options) *Node {
	tb.Helper()
	key := ledgertest.Key(name)
	if o.Store == nil {
		s, _, err := store.Open(tb.Context(), store.NewMemory(), g, store.Options{Key: key})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = s.Close() })
		o.Store = s
	}
	o.Key = key
	if o.Listen == nil && o.Host == nil {
		o.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}
	}
	if o.Logger == nil && os.Getenv("PYVNODE_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	gate := new(gate)
	o.Gater = gate
	network, err := p2p.New(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	n := &Node{network, name, o.Store, gate}
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Errorf("closing %s: %v", name, err)
		}
	})
	return n
}

// Put lets a node store a record and returns its entry.
func (n *Node) Put(tb testing.TB, number int) store.Ack {
	tb.Helper()
	ack, err := n.Append(tb.Context(), ledgertest.Draft(tb, n.Store.Genesis(), "vote", number))
	if err != nil {
		tb.Fatalf("%s: record %d: %v", n.Name, number, err)
	}
	return ack
}

// patience is how long tests wait for what should come about: longer than the longest pause of a
// node.
const patience = 3 * time.Minute

// WaitFor waits until a condition holds, asking again whenever one of the ledgers has changed, and
// now and then.
func WaitFor(tb testing.TB, what string, nodes []*Node, condition func() bool) {
	tb.Helper()
	changed := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(tb.Context())
	defer stop()
	for _, n := range nodes {
		c, end := n.Store.Watch()
		defer end()
		go func() {
			for {
				select {
				case <-c:
					select {
					case changed <- struct{}{}:
					default:
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			text := ""
			for _, n := range nodes {
				text += fmt.Sprintf("\n%s: %+v", n.Name, n.Status())
				for _, p := range n.Peers() {
					text += fmt.Sprintf("\n    %v: %s", p.ID, p.LastError)
				}
			}
			tb.Fatalf("waited %v for: %s%s", patience, what, text)
		}
	}
}

// Agree waits until all nodes have one digest and a number of undisputed entries.
func Agree(tb testing.TB, nodes []*Node, entries uint64) {
	tb.Helper()
	WaitFor(tb, fmt.Sprintf("one digest of %d entries", entries), nodes, func() bool {
		first := nodes[0].Status()
		for _, n := range nodes {
			if s := n.Status(); s.Digest != first.Digest || s.Entries != entries {
				return false
			}
		}
		return true
	})
}

// Ready waits until nodes may sign.
func Ready(tb testing.TB, nodes ...*Node) {
	tb.Helper()
	WaitFor(tb, "all may sign", nodes, func() bool {
		for _, n := range nodes {
			if n.MaySign() != nil {
				return false
			}
		}
		return true
	})
}

// Cut ends all connections of a node and lets no new ones come about, until heal is called.
func Cut(n *Node) (heal func()) {
	n.gate.shut.Store(true)
	for _, c := range n.Host().Network().Conns() {
		_ = c.Close()
	}
	return func() { n.gate.shut.Store(false) }
}

// gate is a connection gater that refuses everything while it is shut.
type gate struct{ shut atomic.Bool }

func (g *gate) InterceptPeerDial(peer.ID) bool               { return !g.shut.Load() }
func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return !g.shut.Load() }
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool  { return !g.shut.Load() }
func (g *gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return !g.shut.Load()
}
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return !g.shut.Load(), 0
}
