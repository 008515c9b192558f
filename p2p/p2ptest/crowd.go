package p2ptest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

// Crowd is any number of strangers in an open network. None of them is a node, or known to anybody: each has a key of its own,
// writes a few entries, which cite those of others, and has them pushed by one host for all.
type Crowd struct {
	Host    host.Host
	Entries int // that honest strangers have written

	tb      testing.TB
	genesis *ledger.Genesis
	rand    *rand.Rand
	drafts  []*ledger.Draft // records that each may write once
	logs    []*stranger
	liars   int
}

type stranger struct {
	name string
	log  ledger.Log
	head ledger.Citation
}

// mostOfOne is how many entries a stranger writes at most.
const mostOfOne = 4

// NewCrowd makes a crowd of nobody.
func NewCrowd(tb testing.TB, g *ledger.Genesis, h host.Host, seed uint64) *Crowd {
	c := &Crowd{Host: h, tb: tb, genesis: g, rand: rand.New(rand.NewPCG(seed, 3))}
	for i := range mostOfOne + 1 {
		c.drafts = append(c.drafts, ledgertest.Draft(tb, g, "vote", 900_000_000+int(seed)*10+i))
	}
	return c
}

// Strangers returns how many there are, liars among them.
func (c *Crowd) Strangers() int { return len(c.logs) + c.liars }

// Write lets new strangers, and some that have written before, write entries, one each, in an order that respects causality.
func (c *Crowd) Write(entries int) (list []*ledger.Entry) {
	for range entries {
		s := new(stranger)
		if len(c.logs) > 0 && c.rand.IntN(4) == 0 {
			s = c.logs[c.rand.IntN(len(c.logs))]
		}
		if s.log.Size() == mostOfOne {
			continue
		}
		if s.log.Size() == 0 {
			s.name = fmt.Sprint("stranger ", c.drafts[0].Hash, len(c.logs))
			s.log.Origin = ledgertest.Origin(s.name)
			c.logs = append(c.logs, s)
		}
		e := c.sign(s, &s.log, c.drafts[s.log.Size()])
		s.log.Advance(e)
		s.head = e.Citation()
		list = append(list, e)
	}
	c.Entries += len(list)
	return list
}

func (c *Crowd) sign(s *stranger, log *ledger.Log, d *ledger.Draft) *ledger.Entry {
	var seen []ledger.Citation
	for range 2 {
		other := c.logs[c.rand.IntN(max(1, len(c.logs)))]
		if other != s && other.log.Size() > 0 && (len(seen) == 0 || seen[0].Origin != other.log.Origin) {
			seen = append(seen, other.head)
		}
	}
	e, err := log.Sign(c.genesis, ledgertest.Key(s.name), d, seen, int64(c.rand.Uint32()), nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	return e
}

// Fork lets a new stranger write entries, of which the last has another one in its place.
func (c *Crowd) Fork(common int) (one, other []*ledger.Entry) {
	c.liars++
	s := &stranger{name: fmt.Sprint("liar ", c.drafts[0].Hash, c.liars)}
	s.log.Origin = ledgertest.Origin(s.name)
	for i := range common {
		e := c.sign(s, &s.log, c.drafts[i])
		s.log.Advance(e)
		one = append(one, e)
	}
	other = append(one[:common:common], c.sign(s, &s.log, c.drafts[common]))
	return append(one, c.sign(s, &s.log, c.drafts[common+1])), other
}

// Push sends entries to a node over the link protocol, and reports whether it took them all. What it refuses, or cannot be
// reached for, it misses.
func (c *Crowd) Push(to *Node, entries ...*ledger.Entry) bool {
	took := 0
	err := push(c.tb, c.Host, to, entries, func(*ledger.Entry) { took++ })
	return err == nil && took == len(entries)
}
