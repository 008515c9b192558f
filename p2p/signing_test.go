package p2p_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestAloneWarns: signing without asking others is worth a warning where there are others who may know more.
func TestAloneWarns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		members []string
		alone   bool
		signs   p2p.SigningState
		warns   bool
	}{
		{"the only writer", []string{"alice"}, false, p2p.SigningReady, false},
		{"the only writer, alone", []string{"alice"}, true, p2p.SigningReady, false},
		{"one of two", []string{"alice", "bob"}, false, p2p.SigningWaiting, false},
		{"one of two, alone", []string{"alice", "bob"}, true, p2p.SigningReady, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder // read when the node is closed
			handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})
			n := p2ptest.Start(t, ledgertest.Genesis(t, ledgertest.Doc(c.members...)), "alice", p2p.Options{Alone: c.alone, Logger: slog.New(handler)})
			if is := n.Status().Signing; is != c.signs {
				t.Errorf("it is %s, want %s", is, c.signs)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			lines := slices.Collect(strings.Lines(log.String()))
			if warned := slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "forks the log") }); warned != c.warns {
				t.Errorf("logged: %q", lines)
			}
		})
	}
}

// TestFrozenBesides: evidence against the own log ends signing also when it comes by other ways than the network, as from a
// file.
func TestFrozenBesides(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	alice := p2ptest.Start(t, g, "alice", p2p.Options{Alone: true})
	alice.Put(t, 1)
	mine, err := alice.Store.Get(t.Context(), store.Ref{Origin: ledgertest.Origin("alice")})
	must(t, err)
	other := mine.Header
	other.Time++
	ev, err := proof.Fork(g, mine.Entry, ledger.Sign(ledgertest.Key("alice"), other, mine.Record))
	must(t, err)
	_, err = alice.Store.AddEvidence(t.Context(), ev)
	must(t, err)
	if s := alice.Status(); s.Signing != p2p.SigningStopped || !strings.Contains(s.SigningWhy, "go on with a new identity") {
		t.Errorf("status: %s: %s", s.Signing, s.SigningWhy)
	}
	var notReady *p2p.NotReadyError
	if _, err := alice.Append(t.Context(), ledgertest.Draft(t, g, "vote", 2)); !errors.As(err, &notReady) || notReady.State != p2p.SigningStopped {
		t.Errorf("signing on a frozen log: %v", err)
	}
}

// restored starts alice's node with the first four of the ten entries that she has signed.
func restored(t *testing.T, sim *p2ptest.Sim, history *ledgertest.Network, g *ledger.Genesis, o p2p.Options) *p2ptest.Node {
	t.Helper()
	s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{Key: ledgertest.Key("alice")})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Ingest(t.Context(), history.Entries[:4]...)
	must(t, err)
	o.Store = s
	return sim.Start(g, "alice", o)
}

// signsNot waits and wants that a node does not sign all the while.
func signsNot(t *testing.T, n *p2ptest.Node, wait time.Duration) {
	t.Helper()
	for range 10 {
		time.Sleep(wait / 10)
		if ack, err := n.Append(t.Context(), ledgertest.Draft(t, n.Store.Genesis(), "vote", 77)); err == nil {
			t.Fatalf("%s has signed entry %d, which it signed before", n.Name, ack.Seq)
		}
	}
}

// goesOn waits until a node signs, and wants that it does so where its log really ends.
func goesOn(t *testing.T, n *p2ptest.Node, seq uint64) {
	t.Helper()
	p2ptest.Ready(t, n)
	if ack := n.Put(t, 78); ack.Seq != seq {
		t.Errorf("%s went on at %d, want %d", n.Name, ack.Seq, seq)
	}
}

func aliceSigned(t *testing.T, g *ledger.Genesis, entries int) *ledgertest.Network {
	history := ledgertest.NewNetwork(t, g)
	for range entries {
		history.Put("alice")
	}
	return history
}

// TestProofOutweighsVotes: bob shows an entry that alice signed and has lost, and is slow to send it. Nobody who knows less
// makes her sign before she has it, also not after a restart without anybody who knows.
func TestProofOutweighsVotes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "dave"))
		history := aliceSigned(t, g, 10)
		alice := restored(t, sim, history, g, p2p.Options{})
		h := &hostile{genesis: g, victim: alice}
		bob := h.simAttacker(t, sim, "bob")
		bob.rows = ledger.Frontier{{Citation: history.Entries[9].Citation()}}
		bob.stated = func() *ledger.Entry { return history.Entries[9] }
		bob.pulled = func(p2p.Frames, []byte) error { return nap(t, 4*time.Second) }
		bob.serves()
		bob.connect(t)
		p2ptest.WaitFor(t, "alice to know that she is behind", []*p2ptest.Node{alice}, func() bool { return alice.Status().Signing == p2p.SigningBehind })
		for _, name := range []string{"carol", "dave"} {
			n := sim.Start(g, name, p2p.Options{Alone: true})
			must(t, ingest(t, n, history.Entries[:2]...))
			must(t, n.Host().Connect(t.Context(), alice.Info()))
		}
		signsNot(t, alice, time.Minute)
		must(t, alice.Close())
		alice = sim.Start(g, "alice", p2p.Options{Store: alice.Store, Alone: true}) // which is no word against a proof
		signsNot(t, alice, time.Minute)
		late := sim.Start(g, "bob2", p2p.Options{Alone: true})
		must(t, ingest(t, late, history.Entries...))
		must(t, late.Host().Connect(t.Context(), alice.Info()))
		p2ptest.WaitFor(t, "alice to hold what she signed", []*p2ptest.Node{alice}, func() bool { return alice.Store.OwnLog().Missing == nil })
	})
}

