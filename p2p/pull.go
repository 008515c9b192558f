package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// want is what a peer seems to have and this node lacks. Entries name entries of other logs, so
// what is pulled must hold together: all that is missing is asked for at once, and comes in
// canonical order, causes before effects. However little of it comes in a turn, that can be kept.
//
// Few logs are named. Of many, ranges of origins are asked for, with what is held in them.
type want struct {
	logs    []ledger.Origin // in order, outside the ranges
	ranges  []originRange   // in order
	entries uint64          // about how many are missing
	missing []ledger.Row    // some of the rows that promise them, at most [maxOthers]
	other   []ledger.Row    // rows that do not go with what is held here, at most [maxOthers]
}

func (w *want) empty() bool { return len(w.logs) == 0 && len(w.ranges) == 0 }

// over reports whether nothing that was wanted is missing any more, as far as that is known.
func (w *want) over(n *Network) bool {
	for i := range w.missing {
		own, _ := n.store.Row(w.missing[i].Origin)
		if missing(&own, &w.missing[i]) > 0 {
			return false
		}
	}
	return len(w.ranges) == 0 && len(w.logs) <= len(w.missing)
}

// missing returns how many entries a peer's row promises that are not held and not disputed here.
func missing(own, theirs *ledger.Row) uint64 {
	limit := theirs.Size()
	if own.Frozen != nil {
		limit = min(limit, own.Frozen.Seq)
	}
	return limit - min(limit, own.Size())
}

// add takes account of the rows that a peer has in some ranges.
func (w *want) add(n *Network, rows []ledger.Row, ranges []originRange) {
	var logs []ledger.Origin
	for i := range rows {
		theirs := &rows[i]
		own, _ := n.store.Row(theirs.Origin)
		more := missing(&own, theirs)
		switch {
		case more > 0:
			logs = append(logs, theirs.Origin)
			w.entries += more
			if len(w.missing) < maxOthers {
				w.missing = append(w.missing, *theirs)
			}
		case theirs.Size() == 0 || own.Size() == 0 || own.Citation == theirs.Citation || len(w.other) == maxOthers:
		case !n.holds(theirs.Citation):
			w.other = append(w.other, *theirs)
		}
	}
	if len(logs) <= max(len(rows)/8, maxOthers) {
		w.logs = append(w.logs, logs...)
		return
	}
	w.addRanges(ranges)
}

func (w *want) addRanges(ranges []originRange) {
	for _, r := range ranges {
		if last := len(w.ranges) - 1; last >= 0 && w.ranges[last].before == r.from {
			w.ranges[last].before = r.before
		} else {
			w.ranges = append(w.ranges, r)
		}
	}
}

// pullRequest is a want as it is asked for.
type pullRequest struct {
	view   *view
	named  []logStart // in order
	ranges []originRange
}

// start returns the place from which a log is wanted; ok is false when it was not asked for.
func (p *pullRequest) start(o ledger.Origin) (s logStart, ok bool) {
	if i, named := slices.BinarySearchFunc(p.named, o, func(s logStart, o ledger.Origin) int { return s.origin.Compare(o) }); named {
		return p.named[i], true
	}
	i, found := slices.BinarySearchFunc(p.ranges, o, func(r originRange, o ledger.Origin) int { return r.from.Compare(o) })
	if !found {
		i--
	}
	if i < 0 || !p.ranges[i].holds(o) {
		return s, false
	}
	row := p.view.row(o)
	return startOf(&row), true
}

// startOf returns the place from which more is wanted of a log.
func startOf(own *ledger.Row) logStart {
	s := logStart{origin: own.Origin, size: own.Size(), head: own.Hash, before: newest}
	if own.Frozen != nil {
		s.before = own.Frozen.Seq
	}
	return s
}

// request makes what is to be asked for now out of a want. Another peer may have brought some of it
// meanwhile.
func (n *Network) request(w *want) *pullRequest {
	p := &pullRequest{view: n.view(), ranges: w.ranges}
	for _, o := range w.logs {
		own, _ := n.store.Row(o)
		own.Origin = o
		p.named = append(p.named, startOf(&own))
	}
	return p
}

// write sends the request, and returns how many starts of logs are in it.
func (p *pullRequest) write(f *framer) (starts int, err error) {
	body := make([]byte, 0, rowsFrame+logStartLen)
	flush := func() {
		if len(body) > 0 && err == nil {
			err = f.write(frameFrom, body)
		}
		body = body[:0]
	}
	add := func(s logStart) {
		starts++
		if body = s.append(body); len(body) >= rowsFrame {
			flush()
		}
	}
	named := p.named
	for i := range p.ranges {
		for len(named) > 0 && named[0].origin.Compare(p.ranges[i].from) < 0 {
			add(named[0])
			named = named[1:]
		}
		flush()
		if err == nil {
			err = f.write(frameRange, appendRanges(nil, p.ranges[i:i+1]))
		}
		rows := p.view.known(p.ranges[i])
		for j := range rows {
			add(startOf(&rows[j]))
		}
	}
	for _, s := range named {
		add(s)
	}
	if err != nil {
		return starts, err
	}
	return starts, f.send(framePull, body)
}

