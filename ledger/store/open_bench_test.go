package store_test

import (
	"context"
	"os"
	"strconv"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// BenchmarkOpenFrozen opens a ledger in which a log was frozen at its first entry, so that everything behind may cite what is
// disputed. PYVNODE_ENTRIES is how many entries others wrote since.
func BenchmarkOpenFrozen(b *testing.B) {
	many := 100_000
	if text := os.Getenv("PYVNODE_ENTRIES"); text != "" {
		var err error
		many, err = strconv.Atoi(text)
		must(b, err)
	}
	ctx, dir := context.Background(), b.TempDir()
	g := ledgertest.Genesis(b, ledgertest.Doc("alice", "mallory"))
	open := func() (*store.Store, func()) {
		d, err := store.OpenPebble(dir, store.PebbleOptions{})
		must(b, err)
		s, _, err := store.Open(ctx, d, g, store.Options{Key: ledgertest.Key("alice")})
		must(b, err)
		return s, func() {
			must(b, s.Close())
			must(b, d.Close())
		}
	}
	s, done := open()
	first := ledgertest.Sign(b, g, "mallory", &ledger.Log{Origin: ledgertest.Origin("mallory")}, 0)
	other := first.Header
	other.Time++
	ev, err := proof.Fork(g, first, ledger.Sign(ledgertest.Key("mallory"), other, first.Record))
	must(b, err)
	_, err = s.Ingest(ctx, first)
	must(b, err)
	_, err = s.AddEvidence(ctx, ev)
	must(b, err)
	for i := 0; i < many; i += 64 {
		var drafts []*ledger.Draft
		for j := i; j < min(i+64, many); j++ {
			drafts = append(drafts, ledgertest.Draft(b, g, "vote", 1+j))
		}
		pending, err := s.Submit(ctx, drafts...)
		must(b, err)
		_, err = pending.Wait(ctx)
		must(b, err)
	}
	done()
	for b.Loop() {
		_, done := open()
		b.StopTimer()
		done()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*many), "ns/entry")
}
