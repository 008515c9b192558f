package legacy_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server with what is behind it.
type world struct {
	*legacy.Server
	ledger   *legacytest.Ledger
	accounts *legacytest.Accounts
	dir      string
	address  string
}

// start serves an empty data root and ledger, with an administrator "admin" and a user "bob", whose passwords are "pw".
func start(t testing.TB, change ...func(*legacy.Options)) *world {
	t.Helper()
	w := newWorld(t)
	patient := func(o *legacy.Options) { o.Timeout = time.Minute } // a busy machine is no idle client
	w.serve(t, append([]func(*legacy.Options){patient}, change...)...)
	return w
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{ledger: legacytest.NewLedger(t), accounts: legacytest.NewAccounts(), dir: t.TempDir()}
	must(t, w.accounts.Initialise(t.Context(), "admin", "pw"))
	must(t, w.accounts.Add(t.Context(), "bob", "pw", 0))
	return w
}

func (w *world) options(change ...func(*legacy.Options)) legacy.Options {
	o := legacy.Options{Address: "127.0.0.1:0", Dir: w.dir, ThrottleOff: true}
	for _, c := range change {
		c(&o)
	}
	return o
}

func (w *world) serve(t testing.TB, change ...func(*legacy.Options)) {
	t.Helper()
	s, err := legacy.Start(t.Context(), w.options(change...), w.ledger, w.accounts)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	w.Server, w.address = s, s.Addr().String()
}

// dial opens a connection, in clear text.
func (w *world) dial(t testing.TB) *legacytest.Peer {
	t.Helper()
	return legacytest.Dial(t, w.address)
}

// login opens an encrypted session of a user.
func (w *world) login(t testing.TB, user string) *legacytest.Peer {
	t.Helper()
	p := w.dial(t)
	p.StartSession(t)
	p.Login(t, user, "pw")
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantReply compares a reply with what Python shows of the wanted one.
func wantReply(t testing.TB, reply record.Value, want string) {
	t.Helper()
	if got := legacytest.Show(reply); got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
}

func wantError(t testing.TB, reply record.Value, words string) {
	t.Helper()
	if text := legacytest.Show(reply); !legacytest.IsError(reply) || !strings.Contains(text, words) {
		t.Errorf("answered %s, want an ERR with %q", text, words)
	}
}

func wantOK(t testing.TB, reply record.Value) {
	t.Helper()
	if !legacytest.IsOK(reply) {
		t.Errorf("answered %s, want OK", legacytest.Show(reply))
	}
}

// TestReplay is the original's own behaviour, step by step, with everything of the server at its default.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := &world{ledger: legacytest.NewLedger(t), accounts: legacytest.NewAccounts(), dir: t.TempDir()}
	w.serve(t, func(o *legacy.Options) { o.ThrottleOff = false })
	legacytest.Replay(t, w.address)
}

// TestSite restarts a server: what it is known by stays.
func TestSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func() (id, key record.Value, hosts, image string) {
		s, err := legacy.Start(t.Context(), w.options(), w.ledger, w.accounts)
		must(t, err)
		defer func() { must(t, s.Close()) }()
		w.address = s.Addr().String()
		p := w.login(t, "admin")
		id, key = legacytest.Items(p.Call(t, "id"))[1], p.Call(t, "akey")
		hosts, image = legacytest.Show(p.Call(t, "ihost", "list")), legacytest.Show(p.Call(t, "qr"))
		p.Call(t, "ihost", "add", "replica.example:6666")
		p.Call(t, "ihost", "add", "[::1]:6667")
		p.Call(t, "ihost", "add", "gone.example:6666")
		p.Call(t, "ihost", "del", "gone.example:6666")
		p.Call(t, "qr", []byte("an image"))
		if got := s.Hosts(); len(got) != 2 {
			t.Errorf("the server says its hosts are %q", got)
		}
		return id, key, hosts, image
	}
	id, key, hosts, image := ask()
	if hosts != "['OK', []]" || image != "['ERR', 'No QR image on server']" {
		t.Errorf("a fresh server answers %s and %s", hosts, image)
	}
	idAgain, keyAgain, hosts, image := ask()
	if !record.Equal(id, idAgain) || !record.Equal(key, keyAgain) {
		t.Errorf("the site was %v with %v, and is %v with %v", id, key, idAgain, keyAgain)
	}
	if hosts != "['OK', ['replica.example:6666', '[::1]:6667']]" || image != "['OK', b'an image']" {
		t.Errorf("after a restart the server answers %s and %s", hosts, image)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, name := range []string{".", legacy.KeyDir, legacy.PayloadDir, legacy.HostsFile} {
		info, err := os.Stat(filepath.Join(w.dir, name))
		must(t, err)
		if name != "." && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v", name, info.Mode())
		}
	}
}

