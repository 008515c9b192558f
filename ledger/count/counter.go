package count

import (
	"cmp"
	"slices"

	"pyvnode/ledger"
)

// Rules are the cosigners of a network, and how many of them back and confirm.
type Rules struct {
	Cosigners []ledger.Origin
	Quorum    int // more than half of them; 0 if nobody cosigns, and then nothing is backed
}

// RulesOf returns the rules that a genesis document lays down.
func RulesOf(g *ledger.Genesis) Rules { return Rules{Cosigners: g.Cosigners, Quorum: g.Quorum} }

// Liars returns how many lying cosigners the rules withstand, and how many may be away.
func (r Rules) Liars() (liars, away int) {
	n := len(r.Cosigners)
	if n == 0 {
		return 0, 0
	}
	return 2*r.Quorum - n - 1, n - r.Quorum
}

// Counter counts what is backed and confirmed in a domain, which grows entry by entry. It belongs to one goroutine.
type Counter struct {
	g      *Graph
	rules  Rules
	number map[ledger.Origin]int // of cosigners
	counts func(ID) bool         // whether the citations of a cosigner's entry count; nil means always

	domain Set
	whole  coverage // of the domain
	pasts  []past   // of each cosigner

	best      [][]uint64 // by cosigner and chain: what is backed in the past of one of its sound entries
	confirmed []uint64   // by chain: the k-th greatest of them
}

// past is what a cosigner had seen when it wrote an entry.
type past struct {
	set   Set
	cover coverage
	side  map[uint32]ID // the newest sound entries of its other chains, of which the past is still to be looked at
}

// NewCounter returns a counter of an empty domain. Of each cosigner's entries only those that counts reports count as
// vouching for what they cite, and for their own log; nil means all.
func NewCounter(g *Graph, rules Rules, counts func(ID) bool) *Counter {
	n := len(rules.Cosigners)
	c := &Counter{g: g, rules: rules, number: make(map[ledger.Origin]int, n), counts: counts,
		whole: coverage{n: n, k: rules.Quorum}, pasts: make([]past, n), best: make([][]uint64, n)}
	for i, o := range rules.Cosigners {
		c.number[o] = i
		c.pasts[i] = past{cover: coverage{n: n, k: rules.Quorum}, side: map[uint32]ID{}}
	}
	return c
}

// coverage says how far cosigners vouch for chains, in a domain. Sequence numbers are one more than those of the newest
// entry, so 0 is nothing.
type coverage struct {
	n, k   int
	to     []uint64 // by chain and cosigner
	backed []uint64 // by chain: the k-th greatest
}

// grow makes room for a chain.
func (v *coverage) grow(chain uint32) {
	if int(chain) >= len(v.backed) {
		more := int(chain) + 1 - len(v.backed)
		v.backed = append(v.backed, make([]uint64, more)...)
		v.to = append(v.to, make([]uint64, more*v.n)...)
	}
}

// of returns how far each cosigner vouches for a chain.
func (v *coverage) of(chain uint32) []uint64 {
	if int(chain) >= len(v.backed) {
		return nil
	}
	return v.to[int(chain)*v.n : (int(chain)+1)*v.n]
}

func (v *coverage) backedTo(chain uint32) uint64 {
	if int(chain) >= len(v.backed) {
		return 0
	}
	return v.backed[chain]
}

// vouch notes that a cosigner vouches for an entry and its predecessors, and calls changed for each chain of which more is
// backed now.
func (v *coverage) vouch(g *Graph, cosigner int, id ID, changed func(chain uint32)) {
	for id != none {
		chain := g.entries[id].chain
		v.grow(chain)
		to := v.of(chain)
		if to[cosigner] > g.entries[id].seq {
			return
		}
		to[cosigner] = g.entries[id].seq + 1
		if backed := kth(to, v.k); backed > v.backed[chain] {
			v.backed[chain] = backed
			if changed != nil {
				changed(chain)
			}
		}
		id = g.chains[chain].parent
	}
}

