package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func network(t testing.TB, entries int) *ledgertest.Network {
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol")))
	n.Random(11, entries, "bob", "carol")
	return n
}

func fill(t testing.TB, d store.Datastore, n *ledgertest.Network) {
	t.Helper()
	s, _, err := store.Open(t.Context(), d, n.Genesis, store.Options{})
	must(t, err)
	_, err = s.Ingest(t.Context(), n.Entries...)
	must(t, err)
	must(t, s.Close())
}

// logKeys returns the keys of the entries of a party, by seq.
func logKeys(t testing.TB, d store.Datastore, party string) (keys []string) {
	for h, err := range store.ScanHeads(t.Context(), d) {
		must(t, err)
		if h.Log.Origin == ledgertest.Origin(party) {
			for seq := range h.Log.Size() {
				keys = append(keys, store.EntryKey(h.Number, seq))
			}
		}
	}
	return keys
}

func get(t testing.TB, d store.Datastore, key string) []byte {
	value, err := d.Get(t.Context(), ds.RawKey(key))
	must(t, err)
	return value
}

func put(t testing.TB, d store.Datastore, key string, value []byte) {
	must(t, d.Put(t.Context(), ds.RawKey(key), value))
}

func firstKey(t testing.TB, d store.Datastore, prefix string) string {
	for pair, err := range d.Scan(t.Context(), prefix, prefix+"\xff") {
		must(t, err)
		return string(pair.Key)
	}
	t.Fatalf("no key with prefix %s", prefix)
	return ""
}

