package legacy_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/replicate"
)

// countOf returns how many votes a ledger holds.
func countOf(t *testing.T, l *legacytest.Ledger) uint64 {
	t.Helper()
	n, err := l.Count(t.Context(), "vote")
	must(t, err)
	return n
}

// TestFetch: what a server has and did not send is taken once, at the start, later, and when it is back after it was away;
// it is not sent back to it; and how far it came is kept over a restart.
func TestFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x, dir := newExchange(), t.TempDir()
		w := receiver(t)
		x.set("a:1", w.Server)
		for n := range 20 {
			putInto(t, w.ledger, n, 0)
		}
		source := legacytest.NewLedger(t)
		putInto(t, source, 3, 0)
		putInto(t, source, 30, 0)
		r := replicating(t, x, dir, source, "admin", "a:1")
		time.Sleep(3 * time.Second)
		if s := statusOf(t, r, "a:1"); s.Taken != 19 || s.Sent != 1 || s.Held != 1 || s.NotSent != 19 || s.NotTaken != 0 || s.State != replicate.HostGood {
			t.Fatalf("%+v", s)
		}
		if n, m := countOf(t, source), countOf(t, w.ledger); n != 21 || m != 21 {
			t.Fatalf("%d records here, %d there", n, m)
		}
		got, err := source.At(t.Context(), "vote", 20)
		must(t, err)
		if got.Hops != 1 {
			t.Errorf("a record that was fetched was sent on %d times", got.Hops)
		}
		putInto(t, w.ledger, 31, 0)
		time.Sleep(time.Minute)
		if s := statusOf(t, r, "a:1"); s.Taken != 20 {
			t.Errorf("one that came later: %+v", s)
		}
		x.set("a:1", nil)
		time.Sleep(time.Minute)
		if s := statusOf(t, r, "a:1"); s.State != replicate.HostUnreachable {
			t.Errorf("while it is away: %+v", s)
		}
		must(t, r.Close())
		putInto(t, w.ledger, 32, 1)
		x.set("a:1", w.Server)
		r = replicating(t, x, dir, source, "admin", "a:1")
		time.Sleep(time.Second)
		if s := statusOf(t, r, "a:1"); s.Taken != 21 || s.Sent != 1 || s.Held != 1 || s.State != replicate.HostGood {
			t.Errorf("after a restart: %+v", s)
		}
		must(t, r.Close())

		other := receiver(t) // another server in its place, with fewer records
		putInto(t, other.ledger, 33, 0)
		x.set("a:1", other.Server)
		r = replicating(t, x, dir, source, "admin", "a:1")
		time.Sleep(time.Second)
		if s := statusOf(t, r, "a:1"); s.Taken != 22 {
			t.Errorf("of a chain that was replaced: %+v", s)
		}
		must(t, r.Close())
	})
}

// TestFetchLong: fetching many records does not keep new ones from being sent.
func TestFetchLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		w := receiver(t)
		x.set("a:1", w.Server)
		for n := range 100 {
			putInto(t, w.ledger, n, 0)
		}
		source := legacytest.NewLedger(t)
		var fetched int
		source.BeforePut = func(context.Context) error {
			if fetched++; fetched == 10 {
				source.BeforePut = nil
				putInto(t, source, 500, 0)
			}
			return nil
		}
		var at uint64
		w.ledger.BeforePut = func(context.Context) error {
			at = countOf(t, source)
			return nil
		}
		r := replicating(t, x, t.TempDir(), source, "admin", "a:1")
		time.Sleep(3 * time.Second)
		if s := statusOf(t, r, "a:1"); s.Taken != 100 || s.Sent != 1 {
			t.Errorf("%+v", s)
		}
		if at == 0 || at > 90 {
			t.Errorf("the new record was sent when %d records were here", at)
		}
		must(t, r.Close())
	})
}

// TestFetchRefused: what the ledger cannot take now it is offered again soon, and sending goes on meanwhile; what it never
// takes and what the server cannot show is passed over, and counted.
func TestFetchRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		w := receiver(t)
		x.set("a:1", w.Server)
		for n := range 12 {
			putInto(t, w.ledger, n, 0)
		}
		damaged, err := w.ledger.At(t.Context(), "vote", 2)
		must(t, err)
		w.ledger.Change = func(r *legacy.Record) {
			if r.Header == damaged.Header {
				r.Packed = r.Packed[:20]
			}
		}
		source := legacytest.NewLedger(t)
		putInto(t, source, 30, 0)
		var tries int
		source.BeforePut = func(context.Context) error {
			switch tries++; {
			case tries <= 3:
				return &legacy.RefusedError{Reason: "catching up", NotNow: true}
			case tries == 6:
				return &legacy.RefusedError{Reason: "not this one"}
			}
			return nil
		}
		r := replicating(t, x, t.TempDir(), source, "admin", "a:1")
		time.Sleep(time.Second)
		if s := statusOf(t, r, "a:1"); s.Taken != 0 || s.Sent != 1 || s.State != replicate.HostGood {
			t.Errorf("at first: %+v", s)
		}
		time.Sleep(time.Minute)
		if s := statusOf(t, r, "a:1"); s.Taken != 10 || s.NotTaken != 2 || s.State != replicate.HostGood {
			t.Errorf("later: %+v, %d tries", s, tries)
		}
		must(t, r.Close())
	})
}

// TestFetchForbidden: a server that shows a replicator no records gets records all the same.
func TestFetchForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		w := receiver(t)
		x.set("a:1", w.Server)
		putInto(t, w.ledger, 1, 0)
		source := legacytest.NewLedger(t)
		putInto(t, source, 2, 0)
		r := replicating(t, x, t.TempDir(), source, "replicator", "a:1")
		time.Sleep(6 * time.Hour)
		if s := statusOf(t, r, "a:1"); s.Taken != 0 || s.Sent != 1 || s.State != replicate.HostGood {
			t.Errorf("%+v", s)
		}
		if n := len(x.dials("a:1")); n > 10 {
			t.Errorf("%d connections in six hours", n)
		}
		must(t, r.Close())
	})
}

// liar is a ledger that says that it has records without end, and shows none.
type liar struct {
	*legacytest.Ledger
	asked *atomic.Int64
}

func (l liar) Count(context.Context, string) (uint64, error) { return 1 << 40, nil }

func (l liar) At(context.Context, string, uint64) (legacy.Record, error) {
	l.asked.Add(1)
	return legacy.Record{}, legacy.ErrNotFound
}

// TestFetchLiar: a server that invents positions does not keep the node busy.
func TestFetchLiar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		w := newWorld(t)
		l := liar{w.ledger, &atomic.Int64{}}
		server, err := legacy.NewServer(w.options(), l, w.accounts)
		must(t, err)
		t.Cleanup(func() { must(t, server.Close()) })
		x.set("a:1", server)
		r := replicating(t, x, t.TempDir(), legacytest.NewLedger(t), "admin", "a:1")
		time.Sleep(100 * time.Second)
		if n := l.asked.Load(); n < 100 || n > 1000 {
			t.Errorf("it was asked for %d records in 100 s", n)
		}
		if s := statusOf(t, r, "a:1"); s.State != replicate.HostGood || s.Taken != 0 {
			t.Errorf("%+v", s)
		}
		must(t, r.Close())
	})
}
