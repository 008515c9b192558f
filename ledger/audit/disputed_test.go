package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// story makes entries of parties some of whom fork their logs.
type story struct {
	t       testing.TB
	genesis *ledger.Genesis
	records int
}

func newStory(t testing.TB) *story {
	return &story{t: t, genesis: ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "mallory", "trudy"))}
}

// newOpenStory is newStory in a network in which all are strangers.
func newOpenStory(t testing.TB) *story {
	doc := ledgertest.Doc()
	doc.Open = true
	return &story{t: t, genesis: ledgertest.Genesis(t, doc)}
}

// put signs the next entry on a branch, which it advances.
func (s *story) put(party string, branch *ledger.Log, cite ...*ledger.Entry) *ledger.Entry {
	s.t.Helper()
	var seen []ledger.Citation
	for _, e := range cite {
		seen = append(seen, e.Citation())
	}
	s.records++
	e, err := branch.Sign(s.genesis, ledgertest.Key(party), ledgertest.Draft(s.t, s.genesis, "vote", s.records), seen, 0, nil)
	must(s.t, err)
	branch.Advance(e)
	return e
}

func emptyLog(party string) *ledger.Log { return &ledger.Log{Origin: ledgertest.Origin(party)} }

func openStore(t testing.TB, d store.Datastore, g *ledger.Genesis) *store.Store {
	s, _, err := store.Open(t.Context(), d, g, store.Options{})
	must(t, err)
	return s
}

// sameDigest wants an audit of the datastore under a store to find nothing and to come to the store's frontier, with and
// without checking signatures.
func sameDigest(t testing.TB, d store.Datastore, s *store.Store) *audit.Report {
	t.Helper()
	var report *audit.Report
	for _, skip := range []bool{true, false} {
		var err error
		report, err = audit.Datastore(t.Context(), d, nil, audit.Options{SkipSignatures: skip})
		must(t, err)
		if !report.Clean() {
			t.Fatalf("findings: %v", report.Findings)
		}
		if want := s.Frontier(); *report.Digest != want.Digest(s.Genesis().Network()) {
			t.Fatalf("the audit comes to\n%s\nthe store to\n%s", text(report.Frontier), text(want))
		}
	}
	sameEvidence(t, report, s)
	sameFile(t, s)
	return report
}

func sameEvidence(t testing.TB, report *audit.Report, s *store.Store) {
	t.Helper()
	if len(report.Evidence) != len(s.Evidence()) {
		t.Fatalf("the audit lists evidence %v, the store has %v", report.Evidence, s.Evidence())
	}
	for i, ev := range s.Evidence() {
		if got := report.Evidence[i]; got != (audit.Evidence{Origin: ev.Origin(), Seq: ev.Seq(), Kind: ev.Kind().String(), ID: ev.ID(), What: ev.Reason()}) {
			t.Errorf("the audit lists %+v, the store has %v", got, ev)
		}
	}
}

// sameFile wants an audit of the entry file of a store to find nothing and to come to the store's frontier.
func sameFile(t testing.TB, s *store.Store) {
	t.Helper()
	report, err := audit.EntryFile(t.Context(), bytes.NewReader(fileOf(t, s)), audit.Options{})
	must(t, err)
	if !report.Clean() {
		t.Fatalf("findings in the entry file: %v", report.Findings)
	}
	if want := s.Frontier(); *report.Digest != want.Digest(s.Genesis().Network()) {
		t.Fatalf("the audit of the entry file comes to\n%s\nthe store to\n%s", text(report.Frontier), text(want))
	}
	sameEvidence(t, report, s)
}

// fileOf returns the entry file of a store.
func fileOf(t testing.TB, s *store.Store) []byte {
	t.Helper()
	var entries []*ledger.Entry
	for e, err := range s.Chain(t.Context()) {
		must(t, err)
		entries = append(entries, e)
	}
	var evidence [][]byte
	for _, ev := range s.Evidence() {
		evidence = append(evidence, ev.Bytes())
	}
	return fileWith(t, s.Genesis(), evidence, entries)
}