// TestFindsDamage damages a ledger in one place, in every way there is, and wants the audit to point there, to say what
// is wrong, and to accuse nothing else.
func TestFindsDamage(t *testing.T) {
	t.Parallel()
	n := network(t, 40)
	at := func(seq uint64, reason ledger.Reason) string { return fmt.Sprintf("bob/%d %s", seq, reason) }
	bobs := 0
	for _, e := range n.Entries {
		if e.Header.Origin == ledgertest.Origin("bob") {
			bobs++
		}
	}
	last := uint64(bobs - 1)
	edit := func(seq uint64, change func(e *ledger.Entry)) func(*testing.T, store.Datastore) {
		return func(t *testing.T, d store.Datastore) {
			key := logKeys(t, d, "bob")[seq]
			value := get(t, d, key)
			e, err := ledger.DecodeEntry(value[12:]) // behind position and hops
			must(t, err)
			change(e)
			put(t, d, key, e.Append(slices.Clone(value[:12])))
		}
	}
	resign := func(e *ledger.Entry, change func(h *ledger.Header)) {
		h := e.Header
		change(&h)
		*e = *ledger.Sign(ledgertest.Key("bob"), h, e.Record)
	}
	cases := []struct {
		name   string
		damage func(*testing.T, store.Datastore)
		want   []string
	}{
		{"record changed", edit(5, func(e *ledger.Entry) {
			e.Record = bytes.Clone(e.Record)
			e.Record[len(e.Record)/2] ^= 1
		}), []string{at(5, ledger.ReasonRecordHash)}},
		{"signature changed", edit(5, func(e *ledger.Entry) { e.Signature[0] ^= 1 }),
			[]string{at(5, ledger.ReasonSignature), at(5, audit.ReasonHash)}},
		{"last signature changed", edit(last, func(e *ledger.Entry) { e.Signature[0] ^= 1 }),
			[]string{at(last, ledger.ReasonSignature), at(last, audit.ReasonHash), "/log " + string(audit.ReasonHead)}},
		{"time changed and signed again", edit(5, func(e *ledger.Entry) { resign(e, func(h *ledger.Header) { h.Time++ }) }),
			[]string{at(5, audit.ReasonHash)}},
		{"root changed and signed again", edit(5, func(e *ledger.Entry) { resign(e, func(h *ledger.Header) { h.Root[3] ^= 1 }) }),
			[]string{at(5, ledger.ReasonRoot), at(5, audit.ReasonHash)}},
		{"predecessor changed and signed again", edit(5, func(e *ledger.Entry) { resign(e, func(h *ledger.Header) { h.Prev[3] ^= 1 }) }),
			[]string{at(5, ledger.ReasonPrev), at(5, audit.ReasonHash)}},
		{"first entry changed and signed again", edit(0, func(e *ledger.Entry) { resign(e, func(h *ledger.Header) { h.Prev[0], h.Root[0] = 1, 2 }) }),
			[]string{at(0, ledger.ReasonPrev), at(0, ledger.ReasonRoot), at(0, audit.ReasonHash)}},
		{"height changed and signed again", edit(last, func(e *ledger.Entry) { resign(e, func(h *ledger.Header) { h.Height++ }) }),
			[]string{at(last, ledger.ReasonHeight), "any " + string(ledger.ReasonCitation), "/log " + string(audit.ReasonHead)}},
		{"cites what is not there", edit(last, func(e *ledger.Entry) {
			resign(e, func(h *ledger.Header) {
				h.Seen = []ledger.Citation{{Origin: ledgertest.Origin("alice"), Seq: 3, Height: h.Height - 1}}
			})
		}), []string{at(last, ledger.ReasonCitation), "any " + string(ledger.ReasonCitation), "/log " + string(audit.ReasonHead)}},
		{"cites another entry", edit(last, func(e *ledger.Entry) {
			resign(e, func(h *ledger.Header) {
				h.Seen = []ledger.Citation{{Origin: ledgertest.Origin("carol"), Seq: 0, Hash: ledger.Hash{1}, Height: h.Height - 1}}
			})
		}), []string{at(last, ledger.ReasonCitation), "any " + string(ledger.ReasonCitation), "/log " + string(audit.ReasonHead)}},
		{"garbage", func(t *testing.T, d store.Datastore) {
			put(t, d, logKeys(t, d, "bob")[5], []byte("not an entry at all"))
		},
			[]string{at(5, ledger.ReasonEncoding)}},
		{"missing", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(logKeys(t, d, "bob")[5])))
		},
			[]string{at(5, audit.ReasonMissing)}},
		{"two missing", func(t *testing.T, d store.Datastore) {
			keys := logKeys(t, d, "bob")
			must(t, errors.Join(d.Delete(t.Context(), ds.RawKey(keys[5])), d.Delete(t.Context(), ds.RawKey(keys[6]))))
		}, []string{at(5, audit.ReasonMissing)}},
		{"last missing", func(t *testing.T, d store.Datastore) {
			keys := logKeys(t, d, "bob")
			must(t, d.Delete(t.Context(), ds.RawKey(keys[len(keys)-1])))
		}, []string{at(last, audit.ReasonMissing)}},
		{"another log's entry", func(t *testing.T, d store.Datastore) {
			put(t, d, logKeys(t, d, "bob")[5], get(t, d, logKeys(t, d, "carol")[5]))
		}, []string{at(5, ledger.ReasonSeq)}},
		{"position changed", func(t *testing.T, d store.Datastore) {
			key := logKeys(t, d, "bob")[5]
			value := get(t, d, key)
			value[7] ^= 1
			put(t, d, key, value)
		}, []string{at(5, audit.ReasonIndex)}},
		{"content row missing", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(firstKey(t, d, "/c/"))))
		},
			[]string{"any " + string(audit.ReasonIndex)}},
		{"header row missing", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(firstKey(t, d, "/h/"))))
		},
			[]string{"any " + string(audit.ReasonIndex)}},
		{"position row missing", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(firstKey(t, d, "/p/"))))
		},
			[]string{"any " + string(audit.ReasonIndex)}},
		{"row leads elsewhere", func(t *testing.T, d store.Datastore) {
			key := firstKey(t, d, "/p/")
			value := get(t, d, key)
			value[20] ^= 1
			put(t, d, key, value)
		}, []string{"any " + string(audit.ReasonIndex), "any " + string(audit.ReasonSurplus)}},
		{"row with a value too many", func(t *testing.T, d store.Datastore) { put(t, d, firstKey(t, d, "/c/"), []byte("x")) },
			[]string{"any " + string(audit.ReasonIndex), "any " + string(audit.ReasonSurplus)}},
		{"row that leads to no place", func(t *testing.T, d store.Datastore) { put(t, d, "/h/vote/x", nil) },
			[]string{"/h/ " + string(audit.ReasonUnreadable)}},
		{"entry key in capitals", func(t *testing.T, d store.Datastore) {
			key := logKeys(t, d, "bob")[10]
			value := get(t, d, key)
			must(t, d.Delete(t.Context(), ds.RawKey(key)))
			put(t, d, key[:3]+strings.ToUpper(key[3:]), value)
		}, []string{at(10, audit.ReasonMissing), "/e " + string(ledger.ReasonEncoding)}},
		{"head key in capitals", func(t *testing.T, d store.Datastore) {
			key := store.OriginKey(ledgertest.Origin("bob"))
			put(t, d, key[:5]+strings.ToUpper(key[5:]), get(t, d, key))
		}, []string{"/log " + string(audit.ReasonHead)}},
		{"surplus row", func(t *testing.T, d store.Datastore) {
			put(t, d, "/p/vote/0000000000ff", get(t, d, firstKey(t, d, "/p/")))
		}, []string{"any " + string(audit.ReasonSurplus)}},
		{"surplus row to nowhere", func(t *testing.T, d store.Datastore) {
			put(t, d, "/p/vote/0000000000ff", []byte("00000007/000000000001"))
		},
			[]string{"/p/ " + string(audit.ReasonSurplus)}},
		{"unknown key", func(t *testing.T, d store.Datastore) { put(t, d, "/secret", []byte("x")) },
			[]string{`"/secret" surplus`}},
		{"unknown key under entries", func(t *testing.T, d store.Datastore) { put(t, d, "/e/zz", []byte("x")) },
			[]string{"/e " + string(ledger.ReasonEncoding)}},
		{"count wrong", func(t *testing.T, d store.Datastore) { put(t, d, "/kind/vote", []byte("41")) },
			[]string{"/kind/vote " + string(audit.ReasonIndex)}},
		{"count missing", func(t *testing.T, d store.Datastore) { must(t, d.Delete(t.Context(), ds.RawKey("/kind/vote"))) },
			[]string{"/kind/vote " + string(audit.ReasonMissing)}},
		{"head damaged", func(t *testing.T, d store.Datastore) {
			key := store.OriginKey(ledgertest.Origin("bob"))
			value := get(t, d, key)
			value[20] ^= 1
			put(t, d, key, value)
		}, []string{"/log " + string(audit.ReasonHead)}},
		{"genesis damaged", func(t *testing.T, d store.Datastore) { put(t, d, "/genesis", append(get(t, d, "/genesis"), ' ')) },
			[]string{"/genesis " + string(audit.ReasonUnreadable)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := store.NewMemory()
			fill(t, d, n)
			c.damage(t, d)
			report, err := audit.Datastore(t.Context(), d, n.Genesis, audit.Options{})
			must(t, err)
			var got []string
			for _, f := range report.Findings {
				where := f.Where
				for _, prefix := range []string{"/log/", "/c/", "/h/", "/p/", "/e/"} {
					if strings.HasPrefix(where, prefix) {
						where = strings.TrimSuffix(prefix, "/")
						if prefix != "/log/" && prefix != "/e/" {
							where = prefix
						}
					}
				}
				switch {
				case f.Origin != nil && *f.Origin == ledgertest.Origin("bob") && !strings.HasPrefix(c.want[0], "any"):
					where = fmt.Sprintf("bob/%d", f.Seq)
				case f.Origin != nil:
					where = "any"
				}
				got = append(got, fmt.Sprintf("%s %s", where, f.Reason))
			}
			slices.Sort(got)
			got = slices.Compact(got)
			// Damage to an entry takes its index rows with it, which is the same damage seen from the other side.
			got = slices.DeleteFunc(got, func(s string) bool {
				return !slices.Contains(c.want, s) && (strings.HasSuffix(s, string(audit.ReasonSurplus)) || strings.HasSuffix(s, string(audit.ReasonIndex)))
			})
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q\n%v", got, c.want, report.Findings)
			}
		})
	}
}

