package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// stubNetwork is a network in which this node is alone.
type stubNetwork struct {
	*store.Store
	o p2p.Options

	mu     sync.Mutex
	refuse error // what Submit returns
	closed bool
}

func (n *stubNetwork) Submit(ctx context.Context, drafts ...*ledger.Draft) (store.Pending, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return store.Pending{}, n.refuse
	}
	return n.Store.Submit(ctx, drafts...)
}

func (n *stubNetwork) refuseWith(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = err
}

func (n *stubNetwork) Status() p2p.Status {
	f := n.Frontier()
	return p2p.Status{ID: ledger.OriginOf(n.o.Key).PeerID(), Listen: n.o.Listen, Digest: f.Digest(n.Genesis().Network()), Entries: f.Entries(), Signing: p2p.SigningReady}
}

func (n *stubNetwork) Peers() []p2p.PeerStatus {
	return []p2p.PeerStatus{{ID: peer.ID(mustPeer(otherPeer)), Agent: "x"}}
}

func (n *stubNetwork) Links() []p2p.LinkStatus { return nil }

func (n *stubNetwork) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	_, err := n.Get(context.Background(), store.Ref{})
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the store was closed before the network: %w", err)
	}
	return nil
}

func mustPeer(text string) peer.ID {
	id, err := peer.Decode(text)
	if err != nil {
		panic(err)
	}
	return id
}

