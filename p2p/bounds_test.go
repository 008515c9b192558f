package p2p_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// alone is a node that has met nobody yet.
func alone(t *testing.T, history int) (*hostile, *store.Memory) {
	h := &hostile{genesis: ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "mallory")), records: 100_000}
	h.history, h.mallory = ledgertest.NewNetwork(t, h.genesis), ledgertest.NewNetwork(t, h.genesis)
	for range history {
		h.history.Put("carol")
	}
	d := store.NewMemory()
	s, _, err := store.Open(t.Context(), d, h.genesis, store.Options{Key: ledgertest.Key("alice")})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	h.victim = p2ptest.Start(t, h.genesis, "alice", p2p.Options{Alone: true, Store: s})
	return h, d
}

// TestStallingPeer: peers that answer a pull slowly and for ever keep a node from nobody else for long, whether they send
// nothing or one good entry after the other.
func TestStallingPeer(t *testing.T) {
	t.Parallel()
	const stalling = 5
	for _, sends := range []string{"nothing", "entries", "batches of one"} {
		t.Run(sends, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, sim := simulated(t, 300)
				branch := h.branch(t, 1000)
				for i := range stalling {
					a := h.simAttacker(t, sim, fmt.Sprint("stranger", i))
					a.rows = ledger.Frontier{{Citation: branch[999].Citation()}}
					a.pulled = func(f p2p.Frames, body []byte) (err error) {
						for _, e := range branch[pulledFrom(body):] {
							if sends != "nothing" {
								err = f.Send(p2p.FrameEntry, e.Append(nil))
							}
							if sends == "batches of one" && err == nil {
								err = f.Send(p2p.FrameBatch, nil)
							}
							if err != nil {
								return err
							}
							select {
							case <-time.After(time.Second):
							case <-t.Context().Done():
								return t.Context().Err()
							}
						}
						return nil
					}
					a.serves()
					a.connect(t)
					a.wasAsked(t, p2p.FrameHave, 1)
				}
				h.honest = sim.Start(h.genesis, "bob", p2p.Options{Alone: true})
				_, err := h.honest.Store.Ingest(t.Context(), h.history.Entries...)
				must(t, err)
				must(t, h.honest.Host().Connect(t.Context(), h.victim.Info()))
				begin := time.Now()
				p2ptest.WaitFor(t, "the honest peer's entries", []*p2ptest.Node{h.victim}, func() bool {
					row, _ := h.victim.Store.Row(ledgertest.Origin("carol"))
					return row.Size() == 300
				})
				if took := time.Since(begin); took > stalling*7*time.Second {
					t.Errorf("the node had the honest peer's entries after %v", took)
				}
				for _, p := range h.victim.Peers() {
					if p.ID != h.honest.Host().ID() && p.LastError != "" && !strings.Contains(p.LastError, "too slowly") {
						t.Errorf("of a peer that stalls it says %q", p.LastError)
					}
				}
			})
		})
	}
}

// TestSlowPeer: from an honest peer over a line that is slower than any, all comes in time.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, sim := simulated(t, 0)
		branch := h.branch(t, 20)
		a := h.simAttacker(t, sim, "stranger")
		a.rows = ledger.Frontier{{Citation: branch[19].Citation()}}
		a.pulled = func(f p2p.Frames, body []byte) error {
			for _, e := range branch[pulledFrom(body):] {
				time.Sleep(2 * time.Second)
				if err := f.Send(p2p.FrameEntry, e.Append(nil)); err != nil {
					return err
				}
			}
			return nil
		}
		a.serves()
		a.connect(t)
		p2ptest.WaitFor(t, "all entries", []*p2ptest.Node{h.victim}, func() bool { return h.victim.Status().Entries == 20 })
	})
}

