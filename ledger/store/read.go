package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store/raw"
)

// Stored is an entry with what this node alone knows of it.
type Stored struct {
	*ledger.Entry
	Position uint64 // among the records of its kind, in the order of arrival here
	Hops     uint32 // how often the record had been sent on when it came
}

// Ref returns the entry's place.
func (e *Stored) Ref() Ref { return Ref{e.Header.Origin, e.Header.Seq} }

// Get returns an entry by its place, or [ErrNotFound].
func (s *Store) Get(ctx context.Context, ref Ref) (*Stored, error) {
	s.mu.RLock()
	h, ok := s.logs[ref.Origin]
	s.mu.RUnlock()
	if !ok || ref.Seq >= h.Log.Size() {
		return nil, fmt.Errorf("entry %v: %w", ref, ErrNotFound)
	}
	return s.read(ctx, raw.Place{Log: h.Number, Seq: ref.Seq})
}

// GetAll returns the entries at places, in their order. It is for many: from another process they come together.
func (s *Store) GetAll(ctx context.Context, refs []Ref) ([]*Stored, error) {
	keys := make([]ds.Key, len(refs))
	for i, ref := range refs {
		s.mu.RLock()
		h, ok := s.logs[ref.Origin]
		s.mu.RUnlock()
		if !ok || ref.Seq >= h.Log.Size() {
			return nil, fmt.Errorf("entry %v: %w", ref, ErrNotFound)
		}
		keys[i] = raw.Key(raw.EntryKey(raw.Place{Log: h.Number, Seq: ref.Seq}))
	}
	values, err := getMany(ctx, s.ds, keys)
	if err != nil {
		return nil, err
	}
	entries := make([]*Stored, len(refs))
	for i, value := range values {
		if value == nil {
			return nil, damage(keys[i].String(), "entry %v is missing", refs[i])
		}
		if entries[i], err = decodeStored(keys[i].String(), value); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func (s *Store) read(ctx context.Context, p raw.Place) (*Stored, error) {
	key := raw.EntryKey(p)
	value, err := s.ds.Get(ctx, raw.Key(key))
	if err != nil {
		return nil, damage(key, "%v", err)
	}
	return decodeStored(key, value)
}

func decodeStored(key string, value []byte) (*Stored, error) {
	st, err := raw.ParseValue(value)
	if err != nil {
		return nil, damage(key, "%v", err)
	}
	e, err := ledger.DecodeEntry(st.Entry)
	if err != nil {
		return nil, damage(key, "%v", err)
	}
	return &Stored{Entry: e, Position: st.Position, Hops: st.Hops}, nil
}

// ByContent returns the places of all entries of a record, which its kind and its content name, log
// by log in the order in which the logs became known here. If the kind is empty, it returns those
// of all records with the content, kind by kind. None is no error.
func (s *Store) ByContent(ctx context.Context, kind string, id record.ContentID) ([]Ref, error) {
	return s.refs(ctx, raw.ContentKey(kind, id))
}

// ByHeader returns the places of all entries with a kind and record header, in the same order. More than one content
// among them is a header conflict.
func (s *Store) ByHeader(ctx context.Context, kind string, id uuid.UUID) ([]Ref, error) {
	return s.refs(ctx, raw.HeaderKey(kind, id))
}

// At returns the place of the record that arrived here as the position-th of its kind, from 0. Positions never change.
func (s *Store) At(ctx context.Context, kind string, position uint64) (Ref, error) {
	if position >= s.Count(kind) {
		return Ref{}, fmt.Errorf("record %d of kind %q: %w", position, kind, ErrNotFound)
	}
	key := raw.PositionKey(kind, position)
	value, err := s.ds.Get(ctx, raw.Key(key))
	if err != nil {
		return Ref{}, damage(key, "%v", err)
	}
	p, err := raw.ParsePlace(value)
	if err != nil {
		return Ref{}, damage(key, "%v", err)
	}
	ref, ok := s.ref(p)
	if !ok {
		return Ref{}, damage(key, "leads to entry %d of log %d, which is not here", p.Seq, p.Log)
	}
	return ref, nil
}

// Arrivals returns the places of the records of a kind that arrived at positions from (inclusive) to (exclusive), as far as
// there are any.
func (s *Store) Arrivals(ctx context.Context, kind string, from, to uint64) ([]Ref, error) {
	if to = min(to, s.Count(kind)); from >= to {
		return nil, nil
	}
	refs := make([]Ref, 0, to-from)
	for pair, err := range s.ds.Scan(ctx, raw.PositionKey(kind, from), raw.PositionKey(kind, to)) {
		if err != nil {
			return nil, err
		}
		key := raw.PositionKey(kind, from+uint64(len(refs)))
		if string(pair.Key) != key {
			break
		}
		p, err := raw.ParsePlace(pair.Value)
		if err != nil {
			return nil, damage(key, "%v", err)
		}
		ref, ok := s.ref(p)
		if !ok {
			return nil, damage(key, "leads to entry %d of log %d, which is not here", p.Seq, p.Log)
		}
		refs = append(refs, ref)
	}
	if have := from + uint64(len(refs)); have < to {
		return nil, damage(raw.PositionKey(kind, have), "it is missing")
	}
	return refs, nil
}

func (s *Store) refs(ctx context.Context, prefix string) ([]Ref, error) {
	places, err := scanPlaces(ctx, s.ds, prefix)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for _, p := range places {
		if ref, ok := s.ref(p); ok {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// ref names a place, unless it is not shown yet: a batch is on disk a moment before readers see it.
func (s *Store) ref(p raw.Place) (Ref, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if int64(p.Log) >= int64(len(s.byNum)) || p.Seq >= s.byNum[p.Log].Log.Size() {
		return Ref{}, false
	}
	return Ref{s.byNum[p.Log].Log.Origin, p.Seq}, true
}

// Count returns how many records of a kind are held.
func (s *Store) Count(kind string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.kinds[kind]
}

// Kinds returns the kinds of which records are held, in order.
func (s *Store) Kinds() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.kinds))
}

// TimeSpan bounds records by the time in their version-1 UUID headers, in units of 100 ns since 15 October 1582. Zero
// bounds are open; records whose headers carry no time are within a span only when From is 0.
type TimeSpan struct {
	From uint64 // inclusive
	To   uint64 // exclusive; 0 means no end
}

// Timed is a record header with the places of its entries.
type Timed struct {
	Header uuid.UUID
	Refs   []Ref
}

// ByTime yields the record headers of a kind in a span, earliest first.
func (s *Store) ByTime(ctx context.Context, kind string, span TimeSpan) iter.Seq2[Timed, error] {
	prefix := raw.PrefixHeader + kind + "/"
	lower, upper := string(raw.AppendHex([]byte(prefix), span.From, raw.TimeDigits)), raw.After(prefix)
	if span.To > 0 {
		upper = string(raw.AppendHex([]byte(prefix), span.To, raw.TimeDigits))
	}
	return func(yield func(Timed, error) bool) {
		var timed Timed
		for pair, err := range s.ds.Scan(ctx, lower, upper) {
			if err != nil {
				yield(Timed{}, err)
				return
			}
			id, p, err := parseHeaderRow(pair.Key[len(prefix):])
			if err != nil {
				yield(Timed{}, damage(string(pair.Key), "%v", err))
				return
			}
			ref, ok := s.ref(p)
			if !ok {
				continue
			}
			if id != timed.Header {
				if len(timed.Refs) > 0 && !yield(timed, nil) {
					return
				}
				timed = Timed{Header: id}
			}
			timed.Refs = append(timed.Refs, ref)
		}
		if len(timed.Refs) > 0 {
			yield(timed, nil)
		}
	}
}

// parseHeaderRow reads what follows the kind in a key of the header index.
func parseHeaderRow(rest []byte) (id uuid.UUID, p raw.Place, err error) {
	const uuidDigits = 32
	if len(rest) != raw.TimeDigits+uuidDigits+1+raw.PlaceText {
		return id, p, fmt.Errorf("%d characters after the kind", len(rest))
	}
	if _, err := hex.Decode(id[:], rest[raw.TimeDigits:raw.TimeDigits+uuidDigits]); err != nil {
		return id, p, err
	}
	p, err = raw.ParsePlace(rest[raw.TimeDigits+uuidDigits+1:])
	return id, p, err
}

// Log yields the entries of an origin's log with from ≤ seq < to, in order. Without such a log it yields nothing.
func (s *Store) Log(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for e, err := range s.Stored(ctx, o, from, to) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(e.Entry, nil) {
				return
			}
		}
	}
}

