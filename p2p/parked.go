package p2p

import (
	"container/list"
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
	need     need      // what it waits for while it is parked
	place    *list.Element
	came     *came // where it counts
	counted  int   // entries of it that have been
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
	waiting map[ledger.Origin]*waited // by the log of the one missing entry that each waits for
	origins map[ledger.Origin]*parkedLog
	oldest  list.List // of *arrival, in the order in which they were parked
	bytes   int
	entries int
}

// need is an entry that something waits for.
type need struct {
	origin ledger.Origin
	seq    uint64
	hash   ledger.Hash
}

// waited is what waits for entries of one log.
type waited struct {
	row   ledger.Row // of the log, when it was last looked at; anything that is not in a ledger before
	needs map[need][]*arrival
}

type parkedLog struct{ entries, bytes int }

func newParked() *parked {
	return &parked{waiting: map[ledger.Origin]*waited{}, origins: map[ledger.Origin]*parkedLog{}}
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
		return log.entries+len(a.run) > parkedEntries || log.bytes+size > parkedBytes || p.bytes+size > parkedAllBytes ||
			p.entries+len(a.run) > parkedAllEntries
	}
	if full() {
		p.expire(time.Now().Add(-parkedAge))
	}
	if full() {
		return false
	}
	w := p.waiting[missing.Origin]
	if w == nil {
		w = &waited{needs: map[need][]*arrival{}}
		p.waiting[missing.Origin] = w
	}
	w.row = ledger.Row{} // it may have joined since it was missed
	a.need = need{missing.Origin, missing.Seq, missing.Hash}
	if slices.ContainsFunc(w.needs[a.need], func(o *arrival) bool {
		return len(o.run) == len(a.run) && o.run[len(o.run)-1].Hash == a.run[len(a.run)-1].Hash
	}) {
		return true
	}
	p.origins[a.origin()] = log
	log.entries += len(a.run)
	log.bytes += size
	p.entries += len(a.run)
	p.bytes += size
	w.needs[a.need] = append(w.needs[a.need], a)
	a.parked = time.Now()
	a.place = p.oldest.PushBack(a)
	return true
}

// remove takes what waits for an entry out. The caller holds mu.
func (p *parked) remove(key need) []*arrival {
	w := p.waiting[key.origin]
	if w == nil {
		return nil
	}
	list := w.needs[key]
	if delete(w.needs, key); len(w.needs) == 0 {
		delete(p.waiting, key.origin)
	}
	for _, a := range list {
		log, size := p.origins[a.origin()], a.len()
		log.entries -= len(a.run)
		log.bytes -= size
		p.entries -= len(a.run)
		p.bytes -= size
		if log.entries == 0 {
			delete(p.origins, a.origin())
		}
		p.oldest.Remove(a.place)
	}
	return list
}

// expire throws away what was parked before a time, and what waits for the same. The caller holds mu.
func (p *parked) expire(before time.Time) {
	for e := p.oldest.Front(); e != nil; e = p.oldest.Front() {
		a := e.Value.(*arrival)
		if !a.parked.Before(before) {
			return
		}
		p.remove(a.need)
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

// ready removes and returns all for which what they waited for is held now. It looks only at logs of which something has
// changed.
func (p *parked) ready(row func(ledger.Origin) (ledger.Row, bool), held func(ledger.Citation) bool) []*arrival {
	p.mu.Lock()
	var keys []need
	for o, w := range p.waiting {
		if now, ok := row(o); ok && !sameRow(&now, &w.row) {
			w.row = now
			for key := range w.needs {
				keys = append(keys, key)
			}
		}
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
	} else if n.holds(missing) { // it has joined meanwhile, and nothing may change for long
		select {
		case n.retry <- struct{}{}:
		default:
		}
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
		n.gossip.take(n.ctx, n.parked.ready(n.store.Row, n.holds)...)
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
