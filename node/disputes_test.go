package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// dispute is a story in which logs are frozen:
//
//	mallory  M0  M1  M2  M3        signed besides: M2' M3', and Mx' after M3', which nobody cites
//	alice    A0 → M3
//	bob      B0 → M3', B1 → A0
//	trudy    two first entries, which nobody cites
type dispute struct {
	g                  *ledger.Genesis
	main, branch       []*ledger.Entry // M0…M3, and M2' M3'
	uncited            *ledger.Entry
	alice              *ledger.Entry
	bob                []*ledger.Entry
	mallorys, earliest *proof.Evidence // earliest is against mallory too, and about M1
	trudys             *proof.Evidence
}

func newDispute(t *testing.T) *dispute {
	t.Helper()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "mallory", "trudy"))
	records := 0
	sign := func(party string, log *ledger.Log, cite ...*ledger.Entry) *ledger.Entry {
		var seen []ledger.Citation
		for _, e := range cite {
			seen = append(seen, e.Citation())
		}
		records++
		e := ledgertest.Sign(t, g, party, log, records, seen...)
		log.Advance(e)
		return e
	}
	log := func(party string) *ledger.Log { return &ledger.Log{Origin: ledgertest.Origin(party)} }
	evidence := func(a, b *ledger.Entry) *proof.Evidence {
		ev, err := proof.Fork(g, a, b)
		must(t, err)
		return ev
	}
	d := &dispute{g: g}
	mallory, bob := log("mallory"), log("bob")
	d.main = append(d.main, sign("mallory", mallory))
	first := sign("mallory", mallory.Clone())
	d.main = append(d.main, sign("mallory", mallory))
	d.earliest = evidence(first, d.main[1])
	other := mallory.Clone()
	d.main = append(d.main, sign("mallory", mallory), sign("mallory", mallory))
	d.branch = append(d.branch, sign("mallory", other), sign("mallory", other))
	d.uncited = sign("mallory", other)
	d.alice = sign("alice", log("alice"), d.main[3])
	d.bob = append(d.bob, sign("bob", bob, d.branch[1]), sign("bob", bob, d.alice))
	d.mallorys = evidence(d.main[2], d.branch[0])
	d.trudys = evidence(sign("trudy", log("trudy")), sign("trudy", log("trudy")))
	return d
}

// whole returns a node that holds all of it.
func (d *dispute) whole(t *testing.T) *Node {
	t.Helper()
	n := d.empty(t)
	_, err := n.Ingest(t.Context(), append(slices.Clone(d.main), d.alice)...)
	must(t, err)
	d.accuse(t, n, d.mallorys, d.trudys)
	_, err = n.IngestDisputed(t.Context(), slices.Concat(d.branch, []*ledger.Entry{d.uncited}, d.bob)...)
	must(t, err)
	return n
}

func (d *dispute) accuse(t *testing.T, n *Node, evidence ...*proof.Evidence) {
	t.Helper()
	for _, ev := range evidence {
		_, err := n.AddEvidence(t.Context(), ev)
		must(t, err)
	}
}

func (d *dispute) empty(t *testing.T) *Node {
	t.Helper()
	dir := t.TempDir()
	_, err := JoinNetwork(t.Context(), dir, d.g)
	must(t, err)
	n, err := OpenForImport(t.Context(), Options{Data: dir})
	must(t, err)
	t.Cleanup(func() { _ = n.Close() }) // tests that audit the directory have closed it
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fileOf(t *testing.T, n *Node) []byte {
	t.Helper()
	var file bytes.Buffer
	_, err := n.ExportEntries(t.Context(), &file, nil)
	must(t, err)
	return file.Bytes()
}

// fileWith returns an entry file of what is given, in the order that files have.
func fileWith(t *testing.T, g *ledger.Genesis, evidence [][]byte, entries ...*ledger.Entry) []byte {
	t.Helper()
	accused := func(raw []byte) (o ledger.Origin) {
		if ev, err := proof.ParseEvidence(raw); err == nil {
			o = ev.Origin()
		}
		return o
	}
	evidence = slices.Clone(evidence)
	if !slices.ContainsFunc(evidence, func(raw []byte) bool { return accused(raw) == ledger.Origin{} }) { // damaged evidence stays where it is
		slices.SortFunc(evidence, func(a, b []byte) int { return accused(a).Compare(accused(b)) })
	}
	return fileAsIs(t, g, evidence, slices.SortedFunc(slices.Values(entries), ledger.CompareCanonical)...)
}

// fileAsIs returns an entry file of what is given, in that order.
func fileAsIs(t *testing.T, g *ledger.Genesis, evidence [][]byte, entries ...*ledger.Entry) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&file, g)
	must(t, err)
	for _, raw := range evidence {
		must(t, w.WriteEvidence(raw))
	}
	for _, e := range entries {
		must(t, w.Write(e))
	}
	must(t, w.Close())
	return file.Bytes()
}

