package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// history is a ledger to which the entries of liars and honest parties come in a random order, and the
// evidence at random moments, not the best first.
type history struct {
	g        *ledger.Genesis
	s        *store.Store
	r        *rand.Rand
	all      map[ledger.Hash]*ledger.Entry
	left     []*ledger.Entry
	taken    map[ledger.Hash]bool
	evidence []*proof.Evidence // not added yet
	known    map[ledger.Hash]bool
}

func newHistory(t *testing.T, g *ledger.Genesis, r *rand.Rand, entries int) *history {
	h := &history{g: g, s: open(t, store.NewMemory(), g, ""), r: r,
		all: map[ledger.Hash]*ledger.Entry{}, taken: map[ledger.Hash]bool{}, known: map[ledger.Hash]bool{}}
	h.left = ledgertest.Forks(t, g, r, entries)
	for _, e := range h.left {
		h.all[e.Hash] = e
	}
	return h
}

// step lets something happen. It reports false when nothing more can.
func (h *history) step(t *testing.T) bool {
	switch n := h.r.IntN(20); {
	case n == 0 && len(h.evidence) > 0, len(h.left) == 0 && len(h.evidence) > 0:
		h.accuse(t)
		return true
	case n == 1:
		must(t, h.s.VerifySignatures(t.Context(), nil))
		return true
	}
	if len(h.left) == 0 {
		return false
	}
	first := h.r.IntN(min(len(h.left), 8))
	for i := first; i < len(h.left); i++ {
		if h.take(t, h.left[i]) {
			h.left = slices.Delete(h.left, i, i+1)
			return true
		}
	}
	if first == 0 { // all wait for evidence
		h.accuse(t)
	}
	return true
}

func (h *history) accuse(t *testing.T) {
	i := h.r.IntN(len(h.evidence))
	_, err := h.s.AddEvidence(t.Context(), h.evidence[i])
	must(t, err)
	h.evidence = slices.Delete(h.evidence, i, i+1)
}

// take reports whether the ledger has an entry now. It waits for what the entry names, and for evidence
// if the ledger has another entry in its place.
func (h *history) take(t *testing.T, e *ledger.Entry) bool {
	if slices.ContainsFunc(names(e), func(hash ledger.Hash) bool { return !h.taken[hash] }) {
		return false
	}
	var err error
	if h.r.IntN(2) == 0 && !h.s.Disputed(store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}) {
		_, err = h.s.IngestRange(t.Context(), []*ledger.Entry{e})
	} else {
		_, err = h.s.IngestDisputed(t.Context(), e)
	}
	var fork *store.ForkError
	if errors.As(err, &fork) {
		ev, err := proof.Fork(h.g, fork.Held, fork.Other)
		must(t, err)
		if !h.known[ev.ID()] {
			h.known[ev.ID()] = true
			h.evidence = append(h.evidence, ev)
		}
		return false
	}
	must(t, err)
	h.taken[e.Hash] = true
	return true
}

// covered works out what the ledger covers, from its logs and its evidence alone, and what of that is disputed.
func (h *history) covered(t *testing.T) map[ledger.Hash]bool {
	is := map[ledger.Hash]bool{}
	var todo []ledger.Hash
	disputed := func(e *ledger.Entry) bool {
		ev := h.s.EvidenceOf(e.Header.Origin)
		return ev != nil && e.Header.Seq >= ev.Seq()
	}
	for _, log := range h.s.Logs() {
		for e, err := range h.s.Log(t.Context(), log.Origin, 0, log.Seq+1) {
			must(t, err)
			if !disputed(e) {
				todo = append(todo, e.Hash)
			}
		}
	}
	for len(todo) > 0 {
		e := h.all[todo[0]]
		todo = todo[1:]
		if _, ok := is[e.Hash]; ok {
			continue
		}
		is[e.Hash] = disputed(e)
		todo = append(todo, names(e)...)
	}
	return is
}

// names returns the hashes of what an entry names.
func names(e *ledger.Entry) (hashes []ledger.Hash) {
	if e.Header.Seq > 0 {
		hashes = append(hashes, e.Header.Prev)
	}
	for _, c := range e.Header.Seen {
		hashes = append(hashes, c.Hash)
	}
	return hashes
}

// consumer is fed with differences.
type consumer struct {
	held *store.Held
	has  map[ledger.Hash]store.Ref
}

func (c *consumer) clone() *consumer { return &consumer{c.held, maps.Clone(c.has)} }

