package count_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/count"
	"pyvnode/ledger/ledgertest"
)

// BenchmarkCount counts a ledger of four cosigners that cite each other, with so many entries as PYVNODE_ENTRIES says, and
// finds the past of the newest, beside decoding all headers.
func BenchmarkCount(b *testing.B) {
	entries := 100_000
	if n, err := strconv.Atoi(os.Getenv("PYVNODE_ENTRIES")); err == nil {
		entries = n
	}
	names := []string{"alice", "bob", "carol", "dave"}
	doc := ledgertest.Doc(names...)
	for _, name := range names {
		doc.Cosigners = append(doc.Cosigners, ledgertest.Origin(name))
	}
	doc.Quorum = 3
	g := ledgertest.Genesis(b, doc)
	r := rand.New(rand.NewPCG(1, 2))
	draft := ledgertest.Draft(b, g, "vote", 1)
	logs := map[string]*ledger.Log{}
	heads := map[string]ledger.Citation{}
	headers := make([]*ledger.Entry, 0, entries)
	for range entries {
		who := names[r.IntN(len(names))]
		if logs[who] == nil {
			logs[who] = &ledger.Log{Origin: ledgertest.Origin(who)}
		}
		var seen []ledger.Citation
		for other, head := range heads {
			if other != who && r.IntN(2) == 0 {
				seen = append(seen, head)
			}
		}
		e, err := logs[who].Sign(g, ledgertest.Key(who), draft, seen, 0, nil)
		if err != nil {
			b.Fatal(err)
		}
		logs[who].Advance(e)
		heads[who] = e.Citation()
		headers = append(headers, &ledger.Entry{RawHeader: e.RawHeader, Signature: e.Signature})
	}
	for b.Loop() {
		begin := time.Now()
		decoded := make([]*ledger.Entry, len(headers))
		for i, e := range headers {
			var err error
			if decoded[i], err = ledger.DecodeStatement(e.RawHeader, e.Signature); err != nil {
				b.Fatal(err)
			}
		}
		decoding := time.Since(begin)
		begin = time.Now()
		graph := count.NewGraph()
		ids := make([]count.ID, len(decoded))
		for i, e := range decoded {
			id, err := graph.Add(&count.Entry{Citation: e.Citation(), Prev: e.Header.Prev, Seen: e.Header.Seen, Valid: true})
			if err != nil {
				b.Fatal(err)
			}
			ids[i] = id
		}
		adding := time.Since(begin)
		begin = time.Now()
		c := count.NewCounter(graph, count.RulesOf(g), nil)
		for _, id := range ids {
			c.Add(id)
		}
		counting := time.Since(begin)
		begin = time.Now()
		past := graph.Past(ids[len(ids)-1])
		finding := time.Since(begin)
		if confirmed := c.Reach(ledgertest.Origin("alice")).Confirmed; confirmed == 0 || past.Len() < entries/2 {
			b.Fatalf("%d entries are confirmed, and the past has %d", confirmed, past.Len())
		}
		n := float64(entries)
		b.ReportMetric(float64(decoding.Nanoseconds())/n, "decode-ns/entry")
		b.ReportMetric(float64(adding.Nanoseconds())/n, "add-ns/entry")
		b.ReportMetric(float64(counting.Nanoseconds())/n, "count-ns/entry")
		b.ReportMetric(float64(finding.Nanoseconds())/n, "past-ns/entry")
		b.ReportMetric(0, "ns/op")
	}
}
