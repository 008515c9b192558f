package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// session is a stream on which this node asks.
type session struct {
	*framer
	s        network.Stream
	patience *patience // while others wait for the end of this session; otherwise nil
	until    time.Time // when all must have been said; zero for no such time
}

// patience is how long a peer may still make this node wait, while other peers wait for their
// turns. It is [pullPatience] at first, and as much again for each [pullPace] bytes that come. Only
// the waiting counts, not what this node does meanwhile. While others do wait, it is
// [crowdPatience].
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

// close ends the session. After an error the other side need not finish either.
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

// answer reads the next frame. An error frame is returned as an error.
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

// answered is what a peer says it holds: nothing more if the digests are equal, all its rows if
// they are few, or its outline.
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

// frontier returns all rows of a peer. It asks only for those that are not in mine, which may be
// nil. It takes up to [clientRows] of them: it is for audits and configured peers.
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