// statuses returns what a node says of every entry that its frontier covers.
func statuses(t *testing.T, n *Node) map[string]string {
	t.Helper()
	all := map[string]string{}
	checker := ledger.Checker{Genesis: n.Genesis()}
	for e, err := range n.Chain(t.Context()) {
		must(t, err)
		facts, err := checker.Check(e)
		must(t, err)
		ref := store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}
		status := fmt.Sprint("disputed ", n.Disputed(ref))
		if !n.Disputed(ref) { // those of other branches are in no index
			found, err := n.Find(t.Context(), Reference{Content: (*record.ContentID)(&facts.ContentID)}, "")
			must(t, err)
			status += fmt.Sprint(" ", found[0].Status, " ", found[0].Conflict)
		}
		all[e.Hash.String()] = status
	}
	return all
}

// sameLedger wants two nodes to hold the same, by what they say and by audits of their directories. It closes both.
func sameLedger(t *testing.T, a, b *Node) {
	t.Helper()
	network := a.Genesis().Network()
	if x, y := a.Frontier().Digest(network), b.Frontier().Digest(network); x != y {
		t.Fatalf("digests differ:\n%+v\n%+v", a.Frontier(), b.Frontier())
	}
	if x, y := statuses(t, a), statuses(t, b); !maps.Equal(x, y) {
		t.Errorf("statuses differ:\n%v\n%v", x, y)
	}
	var digests []ledger.Hash
	for _, n := range []*Node{a, b} {
		digests = append(digests, n.Frontier().Digest(network))
		must(t, n.Close())
		report, err := audit.Directory(t.Context(), n.data, audit.Options{})
		must(t, err)
		if !report.Clean() {
			t.Fatalf("findings: %v", report.Findings)
		}
		digests = append(digests, *report.Digest)
	}
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("digests and those of the audits: %v", digests)
	}
}

func TestExportOfFrozenLogs(t *testing.T) {
	t.Parallel()
	d := newDispute(t)
	n := d.whole(t)
	file := fileOf(t, n)
	want := n.Frontier().Digest(d.g.Network())

	report, err := audit.EntryFile(t.Context(), bytes.NewReader(file), audit.Options{})
	must(t, err)
	if !report.Clean() || *report.Digest != want || len(report.Evidence) != 2 || report.Disputed != 4 {
		t.Errorf("audit of the file: %+v", report)
	}
	if report.Signatures != report.Entries-report.Disputed { // whatever those of disputed entries are, they are no finding
		t.Errorf("%d signatures count as checked, of %d entries %d are disputed", report.Signatures, report.Entries, report.Disputed)
	}
	var lines bytes.Buffer
	if _, err := n.ExportLines(t.Context(), &lines, "", nil); err != nil {
		t.Error(err)
	}
	marked := 0
	for text := range bytes.Lines(lines.Bytes()) {
		line, err := ledger.ParseJSONLine(text)
		must(t, err)
		if line.Disputed {
			marked++
		}
		if line.Disputed != n.Disputed(store.Ref{Origin: *line.Origin, Seq: *line.Seq}) {
			t.Errorf("a line says disputed %v: %s", line.Disputed, text)
		}
	}
	if marked != 4 {
		t.Errorf("%d lines are marked as disputed, want 4", marked)
	}
	path := filepath.Join(t.TempDir(), "frozen.entries")
	must(t, os.WriteFile(path, file, 0o600))
	side, err := OpenEntryFile(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { _ = side.Close() })
	if c, err := Compare(t.Context(), d.g.Network(), StoreSide(n.Store), side, 10); err != nil || c.Verdict != Same || c.B.Digest != want {
		t.Errorf("compared with the file: %+v, %v", c, err)
	}

	chain := len(d.main) + len(d.branch) + 1 + len(d.bob)
	m := d.empty(t)
	sum, err := m.ImportEntries(t.Context(), bytes.NewReader(file), nil)
	if err != nil || sum != (EntrySummary{Read: chain, Proofs: 2, New: chain, Evidence: 2}) {
		t.Errorf("imported: %+v, %v", sum, err)
	}
	if !bytes.Equal(fileOf(t, m), file) {
		t.Error("exported again it is another file")
	}
	if sum, err = m.ImportEntries(t.Context(), bytes.NewReader(file), nil); err != nil || sum != (EntrySummary{Read: chain, Proofs: 2, Held: chain}) {
		t.Errorf("imported again: %+v, %v", sum, err)
	}
	sameLedger(t, n, m)
}

