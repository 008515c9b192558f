package p2p_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestAgree: what is put into any node is on all.
func TestAgree(t *testing.T) {
	t.Parallel()
	nodes := start(t, "alice", "bob", "carol")
	p2ptest.Ready(t, nodes...)
	for i := range 30 {
		nodes[i%3].Put(t, i)
	}
	p2ptest.Agree(t, nodes, 30)
}

// start starts nodes of a network with these members; each dials those before it.
func start(t *testing.T, members ...string) []*p2ptest.Node {
	t.Helper()
	g := ledgertest.Genesis(t, ledgertest.Doc(members...))
	var nodes []*p2ptest.Node
	var peers []peer.AddrInfo
	for _, name := range members {
		n := p2ptest.Start(t, g, name, p2p.Options{Peers: peers})
		peers = append(peers, n.Info())
		nodes = append(nodes, n)
	}
	return nodes
}

// TestCatchUp: a node that joins late fetches everything, in several batches, and their signatures
// are checked afterwards.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	history := ledgertest.NewNetwork(t, g)
	history.Random(1, 1500, "alice", "bob")
	late := p2ptest.Start(t, g, "carol", p2p.Options{})
	first := p2ptest.Start(t, g, "alice", p2p.Options{Peers: []peer.AddrInfo{late.Info()}})
	_, err := first.Store.Ingest(ctx, history.Entries...)
	must(t, err)
	nodes := []*p2ptest.Node{late, first}
	p2ptest.Agree(t, nodes, 1500)
	p2ptest.WaitFor(t, "all signatures checked", nodes, func() bool { return late.Status().Unverified == 0 })
	for _, n := range nodes {
		if got := bytesOf(t, n); got != bytesOf(t, first) {
			t.Errorf("%s has another chain", n.Name)
		}
	}
}

// bytesOf is a hash of everything that a node's frontier covers, with the status of each entry, in
// canonical order.
func bytesOf(t *testing.T, n *p2ptest.Node) ledger.Hash {
	t.Helper()
	sum := sha256.New()
	for e, err := range n.Store.Chain(t.Context()) {
		must(t, err)
		sum.Write(e.Append(nil))
		fmt.Fprintln(sum, n.Store.Disputed(store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}))
	}
	return ledger.Hash(sum.Sum(nil))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFork: an origin shows one history to one node and another to another. Both have cited what
// they saw before they meet. Then all have the evidence, freeze the log at the same place, hold
// both branches as far as they were cited, and agree on every byte.
func TestFork(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("mallory", "alice", "bob", "carol"))
	common := ledgertest.NewNetwork(t, g)
	for range 5 {
		common.Put("mallory")
	}
	branch := func(records ...int) []*ledger.Entry {
		log := common.Log("mallory")
		var made []*ledger.Entry
		for _, r := range records {
			e, err := log.Sign(g, ledgertest.Key("mallory"), ledgertest.Draft(t, g, "vote", r), nil, 0, nil)
			must(t, err)
			log.Advance(e)
			made = append(made, e)
		}
		return made
	}
	alice := p2ptest.Start(t, g, "alice", p2p.Options{Alone: true})
	bob := p2ptest.Start(t, g, "bob", p2p.Options{Alone: true})
	carol := p2ptest.Start(t, g, "carol", p2p.Options{Alone: true})
	var heads []ledger.Hash
	for i, n := range []*p2ptest.Node{alice, bob} {
		_, err := n.Store.Ingest(ctx, common.Entries...)
		must(t, err)
		entries := branch(100+i, 200+i, 300+i)
		_, err = n.Store.Ingest(ctx, entries...)
		must(t, err)
		heads = append(heads, entries[2].Hash)
		n.Put(t, 1000+i)
		n.Put(t, 1100+i)
	}
	carol.Put(t, 1200)
	must(t, alice.Host().Connect(ctx, bob.Info()))
	must(t, carol.Host().Connect(ctx, bob.Info()))
	nodes := []*p2ptest.Node{alice, bob, carol}
	p2ptest.Agree(t, nodes, 5+5)
	for _, n := range nodes {
		all := n.Store.Evidence()
		if len(all) != 1 || all[0].Origin() != ledgertest.Origin("mallory") || all[0].Seq() != 5 {
			t.Fatalf("%s has evidence %v", n.Name, all)
		}
		row, _ := n.Store.Frontier().Row(ledgertest.Origin("mallory"))
		if row.Size() != 5 || row.Frozen == nil || row.Frozen.Cited != ledger.CitedHash(heads) {
			t.Errorf("%s: row of mallory: %+v, frozen %+v", n.Name, row, row.Frozen)
		}
		if bytesOf(t, n) != bytesOf(t, alice) {
			t.Errorf("%s has another chain", n.Name)
		}
	}
	alice.Put(t, 2000) // life goes on
	p2ptest.Agree(t, nodes, 11)
}

