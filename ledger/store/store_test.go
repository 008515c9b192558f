package store_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"
	"pgregory.net/rapid"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/ledger/store/storetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Datastore { return store.NewMemory() })
}

func TestPebble(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Datastore {
		d, err := store.OpenPebble(t.TempDir(), store.PebbleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, d store.Datastore, g *ledger.Genesis, party string) *store.Store {
	t.Helper()
	s, _, err := store.Open(t.Context(), d, g, store.Options{Key: ledgertest.Key(party)})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func auditClean(t testing.TB, d store.Datastore, g *ledger.Genesis) *audit.Report {
	t.Helper()
	report, err := audit.Datastore(context.Background(), d, g, audit.Options{})
	must(t, err)
	for _, f := range report.Findings {
		t.Errorf("audit: %v", f)
	}
	return report
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	s := open(t, store.NewMemory(), g, "alice")
	first := ledgertest.Draft(t, g, "vote", 1)
	ack, err := s.Append(ctx, first)
	must(t, err)

	var dup *store.DuplicateError
	if _, err := s.Append(ctx, first); !errors.As(err, &dup) || dup.Ref != ack.Ref {
		t.Errorf("the same record again: %v", err)
	}
	var conflict *store.ConflictError
	if _, err := s.Append(ctx, sameHeader(t, g, "vote", 1, "changed")); !errors.As(err, &conflict) || conflict.Ref != ack.Ref {
		t.Errorf("another record with the same header: %v", err)
	}
	stranger, _, err := store.Open(ctx, store.NewMemory(), g, store.Options{Key: ledgertest.Key("mallory")})
	must(t, err)
	defer func() { must(t, stranger.Close()) }()
	if _, err := stranger.Append(ctx, first); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a node that is no member writes: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Append(cancelled, ledgertest.Draft(t, g, "vote", 2)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// sameHeader returns a record with the header of record n and another payload.
func sameHeader(t testing.TB, g *ledger.Genesis, kind string, n int, name string) *ledger.Draft {
	t.Helper()
	r, err := record.Parse(ledgertest.Record(t, n))
	must(t, err)
	r.Payload().Set(record.Text("name"), record.Text(name))
	must(t, record.Minter{Strength: 1, Workers: 1, Rand: ledgertest.NewRand(7)}.Mint(t.Context(), r))
	normal, err := r.Normal()
	must(t, err)
	checker := ledger.Checker{Genesis: g}
	d, err := checker.Draft(kind, normal)
	must(t, err)
	return d
}

// TestStrangersCopyKeepsNothingOut: in an open network, who publishes a copy of a record, or another record with its
// header, before the author does must not keep it out of the logs of parties that the genesis document names.
func TestStrangersCopyKeepsNothingOut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	doc := ledgertest.Doc()
	doc.Open = true
	doc.Cosigners, doc.Quorum = []ledger.Origin{ledgertest.Origin("bob")}, 1
	g := ledgertest.Genesis(t, doc)
	n := ledgertest.NewNetwork(t, g)
	mine, theirs := ledgertest.Draft(t, g, "gift", 1), ledgertest.Draft(t, g, "gift", 2)
	copied := n.PutDraft("mallory", mine)
	twisted := n.PutDraft("mallory", sameHeader(t, g, "gift", 2, "twisted"))
	known := n.PutDraft("bob", ledgertest.Draft(t, g, "gift", 3))

	s := open(t, store.NewMemory(), g, "alice")
	_, err := s.Ingest(ctx, copied, twisted, known)
	must(t, err)
	for _, d := range []*ledger.Draft{mine, theirs} {
		if _, err := s.Append(ctx, d); err != nil {
			t.Errorf("a stranger's entry keeps a record out: %v", err)
		}
	}
	var dup *store.DuplicateError
	if _, err := s.Append(ctx, ledgertest.Draft(t, g, "gift", 3)); !errors.As(err, &dup) {
		t.Errorf("a record that a named party holds is stored again: %v", err)
	}
	refs, err := s.ByContent(ctx, "gift", mine.Facts.ContentID)
	if err != nil || len(refs) != 2 {
		t.Errorf("copies: %v, %v", refs, err)
	}
	refs, err = s.ByHeader(ctx, "gift", theirs.Facts.Header)
	if err != nil || len(refs) != 2 {
		t.Errorf("records with the same header: %v, %v", refs, err)
	}
}

// TestOtherKindIsAnotherRecord: the same content under another kind is another record, in its own log and in those of
// others, of which some are read in one go with it.
func TestOtherKindIsAnotherRecord(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	d := store.NewMemory()
	s := open(t, d, g, "alice")
	n := ledgertest.NewNetwork(t, g)
	first := n.PutDraft("bob", ledgertest.Draft(t, g, "aaa", 1))
	_, err := s.Ingest(ctx, first)
	must(t, err)
	for _, kind := range []string{"gift", "aaa.b", "aa", "vote", "ballot"} {
		if _, err := s.Append(ctx, ledgertest.Draft(t, g, kind, 1)); err != nil {
			t.Errorf("as %s: %v", kind, err)
		}
	}
	var dup *store.DuplicateError
	for _, kind := range []string{"aaa", "gift", "aaa.b", "aa", "vote", "ballot"} {
		if _, err := s.Append(ctx, ledgertest.Draft(t, g, kind, 1)); !errors.As(err, &dup) {
			t.Errorf("as %s again: %v", kind, err)
		}
	}
	others := []*ledger.Entry{n.PutDraft("bob", ledgertest.Draft(t, g, "gift", 1)), n.PutDraft("bob", ledgertest.Draft(t, g, "vote", 1))}
	_, err = s.IngestRange(ctx, others)
	must(t, err)
	again := n.PutDraft("bob", ledgertest.Draft(t, g, "vote", 1))
	var invalid *ledger.InvalidError
	if _, err := s.Ingest(ctx, again); !errors.As(err, &invalid) || invalid.Reason != ledger.ReasonRepeated {
		t.Errorf("one kind and content twice in one log: %v", err)
	}
	id := ledgertest.Draft(t, g, "gift", 1).Facts.ContentID
	for kind, want := range map[string]int{"aa": 1, "aaa": 1, "aaa.b": 1, "ballot": 1, "gift": 2, "vote": 2, "a": 0, "": 8} {
		if refs, err := s.ByContent(ctx, kind, id); err != nil || len(refs) != want {
			t.Errorf("content of kind %q: %v, %v; want %d", kind, refs, err, want)
		}
	}
	must(t, s.Close())
	auditClean(t, d, g)
}

// TestOthersCopies: what another party publishes first does not keep a ballot or vote out of this node's log, nor any
// record once that party's log is frozen. What comes as an echo of the network is not taken again.
func TestOthersCopies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	s := open(t, store.NewMemory(), g, "alice")
	n := ledgertest.NewNetwork(t, g)
	before := n.Log("bob")
	other, err := before.Sign(g, ledgertest.Key("bob"), ledgertest.Draft(t, g, "vote", 0), nil, 0, nil)
	must(t, err)
	var entries []*ledger.Entry
	for _, kind := range []string{"vote", "ballot", "gift"} {
		entries = append(entries, n.PutDraft("bob", ledgertest.Draft(t, g, kind, 1)), n.PutDraft("bob", sameHeader(t, g, kind, 2, "twisted")))
	}
	_, err = s.IngestRange(ctx, entries)
	must(t, err)
	var dup *store.DuplicateError
	var conflict *store.ConflictError
	for _, kind := range []string{"vote", "ballot"} {
		echo := *ledgertest.Draft(t, g, kind, 1)
		echo.Hops = 2
		if _, err := s.Append(ctx, &echo); !errors.As(err, &dup) || dup.Origin != ledgertest.Origin("bob") {
			t.Errorf("the echo of a %s: %v", kind, err)
		}
		for i := range 2 {
			if ack, err := s.Append(ctx, ledgertest.Draft(t, g, kind, 1+i)); err != nil {
				t.Errorf("%s %d, which another party has: %v", kind, 1+i, err)
			} else if own, err := s.Named(ctx, kind, ledgertest.Draft(t, g, kind, 1+i).Facts.Header); i == 1 && (err != nil || own.Ref() != ack.Ref) {
				t.Errorf("the header of %s %d names %v, %v; want the own record", kind, 1+i, own, err)
			}
			if _, err := s.Append(ctx, ledgertest.Draft(t, g, kind, 1+i)); !errors.As(err, &dup) || dup.Origin != ledgertest.Origin("alice") {
				t.Errorf("%s %d again: %v", kind, 1+i, err)
			}
		}
		if _, err := s.Append(ctx, sameHeader(t, g, kind, 2, "twisted again")); !errors.As(err, &conflict) || conflict.Origin != ledgertest.Origin("alice") {
			t.Errorf("another %s with the header of an own one: %v", kind, err)
		}
		if n, err := s.RecordCount(ctx, kind); err != nil || n != 3 {
			t.Errorf("%d records of kind %s, %v; want the copied one, the twisted one and the own one", n, kind, err)
		}
	}
	gift, twisted := ledgertest.Draft(t, g, "gift", 1), ledgertest.Draft(t, g, "gift", 2)
	if _, err := s.Append(ctx, gift); !errors.As(err, &dup) {
		t.Errorf("a gift that another party has: %v", err)
	}
	if _, err := s.Append(ctx, twisted); !errors.As(err, &conflict) {
		t.Errorf("a gift whose header another party uses: %v", err)
	}
	fork, err := proof.Fork(g, entries[0], other)
	must(t, err)
	_, err = s.AddEvidence(ctx, fork)
	must(t, err)
	for _, d := range []*ledger.Draft{gift, twisted} {
		if _, err := s.Append(ctx, d); err != nil {
			t.Errorf("a gift, after the log of who had it first was frozen: %v", err)
		}
	}
}

func TestIngestRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	n := ledgertest.NewNetwork(t, g)
	b0 := n.Put("bob")
	c0 := n.Put("carol", "bob")
	bobBefore := n.Log("bob")
	b1 := n.Put("bob", "carol")
	b2 := n.Put("bob")

	resign := func(e *ledger.Entry, change func(h *ledger.Header)) *ledger.Entry {
		h := e.Header
		h.Seen = slices.Clone(h.Seen)
		change(&h)
		return ledger.Sign(ledgertest.Key("bob"), h, e.Record)
	}
	repeated, err := bobBefore.Sign(g, ledgertest.Key("bob"), draftOf(t, g, b0), nil, 0, nil)
	must(t, err)
	badSig := *b1
	badSig.Signature[3] ^= 1

	invalid := func(reason ledger.Reason) func(error) bool {
		return func(err error) bool {
			var e *ledger.InvalidError
			return errors.As(err, &e) && e.Reason == reason
		}
	}
	missing := func(err error) bool { var e *store.MissingError; return errors.As(err, &e) }
	fork := func(err error) bool { var e *store.ForkError; return errors.As(err, &e) }
	cases := []struct {
		name  string
		entry *ledger.Entry
		want  func(error) bool
	}{
		{"gap", b2, missing},
		{"cites what is not held", resign(b1, func(h *ledger.Header) { h.Seen[0].Seq = 7 }), missing},
		{"cites another branch", resign(b1, func(h *ledger.Header) { h.Seen[0].Hash[0] ^= 1 }), missing},
		{"cites with a false height", resign(b1, func(h *ledger.Header) { h.Seen[0].Height++; h.Height++ }), invalid(ledger.ReasonCitation)},
		{"wrong height", resign(b1, func(h *ledger.Header) { h.Height++ }), invalid(ledger.ReasonHeight)},
		{"wrong predecessor", resign(b1, func(h *ledger.Header) { h.Prev[0] ^= 1 }), invalid(ledger.ReasonPrev)},
		{"wrong root", resign(b1, func(h *ledger.Header) { h.Root[0] ^= 1 }), invalid(ledger.ReasonRoot)},
		{"bad signature", &badSig, invalid(ledger.ReasonSignature)},
		{"repeated record", repeated, invalid(ledger.ReasonRepeated)},
		{"fork", resign(b0, func(h *ledger.Header) { h.Time++ }), fork},
	}
	for _, mode := range []string{"one by one", "range"} {
		d := store.NewMemory()
		s := open(t, d, g, "alice")
		_, err := s.Ingest(ctx, b0, c0)
		must(t, err)
		before := s.Frontier()
		for _, c := range cases {
			ingest := func() (store.Result, error) { return s.Ingest(ctx, c.entry) }
			if mode == "range" {
				ingest = func() (store.Result, error) { return s.IngestRange(ctx, []*ledger.Entry{c.entry}) }
			}
			if _, err := ingest(); !c.want(err) {
				t.Errorf("%s, %s: %v", c.name, mode, err)
			}
			if !slices.Equal(s.Frontier(), before) {
				t.Fatalf("%s, %s: the frontier moved", c.name, mode)
			}
		}
		result, err := s.Ingest(ctx, b0, b1, b2)
		if err != nil || result.Joined != 2 || result.Held != 1 {
			t.Errorf("%s: the good entries afterwards: %+v, %v", mode, result, err)
		}
		must(t, s.Close())
		auditClean(t, d, g)
	}
}

func draftOf(t testing.TB, g *ledger.Genesis, e *ledger.Entry) *ledger.Draft {
	t.Helper()
	checker := ledger.Checker{Genesis: g}
	d, err := checker.Draft(e.Header.Kind, e.Record)
	must(t, err)
	return d
}

// TestRangeIsAllOrNothing: one bad link or one false last signature, and nothing of the range is taken.
func TestRangeIsAllOrNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(3, 40, "bob", "carol")
	s := open(t, store.NewMemory(), g, "alice")
	for at := range n.Entries {
		broken := slices.Clone(n.Entries)
		e := *broken[at]
		e.Signature[0] ^= 1 // a bad signature inside is found because its successor names another hash
		raw := e.Append(nil)
		changed, err := ledger.DecodeEntry(raw)
		must(t, err)
		broken[at] = changed
		if _, err := s.IngestRange(ctx, broken); err == nil {
			t.Fatalf("a range with a damaged entry %d was taken", at)
		}
		if f := s.Frontier(); len(f) != 0 {
			t.Fatalf("damaged entry %d: %d logs were taken all the same", at, len(f))
		}
	}
	result, err := s.IngestRange(ctx, n.Entries)
	if err != nil || result.Joined != 40 {
		t.Errorf("the whole range: %+v, %v", result, err)
	}
}

// TestBadInnerSignature: a range is vouched for by its last signature; a bad one inside is found behind, by
// VerifySignatures, and by the audit.
func TestBadInnerSignature(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	key, log := ledgertest.Key("bob"), &ledger.Log{Origin: ledgertest.Origin("bob")}
	var entries []*ledger.Entry
	for i := range 5 {
		e, err := log.Sign(g, key, ledgertest.Draft(t, g, "vote", i), nil, 0, nil)
		must(t, err)
		if i == 2 { // bob lies: he signs nothing here, and goes on as if he had
			e.Signature = [64]byte{}
			e, err = ledger.DecodeEntry(e.Append(nil))
			must(t, err)
		}
		log.Advance(e)
		entries = append(entries, e)
	}
	d := store.NewMemory()
	s := open(t, d, g, "alice")
	if _, err := s.IngestRange(ctx, entries); err != nil {
		t.Fatal(err)
	}
	var bad *ledger.InvalidError
	if err := s.VerifySignatures(ctx, nil); !errors.As(err, &bad) || bad.Seq != 2 || bad.Reason != ledger.ReasonSignature {
		t.Errorf("VerifySignatures: %v", err)
	}
	must(t, s.Close())
	report, err := audit.Datastore(ctx, d, g, audit.Options{})
	must(t, err)
	if len(report.Findings) != 1 || report.Findings[0].Seq != 2 || report.Findings[0].Reason != ledger.ReasonSignature {
		t.Errorf("audit: %v", report.Findings)
	}
}

// TestRangeNeedsTheNewestSignature: what vouches for a range is the signature of its newest entry, whichever comes last.
func TestRangeNeedsTheNewestSignature(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	n := ledgertest.NewNetwork(t, g)
	b0, b1 := n.Put("bob"), n.Put("bob")
	unsigned := *n.Put("bob")
	unsigned.Signature = [64]byte{}
	forged, err := ledger.DecodeEntry(unsigned.Append(nil))
	must(t, err)
	s := open(t, store.NewMemory(), g, "alice")
	_, err = s.Ingest(ctx, b0, b1)
	must(t, err)
	for _, order := range [][]*ledger.Entry{{forged, b1}, {b0, forged, b1, b0}, {forged}} {
		var bad *ledger.InvalidError
		if _, err := s.IngestRange(ctx, order); !errors.As(err, &bad) || bad.Reason != ledger.ReasonSignature {
			t.Errorf("a range with an unsigned newest entry: %v", err)
		}
	}
	if got := s.Frontier().Entries(); got != 2 {
		t.Errorf("%d entries are held, want 2", got)
	}
}

// TestRefusalIsDurableToo: "duplicate" says that the record is held, so it must not be said before that is durable.
func TestRefusalIsDurableToo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	d := &counting{Datastore: store.NewMemory(), gate: make(chan struct{})}
	close(d.gate)
	s := open(t, d, g, "alice")
	d.gate = make(chan struct{})
	first, err := s.Submit(ctx, ledgertest.Draft(t, g, "vote", 1))
	must(t, err)
	again, err := s.Submit(ctx, ledgertest.Draft(t, g, "vote", 1))
	must(t, err)
	done, cancel := context.WithCancel(ctx)
	cancel()
	for range 100 { // the builder has long served both when the first sync is still held
		if _, err := again.Wait(done); !errors.Is(err, context.Canceled) {
			t.Fatalf("answered before the first copy is durable: %v", err)
		}
	}
	close(d.gate)
	_, err = first.Wait(ctx)
	must(t, err)
	var dup *store.DuplicateError
	if _, err := again.Wait(ctx); !errors.As(err, &dup) {
		t.Errorf("the record again: %v", err)
	}
}