// TestEntryFileOrder: who reads an entry file takes the same files, those in canonical order, whether or not every entry
// follows those that it names.
func TestEntryFileOrder(t *testing.T) {
	t.Parallel()
	d := newDispute(t)
	n := ledgertest.NewNetwork(t, d.g)
	a, b := n.Put("alice"), n.Put("bob") // neither names the other
	if ledger.CompareCanonical(a, b) > 0 {
		a, b = b, a
	}
	x, y := d.mallorys.Bytes(), d.trudys.Bytes()
	if d.mallorys.Origin().Compare(d.trudys.Origin()) > 0 {
		x, y = y, x
	}
	for name, c := range map[string]struct {
		file []byte
		want string // in the error; none is none
	}{
		"in order":                  {fileAsIs(t, d.g, [][]byte{x, y}, a, b), ""},
		"entries turned round":      {fileAsIs(t, d.g, nil, b, a), "canonical order"},
		"an entry twice":            {fileAsIs(t, d.g, nil, a, b, b), "canonical order"},
		"evidence turned round":     {fileAsIs(t, d.g, [][]byte{y, x}, a, b), "in their order"},
		"two pieces against one":    {fileAsIs(t, d.g, [][]byte{d.earliest.Bytes(), d.mallorys.Bytes()}, a, b), "in their order"},
		"evidence twice":            {fileAsIs(t, d.g, [][]byte{x, x}, a, b), "in their order"},
		"a version that is to come": {bytes.Replace(fileAsIs(t, d.g, nil, a), []byte("entries-2"), []byte("entries-3"), 1), "pyvnode-entries-3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			format, err := DetectFormat(bufio.NewReader(bytes.NewReader(c.file)))
			if err != nil || format != EntryFormat {
				t.Errorf("it counts as %q, %v", format, err)
			}
			report, err := audit.EntryFile(t.Context(), bytes.NewReader(c.file), audit.Options{})
			must(t, err)
			found := slices.ContainsFunc(report.Findings, func(f audit.Finding) bool {
				return f.Reason == audit.ReasonFile && strings.Contains(f.Detail, c.want)
			})
			if report.Clean() != (c.want == "") || !report.Clean() && !found {
				t.Errorf("audit: %v", report.Findings)
			}
			refused := func(what string, err error) {
				if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ledger.ErrEntryFile) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err = d.empty(t).ImportEntries(t.Context(), bytes.NewReader(c.file), nil)
			refused("import", err)
			path := filepath.Join(t.TempDir(), "file.entries")
			must(t, os.WriteFile(path, c.file, 0o600))
			side, err := OpenEntryFile(t.Context(), path)
			refused("diff", err)
			if err == nil {
				must(t, side.Close())
			}
		})
	}
}

// TestImportOfFrozenLogs imports it where some of it is held.
func TestImportOfFrozenLogs(t *testing.T) {
	t.Parallel()
	d := newDispute(t)
	file := fileOf(t, d.whole(t))
	for _, c := range []struct {
		name  string
		first func(n *Node) error
		later []*proof.Evidence // that the exporter gets too
	}{
		{"a part, and nothing known against anybody", func(n *Node) error {
			_, err := n.Ingest(t.Context(), d.main[:3]...)
			return err
		}, nil},
		{"the other branch", func(n *Node) error {
			_, err := n.Ingest(t.Context(), slices.Concat(d.main[:2], d.branch, d.bob[:1])...)
			return err
		}, nil},
		{"a branch that nobody cites", func(n *Node) error {
			_, err := n.Ingest(t.Context(), slices.Concat(d.main[:2], d.branch, []*ledger.Entry{d.uncited})...)
			return err
		}, nil},
		{"the evidence", func(n *Node) error {
			d.accuse(t, n, d.mallorys)
			return nil
		}, nil},
		{"evidence that freezes earlier", func(n *Node) error {
			d.accuse(t, n, d.earliest)
			return nil
		}, []*proof.Evidence{d.earliest}},
		{"entries, and evidence that freezes earlier", func(n *Node) error {
			_, err := n.Ingest(t.Context(), slices.Concat(d.main[:2], d.branch)...)
			d.accuse(t, n, d.earliest)
			return err
		}, []*proof.Evidence{d.earliest}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, n := d.empty(t), d.whole(t)
			must(t, c.first(m))
			if _, err := m.ImportEntries(t.Context(), bytes.NewReader(file), nil); err != nil {
				t.Fatal(err)
			}
			d.accuse(t, n, c.later...)
			sameLedger(t, n, m)
		})
	}
}