// Stored is Log with what this node alone knows of each entry.
func (s *Store) Stored(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*Stored, error] {
	return func(yield func(*Stored, error) bool) {
		s.mu.RLock()
		h, ok := s.logs[o]
		s.mu.RUnlock()
		if !ok {
			return
		}
		for pair, err := range s.scanLog(ctx, h, from, min(to, h.Log.Size())) {
			var stored *Stored
			if err == nil {
				stored, err = decodeStored(string(pair.Key), slices.Clone(pair.Value))
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(stored, nil) {
				return
			}
		}
	}
}

// scanLog yields the rows of all entries of a log with from ≤ seq < to; a row that is not there is an error.
func (s *Store) scanLog(ctx context.Context, h *raw.Head, from, to uint64) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		seq := from
		for pair, err := range s.ds.Scan(ctx, raw.EntryKey(raw.Place{Log: h.Number, Seq: from}), raw.EntryKey(raw.Place{Log: h.Number, Seq: to})) {
			if err != nil {
				yield(Pair{}, err)
				return
			}
			if raw.EntryKey(raw.Place{Log: h.Number, Seq: seq}) != string(pair.Key) {
				break
			}
			if !yield(pair, nil) {
				return
			}
			seq++
		}
		if seq < to {
			yield(Pair{}, damage(raw.EntryKey(raw.Place{Log: h.Number, Seq: seq}), "entry %d of %v is missing", seq, h.Log.Origin))
		}
	}
}

