package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Frontier says exactly what a node holds: the head of every log that has entries, by origin.
type Frontier []Citation

const (
	frontierNetwork protowire.Number = 1
	frontierRow     protowire.Number = 2

	frontierDomain = "pyvnode/frontier/1\n"
)

// Digest is one hash for all a node holds: equal digests mean equal entries. It is the SHA-256 of a domain prefix and
// the canonical encoding of the network and all rows, ordered by origin. The rows must be in that order, as a store
// returns them. Fields for evidence, checkpoints and policy records follow the rows when there are any, so a frontier
// without them keeps its digest.
func (f Frontier) Digest(network Hash) Hash {
	buf := make([]byte, 0, len(frontierDomain)+40+len(f)*100)
	buf = append(buf, frontierDomain...)
	buf = appendBytes(buf, frontierNetwork, network[:])
	for i := range f {
		row := &f[i]
		buf = protowire.AppendTag(buf, frontierRow, protowire.BytesType)
		buf = protowire.AppendVarint(buf, uint64(row.size()))
		buf = appendOrigin(buf, citationOrigin, row.Origin)
		buf = appendUint(buf, citationSeq, row.Seq)
		buf = appendBytes(buf, citationHash, row.Hash[:])
		buf = appendUint(buf, citationHeight, row.Height)
	}
	return sha256.Sum256(buf)
}

// Sort puts the rows in order.
func (f Frontier) Sort() {
	slices.SortFunc(f, func(a, b Citation) int { return a.Origin.Compare(b.Origin) })
}

// Entries returns how many entries the frontier covers.
func (f Frontier) Entries() uint64 {
	var n uint64
	for i := range f {
		n += f[i].Seq + 1
	}
	return n
}

// Row returns the row of a log.
func (f Frontier) Row(o Origin) (Citation, bool) {
	i, ok := slices.BinarySearchFunc(f, o, func(c Citation, o Origin) int { return c.Origin.Compare(o) })
	if !ok {
		return Citation{}, false
	}
	return f[i], true
}

// Check refuses rows out of order and impossible values.
func (f Frontier) Check() error {
	for i := range f {
		if f[i].Seq >= MaxSeq || f[i].Height == 0 || f[i].Height > MaxHeight || f[i].Height <= f[i].Seq {
			return fmt.Errorf("row of %v: seq %d, height %d", f[i].Origin, f[i].Seq, f[i].Height)
		}
		if i > 0 && f[i-1].Origin.Compare(f[i].Origin) >= 0 {
			return errors.New("rows are not in order of their origins")
		}
	}
	return nil
}
