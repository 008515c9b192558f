package p2p_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/goleak"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// heapBound is how many bytes a node may hold more after all attacks than before, the other side of the connections and
// the ledgers included, which share the process.
const heapBound = 64 << 20

// TestHostile lets peers do to a node what no honest peer does. It must stay within its bounds, go on agreeing with an
// honest node all the while, and leave nothing running when it is closed. The test runs by itself, because it looks at
// the heap and the goroutines of the process.
func TestHostile(t *testing.T) {
	idle := goleak.IgnoreCurrent()
	t.Run("network", func(t *testing.T) {
		h := newHostile(t)
		before := heap()
		for _, attack := range h.attacks() {
			t.Run(attack.name, func(t *testing.T) {
				a := h.attacker(t, attack.as)
				attack.run(t, a)
				h.goesOn(t)
				a.leave(t)
				h.goesOn(t)
			})
		}
		if grown := int64(heap()) - int64(before); grown > heapBound {
			t.Errorf("the heap has grown by %d bytes, more than %d", grown, heapBound)
		}
		if n := len(h.victim.Store.Evidence()); n > 0 {
			t.Errorf("%d honest origins were accused: %v", n, h.victim.Store.Evidence())
		}
	})
	if err := goleak.Find(idle); err != nil {
		t.Errorf("something still runs after Close: %v", err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first freed by finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// hostile is a node under attack, and an honest one.
type hostile struct {
	genesis        *ledger.Genesis
	victim, honest *p2ptest.Node
	history        *ledgertest.Network // of carol, who is not there
	mallory        *ledgertest.Network // what mallory, who is a member, may sign

	records int
}

func newHostile(t *testing.T) *hostile {
	h := &hostile{genesis: ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "mallory")), records: 100_000}
	h.history, h.mallory = ledgertest.NewNetwork(t, h.genesis), ledgertest.NewNetwork(t, h.genesis)
	for range 3000 {
		h.history.Put("carol")
	}
	h.victim = p2ptest.Start(t, h.genesis, "alice", p2p.Options{Alone: true, DropTime: 1}) // attackers may come again at once
	h.honest = p2ptest.Start(t, h.genesis, "bob", p2p.Options{Alone: true})
	_, err := h.victim.Store.Ingest(t.Context(), h.history.Entries...)
	must(t, err)
	must(t, h.honest.Host().Connect(t.Context(), h.victim.Info()))
	h.goesOn(t)
	return h
}

// goesOn puts an entry into each honest node, and waits until they agree again.
func (h *hostile) goesOn(t *testing.T) {
	t.Helper()
	h.records += 2
	h.victim.Put(t, h.records)
	h.honest.Put(t, h.records+1)
	nodes := []*p2ptest.Node{h.victim, h.honest}
	p2ptest.WaitFor(t, "the honest nodes to agree", nodes, func() bool {
		a, b := h.victim.Status(), h.honest.Status()
		return a.Digest == b.Digest && a.Entries >= uint64(len(h.history.Entries))
	})
	if s := h.victim.Status(); s.Signing != p2p.SigningReady {
		t.Fatalf("the node does not sign any more: %s", s.SigningWhy)
	}
}

// attacker is a host that is no node. Its answers to what nodes ask are set before it connects.
type attacker struct {
	*hostile
	host host.Host

	rows   ledger.Frontier
	pulled func(p2p.Frames, []byte) error // answers a pull; nil says that there is nothing
	stated func() *ledger.Entry           // answers what asks for an entry; nil says that there is none
	log    []*ledger.Entry                // answers what asks for an entry by its place; instead of stated
	asked  chan byte                      // kinds of frames it was sent
}

// attacker makes one with the key of a party.
func (h *hostile) attacker(t *testing.T, as string) *attacker {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(ledgertest.Key(as))
	must(t, err)
	host, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))
	must(t, err)
	a := &attacker{hostile: h, host: host, asked: make(chan byte, 1024)}
	t.Cleanup(func() { _ = host.Close() })
	return a
}

