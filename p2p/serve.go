package p2p

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

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
	for {
		_ = s.SetDeadline(time.Now().Add(ioTimeout))
		kind, body, err := f.read()
		if err == io.EOF {
			_ = s.Close()
			return
		}
		if err == nil {
			err = n.answer(s, f, kind, body)
		}
		if err != nil {
			n.log.Debug("a stream ended early", "peer", id, "error", err)
			if errors.Is(err, errFrame) {
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

// enter counts a stream among what Close waits for and ends, until leave is called. It refuses when the node is closing or
// the peer has too many.
func (n *Network) enter(s network.Stream) (leave func(), ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	open := 0
	for _, c := range n.host.Network().ConnsToPeer(s.Conn().RemotePeer()) {
		for _, other := range c.GetStreams() {
			if other.Protocol() == s.Protocol() && other.Stat().Direction == network.DirInbound {
				open++
			}
		}
	}
	if n.ctx.Err() != nil || open > peerStreams || n.outFor(s.Conn().RemotePeer()) > 0 {
		_ = s.Reset()
		return nil, false
	}
	n.running.Add(1)
	stop := context.AfterFunc(n.ctx, func() { _ = s.Reset() })
	return func() { stop(); n.running.Done() }, true
}

func (n *Network) answer(s network.Stream, f *framer, kind frameKind, body []byte) error {
	switch kind {
	case frameHave:
		return n.answerHave(s, f, body)
	case framePull:
		starts, err := parsePull(body)
		if err != nil {
			return err
		}
		return n.answerPull(s, f, starts)
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
	}
	return unexpected(kind)
}

func (n *Network) answerHave(s network.Stream, f *framer, body []byte) error {
	theirs, err := parseHave(body)
	if err != nil {
		return err
	}
	mine := n.store.Frontier()
	own := have{network: n.genesis.Network(), entries: mine.Entries()}
	own.digest = n.history.note(mine, own.network)
	if err := f.write(frameHave, own.append(nil)); err != nil {
		return err
	}
	if theirs.network == own.network {
		if b := n.neighbour(s.Conn().RemotePeer()); b != nil {
			if b.hear(&theirs) && theirs.digest != own.digest {
				b.kick()
			}
		}
		if theirs.digest != own.digest {
			changed, ok := []ledger.Row(nil), false
			if theirs.known != nil {
				changed, ok = n.history.changes(mine, *theirs.known)
			}
			if !ok {
				changed = mine
			}
			if err := f.writeRows(changed, ok); err != nil {
				return err
			}
		}
	}
	return f.flush()
}

// answerPull sends what is held behind the starts, in canonical order, so that each entry comes after those it names.
// Only entries whose signatures were checked are sent.
func (n *Network) answerPull(s network.Stream, f *framer, starts []logStart) error {
	ctx, stop := context.WithCancel(n.ctx)
	defer stop()
	verified := map[ledger.Origin]uint64{}
	for _, log := range n.store.Logs() {
		verified[log.Origin] = log.Verified
	}
	frontier := n.store.Frontier()
	var logs []iter.Seq2[*ledger.Entry, error]
	for _, start := range starts {
		row, ok := frontier.Row(start.origin)
		if !ok {
			continue
		}
		end := min(row.Size(), verified[start.origin])
		if start.size > 0 {
			if start.size > row.Size() {
				continue
			}
			if !n.holds(ledger.Citation{Origin: start.origin, Seq: start.size - 1, Hash: start.head}) {
				if err := f.write(frameOther, start.origin[:]); err != nil {
					return err
				}
				continue
			}
		}
		if end > start.size {
			logs = append(logs, n.store.Log(ctx, start.origin, start.size, end))
		}
	}
	credit := pullCredit
	count, bytes := 0, 0
	var raw []byte
	for e, err := range ledger.Chain(logs...) {
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
	// What was asked for more than there was comes before the next question.
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
		row, ok := n.store.Frontier().Row(p.origin)
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

// answerBranch sends an entry and, while they are disputed, those before it: as many as were asked for, unless they are
// longer than a batch.
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
