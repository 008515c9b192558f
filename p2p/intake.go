package p2p

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// intake is the one way into the ledger for entries that peers send unasked. What comes by gossip
// and what comes over a link takes the same steps, and ends in the same outcome:
//
//	admit    may this node look at so many bytes of the peer's now?
//	prepare  are the entries valid by themselves, and are they news?
//	submit   hands them to the store, after the entry before them; until then they are parked
//	settle   counts what joined, parks what lacks something, accuses a liar, and answers
//
// A way only says the outcome in its own terms: GossipSub passes a message on, ignores or rejects
// it, and a link answers with done or refused. What this node pulls was asked for, so it takes
// another path ([neighbour.pull]).
type intake struct {
	n         *Network
	turn      chan struct{} // holds a token while arrivals are handed to the store
	submitted chan submitted

	// newest is the last entry of each log that was handed to the store. It is bounded, and guarded
	// by turn.
	newest map[ledger.Origin]ledger.Citation
}

// submitted is an arrival on its way into the ledger.
type submitted struct {
	*arrival
	pending store.Pending
}

func newIntake(n *Network) *intake {
	return &intake{
		n:         n,
		turn:      make(chan struct{}, 1),
		newest:    map[ledger.Origin]ledger.Citation{},
		submitted: make(chan submitted, queueLength),
	}
}

// outcome is what becomes of an arrival.
type outcome byte

const (
	outcomeTaken   outcome = iota // it is on its way into the ledger
	outcomeHeld                   // it is in the ledger already
	outcomeRefused                // not now, or not this way; comparing frontiers may bring it
	outcomeInvalid                // no honest node sends it
)

// Reasons to refuse an arrival that is valid. Peers read them.
var (
	errOverLimit = errors.New("over the limit of entries each second; comparing frontiers brings it")
	errDisputed  = errors.New("evidence disputes it; it is fetched if an undisputed entry cites it")
)

// arrival is what a peer sent unasked: one or more entries that follow each other in one log.
type arrival struct {
	run    []*ledger.Entry
	from   peer.ID
	hops   uint32      // how often the entries were sent on before they came here
	counts *cameCounts // by the way they came
	answer func(error) // is told once whether all is durable here; may be nil; must not wait

	prepared *store.Prepared
	counted  int // entries that have been counted

	// What follows belongs to parked.
	parked time.Time // when; zero before
	need   need      // what it waits for
	place  *list.Element
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

// count counts what has become of an arrival. What was counted before it was parked is held when it
// is stored again.
func (a *arrival) count(r store.Result) {
	r.Held -= min(r.Held, a.counted)
	a.counted += r.Joined + r.Held
	a.counts.add(r)
}

// admit returns nil if so many bytes of entries from a peer may be looked at now. It comes before
// any work on them.
func (in *intake) admit(from peer.ID, bytes int) error {
	if !in.n.limits.checks(from, 1+bytes/entryBytes) {
		return errOverLimit
	}
	return nil
}

// prepare checks an arrival by itself. It is invalid only if its bytes and the genesis document
// prove that. What it names may be missing: a peer that was refused need not send it again. The
// error says why an arrival is refused or invalid.
func (in *intake) prepare(a *arrival) (outcome, error) {
	n := in.n
	first, last := a.run[0], a.run[len(a.run)-1]
	if first.Header.Network != n.genesis.Network() {
		return outcomeInvalid, fmt.Errorf("%w: an entry of another network", errFrame)
	}
	row, known := n.store.Row(a.origin())
	switch {
	case known && last.Header.Seq < row.Size() && n.holds(last.Citation()):
		a.count(store.Result{Held: len(a.run)})
		return outcomeHeld, nil
	case n.store.Disputed(store.Ref{Origin: a.origin(), Seq: last.Header.Seq}):
		return outcomeRefused, errDisputed
	}
	var err error
	a.prepared, err = n.store.Prepare(a.run, store.EverySignature)
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &invalid):
		if e := a.at(invalid); e != nil {
			n.accuseInvalid(e, invalid, a.from)
		}
		return outcomeInvalid, err
	case err != nil:
		return outcomeRefused, err
	case !n.limits.takes(a.origin(), weigh(a.run)):
		return outcomeRefused, errOverLimit
	}
	a.prepared.SetHops(a.hops)
	return outcomeTaken, nil
}