// founded returns a data directory of a network in which only this node may write.
func founded(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(shortTemp(t), "node")
	if _, _, err := FoundNetwork(t.Context(), dir, ledger.GenesisDoc{Strength: 1, PrivateKinds: []string{"voter"}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shortTemp returns a directory with a path that is short enough for sockets, whatever the test is called.
func shortTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// running runs a node with a stub for its network.
func running(t testing.TB, o RunOptions) (*Running, *stubNetwork) {
	t.Helper()
	var stub *stubNetwork
	o.join = func(_ context.Context, o p2p.Options) (network, error) {
		stub = &stubNetwork{Store: o.Store, o: o}
		return stub, nil
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !stub.closed {
			t.Error("the network was not left")
		}
	})
	return r, stub
}

func dial(t testing.TB, dir string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	if err := os.MkdirAll(filepath.Join(dir, ".api-dead", "s"), 0o700); err != nil { // of one that was killed while it started
		t.Fatal(err)
	}
	r, stub := running(t, RunOptions{Options: Options{Data: dir}, Version: "v1", Network: p2p.Options{
		Listen: []string{"/ip4/127.0.0.1/tcp/0"},
		Peers:  []peer.AddrInfo{{ID: mustPeer(otherPeer)}},
	}})
	if stub.o.PeersFile != filepath.Join(dir, RememberedFile) || len(stub.o.Peers) != 1 || stub.o.Key == nil || stub.o.Store == nil {
		t.Errorf("the network is asked for %+v", stub.o)
	}
	if info, err := os.Stat(filepath.Join(dir, APISocket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	c := dial(t, dir)
	s, err := c.Status(t.Context())
	if err != nil || s.Version != "v1" || s.ID != r.Status().ID || s.Network != r.node.Genesis().Network() || !filepath.IsAbs(s.API) || s.Process != os.Getpid() {
		t.Errorf("status: %+v, %v", s, err)
	}
	if peers, err := c.Peers(t.Context()); err != nil || len(peers) != 1 || peers[0].ID != mustPeer(otherPeer) {
		t.Errorf("peers: %v, %v", peers, err)
	}
	if links, err := c.Links(t.Context()); err != nil || len(links) != 0 {
		t.Errorf("links: %v, %v", links, err)
	}
	if _, err := Run(t.Context(), RunOptions{Options: Options{Data: dir}}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second start: %v", err)
	}
	if _, err := OpenForWriting(t.Context(), Options{Data: dir}, nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("writing beside it: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*api*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var none *NotRunningError
	if _, err := Dial(t.Context(), dir); !errors.As(err, &none) {
		t.Errorf("after it stopped: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Wait(ended); err != nil {
		t.Error(err)
	}
	openNode(t, dir)
}

func TestRunRefused(t *testing.T) {
	t.Parallel()
	var missing *NoLedgerError
	if _, err := Run(t.Context(), RunOptions{Options: Options{Data: t.TempDir()}}); !errors.As(err, &missing) {
		t.Errorf("no ledger: %v", err)
	}
	dir := founded(t)
	oops := errors.New("oops")
	failing := func(context.Context, p2p.Options) (network, error) { return nil, oops }
	if _, err := Run(t.Context(), RunOptions{Options: Options{Data: dir}, join: failing}); !errors.Is(err, oops) {
		t.Errorf("a network that cannot be joined: %v", err)
	}
	if _, err := Run(t.Context(), RunOptions{Options: Options{Data: dir}, Metrics: "127.0.0.1:99999", join: func(_ context.Context, o p2p.Options) (network, error) {
		return &stubNetwork{Store: o.Store, o: o}, nil
	}}); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("a bad address for metrics: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, form := range []string{"/ip4/127.0.0.1/tcp/%d", "/ip4/127.0.0.1/udp/%d/quic-v1"} {
		if form != "/ip4/127.0.0.1/tcp/%d" {
			udp, err := net.ListenPacket("udp", taken.Addr().String())
			if err != nil {
				t.Skip(err) // somebody else has the port
			}
			defer func() { _ = udp.Close() }()
		}
		addr := fmt.Sprintf(form, taken.Addr().(*net.TCPAddr).Port)
		if _, err := Run(t.Context(), RunOptions{Options: Options{Data: dir}, Network: p2p.Options{Listen: []string{"/ip4/127.0.0.1/tcp/0", addr}}}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening on %s, which is taken: %v", addr, err)
		}
	}
	openNode(t, dir) // none left it locked
	if err := os.Remove(filepath.Join(dir, IdentityFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), RunOptions{Options: Options{Data: dir}}); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("no key: %v", err)
	}
}

// TestRunAfterKill finds what a killed node left and replaces it.
func TestRunAfterKill(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	l, _, err := listenAPI(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(*leavingNothing).Listener.Close(); err != nil { // the socket stays
		t.Fatal(err)
	}
	writeFile(t, dir, APIFile, `{"network":"tcp","address":"127.0.0.1:1","token":"old"}`)
	var none *NotRunningError
	if _, err := Dial(t.Context(), dir); !errors.As(err, &none) {
		t.Errorf("a dead socket: %v", err)
	}
	running(t, RunOptions{Options: Options{Data: dir}})
	if _, err := dial(t, dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPutThroughRunning(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, stub := running(t, RunOptions{Options: Options{Data: dir}})
	w, err := dial(t, dir).Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	packed := records(t, 11, 1200)
	next := 1
	sum, err := w.Write(t.Context(), inputs("ballot", packed), false, func(o Outcome) error {
		if o.Status != Stored || o.Line != next || o.Ack.Seq != uint64(next-1) || o.Ack.Position != o.Ack.Seq || o.Ack.Hash.IsZero() || o.Ack.Height == 0 {
			t.Errorf("outcome %d: %+v", next, o)
		}
		next++
		return nil
	})
	if err != nil || sum != (Summary{Stored: 1200}) {
		t.Fatal(sum, err)
	}
	out, err := w.WriteOne(t.Context(), Input{Kind: "ballot", Text: packed[7]})
	var duplicate *store.DuplicateError
	if out.Status != Duplicate || out.Held.Seq != 7 || !errors.As(err, &duplicate) {
		t.Errorf("again: %+v, %v", out, err)
	}
	out, err = w.WriteOne(t.Context(), Input{Kind: "voter", Text: packed[7]})
	var private *PrivateKindError
	if out.Status != Refused || !errors.As(err, &private) {
		t.Errorf("a private kind: %+v, %v", out, err)
	}
	stub.refuseWith(&p2p.NotReadyError{State: p2p.SigningWaiting, Why: "nobody has answered"})
	sum, err = w.Write(t.Context(), inputs("other", packed), false, func(Outcome) error { return nil })
	var notReady *p2p.NotReadyError
	if !errors.As(err, &notReady) || notReady.State != p2p.SigningWaiting || sum.Stored > 0 || sum.Failed == 0 {
		t.Errorf("a node that does not sign: %+v, %v", sum, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.WriteOne(t.Context(), Input{Kind: "ballot", Text: packed[7]}); err == nil {
		t.Error("a closed writer writes")
	}
	if n := r.node.Count("ballot"); n != 1200 {
		t.Errorf("%d ballots are held", n)
	}
}

// TestStopWhileStoring stops the node in the middle of a stream: what is reported as stored is, and the client is told.
func TestStopWhileStoring(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	w, err := dial(t, dir).Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	packed := records(t, 12, 600)
	endless := func(yield func(Input, error) bool) { // as from a pipe that stays open
		for in, err := range inputs("ballot", packed) {
			if !yield(in, err) {
				return
			}
		}
		for yield(Input{Kind: "ballot", Text: packed[0]}, nil) {
		}
	}
	stored := 0
	_, err = w.Write(t.Context(), endless, false, func(o Outcome) error {
		if o.Status == Stored {
			stored++
		}
		if stored == 100 && o.Status == Stored {
			go func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		return nil
	})
	if !errors.Is(err, ErrStopping) && !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the writer learns %v", err)
	}
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if n := openNode(t, dir).Count("ballot"); n < uint64(stored) || stored < 100 {
		t.Errorf("%d were reported as stored, %d are", stored, n)
	}
}

// TestReadBesideRunning reads a snapshot while the node goes on writing.
func TestReadBesideRunning(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	packed := records(t, 13, 900)
	write := func(kind string, records [][]byte) {
		if sum, err := r.node.Write(t.Context(), inputs(kind, records), false, func(Outcome) error { return nil }); err != nil || sum.Bad() > 0 {
			t.Fatal(sum, err)
		}
	}
	write("a", packed[:600])
	n, err := OpenForReading(t.Context(), Options{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	write("b", packed[600:])
	if own, ok := n.Own(); !ok || own != r.node.own || n.Frontier().Entries() != 600 || r.node.Frontier().Entries() != 900 {
		t.Errorf("the snapshot has %v", n.Frontier())
	}
	count := func(entries iter.Seq2[*ledger.Entry, error]) (n int) {
		for _, err := range entries {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for _, l := range []Listing{{}, {Order: ByTime}, {Order: ByArrival, Kind: "a"}} {
		if got := count(n.List(t.Context(), l)); got != 600 {
			t.Errorf("%+v lists %d", l, got)
		}
	}
	if got := count(n.List(t.Context(), Listing{Kind: "b"})); got != 0 {
		t.Errorf("the snapshot lists %d that came later", got)
	}
	ref, err := ParseReference(r.node.own.String() + "/599")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := n.Find(t.Context(), ref, ""); err != nil || len(found) != 1 {
		t.Errorf("find: %v, %v", found, err)
	}
	if _, err := n.WriteOne(t.Context(), Input{Kind: "a", Text: packed[0]}); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a snapshot takes records: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}

	snapshot, err := dial(t, dir).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Datastore(t.Context(), store.ReadOnly(snapshot), r.node.Genesis(), audit.Options{})
	if err != nil || !report.Clean() || report.Entries != 900 {
		t.Errorf("audit: %+v, %v", report, err)
	}
	if _, err := snapshot.Get(t.Context(), ds.RawKey("/absent")); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("an absent key: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range snapshot.Scan(cancelled, "/", "0") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled scan: %v", err)
		}
	}
	for range snapshot.Scan(t.Context(), "/", "0") {
		break
	}
	if err := snapshot.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		r.api.mu.Lock()
		held := len(r.api.snapshots)
		r.api.mu.Unlock()
		if held == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d snapshots are held by nobody", held)
		}
	}
	if _, err := snapshot.Get(t.Context(), ds.RawKey("/meta")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a closed snapshot: %v", err)
	}
}

// TestSnapshotPages compares scans over pages with scans of the datastore itself.
func TestSnapshotPages(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	if sum, err := r.node.Write(t.Context(), inputs("a", records(t, 14, 300)), false, func(Outcome) error { return nil }); err != nil || sum.Stored != 300 {
		t.Fatal(sum, err)
	}
	local, err := r.node.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	remote, err := dial(t, dir).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = remote.Close() }()
	keys := func(r store.Reader, lower, upper string) (keys []string) {
		for pair, err := range r.Scan(t.Context(), lower, upper) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, fmt.Sprintf("%s=%x", pair.Key, pair.Value))
		}
		return keys
	}
	for _, bounds := range [][2]string{{"\x00", "\xff\xff"}, {"/e/", "/e0"}, {"/x", "/y"}, {"/e0", "/e/"}} {
		if a, b := keys(local, bounds[0], bounds[1]), keys(remote, bounds[0], bounds[1]); !slices.Equal(a, b) {
			t.Errorf("%q: %d keys here, %d over the API", bounds, len(a), len(b))
		}
	}
}

// TestSnapshotMany reads many keys at once, those that are missing or have no value too, and more than fit one answer.
func TestSnapshotMany(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	n := ledgertest.NewNetwork(t, g)
	checker := ledger.Checker{Genesis: g}
	for i := range 80 {
		random := ledgertest.NewRand(uint64(i))
		r, err := record.New(new(record.Dict).Set(record.Text("long"), record.Text(strings.Repeat("x", 30000))), ledgertest.Start, random)
		must(t, err)
		must(t, record.Minter{Strength: 1, Workers: 1, Rand: random}.Mint(t.Context(), r))
		normal, err := r.Normal()
		must(t, err)
		d, err := checker.Draft("vote", normal)
		must(t, err)
		n.PutDraft("alice", d)
	}
	dir := filepath.Join(shortTemp(t), "node")
	_, err := JoinNetwork(t.Context(), dir, g)
	must(t, err)
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	_, err = r.node.Ingest(t.Context(), n.Entries...)
	must(t, err)
	snapshot, err := dial(t, dir).Snapshot(t.Context())
	must(t, err)
	defer func() { _ = snapshot.Close() }()
	var keys []ds.Key
	for pair, err := range snapshot.Scan(t.Context(), "\x00", "\xff") {
		must(t, err)
		keys = append(keys, ds.RawKey(string(pair.Key)), ds.RawKey("/nothing"+string(pair.Key)))
	}
	if len(keys) < 2*maxAPIKeys {
		t.Fatalf("only %d keys", len(keys))
	}
	values, err := snapshot.(store.ManyReader).GetMany(t.Context(), keys)
	must(t, err)
	if len(values) != len(keys) {
		t.Fatalf("%d values of %d keys", len(values), len(keys))
	}
	for i, key := range keys {
		want, err := snapshot.Get(t.Context(), key)
		if missing := errors.Is(err, ds.ErrNotFound); missing != (values[i] == nil) || !missing && (err != nil || !bytes.Equal(values[i], want)) {
			t.Errorf("%v: %d bytes, want %d, %v", key, len(values[i]), len(want), err)
		}
	}
}

// TestListThroughRunning lists in every order from the directory and through the node that runs on it, also records with
// one header in two logs.
func TestListThroughRunning(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	n := ledgertest.NewNetwork(t, g)
	for i := range 700 {
		d := ledgertest.Draft(t, g, []string{"vote", "charity"}[i%2], 10000-i) // the latest first
		n.PutDraft("alice", d)
		if i%5 == 0 {
			n.PutDraft("bob", d)
		}
	}
	dir := filepath.Join(shortTemp(t), "node")
	_, err := JoinNetwork(t.Context(), dir, g)
	must(t, err)
	o := Options{Data: dir}
	here, err := OpenForImport(t.Context(), o)
	must(t, err)
	_, err = here.Ingest(t.Context(), n.Entries...)
	must(t, err)
	list := func(n *Node, l Listing) (hashes []ledger.Hash) {
		for e, err := range n.List(t.Context(), l) {
			must(t, err)
			hashes = append(hashes, e.Hash)
		}
		return hashes
	}
	// What the orders are, from the entries themselves.
	arrived := map[string][]*ledger.Entry{}
	for _, e := range n.Entries {
		arrived[e.Header.Kind] = append(arrived[e.Header.Kind], e)
	}
	byTime := slices.Clone(n.Entries)
	slices.SortFunc(byTime, func(a, b *ledger.Entry) int {
		x, y := store.Timed{Header: a.Header.RecordUUID}, store.Timed{Header: b.Header.RecordUUID}
		return cmp.Or(compareTimed(x, y), ledger.CompareCanonical(a, b))
	})
	hashes := func(entries ...*ledger.Entry) (hashes []ledger.Hash) {
		for _, e := range entries {
			hashes = append(hashes, e.Hash)
		}
		return hashes
	}
	backward := func(list []ledger.Hash) []ledger.Hash {
		slices.Reverse(list)
		return list
	}
	wants := map[Listing][]ledger.Hash{
		{Order: ByTime}:                   hashes(byTime...),
		{Order: ByArrival}:                hashes(slices.Concat(arrived["charity"], arrived["vote"])...),
		{Order: ByArrival, Reverse: true}: slices.Concat(backward(hashes(arrived["charity"]...)), backward(hashes(arrived["vote"]...))),
	}
	check := func(where string, n *Node) {
		for l, want := range wants {
			if got := list(n, l); !slices.Equal(got, want) {
				t.Errorf("%s, %+v: %d entries, in another order than the %d", where, l, len(got), len(want))
			}
		}
	}
	check("the directory", here)
	must(t, here.Close())
	running(t, RunOptions{Options: o})
	through, err := OpenForReading(t.Context(), o)
	must(t, err)
	check("the running node", through)
	must(t, through.Close())
}

func TestImportThroughRunning(t *testing.T) {
	t.Parallel()
	n, _ := exported(t, 700)
	var file bytes.Buffer
	if _, err := n.ExportEntries(t.Context(), &file, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(shortTemp(t), "node")
	if _, err := JoinNetwork(t.Context(), dir, n.Genesis()); err != nil {
		t.Fatal(err)
	}
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	c := dial(t, dir)
	sum, err := c.ImportEntries(t.Context(), bytes.NewReader(file.Bytes()[:file.Len()/2]), nil)
	if !errors.Is(err, ledger.ErrEntryFile) || sum.New == 0 || sum.New == 700 {
		t.Errorf("half a file: %+v, %v", sum, err)
	}
	all, err := c.ImportEntries(t.Context(), &file, func(ImportProgress) {})
	if err != nil || all.New+all.Held != 700 || all.New != 700-sum.New {
		t.Errorf("the whole file: %+v, %v", all, err)
	}
	network := n.Genesis().Network()
	if r.node.Frontier().Digest(network) != n.Frontier().Digest(network) {
		t.Error("the two hold different ledgers")
	}
	foreign, _ := exported(t, 1)
	file.Reset()
	if _, err := foreign.ExportEntries(t.Context(), &file, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ImportEntries(t.Context(), &file, nil); !errors.Is(err, store.ErrOtherNetwork) {
		t.Errorf("another network: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	cancel()
	if _, err := c.ImportEntries(ctx, slow, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestRunLevels(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	var out safeBuffer
	levels := NewLevels(slog.LevelInfo)
	logger := slog.New(levels.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	running(t, RunOptions{Options: Options{Data: dir, Logger: logger}, Levels: levels})
	c := dial(t, dir)
	got, err := c.SetLevels(t.Context(), "warn", "api=debug")
	if err != nil || got[PartP2P] != "warn" || got[PartAPI] != "debug" {
		t.Errorf("%v, %v", got, err)
	}
	var bad *LevelError
	if _, err := c.SetLevels(t.Context(), "p2p=loud"); !errors.As(err, &bad) {
		t.Errorf("a level that is none: %v", err)
	}
	if again, err := c.Levels(t.Context()); err != nil || again[PartStore] != "warn" {
		t.Errorf("%v, %v", again, err)
	}
	if text := out.String(); !strings.Contains(text, "part=node") || !strings.Contains(text, "request failed") {
		t.Errorf("logged: %s", text)
	}
}

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestRunLongPath falls back to a port with a token where no socket can be.
func TestRunLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortTemp(t), strings.Repeat("long", 30))
	if _, _, err := FoundNetwork(t.Context(), dir, ledger.GenesisDoc{Strength: 1}); err != nil {
		t.Fatal(err)
	}
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	if _, err := os.Stat(filepath.Join(dir, APISocket)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a socket: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, APIFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the token: %v, %v", info, err)
	}
	c := dial(t, dir)
	if s, err := c.Status(t.Context()); err != nil || s.API != c.where.Address {
		t.Errorf("status: %+v, %v", s, err)
	}
	n, err := OpenForReading(t.Context(), Options{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	wrong := c.where
	wrong.Token = "wrong"
	if _, err := wrong.dial(t.Context()); !errors.Is(err, ErrNotTheNode) { // it cannot tell which of the two is
		t.Errorf("a wrong token: %v", err)
	}
	if said := sayTo(t, c.where.Address, "GET /v1/status HTTP/1.1\r\nHost: node\r\n"+"Authorization: Bearer "+c.where.Token+"\r\n\r\n"); strings.Contains(said, "HTTP") {
		t.Errorf("who proves nothing is answered %q", said)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, APIFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestAPIBounds sends what no client of ours sends.
func TestAPIBounds(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, _ := running(t, RunOptions{Options: Options{Data: dir}})
	c := dial(t, dir)
	snapshot, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = snapshot.Close() }()
	path := snapshot.(*remoteSnapshot).path
	for name, request := range map[string]struct {
		method, path, body string
		status             int
	}{
		"no such route":    {"GET", "/v2/status", "", 404},
		"wrong method":     {"DELETE", "/v1/status", "", 405},
		"levels, not JSON": {"PUT", "/v1/levels", "x", 400},
		"levels, large":    {"PUT", "/v1/levels", `["` + strings.Repeat("x", maxAPIBody) + `"]`, 400},
		"no such snapshot": {"GET", "/v1/snapshots/x/value?key=2f61", "", 404},
		"no key":           {"GET", path + "/value", "", 400},
		"no hex":           {"GET", path + "/value?key=zz", "", 400},
		"no upper bound":   {"GET", path + "/pairs?lower=2f&bytes=1", "", 400},
		"no limit":         {"GET", path + "/pairs?lower=2f&upper=30", "", 400},
		"a great limit":    {"GET", path + "/pairs?lower=2f&upper=30&bytes=99999999", "", 400},
		"a great header":   {"GET", "/v1/status?" + strings.Repeat("x", 2*maxAPIHeader), "", 431},
	} {
		q, err := http.NewRequestWithContext(t.Context(), request.method, "http://node"+request.path, strings.NewReader(request.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.http.Do(q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != request.status {
			t.Errorf("%s: status %d, want %d; %v", name, answer.StatusCode, request.status, err)
		}
	}
	// A line that is no record is refused, and the stream goes on.
	answer, err := c.send(t.Context(), http.MethodPost, "/v1/records", strings.NewReader("nonsense\n\n{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var statuses []Status
	if err := readLines(answer.Body, func(line *apiOutcome) bool {
		statuses = append(statuses, line.Status)
		return line.End
	}); err != nil || !slices.Equal(statuses, []Status{Refused, Refused, ""}) {
		t.Errorf("%q, %v", statuses, err)
	}
	_ = answer.Body.Close()
	// All places are taken.
	for range cap(r.api.streams) - len(r.api.streams) {
		r.api.streams <- struct{}{}
	}
	if _, err := c.Snapshot(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("one stream too many: %v", err)
	}
	for len(r.api.streams) > 1 {
		<-r.api.streams
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	r, stub := running(t, RunOptions{Options: Options{Data: dir}, Metrics: "127.0.0.1:0"})
	if stub.o.Metrics == nil {
		t.Error("the network has nobody to count for")
	}
	if sum, err := r.node.Write(t.Context(), inputs("ballot", records(t, 15, 7)), false, func(Outcome) error { return nil }); err != nil || sum.Stored != 7 {
		t.Fatal(sum, err)
	}
	if _, err := dial(t, dir).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Status().Metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`pyvnode_ledger_records{kind="ballot"} 7`, `pyvnode_ledger_entries 7`, `pyvnode_ledger_logs 1`, `pyvnode_ledger_frozen_logs 0`,
		`pyvnode_api_requests_total{route="/v1/status",status="200"} 1`, `pyvnode_ledger_digest_age_seconds`, "go_goroutines", "process_",
		"pyvnode_store_batch_entries_sum 7\n", "pyvnode_network_peers 0\n", "pyvnode_network_may_sign 1\n",
		"pyvnode_network_received_entries_total{held=\"no\",way=\"gossip\"} 0\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	sample := func(name string) (value float64) {
		for line := range strings.Lines(string(text)) {
			if n, err := fmt.Sscanf(line, name+" %g", &value); n == 1 && err == nil {
				return value
			}
		}
		t.Errorf("no %s in %s", name, text)
		return 0
	}
	batches := sample("pyvnode_store_batch_entries_count")
	if took := sample("pyvnode_store_batch_seconds_sum"); batches < 1 || batches > 7 || batches != sample("pyvnode_store_batch_seconds_count") || took <= 0 || took > 60 {
		t.Errorf("%g batches in %g seconds", batches, took)
	}
	if disk, wal := sample("pyvnode_store_disk_bytes"), sample("pyvnode_store_wal_bytes"); wal <= 0 || wal > disk {
		t.Errorf("%g bytes on disk, %g of them in the write log", disk, wal)
	}
	// The manual names each of ours, and no others.
	manual, err := os.ReadFile(filepath.Join("..", "docs", "manual.md"))
	must(t, err)
	named, served := map[string]bool{}, map[string]bool{}
	for _, name := range regexp.MustCompile("`pyvnode_[a-z_]+").FindAllString(string(manual), -1) {
		named[name[1:]] = true
	}
	for _, line := range regexp.MustCompile("(?m)^# TYPE pyvnode_[a-z_]+").FindAllString(string(text), -1) {
		served[strings.Fields(line)[2]] = true
	}
	if !maps.Equal(named, served) {
		t.Errorf("the manual names %v, served are %v", named, served)
	}
}

func TestAPIErrors(t *testing.T) {
	t.Parallel()
	ref := store.Ref{Seq: 5}
	for _, err := range []error{
		&store.DuplicateError{Ref: ref}, &store.ConflictError{Ref: ref},
		&store.ForkError{Held: new(ledger.Entry), Other: new(ledger.Entry)},
		&store.MissingError{Missing: []ledger.Citation{{Seq: 1}}},
		&ledger.InvalidError{Seq: 3, Reason: ledger.ReasonRoot},
		&InputError{Reason: BadLine, Detail: "x", Hint: "y"},
		&p2p.NotReadyError{State: p2p.SigningStopped, Why: "z"},
		store.ErrFailed, ErrBusy, fmt.Errorf("a file: %w", ledger.ErrEntryFile), errors.New("anything"),
	} {
		back := toAPIError(fmt.Errorf("context: %w", err)).error()
		if want := "context: " + err.Error(); back.Error() != want {
			t.Errorf("%q became %q", want, back)
		}
		if e := toAPIError(err); e.Type == "" && err.Error() != "anything" {
			t.Errorf("%T is not carried", err)
		} else if again := toAPIError(back); again.Type != e.Type || string(again.Detail) != string(e.Detail) {
			t.Errorf("%T arrives as %s %s, was %s %s", err, again.Type, again.Detail, e.Type, e.Detail)
		}
	}
	if toAPIError(nil).error() != nil {
		t.Error("no error becomes one")
	}
	if (&apiError{Type: "input", Detail: []byte("null"), Message: "x"}).error().Error() != "x" {
		t.Error("an error without its detail")
	}
}

// TestRunRemovesUnfinished: what a node that was killed left of its own files goes at the next start.
func TestRunRemovesUnfinished(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	left := []string{RememberedFile + ".unfinished-1", APIFile + ".unfinished-2", store.WatermarkFile + ".unfinished-3"}
	kept := []string{RememberedFile + ".1", BootstrapFile + ".unfinished-1"}
	for _, name := range slices.Concat(left, kept) {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	running(t, RunOptions{Options: Options{Data: dir}})
	for _, name := range slices.Concat(left, kept) {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != slices.Contains(kept, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
