package proof

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"

	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"pyvnode/ledger"
)

// MaxPath bounds the hashes of an inclusion proof, and the subtree roots in evidence: no tree whose size is a 64-bit
// number takes more.
const MaxPath = 64

// Leaves yields the leaf hashes, which are the entry hashes, of one branch of a log at from, from+1, … to−1. It is read
// as a stream, so a log of any length costs memory for O(log n) hashes.
type Leaves func(from, to uint64) iter.Seq2[ledger.Hash, error]

// tree returns the Merkle tree of the leaves from…to−1 alone.
func (l Leaves) tree(from, to uint64) (ledger.Tree, error) {
	var t ledger.Tree
	if from == to {
		return t, nil
	}
	if l == nil {
		return t, errors.New("no leaves to make a proof from")
	}
	for leaf, err := range l(from, to) {
		if err != nil {
			return t, fmt.Errorf("leaf %d: %w", from+t.Size(), err)
		}
		t.Append(leaf)
		if t.Size() == to-from {
			return t, nil
		}
	}
	return t, fmt.Errorf("leaves end at %d of %d", from+t.Size(), to)
}

// Inclusion is the proof that a tree has a leaf at an index (RFC 6962 §2.1.1). Index and size of the tree are not part
// of it: they come from what was signed.
type Inclusion struct {
	Leaf ledger.Hash
	Path []ledger.Hash // siblings from the leaf up to the root, at most MaxPath
}

// NewInclusion proves the leaf at an index of the tree over the first size leaves. It reads each leaf once, and nothing
// else. The index must be below the size.
func NewInclusion(index, size uint64, leaves Leaves) (*Inclusion, error) {
	if index >= size {
		return nil, fmt.Errorf("no leaf %d in a tree of %d", index, size)
	}
	p := new(Inclusion)
	for low, high := uint64(0), size; ; {
		if high-low == 1 {
			leaf, err := leaves.tree(low, high)
			if err != nil {
				return nil, err
			}
			p.Leaf = leaf.Root()
			slices.Reverse(p.Path) // they were found from the root down
			return p, nil
		}
		// A tree splits at the greatest power of two below its size (RFC 6962 §2.1).
		middle := low + 1<<(bits.Len64(high-low-1)-1)
		from, to := middle, high
		if index < middle {
			high = middle
		} else {
			from, to = low, middle
			low = middle
		}
		sibling, err := leaves.tree(from, to)
		if err != nil {
			return nil, err
		}
		p.Path = append(p.Path, sibling.Root())
	}
}

// Verify returns nil if the tree of that size and root has the leaf at the index.
func (p *Inclusion) Verify(index, size uint64, root ledger.Hash) error {
	path := make([][]byte, len(p.Path))
	for i := range p.Path {
		path[i] = p.Path[i][:]
	}
	raw, err := merkle.RootFromInclusionProof(rfc6962.DefaultHasher, index, size, p.Leaf[:], path)
	if err != nil {
		return fmt.Errorf("inclusion proof: %w", err)
	}
	if got := ledger.Hash(raw); got != root {
		return fmt.Errorf("inclusion proof: leaf %s at %d gives the root %s, the tree of %d has %s", p.Leaf.Short(), index, got.Beside(root), size, root.Beside(got))
	}
	return nil
}
