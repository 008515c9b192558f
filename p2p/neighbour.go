package p2p

import (
	"context"
	"errors"
	"fmt"
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
	n     *Network
	id    peer.ID
	since time.Time
	ctx   context.Context
	stop  context.CancelFunc
	wake  chan struct{}

	mu      sync.Mutex
	syncs   bool
	digest  *ledger.Hash // of its frontier, as it last said
	entries uint64
	heard   time.Time
	failed  error

	// What follows belongs to run.
	rows       ledger.Frontier // its frontier when it had rowsDigest
	rowsDigest ledger.Hash
}

func newNeighbour(n *Network, id peer.ID) *neighbour {
	b := &neighbour{n: n, id: id, since: time.Now(), wake: make(chan struct{}, 1)}
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

// run compares at once, then on every change and every [haveInterval], but not more often than every [compareDelay].
func (b *neighbour) run() {
	defer b.stop()
	for {
		err := b.compare()
		b.note(err)
		if b.ctx.Err() != nil {
			return
		}
		pause := time.NewTimer(compareDelay)
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
	return news
}

func (b *neighbour) said() (*ledger.Hash, uint64) {
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

// session is a stream on which this node asks.
type session struct {
	*framer
	s        network.Stream
	patience *patience // while others wait for the end of this session; otherwise nil
	few      int       // how many rows need no place among manyRows
	manyRows chan struct{}
}

// patience is for how long a peer may still let a node wait whom others wait for too: for [pullPatience] at first, and as
// long again for each [pullPace] bytes that it brings. Only the waiting counts, not what the node does meanwhile.
type patience struct{ waited time.Duration }

// deadline is when the peer must have answered.
func (p *patience) deadline(now time.Time) time.Time {
	if p == nil {
		return now.Add(ioTimeout)
	}
	return now.Add(pullPatience - p.waited)
}

// brought notes that something came.
func (p *patience) brought(bytes int, waited time.Duration) {
	if p != nil {
		p.waited = max(0, p.waited+waited-pullPatience*time.Duration(bytes)/pullPace)
	}
}

func (n *Network) open(ctx context.Context, id peer.ID) (*session, error) {
	s, err := n.host.NewStream(network.WithNoDial(ctx, "neighbours are connected"), id, ProtocolID)
	if err != nil {
		return nil, err
	}
	return &session{framer: newFramer(s), s: s, few: fewRows + 2*len(n.store.Frontier()), manyRows: n.manyRows}, nil
}

// close ends the session; after an error the other side need not finish either.
func (s *session) close(err error) {
	if err != nil {
		_ = s.s.Reset()
		return
	}
	_ = s.s.Close()
}

// ask sends a question and returns the first frame of the answer.
func (s *session) ask(kind frameKind, body []byte) (frameKind, []byte, error) {
	_ = s.s.SetDeadline(time.Now().Add(ioTimeout))
	if err := s.send(kind, body); err != nil {
		return 0, nil, err
	}
	return s.answer()
}

// answer reads the next frame, with an error frame as an error.
func (s *session) answer() (frameKind, []byte, error) {
	begin := time.Now()
	_ = s.s.SetDeadline(s.patience.deadline(begin))
	kind, body, err := s.read()
	s.patience.brought(len(body), time.Since(begin))
	var late interface{ Timeout() bool }
	if s.patience != nil && errors.As(err, &late) && late.Timeout() {
		err = fmt.Errorf("it answers too slowly while others wait, and is asked again later: %w", err)
	}
	if err == nil && kind == frameError {
		err = remoteError(body)
	}
	return kind, body, err
}

func unexpected(kind frameKind) error { return fmt.Errorf("%w: unexpected kind %d", errFrame, kind) }

// errManyRows says that a peer has far more rows than this node, and that those of another one are being read.
var errManyRows = errors.New("many frontier rows, while those of another peer are read; the next comparison takes them")

// have exchanges digests, and returns the peer's frontier unless the digests are equal.
func (s *session) have(own *have, known ledger.Frontier) (have, ledger.Frontier, error) {
	kind, body, err := s.ask(frameHave, own.append(nil))
	if err != nil {
		return have{}, nil, err
	}
	if kind != frameHave {
		return have{}, nil, unexpected(kind)
	}
	theirs, err := parseHave(body)
	if err != nil {
		return have{}, nil, err
	}
	if theirs.network != own.network {
		return have{}, nil, fmt.Errorf("%w: %s", store.ErrOtherNetwork, theirs.network.Short())
	}
	if theirs.digest == own.digest {
		return theirs, nil, nil
	}
	var list []ledger.Row
	changes, many := false, false
	size := 0
	for first := true; ; first = false {
		kind, body, err := s.answer()
		if err != nil {
			return have{}, nil, err
		}
		if kind != frameRows {
			return have{}, nil, unexpected(kind)
		}
		r, err := parseRows(body)
		if err != nil {
			return have{}, nil, err
		}
		if first {
			changes = r.changes
		}
		if r.changes != changes || len(r.rows) == 0 && !r.last {
			return have{}, nil, fmt.Errorf("%w: rows without an end", errFrame)
		}
		list = append(list, r.rows...)
		most := max(maxRows, s.few) // whoever holds much takes more
		if size += len(body); len(list) > most || size > most*rowBytes {
			return have{}, nil, fmt.Errorf("%w: more than %d frontier rows or %d bytes of them", errFrame, most, most*rowBytes)
		}
		if !many && s.manyRows != nil && (len(list) > s.few || size > s.few*rowBytes) {
			select {
			case s.manyRows <- struct{}{}:
				many, s.patience = true, new(patience)
				defer func() { s.patience = nil; <-s.manyRows }()
			default:
				return have{}, nil, errManyRows
			}
		}
		if r.last {
			break
		}
	}
	f := ledger.Frontier(list)
	if changes {
		f = merge(known, list)
	}
	if err := f.Check(); err != nil {
		return have{}, nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	if f.Digest(own.network) != theirs.digest {
		return have{}, nil, fmt.Errorf("%w: the rows do not make the digest", errFrame)
	}
	return theirs, f, nil
}

// compare exchanges digests with the peer, and fetches what it has more.
func (b *neighbour) compare() (err error) {
	n := b.n
	s, err := n.open(b.ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	mine := n.store.Frontier()
	own := have{network: n.genesis.Network(), entries: mine.Entries()}
	own.digest = n.history.note(mine, own.network)
	if b.rows != nil {
		own.known = &b.rowsDigest
	}
	theirs, rows, err := s.have(&own, b.rows)
	if errors.Is(err, store.ErrOtherNetwork) || errors.Is(err, errFrame) {
		b.rows = nil
		n.drop(b.id, err)
		return err
	}
	if err != nil {
		return err
	}
	b.hear(&theirs)
	n.signing.heard(b)
	if theirs.digest == own.digest {
		b.rows, b.rowsDigest = mine, own.digest
		return nil
	}
	if b.rows, b.rowsDigest = rows, theirs.digest; len(rows) > s.few {
		b.rows = nil // nobody has signed them
	}
	if err := b.fetchEvidence(s, rows); err != nil {
		return err
	}
	if d := n.difference(rows); d.entries > 0 && d.entries <= littleBehind {
		select {
		case <-time.After(pullDelay):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	s.close(nil) // while others are pulled from, nobody waits with an open stream until the peer loses patience
	if err = b.fetch(rows); errors.Is(err, errFrame) {
		n.drop(b.id, err)
	}
	return err
}

// difference says what a peer has that this node lacks.
type difference struct {
	starts  []logStart
	entries uint64
	other   []ledger.Row // rows that do not go with what is held here
}

func (n *Network) difference(theirs ledger.Frontier) difference {
	var d difference
	mine := n.store.Frontier()
	for _, row := range theirs {
		own, known := mine.Row(row.Origin)
		size := uint64(0)
		if known {
			size = own.Size()
		}
		limit := row.Size()
		if own.Frozen != nil {
			limit = min(limit, own.Frozen.Seq)
		}
		switch {
		case limit > size && len(d.starts) < maxPullLogs:
			d.starts = append(d.starts, logStart{row.Origin, size, own.Hash})
			d.entries += limit - size
		case limit > size, row.Size() == 0, own.Citation == row.Citation:
		case !n.holds(row.Citation):
			d.other = append(d.other, row)
		}
	}
	return d
}

// holds reports whether exactly the cited entry is held.
func (n *Network) holds(c ledger.Citation) bool {
	_, err := n.store.Exact(n.ctx, store.Ref{Origin: c.Origin, Seq: c.Seq}, c.Hash)
	return err == nil
}

// fetch pulls what is missing; where two histories of a log differ, it finds out where.
func (b *neighbour) fetch(theirs ledger.Frontier) error {
	n := b.n
	d := n.difference(theirs)
	if err := b.bisectAll(d.other); err != nil || len(d.starts) == 0 {
		return err
	}
	origins, err := b.take(theirs)
	if err != nil {
		return err
	}
	var other []ledger.Row
	for _, o := range origins {
		if own, ok := n.store.Row(o); ok && own.Size() > 0 {
			other = append(other, own)
		}
	}
	return b.bisectAll(other)
}

// bisectAll bisects logs up to the heads of rows.
func (b *neighbour) bisectAll(rows []ledger.Row) (err error) {
	if len(rows) == 0 {
		return nil
	}
	s, err := b.n.open(b.ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	for _, row := range rows {
		if err := b.bisect(s, row.Origin, row.Seq); err != nil {
			return err
		}
	}
	return nil
}

// take pulls what is missing when it is the peer's turn, and returns the logs of which the peer has another history.
func (b *neighbour) take(theirs ledger.Frontier) (other []ledger.Origin, err error) {
	n := b.n
	select {
	case n.pulling <- struct{}{}:
	case <-b.ctx.Done():
		return nil, b.ctx.Err()
	}
	defer func() { <-n.pulling }()
	d := n.difference(theirs) // anew: another peer may have brought it meanwhile
	if len(d.starts) == 0 {
		return nil, nil
	}
	ctx, stop := context.WithTimeout(b.ctx, pullTurn) // the rest comes when others have had their turn
	defer stop()
	s, err := n.open(ctx, b.id)
	if err != nil {
		return nil, err
	}
	defer func() { s.close(err) }()
	defer context.AfterFunc(ctx, func() { _ = s.s.Reset() })()
	defer func() {
		if ctx.Err() != nil {
			b.kick()
		}
	}()
	defer n.VerifySoon()
	p := n.store.NewPipeline(b.ctx, 1, n.received.sync.count)
	var own *ledger.Entry
	other, err = b.pull(s, d, func(batch []*ledger.Entry) error {
		for _, e := range batch {
			if e.Header.Origin == n.own && !n.holds(e.Citation()) {
				own = e
			}
		}
		return p.Add(batch)
	})
	_, failed := p.Close()
	if own != nil && n.holds(own.Citation()) {
		n.signing.metOwn(own)
	}
	var missing *store.MissingError
	if errors.As(failed, &missing) {
		s.close(errStopped) // what is still on its way is not wanted
		return nil, b.takeSlowly(theirs)
	}
	if failed != nil {
		n.blame(b.id, failed)
		return nil, failed
	}
	return other, err
}

// pull fetches the entries behind the starts and gives them to take, batch by batch, until it returns an error. It returns
// the logs that the peer cannot go on with, because its history of them is another one.
func (b *neighbour) pull(s *session, d difference, take func([]*ledger.Entry) error) (other []ledger.Origin, err error) {
	n := b.n
	var body []byte
	for i := range d.starts {
		body = d.starts[i].append(body)
	}
	done := uint64(0)
	n.progress.Store(&Progress{Peer: b.id, Total: d.entries})
	defer n.progress.Store(nil)
	next := map[ledger.Origin]uint64{}
	for i := range d.starts {
		next[d.starts[i].origin] = d.starts[i].size
	}
	s.patience = new(patience)
	kind, body, err := s.ask(framePull, body)
	var batch []*ledger.Entry
	size := 0 // of the batch
	for {
		if err != nil {
			if len(batch) > 0 {
				_ = take(batch) // over a slow line it may be all that comes in a turn; who takes it knows of its errors
			}
			return nil, err
		}
		switch kind {
		case frameEntry:
			if len(batch) == store.RangeEntries || size >= store.RangeBytes {
				return nil, fmt.Errorf("%w: a batch of more than %d entries or %d bytes", errFrame, store.RangeEntries, store.RangeBytes)
			}
			e, err := ledger.DecodeEntry(append([]byte(nil), body...))
			if err != nil {
				n.drop(b.id, err)
				return nil, err
			}
			if at, ok := next[e.Header.Origin]; !ok || e.Header.Seq != at {
				return nil, fmt.Errorf("%w: entry %d of %v, which was not asked for", errFrame, e.Header.Seq, e.Header.Origin)
			}
			next[e.Header.Origin]++
			batch, size = append(batch, e), size+len(body)
		case frameBatch, frameEnd:
			if len(batch) == 0 && kind == frameBatch {
				return nil, fmt.Errorf("%w: a batch of nothing", errFrame)
			}
			if len(batch) > 0 {
				done += uint64(len(batch))
				n.progress.Store(&Progress{Peer: b.id, Done: done, Total: max(done, d.entries)})
				if take(batch) != nil {
					return nil, errStopped
				}
				batch, size = nil, 0
			}
			if kind == frameEnd {
				return other, nil
			}
			if err := s.send(frameMore, nil); err != nil {
				return nil, err
			}
		case frameOther:
			var o ledger.Origin
			if len(body) != len(o) || len(other) >= maxPullLogs {
				return nil, fmt.Errorf("%w: log of %d bytes", errFrame, len(body))
			}
			copy(o[:], body)
			other = append(other, o)
		default:
			return nil, unexpected(kind)
		}
		kind, body, err = s.answer()
	}
}

// errStopped says that a pull was ended here.
var errStopped = errors.New("stopped taking entries")

// takeSlowly is for what cites disputed entries: it takes entry by entry, and gets what each cites before it. That has a
// longer turn, because of a branch nothing is kept before its oldest entry is found.
func (b *neighbour) takeSlowly(theirs ledger.Frontier) (err error) {
	n := b.n
	ctx, stop := context.WithTimeout(b.ctx, slowTurn)
	defer stop()
	s, err := n.open(ctx, b.id)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	aside, err := n.open(ctx, b.id) // for disputed entries, while the pull goes on
	if err != nil {
		return err
	}
	defer func() { aside.close(err) }()
	aside.patience = new(patience)
	defer context.AfterFunc(ctx, func() { _, _ = s.s.Reset(), aside.s.Reset() })()
	d := n.difference(theirs)
	if len(d.starts) == 0 {
		return nil
	}
	var failed error
	_, err = b.pull(s, d, func(batch []*ledger.Entry) error {
		var missing *store.MissingError
		var result store.Result
		result, failed = n.store.IngestRange(ctx, batch)
		n.received.sync.count(result)
		if !errors.As(failed, &missing) {
			return failed // most batches cite nothing of that kind
		}
		for _, e := range batch {
			for range 1 + ledger.MaxSeen {
				var missing *store.MissingError
				result, failed = n.store.Ingest(b.ctx, e)
				n.received.sync.count(result)
				if !errors.As(failed, &missing) {
					break
				}
				if err := b.fetchPast(aside, missing.Missing[0]); err != nil || !n.holds(missing.Missing[0]) {
					return errors.Join(failed, err)
				}
			}
			if failed != nil {
				return failed
			}
		}
		return nil
	})
	if failed != nil {
		n.blame(b.id, failed)
		return failed
	}
	return err
}

// statement asks for the signed header of an entry; nil when the peer does not hold one there.
func (s *session) statement(o ledger.Origin, seq uint64) (*ledger.Entry, error) {
	p := place{origin: o, seq: seq}
	kind, body, err := s.ask(frameStatement, p.append(nil))
	switch {
	case err != nil:
		return nil, err
	case kind == frameNone:
		return nil, nil
	case kind != frameStatement:
		return nil, unexpected(kind)
	}
	e, err := parseStatement(body)
	if err != nil {
		return nil, err
	}
	if e.Header.Origin != o || seq != newest && e.Header.Seq != seq {
		return nil, fmt.Errorf("%w: a statement that was not asked for", errFrame)
	}
	return e, nil
}

// bisect finds the first entry at which the peer's history of a log differs from the one here, which is not that of the
// peer at top. Two good signatures for one place are evidence; anything less says nothing about anybody.
func (b *neighbour) bisect(s *session, o ledger.Origin, top uint64) error {
	n := b.n
	low, high := uint64(0), top // the first difference is in low…high
	for low < high {
		mid := low + (high-low)/2
		theirs, err := s.statement(o, mid)
		if err != nil {
			return err
		}
		if theirs == nil {
			return nil
		}
		if n.holds(theirs.Citation()) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	theirs, err := s.statement(o, low)
	if err != nil || theirs == nil {
		return err
	}
	mine, err := n.store.Get(b.ctx, store.Ref{Origin: o, Seq: low})
	if err != nil || mine.Hash == theirs.Hash {
		return err
	}
	n.accuseFork(mine.Entry, theirs, b.id)
	return nil
}
