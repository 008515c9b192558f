package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"pyvnode/ledger/record"
	"slices"
	"strconv"
	"strings"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// What follows reads a datastore as it is, for audits: nothing is trusted, and damage is a value, not the end.

// RawEntry is what stands under the key of an entry.
type RawEntry struct {
	Log      uint32 // number of the log, from the key
	Seq      uint64 // from the key
	Position uint64
	Bytes    []byte // of the entry; valid until the next step
	Err      error  // why the key or value cannot be read
}

// ScanEntries yields everything under the keys of entries, log by log in order of seq, from a place on. An error of the
// second kind is of the datastore itself and ends the scan.
func ScanEntries(ctx context.Context, d Datastore, log uint32, seq uint64) iter.Seq2[RawEntry, error] {
	return func(yield func(RawEntry, error) bool) {
		for pair, err := range d.Scan(ctx, entryKey(place{log, seq}), after(prefixEntry)) {
			if err != nil {
				yield(RawEntry{}, err)
				return
			}
			if !yield(rawEntry(pair.Key, pair.Value), nil) {
				return
			}
		}
	}
}

// GetEntry returns what stands under the key of one entry, or [ErrNotFound].
func GetEntry(ctx context.Context, d Datastore, log uint32, seq uint64) (RawEntry, error) {
	key := entryKey(place{log, seq})
	value, err := d.Get(ctx, dsKey(key))
	if errors.Is(err, ds.ErrNotFound) {
		return RawEntry{}, ErrNotFound
	}
	if err != nil {
		return RawEntry{}, err
	}
	return rawEntry([]byte(key), value), nil
}

func rawEntry(key, value []byte) RawEntry {
	p, err := parsePlace(key[min(len(key), len(prefixEntry)):])
	if err != nil {
		return RawEntry{Err: err}
	}
	st, err := parseStored(value)
	return RawEntry{Log: p.log, Seq: p.seq, Position: st.position, Bytes: st.raw, Err: err}
}

// RawHead is what stands under the key of a log.
type RawHead struct {
	Key      string
	Number   uint32
	Log      ledger.Log
	Verified uint64
	Err      error
}

// ScanHeads yields everything under the keys of logs.
func ScanHeads(ctx context.Context, d Datastore) iter.Seq2[RawHead, error] {
	return func(yield func(RawHead, error) bool) {
		for pair, err := range d.Scan(ctx, prefixLog, after(prefixLog)) {
			if err != nil {
				yield(RawHead{}, err)
				return
			}
			raw := RawHead{Key: string(pair.Key)}
			h, err := parseHead(pair.Key, pair.Value)
			if err != nil {
				raw.Err = err
			} else {
				raw.Number, raw.Log, raw.Verified = h.number, h.log, h.verified
			}
			if !yield(raw, nil) {
				return
			}
		}
	}
}

