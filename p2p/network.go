package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// Network is a node's part in its network. Its methods may be called concurrently.
type Network struct {
	o       Options
	host    host.Host
	store   *store.Store
	genesis *ledger.Genesis
	own     ledger.Origin
	log     *slog.Logger

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	limits    *limiter
	gossip    *gossip
	intake    *intake
	parked    *parked
	history   *history
	signing   *signing
	run       runID
	twin      twin
	received  received
	reach     reach
	links     []*link
	configure map[peer.ID]bool // configured peers; set before start

	viewing   viewing
	serving   serving
	standings *standings
	turns     *turns // one at a time: what a pull brings decides what the next must
	slowTurns *turns // for pulls that need disputed entries
	progress  atomic.Pointer[Progress]
	asking    atomic.Bool   // a neighbour is going to be asked for what parked entries wait for
	retry     chan struct{} // wakes what puts parked entries into the ledger
	verify    chan struct{} // wakes the check of signatures inside ranges

	quiet     quiet // about dropped peers
	quietLies quiet // about origins that lied

	mu         sync.Mutex
	streams    int // that peers have open and are served, configured ones aside
	neighbours map[peer.ID]*neighbour
	dropped    map[peer.ID]time.Time // until when they stay so
}

// New joins a network and returns when the node listens. The error says which address cannot be
// listened on, or which option is wrong.
func New(ctx context.Context, o Options) (*Network, error) {
	if o.Store == nil || len(o.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("p2p: a store and a key are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DropTime == 0 {
		o.DropTime = dropTime
	}
	h := o.Host
	if h == nil {
		var err error
		if h, err = newHost(&o); err != nil {
			return nil, err
		}
	}
	n := &Network{
		o:          o,
		run:        newRunID(),
		host:       h,
		store:      o.Store,
		genesis:    o.Store.Genesis(),
		own:        ledger.OriginOf(o.Key),
		log:        o.Logger,
		limits:     newLimiter(),
		parked:     newParked(),
		history:    newHistory(),
		configure:  map[peer.ID]bool{},
		neighbours: map[peer.ID]*neighbour{},
		dropped:    map[peer.ID]time.Time{},
		retry:      make(chan struct{}, 1),
		verify:     make(chan struct{}, 1),
	}
	n.standings = newStandings(n.configure)
	n.turns, n.slowTurns = newTurns(1, pullTurn, n.standings), newTurns(slowPlaces, slowTurn, n.standings)
	n.serving = newServing()
	n.intake = newIntake(n)
	n.ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Network) start() error {
	for _, p := range slices.Concat(n.o.Peers, n.o.Links) {
		if p.ID != n.host.ID() {
			n.configure[p.ID] = true
			n.host.ConnManager().Protect(p.ID, "configured")
		}
	}
	n.signing = newSigning(n)
	var err error
	if n.gossip, err = newGossip(n); err != nil {
		return err
	}
	events, err := n.host.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerConnectednessChanged)})
	if err != nil {
		return err
	}
	n.host.SetStreamHandler(ProtocolID, n.serve)
	n.host.SetStreamHandler(LinkProtocolID, n.serveLink)
	n.host.SetStreamHandler(GenesisProtocolID, n.serveGenesis)
	n.running.Go(func() { n.followPeers(events) })
	n.running.Go(n.followStore)
	n.running.Go(n.verifyLater)
	n.VerifySoon() // what an earlier run left
	n.running.Go(func() { n.gossip.publish(n.ctx) })
	n.running.Go(func() { n.intake.run(n.ctx) })
	n.running.Go(func() { n.gossip.receive(n.ctx) })
	n.running.Go(func() { n.gossip.receiveEvidence(n.ctx) })
	for _, p := range n.o.Links {
		if p.ID != n.host.ID() {
			l := newLink(n, p)
			n.links = append(n.links, l)
			n.running.Go(func() { l.run(n.ctx) })
		}
	}
	return n.discover()
}

