package raw

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// Value is the value under an entry's key: what this node alone knows of it, and the entry. That is the position, 8
// bytes, and the hops, 4 bytes, both big-endian, before the entry.
type Value struct {
	Position uint64
	Hops     uint32
	Entry    []byte
}

// ValuePrefix is how many bytes of a value stand before the entry.
const ValuePrefix = 8 + 4

// EncodeValue returns the value of an entry whose position is still to be set.
func EncodeValue(e *ledger.Entry) []byte {
	return AppendValue(make([]byte, 0, ValuePrefix+e.Len()), e)
}

// AppendValue is EncodeValue into given room.
func AppendValue(dst []byte, e *ledger.Entry) []byte {
	return e.Append(append(dst, make([]byte, ValuePrefix)...))
}

// SetPosition sets the position in a value.
func SetPosition(value []byte, position uint64) { binary.BigEndian.PutUint64(value, position) }

// SetHops sets the hops in a value.
func SetHops(value []byte, hops uint32) { binary.BigEndian.PutUint32(value[8:], hops) }

// ParseValue reads a value and checks the bounds of what stands before the entry, which it leaves as it is.
func ParseValue(value []byte) (Value, error) {
	if len(value) < ValuePrefix {
		return Value{}, fmt.Errorf("%d bytes are too short for an entry", len(value))
	}
	st := Value{
		Position: binary.BigEndian.Uint64(value),
		Hops:     binary.BigEndian.Uint32(value[8:]),
		Entry:    value[ValuePrefix:],
	}
	if st.Position >= ledger.MaxSeq {
		return Value{}, errors.New("local position is damaged")
	}
	if st.Hops > ledger.MaxHops {
		return Value{}, errors.New("local hop count is damaged")
	}
	return st, nil
}

// Head is the value under a log's key.
type Head struct {
	Number   uint32
	Verified uint64 // signatures of entries below this are checked
	Log      ledger.Log
}

const (
	headNumber   protowire.Number = 1
	headSize     protowire.Number = 2
	headHash     protowire.Number = 3
	headHeight   protowire.Number = 4
	headPeaks    protowire.Number = 5
	headVerified protowire.Number = 6
)

// Size returns how many entries the log has; 0 if there is no head.
func (h *Head) Size() uint64 {
	if h == nil {
		return 0
	}
	return h.Log.Size()
}

// Append appends the value under the key of a log.
func (h *Head) Append(dst []byte) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headNumber, protowire.VarintType), uint64(h.Number))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headSize, protowire.VarintType), h.Log.Size())
	dst = protowire.AppendBytes(protowire.AppendTag(dst, headHash, protowire.BytesType), h.Log.Head[:])
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headHeight, protowire.VarintType), h.Log.Height)
	dst = protowire.AppendTag(dst, headPeaks, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(h.Log.Tree.Peaks())*ledger.HashSize))
	for _, peak := range h.Log.Tree.Peaks() {
		dst = append(dst, peak[:]...)
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, headVerified, protowire.VarintType), h.Verified)
}

// ParseHead reads the key and the value of a log.
func ParseHead(key, value []byte) (*Head, error) {
	h := new(Head)
	text := key[len(PrefixLog):]
	if len(text) != 2*len(h.Log.Origin) {
		return nil, fmt.Errorf("key %q does not name an origin", key)
	}
	if _, err := hex.Decode(h.Log.Origin[:], text); err != nil {
		return nil, fmt.Errorf("key %q does not name an origin: %w", key, err)
	}
	var size uint64
	var peaks []ledger.Hash
	for at := value; len(at) > 0; {
		field, typ, n := protowire.ConsumeTag(at)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		at = at[n:]
		switch typ {
		case protowire.VarintType:
			v, m := protowire.ConsumeVarint(at)
			if m < 0 {
				return nil, protowire.ParseError(m)
			}
			at = at[m:]
			switch field {
			case headNumber:
				h.Number = uint32(v)
			case headSize:
				size = v
			case headHeight:
				h.Log.Height = v
			case headVerified:
				h.Verified = v
			}
		case protowire.BytesType:
			b, m := protowire.ConsumeBytes(at)
			if m < 0 {
				return nil, protowire.ParseError(m)
			}
			at = at[m:]
			switch field {
			case headHash:
				copy(h.Log.Head[:], b)
			case headPeaks:
				for p := range slices.Chunk(b, ledger.HashSize) {
					var peak ledger.Hash
					copy(peak[:], p)
					peaks = append(peaks, peak)
				}
			}
		default:
			return nil, fmt.Errorf("wire type %d", typ)
		}
	}
	var err error
	if h.Log.Tree, err = ledger.NewTree(size, peaks); err != nil {
		return nil, err
	}
	if h.Verified > size {
		return nil, fmt.Errorf("%d of %d signatures checked", h.Verified, size)
	}
	if LogKey(h.Log.Origin) != string(key) || !bytes.Equal(h.Append(nil), value) { // there is one way to write a head
		return nil, errors.New("not as pyvnode writes it")
	}
	return h, nil
}

// FrozenRow says which piece of evidence there must be. It is written after the evidence in the
// same batch. So a loss of evidence is noticed when the store opens, as is the loss of an entry,
// which the head of its log counts.
func FrozenRow(ev *proof.Evidence) KeyValue {
	id := ev.ID()
	return KeyValue{Key: FrozenKey(ev.Origin()), Value: append(binary.BigEndian.AppendUint64(nil, ev.Seq()), id[:]...)}
}

// BranchHops is the hop count of entries of other branches, which come from a neighbour that was asked for them. It says
// nothing, and stands there so that there is one way to write them.
const BranchHops = 1
