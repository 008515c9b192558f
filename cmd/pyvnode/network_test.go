//go:build unix

package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/node"
	"pyvnode/node/journal"
	"pyvnode/p2p"
)

// These tests do to real processes on loopback what happens to nodes: they are killed, put back from backups, copied, and
// started twice.

// parties are the nodes of a network, each with a directory and at most one process.
type parties struct {
	t    *testing.T
	bin  string // the program
	work string // all that the processes write is below it
	all  []*party
}

type party struct {
	of   *parties
	name string
	dir  string
	own  ledger.Origin
	*process
	*ready
}

// newParties founds a network of parties, all members. When the test ends nothing of them must be left.
func newParties(t *testing.T, names ...string) *parties {
	t.Helper()
	work, err := os.MkdirTemp("", "p") // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	ps := &parties{t: t, bin: filepath.Join(binary(t), "pyvnode"), work: work}
	t.Cleanup(ps.nothingLeft)
	t.Cleanup(func() {
		for _, p := range ps.all {
			if p.process != nil {
				p.kill()
			}
			if raw, err := os.ReadFile(p.log()); err == nil && t.Failed() {
				t.Logf("%s says:\n%s", p.name, raw)
			}
		}
	})
	must(t, os.Mkdir(ps.temp(), 0o700))
	doc := ledger.GenesisDoc{Name: t.Name(), Strength: 1}
	for _, name := range names {
		p := ps.add(name)
		key, _, err := node.CreateIdentity(p.dir, crand.Reader)
		must(t, err)
		p.own = ledger.OriginOf(key)
		doc.Members = append(doc.Members, p.own)
	}
	g, _, err := node.FoundNetwork(t.Context(), ps.all[0].dir, doc)
	must(t, err)
	for _, p := range ps.all[1:] {
		_, err := node.JoinNetwork(t.Context(), p.dir, g)
		must(t, err)
	}
	return ps
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (ps *parties) add(name string) *party {
	p := &party{of: ps, name: name, dir: filepath.Join(ps.work, name)}
	ps.all = append(ps.all, p)
	return p
}

func (ps *parties) temp() string { return filepath.Join(ps.work, "tmp") }

func (p *party) log() string { return p.dir + ".log" }

// launch starts a node, which is to connect to those of the others that run. It listens on a free port, so nobody else can
// have taken it while the node was down.
func (p *party) launch(args ...string) {
	t := p.of.t
	t.Helper()
	list := struct {
		Peers []string `json:"peers"`
	}{[]string{}}
	for _, other := range p.of.all {
		if other != p && other.own != p.own && other.ready != nil {
			list.Peers = append(list.Peers, other.tcp())
		}
	}
	raw, err := json.Marshal(list)
	must(t, err)
	file := filepath.Join(p.dir, node.BootstrapFile) // which another process may be reading
	must(t, os.WriteFile(file+".new", raw, 0o600))
	must(t, os.Rename(file+".new", file))
	stderr, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = stderr.Close() }() // the process has its own
	cmd := p.command(append([]string{"run", "--listen", "/ip4/127.0.0.1/tcp/0", "--legacy-listen", "off"}, args...)...)
	cmd.Stderr = stderr
	p.process, err = launch(cmd)
	must(t, err)
}

