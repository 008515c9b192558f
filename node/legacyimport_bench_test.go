package node

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/node/accounts"
)

// BenchmarkLegacyImport imports a data directory with many records into a ledger on disk, and then again, when all are
// held. PYVNODE_ENTRIES is how many are many. Beside it, in the same run, what bounds it: signatures that one core makes,
// because each entry names the hash of the one before.
func BenchmarkLegacyImport(b *testing.B) {
	many := 100_000
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	if text := os.Getenv("PYVNODE_ENTRIES"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	g, _, err := FoundNetwork(b.Context(), filepath.Join(dir, "0"), ledger.GenesisDoc{Strength: 1})
	if err != nil {
		b.Fatal(err)
	}
	source := filepath.Join(dir, "source")
	to, err := dataroot.Create(source)
	if err != nil {
		b.Fatal(err)
	}
	chain, err := to.Chain("vote")
	if err != nil {
		b.Fatal(err)
	}
	for i := range many {
		d := ledgertest.Draft(b, g, "vote", i)
		packed, err := legacy.ClientForm(legacy.Record{Header: d.Facts.Header, Packed: d.Record})
		if err := errors.Join(err, chain.Add(d.Facts.Header.String(), packed)); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(chain.Close(), to.Commit()); err != nil {
		b.Fatal(err)
	}
	root, err := dataroot.Open(source)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = root.Close() }()

	once := func(b *testing.B, data string) {
		n, err := OpenForWriting(b.Context(), Options{Data: data}, nil)
		if err != nil {
			b.Fatal(err)
		}
		users, err := accounts.Open(data, accounts.Options{})
		if err != nil {
			b.Fatal(err)
		}
		sum, err := n.ImportLegacy(b.Context(), LegacyImport{Root: root, Kinds: []string{"vote"}, Users: users, Dir: filepath.Join(data, LegacyDir),
			Problem: func(p LegacyProblem) error { return p.Err }})
		if err == nil && sum.Kinds["vote"].Stored+sum.Kinds["vote"].Duplicates != many {
			b.Fatalf("%+v", sum.Kinds["vote"])
		}
		if err := errors.Join(err, users.Close(), n.Close()); err != nil {
			b.Fatal(err)
		}
	}
	perSecond := func(b *testing.B, count int) {
		b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	}
	b.Run("new", func(b *testing.B) {
		before := signatures()
		var cpu time.Duration
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			data := filepath.Join(b.TempDir(), strconv.Itoa(i))
			if _, _, err := FoundNetwork(b.Context(), data, ledger.GenesisDoc{Strength: 1}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			cpu -= processorTime()
			once(b, data)
			cpu += processorTime()
		}
		perSecond(b, many)
		b.ReportMetric((before+signatures())/2, "signatures/s")
		b.ReportMetric(float64(cpu.Microseconds())/float64(many*b.N), "cpu-us/record") // 0 where the system does not tell
	})
	b.Run("again", func(b *testing.B) {
		data := filepath.Join(dir, "0")
		once(b, data)
		b.ResetTimer()
		for b.Loop() {
			once(b, data)
		}
		perSecond(b, many)
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if report, err := dataroot.Check(b.Context(), root, dataroot.Options{Strength: 1}); err != nil || report.Kinds["vote"].Sound != uint64(many) {
				b.Fatal(report, err)
			}
		}
		perSecond(b, many)
	})
}

// signatures returns how many one core makes in a second.
func signatures() float64 {
	key, message := ed25519.NewKeyFromSeed(make([]byte, 32)), make([]byte, 320)
	start, n := time.Now(), 0
	for ; time.Since(start) < time.Second; n++ {
		ed25519.Sign(key, message)
	}
	return float64(n) / time.Since(start).Seconds()
}
