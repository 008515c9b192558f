package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// memorySide is a store in memory that counts what it is asked for.
type memorySide struct {
	Side
	asked int
}

func (s *memorySide) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	s.asked++
	return s.Side.Entries(ctx, o, from, to)
}

func sideOf(t *testing.T, g *ledger.Genesis, entries []*ledger.Entry) *memorySide {
	t.Helper()
	s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Ingest(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	return &memorySide{Side: StoreSide(s)}
}

// forked returns the entries of two ledgers in which bob's logs agree up to an entry and then differ; alice's are the
// same.
func forked(t *testing.T, g *ledger.Genesis, at, lengthA, lengthB int) (a, b []*ledger.Entry) {
	t.Helper()
	history := func(length, seed int) []*ledger.Entry {
		n := ledgertest.NewNetwork(t, g)
		n.Put("alice")
		for i := range length {
			number := i
			if i >= at {
				number = seed + i
			}
			n.PutDraft("bob", ledgertest.Draft(t, g, "vote", 100+number))
		}
		return n.Entries
	}
	return history(lengthA, 1000), history(lengthB, 2000)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(7, 60, "alice", "bob", "carol")
	all := n.Entries

	compare := func(a, b Side, limit int) *Comparison {
		t.Helper()
		c, err := Compare(t.Context(), g.Network(), a, b, limit)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	c := compare(sideOf(t, g, all), sideOf(t, g, all), 10)
	if c.Verdict != Same || c.Differ != 0 || len(c.Missing) != 0 || c.A != c.B || c.A.Entries != 60 || c.A.Logs != 3 {
		t.Errorf("the same: %+v", c)
	}

	for _, swap := range []bool{false, true} {
		a, b := sideOf(t, g, all), sideOf(t, g, all[:40])
		c := compare(a, b, 7)
		lacks, other, on := c.B.Lacks, c.A.Lacks, "b"
		if swap {
			c = compare(b, a, 7)
			lacks, other, on = c.A.Lacks, c.B.Lacks, "a"
		}
		if c.Verdict != Behind || lacks != 20 || other != 0 || len(c.Missing) != 7 || len(c.Logs) != c.Differ {
			t.Errorf("behind: %+v", c)
		}
		for _, m := range c.Missing {
			if m.On != on || m.Kind != "vote" {
				t.Errorf("missing: %+v", m)
			}
		}
	}

	c = compare(sideOf(t, g, nil), sideOf(t, g, all), 100)
	if c.Verdict != Behind || c.A.Lacks != 60 || len(c.Missing) != 60 || c.Differ != 3 {
		t.Errorf("nothing and all: %+v", c)
	}
	if c = compare(sideOf(t, g, nil), sideOf(t, g, nil), 100); c.Verdict != Same {
		t.Errorf("nothing: %+v", c)
	}

	for _, f := range []struct{ at, a, b int }{{0, 1, 1}, {0, 5, 9}, {4, 5, 5}, {17, 40, 20}, {63, 64, 200}, {100, 200, 101}} {
		left, right := forked(t, g, f.at, f.a, f.b)
		a, b := sideOf(t, g, left), sideOf(t, g, right)
		c := compare(a, b, 1000)
		if c.Verdict != Forked || c.Differ != 1 || len(c.Logs) != 1 {
			t.Fatalf("fork %v: %+v", f, c)
		}
		l := c.Logs[0]
		if l.Common != uint64(f.at) || l.Origin != ledgertest.Origin("bob") || *l.HashA != left[1+f.at].Hash || *l.HashB != right[1+f.at].Hash {
			t.Errorf("fork %v is found at %+v", f, l)
		}
		if c.A.Lacks != uint64(f.b-f.at) || c.B.Lacks != uint64(f.a-f.at) || len(c.Missing) != f.a+f.b-2*f.at {
			t.Errorf("fork %v: %+v", f, c)
		}
		if a.asked > 12 {
			t.Errorf("fork %v takes %d questions", f, a.asked)
		}
	}
}

// TestCompareDisputed compares one who knows that bob lied with one who does not, and with one who knows it too.
func TestCompareDisputed(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	left, right := forked(t, g, 5, 20, 20)
	ev, err := proof.Fork(g, left[6], right[6])
	if err != nil {
		t.Fatal(err)
	}
	knowing := func() Side {
		s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if _, err := s.Ingest(t.Context(), left...); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddEvidence(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		return StoreSide(s)
	}
	c, err := Compare(t.Context(), g.Network(), knowing(), sideOf(t, g, left), 10)
	if err != nil || c.Verdict != Disputed || c.Differ != 1 || c.A.Lacks+c.B.Lacks != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if l := c.Logs[0]; l.Common != 5 || l.A != 5 || l.B != 20 || l.FrozenA == nil || l.FrozenA.Seq != 5 || l.FrozenB != nil {
		t.Errorf("%+v", l)
	}
	if c, err = Compare(t.Context(), g.Network(), knowing(), knowing(), 10); err != nil || c.Verdict != Same {
		t.Errorf("%+v, %v", c, err)
	}
}

// lyingSide says what it is told to say.
type lyingSide struct {
	Side
	frontier ledger.Frontier
	change   func(*ledger.Entry) *ledger.Entry
}

func (s *lyingSide) Frontier(ctx context.Context) (ledger.Frontier, error) {
	if s.frontier != nil {
		return s.frontier, nil
	}
	return s.Side.Frontier(ctx)
}

func (s *lyingSide) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for e, err := range s.Side.Entries(ctx, o, from, to) {
			if err == nil && s.change != nil {
				if e = s.change(e); e == nil {
					return
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestCompareLiars compares with sides that contradict themselves: never a verdict, always an error that says who.
func TestCompareLiars(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	left, right := forked(t, g, 5, 20, 20)
	honest := sideOf(t, g, left)
	long, _ := forked(t, g, 5, 20, 20)
	unsigned := func(e *ledger.Entry) *ledger.Entry {
		c := *e
		c.Signature[3] ^= 1
		c.Hash[0] ^= 1
		return &c
	}
	frontier, err := honest.Frontier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	invented := append(ledger.Frontier{}, frontier...)
	for i := range invented {
		invented[i].Hash[0] ^= 1
	}
	longer := append(ledger.Frontier{}, frontier...)
	for i := range longer {
		longer[i].Seq += 10
		longer[i].Height += 10
	}
	unsorted := ledger.Frontier{frontier[1], frontier[0]}
	for name, liar := range map[string]*lyingSide{
		"an unsigned fork":    {Side: sideOf(t, g, right), change: unsigned},
		"an invented head":    {Side: sideOf(t, g, long), frontier: invented},
		"entries not there":   {Side: sideOf(t, g, long), frontier: longer},
		"rows out of order":   {Side: sideOf(t, g, long), frontier: unsorted},
		"gives nothing":       {Side: sideOf(t, g, right), change: func(*ledger.Entry) *ledger.Entry { return nil }},
		"gives another entry": {Side: sideOf(t, g, right), change: func(*ledger.Entry) *ledger.Entry { return left[0] }},
	} {
		for _, sides := range [][2]Side{{honest, liar}, {liar, honest}} {
			if c, err := Compare(t.Context(), g.Network(), sides[0], sides[1], 10); err == nil {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

func TestEntryFileSide(t *testing.T) {
	t.Parallel()
	n, raw := exported(t, 150)
	path := filepath.Join(t.TempDir(), "entries")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenEntryFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if f.Genesis().Network() != n.Genesis().Network() {
		t.Error("another network")
	}
	c, err := Compare(t.Context(), n.Genesis().Network(), StoreSide(n.Store), f, 10)
	if err != nil || c.Verdict != Same {
		t.Errorf("%+v, %v", c, err)
	}
	if sum, err := n.Write(t.Context(), inputs("ballot", records(t, 999, 30)), false, func(Outcome) error { return nil }); err != nil || sum.Stored != 30 {
		t.Fatal(sum, err)
	}
	c, err = Compare(t.Context(), n.Genesis().Network(), f, StoreSide(n.Store), 10)
	if err != nil || c.Verdict != Behind || c.A.Lacks != 30 || c.Logs[0].Common != 150 {
		t.Errorf("%+v, %v", c, err)
	}
	var seqs []uint64
	for e, err := range f.Entries(t.Context(), n.own, 148, 1000) {
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, e.Header.Seq)
	}
	if fmt.Sprint(seqs) != "[148 149]" {
		t.Errorf("entries %v", seqs)
	}
	for name, damaged := range map[string][]byte{"cut": raw[:len(raw)-10], "changed": flipped(raw, len(raw)/2)} {
		if err := os.WriteFile(path+name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenEntryFile(t.Context(), path+name); !errors.Is(err, ledger.ErrEntryFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func flipped(raw []byte, at int) []byte {
	c := append([]byte{}, raw...)
	c[at] ^= 1
	return c
}