// TestFilter: while the filter is filled after opening, records come that the scan need not see, and later it grows layer
// by layer; every record is recognised all the same.
func TestFilter(t *testing.T) {
	store.SetFirstLayer(t, 1) // not parallel, because of this
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	d := &slowScan{Datastore: store.NewMemory(), open: make(chan struct{})}
	s := open(t, d, g, "alice")
	again := func(until int) {
		t.Helper()
		for i := range until {
			var dup *store.DuplicateError
			if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", i)); !errors.As(err, &dup) {
				t.Errorf("record %d was stored twice: %v", i, err)
			}
		}
	}
	for i := range 40 {
		if i == 20 {
			again(20)
			close(d.open)
		}
		_, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", i))
		must(t, err)
	}
	again(40)
	must(t, s.Close())
	auditClean(t, d.Datastore, g)
}

// slowScan yields what a scan of the content index finds only when it is opened.
type slowScan struct {
	store.Datastore
	open chan struct{}
}

func (d *slowScan) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	if lower != "/c/" {
		return d.Datastore.Scan(ctx, lower, upper)
	}
	return func(yield func(store.Pair, error) bool) {
		var found []store.Pair
		for pair, err := range d.Datastore.Scan(ctx, lower, upper) {
			if err != nil {
				yield(pair, err)
				return
			}
			found = append(found, pair)
		}
		select {
		case <-d.open:
		case <-ctx.Done():
		}
		for _, pair := range found {
			if !yield(pair, nil) {
				return
			}
		}
	}
}