func fileWith(t testing.TB, g *ledger.Genesis, evidence [][]byte, entries []*ledger.Entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&buf, g)
	must(t, err)
	for _, raw := range evidence {
		must(t, w.WriteEvidence(raw))
	}
	for _, e := range entries {
		must(t, w.Write(e))
	}
	must(t, w.Close())
	return buf.Bytes()
}

func text(f ledger.Frontier) (s string) {
	for _, row := range f {
		s += fmt.Sprintf("%+v", row.Citation)
		if row.Frozen != nil {
			s += fmt.Sprintf(" frozen %+v", *row.Frozen)
		}
		s += "\n"
	}
	return s
}

// forked fills a datastore with the story that the other tests damage:
//
//	mallory  M0  M1  M2  M3        signed besides: M2' M3'
//	alice    A0 → M3
//	bob      B0 → M3', B1 → A0
//
// M2 and M3 are in the log as it is held, M2' and M3' on another branch, and all of them are disputed.
func forked(t testing.TB) (d store.Datastore, s *store.Store, bob *ledger.Entry) {
	m := newStory(t)
	d = store.NewMemory()
	s = openStore(t, d, m.genesis)
	log := emptyLog("mallory")
	entries := []*ledger.Entry{m.put("mallory", log), m.put("mallory", log)}
	other := log.Clone()
	for range 2 {
		entries = append(entries, m.put("mallory", log))
	}
	alice := m.put("alice", emptyLog("alice"), entries[3])
	branch := []*ledger.Entry{m.put("mallory", other), m.put("mallory", other)}
	bobs := emptyLog("bob")
	first := m.put("bob", bobs, branch[1])
	second := m.put("bob", bobs, alice)
	_, err := s.Ingest(t.Context(), append(entries, alice)...)
	must(t, err)
	ev, err := proof.Fork(m.genesis, entries[2], branch[0])
	must(t, err)
	_, err = s.AddEvidence(t.Context(), ev)
	must(t, err)
	_, err = s.IngestDisputed(t.Context(), append(branch, first, second)...)
	must(t, err)
	return d, s, first
}

func TestForkedLedger(t *testing.T) {
	t.Parallel()
	d, s, _ := forked(t)
	report := sameDigest(t, d, s)
	row, _ := report.Frontier.Row(ledgertest.Origin("mallory"))
	if report.Entries != 9 || report.Records != 9 || report.Disputed != 4 || row.Size() != 2 || row.Frozen.Cited.IsZero() {
		t.Errorf("%+v, row of mallory %+v", report, row)
	}
	must(t, s.Close())
	again := openStore(t, d, s.Genesis())
	sameDigest(t, d, again)
	must(t, again.Close())
}

// TestRandomForks: whatever parties sign, and in whichever order it comes, audit and store come to the same.
func TestRandomForks(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed/2, 3))
			m := newStory(t)
			if seed%2 == 1 {
				m = newOpenStory(t)
			}
			entries := ledgertest.Forks(t, m.genesis, r, 60)
			d := store.NewMemory()
			s := openStore(t, d, m.genesis)
			held := map[ledger.Hash]bool{{}: true}
			for fed := 1; len(entries) > 0; fed++ {
				ready := func(e *ledger.Entry) bool {
					return held[e.Header.Prev] && !slices.ContainsFunc(e.Header.Seen, func(c ledger.Citation) bool { return !held[c.Hash] })
				}
				i := r.IntN(len(entries))
				for !ready(entries[i]) {
					i = (i + 1) % len(entries)
				}
				e := entries[i]
				entries = slices.Delete(entries, i, i+1)
				held[e.Hash] = true
				_, err := s.IngestDisputed(t.Context(), e)
				var fork *store.ForkError
				if errors.As(err, &fork) {
					ev, err := proof.Fork(m.genesis, fork.Held, fork.Other)
					must(t, err)
					_, err = s.AddEvidence(t.Context(), ev)
					must(t, err)
					sameDigest(t, d, s) // before the other branch is there
					_, err = s.IngestDisputed(t.Context(), e)
					must(t, err)
				} else {
					must(t, err)
				}
				if fed%8 == 0 || len(entries) == 0 {
					sameDigest(t, d, s)
				}
			}
			must(t, s.Close())
			again := openStore(t, d, m.genesis)
			report := sameDigest(t, d, again)
			must(t, again.Close())
			if len(report.Evidence) == 0 || report.Disputed == 0 {
				t.Errorf("nobody forked: %+v", report)
			}
		})
	}
}

