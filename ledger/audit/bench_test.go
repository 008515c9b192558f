package audit_test

import (
	"testing"

	"pyvnode/ledger/audit"
)

func BenchmarkAuditDirectory(b *testing.B) {
	const entries = 30000
	n := network(b, entries)
	dir := dataDir(b, n)
	for _, skip := range []bool{true, false} {
		name := "signatures"
		if skip {
			name = "no-signatures"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				report, err := audit.Directory(b.Context(), dir, audit.Options{SkipSignatures: skip})
				must(b, err)
				if !report.Clean() {
					b.Fatal(report.Findings)
				}
			}
			b.ReportMetric(entries*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