// TestGroupCommit: many writers at once all get distinct places, everything they were told is there, and the number of
// syncs is far below the number of records.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testGroupCommit)
}

func testGroupCommit(t *testing.T) {
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	d := &counting{Datastore: store.NewMemory(), gate: make(chan struct{})}
	const writers, each = 16, 20
	drafts := make([]*ledger.Draft, writers*each)
	for i := range drafts {
		drafts[i] = ledgertest.Draft(t, g, "vote", i)
	}
	close(d.gate) // opening the store writes
	s := open(t, d, g, "alice")
	d.gate = make(chan struct{})
	before := d.syncs
	var wg sync.WaitGroup
	acks := make([]store.Ack, len(drafts))
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				var err error
				if acks[n], err = s.Append(ctx, drafts[n]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { // each sync waits for a tick; ticks come only when all writers wait
		for {
			synctest.Wait()
			select {
			case d.gate <- struct{}{}:
			case <-done:
				return
			}
		}
	}()
	wg.Wait()
	close(done)
	seqs, positions := map[uint64]bool{}, map[uint64]bool{}
	for i, ack := range acks {
		seqs[ack.Seq], positions[ack.Position] = true, true
		e, err := s.Get(ctx, ack.Ref)
		if err != nil || e.Hash != ack.Hash || string(e.Record) != string(drafts[i].Record) {
			t.Errorf("record %d: %v", i, err)
		}
		at, err := s.At(ctx, "vote", ack.Position)
		if err != nil || at != ack.Ref {
			t.Errorf("position %d: %v, %v", ack.Position, at, err)
		}
	}
	if len(seqs) != len(drafts) || len(positions) != len(drafts) {
		t.Errorf("%d seqs and %d positions for %d records", len(seqs), len(positions), len(drafts))
	}
	if syncs := d.syncs - before; syncs > 2*each {
		t.Errorf("%d syncs for %d records: writers do not share them", syncs, len(drafts))
	}
	must(t, s.Close())
	auditClean(t, d, g)
}

// counting counts syncs and holds each until it gets a tick.
type counting struct {
	store.Datastore
	gate  chan struct{}
	syncs int
}

func (c *counting) Sync(ctx context.Context, prefix ds.Key) error {
	<-c.gate
	c.syncs++
	return c.Datastore.Sync(ctx, prefix)
}

// reading counts what is read.
type reading struct {
	store.Datastore
	reads atomic.Int64
}

func (d *reading) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	d.reads.Add(1)
	return d.Datastore.Get(ctx, key)
}