// Close leaves the network and returns when nothing of it runs any more. The store stays open.
func (n *Network) Close() error {
	n.mu.Lock() // what starts something looks under mu whether the node is closing
	n.stop()
	n.mu.Unlock()
	n.host.RemoveStreamHandler(ProtocolID)
	n.host.RemoveStreamHandler(LinkProtocolID)
	n.host.RemoveStreamHandler(GenesisProtocolID)
	n.remember()
	var errs []error
	if n.gossip != nil {
		errs = append(errs, n.gossip.close())
	}
	errs = append(errs, n.host.Close())
	n.running.Wait()
	return errors.Join(errs...)
}

// Host returns the libp2p host.
func (n *Network) Host() host.Host { return n.host }

// Append puts a record into this node's own log, once the own-head check allows it. A
// [*NotReadyError] says why it does not. Other errors are those of [store.Store.Append].
func (n *Network) Append(ctx context.Context, d *ledger.Draft) (store.Ack, error) {
	if err := n.signing.check(); err != nil {
		return store.Ack{}, err
	}
	return n.store.Append(ctx, d)
}

// Submit is Append without the wait, for several records.
func (n *Network) Submit(ctx context.Context, drafts ...*ledger.Draft) (store.Pending, error) {
	if err := n.signing.check(); err != nil {
		return store.Pending{}, err
	}
	return n.store.Submit(ctx, drafts...)
}

// followPeers keeps a neighbour for each connected peer.
func (n *Network) followPeers(events event.Subscription) {
	defer func() { _ = events.Close() }()
	for _, id := range n.host.Network().Peers() {
		n.addNeighbour(id)
	}
	for {
		select {
		case e := <-events.Out():
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				n.addNeighbour(e.Peer)
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness != network.Connected {
					n.removeNeighbour(e.Peer)
				}
			}
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Network) addNeighbour(id peer.ID) {
	if n.host.Network().Connectedness(id) != network.Connected {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.neighbours[id] != nil || n.ctx.Err() != nil {
		return
	}
	if n.outFor(id) > 0 {
		n.running.Go(func() { _ = n.host.Network().ClosePeer(id) })
		return
	}
	b := newNeighbour(n, id)
	n.neighbours[id] = b
	n.running.Go(b.run)
}

func (n *Network) removeNeighbour(id peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.neighbours[id]; b != nil {
		b.stop()
		delete(n.neighbours, id)
	}
}

func (n *Network) neighbour(id peer.ID) *neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.neighbours[id]
}

func (n *Network) allNeighbours() []*neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*neighbour, 0, len(n.neighbours))
	for _, b := range n.neighbours {
		all = append(all, b)
	}
	return all
}