// TestEveryFlipInAFileIsFound flips bits of an entry file.
func TestEveryFlipInAFileIsFound(t *testing.T) {
	t.Parallel()
	n := network(t, 6)
	var buf bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&buf, n.Genesis)
	must(t, err)
	for _, e := range slices.SortedFunc(slices.Values(n.Entries), ledger.CompareCanonical) {
		must(t, w.Write(e))
	}
	must(t, w.Close())
	raw := buf.Bytes()
	report, err := audit.EntryFile(t.Context(), bytes.NewReader(raw), audit.Options{})
	must(t, err)
	if !report.Clean() || report.Entries != 6 || report.Records != 6 || report.Signatures != 6 {
		t.Fatalf("%+v", report)
	}
	everyFlip(t, raw)
	_, s, _ := forked(t)
	everyFlip(t, fileOf(t, s))
	must(t, s.Close())
}

func everyFlip(t *testing.T, raw []byte) {
	for i := range raw {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 1 << (i % 8)
		report, err := audit.EntryFile(t.Context(), bytes.NewReader(flipped), audit.Options{Workers: 1, SkipSignatures: i%2 == 0})
		must(t, err)
		if report.Clean() {
			t.Fatalf("byte %d of %d flipped, and the audit is clean", i, len(raw))
		}
	}
}