// TestImportOfRandomForks imports what random liars and honest parties signed, in several batches.
func TestImportOfRandomForks(t *testing.T) {
	t.Parallel()
	closed := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "mallory", "trudy"))
	doc := ledgertest.Doc()
	doc.Open = true
	open := ledgertest.Genesis(t, doc)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			g := []*ledger.Genesis{closed, open}[seed%2]
			d := &dispute{g: g}
			n, m := d.empty(t), d.empty(t)
			r := rand.New(rand.NewPCG(seed/2, 5))
			entries := ledgertest.Forks(t, g, r, 600)
			for i, e := range entries {
				_, err := n.IngestDisputed(t.Context(), e)
				var fork *store.ForkError
				if errors.As(err, &fork) {
					ev, err := proof.Fork(g, fork.Held, fork.Other)
					must(t, err)
					d.accuse(t, n, ev)
					_, err = n.IngestDisputed(t.Context(), e)
					must(t, err)
				} else {
					must(t, err)
				}
				if i < 200 { // the importer holds a part, and knows of no fork
					_, _ = m.Ingest(t.Context(), e)
				}
			}
			if len(n.Evidence()) == 0 {
				t.Fatal("nobody forked")
			}
			sum, err := m.ImportEntries(t.Context(), bytes.NewReader(fileOf(t, n)), nil)
			if err != nil || sum.Uncited > 0 {
				t.Fatalf("%+v, %v", sum, err)
			}
			sameLedger(t, n, m)
		})
	}
}

// TestImportUncited leaves out what evidence disputes and no undisputed entry leads to, whoever wrote it.
func TestImportUncited(t *testing.T) {
	t.Parallel()
	d := newDispute(t)
	n, m := d.whole(t), d.empty(t)
	forged := *d.uncited
	forged.Signature[0] ^= 1
	raw := forged.Append(nil)
	unsigned, err := ledger.DecodeEntry(raw)
	must(t, err)
	file := fileWith(t, d.g, [][]byte{d.mallorys.Bytes(), d.trudys.Bytes()},
		slices.Concat(d.main, d.branch, []*ledger.Entry{d.uncited, unsigned, d.alice}, d.bob)...)
	sum, err := m.ImportEntries(t.Context(), bytes.NewReader(file), nil)
	if err != nil || sum.Uncited != 2 || sum.New != sum.Read-2 {
		t.Errorf("%+v, %v", sum, err)
	}
	for _, e := range []*ledger.Entry{d.uncited, unsigned} {
		if _, err := m.Exact(t.Context(), store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}, e.Hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("it was taken: %v", err)
		}
	}
	sameLedger(t, n, m)
}