// TestUnsignedInside: an entry whose signature is bad, and over which its origin signed, is disputed and no damage.
func TestUnsignedInside(t *testing.T) {
	t.Parallel()
	m := newStory(t)
	log := emptyLog("mallory")
	var entries []*ledger.Entry
	for i := range 5 {
		before := log.Clone()
		e := m.put("mallory", log)
		if i == 2 {
			raw := e.Append(nil)
			raw[bytes.Index(raw, e.Signature[:])] ^= 1
			var err error
			e, err = ledger.DecodeEntry(raw)
			must(t, err)
			before.Advance(e)
			log = before
		}
		entries = append(entries, e)
	}
	d := store.NewMemory()
	s := openStore(t, d, m.genesis)
	_, err := s.IngestRange(t.Context(), entries)
	must(t, err)
	report, err := audit.Datastore(t.Context(), d, nil, audit.Options{})
	must(t, err)
	if len(report.Findings) != 1 || report.Findings[0].Seq != 2 || report.Findings[0].Reason != ledger.ReasonSignature {
		t.Errorf("without evidence: %v", report.Findings)
	}
	ev, err := proof.BadSignature(m.genesis, 2, entries[2], entries[3], nil)
	must(t, err)
	_, err = s.AddEvidence(t.Context(), ev)
	must(t, err)
	if report := sameDigest(t, d, s); report.Disputed != 3 || report.Frontier.Entries() != 2 {
		t.Errorf("%+v", report)
	}
	must(t, s.Close())
}

// TestFrozenWithoutLog: evidence may come before any entry of the origin, and freeze a log from its first entry on.
func TestFrozenWithoutLog(t *testing.T) {
	t.Parallel()
	m := newStory(t)
	d := store.NewMemory()
	s := openStore(t, d, m.genesis)
	ev, err := proof.Fork(m.genesis, m.put("trudy", emptyLog("trudy")), m.put("trudy", emptyLog("trudy")))
	must(t, err)
	_, err = s.AddEvidence(t.Context(), ev)
	must(t, err)
	if report := sameDigest(t, d, s); len(report.Frontier) != 1 {
		t.Errorf("%v", report.Frontier)
	}
	must(t, s.Close())
}

func keysUnder(t testing.TB, d store.Datastore, prefix string) (keys []string) {
	for pair, err := range d.Scan(t.Context(), prefix, prefix+"\xff") {
		must(t, err)
		keys = append(keys, string(pair.Key))
	}
	return keys
}

// TestFlipsInDisputes flips a bit of every byte of evidence and of entries of other branches. Each is found, and nothing
// else is accused of it.
func TestFlipsInDisputes(t *testing.T) {
	t.Parallel()
	d, s, _ := forked(t)
	must(t, s.Close())
	for _, key := range slices.Concat(keysUnder(t, d, "/v/"), keysUnder(t, d, "/b/")) {
		value := get(t, d, key)
		for i := range value {
			flipped := bytes.Clone(value)
			flipped[i] ^= 1 << (i % 8)
			put(t, d, key, flipped)
			report, err := audit.Datastore(t.Context(), d, nil, audit.Options{SkipSignatures: true, Workers: 1})
			must(t, err)
			if len(report.Findings) != 1 || report.Findings[0].Where != key {
				t.Fatalf("byte %d of %d under %s flipped: %v", i, len(value), key, report.Findings)
			}
		}
		put(t, d, key, value)
	}
}

