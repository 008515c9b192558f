package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// fault is what happens to one write.
type fault int

const (
	failed          fault = iota // an error, and nothing is stored
	failedPersisted              // an error, and everything is stored
	failedSync                   // stored, but the sync fails
	torn                         // an error, and the first part is stored
)

var errDisk = errors.New("disk error of the test")

// faulty lets one commit of a datastore go wrong.
type faulty struct {
	store.Datastore
	fault fault
	at    int // which commit, from 0
	keep  int // of a torn write: how many keys are stored

	commits  int
	keys     int // of the faulty commit
	sync     bool
	happened bool
}

type faultyBatch struct {
	f   *faulty
	ops []pair
}

type pair struct {
	key   ds.Key
	value []byte
}

func (f *faulty) Batch(context.Context) (ds.Batch, error) { return &faultyBatch{f: f}, nil }

func (f *faulty) Sync(ctx context.Context, key ds.Key) error {
	if f.sync {
		return errDisk
	}
	return f.Datastore.Sync(ctx, key)
}

func (b *faultyBatch) Put(_ context.Context, key ds.Key, value []byte) error {
	b.ops = append(b.ops, pair{key, value})
	return nil
}

func (b *faultyBatch) Delete(context.Context, ds.Key) error { panic("a ledger deletes nothing") }

func (b *faultyBatch) Commit(ctx context.Context) error {
	f := b.f
	n, err := len(b.ops), error(nil)
	if f.commits == f.at {
		f.happened, f.keys, err = true, len(b.ops), errDisk
		switch f.fault {
		case failed:
			n = 0
		case torn:
			n = min(f.keep, len(b.ops))
		case failedSync:
			f.sync, err = true, nil
		}
	}
	f.commits++
	inner, ierr := f.Datastore.Batch(ctx)
	for _, op := range b.ops[:n] {
		ierr = errors.Join(ierr, inner.Put(ctx, op.key, op.value))
	}
	return errors.Join(err, ierr, inner.Commit(ctx))
}

// accused are those against whom workload has evidence: dave twice, of which the second is the lesser.
func accused(t testing.TB, g *ledger.Genesis) [2]*proof.Evidence {
	log := &ledger.Log{Origin: ledgertest.Origin("dave")}
	first, second := ledgertest.Sign(t, g, "dave", log, 2000), ledgertest.Sign(t, g, "dave", log, 2001)
	earlier, err := proof.Fork(g, first, second)
	must(t, err)
	log.Advance(first)
	later, err := proof.Fork(g, ledgertest.Sign(t, g, "dave", log, 2002), ledgertest.Sign(t, g, "dave", log, 2003))
	must(t, err)
	return [2]*proof.Evidence{later, earlier}
}

// workload writes own records and takes foreign ones and evidence, one after the other, and returns what was acknowledged.
func workload(t testing.TB, s *store.Store, n *ledgertest.Network) (acks []store.Ack, frontier ledger.Frontier) {
	ctx := context.Background()
	evidence := accused(t, n.Genesis)
	for i := range 4 {
		if i%2 == 1 {
			if _, err := s.AddEvidence(ctx, evidence[i/2]); err == nil {
				frontier = s.Frontier()
			} else if !errors.Is(err, store.ErrFailed) {
				t.Errorf("AddEvidence: %v", err)
			}
		}
		if ack, err := s.Append(ctx, ledgertest.Draft(t, n.Genesis, []string{"vote", "charity"}[i%2], 1000+i)); err == nil {
			acks = append(acks, ack)
		} else if !errors.Is(err, store.ErrFailed) {
			t.Errorf("Append: %v", err)
		}
		if _, err := s.IngestRange(ctx, n.Entries[3*i:3*i+3]); err == nil {
			frontier = s.Frontier()
		} else if !errors.Is(err, store.ErrFailed) {
			t.Errorf("IngestRange: %v", err)
		}
	}
	return acks, frontier
}