// kth returns the k-th greatest of some numbers; 0 if k is 0.
func kth(numbers []uint64, k int) uint64 {
	if k == 0 {
		return 0
	}
	var few [32]uint64
	sorted := append(few[:0], numbers...)
	slices.SortFunc(sorted, func(a, b uint64) int { return cmp.Compare(b, a) })
	return sorted[k-1]
}

// Add adds an entry to the domain, after all that it names. One that is there already changes nothing.
func (c *Counter) Add(id ID) {
	if !c.domain.add(id) {
		return
	}
	i, ok := c.vouches(id)
	if !ok {
		return
	}
	c.vouchAll(&c.whole, i, id, nil)
	p := &c.pasts[i]
	if n := c.g.entries[id].chain; n != c.g.logs[c.g.chains[n].log].chains[0] {
		p.side[n] = id
		return
	}
	c.see(p, id, func(chain uint32) { c.raise(i, chain, p.cover.backed[chain]) })
}

// AddAll adds all entries of a set.
func (c *Counter) AddAll(s *Set) {
	for id := range s.All() {
		c.Add(id)
	}
}

// vouches returns the number of the cosigner whose sound entry this is; ok is false if it is none or does not count.
func (c *Counter) vouches(id ID) (cosigner int, ok bool) {
	if len(c.number) == 0 || !c.g.entries[id].sound {
		return 0, false
	}
	i, ok := c.number[c.g.logs[c.g.logOf(id)].origin]
	return i, ok && (c.counts == nil || c.counts(id))
}

func (c *Counter) vouchAll(v *coverage, cosigner int, id ID, changed func(uint32)) {
	v.vouch(c.g, cosigner, id, changed)
	for _, cited := range c.g.Seen(id) {
		v.vouch(c.g, cosigner, cited, changed)
	}
}

// see adds an entry and its past to a past.
func (c *Counter) see(p *past, id ID, changed func(chain uint32)) {
	c.g.addPast(&p.set, id, func(id ID) {
		if i, ok := c.vouches(id); ok {
			c.vouchAll(&p.cover, i, id, changed)
		}
	})
}

// raise notes what is backed of a chain in the past of a cosigner's entry.
func (c *Counter) raise(cosigner int, chain uint32, to uint64) {
	best := c.best[cosigner]
	if int(chain) >= len(best) {
		best = append(best, make([]uint64, int(chain)+1-len(best))...)
		c.best[cosigner] = best
	}
	if to <= best[chain] {
		return
	}
	best[chain] = to
	if int(chain) >= len(c.confirmed) {
		c.confirmed = append(c.confirmed, make([]uint64, int(chain)+1-len(c.confirmed))...)
	}
	var few [32]uint64
	all := few[:0]
	for i := range c.best {
		if int(chain) < len(c.best[i]) {
			all = append(all, c.best[i][chain])
		} else {
			all = append(all, 0)
		}
	}
	c.confirmed[chain] = kth(all, c.rules.Quorum)
}

// settle looks at the pasts of entries on the branches that a cosigner made when it forked its log. There are none while
// cosigners are honest; each costs its whole past.
func (c *Counter) settle() {
	for i := range c.pasts {
		for n, id := range c.pasts[i].side {
			delete(c.pasts[i].side, n)
			p := past{cover: coverage{n: len(c.rules.Cosigners), k: c.rules.Quorum}}
			c.see(&p, id, nil)
			for chain, to := range p.cover.backed {
				c.raise(i, uint32(chain), to)
			}
		}
	}
}

// Standing says how far others vouch for an entry.
type Standing struct {
	Sound     bool
	Backers   int // how many cosigners vouch for it
	Backed    bool
	Confirmed bool
}

