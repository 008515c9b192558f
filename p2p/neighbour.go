package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	asked   bool // what it holds of this node's log, and it holds nothing newer; guarded by signing.mu

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

// run compares at once, then on every change and every [haveInterval], but not more often than every [compareDelay], and
// less and less often while nothing comes of it.
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
	until    time.Time // when all must have been said; zero for no such time
}

// patience is for how long a peer may still let a node wait whom others wait for too: for [pullPatience] at first, and as
// long again for each [pullPace] bytes that it brings. Only the waiting counts, not what the node does meanwhile. While
// others do wait, it is [crowdPatience].
type patience struct {
	turns       *turns
	waited, all time.Duration
}

// deadline is when the peer must have answered.
func (p *patience) deadline(now time.Time) time.Time {
	if p == nil {
		return now.Add(ioTimeout)
	}
	most := pullPatience
	if p.turns.crowded() {
		most = crowdPatience
	}
	return now.Add(most - p.waited)
}

// brought notes that something came.
func (p *patience) brought(bytes int, waited time.Duration) {
	if p != nil {
		p.waited = max(0, p.waited+waited-pullPatience*time.Duration(bytes)/pullPace)
		p.all += waited
	}
}

func (n *Network) open(ctx context.Context, id peer.ID) (*session, error) {
	s, err := n.host.NewStream(network.WithNoDial(ctx, "neighbours are connected"), id, ProtocolID)
	if err != nil {
		return nil, err
	}
	return &session{framer: newFramer(s), s: s}, nil
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
	deadline := s.patience.deadline(begin)
	if !s.until.IsZero() && s.until.Before(deadline) {
		deadline = s.until
	}
	_ = s.s.SetDeadline(deadline)
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

// answered is what a peer says it holds: nothing more when the digests are equal, all its rows when they are few, or its
// outline.
type answered struct {
	have
	rows    ledger.Frontier
	outline []chunk
}

// have exchanges digests, and returns what the peer holds unless the digests are equal.
func (s *session) have(own *have, known ledger.Frontier) (a answered, err error) {
	kind, body, err := s.ask(frameHave, own.append(nil))
	if err != nil {
		return a, err
	}
	if kind != frameHave {
		return a, unexpected(kind)
	}
	if a.have, err = parseHave(body); err != nil {
		return a, err
	}
	if a.network != own.network {
		return a, fmt.Errorf("%w: %s", store.ErrOtherNetwork, a.network.Short())
	}
	if a.digest == own.digest {
		return a, nil
	}
	if kind, body, err = s.answer(); err != nil {
		return a, err
	}
	if kind == frameOutline {
		a.outline, err = s.readOutline(body)
		return a, err
	}
	list, changes, _, err := s.readRows(kind, body, rememberedRows)
	if err != nil {
		return a, err
	}
	a.rows = ledger.Frontier(list)
	if changes {
		a.rows = merge(known, list)
	}
	if err := a.rows.Check(); err != nil {
		return a, fmt.Errorf("%w: %w", errFrame, err)
	}
	if a.rows.Digest(own.network) != a.digest {
		return a, fmt.Errorf("%w: the rows do not make the digest", errFrame)
	}
	return a, nil
}

// readRows reads an answer of at most so many rows, of which the first frame has come.
func (s *session) readRows(kind frameKind, body []byte, most int) (list []ledger.Row, changes, cut bool, err error) {
	size := 0
	for first := true; ; first = false {
		if kind != frameRows {
			return nil, false, false, unexpected(kind)
		}
		r, err := parseRows(body)
		if err != nil {
			return nil, false, false, err
		}
		if first {
			changes = r.changes
		}
		if r.changes != changes || r.gone && !changes || len(r.rows) == 0 && !r.last || r.cut && !r.last {
			return nil, false, false, fmt.Errorf("%w: rows without an end", errFrame)
		}
		list = append(list, r.rows...)
		if size += len(body); len(list) > most || size > most*rowBytes {
			return nil, false, false, fmt.Errorf("%w: more than %d frontier rows or %d bytes of them", errFrame, most, most*rowBytes)
		}
		if r.last {
			return list, changes, r.cut, nil
		}
		if kind, body, err = s.answer(); err != nil {
			return nil, false, false, err
		}
	}
}

func (s *session) readOutline(body []byte) (all []chunk, err error) {
	kind := frameOutline
	for {
		if kind != frameOutline {
			return nil, unexpected(kind)
		}
		chunks, last, err := parseOutline(body)
		if err != nil {
			return nil, err
		}
		all = append(all, chunks...)
		if len(all) > maxChunks {
			return nil, fmt.Errorf("%w: an outline of more than %d chunks", errFrame, maxChunks)
		}
		if last {
			break
		}
		if kind, body, err = s.answer(); err != nil {
			return nil, err
		}
	}
	if (all[0].from != ledger.Origin{}) {
		return nil, fmt.Errorf("%w: an outline without its beginning", errFrame)
	}
	for i := range all[1:] {
		if all[i].from.Compare(all[i+1].from) >= 0 {
			return nil, fmt.Errorf("%w: an outline out of order", errFrame)
		}
	}
	return all, nil
}

// page asks for the rows in ranges, and returns those that came and the ranges that are left.
func (s *session) page(ranges []originRange) (rows ledger.Frontier, asked, left []originRange, err error) {
	asked, left = ranges[:min(len(ranges), maxRanges)], ranges[min(len(ranges), maxRanges):]
	kind, body, err := s.ask(frameRows, appendRanges(nil, asked))
	if err != nil {
		return nil, nil, nil, err
	}
	list, _, cut, err := s.readRows(kind, body, pageRows)
	if err != nil {
		return nil, nil, nil, err
	}
	rows = list
	if err := rows.Check(); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	at := 0 // the range that rows are in
	for i := range rows {
		for at < len(asked) && !asked[at].holds(rows[i].Origin) {
			at++
		}
		if at == len(asked) {
			return nil, nil, nil, fmt.Errorf("%w: rows that were not asked for", errFrame)
		}
	}
	if !cut {
		return rows, asked, left, nil
	}
	if len(rows) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: rows without an end", errFrame)
	}
	// The rest begins after the last row.
	cutAt := after(rows[len(rows)-1].Origin)
	rest := slices.Clone(asked[at:])
	asked = slices.Clone(asked[:at+1])
	if asked[at].before = cutAt; rest[0].before == cutAt {
		rest = rest[1:]
	} else {
		rest[0].from = cutAt
	}
	return rows, asked, append(rest, left...), nil
}

