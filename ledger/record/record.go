package record

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The top-level keys that have a meaning (docs/original-protocol.md §6).
// [Record] says what each holds.
const (
	KeyHeader     = "header"
	KeyPayload    = "PayLoad"
	KeyNow        = "now"
	KeyStamp      = "stamp"
	KeyISO        = "iso"
	KeyReplicated = "Replicated"
	KeyHash       = "_Hash"
	KeyPowRand    = "_PowRand"
	KeyProof      = "_Proof"
	KeyPrevHash   = "_PrevHash"
	KeyLink       = "_Link"
)

// A role is what a top-level key means; it says which hashes cover it.
type role uint8

const (
	roleOther role = iota // unknown keys, and now, stamp and iso
	roleHeader
	rolePayload
	roleReplicated
	roleHash
	rolePowRand
	roleProof
	rolePrevHash
	roleLink
	numRoles
)

func roleOf[T string | []byte](key T) role {
	switch string(key) {
	case KeyHeader:
		return roleHeader
	case KeyPayload:
		return rolePayload
	case KeyReplicated:
		return roleReplicated
	case KeyHash:
		return roleHash
	case KeyPowRand:
		return rolePowRand
	case KeyProof:
		return roleProof
	case KeyPrevHash:
		return rolePrevHash
	case KeyLink:
		return roleLink
	}
	return roleOther
}

// A roleSet is a set of roles, by bit.
type roleSet uint16

func roles(rs ...role) (set roleSet) {
	for _, r := range rs {
		set |= 1 << r
	}
	return set
}

func (s roleSet) has(r role) bool { return s>>r&1 != 0 }

// What each of the hashes leaves out (docs/original-protocol.md §6; the content
// ID is ours).
var (
	notInHash  = roles(roleHash, rolePrevHash, roleLink, rolePowRand, roleProof, roleReplicated)
	notInProof = roles(roleHash, rolePrevHash, roleLink, roleProof, roleReplicated)
	notInLink  = roles(roleHash, roleLink, roleProof, roleReplicated)
	notInID    = roles(roleReplicated, rolePrevHash, roleLink, rolePowRand, roleProof)
)

// isExtra reports whether key is not one that original clients write.
func isExtra(key string) bool {
	return roleOf(key) == roleOther && key != KeyNow && key != KeyStamp && key != KeyISO
}

// A Record is a record as a dict that can be looked at and changed. It need
// not be a valid one: [Checker.Check] decides that.
//
//	header      text of a UUID, the record's name
//	PayLoad     dict, what the record is for
//	now         text, the time of making as "Sun, 22 Nov 2026 01:22:44"
//	stamp       text, the same in Unix seconds as "1795310564.0"
//	iso         text, the same as "2026-11-22T01:22:44"
//	Replicated  int, how often original servers sent it on
//	_Hash       see ComputeHash
//	_PowRand    bytes, varied until _Proof is strong enough
//	_Proof      see ComputeProof
//	_PrevHash   text, optional: the _Link of another record
//	_Link       optional, see ComputeLink
//
// Other keys are allowed, as the original allows them; the hashes cover them.
// A Record is not for use by several goroutines while one changes it.
//
// The zero value is an empty record.
type Record struct{ dict Dict }

// Parse reads a packed record: one dict whose top-level keys are text, in any
// order. It does not check hash and proof, nor that anything is there at all.
// The error is an [*Error] of reason [TooLarge] over [MaxRecord], of
// [NotRecord], or as from [Unpack].
func Parse(packed []byte) (*Record, error) {
	if err := checkSize(len(packed)); err != nil {
		return nil, err
	}
	vs, err := Unpack(packed)
	if err != nil {
		return nil, err
	}
	if len(vs) != 1 {
		return nil, errorf(NotRecord, "packed text holds %d items, want one dict", len(vs))
	}
	d, ok := vs[0].(*Dict)
	if !ok {
		return nil, errorf(NotRecord, "packed text holds %s, want a dict", kind(letterOf(vs[0])))
	}
	if err := checkKeys(d); err != nil {
		return nil, err
	}
	return &Record{*d}, nil
}

// FromDict makes a record of a copy of d, in which every float is rounded to
// the six decimals with which it travels: a proof over more decimals would
// fail for everyone else. The error is an [*Error] of reason [NotRecord] where
// a top-level key is not text, or as from [AppendPack] or [Record.Normal].
func FromDict(d *Dict) (*Record, error) {
	if _, err := AppendPack(nil, d); err != nil {
		return nil, err
	}
	if err := checkKeys(d); err != nil {
		return nil, err
	}
	r := &Record{*travelled(d).(*Dict)}
	if _, err := r.Normal(); err != nil {
		return nil, err
	}
	return r, nil
}