// TestEverBetterEvidence: a liar who shows one better evidence after the other makes nobody take them all, and yet the best
// is everywhere in the end.
func TestEverBetterEvidence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, sim := simulated(t, 0)
		const forks = 40
		branch := h.branch(t, forks)
		var all []*proof.Evidence // from the worst to the best
		for _, e := range slices.Backward(branch) {
			other := e.Header
			other.Time++
			ev, err := proof.Fork(h.genesis, e, ledger.Sign(ledgertest.Key("mallory"), other, e.Record))
			must(t, err)
			all = append(all, ev)
		}
		a := h.simAttacker(t, sim, "mallory")
		publish := a.gossips(t, "evidence")
		for _, ev := range all {
			publish(ev.Bytes())
			time.Sleep(100 * time.Millisecond)
		}
		if ev := h.victim.Store.EvidenceOf(ledgertest.Origin("mallory")); ev == nil || ev.Seq() < forks/2 {
			t.Fatalf("after %d pieces of evidence the node has %v", forks, ev)
		}
		h.honest = sim.Start(h.genesis, "bob", p2p.Options{Alone: true})
		_, err := h.honest.Store.AddEvidence(t.Context(), all[forks-1])
		must(t, err)
		must(t, h.honest.Host().Connect(t.Context(), h.victim.Info()))
		p2ptest.WaitFor(t, "the best evidence", []*p2ptest.Node{h.victim}, func() bool {
			return h.victim.Store.EvidenceOf(ledgertest.Origin("mallory")).ID() == all[forks-1].ID()
		})
	})
}

// pulledFrom returns from where on a pull wants the one log that it names.
func pulledFrom(body []byte) uint64 { return binary.BigEndian.Uint64(body[len(ledger.Origin{}):]) }

// simulated is a node on simulated links that has met nobody yet.
func simulated(t *testing.T, history int) (*hostile, *p2ptest.Sim) {
	sim := p2ptest.NewSim(t, 1)
	t.Cleanup(sim.Close)
	h := &hostile{genesis: ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "mallory")), records: 100_000}
	h.history, h.mallory = ledgertest.NewNetwork(t, h.genesis), ledgertest.NewNetwork(t, h.genesis)
	for range history {
		h.history.Put("carol")
	}
	h.victim = sim.Start(h.genesis, "alice", p2p.Options{Alone: true})
	return h, sim
}

// simAttacker makes an attacker on a link of its own.
func (h *hostile) simAttacker(t *testing.T, sim *p2ptest.Sim, as string) *attacker {
	a := &attacker{hostile: h, host: sim.Host(as, ledgertest.Key(as)), asked: make(chan byte, 1024)}
	t.Cleanup(func() { _ = a.host.Close() })
	return a
}

// TestFatRows: what a peer says of its frontier is bounded in bytes.
func TestFatRows(t *testing.T) {
	h, _ := alone(t, 1)
	a := h.attacker(t, "stranger")
	const frames = 1000
	filler := make([]byte, 128<<10)
	sent := make(chan error, 1)
	before := heap()
	a.host.SetStreamHandler(p2p.ProtocolID, func(s network.Stream) {
		f := p2p.NewFrames(s)
		_, _, _ = f.Read()
		err := f.Send(p2p.FrameHave, p2p.HaveBody(h.genesis.Network(), ledger.Hash{1}, 3))
		for i := range frames {
			body := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), filler) // a field of a later version
			if err == nil {
				err = f.Send(p2p.FrameRows, append(body, rowsBody(madeUpRows(i, 1))...))
			}
		}
		sent <- err
	})
	a.connect(t)
	err := <-sent
	if err == nil {
		t.Errorf("all of %d MiB was read", frames*len(filler)>>20)
	}
	if grown := int64(heap()) - int64(before); grown > heapBound {
		t.Errorf("the heap has grown by %d bytes (%v)", grown, err)
	}
}

// madeUpRows returns the rows of made-up logs, which are frozen from their first entry on.
func madeUpRows(from, logs int) (f ledger.Frontier) {
	for i := range logs {
		row := ledger.Row{Frozen: &ledger.Freeze{}}
		binary.BigEndian.PutUint64(row.Origin[:], uint64(from+i))
		f = append(f, row)
	}
	return f
}

// rowsBody returns the body of a frame with rows, after which more are to come.
func rowsBody(rows ledger.Frontier) (body []byte) {
	for i := range rows {
		body = protowire.AppendBytes(protowire.AppendTag(body, 3, protowire.BytesType), rows[i].Append(nil))
	}
	return body
}

