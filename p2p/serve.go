package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// serve answers one stream of the sync protocol.
func (n *Network) serve(s network.Stream) {
	leave, ok := n.enter(s)
	if !ok {
		return
	}
	defer leave()
	f := newFramer(s)
	id := s.Conn().RemotePeer()
	if err := s.Scope().SetService("sync"); err != nil {
		_ = s.Reset()
		return
	}
	a := &answering{n: n, s: s, framer: f, from: id}
	defer a.endPull()
	questions := n.limits.questions(id)
	for {
		_ = s.SetDeadline(time.Now().Add(ioTimeout))
		kind, body, err := f.read()
		if err == io.EOF {
			_ = s.Close()
			return
		}
		if err == nil {
			err = questions.WaitN(n.ctx, cost(kind, body))
		}
		if err == nil {
			_ = s.SetDeadline(time.Now().Add(ioTimeout))
			err = a.answer(kind, body)
		}
		if err != nil {
			n.log.Debug("a stream ended early", "peer", id, "error", err)
			if errors.Is(err, errFrame) || errors.Is(err, errBusy) {
				_ = f.send(frameError, []byte(err.Error()))
			}
			_ = s.Reset()
			if errors.Is(err, errFrame) {
				n.drop(id, err)
			}
			return
		}
	}
}

// enter counts a stream among what Close waits for and ends, until leave is called. It refuses when
// the node is closing or the peer has too many.
func (n *Network) enter(s network.Stream) (leave func(), ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := s.Conn().RemotePeer()
	open, most := 0, peerStreams
	if s.Protocol() == LinkProtocolID {
		most = linkStreams
	}
	for _, c := range n.host.Network().ConnsToPeer(id) {
		for _, other := range c.GetStreams() {
			if other.Protocol() == s.Protocol() && other.Stat().Direction == network.DirInbound {
				open++
			}
		}
	}
	known := n.configure[id]
	if n.ctx.Err() != nil || open > most || n.outFor(id) > 0 || !known && n.streams >= allStreams {
		_ = s.Reset()
		return nil, false
	}
	if !known {
		n.streams++
	}
	n.running.Add(1)
	stop := context.AfterFunc(n.ctx, func() { _ = s.Reset() })
	return func() {
		stop()
		if !known {
			n.mu.Lock()
			n.streams--
			n.mu.Unlock()
		}
		n.running.Done()
	}, true
}

// cost is what a question takes from the peer's bucket: at least about what it costs to answer.
func cost(kind frameKind, body []byte) int {
	switch kind {
	case frameHave, frameEvidence:
		return 4
	case frameRows, framePull, frameAccuse:
		return 8
	case frameBranch:
		if q, err := parseBranchQuery(body); err == nil {
			return 1 + int(q.count)/16
		}
	}
	return 1
}

// answering is one stream of the sync protocol on which a peer asks.
type answering struct {
	*framer
	n    *Network
	s    network.Stream
	from peer.ID
	pull *servedPull // that is being asked for
}

func (a *answering) answer(kind frameKind, body []byte) error {
	switch kind {
	case frameFrom, frameRange, framePull:
		return a.answerPull(kind, body)
	}
	if a.pull != nil {
		return unexpected(kind)
	}
	n, f := a.n, a.framer
	switch kind {
	case frameHave:
		return n.answerHave(f, a.from, body)
	case frameRows:
		ranges, err := parseRanges(body)
		if err != nil {
			return err
		}
		return n.answerRows(f, ranges)
	case frameStatement:
		p, err := parsePlace(body)
		if err != nil {
			return err
		}
		return n.answerStatement(f, p)
	case frameBranch:
		q, err := parseBranchQuery(body)
		if err != nil {
			return err
		}
		return n.answerBranch(f, q)
	case frameEvidence:
		p, err := parsePlace(body)
		if err != nil {
			return err
		}
		return n.answerEvidence(f, p.origin)
	case frameAccuse:
		return n.answerAccuse(f, a.from, body)
	}
	return unexpected(kind)
}

func (n *Network) answerHave(f *framer, from peer.ID, body []byte) error {
	theirs, err := parseHave(body)
	if err != nil {
		return err
	}
	mine := n.view()
	n.history.note(mine)
	own, b, news := mine.have(), n.neighbour(from), false
	if b != nil && theirs.network == own.network {
		news = b.hear(&theirs)
		own = b.have(mine)
	}
	if err := f.write(frameHave, own.append(nil)); err != nil {
		return err
	}
	if theirs.network != own.network {
		return f.flush()
	}
	if news && theirs.digest != own.digest {
		b.kick()
	}
	if theirs.digest != own.digest {
		if err := n.writeHeld(f, mine, theirs.known); err != nil {
			return err
		}
	}
	return f.flush()
}