// TestHostileEntryFiles: sequence numbers that leave out millions cost neither memory nor the process.
func TestHostileEntryFiles(t *testing.T) {
	t.Parallel()
	n := network(t, 12)
	var file bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&file, n.Genesis)
	must(t, err)
	key := ledgertest.Key("bob")
	for i, seq := range []uint64{0, 5_000_000, 7, 1 << 20, 2 << 20, 1 << 40, 1 << 47, 3, 1 << 47} {
		h := n.Entries[i].Header
		h.Origin, h.Seq = ledgertest.Origin("bob"), seq
		h.Seen = nil
		must(t, w.Write(ledger.Sign(key, h, n.Entries[i].Record)))
	}
	must(t, w.Close())
	report, err := audit.EntryFile(t.Context(), &file, audit.Options{})
	must(t, err)
	if report.Entries != 9 || report.Clean() {
		t.Errorf("%+v", report)
	}
}

// TestForgedEntriesSayNothing: an entry that its origin did not sign does not move that origin's log.
func TestForgedEntriesSayNothing(t *testing.T) {
	t.Parallel()
	n := network(t, 12)
	var file bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&file, n.Genesis)
	must(t, err)
	for i, e := range slices.SortedFunc(slices.Values(n.Entries), ledger.CompareCanonical) {
		must(t, w.Write(e))
		if i == 5 {
			h := e.Header
			h.Seq += 2 // right after e in canonical order
			must(t, w.Write(ledger.Sign(ledgertest.Key("mallory"), h, e.Record)))
		}
	}
	must(t, w.Close())
	report, err := audit.EntryFile(t.Context(), &file, audit.Options{})
	must(t, err)
	if len(report.Findings) != 1 || report.Findings[0].Origin != nil || report.Findings[0].Reason != ledger.ReasonSignature {
		t.Errorf("%v", report.Findings)
	}
}

