package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// gossip publishes this node's entries and takes those of others, on topics of the network.
//
// A message is a run of entries that follow each other in one log, or exactly an evidence. Nothing else is around it: an
// entry signs itself, so GossipSub's own signatures are off, and the message ID is the SHA-256 of the bytes.
type gossip struct {
	n        *Network
	entries  *pubsub.Topic
	evidence *pubsub.Topic
	in       *pubsub.Subscription
	accused  *pubsub.Subscription
	limits   *limiter
	accuse   chan *proof.Evidence              // to be published
	taking   chan struct{}                     // holds a token while arrivals are handed to the store
	newest   map[ledger.Origin]ledger.Citation // of each log, of what was handed to the store; bounded; guarded by taking
	taken    chan taken
}

func newGossip(n *Network) (*gossip, error) {
	g := &gossip{
		n:      n,
		limits: newLimiter(),
		accuse: make(chan *proof.Evidence, 64),
		taking: make(chan struct{}, 1),
		newest: map[ledger.Origin]ledger.Citation{},
		taken:  make(chan taken, queueLength),
	}
	network := n.genesis.Network().String()
	ps, err := pubsub.NewGossipSub(n.ctx, n.host,
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter( // or a peer could make up topics without end
			pubsub.NewAllowlistSubscriptionFilter("/pyvnode/entries/1/"+network, "/pyvnode/evidence/1/"+network), 16)),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:])
		}),
		pubsub.WithMaxMessageSize(MaxMessage+1<<10),
		pubsub.WithPeerOutboundQueueSize(queueLength),
		pubsub.WithValidateQueueSize(queueLength),
		pubsub.WithPeerScore(scoreParams(n)),
		pubsub.WithGossipSubParams(gossipParams()),
		pubsub.WithFloodPublish(true),
	)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	join := func(name string, validate pubsub.ValidatorEx) (*pubsub.Topic, *pubsub.Subscription, error) {
		name += network
		if err := ps.RegisterTopicValidator(name, validate, pubsub.WithValidatorConcurrency(queueLength)); err != nil {
			return nil, nil, err
		}
		topic, err := ps.Join(name)
		if err != nil {
			return nil, nil, err
		}
		in, err := topic.Subscribe(pubsub.WithBufferSize(queueLength))
		return topic, in, err
	}
	if g.entries, g.in, err = join("/pyvnode/entries/1/", g.validateEntries); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if g.evidence, g.accused, err = join("/pyvnode/evidence/1/", g.validateEvidence); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return g, nil
}

