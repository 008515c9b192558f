package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Frontier says exactly what a node holds, by origin: one row for every log of which every node comes to hold the same
// ([Genesis.Covers]).
type Frontier []Row

// Row says how far a log goes. The citation is of its newest entry; of a frozen log, of the newest before the freeze, and
// only its Origin is set when there is none.
type Row struct {
	Citation
	Frozen *Freeze `json:"freeze,omitempty"` // nil while nothing is known against the origin
}

// Freeze says from which entry on a log is disputed, and why.
type Freeze struct {
	Seq      uint64 `json:"seq"`      // the first disputed entry
	Evidence Hash   `json:"evidence"` // ID of the evidence
	Cited    Hash   `json:"cited"`    // CitedHash of the newest disputed entries that undisputed ones lead to
}

// Covers reports whether a row belongs to a frontier: it has undisputed entries, or undisputed
// entries lead to disputed ones of it, or the genesis document names its origin. Everybody comes to
// hold what such a row says. Evidence alone, against an origin that nobody named, is another thing.
// Keys cost nothing, so no node has to take it. A frontier that depended on it would keep out the
// nodes that did not.
func (g *Genesis) Covers(r *Row) bool {
	return r.Size() > 0 || r.Frozen != nil && (!r.Frozen.Cited.IsZero() || g.Names(r.Origin))
}

// CitedHash returns one hash for disputed entries with these hashes, which it puts in order: the
// SHA-256 of a domain prefix and the hashes, and zero for none. However many there are, a liar's
// row is as short as others. Otherwise two liars together could make it longer than anybody reads.
func CitedHash(entries []Hash) Hash {
	if len(entries) == 0 {
		return Hash{}
	}
	slices.SortFunc(entries, Hash.Compare)
	h := sha256.New()
	h.Write([]byte(citedDomain))
	for i := range entries {
		h.Write(entries[i][:])
	}
	return Hash(h.Sum(nil))
}

// Size returns how many undisputed entries are held of the log.
func (r *Row) Size() uint64 {
	if r.Hash.IsZero() {
		return 0
	}
	return r.Seq + 1
}

const (
	frontierNetwork protowire.Number = 1
	frontierRow     protowire.Number = 2

	rowFreeze protowire.Number = 5 // after the fields of a citation

	freezeSeq      protowire.Number = 1
	freezeEvidence protowire.Number = 2
	freezeCited    protowire.Number = 3

	frontierDomain = "pyvnode/frontier/1\n"
	citedDomain    = "pyvnode/cited/1\n"
)

// Digest is one hash for all a node holds: equal digests mean equal entries, equal evidence and equal statuses. It is the
// SHA-256 of a domain prefix and the canonical encoding of the network and all rows, ordered by origin. The rows must be
// in that order, as a store returns them. Fields for checkpoints and policy records follow the rows when there are any,
// so a frontier without them keeps its digest.
func (f Frontier) Digest(network Hash) Hash {
	buf := make([]byte, 0, len(frontierDomain)+40+len(f)*100)
	buf = append(buf, frontierDomain...)
	buf = appendBytes(buf, frontierNetwork, network[:])
	var row []byte
	for i := range f {
		row = f[i].Append(row[:0])
		buf = appendBytes(buf, frontierRow, row)
	}
	return sha256.Sum256(buf)
}

// Append appends the canonical encoding of a row.
func (r *Row) Append(dst []byte) []byte {
	if r.Size() > 0 {
		dst = r.Citation.Append(dst)
	} else {
		dst = appendOrigin(dst, citationOrigin, r.Origin)
	}
	if f := r.Frozen; f != nil {
		inner := appendUint(nil, freezeSeq, f.Seq)
		inner = appendBytes(inner, freezeEvidence, f.Evidence[:])
		if !f.Cited.IsZero() {
			inner = appendBytes(inner, freezeCited, f.Cited[:])
		}
		dst = appendBytes(dst, rowFreeze, inner)
	}
	return dst
}

// DecodeRow reads a row in canonical encoding and checks its bounds.
func DecodeRow(raw []byte) (Row, error) {
	var r Row
	err := eachField(raw, func(field protowire.Number, value uint64, data []byte) error {
		if field != rowFreeze {
			return r.Citation.field(field, value, data)
		}
		r.Frozen = new(Freeze)
		return eachField(data, func(field protowire.Number, value uint64, data []byte) error {
			switch field {
			case freezeSeq:
				r.Frozen.Seq = value
			case freezeEvidence:
				return fixed(r.Frozen.Evidence[:], data)
			case freezeCited:
				return fixed(r.Frozen.Cited[:], data)
			default:
				return errors.New("unknown field")
			}
			return nil
		})
	})
	if err != nil {
		return Row{}, fmt.Errorf("frontier row: %w", err)
	}
	if !bytes.Equal(r.Append(nil), raw) {
		return Row{}, fmt.Errorf("frontier row: %w", ErrNotCanonical)
	}
	return r, r.check()
}

func (r *Row) check() error {
	bad := func(c *Citation) bool {
		return c.Seq >= MaxSeq || c.Height == 0 || c.Height > MaxHeight || c.Height <= c.Seq
	}
	switch f := r.Frozen; {
	case f == nil && bad(&r.Citation):
		return fmt.Errorf("row of %v: seq %d, height %d", r.Origin, r.Seq, r.Height)
	case f == nil:
		return nil
	case f.Seq > MaxSeq, r.Size() == 0 && (r.Citation != Citation{Origin: r.Origin}), r.Size() > 0 && bad(&r.Citation), r.Size() > f.Seq:
		return fmt.Errorf("row of %v: frozen at %d behind seq %d, height %d", r.Origin, f.Seq, r.Seq, r.Height)
	}
	return nil
}

// Sort puts the rows in order.
func (f Frontier) Sort() {
	slices.SortFunc(f, func(a, b Row) int { return a.Origin.Compare(b.Origin) })
}

// Entries returns how many undisputed entries the frontier covers.
func (f Frontier) Entries() uint64 {
	var n uint64
	for i := range f {
		n += f[i].Size()
	}
	return n
}

// Row returns the row of a log.
func (f Frontier) Row(o Origin) (Row, bool) {
	i, ok := slices.BinarySearchFunc(f, o, func(r Row, o Origin) int { return r.Origin.Compare(o) })
	if !ok {
		return Row{}, false
	}
	return f[i], true
}

// Check refuses rows out of order and impossible values.
func (f Frontier) Check() error {
	for i := range f {
		if err := f[i].check(); err != nil {
			return err
		}
		if i > 0 && f[i-1].Origin.Compare(f[i].Origin) >= 0 {
			return errors.New("rows are not in order of their origins")
		}
	}
	return nil
}