// leave closes the attacker's connections and waits until the node has noticed.
func (a *attacker) leave(t *testing.T) {
	must(t, a.host.Close())
	p2ptest.WaitFor(t, "the attacker to be gone", []*p2ptest.Node{a.victim}, func() bool {
		return a.victim.Host().Network().Connectedness(a.host.ID()) != network.Connected
	})
}

func (a *attacker) connect(t *testing.T) {
	t.Helper()
	must(t, a.host.Connect(t.Context(), a.victim.Info()))
}

// open opens a stream, on a new connection where the node has just ended the last one.
func (a *attacker) open(t *testing.T, id protocol.ID) (network.Stream, p2p.Frames) {
	t.Helper()
	for tries := 1; ; tries++ {
		a.connect(t)
		s, err := a.host.NewStream(t.Context(), a.victim.Host().ID(), id)
		if err == nil {
			_ = s.SetDeadline(time.Now().Add(time.Minute))
			return s, p2p.NewFrames(s)
		}
		if tries == 100 {
			t.Fatal(err)
		}
		_ = a.host.Network().ClosePeer(a.victim.Host().ID()) // which the attacker may not have noticed yet
	}
}

// serves lets the attacker speak the sync protocol as the answering side.
func (a *attacker) serves() {
	a.host.SetStreamHandler(p2p.ProtocolID, func(s network.Stream) {
		defer func() { _ = s.Reset() }()
		f := p2p.NewFrames(s)
		for {
			kind, body, err := f.Read()
			if err != nil {
				return
			}
			select {
			case a.asked <- kind:
			default:
			}
			switch kind {
			case p2p.FrameHave:
				err = f.Send(p2p.FrameHave, p2p.HaveBody(a.genesis.Network(), a.rows.Digest(a.genesis.Network()), a.rows.Entries()))
				err = errors.Join(err, f.SendRows(a.rows))
			case p2p.FramePull:
				if a.pulled != nil {
					err = a.pulled(f, bytes.Clone(body))
				}
				err = errors.Join(err, f.Send(p2p.FrameEnd, nil))
			case p2p.FrameMore, p2p.FrameFrom, p2p.FrameRange:
			case p2p.FrameStatement, p2p.FrameBranch:
				if seq := binary.BigEndian.Uint64(body[len(ledger.Origin{}):]); kind == p2p.FrameStatement && seq < uint64(len(a.log)) {
					err = f.Send(p2p.FrameStatement, p2p.StatementBody(a.log[seq]))
				} else if a.stated == nil {
					err = f.Send(p2p.FrameNone, nil)
				} else if e := a.stated(); kind == p2p.FrameStatement {
					err = f.Send(p2p.FrameStatement, p2p.StatementBody(e))
				} else {
					err = errors.Join(f.Send(p2p.FrameEntry, e.Append(nil)), f.Send(p2p.FrameEnd, nil))
				}
			default:
				err = f.Send(p2p.FrameNone, nil)
			}
			if err != nil {
				return
			}
		}
	})
}

// wasAsked waits until the node has asked the attacker a kind of question a number of times.
func (a *attacker) wasAsked(t *testing.T, kind byte, times int) {
	t.Helper()
	for deadline := time.After(time.Minute); times > 0; {
		select {
		case got := <-a.asked:
			if got == kind {
				times--
			}
		case <-deadline:
			t.Fatalf("was not asked %d", kind)
		}
	}
}

// ended waits until the node has ended a stream, and wants nothing on it but an error.
func ended(t *testing.T, s network.Stream, f p2p.Frames) {
	t.Helper()
	for {
		kind, body, err := f.Read()
		if err != nil {
			var slow interface{ Timeout() bool }
			if errors.As(err, &slow) && slow.Timeout() {
				t.Error("the node keeps the stream open")
			}
			_ = s.Reset()
			return
		}
		if kind != p2p.FrameError {
			t.Errorf("answered with kind %d: %q", kind, body)
		}
	}
}

// dropped waits until the node has ended the connection.
func (a *attacker) dropped(t *testing.T) {
	t.Helper()
	p2ptest.WaitFor(t, "the attacker to be dropped", []*p2ptest.Node{a.victim}, func() bool {
		return a.host.Network().Connectedness(a.victim.Host().ID()) != network.Connected
	})
}

