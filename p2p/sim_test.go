package p2p_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestConverge: whatever honest nodes write, whatever is lost, delayed, cut off or restarted, and whatever liars tell
// whom, in the end all honest nodes hold the same bytes with the same statuses; nobody honest is accused; and a fork of
// which honest nodes took both sides is known everywhere. PYVNODE_SIMS is how many histories of each size are tried.
func TestConverge(t *testing.T) {
	sims := sims(t)
	for _, size := range []struct{ honest, liars, steps, part int }{{5, 2, 60, 1}, {20, 3, 80, 4}, {50, 4, 60, 16}} {
		for i := range max(1, sims/size.part) {
			seed := uint64(size.honest*1000 + i)
			t.Run(fmt.Sprintf("%d nodes, seed %d", size.honest, seed), func(t *testing.T) {
				if testing.Short() && size.honest > 5 {
					t.Skip("large networks are not for short tests")
				}
				synctest.Test(t, func(t *testing.T) { converge(t, seed, size.honest, size.liars, size.steps) })
			})
		}
	}
}

func sims(t *testing.T) int { return number(t, "PYVNODE_SIMS", 4) }

// number returns what a variable of the environment says.
func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

func converge(t *testing.T, seed uint64, honest, liars, steps int) {
	r := rand.New(rand.NewPCG(seed, 0))
	sim := p2ptest.NewSim(t, seed)
	t.Cleanup(sim.Close)
	var names []string
	for i := range honest {
		names = append(names, fmt.Sprintf("node%02d", i))
	}
	members := names
	for i := range liars {
		members = append(members, fmt.Sprintf("liar%d", i))
	}
	g := ledgertest.Genesis(t, ledgertest.Doc(members...))
	nodes := make([]*p2ptest.Node, honest)
	peers := make([][]peer.AddrInfo, honest)
	begin := func(i int, s *store.Store) {
		nodes[i] = sim.Start(g, names[i], p2p.Options{Store: s, Peers: peers[i], Alone: true, DropTime: 1})
	}
	for i := range nodes {
		// A ring, so that it hangs together, and chords.
		peers[i] = []peer.AddrInfo{sim.Info(names[(i+1)%honest]), sim.Info(names[r.IntN(honest)])}
		begin(i, nil)
	}
	var all []*p2ptest.Liar
	for i := range liars {
		name := members[honest+i]
		h := sim.Host(name, ledgertest.Key(name))
		t.Cleanup(func() { _ = h.Close() })
		all = append(all, p2ptest.NewLiar(t, g, name, h, seed*10+uint64(i)))
	}
	p2ptest.Conspire(all)
	lies := map[string]int{}
	puts := 0
	for step := range steps {
		switch p := r.IntN(100); {
		case p < 60:
			n := nodes[r.IntN(honest)]
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := n.Append(ctx, ledgertest.Draft(t, g, "vote", int(seed)*10_000+step))
			cancel()
			if err != nil {
				t.Fatalf("%s: %v", n.Name, err)
			}
			puts++
		case p < 80:
			shuffled := append([]*p2ptest.Node(nil), nodes...)
			lies[all[r.IntN(liars)].Act(shuffled)]++
		case p < 86:
			sides := map[string]int{}
			for _, name := range members {
				sides[name] = r.IntN(2)
			}
			sim.Split(sides)
		case p < 90:
			sim.Split(nil)
		case p < 94:
			sim.Loss(r.Float64() * 0.3)
		default: // churn
			i := r.IntN(honest)
			must(t, nodes[i].Close())
			begin(i, nodes[i].Store)
		}
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
	}
	sim.Split(nil)
	sim.Loss(0)
	healed := time.Now()
	p2ptest.WaitFor(t, "one digest", nodes, func() bool {
		first := nodes[0].Store.Frontier().Digest(g.Network())
		for _, n := range nodes {
			if n.Store.Frontier().Digest(g.Network()) != first || n.Status().Unverified > 0 {
				return false
			}
		}
		return true
	})
	took := time.Since(healed)
	want := bytesOf(t, nodes[0])
	accused := map[string]bool{}
	for _, n := range nodes {
		if bytesOf(t, n) != want {
			t.Errorf("%s has other bytes under the same digest", n.Name)
		}
		for _, ev := range n.Store.Evidence() {
			accused[ev.Origin().String()] = true
		}
	}
	for _, name := range names {
		if accused[ledgertest.Origin(name).String()] {
			t.Errorf("%s is honest and accused", name)
		}
		row, _ := nodes[0].Store.Frontier().Row(ledgertest.Origin(name))
		if uint64(0) == row.Size() && puts > honest*10 {
			t.Errorf("nothing of %s is there", name)
		}
	}
	if entries := nodes[0].Store.Frontier().Entries(); entries < uint64(puts) {
		t.Errorf("%d entries, and honest nodes put %d", entries, puts)
	}
	for _, l := range all {
		if l.Forked() && !accused[ledgertest.Origin(l.Name).String()] {
			t.Errorf("%s showed honest nodes a fork, and nobody knows", l.Name)
		}
	}
	t.Logf("%d puts, lies %v, %d accused, agreed %v after healing", puts, lies, len(accused), took.Round(time.Millisecond))
}