// writeHeld says what is held: what has changed since a frontier that the peer knows, all rows if
// they are few, or an outline.
func (n *Network) writeHeld(f *framer, mine *view, known *ledger.Hash) error {
	if known != nil {
		if changed, ok := n.history.changes(mine.Frontier, *known); ok && len(changed) <= fewRows {
			return f.writeRows(changed, true)
		}
	}
	if len(mine.Frontier) <= fewRows {
		return f.writeRows(mine.Frontier, false)
	}
	return f.writeOutline(mine.outline())
}

// answerRows sends the rows in ranges, or the first of them. A peer that does not read them holds
// no more of this node's memory than their bytes.
func (n *Network) answerRows(f *framer, ranges []originRange) error {
	v := n.view()
	var list []ledger.Row
	cut := false
	for _, r := range ranges {
		rows := v.rows(r)
		if room := pageRows - len(list); len(rows) > room {
			rows, cut = rows[:room], true
		}
		if list = append(list, rows...); cut {
			break
		}
	}
	if err := f.writeAll(appendRows(nil, list, false, cut)); err != nil {
		return err
	}
	return f.flush()
}

// serving bounds the pulls that are answered at once.
type serving struct {
	mu     sync.Mutex
	logs   int           // of all of them
	others chan struct{} // places for peers that are no neighbours
}

func newServing() serving { return serving{others: make(chan struct{}, servedPulls)} }

// reserve asks for room for logs. There is room for one pull, however long.
func (s *serving) reserve(logs int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs > 0 && s.logs+logs > servedLogs {
		return false
	}
	s.logs += logs
	return true
}

func (s *serving) release(logs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs -= logs
}

var errBusy = errors.New("busy with other pulls; ask again later")

// servedPull is what a peer asks for in one or more frames, in order of origins.
type servedPull struct {
	n     *Network
	from  peer.ID
	place chan struct{}
	ends  time.Time // when all of it must have been asked for
	view  *view
	merge *store.Merge
	logs  int             // that are reserved
	other []ledger.Origin // of which the peer has another history
	open  *originRange    // what is left of the last range
	next  ledger.Origin   // no less may come next
	done  bool            // nothing may come next
}

// answerPull takes a part of a pull. The last part is answered.
func (a *answering) answerPull(kind frameKind, body []byte) (err error) {
	if a.pull == nil {
		if a.pull, err = a.n.servePull(a.from); err != nil {
			return err
		}
	}
	p := a.pull
	if time.Now().After(p.ends) {
		return fmt.Errorf("%w: a pull without an end", errFrame)
	}
	if kind == frameRange {
		ranges, err := parseRanges(body)
		for i := 0; i < len(ranges) && err == nil; i++ {
			err = p.addRange(ranges[i])
		}
		return err
	}
	starts, err := parsePull(body)
	slices.SortFunc(starts, func(a, b logStart) int { return a.origin.Compare(b.origin) })
	for i := 0; i < len(starts) && err == nil; i++ {
		err = p.addStart(&starts[i])
	}
	if err == nil && kind == framePull {
		if err = p.closeRange(ledger.Origin{}); err == nil {
			err = a.n.sendPull(a.s, a.framer, p)
		}
		a.endPull()
	}
	return err
}

func (a *answering) endPull() {
	if p := a.pull; p != nil {
		a.pull = nil
		a.n.serving.release(p.logs)
		<-p.place
	}
}

// servePull waits for a place to answer a peer's pull.
func (n *Network) servePull(from peer.ID) (*servedPull, error) {
	place := n.serving.others
	if b := n.neighbour(from); b != nil {
		place = b.served
	}
	patience := time.NewTimer(ioTimeout)
	defer patience.Stop()
	select {
	case place <- struct{}{}:
		return &servedPull{n: n, from: from, place: place, ends: time.Now().Add(rowsTime), view: n.view(), merge: n.store.NewMerge()}, nil
	case <-patience.C:
		return nil, errBusy
	case <-n.ctx.Done():
		return nil, n.ctx.Err()
	}
}

func (p *servedPull) inOrder(o ledger.Origin) error {
	if p.done || o.Compare(p.next) < 0 {
		return fmt.Errorf("%w: a pull out of order", errFrame)
	}
	return nil
}

func (p *servedPull) addRange(r originRange) error {
	if err := errors.Join(p.inOrder(r.from), p.closeRange(r.from)); err != nil {
		return err
	}
	p.open, p.next = &r, r.from
	return nil
}