func checkSize(n int) error {
	if n > MaxRecord {
		return errorf(TooLarge, "the record has %d bytes, at most %d are allowed", n, MaxRecord)
	}
	return nil
}

func checkKeys(d *Dict) error {
	for key := range d.All() {
		if _, ok := key.(Text); !ok {
			return errorf(NotRecord, "top-level key %s is %s, want text", shown(PythonStr(key)), kind(letterOf(key)))
		}
	}
	return nil
}

// Dict returns the record's dict itself, not a copy.
func (r *Record) Dict() *Dict { return &r.dict }

// Get returns the value under a top-level key, and whether there is one.
func (r *Record) Get(key string) (Value, bool) { return r.dict.Get(Text(key)) }

// Set puts a value under a top-level key. It does not update any hash.
func (r *Record) Set(key string, v Value) { r.dict.Set(Text(key), v) }

// Delete removes a top-level key.
func (r *Record) Delete(key string) { r.dict.Delete(Text(key)) }

// text returns the text under key, and whether it is there and text.
func (r *Record) text(key string) (string, bool) {
	v, _ := r.Get(key)
	t, ok := v.(Text)
	return string(t), ok
}

// Header returns the record's UUID. The error is an [*Error] of reason
// [BadHeader] where it is missing or not written in canonical form: 36
// characters, hyphenated, in lower case.
func (r *Record) Header() (uuid.UUID, error) {
	v, ok := r.Get(KeyHeader)
	if !ok {
		return uuid.UUID{}, errorf(BadHeader, "there is no header")
	}
	text, ok := v.(Text)
	if !ok {
		return uuid.UUID{}, errorf(BadHeader, "header is %s, want text", kind(letterOf(v)))
	}
	id, ok := parseUUID(text)
	if !ok {
		return uuid.UUID{}, errorf(BadHeader, "header is %s, want a UUID in lower case with hyphens", shown(text))
	}
	return id, nil
}

// Payload returns the PayLoad dict itself, nil where there is none.
func (r *Record) Payload() *Dict {
	v, _ := r.Get(KeyPayload)
	d, _ := v.(*Dict)
	return d
}

// parseUUID reads the canonical form only: what is compared as text must have
// one spelling.
func parseUUID[T ~string | ~[]byte](text T) (id uuid.UUID, ok bool) {
	if len(text) != 36 {
		return id, false
	}
	n := 0 // hex digits read
	for i := range len(text) {
		c := text[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return id, false
			}
			continue
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return id, false
		}
		id[n/2] = id[n/2]<<4 | c
		n++
	}
	return id, true
}

// HeaderTime returns the time inside a version-1 UUID, in UTC and to 100 ns;
// the zero time for UUIDs of other versions. Lists by time go by it
// (docs/original-protocol.md §6). It is what the maker's clock said.
func HeaderTime(id uuid.UUID) time.Time {
	if id.Version() != 1 || id.Variant() != uuid.RFC4122 {
		return time.Time{}
	}
	return time.Unix(id.Time().UnixTime()).UTC()
}

// Normal returns the record in normal form, the only form that is stored and
// hashed: packed as one dict item, top-level keys sorted bytewise, Replicated
// the int 0 whatever it was before, and added if it was absent. Nested dicts
// keep their order. So the same record that came by two routes has the same
// bytes. The record itself stays as it is.
//
// The error is an [*Error] of reason [TooLarge] over [MaxRecord], of reason
// [NotRecord] where a top-level key is not text, or as from [AppendPack].
func (r *Record) Normal() ([]byte, error) {
	if err := checkKeys(&r.dict); err != nil {
		return nil, err
	}
	d := r.sorted(0)
	d.Set(Text(KeyReplicated), Int{})
	d.sort()
	packed, err := AppendPack(nil, d)
	if err != nil {
		return nil, err
	}
	if err := checkSize(len(packed)); err != nil {
		return nil, err
	}
	return packed, nil
}

// sorted returns a new dict of the keys whose role is not in without, sorted
// bytewise. Values are shared.
func (r *Record) sorted(without roleSet) *Dict {
	d := new(Dict)
	for key, val := range r.dict.All() {
		if text, ok := key.(Text); ok && without.has(roleOf(string(text))) {
			continue
		}
		d.Set(key, val)
	}
	d.sort()
	return d
}

// sort sorts a dict by its keys, which are text in every record that can be
// packed; other keys come last.
func (d *Dict) sort() {
	slices.SortStableFunc(d.pairs, func(a, b pair) int {
		at, aok := a.key.(Text)
		bt, bok := b.key.(Text)
		switch {
		case aok && bok:
			return strings.Compare(string(at), string(bt))
		case aok:
			return -1
		case bok:
			return 1
		}
		return 0
	})
	if d.index != nil {
		d.reindex()
	}
}