type attack struct {
	name string
	as   string
	run  func(*testing.T, *attacker)
}

var protocols = []protocol.ID{p2p.ProtocolID, p2p.LinkProtocolID}

func (h *hostile) attacks() []attack {
	return []attack{
		{"random bytes", "stranger", func(t *testing.T, a *attacker) {
			random := ledgertest.NewRand(1)
			for i := range 20 {
				s, f := a.open(t, protocols[i%2])
				noise := make([]byte, 64<<10)
				_, _ = random.Read(noise)
				_, _ = s.Write(noise) // fails where the node has ended it already
				_ = s.CloseWrite()
				ended(t, s, f)
			}
		}},
		{"frames cut short", "stranger", func(t *testing.T, a *attacker) {
			for i := range 10 {
				s, f := a.open(t, protocols[i%2])
				_, err := s.Write(append(binary.AppendUvarint(nil, uint64(1000+i)), p2p.FramePull, 1, 2, 3))
				must(t, errors.Join(err, s.CloseWrite()))
				ended(t, s, f)
			}
		}},
		{"frames too long", "stranger", func(t *testing.T, a *attacker) {
			for i, length := range [][]byte{
				binary.AppendUvarint(nil, p2p.MaxFrame+1), binary.AppendUvarint(nil, 1<<40), binary.AppendUvarint(nil, 1<<63),
				bytes.Repeat([]byte{0xff}, 16), {0},
			} {
				s, f := a.open(t, protocols[i%2])
				_, _ = s.Write(append(length, p2p.FrameHave))
				ended(t, s, f)
			}
		}},
		{"unknown kinds", "stranger", func(t *testing.T, a *attacker) {
			for _, id := range protocols {
				for _, kind := range []byte{0, 12, 15, 99, 255} {
					_, f := a.open(t, id)
					_ = f.Send(kind, []byte("what is this"))
					a.dropped(t)
				}
			}
		}},
		{"messages of nonsense", "stranger", func(t *testing.T, a *attacker) {
			for _, kind := range []byte{p2p.FrameHave, p2p.FramePull, p2p.FrameStatement, p2p.FrameBranch} {
				_, f := a.open(t, p2p.ProtocolID)
				_ = f.Send(kind, []byte{0xff, 0xff, 0xff})
				a.dropped(t)
			}
		}},
		{"half-open streams", "stranger", func(t *testing.T, a *attacker) { a.manyStreams(t, 1000) }},
		{"pulls that are not read", "stranger", func(t *testing.T, a *attacker) {
			for range p2p.SyncStreams {
				_, f := a.open(t, p2p.ProtocolID)
				must(t, f.Send(p2p.FramePull, p2p.PullBody(ledgertest.Origin("carol"), 0, ledger.Hash{}, 1)))
			}
		}},
		{"a peer of another network", "stranger", func(t *testing.T, a *attacker) {
			a.host.SetStreamHandler(p2p.ProtocolID, func(s network.Stream) {
				f := p2p.NewFrames(s)
				_, _, _ = f.Read()
				_ = f.Send(p2p.FrameHave, p2p.HaveBody(ledger.Hash{1}, ledger.Hash{2}, 3))
				_ = s.Close()
			})
			a.connect(t)
			a.dropped(t)
		}},
		{"rows that do not make the digest", "stranger", func(t *testing.T, a *attacker) {
			a.host.SetStreamHandler(p2p.ProtocolID, func(s network.Stream) {
				f := p2p.NewFrames(s)
				_, _, _ = f.Read()
				_ = f.Send(p2p.FrameHave, p2p.HaveBody(a.genesis.Network(), ledger.Hash{2}, 3))
				_ = f.SendRows(a.victim.Store.Frontier())
				_ = s.Close()
			})
			a.connect(t)
			a.dropped(t)
		}},
		{"claims of more entries", "stranger", func(t *testing.T, a *attacker) {
			a.rows = a.victim.Store.Frontier()
			for i := range a.rows {
				a.rows[i].Seq += 1000
				a.rows[i].Height += 1000
				a.rows[i].Hash = ledger.Hash{1, byte(i)}
			}
			a.serves()
			a.connect(t)
			a.wasAsked(t, p2p.FramePull, 1)
		}},
		{"claims of many logs", "stranger", func(t *testing.T, a *attacker) {
			random := ledgertest.NewRand(2)
			for range 5000 {
				row := ledger.Row{Citation: ledger.Citation{Seq: 9, Height: 10}}
				_, _ = random.Read(row.Origin[:])
				_, _ = random.Read(row.Hash[:])
				a.rows = append(a.rows, row)
			}
			a.rows.Sort()
			a.serves()
			a.connect(t)
			a.wasAsked(t, p2p.FramePull, 1)
		}},
		{"claims of other hashes", "stranger", func(t *testing.T, a *attacker) {
			a.rows = a.victim.Store.Frontier()
			for i := range a.rows {
				a.rows[i].Hash[0] ^= 1
			}
			forged := h.forge(t, ledgertest.Origin("carol"), 0)
			a.stated = func() *ledger.Entry { return forged }
			a.serves()
			a.connect(t)
			a.wasAsked(t, p2p.FrameStatement, 1)
		}},
		{"a range with a bad signature last", "mallory", func(t *testing.T, a *attacker) {
			branch := h.branch(t, 3)
			branch[2] = p2ptest.Unsigned(t, branch[2])
			a.offers(t, branch[2], branch...)
			a.dropped(t)
		}},
		{"a range of another network", "mallory", func(t *testing.T, a *attacker) {
			doc := ledgertest.Doc("mallory")
			doc.Name = "another network"
			other := ledgertest.NewNetwork(t, ledgertest.Genesis(t, doc))
			other.Put("mallory")
			a.offers(t, other.Entries[0], other.Entries...)
			a.dropped(t)
		}},
		{"a range that does not link", "mallory", func(t *testing.T, a *attacker) {
			branch := h.branch(t, 8)
			a.offers(t, branch[7], branch[4:]...)
		}},
		{"a range that was not asked for", "mallory", func(t *testing.T, a *attacker) {
			branch := h.branch(t, 2)
			a.offers(t, branch[1], h.history.Entries[:100]...)
		}},
		{"frames that are no entries", "mallory", func(t *testing.T, a *attacker) {
			branch := h.branch(t, 2)
			a.rows = ledger.Frontier{{Citation: branch[1].Citation()}}
			a.pulled = func(f p2p.Frames, _ []byte) error { return f.Send(p2p.FrameEntry, []byte("no entry at all")) }
			a.serves()
			a.connect(t)
			a.dropped(t)
		}},
		{"a flood of gossip that does not link", "mallory", func(t *testing.T, a *attacker) {
			publish := a.gossips(t, "entries")
			for run := range slices.Chunk(h.branch(t, 1+p2p.ParkedEntries+512)[1:], 16) {
				publish(p2p.Run(run...))
			}
			nodes := []*p2ptest.Node{a.victim, a.honest}
			p2ptest.WaitFor(t, "the node to have parked what it may", nodes, func() bool { return a.victim.Status().Parked == p2p.ParkedEntries })
			for _, n := range nodes {
				if s := n.Status(); s.Parked > p2p.ParkedEntries || s.ParkedBytes > p2p.ParkedBytes {
					t.Errorf("%s has parked %d entries of %d bytes", n.Name, s.Parked, s.ParkedBytes)
				}
			}
		}},
		// After this one nobody listens to mallory's gossip any more.
		{"a flood of invalid gossip", "mallory", func(t *testing.T, a *attacker) {
			publish := a.gossips(t, "entries")
			for i, e := range h.branch(t, 100) {
				if i%2 == 0 {
					publish(p2p.Run(p2ptest.Unsigned(t, e)))
				} else {
					publish([]byte(fmt.Sprint("nonsense ", i)))
				}
			}
		}},
		{"a link that pushes nonsense", "stranger", func(t *testing.T, a *attacker) {
			for _, body := range [][]byte{{}, {1}, {0, 1, 2}, {200, 1, 2}, append([]byte{1}, "no entry"...)} {
				_, f := a.open(t, p2p.LinkProtocolID)
				_ = f.Send(p2p.FramePush, body)
				a.dropped(t)
			}
		}},
		{"a link that reads no answers", "mallory", func(t *testing.T, a *attacker) {
			s, f := a.open(t, p2p.LinkProtocolID)
			_ = s.SetWriteDeadline(time.Now().Add(2 * time.Second))
			early := h.branch(t, 3)[2].Append([]byte{1}) // refused with a reason
			for range 20_000 {                           // the answers are more than a stream holds
				if f.Send(p2p.FramePush, early) != nil {
					return
				}
			}
		}},
		{"a link that pushes what nobody signed", "stranger", func(t *testing.T, a *attacker) {
			_, f := a.open(t, p2p.LinkProtocolID)
			must(t, f.Send(p2p.FramePush, p2ptest.Unsigned(t, h.history.Entries[0]).Append([]byte{1})))
			a.dropped(t)
		}},
	}
}