// TestDamagedSite refuses what it cannot read instead of making it anew.
func TestDamagedSite(t *testing.T) {
	t.Parallel()
	for _, damage := range []struct{ file, words string }{
		{legacy.SiteFile, "no UUID"},
		{legacy.KeyDir + "/x.pem", "not a key of the original"},
		{legacy.HostsFile, "not host:port"},
	} {
		w := newWorld(t)
		must(t, os.MkdirAll(filepath.Join(w.dir, legacy.KeyDir), 0o700))
		must(t, os.WriteFile(filepath.Join(w.dir, damage.file), []byte("x"), 0o600))
		_, err := legacy.NewServer(w.options(), w.ledger, w.accounts)
		if err == nil || !strings.Contains(err.Error(), damage.words) || !strings.Contains(err.Error(), w.dir) {
			t.Errorf("%s: %v, want an error with %q and the file", damage.file, err, damage.words)
		}
	}
}

// TestHosts bounds the list of hosts.
func TestHosts(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "admin")
	for _, bad := range []string{"", "x", "x:", ":1", "x:0", "x:65536", "x:-1", "x:http", "a:1:2", "a b:1", "a\x00b:1", "a\n:1", strings.Repeat("x", 300) + ":1"} {
		wantError(t, p.Call(t, "ihost", "add", bad), "Entry must be in host:port format.")
	}
	for i := range legacy.MaxHosts {
		wantOK(t, p.Call(t, "ihost", "add", "host:"+string(rune('1'+i/10))+string(rune('0'+i%10))))
	}
	wantError(t, p.Call(t, "ihost", "add", "more:1"), "Too many entries")
	off := start(t, func(o *legacy.Options) { o.ReplicationOff = true })
	p = off.login(t, "admin")
	wantError(t, p.Call(t, "ihost", "add", "x:1"), "Replication is off")
	wantReply(t, p.Call(t, "ihost", "list"), "['OK', []]")
}

// TestSession exchanges keys, good ones and others.
func TestSession(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.dial(t)
	key := strings.Repeat("k", 40)
	for name, c := range map[string]struct{ keySum, sum, message, want string }{
		"sum of the message":  {hexSum(key), hexSum("x"), "message", "session key damaged on transport."},
		"not encrypted":       {hexSum(key), hexSum(key), key, "session key damaged on decoding."},
		"nothing":             {hexSum(key), hexSum(""), "", "session key damaged on decoding."},
		"sum of another key":  {hexSum("x"), hexSum(encrypt(t, p, key)), "", "session key damaged on transport."},
		"a short session key": {hexSum("short"), "", "short", "not a usable session key."},
		"unprintable":         {hexSum(key + "\n"), "", key + "\n", "not a usable session key."},
	} {
		if c.sum == "" {
			c.message = encrypt(t, p, c.message)
			c.sum = hexSum(c.message)
		}
		reply := p.Call(t, "sess", c.keySum, c.sum, c.message)
		if want := "['ERR', '" + c.want + "']"; legacytest.Show(reply) != want {
			t.Errorf("%s: %s, want %s", name, legacytest.Show(reply), want)
		}
	}
	wantOK(t, p.Call(t, "hello")) // in clear text, still
	for range 3 {
		wantOK(t, p.StartSession(t))
		wantOK(t, p.Call(t, "hello"))
	}
}