// Chain yields the entries that the frontier covers, in canonical order: all undisputed ones, and those disputed ones that
// they lead to.
func (s *Store) Chain(ctx context.Context) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for e, err := range s.Added(ctx, nil, s.Held()) {
			if !yield(e.Entry, err) || err != nil {
				return
			}
		}
	}
}

// LogInfo describes a log that is held.
type LogInfo struct {
	ledger.Citation        // of its head
	Verified        uint64 // entries below this have their signatures checked
	Undisputed      uint64 // entries below this are before the freeze, if there is one
}

// LogInfo returns what is known of one log; ok is false when nothing of it is held.
func (s *Store) LogInfo(o ledger.Origin) (info LogInfo, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.logs[o]
	if h.Size() == 0 {
		return LogInfo{}, false
	}
	return s.logInfo(h), true
}

// logInfo returns what is known of the log with a head. The caller holds mu.
func (s *Store) logInfo(h *raw.Head) LogInfo {
	return LogInfo{
		Citation:   ledger.Citation{Origin: h.Log.Origin, Seq: h.Log.Size() - 1, Hash: h.Log.Head, Height: h.Log.Height},
		Verified:   h.Verified,
		Undisputed: s.frozen[h.Log.Origin].undisputed(h.Log.Size()),
	}
}

// Logs returns all logs, by origin.
func (s *Store) Logs() []LogInfo {
	s.mu.RLock()
	infos := make([]LogInfo, 0, len(s.byNum))
	for _, h := range s.byNum {
		if h.Size() > 0 {
			infos = append(infos, s.logInfo(h))
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(infos, func(a, b LogInfo) int { return a.Origin.Compare(b.Origin) })
	return infos
}

// Unverified returns how many undisputed entries have signatures that are still to be checked.
func (s *Store) Unverified() (entries uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.byNum {
		undisputed := s.frozen[h.Log.Origin].undisputed(h.Size())
		entries += undisputed - min(undisputed, h.Verified)
	}
	return entries
}
