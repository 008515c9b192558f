package ledger_test

import (
	"errors"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

// TestFollow: the walk gets to all that is named, goes on only where it is told to, and ends with an
// error.
func TestFollow(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory"))
	alice, mallory := &ledger.Log{Origin: ledgertest.Origin("alice")}, &ledger.Log{Origin: ledgertest.Origin("mallory")}
	all := map[ledger.Hash]*ledger.Entry{}
	n := 0
	put := func(who string, log *ledger.Log, seen ...ledger.Citation) *ledger.Entry {
		n++
		e := ledgertest.Sign(t, g, who, log, n, seen...)
		log.Advance(e)
		all[e.Hash] = e
		return e
	}
	a0 := put("alice", alice)
	m0 := put("mallory", mallory, a0.Citation())
	m1 := put("mallory", mallory)
	m2 := put("mallory", mallory, a0.Citation())
	a1 := put("alice", alice, m2.Citation())

	var got []ledger.Hash
	disputed := []ledger.Hash{m1.Hash, m2.Hash}
	step := func(named ledger.Named) (*ledger.Header, error) {
		e := all[named.Hash]
		if want := named.Hash == m0.Hash || named.Hash == m1.Hash; named.Origin == mallory.Origin && named.Predecessor != want {
			t.Errorf("mallory's entry %d: named as predecessor is %v, want %v", named.Seq, named.Predecessor, want)
		}
		got = append(got, named.Hash)
		if !slices.Contains(disputed, named.Hash) {
			return nil, nil
		}
		return &e.Header, nil
	}
	from := a1.Header.Names()
	if err := ledger.Follow(from, step); err != nil {
		t.Fatal(err)
	}
	// a0 is the predecessor of a1, and m2 cites it; what m0 cites is not asked for.
	want := []ledger.Hash{a0.Hash, a0.Hash, m0.Hash, m1.Hash, m2.Hash}
	slices.SortFunc(got, ledger.Hash.Compare)
	slices.SortFunc(want, ledger.Hash.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("it got to %d entries, want %d", len(got), len(want))
	}
	if len(from) != 2 || from[0].Hash != m2.Hash || from[1].Hash != a0.Hash {
		t.Error("what the walk began with was changed")
	}
	broken := errors.New("broken")
	err := ledger.Follow(from, func(ledger.Named) (*ledger.Header, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("the error of a step: %v", err)
	}
}