// TestConvergeOpen: the same in open networks, where strangers by the thousand write a little each, some of whom lie, and the
// nodes themselves are named nowhere. PYVNODE_STRANGERS is how many there are, at least.
func TestConvergeOpen(t *testing.T) {
	count := number(t, "PYVNODE_STRANGERS", 2000)
	for seed := range uint64(max(1, sims(t)/16)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { convergeOpen(t, seed, 5, count) })
		})
	}
}

func convergeOpen(t *testing.T, seed uint64, honest, strangers int) {
	r := rand.New(rand.NewPCG(seed, 4))
	sim := p2ptest.NewSim(t, seed)
	t.Cleanup(sim.Close)
	g := openGenesis(t)
	nodes := make([]*p2ptest.Node, honest)
	peers := make([][]peer.AddrInfo, honest)
	name := func(i int) string { return fmt.Sprint("node", i) }
	begin := func(i int, s *store.Store) {
		nodes[i] = sim.Start(g, name(i), p2p.Options{Store: s, Peers: peers[i], Alone: true, DropTime: 1})
	}
	for i := range nodes {
		peers[i] = []peer.AddrInfo{sim.Info(name((i + 1) % honest)), sim.Info(name(r.IntN(honest)))}
		begin(i, nil)
	}
	h := sim.Host("relay", ledgertest.Key("relay"))
	t.Cleanup(func() { _ = h.Close() })
	crowd := p2ptest.NewCrowd(t, g, h, seed)
	some := func() *p2ptest.Node { return nodes[r.IntN(honest)] }
	// Most have written before the nodes met: to each of them some, with what that cites.
	var before []*ledger.Entry
	for part := range 4 {
		before = append(before, crowd.Write(strangers/4)...)
		must(t, ingest(t, nodes[part%honest], before...))
	}
	forks, puts, nodeOrigins := 0, 0, map[ledger.Origin]bool{}
	var shown []ledger.Origin // of whom nodes took both sides
	for step := range 60 {
		switch p := r.IntN(100); {
		case p < 25:
			n := some()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := n.Append(ctx, ledgertest.Draft(t, g, "vote", int(seed)*10_000+step))
			cancel()
			must(t, err)
			puts++
		case p < 60:
			crowd.Push(some(), crowd.Write(5)...) // of which some cite what the node does not have yet
		case p < 80:
			one, other := crowd.Fork(leastCommon + r.IntN(3))
			forks++
			if crowd.Push(some(), one...) && crowd.Push(some(), other...) {
				shown = append(shown, one[0].Header.Origin)
			}
		case p < 84:
			sides := map[string]int{}
			for i := range nodes {
				sides[name(i)] = r.IntN(2)
			}
			sim.Split(sides)
		case p < 96:
			sim.Split(nil)
		default:
			i := r.IntN(honest)
			must(t, nodes[i].Close())
			begin(i, nodes[i].Store)
		}
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
	}
	sim.Split(nil)
	healed := time.Now()
	p2ptest.WaitFor(t, "one digest", nodes, func() bool {
		first := nodes[0].Status()
		for _, n := range nodes {
			if s := n.Status(); s.Digest != first.Digest || s.Unverified > 0 {
				return false
			}
		}
		return true
	})
	took := time.Since(healed)
	want := bytesOf(t, nodes[0])
	for i, n := range nodes {
		if bytesOf(t, n) != want {
			t.Errorf("%s has other bytes under the same digest", n.Name)
		}
		nodeOrigins[ledgertest.Origin(name(i))] = true
	}
	for _, ev := range nodes[0].Store.Evidence() {
		if nodeOrigins[ev.Origin()] {
			t.Errorf("%v is honest and accused", ev.Origin())
		}
	}
	for _, o := range shown {
		if nodes[0].Store.EvidenceOf(o) == nil {
			t.Errorf("%v showed nodes a fork, and nobody knows", o)
		}
	}
	s := nodes[0].Status()
	if s.Entries < uint64(len(before)+puts) {
		t.Errorf("%d entries, and %d of strangers and %d of nodes were taken", s.Entries, len(before), puts)
	}
	t.Logf("figure: %d strangers, %d forks of which %d were taken, %d logs of %d entries, %d frozen, agreed %v after healing", crowd.Strangers(), forks, len(shown), s.Logs, s.Entries, s.Frozen, took.Round(time.Millisecond))
}

// leastCommon is how many entries a stranger has written at least before he lies.
const leastCommon = 0