// submit hands arrivals to the store, and whatever waited for them. They are prepared side by side,
// and so come out of order: a run from beyond the end of its log waits for the entry before it.
func (in *intake) submit(ctx context.Context, arrivals ...*arrival) {
	select {
	case in.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-in.turn }()
	for len(arrivals) > 0 {
		a := arrivals[0]
		arrivals = arrivals[1:]
		if before, beyond := in.beyond(a.run[0]); beyond {
			in.settle(a, store.Result{}, &store.MissingError{Entry: a.run[0].Citation(), Missing: []ledger.Citation{before}})
			continue
		}
		pending, err := in.n.store.SubmitPrepared(ctx, a.prepared)
		if err != nil {
			h := &a.run[0].Header
			in.n.log.Debug("entries were not stored", "origin", h.Origin, "seq", h.Seq, "entries", len(a.run), "error", err)
			in.settle(a, store.Result{}, err)
			continue
		}
		if len(in.newest) >= limitedNames {
			clear(in.newest)
		}
		in.newest[a.origin()] = a.run[len(a.run)-1].Citation()
		select {
		case in.submitted <- submitted{a, pending}:
		case <-ctx.Done():
			return
		}
		arrivals = append(arrivals, in.n.parked.after(a.run)...)
	}
}

// beyond reports whether an entry is beyond the end of its log, and what was handed to the store
// does not lead to it. The store decides about any other at once: it joins, or it contradicts what
// is held. It decides about this node's own too, for they show that its log has gone on elsewhere.
// The caller holds the turn.
func (in *intake) beyond(e *ledger.Entry) (before ledger.Citation, beyond bool) {
	before, ok := predecessor(e)
	if !ok || before.Origin == in.n.own {
		return before, false
	}
	if row, _ := in.n.store.Row(before.Origin); e.Header.Seq <= row.Size() {
		return before, false
	}
	last := in.newest[before.Origin]
	return before, (last.Seq != before.Seq || last.Hash != before.Hash) && !in.n.holds(before)
}

// run settles what was submitted, in order, until the context ends.
func (in *intake) run(ctx context.Context) {
	for {
		select {
		case s := <-in.submitted:
			result, err := s.pending.Wait(ctx)
			in.settle(s.arrival, result, err)
		case <-ctx.Done():
			return
		}
	}
}

// settle deals with what became of an arrival. Without an error, all of it is durable.
func (in *intake) settle(a *arrival, result store.Result, err error) {
	answer := a.answer
	a.answer = nil // what is parked comes here again
	a.count(result)
	var missing *store.MissingError
	var fork *store.ForkError
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &missing):
		in.park(a, missing.Missing[0])
	case errors.As(err, &fork):
		in.n.accuseFork(fork.Held, fork.Other, a.from)
	case errors.As(err, &invalid):
		if e := a.at(invalid); e != nil {
			in.n.accuseLinked(e, invalid, a.from)
		}
	}
	if answer != nil {
		answer(err)
	}
}

// park keeps an arrival until an entry it names is held. If gossip does not bring that soon, the
// peer that sent the arrival is asked.
func (in *intake) park(a *arrival, missing ledger.Citation) {
	n := in.n
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

// unpark submits parked arrivals for which nothing is missing any more, as far as was known when
// they were parked.
func (in *intake) unpark(ctx context.Context) {
	if entries, _ := in.n.parked.size(); entries > 0 {
		in.submit(ctx, in.n.parked.ready(in.n.store.Row, in.n.holds)...)
	}
}

// predecessor returns what an entry names as the one before it, without its height; ok is false for
// a log's first.
func predecessor(e *ledger.Entry) (c ledger.Citation, ok bool) {
	if e.Header.Seq == 0 {
		return c, false
	}
	return ledger.Citation{Origin: e.Header.Origin, Seq: e.Header.Seq - 1, Hash: e.Header.Prev}, true
}