// TestBehindFirewalls: two nodes that nobody can dial know one that can be dialled. They find each
// other through it, are connected directly in the end, and go on when it is gone.
func TestBehindFirewalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 9)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		var nodes []*p2ptest.Node
		for _, name := range []string{"carol", "alice", "bob"} {
			reach, peers := libp2p.ForceReachabilityPublic(), []peer.AddrInfo(nil)
			if name != "carol" {
				sim.Wall(name)
				reach, peers = libp2p.ForceReachabilityPrivate(), []peer.AddrInfo{sim.Info("carol")}
			}
			made := make(chan host.Host, 1)
			h := sim.Host(name, ledgertest.Key(name), append(p2p.BehindNAT(made), reach)...)
			made <- h
			nodes = append(nodes, p2ptest.Start(t, g, name, p2p.Options{Host: h, Alone: true, DHT: true, Peers: peers}))
		}
		carol, alice, bob := nodes[0], nodes[1], nodes[2]
		p2ptest.WaitFor(t, "a direct connection", nodes, func() bool {
			return alice.Host().Network().Connectedness(bob.Host().ID()) == network.Connected
		})
		must(t, carol.Close())
		alice.Put(t, 1)
		bob.Put(t, 2)
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 2)
	})
}

// TestDeepFork: both branches of a fork are thousands of entries long, and honest nodes built on
// each before they met, over links of 40 ms there and back. What is cited comes by the hundred, or
// it would never come within a turn.
func TestDeepFork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 7)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("mallory", "alice", "bob"))
		const deep = 3000
		var nodes []*p2ptest.Node
		var heads []ledger.Hash
		for i, name := range []string{"alice", "bob"} {
			n := sim.Start(g, name, p2p.Options{Alone: true})
			log := &ledger.Log{Origin: ledgertest.Origin("mallory")}
			var branch []*ledger.Entry
			for j := range deep {
				e, err := log.Sign(g, ledgertest.Key("mallory"), ledgertest.Draft(t, g, "vote", i*deep+j), nil, 0, nil)
				must(t, err)
				log.Advance(e)
				branch = append(branch, e)
			}
			_, err := n.Store.Ingest(t.Context(), branch...)
			must(t, err)
			n.Put(t, 10_000+i)
			nodes, heads = append(nodes, n), append(heads, log.Head)
		}
		must(t, nodes[0].Host().Connect(t.Context(), sim.Info("bob")))
		met := time.Now()
		p2ptest.Agree(t, nodes, 2)
		t.Logf("agreed after %v", time.Since(met))
		for _, n := range nodes {
			row, _ := n.Store.Frontier().Row(ledgertest.Origin("mallory"))
			if row.Frozen == nil || row.Frozen.Seq != 0 || row.Frozen.Cited != ledger.CitedHash(heads) {
				t.Errorf("%s: row of mallory: %+v, frozen %+v", n.Name, row, row.Frozen)
			}
			if bytesOf(t, n) != bytesOf(t, nodes[0]) {
				t.Errorf("%s has another chain", n.Name)
			}
		}
	})
}

// TestWideFork: a liar has signed very many first entries, and a friend of his cites them all. The
// row of his log is as short as others, and nodes that hold all of it agree with those that do not
// yet.
func TestWideFork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 8)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("mallory", "friend", "alice", "bob"))
		const wide = 1850
		friend := &ledger.Log{Origin: ledgertest.Origin("friend")}
		first := ledgertest.Sign(t, g, "mallory", &ledger.Log{Origin: ledgertest.Origin("mallory")}, 0)
		var branches, citing []*ledger.Entry
		for i := range wide {
			h := first.Header
			h.Time += uint64(i)
			branches = append(branches, ledger.Sign(ledgertest.Key("mallory"), h, first.Record))
			e := ledgertest.Sign(t, g, "friend", friend, 1+i, branches[i].Citation())
			friend.Advance(e)
			citing = append(citing, e)
		}
		ev, err := proof.Fork(g, branches[0], branches[1])
		must(t, err)
		start := func(name string, holds int) *p2ptest.Node {
			n := sim.Start(g, name, p2p.Options{Alone: true})
			_, err := n.Store.AddEvidence(t.Context(), ev)
			must(t, err)
			_, err = n.Store.IngestDisputed(t.Context(), branches[:holds]...)
			must(t, err)
			_, err = n.Store.Ingest(t.Context(), citing[:holds]...)
			must(t, err)
			return n
		}
		alice, bob := start("alice", wide), start("bob", wide-10)
		row, _ := alice.Store.Row(ledgertest.Origin("mallory"))
		if length := len(row.Append(nil)); length > p2p.RowBytes || row.Frozen.Cited.IsZero() {
			t.Errorf("the row has %d bytes: %+v", length, row.Frozen)
		}
		must(t, alice.Host().Connect(t.Context(), sim.Info("bob")))
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, wide)
		alice.Put(t, 10_000) // now a row is sent alone
		bob.Put(t, 10_001)
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, wide+2)
	})
}

