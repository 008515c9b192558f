package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// HashSize is the length of a [Hash] in bytes.
const HashSize = sha256.Size

// Hash is a SHA-256 hash. As text it is 64 lower-case hex digits.
type Hash [HashSize]byte

// String returns the hash as 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first 12 hex digits, for messages to people.
func (h Hash) Short() string { return hex.EncodeToString(h[:6]) }

// Beside is Short for a message in which another hash stands too. It has as many more digits as it
// takes to tell the two apart, and all of them if they are equal.
func (h Hash) Beside(o Hash) string {
	same := 0
	for same < len(h) && h[same] == o[same] {
		same++
	}
	if same < 6 {
		return h.Short()
	}
	return hex.EncodeToString(h[:min(same+1, len(h))])
}

// IsZero reports whether all bytes are zero, as in the Prev of a log's first entry.
func (h Hash) IsZero() bool { return h == Hash{} }

// Compare orders hashes bytewise.
func (h Hash) Compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// ParseHash reads 64 hex digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*HashSize {
		return Hash{}, fmt.Errorf("hash %q has %d characters instead of %d hex digits", clip(s, 80), len(s), 2*HashSize)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("hash %q is not %d hex digits", s, 2*HashSize)
	}
	return h, nil
}

// Tree is the state of an RFC 6962 Merkle tree that only grows: the roots of its perfect subtrees, largest first, which
// is all it takes to append leaves and to compute the root. The zero value is the empty tree. It holds at most 48
// hashes (see [MaxSeq]). A copy made with [Tree.Clone] is independent.
type Tree struct {
	size  uint64
	peaks []Hash // one for each 1-bit of size, highest bit first
}

// EmptyRoot is the root of a tree without leaves: the SHA-256 of nothing (RFC 6962 §2.1).
var EmptyRoot = Hash(sha256.Sum256(nil))

// NewTree restores a tree from its size and the roots of its perfect subtrees.
func NewTree(size uint64, peaks []Hash) (Tree, error) {
	if size > MaxSeq {
		return Tree{}, fmt.Errorf("tree of %d leaves is larger than the limit of %d", size, uint64(MaxSeq))
	}
	if want := bits.OnesCount64(size); want != len(peaks) {
		return Tree{}, fmt.Errorf("tree of %d leaves has %d subtree roots instead of %d", size, len(peaks), want)
	}
	return Tree{size: size, peaks: slices.Clone(peaks)}, nil
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Peaks returns the roots of the perfect subtrees, largest first. The caller must not change them.
func (t *Tree) Peaks() []Hash { return t.peaks }

// Clone returns an independent copy.
func (t *Tree) Clone() Tree { return Tree{size: t.size, peaks: slices.Clone(t.peaks)} }

// Append adds one leaf hash.
func (t *Tree) Append(leaf Hash) {
	for carry := t.size; carry&1 == 1; carry >>= 1 {
		last := len(t.peaks) - 1
		leaf = nodeHash(t.peaks[last], leaf)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, leaf)
	t.size++
}

// Root returns the Merkle tree hash of all leaves (RFC 6962 §2.1).
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return EmptyRoot
	}
	root := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		root = nodeHash(t.peaks[i], root)
	}
	return root
}

func nodeHash(left, right Hash) Hash {
	return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right)))
}

// leafHash is the RFC 6962 leaf hash of the concatenation a ‖ b. The scratch space is returned for reuse.
func leafHash(scratch, a, b []byte) (Hash, []byte) {
	scratch = append(scratch[:0], 0x00)
	scratch = append(scratch, a...)
	scratch = append(scratch, b...)
	return sha256.Sum256(scratch), scratch
}