// follow goes on to another moment.
func (c *consumer) follow(t *testing.T, s *store.Store, next *store.Held) (added, gone int) {
	t.Helper()
	if c.held != nil {
		for e, err := range s.Gone(t.Context(), c.held, next) {
			must(t, err)
			ref := store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}
			if c.has[e.Hash] != ref {
				t.Fatalf("entry %v is gone, which was not there", ref)
			}
			if want := c.held.Disputed(ref); e.Disputed != want {
				t.Errorf("gone entry %v: disputed is %v, want %v", ref, e.Disputed, want)
			}
			delete(c.has, e.Hash)
			gone++
		}
	}
	var before *ledger.Entry
	for e, err := range s.Added(t.Context(), c.held, next) {
		must(t, err)
		ref := store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}
		if _, ok := c.has[e.Hash]; ok {
			t.Fatalf("entry %v is added, which was there", ref)
		}
		if before != nil && ledger.CompareCanonical(before, e.Entry) >= 0 {
			t.Errorf("entry %v is not in canonical order", ref)
		}
		for _, hash := range names(e.Entry) {
			if _, ok := c.has[hash]; !ok {
				t.Fatalf("entry %v comes before one that it names", ref)
			}
		}
		if e.Disputed != next.Disputed(ref) || e.Verified && (e.Disputed || ref.Seq >= next.Verified(ref.Origin)) {
			t.Errorf("entry %v: disputed %v, verified %v", ref, e.Disputed, e.Verified)
		}
		c.has[e.Hash], before = ref, e.Entry
		added++
	}
	c.held = next
	return added, gone
}

// flags returns what the consumer has, and what of that is disputed.
func (c *consumer) flags() map[ledger.Hash]bool {
	is := map[ledger.Hash]bool{}
	for hash, ref := range c.has {
		is[hash] = c.held.Disputed(ref)
	}
	return is
}

// TestDifferences: whoever is fed with what differs from one moment to the next has what he would have
// had from scratch, and that is what entries and evidence make it.
func TestDifferences(t *testing.T) {
	t.Parallel()
	closed := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "mallory", "trudy"))
	doc := ledgertest.Doc()
	doc.Open = true
	public := ledgertest.Genesis(t, doc)
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed/2, 7))
			h := newHistory(t, []*ledger.Genesis{closed, public}[seed%2], r, 80)
			fed := &consumer{has: map[ledger.Hash]store.Ref{}}
			var moments []*consumer
			gone, disputed := 0, 0
			for more := true; more; {
				more = h.step(t)
				if more && r.IntN(6) > 0 {
					continue
				}
				held := h.s.Held()
				_, n := fed.follow(t, h.s, held)
				gone += n
				scratch := &consumer{has: map[ledger.Hash]store.Ref{}}
				scratch.follow(t, h.s, held)
				if !maps.Equal(fed.has, scratch.has) {
					t.Fatalf("fed with differences it has %d entries, from scratch %d", len(fed.has), len(scratch.has))
				}
				want := h.covered(t)
				if is := fed.flags(); !maps.Equal(is, want) {
					t.Fatalf("it has %d entries, the ledger covers %d", len(is), len(want))
				}
				for _, is := range want {
					if is {
						disputed++
					}
				}
				for _, log := range h.s.Logs() {
					o := log.Origin
					if held.Undisputed(o) != log.Undisputed || held.Verified(o) != min(log.Verified, log.Undisputed) || held.Evidence(o) != h.s.EvidenceOf(o) {
						t.Fatalf("log of %v: %d undisputed entries, %d verified, %v; the ledger says %+v",
							o, held.Undisputed(o), held.Verified(o), held.Evidence(o), log)
					}
				}
				moments = append(moments, fed.clone())
			}
			if disputed == 0 {
				t.Error("no undisputed entry led to a disputed one")
			}
			t.Logf("%d moments, %d entries went", len(moments), gone)
			for range 20 { // moments may lie apart, and be long past
				i, j := r.IntN(len(moments)), r.IntN(len(moments))
				from, to := moments[min(i, j)].clone(), moments[max(i, j)]
				from.follow(t, h.s, to.held)
				if !maps.Equal(from.has, to.has) {
					t.Fatalf("from moment %d to %d: %d entries, want %d", min(i, j), max(i, j), len(from.has), len(to.has))
				}
			}
		})
	}
}

// TestNoDifference reads nothing if nothing has changed, and only what is new if little has.
func TestNoDifference(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory"))
	d := &gated{Datastore: store.NewMemory()}
	s := open(t, d, g, "alice")
	appendMany(t, g, s, 0, 500)
	older := s.Held()
	appendMany(t, g, s, 500, 503)
	before := d.scanned.Load()
	for _, c := range []struct {
		older, newer *store.Held
		want         int
	}{{older, older, 0}, {older, s.Held(), 3}} {
		c2 := &consumer{held: c.older, has: map[ledger.Hash]store.Ref{}}
		n := 0
		for _, err := range s.Added(t.Context(), c2.held, c.newer) {
			must(t, err)
			n++
		}
		if n != c.want {
			t.Errorf("%d entries are added, want %d", n, c.want)
		}
	}
	if read := d.scanned.Load() - before; read > 3 {
		t.Errorf("%d entries were read, 3 are new", read)
	}
}
