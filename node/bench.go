package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// BenchResult is one line of the benchmark's table.
type BenchResult struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Limit   string  `json:"limit,omitempty"`   // what of the machine it is compared with
	Ratio   float64 `json:"ratio,omitempty"`   // to that limit
	Target  float64 `json:"target,omitempty"`  // what the project asks: of the ratio, or of the value where there is no limit
	AtMost  bool    `json:"at_most,omitempty"` // the target is an upper bound
	Comment string  `json:"comment,omitempty"`
}

// Met reports whether the target is met; a line without a target always is.
func (r BenchResult) Met() bool {
	v := r.Value
	if r.Limit != "" {
		v = r.Ratio
	}
	switch {
	case r.Target == 0:
		return true
	case r.AtMost:
		return v <= r.Target
	}
	return v >= r.Target
}

// BenchOptions configure [Bench].
type BenchOptions struct {
	Dir     string // where to work; what is made there is removed
	Entries int    // of the large ledger
	// Probe measures, in a process of its own, how a data directory opens and serves: see [BenchProbe].
	Probe func(ctx context.Context, dir string) (ProbeResult, error)
	// Result is called with each line, and Stage with what is being done.
	Result func(BenchResult)
	Stage  func(string)
}

// bench is a benchmark under way. The limits of the machine are measured again beside each figure that is compared with
// them, because machines are shared and their speed changes from minute to minute.
type bench struct {
	BenchOptions
	ctx context.Context
}

