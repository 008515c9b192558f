package legacy_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/replicate"
)

// exchange connects replication with servers in memory, by their names.
type exchange struct {
	mu      sync.Mutex
	servers map[string]*legacy.Server
	dialled map[string][]time.Time
}

func newExchange() *exchange {
	return &exchange{servers: map[string]*legacy.Server{}, dialled: map[string][]time.Time{}}
}

func (x *exchange) dial(_ context.Context, _, addr string) (net.Conn, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dialled[addr] = append(x.dialled[addr], time.Now())
	server := x.servers[addr]
	if server == nil {
		return nil, errors.New("nobody is there")
	}
	ours, theirs := net.Pipe()
	server.Serve(theirs)
	return ours, nil
}

func (x *exchange) set(addr string, s *legacy.Server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.servers[addr] = s
}

func (x *exchange) dials(addr string) []time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.dialled[addr])
}

// receiver is a server to replicate to, without a listener.
func receiver(t *testing.T, change ...func(*legacy.Options)) *world {
	w := newWorld(t)
	must(t, w.accounts.Add(t.Context(), "replicator", "pw", legacy.Replicator))
	server, err := legacy.NewServer(w.options(change...), w.ledger, w.accounts)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	w.Server = server
	return w
}

func replicating(t *testing.T, x *exchange, dir string, source replicate.Source, user string, hosts ...string) *replicate.Replication {
	t.Helper()
	r, err := replicate.Start(replicate.Options{
		Dir: dir, Hosts: func() []string { return hosts }, User: user, Password: "pw", MaxHops: 1, Dial: x.dial,
	}, source)
	must(t, err)
	return r
}

func statusOf(t *testing.T, r *replicate.Replication, host string) replicate.HostStatus {
	t.Helper()
	all, err := r.Status(t.Context())
	must(t, err)
	for _, s := range all {
		if s.Host == host {
			return s
		}
	}
	t.Fatalf("no host %s in %+v", host, all)
	return replicate.HostStatus{}
}

func putInto(t *testing.T, l *legacytest.Ledger, n int, hops uint32) {
	t.Helper()
	packed, err := record.AppendPack(nil, legacytest.Record(t, n))
	must(t, err)
	must(t, l.Put(t.Context(), "vote", packed, hops))
}

// TestReplication: what the ledger holds and gets reaches a server once, with a count one higher; what it has already
// counts as done; what was sent on often enough stays here; and all that is kept over a restart.
func TestReplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x, dir := newExchange(), t.TempDir()
		w := receiver(t)
		x.set("a:1", w.Server)
		source := legacytest.NewLedger(t)
		for n := range 4 {
			putInto(t, source, n, 0)
		}
		putInto(t, source, 4, 1)
		putInto(t, w.ledger, 3, 0)
		r := replicating(t, x, dir, source, "replicator", "a:1")
		time.Sleep(3 * time.Second)
		if s := statusOf(t, r, "a:1"); s.Sent != 3 || s.Held != 1 || s.NotSent != 1 || s.Behind != 0 || s.State != replicate.HostGood {
			t.Fatalf("%+v", s)
		}
		got, err := w.ledger.At(t.Context(), "vote", 1)
		must(t, err)
		if got.Hops != 1 {
			t.Errorf("the record says that it was sent on %d times", got.Hops)
		}
		putInto(t, source, 5, 0)
		time.Sleep(time.Second)
		if s := statusOf(t, r, "a:1"); s.Sent != 4 {
			t.Errorf("a record that came later: %+v", s)
		}
		time.Sleep(50 * time.Second)
		if n := w.Connections(); n != 0 {
			t.Errorf("%d connections are open when there is nothing to send", n)
		}
		must(t, r.Close())

		r = replicating(t, x, dir, source, "replicator", "a:1")
		time.Sleep(time.Minute)
		if s := statusOf(t, r, "a:1"); s.Sent != 4 || s.Held != 1 {
			t.Errorf("after a restart with nothing new: %+v", s)
		}
		must(t, r.Close())
		r = replicating(t, x, dir, source, "replicator") // the host was removed
		time.Sleep(3 * time.Second)
		if all, err := r.Status(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		must(t, r.Close())
	})
}

