package p2p

import (
	"container/list"
	"context"
	"errors"
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

// count counts what became of an arrival. What was counted before it was parked is held when it is stored again.
func (a *arrival) count(r store.Result) {
	r.Held -= min(r.Held, a.counted)
	a.counted += r.Joined + r.Held
	a.came.count(r)
}

// taken is an arrival on its way into the ledger.
type taken struct {
	*arrival
	pending store.Pending
}

// take hands arrivals to the store, and whatever waited for them. Messages are validated side by side and so come out of
// order; a run waits for the entry before it rather than being refused by the store.
func (g *gossip) take(ctx context.Context, arrivals ...*arrival) {
	select {
	case g.taking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-g.taking }()
	for len(arrivals) > 0 {
		a := arrivals[0]
		arrivals = arrivals[1:]
		h := &a.run[0].Header
		if before, ok := predecessor(a.run[0]); ok {
			if last := g.newest[h.Origin]; (last.Seq != before.Seq || last.Hash != before.Hash) && !g.n.holds(before) {
				g.n.park(a, before)
				continue
			}
		}
		pending, err := g.n.store.SubmitPrepared(ctx, a.prepared)
		if err != nil {
			g.n.log.Debug("entries were not stored", "origin", h.Origin, "seq", h.Seq, "entries", len(a.run), "error", err)
			continue
		}
		if len(g.newest) >= limitedNames {
			clear(g.newest)
		}
		g.newest[h.Origin] = a.run[len(a.run)-1].Citation()
		select {
		case g.taken <- taken{a, pending}:
		case <-ctx.Done():
			return
		}
		arrivals = append(arrivals, g.n.parked.after(a.run)...)
	}
}

// receive takes what comes.
func (g *gossip) receive(ctx context.Context) {
	g.n.running.Go(func() {
		for {
			select {
			case t := <-g.taken:
				result, err := t.pending.Wait(ctx)
				t.count(result)
				g.n.arrived(t.arrival, err)
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		m, err := g.in.Next(ctx)
		if err != nil {
			return
		}
		if a, ok := m.ValidatorData.(*arrival); ok { // this node's own are none
			g.take(ctx, a)
		}
	}
}

// predecessor returns what an entry names as the one before it, without its height; ok is false for a log's first.
func predecessor(e *ledger.Entry) (c ledger.Citation, ok bool) {
	if e.Header.Seq == 0 {
		return c, false
	}
	return ledger.Citation{Origin: e.Header.Origin, Seq: e.Header.Seq - 1, Hash: e.Header.Prev}, true
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