// TestDisputesInAFile damages the entry file of a forked ledger in ways that its SHA-256 does not tell.
func TestDisputesInAFile(t *testing.T) {
	t.Parallel()
	_, s, bob := forked(t)
	g := s.Genesis()
	ev := s.Evidence()[0].Bytes()
	var chain []*ledger.Entry
	for e, err := range s.Chain(t.Context()) {
		must(t, err)
		chain = append(chain, e)
	}
	must(t, s.Close())
	is := func(party string, seq uint64, hash *ledger.Hash) func(*ledger.Entry) bool {
		return func(e *ledger.Entry) bool {
			return e.Header.Origin == ledgertest.Origin(party) && e.Header.Seq == seq && (hash == nil || e.Hash == *hash)
		}
	}
	cited := bob.Header.Seen[0].Hash // mallory's other entry 3
	without := func(drop func(*ledger.Entry) bool) []*ledger.Entry {
		return slices.DeleteFunc(slices.Clone(chain), drop)
	}
	changed := func(change func(e *ledger.Entry)) []*ledger.Entry { // of mallory's other entry 3
		list := slices.Clone(chain)
		i := slices.IndexFunc(list, is("mallory", 3, &cited))
		e := *list[i]
		change(&e)
		list[i] = &e
		return list
	}
	flipped := bytes.Clone(ev)
	flipped[len(flipped)/2] ^= 1
	other, err := proof.Fork(g, ledgertest.Sign(t, g, "bob", emptyLog("bob"), 1), ledgertest.Sign(t, g, "bob", emptyLog("bob"), 2))
	must(t, err)
	m, b := ledgertest.Origin("mallory"), ledgertest.Origin("bob")
	at := func(o ledger.Origin, seq uint64, reason ledger.Reason) string {
		return fmt.Sprintf("%v/%d %s", o, seq, reason)
	}
	start := fmt.Sprintf("byte %d ", len("pyvnode-entries-2\n")+2+len(g.Bytes()))
	second := fmt.Sprintf("byte %d ", len("pyvnode-entries-2\n")+2+len(g.Bytes())+2+1+len(ev))
	for _, c := range []struct {
		name     string
		evidence [][]byte
		entries  []*ledger.Entry
		want     []string
	}{
		{"nothing", [][]byte{ev}, chain, nil},
		{"no evidence", nil, chain, []string{at(m, 2, audit.ReasonSurplus), at(m, 3, audit.ReasonSurplus),
			at(ledgertest.Origin("alice"), 0, ledger.ReasonCitation)}}, // the branch that she cites comes second
		{"damaged evidence", [][]byte{flipped}, without(is("bob", 0, nil)), nil}, // see below
		{"evidence that is none", [][]byte{[]byte("mallory lied"), ev}, chain, []string{start + string(audit.ReasonEvidence)}},
		{"evidence twice", [][]byte{ev, ev}, chain, []string{second + string(audit.ReasonFile)}},
		{"a cited entry lost", [][]byte{ev}, without(is("mallory", 3, &cited)),
			[]string{at(m, 2, audit.ReasonSurplus), at(b, 0, ledger.ReasonCitation)}},
		{"a predecessor lost", [][]byte{ev}, without(func(e *ledger.Entry) bool { return is("mallory", 2, nil)(e) }),
			[]string{at(m, 3, ledger.ReasonPrev), at(m, 3, ledger.ReasonPrev)}},
		{"nobody cites it", [][]byte{ev}, without(func(e *ledger.Entry) bool { return e.Header.Origin == b }),
			[]string{at(m, 2, audit.ReasonSurplus), at(m, 3, audit.ReasonSurplus)}},
		{"it comes twice", [][]byte{ev}, append(slices.Clone(chain), chain[slices.IndexFunc(chain, is("mallory", 3, &cited))]),
			[]string{at(m, 3, audit.ReasonSurplus)}},
		{"another record", [][]byte{ev}, changed(func(e *ledger.Entry) { e.Record = chain[0].Record }),
			[]string{at(m, 3, ledger.ReasonRecordHash)}},
		{"evidence against another", [][]byte{ev, other.Bytes()}, chain, nil}, // see below
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			report, err := audit.EntryFile(t.Context(), bytes.NewReader(fileWith(t, g, c.evidence, c.entries)), audit.Options{})
			must(t, err)
			var got []string
			for _, f := range report.Findings {
				where := f.Where
				if f.Origin != nil {
					where = fmt.Sprintf("%v/%d", f.Origin, f.Seq)
				}
				got = append(got, where+" "+string(f.Reason))
			}
			switch c.name {
			case "it comes twice": // out of order, then
				got = slices.DeleteFunc(got, func(s string) bool { return strings.HasSuffix(s, string(audit.ReasonFile)) })
			case "damaged evidence":
				if report.Clean() || report.Findings[0].Reason != audit.ReasonEvidence || len(report.Evidence) != 0 {
					t.Errorf("%v", report.Findings)
				}
				return
			case "evidence against another": // whose entries are disputed then, and nobody cites them
				if row, _ := report.Frontier.Row(b); row.Size() != 0 || row.Frozen == nil || len(report.Evidence) != 2 {
					t.Errorf("%+v, %v", row, report.Findings)
				}
				return
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q\n%v", got, c.want, report.Findings)
			}
		})
	}
}