// manyStreams opens more streams than a node serves, and sends the beginning of a frame on each.
func (a *attacker) manyStreams(t *testing.T, count int) {
	a.connect(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < count; i += 8 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				if s, err := a.host.NewStream(ctx, a.victim.Host().ID(), protocols[i%2]); err == nil {
					_, _ = s.Write([]byte{0x80})
				}
				cancel()
			}
		})
	}
	wg.Wait()
	p2ptest.WaitFor(t, "no more streams than are served", []*p2ptest.Node{a.victim}, func() bool {
		open := map[protocol.ID]int{}
		for _, c := range a.victim.Host().Network().ConnsToPeer(a.host.ID()) {
			for _, s := range c.GetStreams() {
				if s.Stat().Direction == network.DirInbound {
					open[s.Protocol()]++
				}
			}
		}
		return open[p2p.ProtocolID] <= p2p.SyncStreams && open[p2p.LinkProtocolID] <= p2p.SyncStreams
	})
}

// offers claims that mallory's log goes up to an entry, and answers pulls with these.
func (a *attacker) offers(t *testing.T, head *ledger.Entry, entries ...*ledger.Entry) {
	a.rows = ledger.Frontier{{Citation: head.Citation()}}
	a.pulled = func(f p2p.Frames, _ []byte) (err error) {
		for _, e := range entries {
			err = errors.Join(err, f.Send(p2p.FrameEntry, e.Append(nil)))
		}
		return err
	}
	a.serves()
	a.connect(t)
	a.wasAsked(t, p2p.FramePull, 1)
}

