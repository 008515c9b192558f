package ledgertest

import (
	"math/rand/v2"
	"testing"

	"pyvnode/ledger"
)

// Forks makes count entries by alice and bob, who are honest, and mallory and trudy, who fork their logs, in an order in
// which each comes after those it names. They cite each other, and of the liars any branch.
func Forks(tb testing.TB, g *ledger.Genesis, r *rand.Rand, count int) (entries []*ledger.Entry) {
	tb.Helper()
	type tip struct {
		log  *ledger.Log
		head *ledger.Entry
	}
	tips := map[string][]*tip{}
	parties := []string{"alice", "bob", "mallory", "trudy"}
	for _, p := range parties {
		tips[p] = []*tip{{log: &ledger.Log{Origin: Origin(p)}}}
	}
	for n := range count {
		who := r.IntN(len(parties))
		p := parties[who]
		at := tips[p][r.IntN(len(tips[p]))]
		if who >= 2 && len(tips[p]) < 4 && r.IntN(5) == 0 { // from here on two branches
			at = &tip{log: at.log.Clone(), head: at.head}
			tips[p] = append(tips[p], at)
		}
		var seen []ledger.Citation
		for _, other := range parties {
			if is := tips[other][r.IntN(len(tips[other]))]; other != p && is.head != nil && r.IntN(3) == 0 {
				seen = append(seen, is.head.Citation())
			}
		}
		e := Sign(tb, g, p, at.log, n+1, seen...)
		at.log.Advance(e)
		at.head = e
		entries = append(entries, e)
	}
	return entries
}
