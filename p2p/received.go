package p2p

import (
	"sync/atomic"

	"pyvnode/ledger/store"
)

// Received counts the entries that have come from other nodes since the node started, by the way
// they came. What was refused is not among them.
type Received struct {
	Gossip Came `json:"gossip"`
	Links  Came `json:"links"`
	Sync   Came `json:"sync"` // by pulls and branches, after frontiers were compared
}

// Came counts entries. Copies of a gossip message are not among them, because GossipSub knows
// messages again.
type Came struct {
	New  uint64 `json:"new"`
	Held uint64 `json:"held"` // already: they came for nothing
}

// received is a [Received] that counts.
type received struct{ gossip, links, sync cameCounts }

// cameCounts is a [Came] that counts.
type cameCounts struct{ new, held atomic.Uint64 }

func (c *cameCounts) add(r store.Result) {
	c.new.Add(uint64(r.Joined))
	c.held.Add(uint64(r.Held))
}

func (c *cameCounts) load() Came { return Came{New: c.new.Load(), Held: c.held.Load()} }

func (r *received) load() Received {
	return Received{Gossip: r.gossip.load(), Links: r.links.load(), Sync: r.sync.load()}
}
