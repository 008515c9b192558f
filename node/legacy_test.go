package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/pquerna/otp/totp"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
	"pyvnode/node/accounts"
	"pyvnode/p2p"
)

// legacyNode runs a node that serves the original protocol, with real parts throughout. Its options may be changed.
func legacyNode(t *testing.T, dir string, change func(*RunOptions)) (r *Running, address string) {
	t.Helper()
	o := RunOptions{
		Options: Options{Data: dir},
		Network: p2p.Options{Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
		Legacy:  &legacy.Options{Address: "127.0.0.1:0", Dir: filepath.Join(dir, LegacyDir), ThrottleOff: true},
	}
	if change != nil {
		change(&o)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, r.Status().Legacy
}

func foundedFor(t *testing.T, members ...ledger.Origin) string {
	t.Helper()
	dir := filepath.Join(shortTemp(t), "node")
	doc := ledger.GenesisDoc{Strength: record.DefaultStrength, PrivateKinds: []string{"voter"}, Members: members, MaxHops: 1}
	if _, _, err := FoundNetwork(t.Context(), dir, doc); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLegacyReplay: a whole node answers all that was recorded of the original server, in one data directory.
func TestLegacyReplay(t *testing.T) {
	dir := foundedFor(t)
	r, address := legacyNode(t, dir, func(o *RunOptions) { o.Legacy.ThrottleOff = false })
	legacytest.Replay(t, address)
	held := r.node.RecordCountOf(t, "vote") + r.node.RecordCountOf(t, "charity")
	if held != 6 {
		t.Errorf("%d records are in the ledger, want 6", held)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// All of it is there after a restart: the user, the records, the site's ID.
	_, address = legacyNode(t, dir, nil)
	p := legacytest.Dial(t, address)
	p.StartSession(t)
	p.Login(t, "admin", "1234")
	if got := legacytest.Show(p.Call(t, "rcheck", "vote", "proof")); got != "['OK', 'No errors.', 'proof', 5, 'total']" {
		t.Errorf("rcheck answers %s", got)
	}
	if got := legacytest.Show(p.Call(t, "ls")); got != "['OK', 'up.bin_0', 'f1.txt']" && got != "['OK', 'f1.txt', 'up.bin_0']" {
		t.Errorf("ls answers %s", got)
	}
}

// RecordCountOf is RecordCount for tests.
func (n *Node) RecordCountOf(t *testing.T, kind string) uint64 {
	t.Helper()
	count, err := n.RecordCount(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// twoNodes runs two nodes of one network, each with an administrator of its own.
func twoNodes(t *testing.T, change func(*RunOptions)) (dirs [2]string, peers [2]*legacytest.Peer) {
	t.Helper()
	second := filepath.Join(shortTemp(t), "second")
	if err := os.MkdirAll(second, 0o700); err != nil {
		t.Fatal(err)
	}
	key, _, err := CreateIdentity(second, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := foundedFor(t, ledger.OriginOf(key))
	g, err := OwnGenesis(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := JoinNetwork(t.Context(), second, g); err != nil {
		t.Fatal(err)
	}
	alone := func(o *RunOptions) {
		o.Alone = true
		if change != nil {
			change(o)
		}
	}
	r, one := legacyNode(t, dir, alone)
	first := r.Status()
	_, two := legacyNode(t, second, func(o *RunOptions) {
		alone(o)
		o.Network.Peers = []peer.AddrInfo{{ID: first.ID, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast(first.Listen[0]).Decapsulate(multiaddr.StringCast("/p2p/" + first.ID.String()))}}}
	})
	for i, address := range []string{one, two} {
		p := legacytest.Dial(t, address)
		p.Call(t, "uini", "admin", "1234")
		p.StartSession(t)
		p.Login(t, "admin", "1234")
		peers[i] = p
	}
	return [2]string{dir, second}, peers
}

// replicatedOf waits until a node has a record, and returns how often it says that it was sent on.
func replicatedOf(t *testing.T, p *legacytest.Peer, header record.Value) record.Value {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !legacytest.IsOK(p.Call(t, "rhave", "vote", header)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node does not get the record")
		}
	}
	reply := legacytest.Items(p.Call(t, "rget", "vote", header))
	packed, _ := legacytest.Items(legacytest.Items(reply[3])[0])[1].(record.Bytes)
	got, err := record.Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	hops, _ := got.Get(record.KeyReplicated)
	return hops
}

// TestLegacyNetwork: what an original client puts at one node, one of another node gets, with how often it was sent on;
// and what both nodes were given counts once. A vote goes into the logs of both, since it counts only in the one of its
// party.
func TestLegacyNetwork(t *testing.T) {
	_, peers := twoNodes(t, nil)
	a := legacytest.Record(t, 1)
	header, _ := a.Get(record.Text(record.KeyHeader))
	if reply := peers[0].Call(t, "rput", "vote", a); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	if hops := replicatedOf(t, peers[1], header); hops != record.Value(record.NewInt(1)) {
		t.Errorf("the record was sent on %v times, want 1", hops)
	}
	if reply := peers[1].Call(t, "rput", "vote", a); !legacytest.IsOK(reply) {
		t.Errorf("the same vote at the other node: %s", legacytest.Show(reply))
	}
	if reply := peers[1].Call(t, "rput", "vote", a); legacytest.Show(reply) != fmt.Sprintf("['ERR', 'Duplicate block, not saved.', '%s', 0]", header) {
		t.Errorf("the same vote again: %s", legacytest.Show(reply))
	}
	if got := legacytest.Show(peers[1].Call(t, "rsize", "vote")); got != "['OK', 1, 'records']" {
		t.Errorf("rsize answers %s", got)
	}
}

// TestLegacyOtherKind: whoever stores a record under another kind first, here or at another node, does not keep it out.
func TestLegacyOtherKind(t *testing.T) {
	_, peers := twoNodes(t, nil)
	a := legacytest.Record(t, 1)
	header, _ := a.Get(record.Text(record.KeyHeader))
	if reply := peers[0].Call(t, "rput", "aaa", a); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	for deadline := time.Now().Add(time.Minute); !legacytest.IsOK(peers[1].Call(t, "rhave", "aaa", header)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other node does not get the record")
		}
	}
	for i, p := range peers {
		for _, kind := range []string{[]string{"gift", "charity"}[i], "vote"} {
			if reply := p.Call(t, "rput", kind, a); !legacytest.IsOK(reply) {
				t.Errorf("node %d, as %s: %s", i, kind, legacytest.Show(reply))
			}
			if reply := p.Call(t, "rhave", kind, header); !legacytest.IsOK(reply) {
				t.Errorf("node %d has none of kind %s: %s", i, kind, legacytest.Show(reply))
			}
			if reply := p.Call(t, "rput", kind, a); !strings.Contains(legacytest.Show(reply), "Duplicate block") {
				t.Errorf("node %d, as %s again: %s", i, kind, legacytest.Show(reply))
			}
			if reply := p.Call(t, "rsize", kind); legacytest.Show(reply) != "['OK', 1, 'records']" {
				t.Errorf("node %d, of kind %s: %s", i, kind, legacytest.Show(reply))
			}
		}
	}
}

// TestLegacyHops: what an original server sent to one node goes from another node of the network to its own servers, as if
// that node had been given it; but not from the one back to where it may have come from.
func TestLegacyHops(t *testing.T) {
	receiverDir := foundedFor(t)
	_, to := legacyNode(t, receiverDir, nil)
	users, err := accounts.Open(receiverDir, accounts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = users.Close() }()
	if err := users.AddReplicator(t.Context(), "branch", "secret", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dirs, peers := twoNodes(t, func(o *RunOptions) { o.Replication = Replication{"branch", password} })
	a := legacytest.Record(t, 1)
	a.Set(record.Text(record.KeyReplicated), record.NewInt(1))
	if reply := peers[0].Call(t, "rput", "vote", a); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	for i, want := range []legacy.ReplicationCounts{{NotSent: 1}, {Sent: 1}} {
		if reply := peers[i].Call(t, "ihost", "add", to); !legacytest.IsOK(reply) {
			t.Fatal(legacytest.Show(reply))
		}
		c := dial(t, dirs[i])
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			hosts, err := c.Replication(t.Context())
			if err == nil && len(hosts) == 1 && hosts[0].ReplicationCounts == want && hosts[0].Behind == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d: %+v, %v, want %+v", i, hosts, err, want)
			}
		}
	}
	p := legacytest.Dial(t, to)
	p.Login(t, "branch", "secret")
	header, _ := a.Get(record.Text(record.KeyHeader))
	if hops := replicatedOf(t, p, header); hops != record.Value(record.NewInt(1)) {
		t.Errorf("the record was sent on %v times, want 1", hops)
	}
}

// TestLegacyReplication: a node sends what it is given to a server that an administrator names, here a node of another
// network with a restricted account, and says how that goes. Without a password, or with one that others can read, it sends
// nothing, and says so.
func TestLegacyReplication(t *testing.T) {
	receiverDir, dir := foundedFor(t), foundedFor(t)
	_, to := legacyNode(t, receiverDir, nil)
	users, err := accounts.Open(receiverDir, accounts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = users.Close() }()
	if err := users.AddReplicator(t.Context(), "branch", "secret", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}); err != nil {
		t.Fatal(err)
	}
	r, address := legacyNode(t, dir, nil)
	p := legacytest.Dial(t, address)
	p.Call(t, "uini", "admin", "1234")
	p.Login(t, "admin", "1234")
	if reply := p.Call(t, "ihost", "add", to); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	if reply := p.Call(t, "rput", "vote", legacytest.Record(t, 1)); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	if hosts, err := dial(t, dir).Replication(t.Context()); err != nil || len(hosts) != 1 || hosts[0].State != legacy.HostOff {
		t.Fatalf("without a password: %+v, %v", hosts, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := RunOptions{Options: Options{Data: dir}, Network: p2p.Options{Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
		Legacy: &legacy.Options{Address: "127.0.0.1:0", Dir: filepath.Join(dir, LegacyDir)}, Replication: Replication{"branch", password}}
	if _, err := Run(t.Context(), o); !errors.As(err, new(*store.PermissionError)) {
		t.Fatalf("a password that others can read: %v", err)
	}
	if err := os.Chmod(password, 0o600); err != nil {
		t.Fatal(err)
	}
	legacyNode(t, dir, func(n *RunOptions) { n.Replication = o.Replication })
	c := dial(t, dir)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		hosts, err := c.Replication(t.Context())
		if err == nil && len(hosts) == 1 && hosts[0].Sent == 1 && hosts[0].Behind == 0 && hosts[0].State == legacy.HostGood {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", hosts, err)
		}
	}
}

// TestLegacyRefusals: what the ledger does not take is refused in words for the client, and nothing is stored.
func TestLegacyRefusals(t *testing.T) {
	dir := foundedFor(t)
	stranger := filepath.Join(shortTemp(t), "stranger")
	g, err := OwnGenesis(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := JoinNetwork(t.Context(), stranger, g); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, kind, want string }{
		{"a private kind", dir, "voter", `never published`},
		{"a node that is no member", stranger, "vote", `does not let`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, address := legacyNode(t, c.dir, func(o *RunOptions) { o.Alone = true })
			p := legacytest.Dial(t, address)
			p.Call(t, "uini", "admin", "1234")
			p.Login(t, "admin", "1234")
			reply := p.Call(t, "rput", c.kind, legacytest.Record(t, 2))
			if text := legacytest.Show(reply); !legacytest.IsError(reply) || !strings.Contains(text, c.want) {
				t.Errorf("answers %s, want an ERR with %q", text, c.want)
			}
			if n := r.node.RecordCountOf(t, c.kind); n != 0 {
				t.Errorf("%d records are stored", n)
			}
		})
	}
}

// TestLegacyProduction: in production mode records are put after a second factor only, whose secret is shown to its user.
func TestLegacyProduction(t *testing.T) {
	dir := foundedFor(t)
	_, address := legacyNode(t, dir, func(o *RunOptions) { o.Legacy.Production = true })
	p := legacytest.Dial(t, address)
	p.Call(t, "uini", "admin", "1234")
	p.StartSession(t)
	p.Login(t, "admin", "1234")
	put := func() record.Value { return p.Call(t, "rput", "vote", legacytest.Record(t, 3)) }
	if reply := put(); legacytest.IsOK(reply) {
		t.Fatalf("without a second factor: %s", legacytest.Show(reply))
	}
	users, err := accounts.Open(dir, accounts.Options{}) // as the command line does beside a node that runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = users.Close() }()
	enrolment, err := users.Enrol(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(enrolment.Secret(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if reply := p.Call(t, "twofa", code); legacytest.IsOK(reply) {
		t.Fatal("the session from before the second factor goes on")
	}
	p.Login(t, "admin", "1234")
	if reply := p.Call(t, "twofa", "000000"); legacytest.IsOK(reply) {
		t.Fatal("a wrong code is taken")
	}
	if reply := p.Call(t, "twofa", code); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
	if reply := put(); !legacytest.IsOK(reply) {
		t.Fatal(legacytest.Show(reply))
	}
}

// TestLegacySecrets: whatever goes right or wrong, no password, code or session key is in the log, at any level.
func TestLegacySecrets(t *testing.T) {
	dir := foundedFor(t)
	var log syncedBuffer
	_, address := legacyNode(t, dir, func(o *RunOptions) {
		o.Levels = NewLevels(slog.LevelDebug)
		o.Logger = slog.New(o.Levels.Handler(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	})
	p := legacytest.Dial(t, address)
	const password, second, wrong, code = "correct-horse", "battery-staple", "wrong-guess", "918273"
	p.Call(t, "uini", "admin", password)
	p.StartSession(t)
	p.Call(t, "user", "admin")
	p.Call(t, "pass", wrong)
	p.Call(t, "pass", password)
	p.Call(t, "twofa", code)
	p.Call(t, "uadd", "bob", second)
	p.Call(t, "chpass", "bob", second, second+"x")
	p.Call(t, "uadd", second, "")
	p.Call(t, "pass", password, "and more")
	p.Call(t, "nosuch", password)
	_ = p.Raw([]byte{0, 5, 1, 2, 3, 4, 5})
	_, _ = p.Receive()
	_ = p.Close()
	text := log.String()
	if !strings.Contains(text, "original protocol") {
		t.Fatalf("the log is not what it should be: %s", text)
	}
	for _, secret := range []string{password, second, wrong, code, string(p.Key), "$argon2id"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log:\n%s", secret, text)
		}
	}
}

// syncedBuffer is a buffer for several writers.
type syncedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestSpanOf(t *testing.T) {
	t.Parallel()
	at := uuid.MustParse("6f0c6a13-0a00-11ef-8000-000000000003")
	unix := float64(record.HeaderTime(at).UnixNano()) / 1e9
	for _, c := range []struct {
		name      string
		from, to  float64
		inclusive bool
		in        bool
	}{
		{"around", unix - 1, unix + 1, false, true},
		{"before", unix - 2, unix - 1, true, false},
		{"after", unix + 1, unix + 2, true, false},
		{"backwards", unix + 1, unix - 1, true, false},
		{"everything", math.Inf(-1), math.Inf(1), false, true},
		{"not numbers", math.NaN(), math.NaN(), true, false},
		{"huge", -1e300, 1e300, true, true},
		{"nothing", 0, 0, true, false},
	} {
		span, ok := spanOf(c.from, c.to, c.inclusive)
		time := uint64(at.Time())
		if in := ok && time >= span.From && time < span.To; in != c.in {
			t.Errorf("%s: in %+v (%v): %v, want %v", c.name, span, ok, in, c.in)
		}
	}
	// Whole seconds are exact: the one bound is in, the other is out.
	whole, ok := spanOf(1714800000, 1714800010, true)
	open, ok2 := spanOf(1714800000, 1714800010, false)
	if !ok || !ok2 || whole.To-whole.From != 10*1e7+1 || open.To-open.From != 10*1e7-1 {
		t.Errorf("%+v and %+v", whole, open)
	}
}

// TestLegacyErrors: every error of the accounts by which the adapter decides is one that it knows.
func TestLegacyErrors(t *testing.T) {
	t.Parallel()
	for _, e := range legacyErrors {
		if err := legacyError(fmt.Errorf("user x: %w", e.ours)); !errors.Is(err, e.theirs) {
			t.Errorf("%v becomes %v", e.ours, err)
		}
	}
	var limited *legacy.LimitedError
	if err := legacyError(&accounts.LimitedError{RetryAfter: 7}); !errors.As(err, &limited) || limited.Wait != 7 {
		t.Errorf("a limit becomes %v", err)
	}
	if _, err := legacyRecord(nil, fmt.Errorf("x: %w", store.ErrNotFound)); !errors.Is(err, legacy.ErrNotFound) {
		t.Error(err)
	}
}