func (d *reading) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	d.reads.Add(1)
	return d.Datastore.Scan(ctx, lower, upper)
}

// TestBetterEvidence: of all evidence for one place the least is kept, and a liar who shows ever better ones makes nobody
// read the ledger again and again.
func TestBetterEvidence(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory"))
	history := ledgertest.NewNetwork(t, g)
	first := history.Put("mallory")
	history.Put("alice")
	var all []*proof.Evidence
	for i := range 50 {
		other := first.Header
		other.Time += uint64(1 + i)
		ev, err := proof.Fork(g, first, ledger.Sign(ledgertest.Key("mallory"), other, first.Record))
		must(t, err)
		all = append(all, ev)
	}
	slices.SortFunc(all, func(a, b *proof.Evidence) int { return b.Compare(a) })
	d := &reading{Datastore: store.NewMemory()}
	s := open(t, d, g, "alice")
	_, err := s.Ingest(t.Context(), history.Entries...)
	must(t, err)
	read := int64(0)
	for i, ev := range all {
		added, err := s.AddEvidence(t.Context(), ev)
		must(t, err)
		row, _ := s.Row(ledgertest.Origin("mallory"))
		if !added || row.Frozen == nil || row.Frozen.Evidence != ev.ID() {
			t.Fatalf("evidence %d: added %v, row %+v", i, added, row.Frozen)
		}
		if i == 0 {
			read = d.reads.Load()
		}
	}
	// The filter may still be reading the indexes.
	if again := d.reads.Load() - read; again >= int64(len(all)-1) {
		t.Errorf("better evidence for the same place led to %d reads", again)
	}
	digest := s.Frontier().Digest(g.Network())
	must(t, s.Close())
	s = open(t, d, g, "alice")
	if s.Frontier().Digest(g.Network()) != digest {
		t.Error("another digest after opening")
	}
	must(t, s.Close())
	auditClean(t, d, g)
}