// TestForgedDisputes: nobody but its origin adds to the disputed part of a log.
func TestForgedDisputes(t *testing.T) {
	t.Parallel()
	h, d := alone(t, 1)
	mallory := h.branch(t, 2)
	other := h.mallory.Entries[1].Header
	other.Time++
	ev, err := proof.Fork(h.genesis, mallory[1], ledger.Sign(ledgertest.Key("mallory"), other, mallory[1].Record))
	must(t, err)
	_, err = h.victim.Store.Ingest(t.Context(), mallory...)
	must(t, err)
	_, err = h.victim.Store.AddEvidence(t.Context(), ev)
	must(t, err)
	// A stranger makes up a branch of 50 entries.
	var forged []*ledger.Entry
	prev := mallory[0]
	for i := range 50 {
		dr := ledgertest.Draft(t, h.genesis, "vote", 3_000_000+i)
		e := ledger.Sign(ledgertest.Key("stranger"), ledger.Header{Network: h.genesis.Network(), Origin: ledgertest.Origin("mallory"), Seq: uint64(1 + i),
			Prev: prev.Hash, Height: uint64(2 + i), Kind: dr.Kind, RecordUUID: dr.Facts.Header, RecordHash: dr.Hash, RecordLen: uint32(len(dr.Record))}, dr.Record)
		forged, prev = append(forged, e), e
	}
	a := h.attacker(t, "stranger")
	a.rows = h.victim.Store.Frontier()
	for i := range a.rows {
		if a.rows[i].Frozen != nil {
			a.rows[i].Frozen.Cited = ledger.CitedHash([]ledger.Hash{prev.Hash})
		}
	}
	next := len(forged)
	a.stated = func() *ledger.Entry { next = max(next-1, 0); return forged[next] }
	a.serves()
	a.connect(t)
	a.wasAsked(t, p2p.FrameHave, 2)
	kept := 0
	for raw, err := range store.ScanBranches(t.Context(), d) {
		must(t, err)
		if raw.Entry != nil {
			kept++
		}
	}
	if kept > 0 {
		t.Errorf("the node keeps %d entries that a stranger made up", kept)
	}
}

// TestDroppedStaysOut: who was dropped gets no answer for a minute, and then has another chance.
func TestDroppedStaysOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
		victim := sim.Start(g, "alice", p2p.Options{Alone: true})
		stranger := sim.Host("stranger", ledgertest.Key("stranger"))
		t.Cleanup(func() { _ = stranger.Close() })
		ask := func(kind byte, body []byte) (byte, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := stranger.Connect(ctx, victim.Info()); err != nil {
				return 0, err
			}
			s, err := stranger.NewStream(ctx, victim.Host().ID(), p2p.ProtocolID)
			if err != nil {
				return 0, err
			}
			defer func() { _ = s.Reset() }()
			_ = s.SetDeadline(time.Now().Add(10 * time.Second))
			f := p2p.NewFrames(s)
			if err := f.Send(kind, body); err != nil {
				return 0, err
			}
			answer, _, err := f.Read()
			return answer, err
		}
		honest := func() (byte, error) {
			return ask(p2p.FrameHave, p2p.HaveBody(g.Network(), ledger.Frontier(nil).Digest(g.Network()), 0))
		}
		if kind, err := honest(); err != nil || kind != p2p.FrameHave {
			t.Fatalf("kind %d, %v", kind, err)
		}
		_, _ = ask(p2p.FramePull, []byte("nonsense"))
		for range 5 {
			time.Sleep(10 * time.Second)
			if kind, err := honest(); err == nil {
				t.Fatalf("a dropped peer is answered with %d", kind)
			}
		}
		time.Sleep(time.Minute)
		if kind, err := honest(); err != nil || kind != p2p.FrameHave {
			t.Fatalf("after more than a minute: kind %d, %v", kind, err)
		}
	})
}

// TestManyTopics: a peer cannot make a node remember topics that are none of the network's.
func TestManyTopics(t *testing.T) {
	h, _ := alone(t, 1)
	a := h.attacker(t, "stranger")
	before := heap()
	s, _ := a.open(t, "/meshsub/1.1.0")
	yes := true
	for i := range 200 {
		rpc := new(pb.RPC)
		for j := range 1000 {
			topic := fmt.Sprintf("a topic that nobody has heard of, number %d of %d", j, i)
			rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Subscribe: &yes, Topicid: &topic})
		}
		raw, err := proto.Marshal(rpc)
		must(t, err)
		if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...)); err != nil {
			break // the node has had enough
		}
	}
	time.Sleep(2 * time.Second)
	if grown := int64(heap()) - int64(before); grown > heapBound/4 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// TestPullTwice: a log that is named twice in one pull is sent once.
