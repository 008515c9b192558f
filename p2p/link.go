package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// LinkProtocolID names the protocol of replication links: one side sends push frames (hops, 1 byte, and an entry), the
// other answers each with done, once the entry is durable there or held already, or with refused and a reason.
const LinkProtocolID = "/pyvnode/link/1"

const (
	framePush    frameKind = 32
	frameDone    frameKind = 33
	frameRefused frameKind = 34
)

// linkWindow is how many entries are pushed before the first of them is answered.
const linkWindow = 256

// link pushes entries to a configured peer: own ones, and those of others that were sent on fewer times than the network
// allows. Whatever is lost on the way, the next connection begins with what the peer says it holds.
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
	defer func() { _ = s.Reset() }()
	l.mu.Lock()
	l.connected, l.next = true, time.Time{}
	l.mu.Unlock()

	f := newFramer(s)
	window := make(chan store.Ref, linkWindow)
	answers := make(chan error, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() { _ = s.Reset() }() // before waiting for who reads
	reading.Go(func() { answers <- l.readAnswers(f, window) })

	changed, unwatch := n.store.Watch()
	defer unwatch()
	l.mu.Lock()
	onWay := maps.Clone(l.theirs) // how many entries of each log have been pushed
	l.mu.Unlock()
	for {
		for e, err := range l.due(ctx, onWay) {
			if err != nil {
				return err
			}
			if e.Hops < uint32(n.genesis.MaxHops) {
				select {
				case window <- e.Ref():
				case err := <-answers:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
				_ = s.SetWriteDeadline(time.Now().Add(ioTimeout))
				if err := f.write(framePush, e.Append([]byte{byte(e.Hops + 1)})); err != nil {
					return err
				}
			} else {
				l.settle(e.Ref(), false)
			}
		}
		if err := f.flush(); err != nil {
			return err
		}
		select {
		case <-changed:
		case err := <-answers:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

// due yields what was not pushed yet and has its signatures checked, in canonical order, and notes it as pushed.
func (l *link) due(ctx context.Context, onWay map[ledger.Origin]uint64) iter.Seq2[*store.Stored, error] {
	m := l.n.store.NewMerge()
	for _, log := range l.n.store.Logs() {
		if from, size := onWay[log.Origin], min(log.Verified, log.Undisputed); from < size {
			onWay[log.Origin] = size
			m.Add(log.Origin, from, size)
		}
	}
	return m.All(ctx)
}

func (l *link) readAnswers(f *framer, window <-chan store.Ref) error {
	for {
		kind, body, err := f.read()
		if err != nil {
			return err
		}
		var ref store.Ref
		select {
		case ref = <-window:
		default:
			return fmt.Errorf("%w: an answer to nothing", errFrame)
		}
		switch kind {
		case frameDone:
			l.settle(ref, true)
		case frameRefused:
			l.settle(ref, false) // it has its reasons; comparing frontiers brings what it can take
			l.mu.Lock()
			l.failed = fmt.Errorf("entry %v: %w", ref, remoteError(body))
			l.mu.Unlock()
		default:
			return unexpected(kind)
		}
	}
}

func (l *link) settle(ref store.Ref, sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent {
		l.sent++
	}
	l.theirs[ref.Origin] = max(l.theirs[ref.Origin], ref.Seq+1)
}

var errOverLimit = errors.New("over the limit of entries each second; comparing frontiers brings it")

// serveLink takes what a peer pushes.
func (n *Network) serveLink(s network.Stream) {
	leave, ok := n.enter(s)
	if !ok {
		return
	}
	defer leave()
	f := newFramer(s)
	from := s.Conn().RemotePeer()
	type pushed struct {
		*arrival
		pending store.Pending
		err     error
	}
	outcomes := make(chan pushed, linkWindow)
	room := newRoom(linkBytes)
	var answering sync.WaitGroup
	defer answering.Wait()
	defer close(outcomes)
	answering.Go(func() {
		broken := false
		for o := range outcomes {
			if o.err == nil {
				var result store.Result
				result, o.err = o.pending.Wait(n.ctx)
				o.count(result)
				n.arrived(o.arrival, o.err)
			}
			room.give(o.run[0].Len())
			if broken {
				continue
			}
			_ = s.SetWriteDeadline(time.Now().Add(ioTimeout))
			var err error
			if o.err == nil {
				err = f.write(frameDone, nil)
			} else {
				err = f.write(frameRefused, []byte(o.err.Error()))
			}
			if err == nil && len(outcomes) == 0 {
				err = f.flush()
			}
			if err != nil {
				broken = true
				_ = s.Reset()
			}
		}
	})
	for {
		kind, body, err := f.read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = s.Reset()
			}
			return
		}
		hops, n1 := uint64(0), 1
		if kind == framePush && len(body) > 1 {
			hops, n1 = binary.Uvarint(body[:1])
		}
		if kind != framePush || len(body) < 2 || n1 != 1 || hops < 1 || hops > ledger.MaxHops {
			_ = s.Reset()
			n.drop(from, fmt.Errorf("%w on a link", errFrame))
			return
		}
		e, err := ledger.DecodeEntry(append([]byte(nil), body[1:]...))
		if err != nil {
			_ = s.Reset()
			n.drop(from, err)
			return
		}
		o := pushed{arrival: &arrival{run: []*ledger.Entry{e}, from: from, came: &n.received.links}}
		var invalid *ledger.InvalidError
		room.take(e.Len())
		if !n.gossip.limits.checks(from, weigh(o.run)) {
			o.err = errOverLimit
		} else if o.prepared, o.err = n.store.Prepare(o.run, store.EverySignature); errors.As(o.err, &invalid) {
			n.accuseInvalid(e, invalid, from)
			_ = s.Reset()
			n.drop(from, o.err) // honest nodes push only what they checked
			return
		} else if o.err == nil && !n.gossip.limits.takes(e.Header.Origin, weigh(o.run)) {
			o.err = errOverLimit
		} else if o.err == nil {
			o.prepared.SetHops(uint32(hops))
			o.pending, o.err = n.store.SubmitPrepared(n.ctx, o.prepared)
		}
		outcomes <- o
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

// take waits until there is room. Whoever takes it gives it back.
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