// TestReadErrorDoesNotLoop: a scan that fails where single reads succeed, as a damaged block in a lower level of the
// database can make it, ends.
func TestReadErrorDoesNotLoop(t *testing.T) {
	t.Parallel()
	n := network(t, 20)
	d := store.NewMemory()
	fill(t, d, n)
	report, err := audit.Datastore(t.Context(), &stumbling{d}, n.Genesis, audit.Options{})
	must(t, err)
	if report.Entries < 20 {
		t.Errorf("%d entries were read: %v", report.Entries, report.Findings)
	}
}

// stumbling fails every scan of entries at its second step.
type stumbling struct{ store.Datastore }

func (s *stumbling) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		steps := 0
		for pair, err := range s.Datastore.Scan(ctx, lower, upper) {
			if steps++; steps == 2 && strings.HasPrefix(lower, "/e/") {
				yield(store.Pair{}, errors.New("bad block"))
				return
			}
			if !yield(pair, err) {
				return
			}
		}
	}
}

func TestEntryFileOutOfOrder(t *testing.T) {
	t.Parallel()
	n := network(t, 30)
	write := func(entries []*ledger.Entry) *audit.Report {
		var buf bytes.Buffer
		w, err := ledger.NewEntryFileWriter(&buf, n.Genesis)
		must(t, err)
		for _, e := range entries {
			must(t, w.Write(e))
		}
		must(t, w.Close())
		report, err := audit.EntryFile(t.Context(), &buf, audit.Options{})
		must(t, err)
		return report
	}
	reasons := func(r *audit.Report) (out []ledger.Reason) {
		for _, f := range r.Findings {
			out = append(out, f.Reason)
		}
		return out
	}
	if r := write(n.Entries); r.Clean() || slices.ContainsFunc(reasons(r), func(is ledger.Reason) bool { return is != audit.ReasonFile }) {
		t.Errorf("each after those it names, but not in canonical order: %v", r.Findings)
	}
	sorted := slices.SortedFunc(slices.Values(n.Entries), ledger.CompareCanonical)
	if r := write(sorted); !r.Clean() {
		t.Errorf("in canonical order: %v", r.Findings)
	}
	if r := write(append(slices.Clone(sorted), n.Entries[3])); !slices.Equal(reasons(r), []ledger.Reason{audit.ReasonFile, audit.ReasonSurplus}) {
		t.Errorf("an entry twice: %v", r.Findings)
	}
	fork := n.Entries[3].Header
	fork.Time++
	key := ledgertest.Key("bob")
	if fork.Origin != ledgertest.Origin("bob") {
		key = ledgertest.Key("carol")
	}
	if r := write(append(slices.Clone(sorted), ledger.Sign(key, fork, n.Entries[3].Record))); !slices.Equal(reasons(r), []ledger.Reason{audit.ReasonFile, audit.ReasonSurplus}) {
		t.Errorf("a fork: %v", r.Findings)
	}
	if r := write(sorted[1:]); r.Clean() {
		t.Error("a missing first entry is not noticed")
	}
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	n := network(t, 10)
	var buf bytes.Buffer
	for _, e := range n.Entries {
		line, err := ledger.NewJSONLine(e)
		must(t, err)
		raw, err := ledger.AppendJSONLine(nil, line)
		must(t, err)
		buf.Write(bytes.TrimRight(raw, "\n"))
		buf.WriteByte('\n')
	}
	good := buf.String()
	run := func(text string) *audit.Report {
		r, err := audit.JSONLines(t.Context(), strings.NewReader(text), audit.Options{})
		must(t, err)
		return r
	}
	if r := run(good); !r.Clean() || r.Records != 10 {
		t.Errorf("%+v", r)
	}
	if r := run(strings.Replace(good, "Voter 3", "Voter 4", 1)); len(r.Findings) != 1 || r.Findings[0].Where != "line 3" || r.Findings[0].Reason != ledger.Reason(record.HashMismatch) {
		t.Errorf("%+v", r)
	}
	if r := run(good[:len(good)-20]); len(r.Findings) == 0 {
		t.Error("a file that was cut short is clean")
	}
	if r := run(strings.Replace(good, `"kind"`, `"kin"`, 1)); len(r.Findings) != 1 {
		t.Errorf("%+v", r)
	}
	if r := run(strings.Repeat("x", 1<<20)); len(r.Findings) != 1 {
		t.Errorf("%+v", r)
	}
}

