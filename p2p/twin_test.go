package p2p_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestTwins: two nodes run with one key, and both hear of it by a third before either has signed. A restart is no twin.
func TestTwins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
		bob := sim.Start(g, "bob", p2p.Options{})
		one := sim.Start(g, "alice", p2p.Options{})
		for range 3 {
			must(t, one.Host().Connect(t.Context(), bob.Info()))
			time.Sleep(30 * time.Second)
			must(t, one.Close())
			one = sim.Start(g, "alice", p2p.Options{Store: one.Store})
		}
		must(t, one.Host().Connect(t.Context(), bob.Info()))
		time.Sleep(time.Minute)
		if twin := one.Status().Twin; twin != "" {
			t.Fatalf("a node that was restarted is told of a twin by %v", twin)
		}
		two := p2ptest.Start(t, g, "alice", p2p.Options{Host: sim.Host("copy", ledgertest.Key("alice"))})
		must(t, two.Host().Connect(t.Context(), bob.Info()))
		nodes := []*p2ptest.Node{one, two}
		p2ptest.WaitFor(t, "both to hear of it", nodes, func() bool {
			return one.Status().Twin == bob.Host().ID() && two.Status().Twin == bob.Host().ID()
		})
		if one.Store.OwnLog().Signed+two.Store.OwnLog().Signed > 0 {
			t.Error("one of them has signed")
		}
		must(t, two.Close())
		time.Sleep(3 * time.Minute)
		if twin := one.Status().Twin; twin != "" {
			t.Errorf("the other has stopped, and it is still spoken of by %v", twin)
		}
	})
}