// frontier returns all rows of a peer, of which it asks for those that are not in mine, which may be nil. It takes up to
// [clientRows] of them: it is for audits and configured peers.
func (s *session) frontier(own *have, mine *view) (have, ledger.Frontier, error) {
	if mine == nil {
		mine = &view{Held: new(store.Held), network: own.network}
	}
	a, err := s.have(own, nil)
	switch {
	case err != nil:
		return have{}, nil, err
	case a.digest == own.digest:
		return a.have, mine.Frontier, nil
	case a.outline == nil:
		return a.have, a.rows, nil
	}
	var all ledger.Frontier
	from := ledger.Origin{}
	for left := mine.differing(a.outline); len(left) > 0 && len(all) <= clientRows; {
		if from != left[0].from {
			all = append(all, mine.rows(originRange{from, left[0].from})...)
		}
		rows, asked, rest, err := s.page(left)
		if err != nil {
			return have{}, nil, err
		}
		for i, r := range asked {
			if i > 0 && asked[i-1].before != r.from {
				all = append(all, mine.rows(originRange{asked[i-1].before, r.from})...)
			}
			for len(rows) > 0 && r.holds(rows[0].Origin) {
				all, rows = append(all, rows[0]), rows[1:]
			}
		}
		from, left = asked[len(asked)-1].before, rest
		if (from == ledger.Origin{}) {
			return a.have, all, nil
		}
	}
	if len(all) > clientRows {
		return have{}, nil, fmt.Errorf("%w: more than %d frontier rows", errFrame, clientRows)
	}
	return a.have, append(all, mine.rows(originRange{from: from})...), nil
}

