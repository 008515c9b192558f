package p2p

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// neighbour compares frontiers with one connected peer and fetches what it has more.
type neighbour struct {
	n      *Network
	id     peer.ID
	since  time.Time
	ctx    context.Context
	stop   context.CancelFunc
	wake   chan struct{}
	served chan struct{} // holds a token while a pull of the peer is answered

	mu      sync.Mutex
	syncs   bool
	digest  *ledger.Hash // of its frontier, as it last said
	entries uint64
	heard   time.Time
	failed  error
	runs    runs
	asked   bool // it holds nothing newer of this node's log; guarded by signing.mu

	// What follows belongs to run.
	rows       ledger.Frontier // its frontier when it had rowsDigest
	rowsDigest ledger.Hash
	work       time.Duration // of the last comparison, without waiting for the peer
}

func newNeighbour(n *Network, id peer.ID) *neighbour {
	b := &neighbour{n: n, id: id, since: time.Now(), wake: make(chan struct{}, 1), served: make(chan struct{}, 1)}
	b.ctx, b.stop = context.WithCancel(n.ctx)
	return b
}

// kick makes the neighbour compare soon.
func (b *neighbour) kick() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run compares at once, then on every change and every [haveInterval], but not more often than
// every [compareDelay], and less and less often while nothing comes of it.
func (b *neighbour) run() {
	defer b.stop()
	for {
		err := b.compare()
		b.note(err)
		if b.ctx.Err() != nil {
			return
		}
		pause := time.NewTimer(max(compareDelay, compareShare*b.work, b.n.standings.pause(b.id)))
		select {
		case <-pause.C:
		case <-b.ctx.Done():
			pause.Stop()
			return
		}
		// A little earlier or later each time, so that neighbours do not fall into step.
		idle := time.NewTimer(haveInterval - haveInterval/10 + rand.N(haveInterval/5))
		select {
		case <-b.wake:
		case <-idle.C:
		case <-b.ctx.Done():
		}
		idle.Stop()
	}
}

func (b *neighbour) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
	if err == nil {
		b.syncs = true
	} else if b.ctx.Err() == nil {
		b.n.log.Debug("comparing with a peer failed", "peer", b.id, "error", err)
	}
}

// hear notes what the peer says it holds, and reports whether that is news.
func (b *neighbour) hear(h *have) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news = b.digest == nil || *b.digest != h.digest
	digest := h.digest
	b.digest, b.entries, b.heard, b.syncs = &digest, h.entries, time.Now(), true
	b.runs.hear(h.run, b.heard)
	if h.twin {
		b.n.toldOfTwin(b.id)
	}
	return news
}

// have is what this node says to the neighbour in a comparison.
func (b *neighbour) have(v *view) have {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := v.have()
	h.run, h.twin = b.n.run, b.runs.twin(time.Now())
	return h
}

func (b *neighbour) lastHave() (*ledger.Hash, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.digest, b.entries
}

func (b *neighbour) status(own ledger.Hash) PeerStatus {
	host := b.n.host
	s := PeerStatus{ID: b.id, Since: b.since, Protected: b.n.configure[b.id], Latency: host.Peerstore().LatencyEWMA(b.id)}
	if conns := host.Network().ConnsToPeer(b.id); len(conns) > 0 {
		s.Addr, s.Direction = conns[0].RemoteMultiaddr().String(), "outbound"
		if conns[0].Stat().Direction == network.DirInbound {
			s.Direction = "inbound"
		}
	}
	if agent, err := host.Peerstore().Get(b.id, "AgentVersion"); err == nil {
		s.Agent, _ = agent.(string)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Syncs, s.Digest, s.Entries, s.LastHeard = b.syncs, b.digest, b.entries, b.heard
	s.Agrees = b.digest != nil && *b.digest == own
	if b.failed != nil {
		s.LastError = oneLine(b.failed)
	}
	return s
}

// compare exchanges digests with the peer, and fetches what it has more.
func (b *neighbour) compare() (err error) {
	n := b.n
	s, err := n.open(b.ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	mine := n.view()
	n.history.note(mine)
	own := b.have(mine)
	if b.rows != nil {
		own.known = &b.rowsDigest
	}
	s.until = time.Now().Add(rowsTime)
	theirs, err := s.have(&own, b.rows)
	if errors.Is(err, store.ErrOtherNetwork) || errors.Is(err, errFrame) {
		b.rows = nil
		n.drop(b.id, err)
		return err
	}
	if err != nil {
		return err
	}
	b.hear(&theirs.have)
	n.signing.heard(b)
	b.rows, b.rowsDigest = theirs.rows, theirs.digest
	if theirs.digest == own.digest {
		b.rows = mine.Frontier
		n.standings.agrees(b.id)
	}
	if len(b.rows) > min(rememberedRows, fewRows+2*len(mine.Frontier)) {
		b.rows = nil // nobody has signed them
	}
	if theirs.digest == own.digest {
		return nil
	}
	w, err := b.look(s, mine, &theirs)
	if errors.Is(err, errFrame) {
		n.drop(b.id, err)
	}
	if err != nil {
		return err
	}
	if w.entries > 0 && w.entries <= fewEntries && len(w.ranges) == 0 {
		select {
		case <-time.After(pullDelay):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	s.close(nil) // or the peer would lose patience with it while others are pulled from
	if err = b.fetch(w); errors.Is(err, errFrame) {
		n.drop(b.id, err)
	}
	return err
}

// look finds out what a peer has that this node lacks, and gets its evidence first. Of a peer that
// is slow to say it, the rest counts as wanted.
func (b *neighbour) look(s *session, mine *view, theirs *answered) (*want, error) {
	n, w := b.n, new(want)
	claims := unansweredEvidence
	b.work = 0
	working := func(work func()) {
		begin := time.Now()
		work()
		b.work += time.Since(begin)
	}
	if theirs.outline == nil {
		err := b.exchangeEvidence(s, theirs.rows, &claims)
		working(func() { w.add(n, theirs.rows, []originRange{{}}) })
		return w, err
	}
	var left []originRange
	working(func() { left = mine.differing(theirs.outline) })
	for len(left) > 0 {
		rows, asked, rest, err := s.page(left)
		if err == nil {
			err = b.exchangeEvidence(s, rows, &claims)
		}
		if !s.until.IsZero() && time.Now().After(s.until) && !errors.Is(err, errFrame) {
			w.addRanges(left)
			return w, nil
		}
		if err != nil {
			return nil, err
		}
		working(func() { w.add(n, rows, asked) })
		left = rest
	}
	return w, nil
}
