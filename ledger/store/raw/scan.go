package raw

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
)

// Entry is what stands under the key of an entry.
type Entry struct {
	Log      uint32 // number of the log, from the key
	Seq      uint64 // from the key
	Position uint64
	Bytes    []byte // of the entry; valid until the next step
	Err      error  // why the key or value cannot be read
}

// ScanEntries yields everything under the keys of entries, log by log in order of seq, from a place on. An error of the
// second kind is of the datastore itself and ends the scan.
func ScanEntries(ctx context.Context, d Reader, log uint32, seq uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for pair, err := range d.Scan(ctx, EntryKey(Place{Log: log, Seq: seq}), After(PrefixEntry)) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(entryOf(pair.Key, pair.Value), nil) {
				return
			}
		}
	}
}

// GetEntry returns what stands under the key of one entry, or [ds.ErrNotFound].
func GetEntry(ctx context.Context, d Reader, log uint32, seq uint64) (Entry, error) {
	key := EntryKey(Place{Log: log, Seq: seq})
	value, err := d.Get(ctx, Key(key))
	if errors.Is(err, ds.ErrNotFound) {
		return Entry{}, ds.ErrNotFound
	}
	if err != nil {
		return Entry{}, err
	}
	return entryOf([]byte(key), value), nil
}

func entryOf(key, value []byte) Entry {
	p, err := ParsePlace(key[min(len(key), len(PrefixEntry)):])
	if err != nil {
		return Entry{Err: err}
	}
	st, err := ParseValue(value)
	return Entry{Log: p.Log, Seq: p.Seq, Position: st.Position, Bytes: st.Entry, Err: err}
}

// HeadRow is what stands under the key of a log.
type HeadRow struct {
	Key      string
	Number   uint32
	Log      ledger.Log
	Verified uint64
	Err      error
}

// ScanHeads yields everything under the keys of logs.
func ScanHeads(ctx context.Context, d Reader) iter.Seq2[HeadRow, error] {
	return func(yield func(HeadRow, error) bool) {
		for pair, err := range d.Scan(ctx, PrefixLog, After(PrefixLog)) {
			if err != nil {
				yield(HeadRow{}, err)
				return
			}
			found := HeadRow{Key: string(pair.Key)}
			h, err := ParseHead(pair.Key, pair.Value)
			if err != nil {
				found.Err = err
			} else {
				found.Number, found.Log, found.Verified = h.Number, h.Log, h.Verified
			}
			if !yield(found, nil) {
				return
			}
		}
	}
}

// ScanKinds yields how many records of each kind the store counts, or the error of a damaged count.
func ScanKinds(ctx context.Context, d Reader) iter.Seq2[string, func() (uint64, error)] {
	return func(yield func(string, func() (uint64, error)) bool) {
		for pair, err := range d.Scan(ctx, PrefixKind, After(PrefixKind)) {
			count := func() (uint64, error) {
				if err != nil {
					return 0, err
				}
				return strconv.ParseUint(string(pair.Value), 10, 64)
			}
			if !yield(string(pair.Key[min(len(pair.Key), len(PrefixKind)):]), count) || err != nil {
				return
			}
		}
	}
}

// Row is a row of an index: a key, the value under it, and the entry that it leads to.
type Row struct {
	Key   []byte
	Value []byte
	Log   uint32
	Seq   uint64
}

// Append appends a form of the row in which different rows differ.
func (r Row) Append(dst []byte) []byte {
	return append(append(append(dst, r.Key...), 0), r.Value...)
}

// AppendRows appends the forms that [Row.Append] gives to the rows of an entry, one after the
// other, and returns the offset at which each ends. It is [RowsOf] for audits, which need no more
// and ask for millions.
func AppendRows(dst []byte, log uint32, seq uint64, kind string, position uint64, facts record.Facts) (rows []byte, ends [3]int) {
	p := Place{Log: log, Seq: seq}
	dst = append(p.Append(appendContentKey(dst, kind, facts.ContentID)), 0)
	ends[0] = len(dst)
	dst = append(p.Append(appendHeaderKey(dst, kind, facts.Header)), 0)
	ends[1] = len(dst)
	dst = p.Append(append(appendPositionKey(dst, kind, position), 0))
	ends[2] = len(dst)
	return dst, ends
}

// RowsOf returns the index rows that an entry must have, and [ScanRows] all that there are.
func RowsOf(log uint32, seq uint64, kind string, position uint64, facts record.Facts) [3]Row {
	var out [3]Row
	for i, r := range Rows(Place{Log: log, Seq: seq}, kind, position, facts) {
		out[i] = Row{Key: []byte(r.Key), Value: r.Value, Log: log, Seq: seq}
	}
	return out
}

