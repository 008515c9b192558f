package p2p_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

func three(t *testing.T) []*p2ptest.Node {
	t.Helper()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	var nodes []*p2ptest.Node
	var peers []peer.AddrInfo
	for _, name := range []string{"alice", "bob", "carol"} {
		n := p2ptest.Start(t, g, name, p2p.Options{Peers: peers})
		peers = append(peers, n.Info())
		nodes = append(nodes, n)
	}
	return nodes
}

// TestAgree: what is put into any node is on all.
func TestAgree(t *testing.T) {
	t.Parallel()
	nodes := three(t)
	p2ptest.Ready(t, nodes...)
	for i := range 30 {
		nodes[i%3].Put(t, i)
	}
	p2ptest.Agree(t, nodes, 30)
}