// after returns the origin after another.
func after(o ledger.Origin) ledger.Origin {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i]++; o[i] != 0 {
			break
		}
	}
	return o
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
	own := mine.have()
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
	if w.entries > 0 && w.entries <= littleBehind && len(w.ranges) == 0 {
		select {
		case <-time.After(pullDelay):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	s.close(nil) // while others are pulled from, nobody waits with an open stream until the peer loses patience
	if err = b.fetch(w); errors.Is(err, errFrame) {
		n.drop(b.id, err)
	}
	return err
}

// look finds out what a peer has that this node lacks, and gets its evidence first. Of a peer that is slow to say it, the
// rest counts as wanted.
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

// holds reports whether exactly the cited entry is held.
func (n *Network) holds(c ledger.Citation) bool {
	_, err := n.store.Exact(n.ctx, store.Ref{Origin: c.Origin, Seq: c.Seq}, c.Hash)
	return err == nil
}

// fetch pulls what is missing; where two histories of a log differ, it finds out where.
func (b *neighbour) fetch(w *want) error {
	var pulled error
	if !w.empty() {
		var other []ledger.Origin
		other, pulled = b.take(w)
		for _, o := range other {
			if own, ok := b.n.store.Row(o); ok && own.Size() > 0 {
				w.other = append(w.other, own)
			}
		}
	}
	if errors.Is(pulled, errFrame) {
		return pulled
	}
	return errors.Join(pulled, b.bisectAll(w.other))
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
func (b *neighbour) take(w *want) (other []ledger.Origin, err error) {
	n := b.n
	ctx, leave, err := n.turns.wait(b.ctx, b.id)
	if err != nil {
		return nil, err
	}
	slowly := false
	func() {
		defer leave()
		other, slowly, err = b.takeFast(ctx, w)
	}()
	if !slowly {
		return other, err
	}
	// Whoever waits for what disputed entries need must not keep others from theirs.
	ctx, leave, err = n.slowTurns.wait(b.ctx, b.id)
	if err != nil {
		return nil, err
	}
	defer leave()
	return nil, b.takeSlowly(ctx, w)
}

// gained is what came of a turn.
type gained struct {
	*patience
	bytes        int // that were taken
	joined, held int // entries
}

func (g *gained) count(r store.Result) { g.joined, g.held = g.joined+r.Joined, g.held+r.Held }

// note keeps account of a turn. Nothing is held against a peer of which nothing more was wanted in the end, since another
// one has brought it meanwhile.
func (g *gained) note(n *Network, id peer.ID, w *want, failed error) {
	if errors.Is(failed, store.ErrFailed) || errors.Is(failed, store.ErrClosed) {
		return // which is no peer's fault
	}
	worth := 0
	if g.joined > 0 {
		worth = max(1, g.bytes*g.joined/(g.joined+g.held))
	}
	if worth > 0 || failed != nil || g.all > time.Second || !w.over(n) {
		n.standings.note(id, g.all, worth)
	}
}

// takeFast pulls what is missing, several batches under way at once, until something cites what is not held: slowly says so.
func (b *neighbour) takeFast(ctx context.Context, w *want) (other []ledger.Origin, slowly bool, err error) {
	n := b.n
	if w.over(n) { // another peer has brought it meanwhile
		return nil, false, nil
	}
	request := n.request(w)
	s, err := n.open(ctx, b.id)
	if err != nil {
		return nil, false, err
	}
	defer func() { s.close(err) }()
	defer context.AfterFunc(ctx, func() { _ = s.s.Reset() })()
	defer func() {
		if ctx.Err() != nil {
			b.kick()
		}
	}()
	defer n.VerifySoon()
	g := gained{patience: &patience{turns: n.turns}}
	s.patience = g.patience
	p := n.store.NewPipeline(b.ctx, 1, func(r store.Result) { n.received.sync.count(r); g.count(r) })
	other, err = b.pull(s, request, w.entries, func(batch []*ledger.Entry) error {
		for _, e := range batch {
			g.bytes += e.Len()
		}
		return p.Add(batch)
	})
	_, failed := p.Close()
	var missing *store.MissingError
	if slowly = errors.As(failed, &missing); slowly {
		s.close(errStopped) // what is still on its way is not wanted
		return nil, true, nil
	}
	g.note(n, b.id, w, errors.Join(failed, err))
	if failed != nil {
		n.blame(b.id, failed)
		err = failed
	}
	return other, false, err
}

// pull fetches what was asked for and gives it to take, batch by batch, until it returns an error. It returns some logs that
// the peer cannot go on with, because its history of them is another one.
func (b *neighbour) pull(s *session, request *pullRequest, entries uint64, take func([]*ledger.Entry) error) (other []ledger.Origin, err error) {
	n := b.n
	done := uint64(0)
	n.progress.Store(&Progress{Peer: b.id, Total: entries})
	defer n.progress.Store(nil)
	next := map[ledger.Origin]uint64{}
	_ = s.s.SetDeadline(time.Now().Add(rowsTime))
	var kind frameKind
	var body []byte
	asked, err := request.write(s.framer)
	if err == nil {
		s.patience.waited -= time.Duration(asked) * time.Second / startsEachSecond // it looks all of them up first
		kind, body, err = s.answer()
	}
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
			at, asked := next[e.Header.Origin]
			if !asked {
				var start logStart
				start, asked = request.start(e.Header.Origin)
				at = start.size
			}
			if !asked || e.Header.Seq != at {
				return nil, fmt.Errorf("%w: entry %d of %v, which was not asked for", errFrame, e.Header.Seq, e.Header.Origin)
			}
			next[e.Header.Origin] = at + 1
			batch, size = append(batch, e), size+len(body)
		case frameBatch, frameEnd:
			if len(batch) == 0 && kind == frameBatch {
				return nil, fmt.Errorf("%w: a batch of nothing", errFrame)
			}
			if len(batch) > 0 {
				done += uint64(len(batch))
				n.progress.Store(&Progress{Peer: b.id, Done: done, Total: max(done, entries)})
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
			if len(body) != len(o) {
				return nil, fmt.Errorf("%w: log of %d bytes", errFrame, len(body))
			}
			copy(o[:], body)
			if len(other) < maxOthers {
				other = append(other, o)
			}
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
func (b *neighbour) takeSlowly(ctx context.Context, w *want) (err error) {
	n := b.n
	request := n.request(w)
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
	g := gained{patience: &patience{turns: n.slowTurns}}
	s.patience, aside.patience = g.patience, &patience{turns: n.slowTurns}
	defer context.AfterFunc(ctx, func() { _, _ = s.s.Reset(), aside.s.Reset() })()
	var failed error
	_, err = b.pull(s, request, w.entries, func(batch []*ledger.Entry) error {
		for _, e := range batch {
			g.bytes += e.Len()
		}
		var missing *store.MissingError
		var result store.Result
		result, failed = n.store.IngestRange(ctx, batch)
		n.received.sync.count(result)
		g.count(result)
		if !errors.As(failed, &missing) {
			return failed // most batches cite nothing of that kind
		}
		for _, e := range batch {
			for range 1 + ledger.MaxSeen {
				var missing *store.MissingError
				result, failed = n.store.Ingest(b.ctx, e)
				n.received.sync.count(result)
				g.count(result)
				if !errors.As(failed, &missing) {
					break
				}
				past, err := b.fetchPast(aside, missing.Missing[0])
				g.count(past)
				if err != nil || !n.holds(missing.Missing[0]) {
					return errors.Join(failed, err)
				}
			}
			if failed != nil {
				return failed
			}
		}
		return nil
	})
	g.all += aside.patience.all
	g.note(n, b.id, w, errors.Join(failed, err))
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

// bisect finds the first entry at which the peer's history of a log differs from the one here, up to an entry of the peer's
// at top. Of what is disputed here already it asks nothing. Two good signatures for one place are evidence; anything less says
// nothing about anybody.
func (b *neighbour) bisect(s *session, o ledger.Origin, top uint64) error {
	n := b.n
	own, ok := n.store.Row(o)
	if !ok || own.Size() == 0 {
		return nil
	}
	low, high := uint64(0), min(top, own.Seq)
	first, err := s.statement(o, high) // of theirs that is known to differ; the first that does is in low…high
	if err != nil || first == nil || n.holds(first.Citation()) {
		return err
	}
	for low < high {
		mid := low + (high-low)/2
		theirs, err := s.statement(o, mid)
		if err != nil || theirs == nil {
			return err
		}
		if n.holds(theirs.Citation()) {
			low = mid + 1
		} else {
			high, first = mid, theirs
		}
	}
	mine, err := n.store.Get(b.ctx, store.Ref{Origin: o, Seq: low})
	if errors.Is(err, store.ErrNotFound) {
		return nil // this node's log ends before the first difference, and what comes is disputed
	}
	if err != nil || mine.Hash == first.Hash {
		return err
	}
	n.accuseFork(mine.Entry, first, b.id)
	return nil
}
