package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store/raw"
)

// A record is its kind and its content, and may stand in several entries, because two nodes took it
// from the same client. The functions of this file count it once, in the place of the entry that
// arrived here first. Two records with one header are two: otherwise the first to use a header
// would hide what others publish under it.
//
// What they need beyond the indexes on disk is kept in memory, for each kind that somebody asks about: 8 bytes a record,
// made at the first question in about half a second for a million records.

// recordIndex knows the records of one kind among the entries that arrived first.
type recordIndex struct {
	busy    chan struct{} // holds a token while somebody reads or changes what follows
	seen    uint64        // entries; those at positions from here on are not in yet
	skipped []uint64      // in order: positions of entries whose record stood at an earlier one
	times   sortedTimes   // of the records' headers
}

// rescan says how many entries that are not in the index make it cheaper to begin anew than to look each up.
func (x *recordIndex) rescan(behind uint64) bool { return behind > 16+x.seen/100 }

// records locks the index of a kind when it is up to date. Release unlocks it.
func (s *Store) records(ctx context.Context, kind string) (x *recordIndex, release func(), err error) {
	s.mu.Lock()
	if s.indexes == nil {
		s.indexes = map[string]*recordIndex{}
	}
	if x = s.indexes[kind]; x == nil {
		if s.kinds[kind] == 0 {
			s.mu.Unlock() // what does not exist takes no memory
			return &recordIndex{}, func() {}, nil
		}
		x = &recordIndex{busy: make(chan struct{}, 1)}
		s.indexes[kind] = x
	}
	s.mu.Unlock()
	select {
	case x.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	release = func() { <-x.busy }
	if count := s.Count(kind); count > x.seen {
		if x.rescan(count - x.seen) {
			err = x.scan(ctx, s, kind)
		}
		for err == nil && x.seen < count {
			err = x.next(ctx, s, kind)
		}
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return x, release, nil
}

// scan makes the index from the keys of the header index. If that fails, it stays as it was.
func (x *recordIndex) scan(ctx context.Context, s *Store, kind string) error {
	snapshot, err := s.Snapshot()
	if err != nil {
		return err
	}
	defer func() { _ = snapshot.Close() }()
	fresh := recordIndex{}
	value, err := snapshot.Get(ctx, raw.Key(raw.PrefixKind+kind))
	if errors.Is(err, ds.ErrNotFound) {
		return nil
	}
	if err == nil {
		fresh.seen, err = strconv.ParseUint(string(value), 10, 64)
	}
	if err != nil {
		return damage(raw.PrefixKind+kind, "%v", err)
	}
	var id uuid.UUID
	var places []raw.Place
	take := func() error {
		if len(places) <= 1 {
			for range places {
				fresh.times.add(raw.UUIDTime(id))
			}
			return nil
		}
		entries := make([]*Stored, len(places))
		for i, p := range places {
			key := raw.EntryKey(p)
			value, err := snapshot.Get(ctx, raw.Key(key))
			if err != nil {
				return damage(key, "%v", err)
			}
			if entries[i], err = decodeStored(key, slices.Clone(value)); err != nil {
				return err
			}
		}
		firsts, later, err := sortOut(entries)
		if err != nil {
			return err
		}
		for range firsts {
			fresh.times.add(raw.UUIDTime(id))
		}
		for _, e := range later {
			fresh.skipped = append(fresh.skipped, e.Position)
		}
		return nil
	}
	prefix := raw.PrefixHeader + kind + "/"
	for pair, err := range snapshot.Scan(ctx, prefix, raw.After(prefix)) {
		if err != nil {
			return err
		}
		next, p, err := parseHeaderRow(pair.Key[len(prefix):])
		if err != nil {
			return damage(string(pair.Key), "%v", err)
		}
		if next != id || len(places) == 0 {
			if err := take(); err != nil {
				return err
			}
			id, places = next, places[:0]
		}
		places = append(places, p)
	}
	if err := take(); err != nil {
		return err
	}
	slices.Sort(fresh.skipped)
	x.seen, x.skipped, x.times = fresh.seen, fresh.skipped, fresh.times
	return nil
}

// next takes in the next entry.
func (x *recordIndex) next(ctx context.Context, s *Store, kind string) error {
	ref, err := s.At(ctx, kind, x.seen)
	if err != nil {
		return err
	}
	e, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	known, err := s.arrivedBefore(ctx, e)
	if err != nil {
		return err
	}
	if known {
		x.skipped = append(x.skipped, x.seen)
	} else {
		x.times.add(raw.UUIDTime(e.Header.RecordUUID))
	}
	x.seen++
	return nil
}

// arrivedBefore reports whether an earlier entry has the same record.
func (s *Store) arrivedBefore(ctx context.Context, e *Stored) (bool, error) {
	kind := e.Header.Kind
	if named, err := s.ByHeader(ctx, kind, e.Header.RecordUUID); err != nil || len(named) == 1 { // as nearly always, and less work
		return false, err
	}
	id, err := contentOf(e)
	if err != nil {
		return false, err
	}
	copies, err := s.ByContent(ctx, kind, id)
	for _, ref := range copies {
		if err != nil {
			break
		}
		var other *Stored
		if other, err = s.Get(ctx, ref); err == nil && other.Position < e.Position {
			return true, nil
		}
	}
	return false, err
}

func contentOf(e *Stored) (record.ContentID, error) {
	r, err := record.Parse(e.Record)
	if err != nil {
		return record.ContentID{}, fmt.Errorf("entry %v: %w", e.Ref(), err)
	}
	return r.ContentID()
}

// sortOut tells the entries that brought records of one kind here first from those that brought them again. Both are in
// the order of arrival.
func sortOut(entries []*Stored) (firsts, later []*Stored, err error) {
	slices.SortFunc(entries, func(a, b *Stored) int { return cmp.Compare(a.Position, b.Position) })
	known := map[record.ContentID]bool{}
	for _, e := range entries {
		id, err := contentOf(e)
		if err != nil {
			return nil, nil, err
		}
		if known[id] {
			later = append(later, e)
		} else {
			firsts = append(firsts, e)
		}
		known[id] = true
	}
	return firsts, later, nil
}

// firsts returns the records among the entries at places of one kind, each as the entry that brought it here first of
// these, in the order of arrival.
func (s *Store) firsts(ctx context.Context, refs []Ref) ([]*Stored, error) {
	entries, err := s.GetAll(ctx, refs)
	if err != nil || len(entries) <= 1 {
		return entries, err
	}
	firsts, _, err := sortOut(entries)
	return firsts, err
}

// Named returns the record with a header, as the entry that brought it here, or [ErrNotFound]. Of
// several records with the header it is the one in this node's own log, so that its clients get
// what they put. Without such a one it is the record that arrived here first.
func (s *Store) Named(ctx context.Context, kind string, id uuid.UUID) (*Stored, error) {
	refs, err := s.ByHeader(ctx, kind, id)
	if err == nil && len(refs) == 0 {
		err = fmt.Errorf("record %v of kind %q: %w", id, kind, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if own := slices.IndexFunc(refs, func(r Ref) bool { return r.Origin == s.origin }); own >= 0 {
		return s.Get(ctx, refs[own])
	}
	firsts, err := s.firsts(ctx, refs)
	if err != nil {
		return nil, err
	}
	return firsts[0], nil
}

// RecordCount returns how many records of a kind are held.
func (s *Store) RecordCount(ctx context.Context, kind string) (uint64, error) {
	x, release, err := s.records(ctx, kind)
	if err != nil {
		return 0, err
	}
	defer release()
	return x.seen - uint64(len(x.skipped)), nil
}

// RecordAt returns the place of the n-th record of a kind in the order of arrival, from 0, or [ErrNotFound]. A record's
// number never changes.
func (s *Store) RecordAt(ctx context.Context, kind string, n uint64) (Ref, error) {
	x, release, err := s.records(ctx, kind)
	if err != nil {
		return Ref{}, err
	}
	defer release()
	if n >= x.seen-uint64(len(x.skipped)) {
		return Ref{}, fmt.Errorf("record %d of kind %q: %w", n, kind, ErrNotFound)
	}
	// skipped[i]-i records stand before the i-th skipped position.
	before := sort.Search(len(x.skipped), func(i int) bool { return x.skipped[i]-uint64(i) > n })
	return s.At(ctx, kind, n+uint64(before))
}

// RecordNumber returns the number by which [Store.RecordAt] finds a record, or [ErrNotFound].
func (s *Store) RecordNumber(ctx context.Context, kind string, id uuid.UUID) (uint64, error) {
	named, err := s.Named(ctx, kind, id)
	if err != nil {
		return 0, err
	}
	content, err := contentOf(named)
	if err != nil {
		return 0, err
	}
	refs, err := s.ByContent(ctx, kind, content)
	if err != nil {
		return 0, err
	}
	copies, err := s.GetAll(ctx, refs)
	if err != nil {
		return 0, err
	}
	for _, e := range copies { // a record has the number of the entry that brought it here first
		if e.Position < named.Position {
			named = e
		}
	}
	x, release, err := s.records(ctx, kind)
	if err != nil {
		return 0, err
	}
	defer release()
	before, _ := slices.BinarySearch(x.skipped, named.Position)
	return named.Position - uint64(before), nil
}

// RecordsIn returns how many records of a kind have headers with a time in a span.
func (s *Store) RecordsIn(ctx context.Context, kind string, span TimeSpan) (uint64, error) {
	x, release, err := s.records(ctx, kind)
	if err != nil {
		return 0, err
	}
	defer release()
	return x.times.in(span), nil
}

// Latest returns the headers of the records of a kind in a span of time, latest arrival first; one that two records have
// twice. When there are more than limit it returns none of them, and true.
func (s *Store) Latest(ctx context.Context, kind string, span TimeSpan, limit int) (headers []uuid.UUID, more bool, err error) {
	n, err := s.RecordsIn(ctx, kind, span)
	if err != nil || n > uint64(limit) {
		return nil, err == nil, err
	}
	type arrived struct {
		id       uuid.UUID
		position uint64
	}
	var all []arrived
	for timed, err := range s.ByTime(ctx, kind, span) {
		if err != nil {
			return nil, false, err
		}
		firsts, err := s.firsts(ctx, timed.Refs)
		if err != nil {
			return nil, false, err
		}
		if len(all)+len(firsts) > limit {
			return nil, true, nil // some came meanwhile
		}
		for _, e := range firsts {
			all = append(all, arrived{timed.Header, e.Position})
		}
	}
	slices.SortFunc(all, func(a, b arrived) int { return cmp.Compare(b.position, a.position) })
	for _, a := range all {
		headers = append(headers, a.id)
	}
	return headers, false, nil
}

// sortedTimes is a multiset of times of which those in a span are quickly counted. It is made of
// blocks that are sorted, each after the one before.
type sortedTimes struct{ blocks [][]uint64 }

const timesBlock = 1024

// add adds a time. Most come after all others.
func (t *sortedTimes) add(time uint64) {
	last := len(t.blocks) - 1
	if last < 0 || len(t.blocks[last]) == timesBlock && time >= t.blocks[last][timesBlock-1] {
		t.blocks = append(t.blocks, append(make([]uint64, 0, timesBlock), time))
		return
	}
	b, _ := slices.BinarySearchFunc(t.blocks[:last], time, func(block []uint64, time uint64) int {
		return cmp.Compare(block[len(block)-1], time)
	})
	block := t.blocks[b]
	if len(block) == timesBlock {
		upper := append(make([]uint64, 0, timesBlock), block[timesBlock/2:]...)
		t.blocks[b] = block[:timesBlock/2]
		t.blocks = slices.Insert(t.blocks, b+1, upper)
		if time > t.blocks[b][timesBlock/2-1] {
			b++
		}
		block = t.blocks[b]
	}
	i, _ := slices.BinarySearch(block, time)
	t.blocks[b] = slices.Insert(block, i, time)
}

// before returns how many times are less than one.
func (t *sortedTimes) before(time uint64) (n uint64) {
	for _, block := range t.blocks {
		if block[len(block)-1] < time {
			n += uint64(len(block))
			continue
		}
		i, _ := slices.BinarySearch(block, time)
		return n + uint64(i)
	}
	return n
}

// in returns how many times are in a span.
func (t *sortedTimes) in(span TimeSpan) uint64 {
	var all uint64
	if span.To > 0 {
		all = t.before(span.To)
	} else {
		for _, block := range t.blocks {
			all += uint64(len(block))
		}
	}
	return all - min(all, t.before(span.From))
}