// TestNotKnowingConfirmsNothing: who holds nothing of alice's log does not confirm it, not even when he has it from her.
func TestNotKnowingConfirmsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		history := aliceSigned(t, g, 10)
		alice := restored(t, sim, history, g, p2p.Options{})
		carol := sim.Start(g, "carol", p2p.Options{Alone: true})
		must(t, carol.Host().Connect(t.Context(), alice.Info()))
		p2ptest.Agree(t, []*p2ptest.Node{alice, carol}, 4)
		signsNot(t, alice, time.Minute)
		bob := sim.Start(g, "bob", p2p.Options{Alone: true})
		must(t, ingest(t, bob, history.Entries...))
		must(t, bob.Host().Connect(t.Context(), alice.Info()))
		goesOn(t, alice, 10)
	})
}

// TestMajorityHoldsNothing: when most parties hold nothing of a log, there is nothing else to go by.
func TestMajorityHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		alice := restored(t, sim, aliceSigned(t, g, 4), g, p2p.Options{})
		for _, name := range []string{"bob", "carol"} {
			signsNot(t, alice, 20*time.Second)
			must(t, sim.Start(g, name, p2p.Options{Alone: true}).Host().Connect(t.Context(), alice.Info()))
		}
		goesOn(t, alice, 4)
	})
}

// TestSlowProof: one party confirms at once what is here, and another that knows better answers a second later.
func TestSlowProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		history := aliceSigned(t, g, 10)
		alice := restored(t, sim, history, g, p2p.Options{})
		carol := sim.Start(g, "carol", p2p.Options{Alone: true})
		must(t, ingest(t, carol, history.Entries[:4]...))
		h := &hostile{genesis: g, victim: alice}
		bob := h.simAttacker(t, sim, "bob")
		bob.rows = ledger.Frontier{{Citation: history.Entries[9].Citation()}}
		bob.stated = func() *ledger.Entry { _ = nap(t, 4*time.Second); return history.Entries[9] }
		bob.serves()
		must(t, carol.Host().Connect(t.Context(), alice.Info()))
		bob.connect(t)
		signsNot(t, alice, 20*time.Second)
		if s := alice.Status(); s.Signing != p2p.SigningBehind {
			t.Errorf("alice is %s: %s", s.Signing, s.SigningWhy)
		}
	})
}

// TestOnlyWriterAsks: the only writer of a network asks its replicas; somebody holds its log all the same.
func TestOnlyWriterAsks(t *testing.T) {
	t.Parallel()
	for _, configured := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			sim := p2ptest.NewSim(t, 1)
			t.Cleanup(sim.Close)
			g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
			history := aliceSigned(t, g, 10)
			replica := sim.Start(g, "replica", p2p.Options{})
			must(t, ingest(t, replica, history.Entries...))
			var o p2p.Options
			if configured {
				o.Peers = []peer.AddrInfo{replica.Info()}
			}
			alice := restored(t, sim, history, g, o)
			if configured {
				if ack, err := alice.Append(t.Context(), ledgertest.Draft(t, g, "vote", 77)); err == nil {
					t.Fatalf("alice signed entry %d at once", ack.Seq)
				}
			} else { // nobody was to be asked, but what turns up before the first signature is heeded
				must(t, replica.Host().Connect(t.Context(), alice.Info()))
				p2ptest.Agree(t, []*p2ptest.Node{alice, replica}, 10)
			}
			goesOn(t, alice, 10)
		})
	}
}

// TestOwnEntriesTurnUp: a node that was to sign alone waits again when entries of its own log turn up before it has signed,
// and stops when they do after.
func TestOwnEntriesTurnUp(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := p2ptest.NewSim(t, 1)
			t.Cleanup(sim.Close)
			g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
			history := aliceSigned(t, g, 10)
			alice := restored(t, sim, history, g, p2p.Options{Alone: true})
			if signed {
				alice.Put(t, 77)
			}
			bob := sim.Start(g, "bob", p2p.Options{Alone: true})
			must(t, ingest(t, bob, history.Entries...))
			must(t, bob.Host().Connect(t.Context(), alice.Info()))
			if !signed {
				p2ptest.WaitFor(t, "alice to wait", []*p2ptest.Node{alice}, func() bool { return alice.Status().Signing != p2p.SigningReady })
				goesOn(t, alice, 10)
				return
			}
			p2ptest.WaitFor(t, "alice to stop", []*p2ptest.Node{alice}, func() bool { return alice.Status().Signing == p2p.SigningStopped })
		})
	}
}
