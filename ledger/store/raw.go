package store

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"strconv"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
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

// KindKey returns the key that counts the records of a kind, for messages.
func KindKey(kind string) string { return prefixKind + kind }

// EntryKey returns the key of an entry, for messages.
func EntryKey(log uint32, seq uint64) string { return entryKey(place{log, seq}) }

// OriginKey returns the key of a log, for messages.
func OriginKey(o ledger.Origin) string { return prefixLog + hex.EncodeToString(o[:]) }

// FrozenKey returns the key that says which evidence against an origin there must be, for messages.
func FrozenKey(o ledger.Origin) string { return prefixFrozen + hex.EncodeToString(o[:]) }
