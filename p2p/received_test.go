package p2p_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestReceived: what neighbours write comes by gossip, once, and what was there before comes when
// frontiers are compared.
func TestReceived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 9)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		alice, bob := sim.Start(g, "alice", p2p.Options{Alone: true}), sim.Start(g, "bob", p2p.Options{Alone: true})
		must(t, alice.Host().Connect(t.Context(), sim.Info("bob")))
		time.Sleep(5 * time.Second) // until gossip's mesh is there
		for i := range 3 {
			alice.Put(t, i)
			time.Sleep(time.Second)
		}
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, 3)
		carol := sim.Start(g, "carol", p2p.Options{Alone: true})
		must(t, carol.Host().Connect(t.Context(), sim.Info("bob")))
		p2ptest.Agree(t, []*p2ptest.Node{alice, bob, carol}, 3)
		synctest.Wait() // what is held is visible before it is counted
		for _, c := range []struct {
			node *p2ptest.Node
			want p2p.Received
		}{
			{alice, p2p.Received{}},
			{bob, p2p.Received{Gossip: p2p.Came{New: 3}}},
			{carol, p2p.Received{Sync: p2p.Came{New: 3}}},
		} {
			if got := c.node.Status().Received; got != c.want {
				t.Errorf("%s received %+v instead of %+v", c.node.Name, got, c.want)
			}
		}
	})
}

// TestReceivedParked: what waits for an entry that it names counts once, and by the way it came.
func TestReceivedParked(t *testing.T) {
	t.Parallel()
	waits := func(t *testing.T, h *hostile) {
		p2ptest.WaitFor(t, "something parked", []*p2ptest.Node{h.victim}, func() bool { return h.victim.Status().Parked > 0 })
	}
	for _, c := range []struct {
		name string
		send func(t *testing.T, h *hostile, a *attacker)
		want p2p.Received
	}{
		{"gossip", func(t *testing.T, h *hostile, a *attacker) {
			carol := h.history.Put("carol")
			publish := a.gossips(t, "entries")
			publish(p2p.Run(h.history.Put("bob"), h.history.Put("bob", "carol")))
			waits(t, h)
			publish(p2p.Run(carol))
		}, p2p.Received{Gossip: p2p.Came{New: 3}}},
		{"link", func(t *testing.T, h *hostile, a *attacker) {
			carol := h.history.Put("carol")
			_, f := a.open(t, p2p.LinkProtocolID)
			must(t, f.Send(p2p.FramePush, h.history.Put("bob", "carol").Append([]byte{1})))
			waits(t, h)
			must(t, f.Send(p2p.FramePush, carol.Append([]byte{1})))
		}, p2p.Received{Links: p2p.Came{New: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, sim := simulated(t, 0)
				c.send(t, h, h.simAttacker(t, sim, "mallory"))
				p2ptest.WaitFor(t, "all entries", []*p2ptest.Node{h.victim}, func() bool {
					return h.victim.Status().Entries == c.want.Gossip.New+c.want.Links.New
				})
				synctest.Wait()
				if got := h.victim.Status().Received; got != c.want {
					t.Errorf("received %+v instead of %+v", got, c.want)
				}
			})
		})
	}
}