func TestByTime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	s := open(t, store.NewMemory(), g, "alice")
	var headers []uuid.UUID
	for _, i := range []int{3, 1, 2, 0} {
		d := ledgertest.Draft(t, g, "vote", i*1000)
		_, err := s.Append(ctx, d)
		must(t, err)
		headers = append(headers, d.Facts.Header)
	}
	slices.SortFunc(headers, func(a, b uuid.UUID) int { return int(a.Time() - b.Time()) })
	list := func(span store.TimeSpan) (got []uuid.UUID) {
		for timed, err := range s.ByTime(ctx, "vote", span) {
			must(t, err)
			if len(timed.Refs) != 1 {
				t.Errorf("%v: %v", timed.Header, timed.Refs)
			}
			got = append(got, timed.Header)
		}
		return got
	}
	at := func(i int) uint64 { return uint64(headers[i].Time()) }
	for _, c := range []struct {
		span store.TimeSpan
		want []uuid.UUID
	}{
		{store.TimeSpan{}, headers},
		{store.TimeSpan{From: at(1)}, headers[1:]},
		{store.TimeSpan{From: at(1), To: at(3)}, headers[1:3]},
		{store.TimeSpan{From: at(1) + 1, To: at(3) + 1}, headers[2:]},
		{store.TimeSpan{From: at(3) + 1}, nil},
	} {
		if got := list(c.span); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.span, got, c.want)
		}
	}
	for range s.ByTime(ctx, "charity", store.TimeSpan{}) {
		t.Error("a record of another kind")
	}
}