func (g *gossip) close() error {
	if g.in != nil {
		g.in.Cancel()
	}
	if g.accused != nil {
		g.accused.Cancel()
	}
	var errs []error
	for _, t := range []*pubsub.Topic{g.entries, g.evidence} {
		if t != nil {
			if err := t.Close(); !errors.Is(err, context.Canceled) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// appendRun adds an entry to a message: its length as uvarint, and its bytes.
func appendRun(dst []byte, e *ledger.Entry) []byte {
	return e.Append(binary.AppendUvarint(dst, uint64(e.Len())))
}

// parseRun reads a message: one to [maxRun] entries of one log, each behind the one before.
func parseRun(message []byte) ([]*ledger.Entry, error) {
	var run []*ledger.Entry
	for len(message) > 0 {
		length, n := protowire.ConsumeVarint(message)
		if n < 0 || n != protowire.SizeVarint(length) || length > uint64(len(message)-n) || len(run) == maxRun {
			return nil, fmt.Errorf("%w: entry %d of a run", errFrame, len(run))
		}
		e, err := ledger.DecodeEntry(message[n : n+int(length)])
		if err != nil {
			return nil, err
		}
		if len(run) > 0 {
			if last := run[len(run)-1]; e.Header.Origin != last.Header.Origin || e.Header.Seq != last.Header.Seq+1 || e.Header.Prev != last.Hash {
				return nil, fmt.Errorf("%w: entry %d of %v does not follow the one before", errFrame, e.Header.Seq, e.Header.Origin)
			}
		}
		run, message = append(run, e), message[n+int(length):]
	}
	if len(run) == 0 {
		return nil, fmt.Errorf("%w: no entry", errFrame)
	}
	return run, nil
}

// validateEntries rejects only what its bytes and the genesis document disprove, and ignores what is held already or over
// a local limit. Everything else is accepted, also when what it names is missing: a message that is ignored is not
// delivered again before GossipSub has forgotten it.
func (g *gossip) validateEntries(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	n := g.n
	if from == n.host.ID() {
		return pubsub.ValidationAccept // it has just been read from the ledger
	}
	if len(m.Data) > MaxMessage {
		return pubsub.ValidationReject
	}
	if !g.limits.checks(from, 1+len(m.Data)/entryBytes) {
		return pubsub.ValidationIgnore
	}
	run, err := parseRun(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	first, last := run[0], run[len(run)-1]
	if first.Header.Network != n.genesis.Network() {
		return pubsub.ValidationReject
	}
	origin := first.Header.Origin
	row, known := n.store.Row(origin)
	switch {
	case known && last.Header.Seq < row.Size() && n.holds(last.Citation()):
		n.received.gossip.held.Add(uint64(len(run)))
		return pubsub.ValidationIgnore
	case n.store.Disputed(store.Ref{Origin: origin, Seq: last.Header.Seq}):
		return pubsub.ValidationIgnore // disputed: fetched only where an entry cites it
	}
	a := &arrival{run: run, from: from, came: &n.received.gossip}
	a.prepared, err = n.store.Prepare(run, store.EverySignature)
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &invalid):
		if e := a.at(invalid); e != nil {
			n.accuseInvalid(e, invalid, from)
		}
		return pubsub.ValidationReject
	case err != nil, !g.limits.takes(origin, weigh(run)):
		return pubsub.ValidationIgnore
	}
	a.prepared.SetHops(1)
	m.ValidatorData = a
	return pubsub.ValidationAccept
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

// predecessor returns what an entry names as the one before it, without its height; ok is false for a log's first.
func predecessor(e *ledger.Entry) (c ledger.Citation, ok bool) {
	if e.Header.Seq == 0 {
		return c, false
	}
	return ledger.Citation{Origin: e.Header.Origin, Seq: e.Header.Seq - 1, Hash: e.Header.Prev}, true
}

// publish sends out own entries once they are durable, in order. The first of several goes at once, and what is written
// in the moment that follows goes together. A node that starts does not publish what it wrote earlier: who misses it
// compares frontiers.
func (g *gossip) publish(ctx context.Context) {
	changed, stop := g.n.store.Watch()
	defer stop()
	row, _ := g.n.store.Row(g.n.own)
	next := row.Size()
	var pause *time.Timer
	var due <-chan time.Time // while entries are gathered
	written := false         // while so
	for {
		select {
		case <-changed:
			written = true
		case <-due:
			due = nil
		case ev := <-g.accuse:
			if err := g.evidence.Publish(ctx, ev.Bytes()); err != nil && ctx.Err() == nil {
				g.n.log.Debug("evidence was not published", "error", err)
			}
		case <-ctx.Done():
			return
		}
		if due != nil || !written {
			continue
		}
		written = false
		row, _ := g.n.store.Row(g.n.own)
		if row.Size() <= next {
			continue
		}
		if err := g.publishRuns(ctx, next, row.Size()); err != nil && ctx.Err() == nil {
			g.n.log.Debug("entries were not published; others find them by comparing frontiers", "error", err)
		}
		next = row.Size()
		if pause == nil {
			pause = time.NewTimer(gatherDelay)
			defer pause.Stop()
		} else {
			pause.Reset(gatherDelay)
		}
		due = pause.C
	}
}

// publishRuns publishes own entries with from ≤ seq < to.
func (g *gossip) publishRuns(ctx context.Context, from, to uint64) error {
	var message []byte
	count := 0
	for e, err := range g.n.store.Log(ctx, g.n.own, from, to) {
		if err != nil {
			return err
		}
		if count == maxRun || count > 0 && len(message)+e.Len()+binary.MaxVarintLen32 > MaxMessage {
			if err := g.entries.Publish(ctx, message); err != nil {
				return err
			}
			message, count = nil, 0 // GossipSub keeps what it was given
		}
		message, count = appendRun(message, e), count+1
	}
	if count == 0 {
		return nil
	}
	return g.entries.Publish(ctx, message)
}

func (g *gossip) validateEvidence(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from != g.n.host.ID() && !g.limits.checks(from, 1+len(m.Data)/entryBytes) {
		return pubsub.ValidationIgnore
	}
	ev, err := proof.ParseEvidence(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	m.ValidatorData = ev
	switch held := g.n.store.EvidenceOf(ev.Origin()); {
	case from == g.n.host.ID():
		return pubsub.ValidationAccept
	case held != nil && held.Compare(ev) <= 0, !g.n.accusable(ev.Origin()):
		return pubsub.ValidationIgnore
	case !g.limits.takesEvidence(ev.Origin(), false):
		return pubsub.ValidationIgnore
	case ev.Verify(g.n.genesis) != nil:
		return pubsub.ValidationReject
	case !g.limits.takesEvidence(ev.Origin(), true):
		return pubsub.ValidationIgnore
	}
	return pubsub.ValidationAccept
}

func (g *gossip) receiveEvidence(ctx context.Context) {
	for {
		m, err := g.accused.Next(ctx)
		if err != nil {
			return
		}
		if ev, ok := m.ValidatorData.(*proof.Evidence); ok && m.ReceivedFrom != g.n.host.ID() {
			g.n.takeEvidence(ev, m.ReceivedFrom)
		}
	}
}
