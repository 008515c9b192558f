package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// LinkProtocolID names the protocol of replication links: one side sends push frames (hops, 1 byte,
// and an entry), the other answers each with done, once the entry is durable there or held already,
// or with refused and a reason.
const LinkProtocolID = "/pyvnode/link/1"

const (
	framePush    frameKind = 32
	frameDone    frameKind = 33
	frameRefused frameKind = 34
)

// linkWindow is how many entries are pushed before the first of them is answered.
const linkWindow = 256

// link pushes entries to a configured peer: this node's own, and those of others that were sent on
// fewer times than the network allows. Nothing is lost for good: each connection begins with what
// the peer says it holds.
type link struct {
	n  *Network
	to peer.AddrInfo

	mu        sync.Mutex
	connected bool
	sent      uint64
	failed    error
	next      time.Time
	theirs    map[ledger.Origin]uint64 // how many entries of each log it has, or is not to be sent
}

func newLink(n *Network, to peer.AddrInfo) *link {
	return &link{n: n, to: to, theirs: map[ledger.Origin]uint64{}}
}

func (l *link) status() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LinkStatus{ID: l.to.ID, Connected: l.connected, Sent: l.sent, NextTry: l.next}
	if l.failed != nil {
		s.LastError = oneLine(l.failed)
	}
	for _, row := range l.n.store.Held().Frontier {
		if size := row.Size(); size > l.theirs[row.Origin] {
			s.Pending += size - l.theirs[row.Origin]
		}
	}
	return s
}

