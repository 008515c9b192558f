package p2p_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
)

// TestOutcome: what becomes of an entry does not depend on whether it comes by gossip or over a
// link.
func TestOutcome(t *testing.T) {
	t.Parallel()
	type outcome struct {
		Came    p2p.Came // by the way in question
		Entries uint64
		Parked  int
		Frozen  int
		Signing p2p.SigningState
	}
	ready := p2p.SigningReady
	for _, c := range []struct {
		name string
		held func(one, other []*ledger.Entry) []*ledger.Entry // before, over another link
		sent func(one, other, own []*ledger.Entry) *ledger.Entry
		want outcome
	}{
		{"news", none, func(one, _, _ []*ledger.Entry) *ledger.Entry { return one[0] },
			outcome{Came: p2p.Came{New: 1}, Entries: 1, Signing: ready}},
		{"held", two, func(one, _, _ []*ledger.Entry) *ledger.Entry { return one[1] },
			outcome{Came: p2p.Came{Held: 1}, Entries: 2, Signing: ready}},
		{"beyond the end", two, func(one, _, _ []*ledger.Entry) *ledger.Entry { return one[3] },
			outcome{Entries: 2, Parked: 1, Signing: ready}},
		{"another first entry", two, func(_, other, _ []*ledger.Entry) *ledger.Entry { return other[0] },
			outcome{Frozen: 1, Signing: ready}},
		{"another last entry", two, func(_, other, _ []*ledger.Entry) *ledger.Entry { return other[1] },
			outcome{Entries: 1, Frozen: 1, Signing: ready}},
		{"the next on another branch", two, func(_, other, _ []*ledger.Entry) *ledger.Entry { return other[2] },
			outcome{Entries: 1, Frozen: 1, Signing: ready}},
		{"disputed", func(one, other []*ledger.Entry) []*ledger.Entry { return []*ledger.Entry{one[0], one[1], other[1]} },
			func(one, _, _ []*ledger.Entry) *ledger.Entry { return one[2] },
			outcome{Entries: 1, Frozen: 1, Signing: ready}},
		{"its own, and not here", none, func(_, _, own []*ledger.Entry) *ledger.Entry { return own[2] },
			outcome{Parked: 1, Signing: p2p.SigningBehind}},
	} {
		for _, way := range []string{"gossip", "link"} {
			t.Run(c.name+" by "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, sim := simulated(t, 0)
					history := func(origin string, from int) []*ledger.Entry {
						n := ledgertest.NewNetwork(t, h.genesis)
						for i := range 4 {
							n.PutDraft(origin, ledgertest.Draft(t, h.genesis, "vote", from+i))
						}
						return n.Entries
					}
					one, other, own := history("carol", 0), history("carol", 100), history("alice", 200)
					a := h.simAttacker(t, sim, "mallory")
					_, f := a.open(t, p2p.LinkProtocolID)
					over := func(e *ledger.Entry) {
						must(t, f.Send(p2p.FramePush, e.Append([]byte{1})))
						time.Sleep(time.Second)
					}
					publish := a.gossips(t, "entries")
					for _, e := range c.held(one, other) {
						over(e)
					}
					before := h.victim.Status().Received
					came := func() p2p.Came {
						r := h.victim.Status().Received
						if way == "gossip" {
							return r.Gossip
						}
						return p2p.Came{New: r.Links.New - before.Links.New, Held: r.Links.Held - before.Links.Held}
					}
					if e := c.sent(one, other, own); way == "gossip" {
						publish(p2p.Run(e))
					} else {
						over(e)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					s := h.victim.Status()
					if got := (outcome{came(), s.Entries, s.Parked, s.Frozen, s.Signing}); got != c.want {
						t.Errorf("it ended as %+v instead of %+v", got, c.want)
					}
				})
			})
		}
	}
}

func none(_, _ []*ledger.Entry) []*ledger.Entry { return nil }

func two(one, _ []*ledger.Entry) []*ledger.Entry { return one[:2] }