// command returns a command line of the program on the party's directory.
func (p *party) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.of.bin, append([]string{"--data", p.dir, "--format", "json"}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, node.EnvPrefix) }),
		"HOME="+p.of.work, "TMPDIR="+p.of.temp(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// start launches a node and waits until it listens.
func (p *party) start(args ...string) {
	p.of.t.Helper()
	p.launch(args...)
	says, err := p.process.ready()
	if err != nil {
		p.of.t.Fatalf("%s: %v", p.name, err)
	}
	p.ready = says
}

func (p *party) stop() {
	p.of.t.Helper()
	if err := p.process.stop(); err != nil {
		p.of.t.Fatalf("%s: %v", p.name, err)
	}
	p.process, p.ready = nil, nil
}

func (p *party) kill() {
	p.process.kill()
	p.process, p.ready = nil, nil
}

func (p *party) signal(s syscall.Signal) {
	p.of.t.Helper()
	must(p.of.t, p.cmd.Process.Signal(s))
}

// status returns what the node says of itself.
func (p *party) status() *node.NodeStatus {
	t := p.of.t
	t.Helper()
	c, err := node.Dial(t.Context(), p.dir)
	must(t, err)
	defer c.Close()
	s, err := c.Status(t.Context())
	must(t, err)
	return s
}

// put stores records through the node, and returns where. It gives up at the first that is not stored.
func (p *party) put(count int) []store.Ack {
	t := p.of.t
	t.Helper()
	acks, err := p.tryPut(count)
	if err != nil || len(acks) != count {
		t.Fatalf("%s stored %d of %d: %v", p.name, len(acks), count, err)
	}
	return acks
}

func (p *party) tryPut(count int) (acks []store.Ack, err error) {
	err = p.write(p.of.t.Context(), func(yield func(node.Input, error) bool) {
		for range count {
			if !yield(fresh(), nil) {
				return
			}
		}
	}, func(o node.Outcome) error {
		if o.Err == nil {
			acks = append(acks, o.Ack)
		}
		return o.Err
	})
	return acks, err
}

func (p *party) write(ctx context.Context, inputs iter.Seq2[node.Input, error], report func(node.Outcome) error) error {
	c, err := node.Dial(ctx, p.dir)
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := c.Writer(ctx)
	if err != nil {
		return err
	}
	_, err = w.Write(ctx, inputs, false, report)
	return errors.Join(err, w.Close())
}

// fresh makes a record.
func fresh() node.Input {
	r, err := record.New(new(record.Dict).Set(record.Text("choice"), record.Text("yes")), time.Now(), crand.Reader)
	if err == nil {
		err = record.Minter{Strength: 1, Workers: 1}.Mint(context.Background(), r)
	}
	if err != nil {
		return node.Input{Err: err}
	}
	text, err := r.Normal()
	return node.Input{Kind: "ballot", Text: text, Err: err}
}

// await waits until something is so, and fails with what it says when it does not come about.
func (ps *parties) await(what string, is func() (so bool, now string)) {
	ps.t.Helper()
	now := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var so bool
		if so, now = is(); so {
			return
		}
	}
	ps.t.Fatalf("waited for %s, and now: %s", what, now)
}

// awaitSigning waits until nodes are in a state of the own-head check.
func (ps *parties) awaitSigning(want p2p.SigningState, which ...*party) {
	ps.t.Helper()
	for _, p := range which {
		ps.await(p.name+" to be "+string(want), func() (bool, string) {
			s := p.status()
			return s.Signing == want, string(s.Signing) + " " + s.SigningWhy
		})
	}
}

// agree waits until nodes say the same digest over at least so many undisputed entries.
func (ps *parties) agree(entries uint64, which ...*party) {
	ps.t.Helper()
	ps.await("one digest", func() (bool, string) {
		digests := map[ledger.Hash]bool{}
		now, enough := "", true
		for _, p := range which {
			s := p.status()
			digests[s.Digest] = true
			enough = enough && s.Entries >= entries
			now += fmt.Sprintf("%s %d %s; ", p.name, s.Entries, s.Digest.Short())
		}
		return len(digests) == 1 && enough, now
	})
}