// closeRange adds what there is of the open range before an origin, or all of it before the zero
// one.
func (p *servedPull) closeRange(before ledger.Origin) error {
	if p.open == nil {
		return nil
	}
	r := *p.open
	if (before != ledger.Origin{}) && r.holds(before) {
		r.before = before
	} else {
		p.open, p.next, p.done = nil, r.before, r.before == ledger.Origin{}
	}
	for _, row := range p.view.rows(r) {
		if err := p.addLog(row.Origin, 0, newest); err != nil {
			return err
		}
	}
	return nil
}

func (p *servedPull) addStart(s *logStart) error {
	if err := p.inOrder(s.origin); err != nil {
		return err
	}
	if err := p.closeRange(s.origin); err != nil {
		return err
	}
	p.next = after(s.origin)
	p.done = p.next == ledger.Origin{}
	switch {
	case p.done:
		p.open = nil
	case p.open != nil:
		p.open.from = p.next
	}
	row, ok := p.n.store.Row(s.origin)
	if !ok || s.size > row.Size() || s.size > 0 && s.size == row.Size() && s.head == row.Hash {
		return nil
	}
	if s.size > 0 && !p.n.holds(ledger.Citation{Origin: s.origin, Seq: s.size - 1, Hash: s.head}) {
		if len(p.other) < maxOthers {
			p.other = append(p.other, s.origin)
		}
		return nil
	}
	return p.addLog(s.origin, s.size, s.before)
}

// addLog adds what is held of a log from one entry on, and before another one. Only entries whose
// signatures were checked are sent.
func (p *servedPull) addLog(o ledger.Origin, size, before uint64) error {
	if o == p.n.own {
		p.n.signing.serves(p.from, size)
	}
	log, _ := p.n.store.LogInfo(o)
	if end := min(log.Undisputed, log.Verified, before); size < end {
		if !p.n.serving.reserve(1) {
			return errBusy
		}
		p.logs++
		p.merge.Add(o, size, end)
	}
	return nil
}

// sendPull sends what was asked for in canonical order, so that each entry comes after those it
// names.
func (n *Network) sendPull(s network.Stream, f *framer, p *servedPull) error {
	ctx, stop := context.WithCancel(n.ctx)
	defer stop()
	for _, o := range p.other {
		if err := f.write(frameOther, o[:]); err != nil {
			return err
		}
	}
	credit := pullCredit
	count, bytes := 0, 0
	var raw []byte
	for e, err := range p.merge.All(ctx) {
		if err != nil {
			return err
		}
		raw = e.Append(raw[:0])
		if err := f.write(frameEntry, raw); err != nil {
			return err
		}
		count++
		bytes += len(raw)
		if count < store.RangeEntries && bytes < store.RangeBytes {
			continue
		}
		if err := f.send(frameBatch, nil); err != nil {
			return err
		}
		count, bytes = 0, 0
		_ = s.SetDeadline(time.Now().Add(ioTimeout))
		for credit--; credit == 0; {
			kind, _, err := f.read()
			if err != nil {
				return err
			}
			if kind != frameMore {
				return unexpected(kind)
			}
			credit++
		}
	}
	// A peer may have asked for more than there was. That comes before its next question.
	if err := f.send(frameEnd, nil); err != nil {
		return err
	}
	for ; credit < pullCredit; credit++ {
		kind, _, err := f.read()
		if err != nil {
			return err
		}
		if kind != frameMore {
			return unexpected(kind)
		}
	}
	return nil
}

func (n *Network) answerStatement(f *framer, p place) error {
	if p.seq == newest {
		row, ok := n.store.Row(p.origin)
		if !ok || row.Size() == 0 {
			return f.send(frameNone, nil)
		}
		p.seq = row.Seq
	}
	e, err := n.store.Get(n.ctx, store.Ref{Origin: p.origin, Seq: p.seq})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return f.send(frameNone, nil)
	case err != nil:
		return err
	}
	return f.send(frameStatement, appendStatement(nil, e.Entry))
}

// answerBranch sends an entry and, while they are disputed, those before it: as many as were asked
// for, unless they are longer than a batch.
func (n *Network) answerBranch(f *framer, q branchQuery) error {
	ref, hash, bytes := store.Ref{Origin: q.origin, Seq: q.seq}, q.hash, 0
	for count := range q.count {
		e, err := n.store.Exact(n.ctx, ref, hash)
		if errors.Is(err, store.ErrNotFound) && count == 0 {
			return f.send(frameNone, nil)
		}
		if err != nil {
			return err // whose predecessor is held too
		}
		if bytes += e.Len(); count > 0 && bytes > store.RangeBytes {
			break
		}
		if err := f.write(frameEntry, e.Append(nil)); err != nil {
			return err
		}
		before, ok := predecessor(e)
		if ref, hash = (store.Ref{Origin: before.Origin, Seq: before.Seq}), before.Hash; !ok || !n.store.Disputed(ref) {
			break
		}
	}
	return f.send(frameEnd, nil)
}
