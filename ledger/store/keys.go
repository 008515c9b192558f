package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"
	"google.golang.org/protobuf/encoding/protowire"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// FormatVersion is the version of the layout of keys and values. A store of another version is refused.
const FormatVersion = 2

const (
	keyMeta    = "/meta"
	keyGenesis = "/genesis"

	prefixLog     = "/log/"
	prefixKind    = "/kind/"
	prefixEntry   = "/e/"
	prefixContent = "/c/"
	prefixHeader  = "/h/"
	prefixPos     = "/p/"
)

// after is the least key beyond all keys with a prefix that ends in '/'.
func after(prefix string) string { return prefix[:len(prefix)-1] + "0" }

// place is where an entry stands: the number this store gave to its log, and the entry's sequence number. As text it
// is "<log>/<seq>" in 8 and 12 hex digits.
type place struct {
	log uint32
	seq uint64
}

const placeText = 8 + 1 + 12

func (p place) append(dst []byte) []byte {
	return appendHex(append(appendHex(dst, uint64(p.log), 8), '/'), p.seq, 12)
}

func parsePlace(text []byte) (place, error) {
	if len(text) != placeText {
		return place{}, fmt.Errorf("%q names no place", text)
	}
	log, err1 := strconv.ParseUint(string(text[:8]), 16, 32)
	seq, err2 := strconv.ParseUint(string(text[9:]), 16, 64)
	p := place{log: uint32(log), seq: seq}
	if err1 != nil || err2 != nil || !bytes.Equal(p.append(nil), text) { // there is one way to write a place
		return place{}, fmt.Errorf("%q names no place", text)
	}
	return p, nil
}

func appendHex(dst []byte, value uint64, digits int) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], value)
	var text [16]byte
	hex.Encode(text[:], b[:])
	return append(dst, text[16-digits:]...)
}

func logPrefix(log uint32) string {
	return string(append(appendHex([]byte(prefixEntry), uint64(log), 8), '/'))
}

func entryKey(p place) string {
	return string(p.append(append(make([]byte, 0, len(prefixEntry)+placeText), prefixEntry...)))
}

// contentKey is the prefix of the rows of all entries with a record: kind and content are its identity. Without a kind it
// is the prefix of the rows of all records with a content, each followed by its kind.
func contentKey(kind string, id record.ContentID) string {
	return string(appendContentKey(make([]byte, 0, 128), kind, id))
}

func appendContentKey(dst []byte, kind string, id record.ContentID) []byte {
	dst = append(hex.AppendEncode(append(dst, prefixContent...), id[:]), '/')
	if kind == "" {
		return dst
	}
	return append(append(dst, kind...), '/')
}

// headerKey is the prefix of the rows of all entries with a kind and record header. It sorts the records of a kind by
// the time in their UUIDs.
func headerKey(kind string, id uuid.UUID) string {
	return string(appendHeaderKey(make([]byte, 0, 128), kind, id))
}

func appendHeaderKey(dst []byte, kind string, id uuid.UUID) []byte {
	dst = append(append(append(dst, prefixHeader...), kind...), '/')
	return append(hex.AppendEncode(appendHex(dst, uuidTime(id), timeDigits), id[:]), '/')
}

// timeDigits are the hex digits of the 60-bit time of a version-1 UUID.
const timeDigits = 15

// uuidTime returns the time of a version-1 UUID in units of 100 ns since 15 October 1582 (RFC 9562 §5.1), and 0 for
// other versions, which carry none.
func uuidTime(id uuid.UUID) uint64 {
	if id.Version() != 1 || id.Variant() != uuid.RFC4122 {
		return 0
	}
	return uint64(id.Time())
}

func positionKey(kind string, position uint64) string {
	return string(appendPositionKey(make([]byte, 0, 96), kind, position))
}

func appendPositionKey(dst []byte, kind string, position uint64) []byte {
	return appendHex(append(append(append(dst, prefixPos...), kind...), '/'), position, 12)
}

// rows returns all index rows of an entry. Stores write exactly these, and audits expect exactly these.
func rows(p place, kind string, position uint64, facts record.Facts) [3]keyValue {
	return [3]keyValue{
		rowUnder(contentKey(kind, facts.ContentID), p),
		rowUnder(headerKey(kind, facts.Header), p),
		{positionKey(kind, position), p.append(nil)},
	}
}