// TestDamageAmongDisputes: that entries are disputed hides no damage.
func TestDamageAmongDisputes(t *testing.T) {
	t.Parallel()
	edit := func(seq uint64, change func(e *ledger.Entry)) func(*testing.T, store.Datastore) {
		return func(t *testing.T, d store.Datastore) {
			key := logKeys(t, d, "mallory")[seq]
			value := get(t, d, key)
			e, err := ledger.DecodeEntry(value[12:])
			must(t, err)
			change(e)
			put(t, d, key, e.Append(slices.Clone(value[:12])))
		}
	}
	branchKey := func(e *ledger.Entry) string {
		return fmt.Sprintf("/b/%x/%012x/%x", e.Header.Origin[:], e.Header.Seq, e.Hash[:])
	}
	addBranch := func(t *testing.T, d store.Datastore, e *ledger.Entry) {
		put(t, d, branchKey(e), e.Append([]byte{11: 1}))
	}
	bobAgain := func(t *testing.T, d store.Datastore, key string, change func(h *ledger.Header)) *ledger.Entry {
		e, err := ledger.DecodeEntry(get(t, d, logKeys(t, d, "bob")[0])[12:])
		must(t, err)
		h := e.Header
		change(&h)
		return ledger.Sign(ledgertest.Key(key), h, e.Record)
	}
	malloryAgain := func(t *testing.T, d store.Datastore, change func(h *ledger.Header)) *ledger.Entry {
		e, err := ledger.DecodeEntry(get(t, d, logKeys(t, d, "mallory")[2])[12:])
		must(t, err)
		h := e.Header
		change(&h)
		return ledger.Sign(ledgertest.Key("mallory"), h, e.Record)
	}
	m, b := ledgertest.Origin("mallory"), ledgertest.Origin("bob")
	at := func(o ledger.Origin, seq uint64, reason ledger.Reason) string {
		return fmt.Sprintf("%v/%d %s", o, seq, reason)
	}
	cases := []struct {
		name   string
		damage func(*testing.T, store.Datastore)
		want   []string
	}{
		{"signature of a disputed entry", edit(2, func(e *ledger.Entry) { e.Signature[0] ^= 1 }), []string{at(m, 2, audit.ReasonHash)}},
		{"signature of the newest", edit(3, func(e *ledger.Entry) { e.Signature[0] ^= 1 }),
			[]string{at(m, 3, audit.ReasonHash), store.OriginKey(m) + " " + string(audit.ReasonHead)}},
		{"record of a disputed entry", edit(2, func(e *ledger.Entry) {
			e.Record = bytes.Clone(e.Record)
			e.Record[len(e.Record)/2] ^= 1
		}), []string{at(m, 2, ledger.ReasonRecordHash)}},
		{"evidence lost", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(firstKey(t, d, "/v/"))))
		}, []string{store.FrozenKey(m) + " " + string(audit.ReasonMissing)}},
		{"evidence lost with all that says so", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(firstKey(t, d, "/v/"))))
			must(t, d.Delete(t.Context(), ds.RawKey(store.FrozenKey(m))))
		}, []string{at(m, 2, audit.ReasonFork), at(m, 3, audit.ReasonFork)}},
		{"nothing says that there is evidence", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(store.FrozenKey(m))))
		}, []string{store.FrozenKey(m) + " " + string(audit.ReasonMissing)}},
		{"there must be better evidence", func(t *testing.T, d store.Datastore) {
			put(t, d, store.FrozenKey(m), slices.Concat([]byte{7: 1}, make([]byte, 32)))
		}, []string{store.FrozenKey(m) + " " + string(audit.ReasonMissing)}},
		{"there must be worse evidence", func(t *testing.T, d store.Datastore) {
			put(t, d, store.FrozenKey(m), slices.Concat([]byte{7: 3}, make([]byte, 32)))
		}, []string{store.FrozenKey(m) + " " + string(audit.ReasonIndex)}},
		{"no evidence could be meant", func(t *testing.T, d store.Datastore) { put(t, d, store.FrozenKey(m), []byte("x")) },
			[]string{store.FrozenKey(m) + " " + string(audit.ReasonIndex)}},
		{"nobody could be meant", func(t *testing.T, d store.Datastore) { put(t, d, "/frozen/zz", []byte("x")) },
			[]string{"/frozen/zz " + string(audit.ReasonIndex)}},
		{"evidence against somebody else", func(t *testing.T, d store.Datastore) {
			put(t, d, fmt.Sprintf("/v/%x", b[:]), get(t, d, firstKey(t, d, "/v/")))
		}, []string{fmt.Sprintf("/v/%x %s", b[:], audit.ReasonEvidence)}},
		{"evidence under no key", func(t *testing.T, d store.Datastore) {
			put(t, d, "/v/zz", get(t, d, firstKey(t, d, "/v/")))
		}, []string{"/v/zz " + string(audit.ReasonEvidence)}},
		{"a cited entry lost", func(t *testing.T, d store.Datastore) {
			keys := keysUnder(t, d, "/b/")
			must(t, d.Delete(t.Context(), ds.RawKey(keys[len(keys)-1])))
		}, []string{at(b, 0, ledger.ReasonCitation)}},
		{"a predecessor lost", func(t *testing.T, d store.Datastore) {
			must(t, d.Delete(t.Context(), ds.RawKey(keysUnder(t, d, "/b/")[0])))
		}, []string{at(m, 3, ledger.ReasonPrev)}},
		{"a fork without evidence", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, bobAgain(t, d, "bob", func(h *ledger.Header) { h.Time++ }))
		}, []string{at(b, 0, audit.ReasonFork)}},
		{"a forgery without evidence", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, bobAgain(t, d, "alice", func(h *ledger.Header) { h.Time++ }))
		}, []string{at(b, 0, audit.ReasonSurplus)}},
		{"before the freeze", func(t *testing.T, d store.Datastore) {
			e, err := ledger.DecodeEntry(get(t, d, logKeys(t, d, "mallory")[1])[12:])
			must(t, err)
			h := e.Header
			h.Time++
			addBranch(t, d, ledger.Sign(ledgertest.Key("mallory"), h, e.Record))
		}, []string{at(m, 1, audit.ReasonFork)}},
		{"an entry of the log among branches", func(t *testing.T, d store.Datastore) {
			e, err := ledger.DecodeEntry(get(t, d, logKeys(t, d, "mallory")[3])[12:])
			must(t, err)
			addBranch(t, d, e)
		}, []string{at(m, 3, audit.ReasonSurplus)}},
		{"a branch that grows from nothing", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, malloryAgain(t, d, func(h *ledger.Header) { h.Prev[0] ^= 1 }))
		}, []string{at(m, 2, ledger.ReasonPrev)}},
		{"a branch of the wrong height", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, malloryAgain(t, d, func(h *ledger.Header) { h.Height++ }))
		}, []string{at(m, 2, ledger.ReasonHeight)}},
		{"a branch that cites what is not there", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, malloryAgain(t, d, func(h *ledger.Header) {
				h.Seen = []ledger.Citation{{Origin: b, Seq: 0, Hash: ledger.Hash{1}, Height: 1}}
			}))
		}, []string{at(m, 2, ledger.ReasonCitation)}},
		{"a branch that cites with a wrong height", func(t *testing.T, d store.Datastore) {
			addBranch(t, d, malloryAgain(t, d, func(h *ledger.Header) {
				e, err := ledger.DecodeEntry(get(t, d, logKeys(t, d, "alice")[0])[12:])
				must(t, err)
				c := e.Citation()
				c.Height++
				h.Seen, h.Height = []ledger.Citation{c}, c.Height+1
			}))
		}, []string{at(m, 2, ledger.ReasonCitation)}},
		{"a branch of a bad record", func(t *testing.T, d store.Datastore) {
			e := malloryAgain(t, d, func(h *ledger.Header) { h.RecordHash[0] ^= 1 })
			addBranch(t, d, e)
		}, []string{at(m, 2, ledger.ReasonRecordHash)}},
		{"a branch under no key", func(t *testing.T, d store.Datastore) { put(t, d, "/b/zz", []byte("x")) },
			[]string{"/b/zz " + string(ledger.ReasonEncoding)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, s, _ := forked(t)
			must(t, s.Close())
			c.damage(t, d)
			report, err := audit.Datastore(t.Context(), d, nil, audit.Options{})
			must(t, err)
			var got []string
			for _, f := range report.Findings {
				where := f.Where
				if f.Origin != nil {
					where = fmt.Sprintf("%v/%d", f.Origin, f.Seq)
				}
				got = append(got, where+" "+string(f.Reason))
			}
			// Damage to an entry takes its index rows with it.
			got = slices.DeleteFunc(got, func(s string) bool {
				return !slices.Contains(c.want, s) && slices.Contains([]string{at(m, 2, audit.ReasonSurplus), at(m, 2, audit.ReasonIndex)}, s)
			})
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q\n%v", got, c.want, report.Findings)
			}
		})
	}
}

