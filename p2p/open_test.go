package p2p_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// openNetwork is a network in which strangers may write.
func openNetwork(t *testing.T) *ledger.Genesis {
	doc := ledgertest.Doc()
	doc.Open = true
	return ledgertest.Genesis(t, doc)
}

// forkAtZero returns two first entries of one log, and evidence of that.
func forkAtZero(t *testing.T, g *ledger.Genesis, who string, n int) (one, other *ledger.Entry, ev *proof.Evidence) {
	t.Helper()
	one = ledgertest.Sign(t, g, who, &ledger.Log{Origin: ledgertest.Origin(who)}, n)
	h := one.Header
	h.Time++
	other = ledger.Sign(ledgertest.Key(who), h, one.Record)
	ev, err := proof.Fork(g, one, other)
	must(t, err)
	return one, other, ev
}

// TestStrangerForksAtZero: in an open network a stranger forks with his first entry. Whether an honest node has cited him or
// not, whoever comes later gets all that is good, and all agree.
func TestStrangerForksAtZero(t *testing.T) {
	t.Parallel()
	for _, cited := range []bool{false, true} {
		t.Run(fmt.Sprintf("cited=%v", cited), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sim := p2ptest.NewSim(t, 1)
				t.Cleanup(sim.Close)
				g := openNetwork(t)
				alice := sim.Start(g, "alice", p2p.Options{Alone: true})
				one, _, ev := forkAtZero(t, g, "stranger", 1)
				must(t, ingest(t, alice, one))
				want := uint64(6)
				if cited {
					alice.Put(t, 100) // cites what is new
					want++
				}
				_, err := alice.Store.AddEvidence(t.Context(), ev)
				must(t, err)
				for i := range 6 {
					alice.Put(t, 200+i)
				}
				bob := sim.Start(g, "bob", p2p.Options{Alone: true})
				must(t, bob.Host().Connect(t.Context(), alice.Info()))
				p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, want)
				if _, shown := bob.Store.Row(one.Header.Origin); shown != cited {
					t.Errorf("the frontier shows the stranger: %v, want %v", shown, cited)
				}
			})
		})
	}
}

// TestEvidenceBesides: one node has evidence against a stranger of whom another holds nothing but good. The other cannot know
// what to ask for, and is told; so both agree, also on what others built on the stranger's entry meanwhile.
func TestEvidenceBesides(t *testing.T) {
	t.Parallel()
	for _, cited := range []bool{false, true} {
		t.Run(fmt.Sprintf("cited=%v", cited), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sim := p2ptest.NewSim(t, 1)
				t.Cleanup(sim.Close)
				g := openNetwork(t)
				one, other, ev := forkAtZero(t, g, "stranger", 1)
				alice := sim.Start(g, "alice", p2p.Options{Alone: true})
				must(t, ingest(t, alice, one))
				_, err := alice.Store.AddEvidence(t.Context(), ev)
				must(t, err)
				bob := sim.Start(g, "bob", p2p.Options{Alone: true})
				must(t, ingest(t, bob, other))
				want := uint64(0)
				if cited {
					bob.Put(t, 100)
					want++
				}
				must(t, bob.Host().Connect(t.Context(), alice.Info()))
				p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, want)
				carol := sim.Start(g, "carol", p2p.Options{Alone: true})
				must(t, carol.Host().Connect(t.Context(), alice.Info()))
				p2ptest.Agree(t, []*p2ptest.Node{alice, bob, carol}, want)
			})
		})
	}
}

// TestChainOfForks: an entry leads to a forked log of a stranger, whose disputed entry leads to that of another stranger,
// and so on. A newcomer who knows none of them gets everything.
func TestChainOfForks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := openNetwork(t)
		alice := sim.Start(g, "alice", p2p.Options{Alone: true})
		const strangers = 8
		var evidence []*proof.Evidence
		var last []ledger.Citation
		for i := range strangers {
			who := fmt.Sprint("stranger", i)
			log := &ledger.Log{Origin: ledgertest.Origin(who)}
			e := ledgertest.Sign(t, g, who, log, i, last...)
			h := e.Header
			h.Time++
			ev, err := proof.Fork(g, e, ledger.Sign(ledgertest.Key(who), h, e.Record))
			must(t, err)
			must(t, ingest(t, alice, e))
			evidence, last = append(evidence, ev), []ledger.Citation{e.Citation()}
		}
		alice.Put(t, 100)
		for _, ev := range evidence {
			_, err := alice.Store.AddEvidence(t.Context(), ev)
			must(t, err)
		}
		bob := sim.Start(g, "bob", p2p.Options{Alone: true})
		must(t, bob.Host().Connect(t.Context(), alice.Info()))
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 1)
		if n := len(bob.Store.Evidence()); n != strangers {
			t.Errorf("bob has evidence against %d strangers, want %d", n, strangers)
		}
	})
}

// TestMadeUpFreezes: a peer's rows name frozen logs of origins that nobody knows. No evidence is taken for that.
func TestMadeUpFreezes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := openNetwork(t)
		alice := sim.Start(g, "alice", p2p.Options{Alone: true})
		alice.Put(t, 1)
		a := (&hostile{genesis: g, victim: alice}).simAttacker(t, sim, "mallory")
		for i := range 100 {
			a.rows = append(a.rows, ledger.Row{
				Citation: ledger.Citation{Origin: ledgertest.Origin(fmt.Sprint("key", i))},
				Frozen:   &ledger.Freeze{Evidence: ledger.Hash{1}, Cited: ledger.Hash{2}},
			})
		}
		a.rows.Sort()
		a.serves()
		a.connect(t)
		a.wasAsked(t, p2p.FrameHave, 2)
		for len(a.asked) > 0 {
			if kind := <-a.asked; kind == p2p.FrameEvidence {
				t.Fatal("the node asked for evidence against somebody it knows nothing of")
			}
		}
	})
}

// TestRowsGoAway: a peer that knows an earlier frontier is told only what changed since, rows that are gone included.
func TestRowsGoAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := openNetwork(t)
		alice := sim.Start(g, "alice", p2p.Options{Alone: true})
		bob := sim.Start(g, "bob", p2p.Options{Alone: true})
		must(t, bob.Host().Connect(t.Context(), alice.Info()))
		one, _, ev := forkAtZero(t, g, "stranger", 1)
		must(t, ingest(t, alice, one))
		alice.Put(t, 100)
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 2)
		two, _, ev2 := forkAtZero(t, g, "another", 2)
		must(t, ingest(t, alice, two))
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 3)
		for _, ev := range []*proof.Evidence{ev, ev2} {
			_, err := alice.Store.AddEvidence(t.Context(), ev)
			must(t, err)
		}
		alice.Put(t, 101)
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 2)
		time.Sleep(time.Minute)
		for _, p := range bob.Peers() {
			if p.LastError != "" || !p.Agrees {
				t.Errorf("bob of alice: agrees %v, %q", p.Agrees, p.LastError)
			}
		}
		if _, shown := alice.Store.Row(two.Header.Origin); shown || !alice.Store.Disputed(store.Ref{Origin: two.Header.Origin}) {
			t.Error("alice's frontier shows a log of which nothing is left")
		}
	})
}