func dataDir(t testing.TB, n *ledgertest.Network) string {
	t.Helper()
	dir := t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, n.Genesis))
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	_, err = d.Ingest(t.Context(), n.Entries...)
	must(t, err)
	must(t, d.Close())
	return dir
}

func chainBytes(t testing.TB, dir string) (out []byte, err error) {
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	for e, err := range d.Chain(t.Context()) {
		if err != nil {
			return nil, err
		}
		out = e.Append(out)
	}
	return out, nil
}

// TestFlipsInADirectory flips bits anywhere in a data directory. Either the audit finds it, or the bit is in a place
// that nothing depends on (Pebble's list of options, say), and then everything reads as before.
func TestFlipsInADirectory(t *testing.T) {
	t.Parallel()
	n := network(t, 30)
	dir := dataDir(t, n)
	want, err := chainBytes(t, dir)
	must(t, err)
	snapshot := map[string]string{}
	var files []string
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			raw, err := os.ReadFile(path)
			must(t, err)
			snapshot[path] = string(raw)
			if len(raw) > 0 {
				files = append(files, path)
			}
		}
		return err
	}))
	report, err := audit.Directory(t.Context(), dir, audit.Options{})
	must(t, err)
	if !report.Clean() || report.Entries != 30 {
		t.Fatalf("%+v", report)
	}
	for path, before := range snapshot { // an audit only reads
		if raw, err := os.ReadFile(path); err != nil || string(raw) != before {
			t.Errorf("the audit changed %s (%v)", path, err)
		}
	}
	flips := 80
	if n, err := strconv.Atoi(os.Getenv("PYVNODE_FLIPS")); err == nil {
		flips = n
	}
	slices.Sort(files)
	r := rand.New(rand.NewPCG(5, 5))
	found, harmless := map[string]int{}, map[string]int{}
	work := t.TempDir()
	for i := range flips {
		file := files[i%len(files)]
		raw := []byte(snapshot[file])
		at := r.IntN(len(raw))
		raw[at] ^= 1 << r.IntN(8)
		copied := filepath.Join(work, fmt.Sprint(i))
		must(t, os.CopyFS(copied, os.DirFS(dir)))
		rel, err := filepath.Rel(dir, file)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(copied, rel), raw, 0o600))
		name := filepath.Base(rel)
		if ext := filepath.Ext(name); ext == ".sst" || ext == ".log" {
			name = ext
		}
		report, err := audit.Directory(context.Background(), copied, audit.Options{})
		if err != nil || !report.Clean() {
			found[name]++
		} else {
			harmless[name]++
			got, err := chainBytes(t, copied)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("bit in byte %d of %s flipped: the audit is clean, and the ledger reads differently (%v)", at, rel, err)
			}
		}
		must(t, os.RemoveAll(copied))
	}
	t.Logf("found: %v; without effect: %v", found, harmless)
	for _, name := range []string{".sst", "genesis.json", "watermark.json"} {
		if harmless[name] > 0 {
			t.Errorf("%d flips in %s were not found", harmless[name], name)
		}
	}
}