// TestImportDamagedEvidence refuses evidence that proves nothing, says where it stands, and takes nothing behind it.
func TestImportDamagedEvidence(t *testing.T) {
	t.Parallel()
	d := newDispute(t)
	good := d.mallorys.Bytes()
	flipped := bytes.Clone(good)
	flipped[len(good)/2] ^= 4
	at := len("pyvnode-entries-2\n") + 2 + len(d.g.Bytes())
	for _, c := range []struct {
		name     string
		evidence [][]byte
		at       int
	}{
		{"a flipped bit", [][]byte{flipped}, at},
		{"none", [][]byte{{}}, at},
		{"cut short", [][]byte{good[:len(good)-1]}, at},
		{"behind good evidence", [][]byte{good, flipped}, at + 2 + 1 + len(good)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := d.empty(t)
			file := fileWith(t, d.g, c.evidence, d.main...)
			sum, err := m.ImportEntries(t.Context(), bytes.NewReader(file), nil)
			if !errors.Is(err, ledger.ErrEntryFile) || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d:", c.at)) || sum.Evidence != len(c.evidence)-1 {
				t.Errorf("%+v, %v", sum, err)
			}
			if f := m.Frontier(); f.Entries() != 0 || len(f) != len(c.evidence)-1 {
				t.Errorf("it holds %+v", f)
			}
			path := filepath.Join(t.TempDir(), "x.entries")
			must(t, os.WriteFile(path, file, 0o600))
			if _, err := OpenEntryFile(t.Context(), path); !errors.Is(err, ledger.ErrEntryFile) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// TestImportAgainstStrangers: in an open network evidence counts against those whose entries there are, since keys cost
// nothing.
func TestImportAgainstStrangers(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc()
	doc.Open = true
	g := ledgertest.Genesis(t, doc)
	fork := func(party string, log *ledger.Log) (*ledger.Entry, *proof.Evidence) {
		a, b := ledgertest.Sign(t, g, party, log, 1), ledgertest.Sign(t, g, party, log, 2)
		ev, err := proof.Fork(g, a, b)
		must(t, err)
		return a, ev
	}
	mallory := &ledger.Log{Origin: ledgertest.Origin("mallory")}
	first := ledgertest.Sign(t, g, "mallory", mallory, 3)
	mallory.Advance(first)
	second, known := fork("mallory", mallory)
	_, stranger := fork("trudy", &ledger.Log{Origin: ledgertest.Origin("trudy")})
	alice := ledgertest.Sign(t, g, "alice", &ledger.Log{Origin: ledgertest.Origin("alice")}, 4, second.Citation())
	m := (&dispute{g: g}).empty(t)
	sum, err := m.ImportEntries(t.Context(), bytes.NewReader(fileWith(t, g, [][]byte{known.Bytes(), stranger.Bytes()}, first, second, alice)), nil)
	if err != nil || sum != (EntrySummary{Read: 3, Proofs: 2, New: 3, Evidence: 1}) {
		t.Errorf("%+v, %v", sum, err)
	}
	if list := m.Evidence(); len(list) != 1 || list[0].ID() != known.ID() {
		t.Errorf("%v", list)
	}
}

// TestImportEvidenceForLater: of evidence against strangers of which the file has nothing yet, so much is kept for later and no
// more, however long the pieces are; and what is kept counts.
func TestImportEvidenceForLater(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc()
	doc.Open = true
	g := ledgertest.Genesis(t, doc)
	payload := new(record.Dict)
	payload.Set(record.Text("x"), record.Text(strings.Repeat("x", 60_000)))
	random := ledgertest.NewRand(1)
	r, err := record.New(payload, ledgertest.Start, random)
	must(t, err)
	minter := record.Minter{Strength: 1, Workers: 1, Rand: random}
	must(t, minter.Mint(t.Context(), r))
	normal, err := r.Normal()
	must(t, err)
	d, err := (&ledger.Checker{Genesis: g}).Draft("vote", normal)
	must(t, err)
	i := &importing{n: (&dispute{g: g}).empty(t), ctx: t.Context()}
	held := func() (bytes int) {
		for _, ev := range i.later {
			bytes += len(ev.Bytes())
		}
		return bytes
	}
	sign := func(party string, at int64) *ledger.Entry {
		e, err := (&ledger.Log{Origin: ledgertest.Origin(party)}).Sign(g, ledgertest.Key(party), d, nil, at, nil)
		must(t, err)
		return e
	}
	size := 0
	for k := range 200 {
		party := fmt.Sprint("stranger ", k)
		log := &ledger.Log{Origin: ledgertest.Origin(party)}
		first := sign(party, 1)
		log.Advance(first)
		second, err := log.Sign(g, ledgertest.Key(party), d, nil, 1, nil)
		must(t, err)
		twice, err := proof.Repeated(g, first, second, func(from, to uint64) iter.Seq2[ledger.Hash, error] {
			return func(yield func(ledger.Hash, error) bool) {
				for _, e := range []*ledger.Entry{first, second}[from:to] {
					if !yield(e.Hash, nil) {
						return
					}
				}
			}
		})
		must(t, err)
		size += len(twice.Bytes())
		must(t, i.accuse(twice))
		must(t, i.accuse(twice))
		if k%10 == 0 { // what is better takes its place
			better, err := proof.Fork(g, first, sign(party, 2))
			must(t, err)
			must(t, i.accuse(better))
		}
		if held() != i.laterBytes || i.laterBytes > maxLaterBytes {
			t.Fatalf("it holds %d bytes, counts %d, and may hold %d", held(), i.laterBytes, maxLaterBytes)
		}
	}
	if size < maxLaterBytes || i.laterBytes < maxLaterBytes/2 {
		t.Errorf("of %d bytes it holds %d", size, i.laterBytes)
	}
	before := i.sum.Evidence
	must(t, i.add(importBatch{entries: []*ledger.Entry{sign("stranger 0", 1)}}))
	if held() != i.laterBytes || i.sum.Evidence != before+1 {
		t.Errorf("it holds %d bytes, counts %d, and %d pieces count", held(), i.laterBytes, i.sum.Evidence)
	}
}
