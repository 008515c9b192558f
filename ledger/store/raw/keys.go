package raw

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// FormatVersion is the version of the layout of keys and values. A store of another version is refused.
const FormatVersion = 2

// Keys of which there is one, and the prefixes of the others: see the package's description.
const (
	KeyMeta    = "/meta"
	KeyGenesis = "/genesis"
	KeyFloor   = "/floor"

	PrefixLog      = "/log/"
	PrefixKind     = "/kind/"
	PrefixEntry    = "/e/"
	PrefixEvidence = "/v/"
	PrefixFrozen   = "/frozen/"
	PrefixBranch   = "/b/"
	PrefixContent  = "/c/"
	PrefixHeader   = "/h/"
	PrefixPosition = "/p/"
)

// After is the least key beyond all keys with a prefix that ends in '/'.
func After(prefix string) string { return prefix[:len(prefix)-1] + "0" }

// Place is where an entry stands: the number this store gave to its log, and the entry's sequence number. As text it
// is "<log>/<seq>" in 8 and 12 hex digits.
type Place struct {
	Log uint32
	Seq uint64
}

// PlaceText is the length of a place as text.
const PlaceText = 8 + 1 + 12

// Append appends the place as text.
func (p Place) Append(dst []byte) []byte {
	return AppendHex(append(AppendHex(dst, uint64(p.Log), 8), '/'), p.Seq, 12)
}

// ParsePlace reads what [Place.Append] writes.
func ParsePlace(text []byte) (Place, error) {
	if len(text) != PlaceText {
		return Place{}, fmt.Errorf("%q names no place", text)
	}
	log, err1 := strconv.ParseUint(string(text[:8]), 16, 32)
	seq, err2 := strconv.ParseUint(string(text[9:]), 16, 64)
	p := Place{Log: uint32(log), Seq: seq}
	if err1 != nil || err2 != nil || !bytes.Equal(p.Append(nil), text) { // there is one way to write a place
		return Place{}, fmt.Errorf("%q names no place", text)
	}
	return p, nil
}

// AppendHex appends a number with a fixed count of hex digits, 16 at most.
func AppendHex(dst []byte, value uint64, digits int) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], value)
	var text [16]byte
	hex.Encode(text[:], b[:])
	return append(dst, text[16-digits:]...)
}

// LogEntries is the prefix of the keys of all entries of a log.
func LogEntries(log uint32) string {
	return string(append(AppendHex([]byte(PrefixEntry), uint64(log), 8), '/'))
}

// EntryKey returns the key of an entry.
func EntryKey(p Place) string {
	return string(p.Append(append(make([]byte, 0, len(PrefixEntry)+PlaceText), PrefixEntry...)))
}

// ContentKey is the prefix of the rows of all entries with a record: kind and content are its identity. Without a kind it
// is the prefix of the rows of all records with a content, each followed by its kind.
func ContentKey(kind string, id record.ContentID) string {
	return string(appendContentKey(make([]byte, 0, 128), kind, id))
}

func appendContentKey(dst []byte, kind string, id record.ContentID) []byte {
	dst = append(hex.AppendEncode(append(dst, PrefixContent...), id[:]), '/')
	if kind == "" {
		return dst
	}
	return append(append(dst, kind...), '/')
}

// HeaderKey is the prefix of the rows of all entries with a kind and record header. It sorts the records of a kind by
// the time in their UUIDs.
func HeaderKey(kind string, id uuid.UUID) string {
	return string(appendHeaderKey(make([]byte, 0, 128), kind, id))
}

func appendHeaderKey(dst []byte, kind string, id uuid.UUID) []byte {
	dst = append(append(append(dst, PrefixHeader...), kind...), '/')
	return append(hex.AppendEncode(AppendHex(dst, UUIDTime(id), TimeDigits), id[:]), '/')
}

// TimeDigits are the hex digits of the 60-bit time of a version-1 UUID.
const TimeDigits = 15

// UUIDTime returns the time of a version-1 UUID in units of 100 ns since 15 October 1582 (RFC 9562
// §5.1), and 0 for other versions, which carry none.
func UUIDTime(id uuid.UUID) uint64 {
	if id.Version() != 1 || id.Variant() != uuid.RFC4122 {
		return 0
	}
	return uint64(id.Time())
}

// PositionKey returns the key of the record that arrived as the position-th of its kind.
func PositionKey(kind string, position uint64) string {
	return string(appendPositionKey(make([]byte, 0, 96), kind, position))
}

func appendPositionKey(dst []byte, kind string, position uint64) []byte {
	return AppendHex(append(append(append(dst, PrefixPosition...), kind...), '/'), position, 12)
}

// Rows returns all index rows of an entry. Stores write exactly these, and audits expect exactly these.
func Rows(p Place, kind string, position uint64, facts record.Facts) [3]KeyValue {
	return [3]KeyValue{
		RowUnder(ContentKey(kind, facts.ContentID), p),
		RowUnder(HeaderKey(kind, facts.Header), p),
		{Key: PositionKey(kind, position), Value: p.Append(nil)},
	}
}

// RowUnder returns the row of an entry under a prefix: the place is in the key, so that many entries under one prefix
// cost no more than as many under different ones.
func RowUnder(prefix string, p Place) KeyValue {
	return KeyValue{Key: string(p.Append(append(make([]byte, 0, len(prefix)+PlaceText), prefix...))), Value: nil}
}

// Key returns the form in which a datastore takes a key.
func Key(key string) ds.Key { return ds.RawKey(key) }

// EvidenceKey returns the key of the piece of evidence against an origin.
func EvidenceKey(o ledger.Origin) string { return PrefixEvidence + hex.EncodeToString(o[:]) }

// BranchKey returns the key of an entry of another branch.
func BranchKey(o ledger.Origin, seq uint64, hash ledger.Hash) string {
	key := append(hex.AppendEncode([]byte(PrefixBranch), o[:]), '/')
	key = append(AppendHex(key, seq, 12), '/')
	return string(hex.AppendEncode(key, hash[:]))
}

// KindKey returns the key that counts the records of a kind.
func KindKey(kind string) string { return PrefixKind + kind }

// FrozenKey returns the key that says which piece of evidence against an origin there must be.
func FrozenKey(o ledger.Origin) string { return PrefixFrozen + hex.EncodeToString(o[:]) }

// KeyValue is a key and what is to stand under it.
type KeyValue struct {
	Key   string
	Value []byte
}

// LogKey returns the key of a log.
func LogKey(o ledger.Origin) string { return PrefixLog + hex.EncodeToString(o[:]) }