// TestLostEvidence: a directory that has lost its evidence does not open, whether only the evidence is gone, what says
// that there must be some too, or both and the newest of what it froze.
func TestLostEvidence(t *testing.T) {
	t.Parallel()
	m := newStory(t)
	log := emptyLog("mallory")
	first := m.put("mallory", log)
	a, b := m.put("mallory", log.Clone()), m.put("mallory", log.Clone())
	citing := m.put("alice", emptyLog("alice"), b)
	ev, err := proof.Fork(m.genesis, a, b)
	must(t, err)
	for _, c := range []struct {
		name     string
		prefixes []string // under which all is lost
		forget   bool     // the watermark too
		reason   ledger.Reason
		open     any // the error
	}{
		{"nothing", nil, false, "", nil},
		{"evidence", []string{"/v/"}, false, audit.ReasonMissing, new(*store.LostEvidenceError)},
		{"evidence, without a watermark", []string{"/v/"}, true, audit.ReasonMissing, new(*store.LostEvidenceError)},
		{"all that says so", []string{"/v/", "/frozen/"}, false, audit.ReasonRollback, new(*store.RollbackError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, store.CreateDir(t.Context(), dir, m.genesis))
			s, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
			must(t, err)
			_, err = s.Ingest(t.Context(), first, a)
			must(t, err)
			_, err = s.AddEvidence(t.Context(), ev)
			must(t, err)
			_, err = s.IngestDisputed(t.Context(), b, citing)
			must(t, err)
			must(t, s.Close())
			db, closeDB, err := store.OpenDatabase(dir, store.PebbleOptions{MustExist: true})
			must(t, err)
			for _, prefix := range c.prefixes {
				must(t, db.Delete(t.Context(), ds.RawKey(firstKey(t, db, prefix))))
			}
			must(t, closeDB())
			if c.forget {
				must(t, os.Remove(filepath.Join(dir, store.WatermarkFile)))
			}
			report, err := audit.Directory(t.Context(), dir, audit.Options{})
			must(t, err)
			if c.reason == "" {
				if !report.Clean() || report.Disputed != 2 || report.Source != "data directory" {
					t.Errorf("%+v", report)
				}
			} else if !slices.ContainsFunc(report.Findings, func(f audit.Finding) bool { return f.Reason == c.reason }) {
				t.Errorf("%v", report.Findings)
			}
			again, recovery, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
			if c.open == nil {
				must(t, err)
				if len(recovery.Mended) > 0 {
					t.Errorf("%+v", recovery)
				}
				must(t, again.Close())
				return
			}
			if err == nil {
				must(t, again.Close())
			}
			if err == nil || !errors.As(err, c.open) || !strings.Contains(err.Error(), ev.ID().String()) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}