// TestModel runs random operations against the store and a model of a few maps, with closing and opening in between,
// and audits at the end.
func TestModel(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	drafts := make([]*ledger.Draft, 40)
	for i := range drafts {
		drafts[i] = ledgertest.Draft(t, g, []string{"vote", "charity"}[i%2], i/2) // each content is of both kinds
	}
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		d := store.NewMemory()
		s := open(t, d, g, "alice")
		n := ledgertest.NewNetwork(t, g) // the others
		type where struct {
			kind    string
			content record.ContentID
		}
		held := map[store.Ref]bool{}
		byRecord := map[where][]store.Ref{}
		byPosition := map[string][]store.Ref{}
		add := func(ref store.Ref, d *ledger.Draft) {
			is := where{d.Kind, d.Facts.ContentID}
			held[ref] = true
			byRecord[is] = append(byRecord[is], ref)
			byPosition[d.Kind] = append(byPosition[d.Kind], ref)
		}
		sent := 0
		used := map[string]map[int]bool{"bob": {}, "carol": {}}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				dr := rapid.SampledFrom(drafts).Draw(rt, "record")
				ack, err := s.Append(ctx, dr)
				var dup *store.DuplicateError
				copies := slices.DeleteFunc(slices.Clone(byRecord[where{dr.Kind, dr.Facts.ContentID}]), func(ref store.Ref) bool {
					return dr.Kind == "vote" && ref.Origin != ledgertest.Origin("alice")
				})
				if len(copies) > 0 {
					if !errors.As(err, &dup) || !slices.Contains(copies, dup.Ref) {
						rt.Fatalf("duplicate: %v", err)
					}
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				add(ack.Ref, dr)
			},
			"others write": func(rt *rapid.T) {
				party := rapid.SampledFrom([]string{"bob", "carol"}).Draw(rt, "party")
				i := rapid.IntRange(0, len(drafts)-1).Draw(rt, "record")
				if used[party][i] {
					return
				}
				used[party][i] = true
				other := map[string]string{"bob": "carol", "carol": "bob"}[party]
				n.PutDraft(party, drafts[i], other)
			},
			"receive": func(rt *rapid.T) {
				to := rapid.IntRange(sent, len(n.Entries)).Draw(rt, "to")
				from := rapid.IntRange(0, sent).Draw(rt, "from")
				ingest := s.Ingest
				if rapid.Bool().Draw(rt, "range") {
					ingest = func(ctx context.Context, entries ...*ledger.Entry) (store.Result, error) {
						return s.IngestRange(ctx, entries)
					}
				}
				result, err := ingest(ctx, n.Entries[from:to]...)
				if err != nil || result.Joined != to-sent || result.Held != sent-from {
					rt.Fatalf("entries %d to %d with %d held: %+v, %v", from, to, sent, result, err)
				}
				for _, e := range n.Entries[sent:to] {
					add(store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq}, draftOf(t, g, e))
				}
				sent = to
			},
			"reopen": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open(t, d, g, "alice")
			},
			"": func(rt *rapid.T) {
				if got := s.Frontier().Entries(); got != uint64(len(held)) {
					rt.Fatalf("%d entries, the model has %d", got, len(held))
				}
				for kind, refs := range byPosition {
					if s.Count(kind) != uint64(len(refs)) {
						rt.Fatalf("%d of kind %s, the model has %d", s.Count(kind), kind, len(refs))
					}
					for i, want := range refs {
						if got, err := s.At(ctx, kind, uint64(i)); err != nil || got != want {
							rt.Fatalf("%s %d is %v (%v), the model has %v", kind, i, got, err, want)
						}
					}
				}
				for is, want := range byRecord {
					byPlace := func(a, b store.Ref) int { return cmp.Or(a.Origin.Compare(b.Origin), cmp.Compare(a.Seq, b.Seq)) }
					got, err := s.ByContent(ctx, is.kind, is.content)
					if err != nil || !slices.Equal(slices.SortedFunc(slices.Values(got), byPlace), slices.SortedFunc(slices.Values(want), byPlace)) {
						rt.Fatalf("%v is at %v (%v), the model has %v", is, got, err, want)
					}
				}
			},
		})
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		report, err := audit.Datastore(ctx, d, g, audit.Options{})
		if err != nil || !report.Clean() || report.Entries != uint64(len(held)) {
			rt.Fatalf("audit: %+v, %v", report, err)
		}
	})
}