// fetch pulls what is missing. If two histories of a log differ, it finds the first difference.
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

// take pulls what is missing when it is the peer's turn, and returns the logs of which the peer has
// another history.
func (b *neighbour) take(w *want) (other []ledger.Origin, err error) {
	n := b.n
	if err := n.store.Failure(); err != nil {
		return nil, err // what comes could not be kept, and that is not the peer's fault
	}
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
	// A peer that is asked for disputed entries must not keep others from their turns.
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

// note keeps account of a turn. If nothing more is wanted of the peer in the end, another one has
// brought it meanwhile, and nothing is held against the peer.
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

// takeFast pulls what is missing, with several batches under way at once. It stops when something
// cites what is not held, and then slowly is true.
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
	p := n.store.NewPipeline(b.ctx, 1, func(r store.Result) { n.received.sync.add(r); g.count(r) })
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

// takeSlowly is for what cites disputed entries. It takes entry by entry, and gets what each cites
// before it. Its turn is longer, because nothing of a branch is kept before its oldest entry is
// found.
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
		n.received.sync.add(result)
		g.count(result)
		if !errors.As(failed, &missing) {
			return failed // most batches cite nothing of that kind
		}
		for _, e := range batch {
			for range 1 + ledger.MaxSeen {
				var missing *store.MissingError
				result, failed = n.store.Ingest(b.ctx, e)
				n.received.sync.add(result)
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

// pull fetches what was asked for and gives it to take, batch by batch, until it returns an error.
// It returns some logs that the peer cannot go on with, because its history of them is another one.
func (b *neighbour) pull(s *session, request *pullRequest, entries uint64, take func([]*ledger.Entry) error) (other []ledger.Origin, err error) {
	n := b.n
	done := uint64(0)
	n.progress.Store(&Progress{Peer: b.id, Total: entries})
	defer n.progress.Store(nil)
	p := pulled{request: request, next: map[ledger.Origin]uint64{}}
	_ = s.s.SetDeadline(time.Now().Add(rowsTime))
	var kind frameKind
	var body []byte
	asked, err := request.write(s.framer)
	if err == nil {
		// It looks all of them up first.
		s.patience.waited -= time.Duration(asked) * time.Second / startsEachSecond
		kind, body, err = s.answer()
	}
	for ; err == nil; kind, body, err = s.answer() {
		switch kind {
		case frameEntry:
			if err := p.addEntry(body); err != nil {
				if !errors.Is(err, errFrame) {
					n.drop(b.id, err) // it does not decode
				}
				return nil, err
			}
		case frameBatch, frameEnd:
			if len(p.batch) == 0 && kind == frameBatch {
				return nil, fmt.Errorf("%w: a batch of nothing", errFrame)
			}
			if len(p.batch) > 0 {
				done += uint64(len(p.batch))
				n.progress.Store(&Progress{Peer: b.id, Done: done, Total: max(done, entries)})
				if take(p.batch) != nil {
					return nil, errStopped
				}
				p.batch, p.bytes = nil, 0
			}
			if kind == frameEnd {
				return p.other, nil
			}
			if err := s.send(frameMore, nil); err != nil {
				return nil, err
			}
		case frameOther:
			if err := p.addOther(body); err != nil {
				return nil, err
			}
		default:
			return nil, unexpected(kind)
		}
	}
	if len(p.batch) > 0 {
		// Over a slow line it may be all that comes in a turn. The caller knows of take's errors.
		_ = take(p.batch)
	}
	return nil, err
}

// pulled is what has come of a pull.
type pulled struct {
	request *pullRequest
	next    map[ledger.Origin]uint64 // of each log of which something came, the entry that is due
	batch   []*ledger.Entry          // that were not taken yet
	bytes   int                      // of the batch
	other   []ledger.Origin          // at most [maxOthers]
}

// addEntry adds an entry to the batch, if it is the next of a log that was asked for.
func (p *pulled) addEntry(body []byte) error {
	if len(p.batch) == store.RangeEntries || p.bytes >= store.RangeBytes {
		return fmt.Errorf("%w: a batch of more than %d entries or %d bytes", errFrame, store.RangeEntries, store.RangeBytes)
	}
	e, err := ledger.DecodeEntry(slices.Clone(body))
	if err != nil {
		return err
	}
	due, asked := p.next[e.Header.Origin]
	if !asked {
		var start logStart
		start, asked = p.request.start(e.Header.Origin)
		due = start.size
	}
	if !asked || e.Header.Seq != due {
		return fmt.Errorf("%w: entry %d of %v, which was not asked for", errFrame, e.Header.Seq, e.Header.Origin)
	}
	p.next[e.Header.Origin] = due + 1
	p.batch, p.bytes = append(p.batch, e), p.bytes+len(body)
	return nil
}

// addOther notes a log with which the peer cannot go on.
func (p *pulled) addOther(body []byte) error {
	var o ledger.Origin
	if len(body) != len(o) {
		return fmt.Errorf("%w: log of %d bytes", errFrame, len(body))
	}
	copy(o[:], body)
	if len(p.other) < maxOthers {
		p.other = append(p.other, o)
	}
	return nil
}

// errStopped says that a pull was ended here.
var errStopped = errors.New("stopped taking entries")