// ScanKinds yields how many records of each kind the store counts, or the error of a damaged count.
func ScanKinds(ctx context.Context, d Datastore) iter.Seq2[string, func() (uint64, error)] {
	return func(yield func(string, func() (uint64, error)) bool) {
		for pair, err := range d.Scan(ctx, prefixKind, after(prefixKind)) {
			count := func() (uint64, error) {
				if err != nil {
					return 0, err
				}
				return strconv.ParseUint(string(pair.Value), 10, 64)
			}
			if !yield(string(pair.Key[min(len(pair.Key), len(prefixKind)):]), count) || err != nil {
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

// AppendRows appends the forms that [Row.Append] gives to the rows of an entry, one after the other, and returns where
// each ends. It is [RowsOf] for audits, which need no more and ask for millions.
func AppendRows(dst []byte, log uint32, seq uint64, kind string, position uint64, facts record.Facts) (rows []byte, ends [3]int) {
	p := place{log, seq}
	dst = append(p.append(appendContentKey(dst, kind, facts.ContentID)), 0)
	ends[0] = len(dst)
	dst = append(p.append(appendHeaderKey(dst, kind, facts.Header)), 0)
	ends[1] = len(dst)
	dst = p.append(append(appendPositionKey(dst, kind, position), 0))
	ends[2] = len(dst)
	return dst, ends
}

// RowsOf returns the index rows that an entry must have, and [ScanRows] all that there are.
func RowsOf(log uint32, seq uint64, kind string, position uint64, facts record.Facts) [3]Row {
	var out [3]Row
	for i, r := range rows(place{log, seq}, kind, position, facts) {
		out[i] = Row{Key: []byte(r.key), Value: r.value, Log: log, Seq: seq}
	}
	return out
}

// Index is a part of the index rows.
type Index string

// The parts of the index rows, each under a prefix of its own.
const (
	ContentIndex  Index = prefixContent
	HeaderIndex   Index = prefixHeader
	PositionIndex Index = prefixPos
)

// ScanRows yields the rows of an index. A row that leads to no place comes with its error; an error with a row that has
// no key is of the datastore and ends the scan. Keys and values are valid until the next step.
func ScanRows(ctx context.Context, d Datastore, index Index) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for pair, err := range d.Scan(ctx, string(index), after(string(index))) {
			if err != nil {
				yield(Row{}, err)
				return
			}
			text := pair.Value
			if index != PositionIndex {
				text = pair.Key[max(0, len(pair.Key)-placeText):]
			}
			p, err := parsePlace(text)
			if !yield(Row{Key: pair.Key, Value: pair.Value, Log: p.log, Seq: p.seq}, err) {
				return
			}
		}
	}
}

// HasRow reports whether an index has a row.
func HasRow(ctx context.Context, d Datastore, r Row) (bool, error) {
	return hasRow(ctx, d, keyValue{string(r.Key), r.Value})
}

// ScanUnknown yields the keys that no version of this package writes.
func ScanUnknown(ctx context.Context, d Datastore) iter.Seq2[string, error] {
	known := []string{ // in order
		prefixBranch, prefixContent, prefixEntry, prefixFrozen, prefixHeader, prefixKind, prefixLog, prefixPos, prefixEvidence,
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
				if slices.Contains([]string{keyMeta, keyGenesis, keyFloor}, string(pair.Key)) {
					continue
				}
				if !yield(string(pair.Key), nil) {
					return
				}
			}
			if prefix != "" {
				lower = after(prefix)
			}
		}
	}
}

// RawFrozen is what stands under the key that says which evidence against an origin there must be.
type RawFrozen struct {
	Key    string
	Origin ledger.Origin // from the key; zero where it names none
	Seq    uint64        // of the evidence, as its ID
	ID     ledger.Hash
	Err    error
}

// Lacks reports whether evidence, nil where there is none, is not what there must be, nor better.
func (r *RawFrozen) Lacks(ev *proof.Evidence) bool {
	return ev == nil || cmp.Or(cmp.Compare(r.Seq, ev.Seq()), r.ID.Compare(ev.ID())) < 0
}

// ScanFrozen yields everything under the keys that say which evidence there must be.
func ScanFrozen(ctx context.Context, d Datastore) iter.Seq2[RawFrozen, error] {
	return func(yield func(RawFrozen, error) bool) {
		for pair, err := range d.Scan(ctx, prefixFrozen, after(prefixFrozen)) {
			if err != nil {
				yield(RawFrozen{}, err)
				return
			}
			raw := RawFrozen{Key: string(pair.Key)}
			var ok bool
			if raw.Origin, ok = parseOriginKey(raw.Key[len(prefixFrozen):]); !ok {
				raw.Err = errors.New("the key names no origin")
			} else if len(pair.Value) != 8+len(raw.ID) {
				raw.Err = fmt.Errorf("%d bytes name no evidence", len(pair.Value))
			} else {
				raw.Seq = binary.BigEndian.Uint64(pair.Value)
				copy(raw.ID[:], pair.Value[8:])
			}
			if !yield(raw, nil) {
				return
			}
		}
	}
}

// parseOriginKey reads an origin in the one way in which keys name it.
func parseOriginKey(text string) (o ledger.Origin, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(o) || hex.EncodeToString(raw) != text {
		return o, false
	}
	return ledger.Origin(raw), true
}

// RawEvidence is what stands under the key of evidence.
type RawEvidence struct {
	Key      string
	Origin   ledger.Origin   // from the key; zero where it names none
	Evidence *proof.Evidence // parsed, not verified; nil with an error
	Err      error
}