// Index is a part of the index rows.
type Index string

// The parts of the index rows, each under a prefix of its own.
const (
	ContentIndex  Index = PrefixContent
	HeaderIndex   Index = PrefixHeader
	PositionIndex Index = PrefixPosition
)

// ScanRows yields the rows of an index. A row that leads to no place comes with its error; an error with a row that has
// no key is of the datastore and ends the scan. Keys and values are valid until the next step.
func ScanRows(ctx context.Context, d Reader, index Index) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for pair, err := range d.Scan(ctx, string(index), After(string(index))) {
			if err != nil {
				yield(Row{}, err)
				return
			}
			text := pair.Value
			if index != PositionIndex {
				text = pair.Key[max(0, len(pair.Key)-PlaceText):]
			}
			p, err := ParsePlace(text)
			if !yield(Row{Key: pair.Key, Value: pair.Value, Log: p.Log, Seq: p.Seq}, err) {
				return
			}
		}
	}
}

// HasRow reports whether an index has a row.
func HasRow(ctx context.Context, d Reader, key string, value []byte) (bool, error) {
	is, err := d.Get(ctx, Key(key))
	if errors.Is(err, ds.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	return bytes.Equal(is, value), nil
}

// ScanUnknown yields the keys that no version of this package writes.
func ScanUnknown(ctx context.Context, d Reader) iter.Seq2[string, error] {
	known := []string{ // in order
		PrefixBranch, PrefixContent, PrefixEntry, PrefixFrozen, PrefixHeader, PrefixKind, PrefixLog, PrefixPosition, PrefixEvidence,
	}
	return func(yield func(string, error) bool) {
		lower := "\x00" // not "", which Pebble takes for no bound and then trips over
		for _, prefix := range append(known, "") {
			upper := prefix
			if prefix == "" {
				upper = "\xff\xff\xff\xff"
			}
			for pair, err := range d.Scan(ctx, lower, upper) {
				if err != nil {
					yield("", err)
					return
				}
				if slices.Contains([]string{KeyMeta, KeyGenesis, KeyFloor}, string(pair.Key)) {
					continue
				}
				if !yield(string(pair.Key), nil) {
					return
				}
			}
			if prefix != "" {
				lower = After(prefix)
			}
		}
	}
}

// Frozen is what stands under the key that says which piece of evidence against an origin there
// must be.
type Frozen struct {
	Key    string
	Origin ledger.Origin // from the key; zero if it names none
	Seq    uint64        // of the evidence, as is its ID
	ID     ledger.Hash
	Err    error
}

// Lacks reports whether the evidence that this row asks for was lost. It takes the piece that was
// found, or nil if there was none. That piece will do if it is the very one, or a lesser one, which
// nodes prefer (see [proof.Evidence.Compare]).
func (r *Frozen) Lacks(ev *proof.Evidence) bool {
	return ev == nil || cmp.Or(cmp.Compare(r.Seq, ev.Seq()), r.ID.Compare(ev.ID())) < 0
}

// ScanFrozen yields everything under the keys that say which pieces of evidence there must be.
func ScanFrozen(ctx context.Context, d Reader) iter.Seq2[Frozen, error] {
	return func(yield func(Frozen, error) bool) {
		for pair, err := range d.Scan(ctx, PrefixFrozen, After(PrefixFrozen)) {
			if err != nil {
				yield(Frozen{}, err)
				return
			}
			found := Frozen{Key: string(pair.Key)}
			var ok bool
			if found.Origin, ok = parseOriginKey(found.Key[len(PrefixFrozen):]); !ok {
				found.Err = errors.New("the key names no origin")
			} else if len(pair.Value) != 8+len(found.ID) {
				found.Err = fmt.Errorf("%d bytes name no evidence", len(pair.Value))
			} else {
				found.Seq = binary.BigEndian.Uint64(pair.Value)
				copy(found.ID[:], pair.Value[8:])
			}
			if !yield(found, nil) {
				return
			}
		}
	}
}

// parseOriginKey reads an origin in the one way in which keys name it.
func parseOriginKey(text string) (o ledger.Origin, ok bool) {
	found, err := hex.DecodeString(text)
	if err != nil || len(found) != len(o) || hex.EncodeToString(found) != text {
		return o, false
	}
	return ledger.Origin(found), true
}

// Evidence is what stands under the key of a piece of evidence.
type Evidence struct {
	Key      string
	Origin   ledger.Origin   // from the key; zero if it names none
	Evidence *proof.Evidence // parsed, not verified; nil with an error
	Err      error
}

// ScanEvidence yields everything under the keys of evidence.
func ScanEvidence(ctx context.Context, d Reader) iter.Seq2[Evidence, error] {
	return func(yield func(Evidence, error) bool) {
		for pair, err := range d.Scan(ctx, PrefixEvidence, After(PrefixEvidence)) {
			if err != nil {
				yield(Evidence{}, err)
				return
			}
			if !yield(evidenceOf(string(pair.Key), pair.Value), nil) {
				return
			}
		}
	}
}

func evidenceOf(key string, value []byte) Evidence {
	found := Evidence{Key: key}
	found.Origin, _ = parseOriginKey(key[len(PrefixEvidence):])
	ev, err := proof.ParseEvidence(value)
	switch {
	case err != nil:
		found.Err = err
	case ev.Origin() != found.Origin:
		found.Err = fmt.Errorf("it is against %v", ev.Origin())
	default:
		found.Evidence = ev
	}
	return found
}

// Branch is what stands under the key of an entry of another branch.
type Branch struct {
	Key    string
	Origin ledger.Origin // these three from the key; the hash is zero if it names no entry
	Seq    uint64
	Hash   ledger.Hash
	Entry  *ledger.Entry // decoded, not checked; nil with an error
	Err    error
}

// ScanBranches yields everything under the keys of entries of other branches.
func ScanBranches(ctx context.Context, d Reader) iter.Seq2[Branch, error] {
	return func(yield func(Branch, error) bool) {
		for pair, err := range d.Scan(ctx, PrefixBranch, After(PrefixBranch)) {
			if err != nil {
				yield(Branch{}, err)
				return
			}
			if !yield(branchOf(string(pair.Key), bytes.Clone(pair.Value)), nil) {
				return
			}
		}
	}
}

func branchOf(key string, value []byte) Branch {
	found := Branch{Key: key}
	found.Origin, found.Seq, found.Hash, found.Err = parseBranchKey(key)
	if found.Err != nil {
		return found
	}
	st, err := ParseValue(value)
	if err == nil && (st.Position != 0 || st.Hops != BranchHops) { // there is one way to write it
		err = fmt.Errorf("local position %d and hop count %d are damaged", st.Position, st.Hops)
	}
	var e *ledger.Entry
	if err == nil {
		e, err = ledger.DecodeEntry(st.Entry)
	}
	if err == nil && (e.Header.Origin != found.Origin || e.Header.Seq != found.Seq || e.Hash != found.Hash) {
		err = fmt.Errorf("it holds entry %d of %v with hash %s", e.Header.Seq, e.Header.Origin, e.Hash.Short())
	}
	if found.Err = err; err == nil {
		found.Entry = e
	}
	return found
}

func parseBranchKey(key string) (o ledger.Origin, seq uint64, hash ledger.Hash, err error) {
	parts := strings.Split(key[len(PrefixBranch):], "/")
	if len(parts) == 3 && len(parts[0]) == 2*len(o) && len(parts[2]) == 2*len(hash) {
		_, err1 := hex.Decode(o[:], []byte(parts[0]))
		number, err2 := strconv.ParseUint(parts[1], 16, 64)
		_, err3 := hex.Decode(hash[:], []byte(parts[2]))
		if errors.Join(err1, err2, err3) == nil && BranchKey(o, number, hash) == key {
			return o, number, hash, nil
		}
	}
	return ledger.Origin{}, 0, ledger.Hash{}, errors.New("the key names no entry")
}

// Floor is what stands under the key of the floor.
type Floor struct {
	Key   string
	Entry *ledger.Entry // without its record; nil with an error
	Err   error
}

// ReadFloor returns the newest entry that the node's key is known to have signed; ok is false if none is kept. Its form
// and its signature are checked.
func ReadFloor(ctx context.Context, d Reader) (f Floor, ok bool, err error) {
	value, err := d.Get(ctx, Key(KeyFloor))
	if errors.Is(err, ds.ErrNotFound) {
		return Floor{}, false, nil
	}
	if err != nil {
		return Floor{}, false, fmt.Errorf("read %s: %w", KeyFloor, err)
	}
	f.Key = KeyFloor
	if len(value) < ed25519.SignatureSize {
		f.Err = fmt.Errorf("%d bytes are no signed header", len(value))
		return f, true, nil
	}
	var signature [ed25519.SignatureSize]byte
	copy(signature[:], value)
	e, err := ledger.DecodeStatement(slices.Clone(value[len(signature):]), signature)
	if err == nil && !e.VerifySignature() {
		err = errors.New("the signature is not that of its origin")
	}
	if err != nil {
		f.Err = err
		return f, true, nil
	}
	f.Entry = e
	return f, true, nil
}
