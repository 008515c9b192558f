package store_test

import (
	"context"
	"sync"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

func pebbleStore(b *testing.B, g *ledger.Genesis) *store.Store {
	d, err := store.OpenPebble(b.TempDir(), store.PebbleOptions{})
	must(b, err)
	s, _, err := store.Open(context.Background(), d, g, store.Options{Key: ledgertest.Key("alice")})
	must(b, err)
	b.Cleanup(func() { _ = s.Close(); _ = d.Close() })
	return s
}

func BenchmarkIngestRange(b *testing.B) {
	g := ledgertest.Genesis(b, ledgertest.Doc("alice", "bob"))
	n := ledgertest.NewNetwork(b, g)
	for range b.N {
		n.Put("bob")
	}
	s := pebbleStore(b, g)
	b.ResetTimer()
	var window []store.Pending
	for from := 0; from < b.N; from += 256 {
		p, err := s.Prepare(n.Entries[from:min(from+256, b.N)], store.LastSignature)
		must(b, err)
		pending, err := s.SubmitPrepared(b.Context(), p)
		must(b, err)
		window = append(window, pending)
		if len(window) == 4 {
			_, err := window[0].Wait(b.Context())
			must(b, err)
			window = window[1:]
		}
	}
	for _, p := range window {
		_, err := p.Wait(b.Context())
		must(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkAppend64(b *testing.B) {
	g := ledgertest.Genesis(b, ledgertest.Doc("alice"))
	drafts := make(chan *ledger.Draft, b.N)
	for i := range b.N {
		drafts <- ledgertest.Draft(b, g, "vote", i)
	}
	close(drafts)
	s := pebbleStore(b, g)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for d := range drafts {
				if _, err := s.Append(b.Context(), d); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
