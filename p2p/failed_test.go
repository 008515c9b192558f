package p2p_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// fullDisk is a datastore that takes nothing more once it is full.
type fullDisk struct {
	store.Datastore
	full atomic.Bool
}

func (d *fullDisk) Batch(ctx context.Context) (ds.Batch, error) {
	if d.full.Load() {
		return nil, errors.New("no space left on the test's disk")
	}
	return d.Datastore.Batch(ctx)
}

// TestFullDisk: a node whose ledger stopped writing pulls nothing any more, says why, and holds it against nobody.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := p2ptest.NewSim(t, 1)
		t.Cleanup(sim.Close)
		g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
		history := aliceSigned(t, g, 10)
		disk := &fullDisk{Datastore: store.NewMemory()}
		s, _, err := store.Open(t.Context(), disk, g, store.Options{Key: ledgertest.Key("bob")})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		bob := sim.Start(g, "bob", p2p.Options{Store: s, Alone: true})
		bob.Put(t, 1)
		disk.full.Store(true)
		if _, err := bob.Append(t.Context(), ledgertest.Draft(t, g, "vote", 2)); !errors.Is(err, store.ErrFailed) {
			t.Fatalf("a put on a full disk: %v", err)
		}
		a := (&hostile{genesis: g, victim: bob}).simAttacker(t, sim, "alice")
		a.rows = ledger.Frontier{{Citation: history.Entries[9].Citation()}}
		a.serves()
		a.connect(t)
		a.wasAsked(t, p2p.FrameHave, 3)
		for len(a.asked) > 0 {
			if kind := <-a.asked; kind == p2p.FramePull {
				t.Fatal("it pulls what it cannot keep")
			}
		}
		time.Sleep(time.Minute)
		if peers := bob.Peers(); len(peers) != 1 || !strings.Contains(peers[0].LastError, "no space left") {
			t.Errorf("it says of its peer: %+v", peers)
		}
	})
}
