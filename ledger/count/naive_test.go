package count_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/count"
)

// history is a random history of cosigners and others, some of whom fork their logs and cite both branches, and some of
// whose entries are invalid.
type history struct {
	rules   count.Rules
	entries []count.Entry
	at      map[ledger.Hash]int
}

func origin(n int) ledger.Origin {
	var o ledger.Origin
	binary.BigEndian.PutUint64(o[:], uint64(n)+1)
	return o
}

// random makes a history of so many entries. Cosigners come first among the parties, and the first liars of them lie.
func random(r *rand.Rand, entries, cosigners, others, liars int) *history {
	h := &history{at: map[ledger.Hash]int{}}
	for i := range cosigners {
		h.rules.Cosigners = append(h.rules.Cosigners, origin(i))
	}
	if cosigners > 0 {
		h.rules.Quorum = cosigners/2 + 1 + r.IntN((cosigners+1)/2)
	}
	tips := make([][]int, cosigners+others) // entries that have no successor, of each party; -1 for the beginning
	for i := range tips {
		tips[i] = []int{-1}
	}
	cited := make([]map[int]int, cosigners+others) // of honest parties: the entry last cited of each log
	for len(h.entries) < entries {
		who := r.IntN(len(tips))
		lies := who < liars || who >= cosigners && r.IntN(3) == 0
		t := r.IntN(len(tips[who]))
		prev := tips[who][t]
		forks := lies && r.IntN(8) == 0
		if forks && len(h.entries) > 0 && prev >= 0 && r.IntN(2) == 0 { // from further back
			if e := h.entries[prev]; e.Seq > 0 {
				prev = h.at[e.Prev]
			} else {
				prev = -1
			}
		}
		e := count.Entry{Citation: ledger.Citation{Origin: origin(who)}, Valid: !lies || r.IntN(20) > 0}
		if prev >= 0 {
			e.Seq, e.Prev = h.entries[prev].Seq+1, h.entries[prev].Hash
		}
		if cited[who] == nil {
			cited[who] = map[int]int{}
		}
		for other := range tips {
			if other == who || r.IntN(3) > 0 {
				continue
			}
			tip := tips[other][r.IntN(len(tips[other]))]
			if tip < 0 {
				continue
			}
			if last, ok := cited[who][other]; ok && !lies && !h.precedes(last, tip) {
				continue // an honest party never cites two branches
			}
			if !lies {
				cited[who][other] = tip
			}
			e.Seen = append(e.Seen, h.entries[tip].Citation)
		}
		n := len(h.entries)
		binary.BigEndian.PutUint64(e.Hash[:], r.Uint64())
		h.entries, h.at[e.Hash] = append(h.entries, e), n
		if forks {
			tips[who] = append(tips[who], n)
		} else {
			tips[who][t] = n
		}
	}
	return h
}

func (h *history) prev(n int) (int, bool) {
	e := &h.entries[n]
	if e.Seq == 0 {
		return 0, false
	}
	return h.at[e.Prev], true
}

func (h *history) precedes(a, b int) bool {
	for ok := true; ok; b, ok = h.prev(b) {
		if a == b {
			return true
		}
	}
	return false
}

// What follows is the definitions, as they are written.

type domain map[int]bool

func (h *history) past(n int) domain {
	d := domain{}
	var add func(int)
	add = func(n int) {
		if d[n] {
			return
		}
		d[n] = true
		if p, ok := h.prev(n); ok {
			add(p)
		}
		for _, c := range h.entries[n].Seen {
			add(h.at[c.Hash])
		}
	}
	add(n)
	return d
}

func (h *history) sound(n int) bool {
	for ok := true; ok; n, ok = h.prev(n) {
		if !h.entries[n].Valid {
			return false
		}
	}
	return true
}

func (h *history) backers(x int, d domain) (cosigners map[ledger.Origin]bool) {
	cosigners = map[ledger.Origin]bool{}
	for n := range d {
		e := &h.entries[n]
		if !slices.Contains(h.rules.Cosigners, e.Origin) || !h.sound(n) {
			continue
		}
		if h.entries[x].Origin == e.Origin && h.precedes(x, n) {
			cosigners[e.Origin] = true
		}
		for _, c := range e.Seen {
			if h.precedes(x, h.at[c.Hash]) {
				cosigners[e.Origin] = true
			}
		}
	}
	return cosigners
}

func (h *history) backed(x int, d domain) bool {
	return h.rules.Quorum > 0 && h.sound(x) && len(h.backers(x, d)) >= h.rules.Quorum
}

func (h *history) confirmed(x int, d domain) bool {
	cosigners := map[ledger.Origin]bool{}
	for n := range d {
		if o := h.entries[n].Origin; slices.Contains(h.rules.Cosigners, o) && !cosigners[o] && h.sound(n) && h.backed(x, h.past(n)) {
			cosigners[o] = true
		}
	}
	return h.rules.Quorum > 0 && len(cosigners) >= h.rules.Quorum
}

// shuffled returns the entries in another order in which each comes after those it names.
func (h *history) shuffled(r *rand.Rand) []int {
	order, done := []int(nil), domain{}
	for len(order) < len(h.entries) {
		n := r.IntN(len(h.entries))
		ready := !done[n]
		if p, ok := h.prev(n); ok && !done[p] {
			ready = false
		}
		for _, c := range h.entries[n].Seen {
			ready = ready && done[h.at[c.Hash]]
		}
		if ready {
			done[n] = true
			order = append(order, n)
		}
	}
	return order
}