// branch returns the first entries of mallory's one log.
func (h *hostile) branch(t *testing.T, length int) []*ledger.Entry {
	for len(h.mallory.Entries) < length {
		h.mallory.PutDraft("mallory", ledgertest.Draft(t, h.genesis, "vote", 1_000_000+len(h.mallory.Entries)))
	}
	return slices.Clone(h.mallory.Entries[:length])
}

// forge returns an entry that an origin did not sign.
func (h *hostile) forge(t *testing.T, o ledger.Origin, seq uint64) *ledger.Entry {
	d := ledgertest.Draft(t, h.genesis, "vote", 2_000_000)
	return ledger.Sign(ledgertest.Key("stranger"), ledger.Header{Network: h.genesis.Network(), Origin: o, Seq: seq, Root: ledger.EmptyRoot,
		Height: seq + 1, Kind: d.Kind, RecordUUID: d.Facts.Header, RecordHash: d.Hash, RecordLen: uint32(len(d.Record))}, d.Record)
}

// gossips joins the network's topic of entries or evidence, and returns what publishes there without asking.
func (a *attacker) gossips(t *testing.T, what string) func([]byte) {
	ps, err := pubsub.NewGossipSub(t.Context(), a.host, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithPeerOutboundQueueSize(4096), pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:])
		}))
	must(t, err)
	topic, err := ps.Join("/pyvnode/" + what + "/1/" + a.genesis.Network().String())
	must(t, err)
	a.connect(t)
	p2ptest.WaitFor(t, "the node to be known as a subscriber", []*p2ptest.Node{a.victim}, func() bool { return len(topic.ListPeers()) > 0 })
	return func(message []byte) { must(t, topic.Publish(t.Context(), message)) }
}
