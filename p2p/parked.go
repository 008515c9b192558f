package p2p

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// arrival is what came by gossip or over a link: one or more entries that follow each other in one log, each valid by
// itself.
type arrival struct {
	run      []*ledger.Entry
	prepared *store.Prepared
	from     peer.ID
	parked   time.Time // when; zero before
	came     *came     // where it counts
	counted  int       // entries of it that have been
}

func (a *arrival) origin() ledger.Origin { return a.run[0].Header.Origin }

func (a *arrival) len() (bytes int) {
	for _, e := range a.run {
		bytes += e.Len()
	}
	return bytes
}

// at returns the entry that an error is about, or nil.
func (a *arrival) at(invalid *ledger.InvalidError) *ledger.Entry {
	for _, e := range a.run {
		if e.Header.Origin == invalid.Origin && e.Header.Seq == invalid.Seq {
			return e
		}
	}
	return nil
}

// parked holds arrivals that name what is not held yet. They are tried again when it is, and thrown away when there are
// too many, since comparing frontiers brings them again.
type parked struct {
	mu      sync.Mutex
	waiting map[need][]*arrival // by one entry that is missing
	origins map[ledger.Origin]*parkedLog
	bytes   int
	entries int
}

// need is an entry that something waits for.
type need struct {
	origin ledger.Origin
	seq    uint64
	hash   ledger.Hash
}

type parkedLog struct{ entries, bytes int }

func newParked() *parked {
	return &parked{waiting: map[need][]*arrival{}, origins: map[ledger.Origin]*parkedLog{}}
}

// add parks an arrival until an entry is held. It reports false when there is no room.
func (p *parked) add(a *arrival, missing ledger.Citation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, size := p.origins[a.origin()], a.len()
	if log == nil {
		log = new(parkedLog)
	}
	full := func() bool {
		return log.entries+len(a.run) > parkedEntries || log.bytes+size > parkedBytes || p.bytes+size > parkedAllBytes
	}
	if full() {
		p.expire(time.Now().Add(-parkedAge))
	}
	if full() {
		return false
	}
	a.parked = time.Now()
	key := need{missing.Origin, missing.Seq, missing.Hash}
	if slices.ContainsFunc(p.waiting[key], func(o *arrival) bool {
		return len(o.run) == len(a.run) && o.run[len(o.run)-1].Hash == a.run[len(a.run)-1].Hash
	}) {
		return true
	}
	p.origins[a.origin()] = log
	log.entries += len(a.run)
	log.bytes += size
	p.entries += len(a.run)
	p.bytes += size
	p.waiting[key] = append(p.waiting[key], a)
	return true
}

// remove takes what waits for an entry out. The caller holds mu.
func (p *parked) remove(key need) []*arrival {
	list := p.waiting[key]
	delete(p.waiting, key)
	for _, a := range list {
		log, size := p.origins[a.origin()], a.len()
		log.entries -= len(a.run)
		log.bytes -= size
		p.entries -= len(a.run)
		p.bytes -= size
		if log.entries == 0 {
			delete(p.origins, a.origin())
		}
	}
	return list
}

// expire throws away what was parked before a time. The caller holds mu.
func (p *parked) expire(before time.Time) {
	for key, list := range p.waiting {
		if list[0].parked.Before(before) { // the first has waited longest
			p.remove(key)
		}
	}
}

// after removes and returns what waits for one of some entries.
func (p *parked) after(run []*ledger.Entry) (list []*arrival) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range run {
		if p.entries == 0 {
			break
		}
		list = append(list, p.remove(need{e.Header.Origin, e.Header.Seq, e.Hash})...)
	}
	return list
}

// ready removes and returns all for which what they waited for is held now.
func (p *parked) ready(held func(ledger.Citation) bool) []*arrival {
	p.mu.Lock()
	keys := make([]need, 0, len(p.waiting))
	for key := range p.waiting {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	var list []*arrival
	for _, key := range keys {
		if held(ledger.Citation{Origin: key.origin, Seq: key.seq, Hash: key.hash}) {
			p.mu.Lock()
			list = append(list, p.remove(key)...)
			p.mu.Unlock()
		}
	}
	return list
}

func (p *parked) size() (entries, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entries, p.bytes
}

// park keeps an arrival until an entry it names is held. Where gossip does not bring that soon, who sent the arrival is
// asked.
func (n *Network) park(a *arrival, missing ledger.Citation) {
	if !n.parked.add(a, missing) {
		n.log.Debug("no room to park entries", "origin", a.origin(), "seq", a.run[0].Header.Seq, "entries", len(a.run))
	}
	if n.asking.CompareAndSwap(false, true) {
		time.AfterFunc(pullDelay, func() {
			n.asking.Store(false)
			if entries, _ := n.parked.size(); entries > 0 {
				if b := n.neighbour(a.from); b != nil {
					b.kick()
				}
			}
		})
	}
}

// unpark stores parked entries for which nothing is missing any more, as far as was known when they were parked.
func (n *Network) unpark() {
	if entries, _ := n.parked.size(); entries > 0 {
		n.gossip.take(n.ctx, n.parked.ready(n.holds)...)
	}
}

// arrived deals with what became of an arrival. All is well without an error.
func (n *Network) arrived(a *arrival, err error) {
	var missing *store.MissingError
	var fork *store.ForkError
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &missing):
		n.park(a, missing.Missing[0])
	case errors.As(err, &fork):
		n.accuseFork(fork.Held, fork.Other, a.from)
	case errors.As(err, &invalid):
		if e := a.at(invalid); e != nil {
			n.accuseLinked(e, invalid, a.from)
		}
	}
}