// TestReplicationDown: a server that is down is tried again with growing pauses, and gets everything when it is back; the
// others do not wait for it.
func TestReplicationDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		up, down := receiver(t), receiver(t)
		x.set("up:1", up.Server)
		source := legacytest.NewLedger(t)
		putInto(t, source, 1, 0)
		r := replicating(t, x, t.TempDir(), source, "replicator", "up:1", "down:1")
		time.Sleep(5 * 24 * time.Hour)
		if s := statusOf(t, r, "down:1"); s.State != replicate.HostUnreachable || s.Behind != 1 || !strings.Contains(s.Why, "nobody is there") || time.Since(s.FailingSince) < 4*24*time.Hour {
			t.Errorf("%+v", s)
		}
		dials := x.dials("down:1")
		if n := len(dials); n < 60 || n > 400 {
			t.Errorf("%d tries in five days", n)
		}
		if first, last := dials[1].Sub(dials[0]), dials[len(dials)-1].Sub(dials[len(dials)-2]); first > 4*time.Second || last < 20*time.Minute {
			t.Errorf("the first pause is %v, the last %v", first, last)
		}
		putInto(t, source, 2, 0)
		time.Sleep(time.Second)
		if s := statusOf(t, r, "up:1"); s.Sent != 2 {
			t.Errorf("the other host: %+v", s)
		}
		x.set("down:1", down.Server)
		time.Sleep(2 * time.Hour)
		if s := statusOf(t, r, "down:1"); s.Sent != 2 || s.Behind != 0 || s.State != replicate.HostGood || !s.FailingSince.IsZero() {
			t.Errorf("when it is back: %+v", s)
		}
		must(t, r.Close())
	})
}

// TestReplicationRefused: a record that a server refuses does not hold up those behind it, is offered again with growing
// pauses, and given up after four days, or taken when the server has changed its mind.
func TestReplicationRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x, dir := newExchange(), t.TempDir()
		w := receiver(t)
		x.set("a:1", w.Server)
		refuse := true
		var tries []time.Time
		w.ledger.BeforePut = func(context.Context) error {
			if refuse {
				tries = append(tries, time.Now())
				return &legacy.RefusedError{Reason: "not today"}
			}
			return nil
		}
		source := legacytest.NewLedger(t)
		putInto(t, source, 1, 0)
		putInto(t, source, 2, 0)
		r := replicating(t, x, dir, source, "replicator", "a:1")
		time.Sleep(time.Hour)
		if s := statusOf(t, r, "a:1"); s.Refused != 2 || s.Behind != 0 || s.State != replicate.HostGood {
			t.Fatalf("%+v", s)
		}
		must(t, r.Close()) // the pauses go on over a restart
		refuse = false
		w.ledger.BeforePut = nil
		r = replicating(t, x, dir, source, "replicator", "a:1")
		time.Sleep(2 * time.Hour)
		if s := statusOf(t, r, "a:1"); s.Refused != 0 || s.Sent != 2 {
			t.Errorf("when it takes them: %+v", s)
		}
		w.ledger.BeforePut = func(context.Context) error {
			tries = append(tries, time.Now())
			return &legacy.RefusedError{Reason: "never"}
		}
		tries = nil
		putInto(t, source, 3, 0)
		time.Sleep(5 * 24 * time.Hour)
		if s := statusOf(t, r, "a:1"); s.Refused != 0 || s.GivenUp != 1 {
			t.Errorf("after four days: %+v", s)
		}
		if len(tries) < 90 || len(tries) > 150 || tries[len(tries)-1].Sub(tries[0]) < 4*24*time.Hour {
			t.Errorf("%d tries, the last %v after the first", len(tries), tries[len(tries)-1].Sub(tries[0]))
		}
		must(t, r.Close())
	})
}

// TestReplicationStates: what keeps a server from getting records is reported as what it is.
func TestReplicationStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		production, open := receiver(t, func(o *legacy.Options) { o.Production = true }), receiver(t)
		x.set("production:1", production.Server)
		x.set("open:1", open.Server)
		source := legacytest.NewLedger(t)
		putInto(t, source, 1, 0)
		r := replicating(t, x, t.TempDir(), source, "nobody", "production:1", "open:1")
		time.Sleep(time.Minute)
		for host, want := range map[string]replicate.HostStatus{
			"production:1": {State: replicate.HostProduction, Why: "production mode"},
			"open:1":       {State: replicate.HostLogin, Why: "login as nobody"},
		} {
			if s := statusOf(t, r, host); s.State != want.State || !strings.Contains(s.Why, want.Why) || s.Behind != 1 {
				t.Errorf("%s: %+v", host, s)
			}
		}
		must(t, r.Close())
	})
}

// TestReplicationFile: a damaged file is refused with the remedy, and not overwritten.
func TestReplicationFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{", `{"no host": {}}`, `{"a:1": null}`, `{"a:1": {"next": {"vote": -1}}}`} {
		dir := t.TempDir()
		file := filepath.Join(dir, "replication.json")
		must(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := replicate.Start(replicate.Options{Dir: dir, Hosts: func() []string { return nil }}, legacytest.NewLedger(t))
		if err == nil || !strings.Contains(err.Error(), "offered again") {
			t.Errorf("%s: %v", text, err)
		}
		if raw, _ := os.ReadFile(file); string(raw) != text {
			t.Errorf("%s became %s", text, raw)
		}
	}
}