// TestCounterByDefinition compares the counter, which is fed entry by entry in any order, with the definitions: after some of the
// entries, after all, and in the past of one.
func TestCounterByDefinition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 13))
			h := random(r, 90, r.IntN(8), r.IntN(3)+1, r.IntN(3))
			g := count.NewGraph()
			live := count.NewCounter(g, h.rules, nil)
			ids := map[int]count.ID{}
			held := domain{}
			for fed, n := range h.shuffled(r) {
				id, err := g.Add(&h.entries[n])
				if err != nil {
					t.Fatal(err)
				}
				live.Add(id)
				ids[n], held[n] = id, true
				if fed%30 == 29 {
					h.compare(t, live, ids, held)
				}
			}
			h.compare(t, live, ids, held)
			for range 5 {
				n := r.IntN(len(h.entries))
				past := g.Past(ids[n])
				want := h.past(n)
				if past.Len() != len(want) {
					t.Fatalf("the past of %d has %d entries, want %d", n, past.Len(), len(want))
				}
				c := count.NewCounter(g, h.rules, nil)
				c.AddAll(past)
				h.compare(t, c, ids, want)
			}
		})
	}
}

// compare wants of every entry of a domain what the definitions say.
func (h *history) compare(t *testing.T, c *count.Counter, ids map[int]count.ID, d domain) {
	t.Helper()
	for n := range d {
		want := count.Standing{Sound: h.sound(n)}
		if want.Sound {
			want.Backers, want.Backed, want.Confirmed = len(h.backers(n, d)), h.backed(n, d), h.confirmed(n, d)
		}
		if got := c.Standing(ids[n]); got != want {
			t.Fatalf("entry %d (%d of %v): %+v, want %+v", n, h.entries[n].Seq, h.entries[n].Origin, got, want)
		}
	}
	alarms := map[[2]count.ID]bool{}
	for _, a := range c.Alarms() {
		alarms[[2]count.ID{a.A, a.B}], alarms[[2]count.ID{a.B, a.A}] = true, true
		if len(a.Both) < 2*h.rules.Quorum-len(h.rules.Cosigners) {
			t.Errorf("an alarm names %d cosigners, fewer than two quorums share", len(a.Both))
		}
	}
	conflict := false
	for a := range d {
		for b := range d {
			if a < b && h.entries[a].Origin == h.entries[b].Origin && h.backed(a, d) && h.backed(b, d) && !h.precedes(a, b) && !h.precedes(b, a) {
				conflict = true
			}
		}
	}
	if conflict != (len(alarms) > 0) {
		t.Errorf("alarms %v, and two branches backed: %v", alarms, conflict)
	}
}

// TestSafety: with at most f liars no two branches of a log are backed, and what an honest confirmer's past shows as backed is
// so in every domain that holds it.
func TestSafety(t *testing.T) {
	t.Parallel()
	backed := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 17))
		cosigners := 2 + r.IntN(6)
		h := random(r, 80, cosigners, 2, 0)
		liars, _ := h.rules.Liars()
		h = randomWith(r, h.rules, cosigners, liars)
		g := count.NewGraph()
		live := count.NewCounter(g, h.rules, nil)
		was := map[count.ID]bool{}
		for i := range h.entries {
			id, err := g.Add(&h.entries[i])
			if err != nil {
				t.Fatal(err)
			}
			live.Add(id)
			was[id] = false
			for id := range was {
				is := live.Standing(id)
				if was[id] && !is.Confirmed {
					t.Fatalf("seed %d: what was confirmed is not any more, in a larger domain", seed)
				}
				if is.Confirmed && !is.Backed {
					t.Fatalf("seed %d: confirmed and not backed", seed)
				}
				was[id] = is.Confirmed
				if is.Backed {
					backed++
				}
			}
		}
		if a := live.Alarms(); len(a) > 0 {
			t.Fatalf("seed %d: %d liars of %d, quorum %d, and an alarm: %v", seed, liars, cosigners, h.rules.Quorum, a)
		}
	}
	if backed == 0 {
		t.Error("nothing was ever backed")
	}
}

func randomWith(r *rand.Rand, rules count.Rules, cosigners, liars int) *history {
	h := random(r, 80, cosigners, 2, liars)
	h.rules = rules
	return h
}

// TestAlarm: with more liars than the rules withstand both branches are backed, and the alarm names who cited both.
func TestAlarm(t *testing.T) {
	t.Parallel()
	rules := count.Rules{Cosigners: []ledger.Origin{origin(0), origin(1), origin(2)}, Quorum: 2} // withstands none
	g := count.NewGraph()
	c := count.NewCounter(g, rules, nil)
	add := func(who int, seq uint64, hash byte, prev byte, seen ...count.Entry) count.Entry {
		e := count.Entry{Citation: ledger.Citation{Origin: origin(who), Seq: seq, Hash: ledger.Hash{hash}}, Valid: true}
		if seq > 0 {
			e.Prev = ledger.Hash{prev}
		}
		for _, s := range seen {
			e.Seen = append(e.Seen, s.Citation)
		}
		id, err := g.Add(&e)
		if err != nil {
			t.Fatal(err)
		}
		c.Add(id)
		return e
	}
	one, other := add(3, 0, 1, 0), add(3, 0, 2, 0)
	add(0, 0, 10, 0, one)
	add(1, 0, 11, 0, one, other) // who lies
	if len(c.Alarms()) > 0 {
		t.Fatal("an alarm for one backed branch")
	}
	add(2, 0, 12, 0, other)
	alarms := c.Alarms()
	if len(alarms) != 1 || len(alarms[0].Both) != 1 || alarms[0].Both[0] != origin(1) {
		t.Errorf("alarms: %+v", alarms)
	}
}
