package proof_test

import (
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// stream yields hashes as a store would.
func stream(hashes []ledger.Hash) proof.Leaves {
	return func(from, to uint64) iter.Seq2[ledger.Hash, error] {
		return func(yield func(ledger.Hash, error) bool) {
			for _, h := range hashes[min(from, uint64(len(hashes))):min(to, uint64(len(hashes)))] {
				if !yield(h, nil) {
					return
				}
			}
		}
	}
}

func numbered(n int) []ledger.Hash {
	hashes := make([]ledger.Hash, n)
	for i := range hashes {
		binary.BigEndian.PutUint64(hashes[i][:], uint64(i)+1)
	}
	return hashes
}

// TestInclusion compares our proofs with those of an independent implementation, for every leaf of every small tree, and
// corrupts each part of each.
func TestInclusion(t *testing.T) {
	t.Parallel()
	leaves := numbered(40)
	var tree ledger.Tree
	var stored []tlog.Hash // as package tlog keeps a tree
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for size := uint64(1); size <= uint64(len(leaves)); size++ {
		leaf := leaves[size-1]
		tree.Append(leaf)
		more, err := tlog.StoredHashesForRecordHash(int64(size-1), tlog.Hash(leaf), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		root := tree.Root()
		for index := range size {
			p, err := proof.NewInclusion(index, size, stream(leaves))
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := tlog.ProveRecord(int64(size), int64(index), reader)
			if err != nil {
				t.Fatal(err)
			}
			want := &proof.Inclusion{Leaf: leaves[index]}
			for _, h := range theirs {
				want.Path = append(want.Path, ledger.Hash(h))
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Fatalf("leaf %d of %d (-want +got):\n%s", index, size, diff)
			}
			if err := p.Verify(index, size, root); err != nil {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
			refuse := func(what string, index, size uint64, root ledger.Hash, change func(p *proof.Inclusion)) {
				bad := &proof.Inclusion{Leaf: p.Leaf, Path: slices.Clone(p.Path)}
				if change != nil {
					change(bad)
				}
				if bad.Verify(index, size, root) == nil {
					t.Errorf("leaf %d of %d: verifies with %s", index, size, what)
				}
			}
			refuse("another root", index, size, leaves[0], func(p *proof.Inclusion) { p.Leaf[31] ^= 1 })
			refuse("another leaf", index, size, root, func(p *proof.Inclusion) { p.Leaf[0] ^= 0x80 })
			refuse("a longer path", index, size, root, func(p *proof.Inclusion) { p.Path = append(p.Path, root) })
			refuse("the last index and one", size, size, root, nil)
			for i := range p.Path {
				refuse("a changed path", index, size, root, func(p *proof.Inclusion) { p.Path[i][7] ^= 4 })
				refuse("a shorter path", index, size, root, func(p *proof.Inclusion) { p.Path = slices.Delete(p.Path, i, i+1) })
			}
			for other := range size {
				if other != index {
					refuse("another index", other, size, root, nil)
				}
			}
		}
	}
}

func TestInclusionErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	failing := func(uint64, uint64) iter.Seq2[ledger.Hash, error] {
		return func(yield func(ledger.Hash, error) bool) { yield(ledger.Hash{}, broken) }
	}
	if _, err := proof.NewInclusion(3, 8, failing); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the leaves", err)
	}
	for _, c := range []struct {
		index, size uint64
		leaves      proof.Leaves
		want        string
	}{
		{8, 8, stream(numbered(8)), "no leaf 8"},
		{0, 0, stream(nil), "no leaf 0"},
		{3, 9, stream(numbered(8)), "end at 8 of 9"},
		{3, 1 << 63, stream(numbered(8)), "end at"},
		{0, 1<<64 - 1, stream(numbered(8)), "end at"},
		{3, 9, nil, "no leaves"},
	} {
		if _, err := proof.NewInclusion(c.index, c.size, c.leaves); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("leaf %d of %d: %v, want %q", c.index, c.size, err, c.want)
		}
	}
	// A proof for a tree of any size is bounded work.
	if err := (&proof.Inclusion{Path: numbered(proof.MaxPath)}).Verify(0, 1<<64-1, ledger.Hash{}); err == nil {
		t.Error("a made-up proof verifies")
	}
}