// followStore does what is due when the ledger has changed: parked entries may join, and neighbours
// hear of it, not more often than every changeDelay.
func (n *Network) followStore() {
	changed, stop := n.store.Watch()
	defer stop()
	var tell, later <-chan time.Time
	// Until when parked entries are not looked at. Looking must not take all of the time.
	var rest time.Time
	unpark := func() {
		if wait := time.Until(rest); wait > 0 {
			if later == nil {
				later = time.After(wait)
			}
			return
		}
		begin := time.Now()
		n.intake.unpark(n.ctx)
		rest = time.Now().Add(viewShare * time.Since(begin))
	}
	for {
		select {
		case <-n.retry:
			unpark()
		case <-later:
			later = nil
			unpark()
		case <-changed:
			unpark()
			_, _ = n.signing.state() // entries of this node's log may have turned up
			if tell == nil {
				tell = time.After(changeDelay)
			}
		case <-tell:
			tell = nil
			n.history.note(n.view())
			for _, b := range n.allNeighbours() {
				b.kick()
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// verifyLater checks the signatures inside fetched ranges, which are not on the critical path.
func (n *Network) verifyLater() {
	for {
		select {
		case <-n.verify:
		case <-n.ctx.Done():
			return
		}
		err := n.store.VerifySignatures(n.ctx, nil)
		var bad *ledger.InvalidError
		again := err == nil
		switch {
		case err == nil || n.ctx.Err() != nil:
		case errors.As(err, &bad):
			n.log.Error("a log holds a bad signature", "origin", bad.Origin, "seq", bad.Seq)
			n.accuseSignature(bad)
			again = n.store.Disputed(store.Ref{Origin: bad.Origin, Seq: bad.Seq})
		default:
			n.log.Error("signatures could not be checked", "error", err)
		}
		if again && n.store.Unverified() > 0 {
			// Another log has a bad one too, or entries came by gossip after those that were being
			// checked. Each check syncs the disk, so it waits for more of them.
			time.AfterFunc(changeDelay, n.VerifySoon)
		}
	}
}

// VerifySoon wakes the check of signatures that ranges left unchecked. It is for ranges that were
// taken by other ways than a pull.
func (n *Network) VerifySoon() {
	select {
	case n.verify <- struct{}{}:
	default:
	}
}

// drop ends the connection to a peer that sent what no honest node sends. The peer stays out for
// [Options.DropTime].
func (n *Network) drop(id peer.ID, why error) {
	if more, ok := n.quiet.say(); ok {
		n.log.Warn("dropping a peer", "peer", id, "error", why, "others_dropped", more)
	}
	n.mu.Lock()
	if len(n.dropped) >= limitedNames {
		clear(n.dropped) // a peer with so many keys can come with another as well
	}
	n.dropped[id] = time.Now().Add(n.o.DropTime)
	n.mu.Unlock()
	_ = n.host.Network().ClosePeer(id)
}

// outFor returns how long a peer that was dropped still stays out. The caller holds mu.
func (n *Network) outFor(id peer.ID) time.Duration {
	until, ok := n.dropped[id]
	if !ok {
		return 0
	}
	left := time.Until(until)
	if left <= 0 {
		delete(n.dropped, id)
	}
	return max(left, 0)
}

// Status returns a snapshot.
func (n *Network) Status() Status {
	held := n.store.Held()
	f := held.Frontier
	s := Status{
		ID:      n.host.ID(),
		Listen:  n.Addrs(),
		Digest:  held.Digest,
		Entries: held.Entries,
		Logs:    len(f),
		Syncing: n.progress.Load(),
	}
	for i := range f {
		if f[i].Frozen != nil {
			s.Frozen++
		}
	}
	s.Unverified = n.store.Unverified()
	s.Parked, s.ParkedBytes = n.parked.size()
	s.Signing, s.SigningWhy = n.signing.state()
	s.Twin = n.twin.seenBy()
	s.Received = n.received.load()
	s.Absent = len(n.absent())
	for _, b := range n.allNeighbours() {
		s.Peers++
		if digest, _ := b.lastHave(); digest != nil && *digest == s.Digest {
			s.Agreeing++
		}
	}
	return s
}

// Addrs returns the addresses under which others can dial this node, with its peer ID.
func (n *Network) Addrs() []string {
	var texts []string
	for _, a := range n.host.Addrs() {
		texts = append(texts, a.Encapsulate(ma.StringCast("/p2p/"+n.host.ID().String())).String())
	}
	return texts
}

// Peers returns all neighbours and all configured peers that are not connected, configured ones
// first.
func (n *Network) Peers() []PeerStatus {
	own := n.store.Frontier().Digest(n.genesis.Network())
	all := n.absent()
	for _, b := range n.allNeighbours() {
		all = append(all, b.status(own))
	}
	slices.SortFunc(all, func(a, b PeerStatus) int {
		if a.Protected != b.Protected {
			if a.Protected {
				return -1
			}
			return 1
		}
		return a.Since.Compare(b.Since)
	})
	return all
}

// Links returns all replication links.
func (n *Network) Links() []LinkStatus {
	all := make([]LinkStatus, len(n.links))
	for i, l := range n.links {
		all[i] = l.status()
	}
	return all
}

func remoteError(body []byte) error {
	return fmt.Errorf("the peer says: %q", body[:min(len(body), 200)])
}
