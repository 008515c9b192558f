package store_test

import (
	"context"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// gated is a datastore that counts the entries that are read by scans, and lets none be read while its gate is closed.
type gated struct {
	store.Datastore
	scanned atomic.Int64

	mu     sync.Mutex
	closed chan struct{} // nil while the gate is open
	tried  chan struct{} // receives when somebody waits at it
}

func (g *gated) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.tried = make(chan struct{}), make(chan struct{}, 1)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.closed)
		g.closed = nil
	}
}

func (g *gated) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	entries := strings.HasPrefix(lower, "/e/")
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if entries && closed != nil {
		select {
		case g.tried <- struct{}{}:
		default:
		}
		<-closed
	}
	return func(yield func(store.Pair, error) bool) {
		for pair, err := range g.Datastore.Scan(ctx, lower, upper) {
			if entries {
				g.scanned.Add(1)
			}
			if !yield(pair, err) {
				return
			}
		}
	}
}

// forks returns evidence that mallory forked at 0, 1, 2 and so on, and lets the store take the entries of one of the branches.
func forks(t *testing.T, g *ledger.Genesis, s *store.Store, n int) (pieces []*proof.Evidence) {
	log := &ledger.Log{Origin: ledgertest.Origin("mallory")}
	for i := range n {
		e := ledgertest.Sign(t, g, "mallory", log, 500_000+i)
		h := e.Header
		h.Time++
		ev, err := proof.Fork(g, e, ledger.Sign(ledgertest.Key("mallory"), h, e.Record))
		must(t, err)
		pieces = append(pieces, ev)
		log.Advance(e)
		_, err = s.Ingest(t.Context(), e)
		must(t, err)
	}
	return pieces
}

func appendMany(t *testing.T, g *ledger.Genesis, s *store.Store, from, to int) {
	var last store.Pending
	for i := from; i < to; i++ {
		var err error
		last, err = s.Submit(t.Context(), ledgertest.Draft(t, g, "vote", i))
		must(t, err)
	}
	_, err := last.Wait(t.Context())
	must(t, err)
}

// TestEvidenceDoesNotStopWrites keeps everybody from reading entries while evidence is worked on: records are stored all the same.
func TestEvidenceDoesNotStopWrites(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory"))
	d := &gated{Datastore: store.NewMemory()}
	s := open(t, d, g, "alice")
	pieces := forks(t, g, s, 3)
	appendMany(t, g, s, 0, 20)
	before := s.Frontier().Digest(g.Network())

	release := d.shut()
	added := make(chan error, len(pieces))
	for i := range pieces {
		go func() {
			_, err := s.AddEvidence(context.Background(), pieces[i])
			added <- err
		}()
	}
	<-d.tried
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 10 {
		if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 1000+i)); err != nil {
			t.Fatalf("while evidence is worked on: %v", err)
		}
	}
	if s.EvidenceOf(ledgertest.Origin("mallory")) != nil {
		t.Error("evidence is shown before what follows from it is known")
	}
	release()
	for range pieces {
		must(t, <-added)
	}
	if ev := s.EvidenceOf(ledgertest.Origin("mallory")); ev == nil || ev.Seq() != 0 {
		t.Errorf("held is %v", ev)
	}
	digest := s.Frontier().Digest(g.Network())
	if digest == before {
		t.Error("nothing changed")
	}
	must(t, s.Close())
	if report := auditClean(t, d, g); *report.Digest != digest {
		t.Errorf("the audit finds digest %v, the store had %v", report.Digest, digest)
	}
}

// TestBetterEvidenceReadsLittle adds sixteen pieces of evidence, each better than the one before. The ledger is read once for all
// of them, and not once for each.
func TestBetterEvidenceReadsLittle(t *testing.T) {
	t.Parallel()
	const entries, pieces = 6000, 16
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory"))
	db, err := store.OpenPebble("db", store.PebbleOptions{FS: vfs.NewMem()})
	must(t, err)
	d := &gated{Datastore: db}
	s := open(t, d, g, "alice")
	evidence := forks(t, g, s, pieces)
	appendMany(t, g, s, 0, entries)
	before := d.scanned.Load()
	for i := len(evidence) - 1; i >= 0; i-- {
		added, err := s.AddEvidence(t.Context(), evidence[i])
		if err != nil || !added {
			t.Fatalf("piece %d: %v, %v", i, added, err)
		}
	}
	// One reading, and for each piece the chunk that cites mallory, of 1,024 entries.
	if read := d.scanned.Load() - before; read > entries+pieces*1100 {
		t.Errorf("%d entries were read for %d pieces, of %d", read, pieces, entries)
	}
	digest := s.Frontier().Digest(g.Network())
	must(t, s.Close())
	if report := auditClean(t, d, g); *report.Digest != digest {
		t.Errorf("the audit finds digest %v, the store had %v", report.Digest, digest)
	}
	must(t, db.Close())
}