// TestOldBackup: a node whose directory was put back from an old copy does not sign before it has
// fetched what it signed since.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	history := ledgertest.NewNetwork(t, g)
	for range 10 {
		history.Put("alice")
	}
	bob := p2ptest.Start(t, g, "bob", p2p.Options{})
	_, err := bob.Store.Ingest(ctx, history.Entries...)
	must(t, err)
	s, _, err := store.Open(ctx, store.NewMemory(), g, store.Options{Key: ledgertest.Key("alice")})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	_, err = s.Ingest(ctx, history.Entries[:4]...)
	must(t, err)
	alice := p2ptest.Start(t, g, "alice", p2p.Options{Store: s})
	var notReady *p2p.NotReadyError
	if _, err := alice.Append(ctx, ledgertest.Draft(t, g, "vote", 77)); !errors.As(err, &notReady) || notReady.State != p2p.SigningWaiting {
		t.Fatalf("signing at once: %v", err)
	}
	must(t, alice.Host().Connect(ctx, bob.Info()))
	p2ptest.Ready(t, alice)
	if ack := alice.Put(t, 77); ack.Seq != 10 {
		t.Errorf("went on at %d", ack.Seq)
	}
	p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 11)
}

// TestCopiedDirectory: two nodes run with one key, which neither knows when it starts. Both stop
// signing.
func TestCopiedDirectory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	bob := p2ptest.Start(t, g, "bob", p2p.Options{})
	carol := p2ptest.Start(t, g, "carol", p2p.Options{})
	one := p2ptest.Start(t, g, "alice", p2p.Options{Peers: []peer.AddrInfo{bob.Info()}})
	two := p2ptest.Start(t, g, "alice", p2p.Options{Peers: []peer.AddrInfo{carol.Info()}})
	p2ptest.Ready(t, one, two)
	one.Put(t, 1)
	two.Put(t, 2)
	must(t, bob.Host().Connect(ctx, carol.Info()))
	nodes := []*p2ptest.Node{bob, carol, one, two}
	p2ptest.WaitFor(t, "evidence everywhere, and no more signing", nodes, func() bool {
		for _, n := range nodes {
			if len(n.Store.Evidence()) != 1 {
				return false
			}
		}
		return one.Status().Signing == p2p.SigningStopped && two.Status().Signing == p2p.SigningStopped
	})
	var notReady *p2p.NotReadyError
	if _, err := one.Append(ctx, ledgertest.Draft(t, g, "vote", 3)); !errors.As(err, &notReady) {
		t.Errorf("signing on a frozen log: %v", err)
	}
	p2ptest.Agree(t, nodes, 0)
}

// TestPartition: two halves write while they are apart, and agree when they meet again.
func TestPartition(t *testing.T) {
	t.Parallel()
	nodes := start(t, "alice", "bob", "carol")
	p2ptest.Ready(t, nodes...)
	for i := range 9 {
		nodes[i%3].Put(t, i)
	}
	p2ptest.Agree(t, nodes, 9)
	cut := nodes[2]
	gate := p2ptest.Cut(cut)
	for i := range 20 {
		nodes[i%2].Put(t, 100+i)
		cut.Put(t, 200+i)
	}
	p2ptest.Agree(t, nodes[:2], 29)
	if got := cut.Status().Entries; got != 29 {
		t.Errorf("the node that was cut off holds %d entries", got)
	}
	if cut.Status().Digest == nodes[0].Status().Digest {
		t.Error("digests are equal across the cut")
	}
	gate()
	p2ptest.Agree(t, nodes, 49)
}