// TestLimits refuses connections over a limit with a reason, and lets others in when one has gone.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Limits = legacy.Limits{Connections: 3, PerAddress: 2} })
	first, second := w.dial(t), w.dial(t)
	wantOK(t, first.Call(t, "hello"))
	refused := w.dial(t)
	wantError(t, refused.Greeting, "Too many connections from your address")
	must(t, refused.Ended())
	wantOK(t, second.Call(t, "quit"))
	must(t, second.Close())
	eventually(t, func() bool { return w.Connections() == 1 })
	wantOK(t, w.dial(t).Greeting)
}

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestClose ends idle connections at once, and lets a command that is under way come to its end and its answer.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.ledger.BeforePut = func(context.Context) error {
		close(entered)
		<-leave
		return nil
	}
	s, err := legacy.Start(t.Context(), w.options(), w.ledger, w.accounts)
	must(t, err)
	w.address = s.Addr().String()
	idle, busy := w.dial(t), w.login(t, "bob")
	must(t, busy.Send(legacytest.Request("rput", "vote", legacytest.Record(t, 1))))
	<-entered
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	must(t, idle.Ended())
	select {
	case <-closed:
		t.Error("the server closed with a command under way")
	default:
	}
	close(leave)
	reply, err := busy.Receive()
	must(t, err)
	wantOK(t, reply)
	must(t, <-closed)
	if w.ledger.Store.Count("vote") != 1 {
		t.Error("the record is not there")
	}
	if _, err := net.Dial("tcp", w.address); err == nil {
		t.Error("a closed server takes connections")
	}
}

// TestCloseCutsOff ends commands that do not come to their end.
func TestCloseCutsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dial := piped(t)
		var given error
		w.ledger.BeforePut = func(ctx context.Context) error {
			<-ctx.Done()
			given = ctx.Err()
			return given
		}
		p := dial()
		p.Login(t, "bob", "pw")
		must(t, p.Send(legacytest.Request("rput", "vote", legacytest.Record(t, 1))))
		synctest.Wait()
		before := time.Now()
		must(t, w.Close())
		if took := time.Since(before); !errors.Is(given, context.Canceled) || took > 10*time.Second {
			t.Errorf("Close took %v, and the command got %v", took, given)
		}
	})
}

// piped makes a server without a listener, for tests in fake time; dial connects to it in memory.
func piped(t *testing.T, change ...func(*legacy.Options)) (w *world, dial func() *legacytest.Peer) {
	t.Helper()
	w = newWorld(t)
	s, err := legacy.NewServer(w.options(change...), w.ledger, w.accounts)
	must(t, err)
	w.Server = s
	t.Cleanup(func() { must(t, s.Close()) })
	return w, func() *legacytest.Peer {
		ours, theirs := net.Pipe()
		go s.Serve(theirs) // a pipe has no buffer for a refusal
		p, err := legacytest.Greet(ours)
		must(t, err)
		t.Cleanup(func() { _ = ours.Close() })
		return p
	}
}