// Standing returns how an entry of the domain stands.
func (c *Counter) Standing(id ID) Standing {
	var s Standing
	e := &c.g.entries[id]
	if s.Sound = e.sound; !s.Sound || !c.domain.Has(id) {
		return s
	}
	c.settle()
	for _, to := range c.whole.of(e.chain) {
		if to > e.seq {
			s.Backers++
		}
	}
	s.Backed = c.whole.backedTo(e.chain) > e.seq
	s.Confirmed = int(e.chain) < len(c.confirmed) && c.confirmed[e.chain] > e.seq
	return s
}

// Reach says how far a chain of a log is vouched for: how many of its entries from the first on.
type Reach struct {
	Entries, Backed, Confirmed uint64
}

// Reach returns how far the main chain of a log is vouched for: that of which entries were added first.
func (c *Counter) Reach(o ledger.Origin) Reach {
	n, ok := c.g.byName[o]
	if !ok {
		return Reach{}
	}
	c.settle()
	first := c.g.logs[n].chains[0]
	sound := c.g.chains[first].sound
	r := Reach{Entries: c.g.chains[first].end, Backed: min(c.whole.backedTo(first), sound)}
	if int(first) < len(c.confirmed) {
		r.Confirmed = min(c.confirmed[first], sound)
	}
	return r
}

// Vouched returns how many entries of a log's main chain a cosigner vouches for.
func (c *Counter) Vouched(cosigner, o ledger.Origin) uint64 {
	i, is := c.number[cosigner]
	n, ok := c.g.byName[o]
	if !is || !ok {
		return 0
	}
	to := c.whole.of(c.g.logs[n].chains[0])
	if to == nil {
		return 0
	}
	return to[i]
}

// Alarm says that two entries of one log are backed of which neither precedes the other: more cosigners lied than the
// network withstands.
type Alarm struct {
	Origin ledger.Origin
	A, B   ID              // the newest backed entries of two branches
	Both   []ledger.Origin // the cosigners that vouch for both, in the order of the genesis document
}

// Alarms returns an alarm for every two branches of a log that are both backed.
func (c *Counter) Alarms() []Alarm {
	var all []Alarm
	for i := range c.g.logs {
		l := &c.g.logs[i]
		if len(l.chains) == 1 {
			continue
		}
		var backed []ID // the newest backed entry of each chain that has one of its own
		for _, n := range l.chains {
			if id, ok := c.newestBacked(n); ok {
				backed = append(backed, id)
			}
		}
		for i, a := range backed {
			for _, b := range backed[:i] {
				if !c.g.precedes(a, b) && !c.g.precedes(b, a) {
					all = append(all, Alarm{Origin: l.origin, A: b, B: a, Both: c.both(a, b)})
				}
			}
		}
	}
	return all
}

// newestBacked returns the newest backed entry that stands in a chain itself.
func (c *Counter) newestBacked(n uint32) (ID, bool) {
	ch := &c.g.chains[n]
	to, from := min(c.whole.backedTo(n), ch.sound), uint64(0)
	if ch.parent != none {
		from = c.g.entries[ch.parent].seq + 1
	}
	if to <= from {
		return 0, false
	}
	id := ch.tail
	for c.g.entries[id].seq+1 > to {
		id = c.g.entries[id].prev
	}
	return id, true
}

// precedes reports whether an entry is another one or among its predecessors.
func (g *Graph) precedes(a, b ID) bool {
	for g.entries[a].chain != g.entries[b].chain {
		if b = g.chains[g.entries[b].chain].parent; b == none {
			return false
		}
	}
	return g.entries[a].seq <= g.entries[b].seq
}

func (c *Counter) both(a, b ID) []ledger.Origin {
	var list []ledger.Origin
	va, vb := c.whole.of(c.g.entries[a].chain), c.whole.of(c.g.entries[b].chain)
	for i, o := range c.rules.Cosigners {
		if va[i] > c.g.entries[a].seq && vb[i] > c.g.entries[b].seq {
			list = append(list, o)
		}
	}
	return list
}