func TestPullTwice(t *testing.T) {
	t.Parallel()
	h, _ := alone(t, 100)
	_, err := h.victim.Store.Ingest(t.Context(), h.history.Entries...)
	must(t, err)
	a := h.attacker(t, "stranger")
	_, f := a.open(t, p2p.ProtocolID)
	must(t, f.Send(p2p.FramePull, p2p.PullBody(ledgertest.Origin("carol"), 0, ledger.Hash{}, 1024)))
	entries := 0
	for {
		kind, _, err := f.Read()
		if err != nil || kind == p2p.FrameEnd {
			break
		}
		if kind == p2p.FrameEntry {
			entries++
		}
		if kind == p2p.FrameBatch {
			must(t, f.Send(p2p.FrameMore, nil))
		}
	}
	if entries > 100 {
		t.Errorf("100 entries were sent as %d", entries)
	}
}

// TestParkedTooLate: an entry that is parked for one that has joined meanwhile joins too, though nothing else happens.
func TestParkedTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := simulated(t, 2)
		must(t, ingest(t, h.victim, h.history.Entries[0]))
		time.Sleep(time.Second) // all that follows from that has been done
		must(t, h.victim.Park(h.history.Entries[1], h.history.Entries[0].Citation()))
		time.Sleep(time.Second)
		if s := h.victim.Status(); s.Parked > 0 || s.Entries != 2 {
			t.Errorf("%d entries are parked and %d held", s.Parked, s.Entries)
		}
	})
}

// TestFrozenAndBehind: a log that is frozen here where it ends keeps nobody from fetching other logs of a peer that shows more
// of it; and if the peer's history of it is another one before that, this is found out.
func TestFrozenAndBehind(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprint("other history: ", other), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, sim := simulated(t, 10)
				mallory := h.branch(t, 10)
				must(t, ingest(t, h.victim, mallory[:5]...))
				ev := fork(t, h.genesis, mallory[5])
				_, err := h.victim.Store.AddEvidence(t.Context(), ev)
				must(t, err)
				a := h.simAttacker(t, sim, "stranger")
				a.log = mallory
				if other { // it differs from the third entry on
					log := &ledger.Log{Origin: ledgertest.Origin("mallory")}
					log.Advance(mallory[0])
					log.Advance(mallory[1])
					a.log = slices.Clone(mallory[:2])
					for i := range 8 {
						e := ledgertest.Sign(t, h.genesis, "mallory", log, 2_000_000+i)
						log.Advance(e)
						a.log = append(a.log, e)
					}
				}
				a.rows = ledger.Frontier{{Citation: a.log[9].Citation()}, {Citation: h.history.Entries[9].Citation()}}
				a.rows.Sort()
				a.pulled = func(f p2p.Frames, _ []byte) (err error) {
					for _, e := range h.history.Entries {
						err = errors.Join(err, f.Send(p2p.FrameEntry, e.Append(nil)))
					}
					return err
				}
				a.serves()
				a.connect(t)
				p2ptest.WaitFor(t, "the other log", []*p2ptest.Node{h.victim}, func() bool {
					row, _ := h.victim.Store.Row(ledgertest.Origin("carol"))
					return row.Size() == 10
				})
				time.Sleep(time.Minute)
				if ev := h.victim.Store.EvidenceOf(ledgertest.Origin("mallory")); other != (ev.Seq() == 2) {
					t.Errorf("it has evidence of entry %d", ev.Seq())
				}
				if peers := h.victim.Peers(); len(peers) != 1 || peers[0].LastError != "" {
					t.Errorf("it says of its peer: %+v", peers)
				}
			})
		})
	}
}

// fork returns evidence that a party signed another entry in the place of one.
func fork(t *testing.T, g *ledger.Genesis, e *ledger.Entry) *proof.Evidence {
	other := e.Header
	other.Time++
	ev, err := proof.Fork(g, e, ledger.Sign(ledgertest.Key("mallory"), other, e.Record))
	must(t, err)
	return ev
}

// TestDroppedInSilence: strangers that are dropped one after the other do not fill the log.
func TestDroppedInSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
		var lines lineCounter
		victim := sim.Start(g, "alice", p2p.Options{Alone: true, DropTime: 1, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		h := &hostile{genesis: g, victim: victim}
		a := h.simAttacker(t, sim, "stranger")
		before := lines.Load()
		for range 50 {
			_, f := a.open(t, p2p.ProtocolID)
			_ = f.Send(0, nil)
			a.dropped(t)
		}
		if n := lines.Load() - before; n == 0 || n > 20 {
			t.Errorf("50 dropped peers make %d lines", n)
		}
	})
}

// lineCounter counts writes.
type lineCounter struct{ atomic.Int64 }

func (l *lineCounter) Write(p []byte) (int, error) { l.Add(1); return len(p), nil }
