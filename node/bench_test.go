package node

import (
	"path/filepath"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// BenchmarkList lists a ledger in every order, from its directory and through the node that runs on it. What is measured
// is one entry.
func BenchmarkList(b *testing.B) {
	const count = 20000
	g := ledgertest.Genesis(b, ledgertest.Doc("alice", "bob"))
	n := ledgertest.NewNetwork(b, g)
	n.Random(1, count, "alice", "bob")
	dir := filepath.Join(shortTemp(b), "node")
	if _, err := JoinNetwork(b.Context(), dir, g); err != nil {
		b.Fatal(err)
	}
	o := Options{Data: dir}
	importing, err := OpenForImport(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	for from := 0; from < count; from += store.RangeEntries {
		if _, err := importing.IngestRange(b.Context(), n.Entries[from:min(from+store.RangeEntries, count)]); err != nil {
			b.Fatal(err)
		}
	}
	if err := importing.Close(); err != nil {
		b.Fatal(err)
	}
	list := func(b *testing.B) {
		for _, l := range []Listing{{Order: ByChain}, {Order: ByTime}, {Order: ByArrival}, {Order: ByArrival, Reverse: true}} {
			name := string(l.Order)
			if l.Reverse {
				name += ", reverse"
			}
			b.Run(name, func(b *testing.B) {
				n, err := OpenForReading(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = n.Close() }()
				b.ResetTimer()
				for done := 0; done < b.N; {
					var last *ledger.Entry
					for e, err := range n.List(b.Context(), l) {
						if err != nil {
							b.Fatal(err)
						}
						if last, done = e, done+1; done == b.N {
							break
						}
					}
					if last == nil {
						b.Fatal("nothing is listed")
					}
				}
			})
		}
	}
	b.Run("directly", list)
	b.Run("running", func(b *testing.B) {
		running(b, RunOptions{Options: o})
		list(b)
	})
}