// TestConverge: the same entries in different causal orders and cuts give the same frontier and chain.
func TestConverge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	parties := []string{"a", "b", "c"}
	g := ledgertest.Genesis(t, ledgertest.Doc(parties...))
	n := ledgertest.NewNetwork(t, g)
	n.Random(9, 80, parties...)
	chainOf := func(s *store.Store) (hashes []ledger.Hash) {
		for e, err := range s.Chain(ctx) {
			must(t, err)
			hashes = append(hashes, e.Hash)
		}
		return hashes
	}
	canonical := slices.SortedFunc(slices.Values(n.Entries), ledger.CompareCanonical)
	var want []ledger.Hash
	for i, order := range [][]*ledger.Entry{n.Entries, canonical} {
		for _, cut := range []int{1, 7, 80} {
			s, _, err := store.Open(ctx, store.NewMemory(), g, store.Options{})
			must(t, err)
			for part := range slices.Chunk(order, cut) {
				_, err := s.IngestRange(ctx, part)
				must(t, err)
			}
			got := chainOf(s)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("order %d in parts of %d: the chain differs", i, cut)
			}
			must(t, s.Close())
		}
	}
}

// TestCitations: own entries cite what is news, at most 16 heads, and never the same head twice.
func TestCitations(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	parties := []string{"alice"}
	for i := range 20 {
		parties = append(parties, fmt.Sprint("party ", i))
	}
	g := ledgertest.Genesis(t, ledgertest.Doc(parties...))
	n := ledgertest.NewNetwork(t, g)
	d := store.NewMemory()
	s := open(t, d, g, "alice")
	for _, p := range parties[1:] {
		n.Put(p)
	}
	_, err := s.Ingest(ctx, n.Entries...)
	must(t, err)
	seen := map[ledger.Origin]bool{}
	for i, want := range []int{16, 4, 0} {
		ack, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 1000+i))
		must(t, err)
		e, err := s.Get(ctx, ack.Ref)
		must(t, err)
		if len(e.Header.Seen) != want {
			t.Errorf("entry %d cites %d heads, want %d", i, len(e.Header.Seen), want)
		}
		for _, c := range e.Header.Seen {
			if seen[c.Origin] {
				t.Errorf("%v is cited again without news", c.Origin)
			}
			seen[c.Origin] = true
		}
	}
	if got := slices.Collect(maps.Keys(seen)); len(got) != 20 {
		t.Errorf("%d of 20 heads were cited", len(got))
	}
	must(t, s.Close())
	auditClean(t, d, g)
}