// ScanEvidence yields everything under the keys of evidence.
func ScanEvidence(ctx context.Context, d Datastore) iter.Seq2[RawEvidence, error] {
	return func(yield func(RawEvidence, error) bool) {
		for pair, err := range d.Scan(ctx, prefixEvidence, after(prefixEvidence)) {
			if err != nil {
				yield(RawEvidence{}, err)
				return
			}
			if !yield(rawEvidence(string(pair.Key), pair.Value), nil) {
				return
			}
		}
	}
}

func rawEvidence(key string, value []byte) RawEvidence {
	raw := RawEvidence{Key: key}
	raw.Origin, _ = parseOriginKey(key[len(prefixEvidence):])
	ev, err := proof.ParseEvidence(value)
	switch {
	case err != nil:
		raw.Err = err
	case ev.Origin() != raw.Origin:
		raw.Err = fmt.Errorf("it is against %v", ev.Origin())
	default:
		raw.Evidence = ev
	}
	return raw
}

// RawBranch is what stands under the key of an entry of another branch.
type RawBranch struct {
	Key    string
	Origin ledger.Origin // these three from the key; the hash is zero where it names no entry
	Seq    uint64
	Hash   ledger.Hash
	Entry  *ledger.Entry // decoded, not checked; nil with an error
	Err    error
}

// ScanBranches yields everything under the keys of entries of other branches.
func ScanBranches(ctx context.Context, d Datastore) iter.Seq2[RawBranch, error] {
	return func(yield func(RawBranch, error) bool) {
		for pair, err := range d.Scan(ctx, prefixBranch, after(prefixBranch)) {
			if err != nil {
				yield(RawBranch{}, err)
				return
			}
			if !yield(rawBranch(string(pair.Key), bytes.Clone(pair.Value)), nil) {
				return
			}
		}
	}
}

func rawBranch(key string, value []byte) RawBranch {
	raw := RawBranch{Key: key}
	raw.Origin, raw.Seq, raw.Hash, raw.Err = parseBranchKey(key)
	if raw.Err != nil {
		return raw
	}
	st, err := parseStored(value)
	if err == nil && (st.position != 0 || st.hops != branchHops) { // there is one way to write it
		err = fmt.Errorf("local position %d and hop count %d are damaged", st.position, st.hops)
	}
	var e *ledger.Entry
	if err == nil {
		e, err = ledger.DecodeEntry(st.raw)
	}
	if err == nil && (e.Header.Origin != raw.Origin || e.Header.Seq != raw.Seq || e.Hash != raw.Hash) {
		err = fmt.Errorf("it holds entry %d of %v with hash %s", e.Header.Seq, e.Header.Origin, e.Hash.Short())
	}
	if raw.Err = err; err == nil {
		raw.Entry = e
	}
	return raw
}

func parseBranchKey(key string) (o ledger.Origin, seq uint64, hash ledger.Hash, err error) {
	parts := strings.Split(key[len(prefixBranch):], "/")
	if len(parts) == 3 && len(parts[0]) == 2*len(o) && len(parts[2]) == 2*len(hash) {
		_, err1 := hex.Decode(o[:], []byte(parts[0]))
		number, err2 := strconv.ParseUint(parts[1], 16, 64)
		_, err3 := hex.Decode(hash[:], []byte(parts[2]))
		if errors.Join(err1, err2, err3) == nil && branchKey(o, number, hash) == key {
			return o, number, hash, nil
		}
	}
	return ledger.Origin{}, 0, ledger.Hash{}, errors.New("the key names no entry")
}

// KindKey returns the key that counts the records of a kind, for messages.
func KindKey(kind string) string { return prefixKind + kind }

// EntryKey returns the key of an entry, for messages.
func EntryKey(log uint32, seq uint64) string { return entryKey(place{log, seq}) }

// OriginKey returns the key of a log, for messages.
func OriginKey(o ledger.Origin) string { return prefixLog + hex.EncodeToString(o[:]) }

// FrozenKey returns the key that says which evidence against an origin there must be, for messages.
func FrozenKey(o ledger.Origin) string { return prefixFrozen + hex.EncodeToString(o[:]) }