// run keeps the link up, waiting longer each time it fails.
func (l *link) run(ctx context.Context) {
	l.n.host.Peerstore().AddAddrs(l.to.ID, l.to.Addrs, peerstore.PermanentAddrTTL)
	wait := retryMin
	for {
		began := time.Now()
		err := l.push(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryMax {
			wait = retryMin // it was up for a while
		}
		pause := wait/2 + rand.N(wait)
		l.mu.Lock()
		level := slog.LevelDebug
		if !tooSoon(err) {
			if l.connected || l.failed == nil { // it was up, or this is the first try
				level = slog.LevelWarn
			}
			l.failed = err
		}
		l.connected, l.next = false, time.Now().Add(pause)
		l.mu.Unlock()
		l.n.log.Log(ctx, level, "a link is down, and is tried again and again", "peer", l.to.ID, "error", oneLine(err), "next", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, retryMax)
	}
}

// push connects and pushes until something fails or the context ends.
func (l *link) push(ctx context.Context) (err error) {
	n := l.n
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	connecting, cancel := context.WithTimeout(ctx, ioTimeout)
	err = n.host.Connect(connecting, l.to)
	cancel()
	if err != nil {
		return err
	}
	if err := l.ask(ctx); err != nil {
		return err
	}
	s, err := n.host.NewStream(ctx, l.to.ID, LinkProtocolID)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer unhook()
	l.mu.Lock()
	l.connected, l.next = true, time.Time{}
	pushed := maps.Clone(l.theirs)
	l.mu.Unlock()

	p := &pushing{link: l, framer: newFramer(s), s: s, pushed: pushed,
		window: make(chan store.Ref, linkWindow), ended: make(chan error, 1)}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() { _ = s.Reset() }() // it ends the reading
	reading.Go(func() { p.ended <- p.readAnswers() })
	return p.follow(ctx)
}

// pushing is a link that is up.
type pushing struct {
	*link
	*framer
	s      network.Stream
	pushed map[ledger.Origin]uint64 // how many entries of each log have been, or need not be
	window chan store.Ref           // that are not answered yet
	ended  chan error               // why no answers come any more
}

// follow pushes what is due, and again whenever the ledger has changed.
func (p *pushing) follow(ctx context.Context) error {
	changed, unwatch := p.n.store.Watch()
	defer unwatch()
	for {
		for e, err := range p.due(ctx) {
			if err == nil {
				err = p.pushEntry(ctx, e)
			}
			if err != nil {
				return err
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
		select {
		case <-changed:
		case err := <-p.ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pushEntry pushes an entry once there is room in the window, unless it has been sent on often
// enough.
func (p *pushing) pushEntry(ctx context.Context, e *store.Stored) error {
	if e.Hops >= uint32(p.n.genesis.MaxHops) {
		p.settle(e.Ref(), false)
		return nil
	}
	select {
	case p.window <- e.Ref():
	case err := <-p.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	_ = p.s.SetWriteDeadline(time.Now().Add(ioTimeout))
	return p.write(framePush, e.Append([]byte{byte(e.Hops + 1)}))
}

// ask finds out what the peer holds already.
func (l *link) ask(ctx context.Context) (err error) {
	n := l.n
	s, err := n.open(ctx, l.to.ID)
	if err != nil {
		return err
	}
	defer func() { s.close(err) }()
	mine := n.view()
	own := mine.have()
	_, f, err := s.frontier(&own, mine)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.theirs)
	for i := range f {
		l.theirs[f[i].Origin] = f[i].Size()
	}
	return nil
}

// due yields what was not pushed yet and has its signatures checked, in canonical order, and notes
// it as pushed.
func (p *pushing) due(ctx context.Context) iter.Seq2[*store.Stored, error] {
	m := p.n.store.NewMerge()
	for _, log := range p.n.store.Logs() {
		if from, size := p.pushed[log.Origin], min(log.Verified, log.Undisputed); from < size {
			p.pushed[log.Origin] = size
			m.Add(log.Origin, from, size)
		}
	}
	return m.All(ctx)
}

// readAnswers notes the answers until something fails.
func (p *pushing) readAnswers() error {
	for {
		kind, body, err := p.read()
		if err != nil {
			return err
		}
		var ref store.Ref
		select {
		case ref = <-p.window:
		default:
			return fmt.Errorf("%w: an answer to nothing", errFrame)
		}
		switch kind {
		case frameDone:
			p.settle(ref, true)
		case frameRefused:
			p.settle(ref, false) // it has its reasons; comparing frontiers brings what it can take
			p.mu.Lock()
			p.failed = fmt.Errorf("entry %v: %w", ref, remoteError(body))
			p.mu.Unlock()
		default:
			return unexpected(kind)
		}
	}
}

// settle notes that the peer has an entry, or is not to be sent it.
func (l *link) settle(ref store.Ref, sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent {
		l.sent++
	}
	l.theirs[ref.Origin] = max(l.theirs[ref.Origin], ref.Seq+1)
}

// servedLink is a link on which a peer pushes.
type servedLink struct {
	*framer
	n      *Network
	s      network.Stream
	from   peer.ID
	pushes chan push // that are to be answered, in order
	room   *room     // for their entries
}

// push is an entry that a peer pushed, until it is answered.
type push struct {
	bytes int
	done  chan error // receives once, nil when the entry is durable here; has room for it
}

// serveLink takes what a peer pushes.
func (n *Network) serveLink(s network.Stream) {
	leave, ok := n.enter(s)
	if !ok {
		return
	}
	defer leave()
	l := &servedLink{framer: newFramer(s), n: n, s: s, from: s.Conn().RemotePeer(),
		pushes: make(chan push, linkWindow), room: newRoom(linkBytes)}
	var answering sync.WaitGroup
	defer answering.Wait()
	defer close(l.pushes)
	answering.Go(l.answer)
	for {
		kind, body, err := l.read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = s.Reset()
			}
			return
		}
		if err := l.take(kind, body); err != nil {
			_ = s.Reset()
			n.drop(l.from, err)
			return
		}
	}
}

// take gives a pushed entry to the intake. It fails if the peer sent what no honest node sends:
// honest nodes push only what they checked.
func (l *servedLink) take(kind frameKind, body []byte) error {
	hops, raw, err := parsePush(kind, body)
	if err != nil {
		return err
	}
	in, p := l.n.intake, push{bytes: len(raw), done: make(chan error, 1)}
	l.room.take(p.bytes)
	if err := in.admit(l.from, len(raw)); err != nil {
		p.done <- err
		l.pushes <- p
		return nil
	}
	e, err := ledger.DecodeEntry(slices.Clone(raw))
	if err != nil {
		return err
	}
	a := &arrival{run: []*ledger.Entry{e}, from: l.from, hops: hops, counts: &l.n.received.links,
		answer: func(err error) { p.done <- err }}
	switch outcome, err := in.prepare(a); outcome {
	case outcomeInvalid:
		return err
	case outcomeTaken:
		in.submit(l.n.ctx, a)
	case outcomeHeld, outcomeRefused:
		p.done <- err
	}
	l.pushes <- p
	return nil
}

// parsePush reads a push frame: how often the entry was sent on, and its bytes, which are valid
// until the next frame.
func parsePush(kind frameKind, body []byte) (hops uint32, raw []byte, err error) {
	if kind != framePush || len(body) < 2 || body[0] < 1 || body[0] > ledger.MaxHops {
		return 0, nil, fmt.Errorf("%w on a link", errFrame)
	}
	return uint32(body[0]), body[1:], nil
}

// answer answers pushes in order. When the peer does not read its answers any more, what it pushed
// is still waited for.
func (l *servedLink) answer() {
	broken := false
	for p := range l.pushes {
		var refusal error
		select {
		case refusal = <-p.done:
		case <-l.n.ctx.Done():
			refusal = l.n.ctx.Err()
		}
		l.room.give(p.bytes)
		if broken {
			continue
		}
		_ = l.s.SetWriteDeadline(time.Now().Add(ioTimeout))
		var err error
		if refusal == nil {
			err = l.write(frameDone, nil)
		} else {
			err = l.write(frameRefused, []byte(refusal.Error()))
		}
		if err == nil && len(l.pushes) == 0 {
			err = l.flush()
		}
		if err != nil {
			broken = true
			_ = l.s.Reset()
		}
	}
}

// room is a number of bytes that something may take up.
type room struct {
	mu   sync.Mutex
	some sync.Cond
	left int
}

func newRoom(bytes int) *room {
	r := &room{left: bytes}
	r.some.L = &r.mu
	return r
}

// take waits until there is room. What is taken must be given back.
func (r *room) take(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.left < bytes {
		r.some.Wait()
	}
	r.left -= bytes
}

func (r *room) give(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += bytes
	r.some.Signal()
}
