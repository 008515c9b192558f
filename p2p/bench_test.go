package p2p_test

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
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

// verifyLimit is how many Ed25519 signatures this machine verifies each second on all cores, one by
// one, at the moment.
func verifyLimit() float64 {
	const many = 512
	key := ledgertest.Key("limit")
	public := key.Public().(ed25519.PublicKey)
	messages, signatures := make([][]byte, many), make([][]byte, many)
	for i := range many {
		messages[i] = append(make([]byte, 320), byte(i), byte(i>>8))
		signatures[i] = ed25519.Sign(key, messages[i])
	}
	var wg sync.WaitGroup
	counts := make([]int, runtime.GOMAXPROCS(0))
	start := time.Now()
	for w := range counts {
		wg.Go(func() {
			for time.Since(start) < time.Second {
				for i := range 64 {
					at := (counts[w] + i) % many
					ed25519.Verify(public, messages[at], signatures[at])
				}
				counts[w] += 64
			}
		})
	}
	wg.Wait()
	all := 0
	for _, n := range counts {
		all += n
	}
	return float64(all) / time.Since(start).Seconds()
}

func onDisk(b *testing.B, g *ledger.Genesis, name string) *store.Store {
	b.Helper()
	dir := b.TempDir()
	if err := store.CreateDir(b.Context(), dir, g); err != nil {
		b.Fatal(err)
	}
	d, _, err := store.OpenDir(b.Context(), dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key(name)}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return d.Store
}

// BenchmarkCatchUp lets a node with an empty ledger on disk fetch everything from one and from two
// peers on the same machine. PYVNODE_ENTRIES is how many entries there are.
func BenchmarkCatchUp(b *testing.B) {
	entries := 100_000
	if text := os.Getenv("PYVNODE_ENTRIES"); text != "" {
		var err error
		if entries, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	g := ledgertest.Genesis(b, ledgertest.Doc("alice", "bob", "carol", "dave"))
	history := ledgertest.NewNetwork(b, g)
	for i := range entries {
		who := []string{"alice", "bob", "carol"}[i/64%3]
		if i%64 == 0 {
			history.Put(who, slices.DeleteFunc([]string{"alice", "bob", "carol"}, func(o string) bool { return o == who })...)
			continue
		}
		history.Put(who)
	}
	var peers []peer.AddrInfo
	for _, name := range []string{"alice", "bob"} {
		s := onDisk(b, g, name)
		p := s.NewPipeline(b.Context(), 0, nil)
		for batch := range slices.Chunk(history.Entries, store.RangeEntries) {
			if err := p.Add(batch); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := p.Close(); err != nil {
			b.Fatal(err)
		}
		if err := s.VerifySignatures(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		peers = append(peers, p2ptest.Start(b, g, name, p2p.Options{Store: s, Alone: true}).Info())
	}
	want := history.Entries[len(history.Entries)-1]
	for sources := 1; sources <= 2; sources++ {
		b.Run(fmt.Sprintf("from=%d", sources), func(b *testing.B) {
			for b.Loop() {
				before := verifyLimit()
				if file := os.Getenv("PYVNODE_PROFILE"); file != "" {
					f, err := os.Create(file)
					if err != nil {
						b.Fatal(err)
					}
					_ = pprof.StartCPUProfile(f)
				}
				start := time.Now()
				late := p2ptest.Start(b, g, "dave", p2p.Options{Store: onDisk(b, g, "dave"), Peers: peers[:sources]})
				p2ptest.WaitFor(b, "everything fetched", []*p2ptest.Node{late}, func() bool {
					row, ok := late.Store.Frontier().Row(want.Header.Origin)
					return ok && row.Hash == want.Hash && late.Store.Frontier().Entries() == uint64(entries)
				})
				rate := float64(entries) / time.Since(start).Seconds()
				pprof.StopCPUProfile()
				limit := (before + verifyLimit()) / 2
				b.ReportMetric(rate, "entries/s")
				b.ReportMetric(limit, "verifications/s")
				b.ReportMetric(rate/limit, "ratio")
				p2ptest.WaitFor(b, "all signatures checked", []*p2ptest.Node{late}, func() bool { return late.Status().Unverified == 0 })
				b.ReportMetric(float64(entries)/time.Since(start).Seconds(), "checked-entries/s")
				_ = late.Close()
			}
		})
	}
}

// BenchmarkGossip puts 1,000 entries a second into 8 nodes with ledgers on disk, into one of them
// and into all in turn, and measures how long each entry takes until it is durable on all.
func BenchmarkGossip(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			for b.Loop() {
				gossip(b, writers)
			}
		})
	}
}