// Bench measures this machine's own limits and, beside each, what the ledger makes of it.
func Bench(ctx context.Context, o BenchOptions) error {
	if o.Entries < 1 {
		return fmt.Errorf("a ledger of %d entries cannot be measured; at least one is needed", o.Entries)
	}
	b := &bench{BenchOptions: o, ctx: ctx}
	dir, err := os.MkdirTemp(o.Dir, "pyvnode-bench-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b.Dir = dir
	for _, step := range []func() error{b.limits, b.mint, b.puts, b.large} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

const benchTime = 2 * time.Second

// rate runs work on a number of goroutines for a while and returns how often it ran in a second.
func (b *bench) rate(workers int, work func() func()) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range workers {
		once := work()
		wg.Go(func() {
			for time.Since(start) < benchTime && b.ctx.Err() == nil {
				for range 16 {
					once()
				}
				n.Add(16)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

var cores = runtime.GOMAXPROCS(0)

// verifyLimit checks different signatures in turn, as a ledger has them: the same one over and over would be a tenth
// faster, because the processor learns its path.
func (b *bench) verifyLimit() float64 {
	const many = 512
	type signed struct{ message, sig []byte }
	keys := make([]ed25519.PrivateKey, 4)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	all := make([]signed, many)
	for i := range all {
		message := make([]byte, 320) // as long as a header
		copy(message, fmt.Append(nil, i))
		all[i] = signed{message, ed25519.Sign(keys[i%len(keys)], message)}
	}
	return b.rate(cores, func() func() {
		i := 0
		return func() {
			one := &all[i%many]
			ed25519.Verify(keys[i%len(keys)].Public().(ed25519.PublicKey), one.message, one.sig)
			i++
		}
	})
}

func (b *bench) signLimit() float64 {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	message := make([]byte, 320)
	return b.rate(1, func() func() { return func() { ed25519.Sign(key, message) } })
}

func (b *bench) hashLimit(length int) float64 {
	return b.rate(cores, func() func() {
		buf := make([]byte, length)
		return func() { sha256.Sum256(buf) }
	})
}

// fsyncLimit appends as much as one entry takes and syncs, over and over.
func (b *bench) fsyncLimit() (float64, error) {
	f, err := os.Create(filepath.Join(b.Dir, "fsync"))
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1500)
	var failed error
	rate := b.rate(1, func() func() {
		return func() {
			_, err := f.Write(buf)
			failed = errors.Join(failed, err, f.Sync())
		}
	})
	return rate, errors.Join(failed, f.Close(), os.Remove(f.Name()))
}

func (b *bench) limits() error {
	b.Stage("measuring the machine")
	fsync, err := b.fsyncLimit()
	if err != nil {
		return err
	}
	b.Result(BenchResult{Name: "machine: Ed25519 verification, all cores", Value: b.verifyLimit(), Unit: "per s"})
	b.Result(BenchResult{Name: "machine: Ed25519 signing, one core", Value: b.signLimit(), Unit: "per s"})
	b.Result(BenchResult{Name: "machine: SHA-256 of 1 KiB, all cores", Value: b.hashLimit(1024) / 1024, Unit: "MiB per s"})
	b.Result(BenchResult{Name: "machine: append 1,500 bytes and fsync", Value: fsync, Unit: "per s"})
	return b.ctx.Err()
}

func benchRecord(n int) (*record.Record, error) {
	payload := new(record.Dict)
	payload.Set(record.Text("Default"), record.Text("None"))
	payload.Set(record.Text("nuuid"), record.Text("37e105cc-e613-11f1-aa1b-02fc00000001"))
	payload.Set(record.Text("name"), record.Text(fmt.Sprintf("Voter %d", n)))
	payload.Set(record.Text("vprim"), record.Text(fmt.Sprintf("can%d", n%5)))
	random := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, n)))
	return record.New(payload, time.Unix(1795310564, int64(n)*1000), random)
}

// mint searches for a proof that is not to be found and counts the attempts.
func (b *bench) mint() error {
	b.Stage("minting")
	r, err := benchRecord(0)
	if err != nil {
		return err
	}
	length, err := record.AttemptLength(r)
	if err != nil {
		return err
	}
	limit := b.hashLimit(length)
	ctx, cancel := context.WithTimeout(b.ctx, benchTime)
	defer cancel()
	var hashes uint64
	start := time.Now()
	err = record.Minter{Strength: record.MaxStrength, Progress: func(n uint64) { hashes = n }}.Mint(ctx, r)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	rate := float64(hashes) / time.Since(start).Seconds()
	b.Result(BenchResult{Name: "minting, all cores", Value: rate, Unit: "attempts per s",
		Limit: fmt.Sprintf("SHA-256 of the same %d bytes", length), Ratio: rate / limit, Target: 0.8})
	return b.ctx.Err()
}

// made are the logs of a number of origins, written and signed.
type made struct {
	genesis *ledger.Genesis
	file    string // an entry file
	logs    int
}

func benchKey(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, "pyvnode bench ", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func benchGenesis(logs int) (*ledger.Genesis, error) {
	doc := ledger.GenesisDoc{Format: ledger.GenesisFormat, Name: "benchmark", Nonce: make([]byte, 16), MaxHops: 1}
	for i := range logs {
		doc.Members = append(doc.Members, ledger.OriginOf(benchKey(i)))
	}
	return ledger.NewGenesis(doc)
}

// drafts mints records with the least proof of work, on all cores.
func (b *bench) drafts(g *ledger.Genesis, from, to int) ([]*ledger.Draft, error) {
	out := make([]*ledger.Draft, to-from)
	errs := make([]error, cores)
	var wg sync.WaitGroup
	for w := range cores {
		wg.Go(func() {
			checker := ledger.Checker{Genesis: g}
			for i := from + w; i < to && errs[w] == nil; i += cores {
				var r *record.Record
				if r, errs[w] = benchRecord(i); errs[w] != nil {
					return
				}
				random := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "nonce", i)))
				if errs[w] = (record.Minter{Strength: 1, Workers: 1, Rand: random}).Mint(b.ctx, r); errs[w] != nil {
					return
				}
				var normal []byte
				if normal, errs[w] = r.Normal(); errs[w] != nil {
					return
				}
				out[i-from], errs[w] = checker.Draft("vote", normal)
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// makeFile writes an entry file of several logs that cite each other.
func (b *bench) makeFile(entries int) (*made, error) {
	const logs, run = 3, 64
	g, err := benchGenesis(logs)
	if err != nil {
		return nil, err
	}
	m := &made{genesis: g, logs: logs, file: filepath.Join(b.Dir, "entries")}
	f, err := os.Create(m.file)
	if err != nil {
		return nil, err
	}
	w, err := ledger.NewEntryFileWriter(f, g)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	state := make([]*ledger.Log, logs)
	heads := make([]ledger.Citation, logs)
	for i := range state {
		state[i] = &ledger.Log{Origin: ledger.OriginOf(benchKey(i))}
	}
	const part = 1 << 14
	for from := 0; from < entries; from += part {
		b.Stage(fmt.Sprintf("making %d of %d entries", from, entries))
		drafts, err := b.drafts(g, from, min(from+part, entries))
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		for i, d := range drafts {
			who := (from + i) / run % logs
			var seen []ledger.Citation
			if (from+i)%run == 0 { // the others' news, at the start of a run
				for o := range heads {
					if o != who && heads[o].Height > 0 {
						seen = append(seen, heads[o])
					}
				}
			}
			e, err := state[who].Sign(g, benchKey(who), d, seen, 1795310564000, nil)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			state[who].Advance(e)
			heads[who] = e.Citation()
			if err := w.Write(e); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
	}
	return m, errors.Join(w.Close(), f.Close())
}

// puts lets 64 writers store records, each waiting until its own is durable.
func (b *bench) puts() error {
	const writers = 64
	b.Stage("preparing records")
	g, err := benchGenesis(1)
	if err != nil {
		return err
	}
	drafts, err := b.drafts(g, 0, 40000)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.Dir, "puts")
	if err := store.CreateDir(b.ctx, dir, g); err != nil {
		return err
	}
	d, _, err := store.OpenDir(b.ctx, dir, store.DirOptions{Options: store.Options{Key: benchKey(0)}})
	if err != nil {
		return err
	}
	b.Stage("storing records from 64 writers")
	before, err := b.fsyncLimit()
	if err != nil {
		return errors.Join(err, d.Close())
	}
	var next atomic.Int64
	errs := make([]error, writers)
	waits := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(drafts) {
					return
				}
				at := time.Now()
				_, errs[w] = d.Append(b.ctx, drafts[i])
				waits[w] = append(waits[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start).Seconds()
	after, err := b.fsyncLimit()
	if err := errors.Join(append(errs, err, d.Close())...); err != nil {
		return err
	}
	rate, limit := float64(len(drafts))/elapsed, (before+after)/2
	all := slices.Concat(waits...)
	slices.Sort(all)
	b.Result(BenchResult{Name: "durable puts, 64 writers", Value: rate, Unit: "records per s",
		Limit: "Ed25519 signing, one core", Ratio: rate / b.signLimit(), Target: 0.65,
		Comment: fmt.Sprintf("median wait %.1f ms, p99 %.1f ms; each record is signed, one after the other",
			all[len(all)/2].Seconds()*1e3, all[len(all)*99/100].Seconds()*1e3)})
	b.Result(BenchResult{Name: "the same", Value: rate, Unit: "records per s", Limit: "fsync", Ratio: rate / limit})
	return os.RemoveAll(dir)
}

// large ingests, audits, opens and reads a large ledger.
func (b *bench) large() error {
	m, err := b.makeFile(b.Entries)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.Dir, "large")
	if err := store.CreateDir(b.ctx, dir, m.genesis); err != nil {
		return err
	}
	d, _, err := store.OpenDir(b.ctx, dir, store.DirOptions{})
	if err != nil {
		return err
	}
	b.Stage("ingesting")
	before := b.verifyLimit()
	start := time.Now()
	n, err := b.ingest(d.Store, m)
	elapsed := time.Since(start).Seconds()
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	after := b.verifyLimit()
	rate := float64(n) / elapsed
	b.Result(BenchResult{Name: fmt.Sprintf("bulk ingest of verified ranges, %d entries", n), Value: rate, Unit: "entries per s",
		Limit: "Ed25519 verification, all cores", Ratio: rate / ((before + after) / 2), Target: 2,
		Comment: "batches of 256 entries or 1 MiB; the signature of the newest entry of each log vouches for a batch"})
	for _, signatures := range []bool{false, true} {
		name, target := "audit without signatures", 5.0
		if signatures {
			name, target = "audit with signatures", 0.8
		}
		b.Stage(name)
		before := b.verifyLimit()
		report, err := audit.Directory(b.ctx, dir, audit.Options{SkipSignatures: !signatures})
		if err != nil {
			return err
		}
		if !report.Clean() || report.Entries != uint64(n) {
			return fmt.Errorf("the audit of the benchmark's own ledger is not clean: %v", report.Findings)
		}
		after := b.verifyLimit()
		rate := float64(n) / report.Duration.Seconds()
		b.Result(BenchResult{Name: name, Value: rate, Unit: "records per s",
			Limit: "Ed25519 verification, all cores", Ratio: rate / ((before + after) / 2), Target: target})
	}
	if b.Probe == nil {
		return nil
	}
	b.Stage("opening and reading in a fresh process")
	p, err := b.Probe(b.ctx, dir)
	if err != nil {
		return err
	}
	size := fmt.Sprintf("%d entries", n)
	b.Result(BenchResult{Name: "opening, " + size, Value: p.Open.Seconds(), Unit: "s", Target: 3, AtMost: true})
	for _, l := range p.Lookups {
		b.Result(BenchResult{Name: "lookup by " + l.Name + ", " + size, Value: l.Mean.Seconds() * 1e3, Unit: "ms", Target: 1, AtMost: true,
			Comment: fmt.Sprintf("p99 %.3f ms", l.P99.Seconds()*1e3)})
	}
	b.Result(BenchResult{Name: "resident memory after opening and " + fmt.Sprint(probeLookups*len(p.Lookups)) + " lookups", Value: p.Resident, Unit: "MiB", Target: 400, AtMost: true})
	b.Result(BenchResult{Name: "a node, from start to listening, " + size, Value: p.Listening.Seconds(), Unit: "s", Target: 3, AtMost: true})
	b.Result(BenchResult{Name: "the same, idle", Value: p.Idle, Unit: "% of a core", Target: 1, AtMost: true,
		Comment: fmt.Sprintf("over %v, alone in its network; resident memory %.0f MiB", probeIdle, p.IdleResident)})
	return nil
}

// ingest takes an entry file as a node that catches up does.
func (b *bench) ingest(s *store.Store, m *made) (int, error) {
	f, err := os.Open(m.file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	in, err := ledger.NewEntryFileReader(f)
	if err != nil {
		return 0, err
	}
	p := s.NewPipeline(b.ctx, 0, nil)
	for batch := range readBatches(b.ctx, in) {
		if err = cmp.Or(ignoreEOF(batch.end), p.Add(batch.entries)); err != nil {
			break
		}
	}
	result, failed := p.Close()
	return result.Joined, errors.Join(failed, err, b.ctx.Err())
}

// Lookup is how long one way of looking a record up takes.
type Lookup struct {
	Name      string
	Mean, P99 time.Duration
}

// ProbeResult is what [BenchProbe] measures.
type ProbeResult struct {
	Open     time.Duration
	Lookups  []Lookup
	Resident float64 // MiB; 0 where the system does not tell
	// Of a node that runs on the directory.
	Listening    time.Duration // from its start
	Idle         float64       // percent of a core; 0 where the system does not tell
	IdleResident float64       // MiB; 0 where the system does not tell
}

const (
	probeLookups = 5000
	probeSettle  = 10 * time.Second // a node that starts reads the indexes in the background
	probeIdle    = 20 * time.Second
)

// BenchProbe opens a data directory for writing, as a node does, and looks random records up; then a node runs on it and
// idles. It is to be called in a fresh process, or what it says about memory and the processor is about that process.
func BenchProbe(ctx context.Context, dir string) (ProbeResult, error) {
	var p ProbeResult
	if err := p.lookUp(ctx, dir); err != nil {
		return p, err
	}
	return p, p.run(ctx, dir)
}

// run lets a node idle.
func (p *ProbeResult) run(ctx context.Context, dir string) (err error) {
	if _, _, err := CreateIdentity(dir, bytes.NewReader(benchKey(0).Seed())); err != nil {
		return err
	}
	start := time.Now()
	r, err := Run(ctx, RunOptions{Options: Options{Data: dir}, Network: p2p.Options{Listen: []string{"/ip4/127.0.0.1/tcp/0"}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	p.Listening = time.Since(start)
	runtime.GC() // what the lookups left is not the node's
	var before time.Duration
	for _, pause := range []time.Duration{probeSettle, probeIdle} {
		before, start = processorTime(), time.Now()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.Idle = 100 * (processorTime() - before).Seconds() / time.Since(start).Seconds()
	p.IdleResident = residentMiB()
	return nil
}

func (p *ProbeResult) lookUp(ctx context.Context, dir string) error {
	start := time.Now()
	d, _, err := store.OpenDir(ctx, dir, store.DirOptions{Options: store.Options{Key: benchKey(0)}})
	if err != nil {
		return err
	}
	p.Open = time.Since(start)
	total := d.Count("vote")
	r := rand.New(rand.NewPCG(1, 1))
	type sample struct {
		stored *store.Stored
		id     record.ContentID
	}
	samples := make([]sample, probeLookups)
	measure := func(name string, lookup func(s *sample) error) error {
		times := make([]time.Duration, len(samples))
		var sum time.Duration
		for i := range samples {
			start := time.Now()
			if name != "position" && samples[i].stored == nil {
				return fmt.Errorf("lookup by %s: nothing to look up", name)
			}
			if err := lookup(&samples[i]); err != nil {
				return fmt.Errorf("lookup by %s: %w", name, err)
			}
			times[i] = time.Since(start)
			sum += times[i]
		}
		slices.Sort(times)
		p.Lookups = append(p.Lookups, Lookup{Name: name, Mean: sum / time.Duration(len(times)), P99: times[len(times)*99/100]})
		return nil
	}
	fetch := func(refs []store.Ref, err error) error {
		if err == nil && len(refs) == 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		_, err = d.Get(ctx, refs[0])
		return err
	}
	err = errors.Join(
		measure("position", func(s *sample) error {
			ref, err := d.At(ctx, "vote", r.Uint64N(total))
			if err != nil {
				return err
			}
			s.stored, err = d.Get(ctx, ref)
			return err
		}),
		func() error {
			var checker record.Checker
			for i := range samples {
				if samples[i].stored == nil {
					return nil
				}
				facts, err := checker.Check(samples[i].stored.Record, 0)
				if err != nil {
					return err
				}
				samples[i].id = facts.ContentID
			}
			return nil
		}(),
		measure("record header", func(s *sample) error {
			return fetch(d.ByHeader(ctx, "vote", s.stored.Header.RecordUUID))
		}),
		measure("content ID", func(s *sample) error { return fetch(d.ByContent(ctx, "vote", s.id)) }),
	)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	p.Resident = residentMiB()
	// What ingest took by hashing, a node would check before it idles.
	return errors.Join(d.VerifySignatures(ctx, nil), d.Close())
}

// processorTime is what this process has used of all cores, where the system has /proc.
func processorTime() time.Duration {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, fields, _ := strings.Cut(string(raw), ") ") // behind the name, which may hold anything
	var user, system int64                         // in hundredths of a second
	at := strings.Fields(fields)
	if len(at) < 13 {
		return 0
	}
	if _, err := fmt.Sscan(at[11]+" "+at[12], &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// residentMiB reads the resident memory of this process where the system has /proc.
func residentMiB() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(f)
	if err != nil {
		return 0
	}
	var kib float64
	for line := range strings.Lines(string(raw)) {
		if n, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 && err == nil {
			return kib / 1024
		}
	}
	return 0
}