// survived opens what is left, checks that all that was acknowledged is there, goes on writing, and audits.
func survived(t testing.TB, what string, d store.Datastore, g *ledger.Genesis, acks []store.Ack, frontier ledger.Frontier) {
	t.Helper()
	ctx := context.Background()
	s, _, err := store.Open(ctx, d, g, store.Options{Key: ledgertest.Key("alice")})
	if err != nil {
		t.Errorf("%s: does not open again: %v", what, err)
		return
	}
	for _, ack := range acks {
		e, err := s.Get(ctx, ack.Ref)
		if err != nil || e.Hash != ack.Hash {
			t.Errorf("%s: acknowledged entry %v is lost: %v", what, ack.Ref, err)
		}
	}
	for _, row := range frontier {
		if row.Frozen != nil {
			if ev := s.EvidenceOf(row.Origin); ev == nil || ev.Seq() > row.Frozen.Seq {
				t.Errorf("%s: evidence %v is lost", what, row.Frozen.Evidence)
			}
			continue
		}
		e, err := s.Get(ctx, store.Ref{Origin: row.Origin, Seq: row.Seq})
		if err != nil || e.Hash != row.Hash {
			t.Errorf("%s: entry %v that was shown as held is lost: %v", what, row, err)
		}
	}
	for i := range 4 { // what failed is submitted again, as its author would
		_, err := s.Append(ctx, ledgertest.Draft(t, g, []string{"vote", "charity"}[i%2], 1000+i))
		var dup *store.DuplicateError
		if err != nil && !errors.As(err, &dup) {
			t.Errorf("%s: submitting again: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
	auditClean(t, d, g)
	if t.Failed() {
		t.Fatalf("%s: see above", what)
	}
}

// TestFaultTable lets every write of a workload go wrong in every way, and each torn write tear behind each key.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "dave"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(4, 12, "bob", "carol")
	count := 0
	for _, f := range []fault{failed, failedPersisted, failedSync, torn} {
		for at := 0; ; at++ {
			happened := true
			for keep := 0; ; keep++ {
				under := store.NewMemory()
				d := &faulty{Datastore: under, fault: f, at: at, keep: keep}
				s, _, err := store.Open(context.Background(), d, g, store.Options{Key: ledgertest.Key("alice")})
				what := fmt.Sprintf("fault %d at write %d, %d keys kept", f, at, keep)
				var acks []store.Ack
				var frontier ledger.Frontier
				if err == nil {
					acks, frontier = workload(t, s, n)
					if err := s.Close(); (err != nil) != d.happened {
						t.Fatalf("%s: Close says %v", what, err)
					}
				} else if at > 0 || !errors.Is(err, errDisk) {
					t.Fatalf("%s: open: %v", what, err)
				}
				if happened = d.happened; !happened {
					break
				}
				if at == 0 && f == torn && keep == 1 {
					// The very first write holds two keys. Torn between them, the ledger has no genesis document and
					// says so; nothing was acknowledged, and the directory is made anew.
					var damage *store.DamageError
					if _, _, err := store.Open(context.Background(), under, g, store.Options{}); !errors.As(err, &damage) {
						t.Errorf("%s: %v", what, err)
					}
				} else {
					survived(t, what, under, g, acks, frontier)
				}
				count++
				if f != torn || keep >= d.keys {
					break
				}
			}
			if !happened {
				break
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d faults were tried", count)
	}
}

// TestPowerLoss takes the power away at random moments of a workload on Pebble: what was written and not synced is
// lost in part, at random, as disks do.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "dave"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(4, 12, "bob", "carol")
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		fs := vfs.NewCrashableMem()
		var writes atomic.Int64
		var created atomic.Bool // until then there is nothing to lose, see CreateDir
		moment := 1 + r.Int64N(40)
		var after *vfs.MemFS
		var acked, shown atomic.Int64
		var ackedThen, shownThen int64
		watch := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if created.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1) == moment {
				ackedThen, shownThen = acked.Load(), shown.Load()
				after = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			}
			return nil
		})
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(fs, watch)})
		must(t, err)
		created.Store(true)
		s, _, err := store.Open(context.Background(), d, g, store.Options{Key: ledgertest.Key("alice")})
		must(t, err)
		var acks []store.Ack
		var frontiers []ledger.Frontier
		for i := range 4 {
			ack, err := s.Append(t.Context(), ledgertest.Draft(t, g, []string{"vote", "charity"}[i%2], 1000+i))
			must(t, err)
			acks = append(acks, ack)
			acked.Add(1)
			_, err = s.IngestRange(t.Context(), n.Entries[3*i:3*i+3])
			must(t, err)
			frontiers = append(frontiers, s.Frontier())
			shown.Add(1)
		}
		must(t, s.Close())
		must(t, d.Close())
		if after == nil {
			continue // the moment lies behind the last write
		}
		what := fmt.Sprintf("power lost at write %d", moment)
		lost, err := store.OpenPebble("db", store.PebbleOptions{FS: after})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var frontier ledger.Frontier
		if shownThen > 0 {
			frontier = frontiers[shownThen-1]
		}
		survived(t, what, lost, g, acks[:ackedThen], frontier)
		must(t, lost.Close())
	}
}

// TestDiskErrors lets each write and sync of Pebble's log of writes fail, once each.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol", "dave"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(4, 12, "bob", "carol")
	for at := int64(1); ; at++ {
		fs := vfs.NewCrashableMem()
		var writes atomic.Int64
		var armed atomic.Bool
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			write := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
			if armed.Load() && write && strings.HasSuffix(op.Path, ".log") && writes.Add(1) >= at {
				return errDisk // from then on, as a disk that is gone
			}
			return nil
		})
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(fs, inject)})
		must(t, err)
		s, _, err := store.Open(context.Background(), d, g, store.Options{Key: ledgertest.Key("alice")})
		must(t, err)
		armed.Store(true)
		acks, frontier := workload(t, s, n)
		armed.Store(false)
		closed := s.Close()
		if closed == nil {
			must(t, d.Close())
			if at < 10 {
				t.Errorf("only %d writes were made to fail", at-1)
			}
			return
		}
		// The process ends here; its database is left as it is.
		after, err := store.OpenPebble("db", store.PebbleOptions{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
		must(t, err)
		survived(t, fmt.Sprintf("log write %d failed", at), after, g, acks, frontier)
		must(t, after.Close())
	}
}
