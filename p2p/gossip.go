package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// gossip publishes this node's entries and takes those of others, on topics of the network.
//
// A message is exactly an entry in its canonical encoding, or exactly an evidence. Nothing else is around it: an entry
// signs itself, so GossipSub's own signatures are off, and the message ID is the SHA-256 of the bytes.
type gossip struct {
	n        *Network
	entries  *pubsub.Topic
	evidence *pubsub.Topic
	in       *pubsub.Subscription
	accused  *pubsub.Subscription
	limits   *limiter
	accuse   chan *proof.Evidence // to be published
}

func newGossip(n *Network) (*gossip, error) {
	g := &gossip{n: n, limits: newLimiter(), accuse: make(chan *proof.Evidence, 64)}
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
		if err := ps.RegisterTopicValidator(name, validate); err != nil {
			return nil, nil, err
		}
		topic, err := ps.Join(name)
		if err != nil {
			return nil, nil, err
		}
		in, err := topic.Subscribe(pubsub.WithBufferSize(queueLength))
		return topic, in, err
	}
	if g.entries, g.in, err = join("/pyvnode/entries/1/", g.validateEntry); err != nil {
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

// validateEntry rejects only what its bytes and the genesis document disprove, and ignores what is held already or over
// a local limit. Everything else is accepted, also when what it names is missing: a message that is ignored is not
// delivered again before GossipSub has forgotten it.
func (g *gossip) validateEntry(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	n := g.n
	if len(m.Data) > MaxMessage {
		return pubsub.ValidationReject
	}
	e, err := ledger.DecodeEntry(m.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	m.ValidatorData = e
	if from == n.host.ID() {
		return pubsub.ValidationAccept // it has just been read from the ledger
	}
	if e.Header.Network != n.genesis.Network() {
		return pubsub.ValidationReject
	}
	row, known := n.store.Row(e.Header.Origin)
	switch {
	case known && e.Header.Seq < row.Size() && n.holds(e.Citation()):
		return pubsub.ValidationIgnore
	case known && row.Frozen != nil && e.Header.Seq >= row.Frozen.Seq:
		return pubsub.ValidationIgnore // disputed: fetched only where an entry cites it
	case !g.limits.allow(from, e.Header.Origin):
		return pubsub.ValidationIgnore
	}
	p, err := n.store.Prepare([]*ledger.Entry{e}, store.EverySignature)
	var invalid *ledger.InvalidError
	switch {
	case errors.As(err, &invalid):
		n.accuseInvalid(e, invalid, from)
		return pubsub.ValidationReject
	case err != nil:
		return pubsub.ValidationIgnore
	}
	p.SetHops(1)
	m.ValidatorData = &arrival{entry: e, prepared: p, from: from}
	return pubsub.ValidationAccept
}

// receive stores what comes. Messages are validated side by side and so come out of order; an entry waits for the one
// before it rather than being refused by the store.
func (g *gossip) receive(ctx context.Context) {
	type waiting struct {
		*arrival
		pending store.Pending
	}
	outcomes := make(chan waiting, queueLength)
	g.n.running.Go(func() {
		for w := range outcomes {
			result, err := w.pending.Wait(ctx)
			g.n.arrived(w.arrival, result, err)
		}
	})
	defer close(outcomes)
	newest := map[ledger.Origin]ledger.Citation{} // of each log, of what was handed to the store; bounded
	for {
		m, err := g.in.Next(ctx)
		if err != nil {
			return
		}
		a, ok := m.ValidatorData.(*arrival)
		if !ok {
			continue // this node's own
		}
		for ready := []*arrival{a}; len(ready) > 0; {
			a, ready = ready[0], ready[1:]
			h := &a.entry.Header
			if before, ok := predecessor(a.entry); ok {
				if last := newest[h.Origin]; (last.Seq != before.Seq || last.Hash != before.Hash) && !g.n.holds(before) {
					g.n.park(a, before)
					continue
				}
			}
			pending, err := g.n.store.SubmitPrepared(ctx, a.prepared)
			if err != nil {
				g.n.log.Debug("an entry was not stored", "origin", h.Origin, "seq", h.Seq, "error", err)
				continue
			}
			if len(newest) >= limitedNames {
				clear(newest)
			}
			newest[h.Origin] = a.entry.Citation()
			outcomes <- waiting{a, pending}
			ready = append(ready, g.n.parked.after(a.entry)...)
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

// publish sends out own entries once they are durable, in order. A node that starts does not publish what it wrote
// earlier: who misses it compares frontiers.
func (g *gossip) publish(ctx context.Context) {
	changed, stop := g.n.store.Watch()
	defer stop()
	row, _ := g.n.store.Row(g.n.own)
	next := row.Size()
	for {
		select {
		case <-changed:
		case ev := <-g.accuse:
			if err := g.evidence.Publish(ctx, ev.Bytes()); err != nil && ctx.Err() == nil {
				g.n.log.Debug("evidence was not published", "error", err)
			}
			continue
		case <-ctx.Done():
			return
		}
		row, _ := g.n.store.Row(g.n.own)
		if row.Size() <= next {
			continue
		}
		for e, err := range g.n.store.Log(ctx, g.n.own, next, row.Size()) {
			if err == nil {
				err = g.entries.Publish(ctx, e.Append(nil))
			}
			if err != nil {
				if ctx.Err() == nil {
					g.n.log.Debug("an entry was not published; others find it by comparing frontiers", "error", err)
				}
				break
			}
		}
		next = row.Size()
	}
}

func (g *gossip) validateEvidence(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
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
	case !g.limits.allow(from, ev.Origin()):
		return pubsub.ValidationIgnore
	case ev.Verify(g.n.genesis) != nil:
		return pubsub.ValidationReject
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
