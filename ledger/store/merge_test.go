package store_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// manyLogs returns the entries of many logs of an open network, which cite each other.
func manyLogs(tb testing.TB, logs, entries int) (*ledger.Genesis, *ledgertest.Network) {
	doc := ledgertest.Doc()
	doc.Open = true
	n := ledgertest.NewNetwork(tb, ledgertest.Genesis(tb, doc))
	for i := range entries {
		who := fmt.Sprint("party ", i*7%logs)
		n.Put(who, fmt.Sprint("party ", (i*7+logs-7)%logs)) // whom it cites has just written
	}
	return n.Genesis, n
}

// TestMerge: parts of logs come in canonical order, whole, whether they are few or many, and few entries of many logs are in
// memory.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, logs := range []int{3, 100, 700} {
		t.Run(fmt.Sprint(logs), func(t *testing.T) {
			t.Parallel()
			g, n := manyLogs(t, logs, 1500)
			s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if _, err := s.Ingest(t.Context(), n.Entries...); err != nil {
				t.Fatal(err)
			}
			var want []ledger.Hash
			sorted := slices.Clone(n.Entries)
			slices.SortFunc(sorted, ledger.CompareCanonical)
			m := s.NewMerge()
			for _, log := range s.Logs() {
				m.Add(log.Origin, 1, log.Seq+100) // all but the first, and no more than there is
			}
			for _, e := range sorted {
				if e.Header.Seq > 0 {
					want = append(want, e.Hash)
				}
			}
			var got []ledger.Hash
			for e, err := range m.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Hash)
				if most := store.MergeBytes + ledger.MaxEntry; store.Ahead(m) > most {
					t.Fatalf("%d bytes are read ahead, more than %d", store.Ahead(m), most)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d entries came, not in order or not the %d that there are", len(got), len(want))
			}
		})
	}
}

// TestHeld: what a store holds is worked out once for each change, and is right after each.
func TestHeld(t *testing.T) {
	t.Parallel()
	g, n := manyLogs(t, 50, 120)
	s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	want := map[ledger.Origin]ledger.Row{}
	for i, e := range n.Entries {
		if _, err := s.Ingest(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		want[e.Header.Origin] = ledger.Row{Citation: e.Citation()}
		held := s.Held()
		if held != s.Held() {
			t.Fatal("the same was worked out twice")
		}
		if len(held.Frontier) != len(want) || held.Entries != uint64(i+1) || held.Digest != held.Frontier.Digest(g.Network()) {
			t.Fatalf("after %d entries it holds %d of %d logs", i+1, held.Entries, len(held.Frontier))
		}
		for _, row := range held.Frontier {
			if row != want[row.Origin] {
				t.Fatalf("row %+v, want %+v", row, want[row.Origin])
			}
		}
		if err := held.Frontier.Check(); err != nil {
			t.Fatal(err)
		}
		s.Frontier()[0].Seq = 1 << 40 // which is the caller's own
	}
}

// TestVerifyManyLogs: the signatures of many short logs are checked with few syncs of the disk.
func TestVerifyManyLogs(t *testing.T) {
	t.Parallel()
	const logs = 2100
	g, n := manyLogs(t, logs, logs)
	commits := 0
	s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{Committed: func(store.Commit) { commits++ }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.IngestRange(t.Context(), n.Entries); err != nil {
		t.Fatal(err)
	}
	before := commits
	if s.Unverified() != logs {
		t.Fatalf("%d of %d signatures are to be checked", s.Unverified(), logs)
	}
	if err := s.VerifySignatures(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if s.Unverified() != 0 || commits-before > 1+logs/1000 {
		t.Errorf("%d are left after %d syncs", s.Unverified(), commits-before)
	}
}

// BenchmarkHeld measures what it costs to look at one row, and at all that is held, of many logs.
func BenchmarkHeld(b *testing.B) {
	g, n := manyLogs(b, 10_000, 10_000)
	s, _, err := store.Open(b.Context(), store.NewMemory(), g, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Ingest(b.Context(), n.Entries...); err != nil {
		b.Fatal(err)
	}
	b.Run("row", func(b *testing.B) {
		for b.Loop() {
			_, _ = s.Row(n.Entries[0].Header.Origin)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			runtime.KeepAlive(s.Held())
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			s.Changed()
			runtime.KeepAlive(s.Held())
		}
	})
}