// TestRollback: a ledger that lost its newest entries, or was put back from an older copy, is refused and reported.
func TestRollback(t *testing.T) {
	t.Parallel()
	n := network(t, 30)
	dir := t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, n.Genesis))
	old := filepath.Join(t.TempDir(), "old")
	for i, part := range [][]*ledger.Entry{n.Entries[:20], n.Entries[20:]} {
		d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
		must(t, err)
		_, err = d.Ingest(t.Context(), part...)
		must(t, err)
		must(t, d.Close())
		if i == 0 {
			must(t, os.CopyFS(old, os.DirFS(filepath.Join(dir, store.LedgerDir))))
		}
	}
	must(t, os.RemoveAll(filepath.Join(dir, store.LedgerDir)))
	must(t, os.Rename(old, filepath.Join(dir, store.LedgerDir)))
	for _, readOnly := range []bool{true, false} {
		var rollback *store.RollbackError
		if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: readOnly}}); !errors.As(err, &rollback) {
			t.Errorf("read only %v: %v", readOnly, err)
		}
	}
	report, err := audit.Directory(t.Context(), dir, audit.Options{})
	must(t, err)
	if len(report.Findings) != 2 || report.Findings[0].Reason != audit.ReasonRollback {
		t.Errorf("%v", report.Findings)
	}
}

func TestLockedAndMissing(t *testing.T) {
	t.Parallel()
	n := network(t, 3)
	dir := dataDir(t, n)
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	if _, err := audit.Directory(t.Context(), dir, audit.Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("audit of an open directory: %v", err)
	}
	if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, d.Close())
	if _, err := audit.Directory(t.Context(), t.TempDir(), audit.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("audit of an empty directory: %v", err)
	}
	if err := store.CreateDir(t.Context(), dir, n.Genesis); !errors.Is(err, store.ErrLedgerExists) {
		t.Errorf("made a second time: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, store.GenesisFile)))
	if err := store.CreateDir(t.Context(), dir, n.Genesis); err == nil {
		t.Error("a ledger with entries was replaced by an empty one")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	lost := dataDir(t, n)
	must(t, os.RemoveAll(filepath.Join(lost, store.LedgerDir)))
	must(t, os.Mkdir(filepath.Join(lost, store.LedgerDir), 0o700))
	must(t, os.Remove(filepath.Join(lost, store.WatermarkFile)))
	for _, readOnly := range []bool{true, false} { // a lost database must not pass for a new one
		if _, _, err := store.OpenDir(t.Context(), lost, store.DirOptions{Options: store.Options{ReadOnly: readOnly}}); !errors.Is(err, store.ErrNoDatabase) {
			t.Errorf("read only %v, database lost: %v", readOnly, err)
		}
	}
	must(t, os.Remove(filepath.Join(lost, store.GenesisFile)))
	must(t, store.CreateDir(t.Context(), lost, n.Genesis)) // what an interrupted init left is completed
	must(t, os.WriteFile(filepath.Join(dir, store.GenesisFile), n.Genesis.Bytes(), 0o600))
	if _, err := audit.Directory(cancelled, dir, audit.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled audit: %v", err)
	}
}

// TestFindingJSON: a finding about an entry says which, also about entry 0, and one about anything else does not.
func TestFindingJSON(t *testing.T) {
	t.Parallel()
	o := ledgertest.Origin("alice")
	for want, f := range map[string]audit.Finding{
		`{"origin":"` + o.String() + `","seq":0,"reason":"bad-signature","detail":"x"}`:      {Origin: &o, Reason: ledger.ReasonSignature, Detail: "x"},
		`{"origin":"` + o.String() + `","seq":7,"where":"byte 9","reason":"x","detail":"y"}`: {Origin: &o, Seq: 7, Where: "byte 9", Reason: "x", Detail: "y"},
		`{"where":"byte 9","reason":"damaged-file","detail":"y"}`:                            {Where: "byte 9", Reason: audit.ReasonFile, Detail: "y"},
	} {
		got, err := json.Marshal(audit.Report{Findings: []audit.Finding{f}})
		if err != nil || !strings.Contains(string(got), `"findings":[`+want+`]`) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