func gossip(b *testing.B, writers int) {
	const nodes, rate, seconds = 8, 1000, 5
	members := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	var origins [nodes]ledger.Origin
	for i, name := range members {
		origins[i] = ledgertest.Origin(name)
	}
	g := ledgertest.Genesis(b, ledgertest.Doc(members...))
	drafts := make([]*ledger.Draft, rate*seconds)
	for i := range drafts {
		drafts[i] = ledgertest.Draft(b, g, "vote", i)
	}
	var all []*p2ptest.Node
	var peers []peer.AddrInfo
	for _, name := range members {
		n := p2ptest.Start(b, g, name, p2p.Options{Store: onDisk(b, g, name), Peers: slices.Clone(peers), Alone: true})
		peers = append(peers, n.Info())
		all = append(all, n)
	}
	p2ptest.WaitFor(b, "all connected", all, func() bool {
		for _, n := range all {
			if n.Status().Peers < nodes-1 {
				return false
			}
		}
		return true
	})
	time.Sleep(3 * time.Second) // until GossipSub has made its mesh
	put := make([]time.Time, len(drafts))
	seen := make([][]time.Time, nodes) // the i-th draft is entry i/writers of the log of node i%writers
	var wg sync.WaitGroup
	for i, n := range all {
		seen[i] = make([]time.Time, len(drafts))
		wg.Go(func() {
			changed, stop := n.Store.Watch()
			defer stop()
			deadline := time.After(2 * time.Minute)
			var next [nodes]int // draft of each writer
			for w := range next {
				next[w] = w
			}
			for done := 0; done < len(drafts); {
				select {
				case <-changed:
				case <-deadline:
					return
				}
				for w := range writers {
					row, _ := n.Store.Frontier().Row(origins[w])
					for now := time.Now(); next[w]/writers < int(row.Size()); next[w] += writers {
						seen[i][next[w]] = now
						done++
					}
				}
			}
		})
	}
	begin := time.Now()
	var pending []store.Pending
	for i, d := range drafts {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
		put[i] = time.Now()
		p, err := all[i%writers].Submit(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		if _, err := p.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	var waits []time.Duration
	lost := 0
	for i := range drafts {
		last := time.Time{}
		for n := range seen {
			if seen[n][i].IsZero() {
				lost++
			}
			if seen[n][i].After(last) {
				last = seen[n][i]
			}
		}
		waits = append(waits, last.Sub(put[i]))
	}
	slices.Sort(waits)
	elapsed := put[len(put)-1].Sub(put[0]).Seconds()
	b.ReportMetric(float64(len(put))/elapsed, "entries/s")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(waits[len(waits)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(waits[len(waits)*99/100].Seconds()*1e3, "p99-ms")
	for _, n := range all {
		_ = n.Close()
	}
}

// BenchmarkIdle measures what nodes send each other when nothing happens, in simulated networks of
// several sizes whose nodes have four neighbours each, over ten minutes of fake time.
func BenchmarkIdle(b *testing.B) {
	for _, size := range []int{8, 50, 200} {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			for b.Loop() {
				perNode, packets, neighbours := idle(b, size)
				b.ReportMetric(packets, "packets/s/node")
				b.ReportMetric(perNode, "B/s/node")
				b.ReportMetric(neighbours, "neighbours")
			}
		})
	}
}

func idle(b *testing.B, size int) (perNode, perNodePackets, neighbours float64) {
	ok := false
	testing.Init()
	t := testing.InternalTest{Name: "idle", F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim := p2ptest.NewSim(t, uint64(size))
			t.Cleanup(sim.Close)
			var members []string
			for i := range size {
				members = append(members, fmt.Sprintf("node%03d", i))
			}
			g := ledgertest.Genesis(t, ledgertest.Doc(members...))
			var nodes []*p2ptest.Node
			for i, name := range members {
				peers := []peer.AddrInfo{sim.Info(members[(i+1)%size]), sim.Info(members[(i+size/3)%size])}
				nodes = append(nodes, sim.Start(g, name, p2p.Options{Peers: peers, Alone: true}))
			}
			for i, n := range nodes[:8] {
				n.Put(t, i)
			}
			p2ptest.Agree(t, nodes, 8)
			time.Sleep(time.Minute)
			packets, bytes := sim.Sent()
			const span = 10 * time.Minute
			time.Sleep(span)
			packetsAfter, bytesAfter := sim.Sent()
			perNode = float64(bytesAfter-bytes) / span.Seconds() / float64(size)
			perNodePackets = float64(packetsAfter-packets) / span.Seconds() / float64(size)
			for _, n := range nodes {
				neighbours += float64(n.Status().Peers) / float64(size)
			}
			ok = true
		})
	}}
	if !testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{t}) || !ok {
		b.Fatal("the simulation failed")
	}
	return perNode, perNodePackets, neighbours
}
