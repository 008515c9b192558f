package p2p

import (
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// parked holds entries that are valid by themselves and name what is not held yet. They are tried again when it is, and
// thrown away when there are too many, since comparing frontiers brings them again.
type parked struct {
	mu      sync.Mutex
	waiting map[ledger.Citation][]*parkedEntry // by one entry that is missing
	origins map[ledger.Origin]*parkedLog
	bytes   int
	entries int
}

type parkedEntry struct {
	*ledger.Entry
	from peer.ID
}

type parkedLog struct{ entries, bytes int }

func newParked() *parked {
	return &parked{waiting: map[ledger.Citation][]*parkedEntry{}, origins: map[ledger.Origin]*parkedLog{}}
}

// add parks an entry until another is held. It reports false when there is no room.
func (p *parked) add(e *ledger.Entry, from peer.ID, missing ledger.Citation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, size := p.origins[e.Header.Origin], e.Len()
	if log == nil {
		log = new(parkedLog)
	}
	if log.entries >= parkedEntries || log.bytes+size > parkedBytes || p.bytes+size > parkedAllBytes {
		return false
	}
	for _, other := range p.waiting[missing] {
		if other.Hash == e.Hash {
			return true
		}
	}
	p.origins[e.Header.Origin] = log
	log.entries++
	log.bytes += size
	p.entries++
	p.bytes += size
	p.waiting[missing] = append(p.waiting[missing], &parkedEntry{e, from})
	return true
}

// take removes and returns the entries for which what they waited for is held now.
func (p *parked) take(held func(ledger.Citation) bool) []*parkedEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ready []*parkedEntry
	for missing, entries := range p.waiting {
		if !held(missing) {
			continue
		}
		delete(p.waiting, missing)
		ready = append(ready, entries...)
		for _, e := range entries {
			log := p.origins[e.Header.Origin]
			log.entries--
			log.bytes -= e.Len()
			p.entries--
			p.bytes -= e.Len()
			if log.entries == 0 {
				delete(p.origins, e.Header.Origin)
			}
		}
	}
	return ready
}

func (p *parked) size() (entries, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entries, p.bytes
}

// unpark stores parked entries for which nothing is missing any more, as far as was known when they were parked.
func (n *Network) unpark() {
	if entries, _ := n.parked.size(); entries == 0 {
		return
	}
	sizes := map[ledger.Origin]uint64{}
	for _, log := range n.store.Logs() {
		sizes[log.Origin] = log.Seq + 1
	}
	for _, e := range n.parked.take(func(c ledger.Citation) bool {
		return (c.Seq < sizes[c.Origin] || n.store.Disputed(store.Ref{Origin: c.Origin, Seq: c.Seq})) && n.holds(c)
	}) {
		p, err := n.store.Prepare([]*ledger.Entry{e.Entry}, store.EverySignature)
		if err != nil {
			continue // it was valid when it was parked
		}
		p.SetHops(1)
		pending, err := n.store.SubmitPrepared(n.ctx, p)
		if err != nil {
			return
		}
		n.running.Go(func() {
			result, err := pending.Wait(n.ctx)
			n.arrived(e.Entry, e.from, result, err)
		})
	}
}

// arrived deals with what became of an entry that came by gossip or over a link.
func (n *Network) arrived(e *ledger.Entry, from peer.ID, result store.Result, err error) {
	var missing *store.MissingError
	var fork *store.ForkError
	var invalid *ledger.InvalidError
	switch {
	case err == nil:
		if e.Header.Origin == n.own && result.Joined > 0 {
			n.signing.metOwn(e)
		}
	case errors.As(err, &missing):
		if !n.parked.add(e, from, missing.Missing[0]) {
			n.log.Debug("no room to park an entry", "origin", e.Header.Origin, "seq", e.Header.Seq)
		}
		if b := n.neighbour(from); b != nil {
			b.kick() // who sent it has what it names, or had
		}
	case errors.As(err, &fork):
		n.accuseFork(fork.Held, fork.Other, from)
	case errors.As(err, &invalid):
		n.accuseLinked(e, invalid, from)
	}
}