// stopAll stops the nodes, and audits their directories: they must be sound and the same. Each must hold what was
// acknowledged anywhere, and evidence against exactly the liars.
func (ps *parties) stopAll(acked []store.Ack, liars ...ledger.Origin) {
	t := ps.t
	t.Helper()
	for _, p := range ps.all {
		p.stop()
	}
	var digest *ledger.Hash
	for _, p := range ps.all {
		report, err := audit.Directory(t.Context(), p.dir, audit.Options{})
		must(t, err)
		if !report.Clean() {
			t.Errorf("the audit of %s finds %v", p.name, report.Findings)
		}
		if digest == nil {
			digest = report.Digest
		}
		if report.Digest == nil || *report.Digest != *digest {
			t.Errorf("%s holds another ledger", p.name)
		}
		var accused []ledger.Origin
		for _, e := range report.Evidence {
			accused = append(accused, e.Origin)
		}
		if !slices.Equal(accused, liars) {
			t.Errorf("%s holds evidence against %v, want %v", p.name, accused, liars)
		}
		n, err := node.OpenForReading(t.Context(), node.Options{Data: p.dir})
		must(t, err)
		for _, ack := range acked {
			if e, err := n.Get(t.Context(), ack.Ref); err != nil || e.Hash != ack.Hash {
				t.Errorf("%s does not hold %v, which was acknowledged: %v", p.name, ack.Ref, err)
			}
		}
		must(t, n.Close())
	}
}

