package p2p

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

// arrivals makes entries of many parties that each wait for another one.
func arrivals(count, origins int) (list []*arrival, missing []ledger.Citation) {
	for i := range count {
		e := &ledger.Entry{Hash: ledger.Hash{1, byte(i), byte(i >> 8), byte(i >> 16)}}
		e.Header.Origin = ledger.Origin{byte(i % origins), byte(i % origins >> 8)}
		list = append(list, &arrival{run: []*ledger.Entry{e}})
		missing = append(missing, ledger.Citation{Origin: ledger.Origin{9, byte(i), byte(i >> 8)}, Seq: 5, Hash: ledger.Hash{2, byte(i), byte(i >> 8), byte(i >> 16)}})
	}
	return list, missing
}

// TestParkedLooks: what is parked is looked at when something of the log that it waits for has changed, and only then.
func TestParkedLooks(t *testing.T) {
	t.Parallel()
	const count = 5000
	p := newParked()
	list, missing := arrivals(count, 500)
	for i := range list {
		if !p.add(list[i], missing[i]) {
			t.Fatalf("no room for arrival %d", i)
		}
	}
	rows := map[ledger.Origin]ledger.Row{}
	for _, c := range missing {
		rows[c.Origin] = ledger.Row{Citation: ledger.Citation{Origin: c.Origin, Seq: 1, Height: 2, Hash: ledger.Hash{3}}}
	}
	looks := 0
	look := func(here ledger.Hash) int {
		looks = 0
		return len(p.ready(func(o ledger.Origin) (ledger.Row, bool) { r, ok := rows[o]; return r, ok },
			func(c ledger.Citation) bool { looks++; return c.Hash == here }))
	}
	if n := look(ledger.Hash{}); n != 0 || looks != count {
		t.Errorf("%d are ready, %d were looked at; all must be, since they were parked", n, looks)
	}
	if n := look(missing[7].Hash); n != 0 || looks != 0 {
		t.Errorf("nothing has changed: %d are ready, %d were looked at", n, looks)
	}
	row := rows[missing[7].Origin]
	row.Seq = 5
	rows[missing[7].Origin] = row
	if n := look(missing[7].Hash); n != 1 || looks != 1 {
		t.Errorf("one log has changed: %d are ready, %d were looked at", n, looks)
	}
	if entries, _ := p.size(); entries != count-1 || p.oldest.Len() != count-1 {
		t.Errorf("%d are left, %d in order", entries, p.oldest.Len())
	}
}

// TestParkedExpire: when there is no room, the oldest make place, once they have waited for a minute.
func TestParkedExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newParked()
		list, missing := arrivals(parkedAllEntries+100, 1000)
		for i := range parkedAllEntries {
			if i == parkedAllEntries/2 {
				time.Sleep(parkedAge / 2)
			}
			if !p.add(list[i], missing[i]) {
				t.Fatalf("no room for arrival %d", i)
			}
		}
		late, since := list[parkedAllEntries:], missing[parkedAllEntries:]
		if p.add(late[0], since[0]) {
			t.Error("there is room for more than there may be")
		}
		time.Sleep(parkedAge/2 + time.Second)
		if !p.add(late[0], since[0]) {
			t.Error("the oldest do not make place")
		}
		if entries, _ := p.size(); entries != parkedAllEntries/2+1 || p.oldest.Len() != entries {
			t.Errorf("%d are left, %d in order", entries, p.oldest.Len())
		}
	})
}

// TestQuiet: however much strangers do, few lines are written about it, and none is lost count of.
func TestQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		lines, others := 0, 0
		for range 100_000 {
			if more, ok := q.say(); ok {
				lines, others = lines+1, others+more
			}
			time.Sleep(6 * time.Millisecond)
		}
		if lines != logBurst+9 { // in ten minutes
			t.Errorf("%d lines were written", lines)
		}
		time.Sleep(time.Hour)
		if more, ok := q.say(); !ok || lines+others+more != 100_000 {
			t.Errorf("%d lines tell of %d more", lines, others+more)
		}
	})
}

// TestPastIsBounded: what disputed entries lead to is found from the lowest on, each looked at once, and little is remembered
// of what a peer makes up as it goes.
func TestPastIsBounded(t *testing.T) {
	t.Parallel()
	const most = 64
	looked := 0
	p := past{most: most, known: map[ledger.Hash]bool{}, below: ledger.MaxHeight, lacks: func(ledger.Citation) bool { looked++; return true }}
	hash := func(i int) ledger.Hash { return ledger.Hash{1, byte(i), byte(i >> 8), byte(i >> 16)} }
	height := func(i int) uint64 { return uint64(100_000 - i) } // the first is highest
	o := ledgertest.Origin("mallory")
	p.cite(ledger.Citation{Origin: o, Hash: hash(0), Height: height(0)})
	for i := 0; len(p.todo) > 0 && i < 10_000; i++ {
		c := p.next()
		e := &ledger.Entry{Hash: c.Hash}
		e.Header.Origin, e.Header.Height = o, c.Height
		n := int(100_000 - c.Height)
		if p.find(e) {
			for j := range 16 { // each cites some that are lower, and some that it cites again and again
				p.cite(ledger.Citation{Origin: o, Hash: hash(n + 1 + j), Height: height(n + 1 + j)})
				p.cite(ledger.Citation{Origin: o, Hash: hash(5), Height: height(5)})
			}
		}
		if len(p.found) > 2*most || len(p.todo) > 2*most || len(p.known) > 4*most {
			t.Fatalf("after %d entries %d are found, %d to do and %d known", i, len(p.found), len(p.todo), len(p.known))
		}
	}
	if looked > 16*10_000 {
		t.Errorf("%d entries were looked up", looked)
	}
	found := p.first()
	for i := range found[1:] {
		if found[i].Height > found[i+1].Height {
			t.Fatal("not in order")
		}
	}
	// A chain that ends is found to its end, and its oldest part is what is left.
	p = past{most: most, known: map[ledger.Hash]bool{}, below: ledger.MaxHeight, lacks: func(ledger.Citation) bool { return true }}
	p.cite(ledger.Citation{Origin: o, Hash: hash(0), Height: height(0)})
	for len(p.todo) > 0 {
		c := p.next()
		e := &ledger.Entry{Hash: c.Hash}
		e.Header.Origin, e.Header.Height = o, c.Height
		if n := int(100_000 - c.Height); p.find(e) && n < 1000 {
			p.cite(ledger.Citation{Origin: o, Hash: hash(n + 1), Height: height(n + 1)})
		}
	}
	if found := p.first(); len(found) < most || found[0].Height != height(1000) || found[len(found)-1].Height != height(1000)+uint64(len(found)-1) {
		t.Errorf("of 1001 entries %d are left: %s", len(found), fmt.Sprint(found[0].Height, " to ", found[len(found)-1].Height))
	}
}