// rowUnder returns the row of an entry under a prefix: the place is in the key, so that many entries under one prefix
// cost no more than as many under different ones.
func rowUnder(prefix string, p place) keyValue {
	return keyValue{string(p.append(append(make([]byte, 0, len(prefix)+placeText), prefix...))), nil}
}

// stored is the value under an entry's key: what this node alone knows of it, and the entry. That is the position, 8
// bytes, and the hops, 4 bytes, both big-endian, before the entry.
type stored struct {
	position uint64
	hops     uint32
	raw      []byte
}

const storedPrefix = 8 + 4

// encodeStored returns the value of an entry whose position is still to be set.
func encodeStored(e *ledger.Entry) []byte {
	return appendStored(make([]byte, 0, storedPrefix+e.Len()), e)
}

// appendStored is encodeStored into given room.
func appendStored(dst []byte, e *ledger.Entry) []byte {
	return e.Append(append(dst, make([]byte, storedPrefix)...))
}

func setPosition(value []byte, position uint64) { binary.BigEndian.PutUint64(value, position) }

func setHops(value []byte, hops uint32) { binary.BigEndian.PutUint32(value[8:], hops) }

func parseStored(value []byte) (stored, error) {
	if len(value) < storedPrefix {
		return stored{}, fmt.Errorf("%d bytes are too short for an entry", len(value))
	}
	st := stored{
		position: binary.BigEndian.Uint64(value),
		hops:     binary.BigEndian.Uint32(value[8:]),
		raw:      value[storedPrefix:],
	}
	if st.position >= ledger.MaxSeq {
		return stored{}, errors.New("local position is damaged")
	}
	if st.hops > ledger.MaxHops {
		return stored{}, errors.New("local hop count is damaged")
	}
	return st, nil
}

// head is the value under a log's key.
type head struct {
	number   uint32
	verified uint64 // signatures of entries below this are checked
	log      ledger.Log
}

const (
	headNumber   protowire.Number = 1
	headSize     protowire.Number = 2
	headHash     protowire.Number = 3
	headHeight   protowire.Number = 4
	headPeaks    protowire.Number = 5
	headVerified protowire.Number = 6
)

// size returns how many entries the log has; none where there is no head.
func (h *head) size() uint64 {
	if h == nil {
		return 0
	}
	return h.log.Size()
}

func logKey(o ledger.Origin) string { return prefixLog + hex.EncodeToString(o[:]) }

func (h *head) append(dst []byte) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headNumber, protowire.VarintType), uint64(h.number))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headSize, protowire.VarintType), h.log.Size())
	dst = protowire.AppendBytes(protowire.AppendTag(dst, headHash, protowire.BytesType), h.log.Head[:])
	dst = protowire.AppendVarint(protowire.AppendTag(dst, headHeight, protowire.VarintType), h.log.Height)
	dst = protowire.AppendTag(dst, headPeaks, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(h.log.Tree.Peaks())*ledger.HashSize))
	for _, peak := range h.log.Tree.Peaks() {
		dst = append(dst, peak[:]...)
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, headVerified, protowire.VarintType), h.verified)
}

func parseHead(key, value []byte) (*head, error) {
	h := new(head)
	text := key[len(prefixLog):]
	if len(text) != 2*len(h.log.Origin) {
		return nil, fmt.Errorf("key %q does not name an origin", key)
	}
	if _, err := hex.Decode(h.log.Origin[:], text); err != nil {
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
				h.number = uint32(v)
			case headSize:
				size = v
			case headHeight:
				h.log.Height = v
			case headVerified:
				h.verified = v
			}
		case protowire.BytesType:
			b, m := protowire.ConsumeBytes(at)
			if m < 0 {
				return nil, protowire.ParseError(m)
			}
			at = at[m:]
			switch field {
			case headHash:
				copy(h.log.Head[:], b)
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
	if h.log.Tree, err = ledger.NewTree(size, peaks); err != nil {
		return nil, err
	}
	if h.verified > size {
		return nil, fmt.Errorf("%d of %d signatures checked", h.verified, size)
	}
	if logKey(h.log.Origin) != string(key) || !bytes.Equal(h.append(nil), value) { // there is one way to write a head
		return nil, errors.New("not as pyvnode writes it")
	}
	return h, nil
}

func dsKey(key string) ds.Key { return ds.RawKey(key) }