// nothingLeft checks that the processes left nothing: neither themselves nor a file that only they needed.
func (ps *parties) nothingLeft() {
	known := []string{node.IdentityFile, store.GenesisFile, store.LedgerDir, "watermark.json", node.BootstrapFile, node.RememberedFile,
		journal.File, journal.LockFile}
	for _, p := range ps.all {
		for _, name := range names(ps.t, p.dir) {
			if !slices.Contains(known, name) && !ps.t.Failed() {
				ps.t.Errorf("%s left %s", p.name, name)
			}
		}
	}
	if left := names(ps.t, ps.temp()); len(left) > 0 {
		ps.t.Errorf("temporary files are left: %v", left)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline") // where there is none, each process was at least waited for
	must(ps.t, err)
	for _, file := range lines {
		if raw, err := os.ReadFile(file); err == nil && strings.Contains(string(raw), ps.work+"/") {
			ps.t.Errorf("a process is left: %q", raw)
		}
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestNodesKilled kills nodes with kill -9 while records are put into all of them, over and over: some of them, or all,
// each at a random acknowledgement, and now and then once more while it starts. The others go on. In the end every
// record that was acknowledged is everywhere.
func TestNodesKilled(t *testing.T) {
	t.Parallel()
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("PYVNODE_NODE_KILLS")); err == nil {
		rounds = n
	}
	ps := newParties(t, "ana", "ben", "cem")
	r := rand.New(rand.NewPCG(uint64(rounds), 3))
	for _, p := range ps.all {
		p.start()
	}
	var mu sync.Mutex
	var acked []store.Ack
	kills := 0
	for range rounds {
		ps.awaitSigning(p2p.SigningReady, ps.all...)
		ctx, enough := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		reached := map[*party]chan struct{}{} // closed when a victim has acknowledged as much as it is to live for
		victims := slices.Clone(ps.all)
		r.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		victims = victims[:1+r.IntN(len(victims))]
		for _, p := range victims {
			reached[p] = make(chan struct{})
		}
		for _, p := range ps.all {
			due, after := reached[p], 1+r.IntN(300)
			burst := 1 + r.IntN(64)
			writing.Go(func() {
				stored := 0
				err := p.write(ctx, bursts(ctx, burst, 50*time.Millisecond), func(o node.Outcome) error {
					if o.Err != nil {
						return o.Err
					}
					mu.Lock()
					defer mu.Unlock()
					acked = append(acked, o.Ack)
					if stored++; stored == after && due != nil {
						close(due)
					}
					return nil
				})
				if err != nil && due == nil && ctx.Err() == nil {
					t.Errorf("%s, which was not killed: %v", p.name, err)
				}
				if due != nil && stored < after {
					t.Errorf("%s ended before it was killed: %v", p.name, err)
					close(due)
				}
			})
		}
		var killing sync.WaitGroup
		for _, p := range victims {
			wait := time.Duration(r.IntN(2000)) * time.Microsecond
			killing.Go(func() {
				<-reached[p]
				time.Sleep(wait) // the moment is random on purpose
				p.kill()
			})
		}
		killing.Wait()
		for _, p := range victims {
			kills++
			if r.IntN(4) == 0 {
				kills++
				p.launch()
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond) // likewise
				p.kill()
			}
			p.start()
		}
		if len(victims) < len(ps.all) {
			ps.awaitSigning(p2p.SigningReady, victims...) // while the others write
		}
		enough()
		writing.Wait()
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)
	ps.agree(uint64(len(acked)), ps.all...)
	entries := ps.all[0].status().Entries
	ps.stopAll(acked)
	figure(t, "rounds", rounds)
	figure(t, "kills", kills)
	figure(t, "records acknowledged, all on all nodes", len(acked))
	figure(t, "more that were durable before they could be acknowledged", int(entries)-len(acked))
}

// figure logs what a long run found, as scripts/soak prints it.
func figure(t *testing.T, name string, value any) {
	t.Helper()
	t.Logf("figure: %s: %v", name, value)
}

// bursts yields records in bursts, one in each interval, until the context ends.
func bursts(ctx context.Context, size int, interval time.Duration) iter.Seq2[node.Input, error] {
	return func(yield func(node.Input, error) bool) {
		pause := time.NewTicker(interval)
		defer pause.Stop()
		for {
			for range size {
				if ctx.Err() != nil || !yield(fresh(), nil) {
					return
				}
			}
			select {
			case <-pause.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// TestOldBackup puts an old backup in the place of a directory. The node does not sign before it knows what it signed
// after the backup was made.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	ps := newParties(t, "ana", "ben", "cem")
	ana, others := ps.all[0], ps.all[1:]
	for _, p := range ps.all {
		p.start()
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)
	acked := ana.put(30)
	ana.stop()
	backup := ana.dir + ".backup"
	copyTree(t, ana.dir, backup)
	ana.start()
	ps.awaitSigning(p2p.SigningReady, ana)
	acked = append(acked, ana.put(50)...)
	ps.agree(80, ps.all...)
	for _, p := range ps.all {
		p.stop()
	}
	must(t, os.RemoveAll(ana.dir))
	must(t, os.Rename(backup, ana.dir))

	ana.start()
	if acks, err := ana.tryPut(1); !errors.As(err, new(*p2p.NotReadyError)) {
		t.Errorf("it has asked nobody, and stores: %v, %v", acks, err)
	}
	for _, p := range others {
		p.start()
	}
	for len(acked) == 80 { // from the first moment on at which it may
		acks, err := ana.tryPut(1)
		if err != nil && !errors.As(err, new(*p2p.NotReadyError)) {
			t.Fatal(err)
		}
		acked = append(acked, acks...)
	}
	if last := acked[80]; last.Seq != 80 {
		t.Errorf("it goes on with entry %d, want 80", last.Seq)
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)
	for _, p := range others {
		acked = append(acked, p.put(1)...)
	}
	ps.agree(83, ps.all...)
	ps.stopAll(acked)
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
	must(t, os.Chmod(filepath.Join(to, node.IdentityFile), 0o600)) // the copy of a careful owner, or thief
}

// TestClonedDirectory runs a node and a copy of it at the same time. The first entries that the two sign for one place
// end both, and nobody else.
func TestClonedDirectory(t *testing.T) {
	t.Parallel()
	ps := newParties(t, "ana", "ben", "cem")
	ana, others := ps.all[0], ps.all[1:]
	for _, p := range ps.all {
		p.start()
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)
	acked := ana.put(10)
	ps.agree(10, ps.all...)
	ana.stop()
	clone := ps.add("clone")
	clone.own = ana.own
	copyTree(t, ana.dir, clone.dir)
	for _, p := range []*party{ana, clone} {
		p.start()
		ps.awaitSigning(p2p.SigningReady, p)
	}
	// While the others are held up, neither of the two can hear of the other.
	for _, p := range others {
		p.signal(syscall.SIGSTOP)
	}
	for _, p := range []*party{ana, clone} {
		if ack := p.put(1)[0]; ack.Seq != 10 {
			t.Errorf("%s signs entry %d, want 10", p.name, ack.Seq)
		}
	}
	for _, p := range others {
		p.signal(syscall.SIGCONT)
	}
	ps.awaitSigning(p2p.SigningStopped, ana, clone)
	for _, p := range []*party{ana, clone} {
		if acks, err := p.tryPut(1); !errors.As(err, new(*p2p.NotReadyError)) {
			t.Errorf("%s still stores: %v, %v", p.name, acks, err)
		}
	}
	for _, p := range others {
		ps.await("evidence at "+p.name, func() (bool, string) { s := p.status(); return s.Frozen == 1, fmt.Sprint(s.Frozen) })
		acked = append(acked, p.put(5)...)
	}
	ps.agree(20, ps.all...)
	ps.stopAll(acked, ana.own)
	out, err := ana.command("put", "--alone", "--kind", "ballot", "choice=yes").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitDisagree || !strings.Contains(string(out), `"reason":"frozen-log"`) {
		t.Errorf("without a node it stores: %v\n%s", err, out)
	}
}

// TestStartedTwice starts nodes on one directory at the same moment, and one more beside the one that runs.
func TestStartedTwice(t *testing.T) {
	t.Parallel()
	ps := newParties(t, "ana", "ben")
	ana, ben := ps.all[0], ps.all[1]
	ben.start()
	twins := map[*party]error{}
	for range 3 {
		twin := &party{of: ps, name: "ana", dir: ana.dir, own: ana.own}
		twin.launch()
		twins[twin] = nil
	}
	for twin := range twins {
		if twin.ready, twins[twin] = twin.process.ready(); twins[twin] == nil {
			if ana.process != nil {
				t.Error("two nodes run on one directory")
				twin.process.kill()
				continue
			}
			*ana = *twin
		}
	}
	if ana.process == nil {
		t.Fatal("no node runs")
	}
	ps.all[0] = ana
	refused := func(twin *party) {
		t.Helper()
		var exit *exec.ExitError
		if err := <-twin.ended; !errors.As(err, &exit) || exit.ExitCode() != exitDenied {
			t.Errorf("a second node ends with %v, want exit code %d", err, exitDenied)
		}
	}
	for twin := range maps.Keys(twins) {
		if twins[twin] != nil {
			refused(twin)
		}
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)
	acked := ana.put(5)
	late := &party{of: ps, name: "ana", dir: ana.dir, own: ana.own}
	late.launch()
	refused(late)
	acked = append(acked, ana.put(5)...)
	ps.agree(10, ps.all...)
	ps.stopAll(acked)
}

// TestNamespaces runs scripts/netns where it can, and breaks a step to see it fail. Either way no namespace is left.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	pyvnode := filepath.Join(binary(t), "pyvnode")
	for name, c := range map[string]struct {
		env, want string
		fails     bool
	}{
		"whole":  {"NETNS_PATIENCE=60", "All of it held: three namespaces", false},
		"broken": {"NETNS_BREAK=heal NETNS_PATIENCE=20", "not yet: 28 one two three hold the same", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := bash(t, ".", strings.Fields(c.env), fmt.Sprintf("exec ../../scripts/netns %q %q", pyvnode, t.TempDir()))
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == 77 {
				t.Skip(strings.TrimSpace(out))
			}
			if (err != nil) != c.fails || !strings.Contains(out, c.want) {
				t.Errorf("%v\n%s", err, out)
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "NOT applied") {
					t.Log(strings.TrimSpace(line))
				}
			}
			left, err := filepath.Glob("/run/netns/pyv*")
			must(t, err)
			for _, path := range left {
				pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "pyv"), "-")
				if _, err := os.Stat("/proc/" + pid); err != nil {
					t.Errorf("namespace %s is left", path)
				}
			}
		})
	}
}