// TestThrottle delays the greeting of an address that connects often, and refuses what is too much.
func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const delayed = 2
		w, dial := piped(t, func(o *legacy.Options) {
			o.ThrottleOff = false
			o.Limits.Delayed = delayed
		})
		took := func() time.Duration {
			before := time.Now()
			wantOK(t, dial().Greeting)
			return time.Since(before)
		}
		for range legacy.ThrottleBurst {
			if d := took(); d != 0 {
				t.Errorf("a greeting took %v", d)
			}
		}
		if d := took(); d != legacy.ThrottleDelay {
			t.Errorf("the greeting after the burst took %v", d)
		}
		time.Sleep(time.Minute)
		if d := took(); d != 0 {
			t.Errorf("after a minute a greeting took %v", d)
		}
		for range legacy.ThrottleBurst - 1 {
			took()
		}
		var waiting sync.WaitGroup
		for range delayed {
			waiting.Go(func() { dial() })
		}
		synctest.Wait()
		wantError(t, dial().Greeting, "Too many connections at once")
		waiting.Wait()
		wantOK(t, dial().Greeting)

		p := dial() // delayed
		p.Login(t, "admin", "pw")
		wantOK(t, p.Call(t, "throt", "off"))
		if d := took(); d != 0 {
			t.Errorf("without throttle a greeting took %v", d)
		}
		wantError(t, p.Call(t, "throt", "sideways"), "'on' or 'off'")
		_ = w
	})
}

// TestThrottleForgets bounds what the throttle remembers.
func TestThrottleForgets(t *testing.T) {
	t.Parallel()
	throttle := legacy.NewThrottle(true)
	now := time.Unix(1_800_000_000, 0)
	busy := netip.MustParsePrefix("192.0.2.1/32")
	address := netip.MustParseAddr("10.0.0.0")
	for range 3 * legacy.ThrottleCapacity {
		address = address.Next()
		now = now.Add(time.Millisecond)
		throttle.Delay(legacy.Neighbourhood(address), now)
		throttle.Delay(busy, now)
	}
	if n := throttle.Size(); n > legacy.ThrottleCapacity {
		t.Errorf("%d addresses are remembered", n)
	}
	for text, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "2001:db8::1:2:3:4": "2001:db8::/64", "::ffff:192.0.2.7": "192.0.2.7/32"} {
		if got := legacy.Neighbourhood(netip.MustParseAddr(text)).String(); got != want {
			t.Errorf("%s is counted with %s, want %s", text, got, want)
		}
	}
}

// TestAnnouncement is deviation 12 of docs/original-protocol.md: the protocol's encryption is for compatibility only,
// and the log says so; without being told otherwise, the server listens on loopback.
func TestAnnouncement(t *testing.T) {
	t.Parallel()
	said := func(change func(*legacy.Options)) string {
		var out bytes.Buffer
		w := newWorld(t)
		s, err := legacy.Start(t.Context(), w.options(func(o *legacy.Options) {
			o.Logger = slog.New(slog.NewTextHandler(&out, nil))
			change(o)
		}), w.ledger, w.accounts)
		must(t, err)
		must(t, s.Close())
		return out.String()
	}
	loopback := said(func(*legacy.Options) {})
	everywhere := said(func(o *legacy.Options) { o.Address, o.Production = "0.0.0.0:0", true })
	for _, c := range []struct {
		words          string
		here, anywhere bool
	}{
		{"the encryption of the original protocol is weak", true, true},
		{"other machines can reach", false, true},
		{"development mode", true, false},
	} {
		if strings.Contains(loopback, c.words) != c.here || strings.Contains(everywhere, c.words) != c.anywhere {
			t.Errorf("%q: said on loopback in development %v, everywhere in production %v", c.words, strings.Contains(loopback, c.words), strings.Contains(everywhere, c.words))
		}
	}
	host, port, err := net.SplitHostPort(legacy.DefaultAddress)
	must(t, err)
	if !netip.MustParseAddr(host).IsLoopback() || port != "6666" {
		t.Errorf("the default address is %s", legacy.DefaultAddress)
	}
}

// TestPortInUse says what is wrong when the server cannot listen.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	w := start(t)
	other := newWorld(t)
	_, err := legacy.Start(t.Context(), other.options(func(o *legacy.Options) { o.Address = w.address }), other.ledger, other.accounts)
	if err == nil || !strings.Contains(err.Error(), w.address) {
		t.Errorf("a second server on %s: %v", w.address, err)
	}
}