// TestLink: a link pushes what the other does not have, with hops, as far as the network allows.
func TestLink(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc("alice", "bob")
	doc.MaxHops = 2
	g := ledgertest.Genesis(t, doc)
	bob := p2ptest.Start(t, g, "bob", p2p.Options{})
	alice := p2ptest.Start(t, g, "alice", p2p.Options{Links: []peer.AddrInfo{bob.Info()}, Alone: true})
	nodes := []*p2ptest.Node{alice, bob}
	for i := range 10 {
		alice.Put(t, i)
	}
	p2ptest.Agree(t, nodes, 10)
	p2ptest.WaitFor(t, "the link to have sent all", nodes, func() bool {
		l := alice.Links()[0]
		return l.Connected && l.Pending == 0
	})
	for e, err := range bob.Store.Stored(t.Context(), ledgertest.Origin("alice"), 0, 10) {
		must(t, err)
		if e.Hops != 1 {
			t.Errorf("entry %d came after %d hops", e.Header.Seq, e.Hops)
		}
	}
}

// TestBadSignatureInside: a range whose inner signature is bad is taken by hashing, found out
// afterwards, and is evidence against its origin everywhere.
func TestBadSignatureInside(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("mallory", "alice", "bob"))
	log := &ledger.Log{Origin: ledgertest.Origin("mallory")}
	var entries []*ledger.Entry
	for i := range 6 {
		e, err := log.Sign(g, ledgertest.Key("mallory"), ledgertest.Draft(t, g, "vote", i), nil, 0, nil)
		must(t, err)
		if i == 2 {
			raw := e.Append(nil)
			at := bytes.Index(raw, e.Signature[:])
			raw[at] ^= 1
			e, err = ledger.DecodeEntry(raw)
			must(t, err)
		}
		log.Advance(e)
		entries = append(entries, e)
	}
	alice := p2ptest.Start(t, g, "alice", p2p.Options{})
	bob := p2ptest.Start(t, g, "bob", p2p.Options{Peers: []peer.AddrInfo{alice.Info()}})
	_, err := alice.Store.IngestRange(ctx, entries)
	must(t, err)
	alice.VerifySoon()
	nodes := []*p2ptest.Node{alice, bob}
	p2ptest.WaitFor(t, "evidence on both", nodes, func() bool {
		for _, n := range nodes {
			ev := n.Store.EvidenceOf(ledgertest.Origin("mallory"))
			if ev == nil || ev.Seq() != 2 {
				return false
			}
		}
		return true
	})
	p2ptest.Agree(t, nodes, 2)
}

// TestTwoBadSignatures: the check of signatures that finds a bad one goes on to those of others.
func TestTwoBadSignatures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := simulated(t, 0)
		synctest.Wait() // until what is checked at the start is
		for _, name := range []string{"bob", "carol"} {
			log := &ledger.Log{Origin: ledgertest.Origin(name)}
			var entries []*ledger.Entry
			for i := range 3 {
				e := ledgertest.Sign(t, h.genesis, name, log, len(name)*10+i)
				if i == 1 {
					e = p2ptest.Unsigned(t, e)
				}
				log.Advance(e)
				entries = append(entries, e)
			}
			_, err := h.victim.Store.IngestRange(t.Context(), entries)
			must(t, err)
		}
		h.victim.VerifySoon()
		p2ptest.WaitFor(t, "evidence against both", []*p2ptest.Node{h.victim}, func() bool {
			return len(h.victim.Store.Evidence()) == 2 && h.victim.Status().Unverified == 0
		})
	})
}

// TestSignedMeanwhile: an entry that comes by gossip while those before it are checked is not left
// unchecked.
func TestSignedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
		history := ledgertest.NewNetwork(t, g)
		for range 6 {
			history.Put("bob")
		}
		d := &meanwhile{Datastore: store.NewMemory()}
		s, _, err := store.Open(t.Context(), d, g, store.Options{Key: ledgertest.Key("alice")})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		alice := sim.Start(g, "alice", p2p.Options{Alone: true, Store: s})
		d.mu.Lock()
		d.do = func() { // when the range is read to be checked, which may be as soon as it is there
			_, err := s.Ingest(t.Context(), history.Entries[5])
			must(t, err)
		}
		d.mu.Unlock()
		_, err = s.IngestRange(t.Context(), history.Entries[:5])
		must(t, err)
		alice.VerifySoon()
		p2ptest.WaitFor(t, "all signatures to be checked", []*p2ptest.Node{alice}, func() bool {
			s := alice.Status()
			return s.Entries == 6 && s.Unverified == 0
		})
	})
}

// meanwhile does something the first time that entries are read.
type meanwhile struct {
	store.Datastore
	mu sync.Mutex
	do func()
}

func (d *meanwhile) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	if strings.HasPrefix(lower, "/e/") {
		d.mu.Lock()
		do := d.do
		d.do = nil
		d.mu.Unlock()
		if do != nil {
			do()
		}
	}
	return d.Datastore.Scan(ctx, lower, upper)
}