// TestSteady puts 20 records each second into each of three nodes, for PYVNODE_SOAK_MINUTES, and then lets them idle for a
// fifth as long. Their memory must not go on growing: it does while the database's tables in memory fill (at most twice 64
// MiB, beside its cache of 32) and gossip remembers the messages of two minutes, and then no more.
func TestSteady(t *testing.T) {
	t.Parallel()
	minutes, err := strconv.ParseFloat(os.Getenv("PYVNODE_SOAK_MINUTES"), 64)
	if err != nil {
		t.Skip("a soak: PYVNODE_SOAK_MINUTES does not say how long")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("nothing here says how much memory a process uses")
	}
	writing := time.Duration(minutes * float64(time.Minute))
	ps := newParties(t, "ana", "ben", "cem")
	for _, p := range ps.all {
		p.start()
	}
	ps.awaitSigning(p2p.SigningReady, ps.all...)

	ctx, cancel := context.WithTimeout(t.Context(), writing)
	defer cancel()
	var mu sync.Mutex
	var acked []store.Ack
	var writers sync.WaitGroup
	for _, p := range ps.all {
		writers.Go(func() {
			err := p.write(t.Context(), bursts(ctx, 2, 100*time.Millisecond), func(o node.Outcome) error {
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, o.Ack)
				return o.Err
			})
			if err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		})
	}
	const parts = 4
	var peak [parts]int // MiB in each quarter of the time, of whichever node has most
	begun, sample := time.Now(), time.NewTicker(time.Second)
	defer sample.Stop()
	for ctx.Err() == nil {
		select {
		case <-sample.C:
			part := min(parts-1, int(parts*time.Since(begun)/writing))
			for _, p := range ps.all {
				peak[part] = max(peak[part], p.resident())
			}
		case <-ctx.Done():
		}
	}
	writers.Wait()
	busy := ps.processorTime()
	ps.agree(uint64(len(acked)), ps.all...)
	begun = time.Now()
	idle := ps.processorTime()
	select { // what is measured is that nothing happens
	case <-time.After(writing / 5):
	case <-t.Context().Done():
	}
	idle, lasted := ps.processorTime()-idle, time.Since(begun)
	ps.stopAll(acked)

	share := func(spent, of time.Duration) string {
		return fmt.Sprintf("%.1f", 100*spent.Seconds()/of.Seconds()/float64(len(ps.all)))
	}
	figure(t, "minutes of steady puts", minutes)
	figure(t, "records put", len(acked))
	figure(t, "resident memory of a node, MiB, peak of each quarter", strings.Trim(fmt.Sprint(peak), "[]"))
	figure(t, "percent of a core, each node, while records are put", share(busy, writing))
	figure(t, "percent of a core, each node, idle", share(idle, lasted))
	if want := int(minutes * 60 * 20 * 3 * 0.9); len(acked) < want {
		t.Errorf("only %d records were put, want %d", len(acked), want)
	}
	if last, before := peak[parts-1], peak[parts-2]; last > 400 || last > before+before/4+16 {
		t.Errorf("a node's memory grows: %v MiB", peak)
	}
}

// resident returns how much memory the process uses, in MiB.
func (p *party) resident() int {
	t := p.of.t
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	must(t, err)
	return pages * os.Getpagesize() >> 20
}

// processorTime returns how long all processes have used a core.
func (ps *parties) processorTime() (sum time.Duration) {
	ps.t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	for _, p := range ps.all {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		must(ps.t, err)
		_, behindName, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(behindName) // the first is field 3 of proc(5)
		for _, text := range fields[11:13] { // utime, stime
			n, err := strconv.Atoi(text)
			must(ps.t, err)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}