// TestPipelineFirstError: the error is that of the first batch that has one, though a later one is found out before.
func TestPipelineFirstError(t *testing.T) {
	t.Parallel()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice")))
	n.Random(1, 6, "alice")
	s, _, err := store.Open(t.Context(), store.NewMemory(), n.Genesis, store.Options{})
	must(t, err)
	bad := *n.Entries[5]
	bad.Record = bytes.Clone(bad.Record)
	bad.Record[0] ^= 1
	p := s.NewPipeline(t.Context(), 0, nil)
	for _, batch := range [][]*ledger.Entry{n.Entries[:1], n.Entries[2:3], {&bad}} {
		must(t, p.Add(batch)) // none is waited for yet
	}
	sum, err := p.Close()
	var missing *store.MissingError
	if !errors.As(err, &missing) || missing.Entry.Seq != 2 || sum.Joined != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if again := p.Add(n.Entries[1:2]); !errors.As(again, &missing) {
		t.Errorf("a batch behind it: %v", again)
	}
	must(t, s.Close())
}

// TestRemoveUnfinished: what a kill left of files that are written under the directory's lock goes when the directory is
// opened for writing, and nothing else does.
func TestRemoveUnfinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, ledgertest.Genesis(t, ledgertest.Doc("alice"))))
	names := func() []string {
		there, err := os.ReadDir(dir)
		must(t, err)
		var list []string
		for _, entry := range there {
			list = append(list, entry.Name())
		}
		return list
	}
	left, err := os.CreateTemp(dir, store.WatermarkFile+durable.Unfinished+"*") // as durable.WriteFile does
	must(t, err)
	must(t, left.Close())
	for _, name := range []string{
		"watermark.json.1", "watermark.json.bak", "watermark.json.unfinished-business", "my-watermark.json.unfinished-1",
		"peers.json.unfinished-1", "notes.unfinished-1",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, "watermark.json.unfinished-2"), 0o700))
	must(t, os.Symlink("peers.json.unfinished-1", filepath.Join(dir, "watermark.json.unfinished-3")))
	before := names()
	reader, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
	must(t, err)
	must(t, reader.Close())
	if got := names(); !slices.Equal(got, before) {
		t.Errorf("a reader removed something: %v", got)
	}
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	want := slices.DeleteFunc(before, func(name string) bool { return name == filepath.Base(left.Name()) })
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	must(t, os.WriteFile(left.Name(), nil, 0o600))
	if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if got := names(); !slices.Equal(got, slices.Sorted(slices.Values(append(want, filepath.Base(left.Name()))))) {
		t.Errorf("without the lock, something was removed: %v", got)
	}
	must(t, d.Close())
}

// TestArrivals: a position that is missing or leads nowhere is damage, not the end.
func TestArrivals(t *testing.T) {
	t.Parallel()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "bob")))
	n.Random(1, 30, "alice", "bob")
	d := store.NewMemory()
	s, _, err := store.Open(t.Context(), d, n.Genesis, store.Options{})
	must(t, err)
	_, err = s.Ingest(t.Context(), n.Entries...)
	must(t, err)
	refs, err := s.Arrivals(t.Context(), "vote", 10, 40)
	must(t, err)
	if len(refs) != 20 {
		t.Fatalf("%d places", len(refs))
	}
	entries, err := s.GetAll(t.Context(), refs)
	must(t, err)
	for i, e := range entries {
		if e.Hash != n.Entries[10+i].Hash || e.Position != uint64(10+i) {
			t.Errorf("at position %d stands %v", 10+i, e.Ref())
		}
	}
	for _, span := range [][2]uint64{{30, 31}, {20, 20}, {20, 10}} {
		if refs, err := s.Arrivals(t.Context(), "vote", span[0], span[1]); err != nil || len(refs) > 0 {
			t.Errorf("%d: %v, %v", span, refs, err)
		}
	}
	if _, err := s.GetAll(t.Context(), append(refs, store.Ref{Origin: ledgertest.Origin("carol")})); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an entry that is not held: %v", err)
	}
	var damage *store.DamageError
	position := ds.RawKey(fmt.Sprintf("/p/vote/%012x", 15))
	for _, value := range []string{"nowhere", "00000009/000000000000", ""} {
		if must(t, d.Put(t.Context(), position, []byte(value))); value == "" {
			must(t, d.Delete(t.Context(), position))
		}
		if _, err := s.Arrivals(t.Context(), "vote", 0, 30); !errors.As(err, &damage) || damage.Key != position.String() {
			t.Errorf("%q: %v", value, err)
		}
	}
	must(t, d.Delete(t.Context(), ds.RawKey("/e/00000000/000000000003")))
	if _, err := s.GetAll(t.Context(), []store.Ref{{Origin: n.Entries[0].Header.Origin, Seq: 3}}); !errors.As(err, &damage) {
		t.Errorf("an entry that is gone: %v", err)
	}
	must(t, s.Close())
}
