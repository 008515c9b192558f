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
	"maps"
	"slices"
	"strconv"
	"strings"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// Evidence against an origin freezes its log at the first disputed entry: from there on, entries are taken only where
// undisputed ones cite them, because those could not join otherwise. What was held before stays readable.
//
// Of each origin the least evidence is kept (see [proof.Evidence.Compare]), so all nodes that have seen the same keep the
// same. Disputed entries besides those that stand in the log as it is held here are kept by their hash, without rows in
// any index.

const (
	prefixEvidence = "/v/"      // <origin>: the evidence
	prefixBranch   = "/b/"      // <origin>/<seq>/<hash>: an entry of another branch
	prefixFrozen   = "/frozen/" // <origin>: seq, 8 bytes big-endian, and ID of the evidence
)

// branchHops is the hop count of entries of other branches, which come from a neighbour that was asked for them. It says
// nothing, and stands there so that there is one way to write them.
const branchHops = 1

func evidenceKey(o ledger.Origin) string { return prefixEvidence + hex.EncodeToString(o[:]) }

func branchKey(o ledger.Origin, seq uint64, hash ledger.Hash) string {
	key := append(hex.AppendEncode([]byte(prefixBranch), o[:]), '/')
	key = append(appendHex(key, seq, 12), '/')
	return string(hex.AppendEncode(key, hash[:]))
}

// frozenRow says which evidence there must be. It is written behind the evidence in the same batch, so that evidence which
// is lost is noticed when the store opens, as an entry is that the head of its log counts.
func frozenRow(ev *proof.Evidence) keyValue {
	id := ev.ID()
	return keyValue{FrozenKey(ev.Origin()), append(binary.BigEndian.AppendUint64(nil, ev.Seq()), id[:]...)}
}

// LostEvidenceError says that evidence was held and is not there any more. Without it the log of its origin would seem as
// good as others. The store does not open.
type LostEvidenceError struct {
	Origin ledger.Origin
	Seq    uint64      // where the log was frozen
	ID     ledger.Hash // of the evidence
}

func (e *LostEvidenceError) Error() string {
	return fmt.Sprintf("the ledger has lost evidence %v, which freezes the log of %v at entry %d", e.ID, e.Origin, e.Seq)
}

// FrozenError says that an entry is of the disputed part of a log.
type FrozenError struct {
	Entry    ledger.Citation
	Evidence *proof.Evidence
}

func (e *FrozenError) Error() string {
	return fmt.Sprintf("entry %d is disputed: the log of %v is frozen at %d, because it %s",
		e.Entry.Seq, e.Entry.Origin, e.Evidence.Seq(), e.Evidence.Reason())
}

// frozen is what follows from the evidence against an origin and from all entries that are durable. Readers get it whole;
// what changes is replaced.
type frozen struct {
	evidence *proof.Evidence
	before   ledger.Citation   // the newest undisputed entry, where the log goes on behind it; otherwise that is the head
	cited    ledger.Hash       // see ledger.Freeze
	disputed []ledger.Citation // all of them, in canonical order

	reached map[ledger.Hash]*reached // the same by hash; belongs to the committer
}

type reached struct {
	ledger.Citation
	followed bool // a later reached entry names it as predecessor
}

// undisputed returns how many entries of a log are before the freeze.
func (f *frozen) undisputed(size uint64) uint64 {
	if f == nil {
		return size
	}
	return min(size, f.evidence.Seq())
}

// undisputed returns how many entries of a log are before the freeze, if there is one.
func (s *Store) undisputed(h *head) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.frozen[h.log.Origin].undisputed(h.log.Size())
}

// AddEvidence keeps evidence and freezes the log that it is about, when it is durable. It reports false where evidence
// that is as good was held already. Evidence that does not verify is an error.
func (s *Store) AddEvidence(ctx context.Context, ev *proof.Evidence) (added bool, err error) {
	if held := s.EvidenceOf(ev.Origin()); held != nil && held.Compare(ev) <= 0 {
		return false, nil
	}
	if err := ev.Verify(s.genesis); err != nil {
		return false, err
	}
	p, err := s.enqueue(ctx, &request{evidence: ev})
	if err != nil {
		return false, err
	}
	r, err := p.Wait(ctx)
	return r.Joined > 0, err
}

// EvidenceOf returns the evidence against an origin, nil when there is none.
func (s *Store) EvidenceOf(o ledger.Origin) *proof.Evidence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.frozen[o]; f != nil {
		return f.evidence
	}
	return nil
}

// Evidence returns all evidence, by origin.
func (s *Store) Evidence() []*proof.Evidence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*proof.Evidence
	for _, o := range slices.SortedFunc(maps.Keys(s.frozen), ledger.Origin.Compare) {
		all = append(all, s.frozen[o].evidence)
	}
	return all
}

// Disputed reports whether an entry is at or behind the place where its log is frozen.
func (s *Store) Disputed(ref Ref) bool {
	ev := s.EvidenceOf(ref.Origin)
	return ev != nil && ref.Seq >= ev.Seq()
}

// IngestDisputed takes entries of the disputed parts of logs, which undisputed entries cite, in an order in which each
// comes after those it names. Other entries in between are taken as by [Store.Ingest], with the same errors.
func (s *Store) IngestDisputed(ctx context.Context, entries ...*ledger.Entry) (Result, error) {
	p, err := s.prepareDisputed(entries)
	if err != nil {
		return Result{}, err
	}
	p.SetHops(branchHops)
	pending, err := s.SubmitPrepared(ctx, p)
	if err != nil {
		return Result{}, err
	}
	return pending.Wait(ctx)
}

// prepareDisputed is [Store.Prepare] for entries that evidence, which is durable, disputes, and others between them.
func (s *Store) prepareDisputed(entries []*ledger.Entry) (*Prepared, error) {
	p := &Prepared{entries: make([]*checked, len(entries)), verified: true, disputed: true}
	checker := ledger.Checker{Genesis: s.genesis}
	for i, e := range entries {
		facts, err := checker.Check(e)
		// The citation that leads to a disputed entry is by its hash, signature included: a bad one is disputed like
		// the rest.
		if err == nil && !s.Disputed(Ref{e.Header.Origin, e.Header.Seq}) {
			err = e.CheckSignature()
		}
		if err != nil {
			return nil, err
		}
		p.entries[i] = newChecked(e, facts)
	}
	return p, nil
}

// Exact returns the entry with a hash at a place, in the log as it is held or on another branch, or [ErrNotFound].
func (s *Store) Exact(ctx context.Context, ref Ref, hash ledger.Hash) (*ledger.Entry, error) {
	return s.exact(ctx, ref, hash, s.Disputed(ref))
}

// exact is Exact where it is known whether the place is disputed. Where it is not there are no other branches, and nothing
// is read for an entry that is not there yet: many ask for those.
func (s *Store) exact(ctx context.Context, ref Ref, hash ledger.Hash, disputed bool) (*ledger.Entry, error) {
	e, err := s.Get(ctx, ref)
	switch {
	case err == nil && e.Hash == hash:
		return e.Entry, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	case !disputed:
		return nil, fmt.Errorf("entry %v with hash %s: %w", ref, hash.Short(), ErrNotFound)
	}
	key := branchKey(ref.Origin, ref.Seq, hash)
	value, err := s.ds.Get(ctx, dsKey(key))
	if errors.Is(err, ds.ErrNotFound) {
		return nil, fmt.Errorf("entry %v with hash %s: %w", ref, hash.Short(), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	stored, err := decodeStored(key, value)
	if err != nil {
		return nil, err
	}
	return stored.Entry, nil
}

// accept works on evidence in the builder.
func (b *builder) accept(r *request) {
	o := r.evidence.Origin()
	if held := b.evidence[o]; held != nil && held.Compare(r.evidence) <= 0 {
		return
	}
	b.evidence[o] = r.evidence
	b.cur.others = append(b.cur.others, keyValue{evidenceKey(o), r.evidence.Bytes()})
	b.cur.evidence = append(b.cur.evidence, r.evidence)
	delete(b.citable, o)
	r.result.Joined = 1
}

// frozenAt returns the evidence by which an entry is disputed.
func (b *builder) frozenAt(o ledger.Origin, seq uint64) (*proof.Evidence, bool) {
	ev, ok := b.evidence[o]
	return ev, ok && seq >= ev.Seq()
}

// exact looks an entry up by its hash, and returns its height. A place of a log that is not frozen holds one entry.
func (b *builder) exact(o ledger.Origin, seq uint64, hash ledger.Hash) (height uint64, held bool, err error) {
	if h, ok := b.head(o); ok && seq < h.log.Size() {
		is, err := b.citation(h, seq)
		if err != nil || is.Hash == hash {
			return is.Height, err == nil, err
		}
	}
	if _, disputed := b.frozenAt(o, seq); !disputed {
		return 0, false, nil
	}
	key := branchKey(o, seq, hash)
	value, ok := b.cur.branches[key]
	if !ok && b.prev != nil {
		value, ok = b.prev.branches[key]
	}
	if !ok {
		value, err = b.s.ds.Get(context.Background(), dsKey(key))
		if errors.Is(err, ds.ErrNotFound) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("read %s: %w", key, err)
		}
	}
	stored, err := decodeStored(key, value)
	if err != nil {
		return 0, false, err
	}
	return stored.Header.Height, true, nil
}

// missing returns what an entry cites that is not held. A citation with a wrong height is an [*ledger.InvalidError].
func (b *builder) missing(e *checked) ([]ledger.Citation, error) {
	var missing []ledger.Citation
	for _, c := range e.Header.Seen {
		height, held, err := b.exact(c.Origin, c.Seq, c.Hash)
		switch {
		case err != nil:
			return nil, err
		case !held:
			missing = append(missing, c)
		case height != c.Height:
			return nil, &ledger.InvalidError{Origin: e.Header.Origin, Seq: e.Header.Seq, Reason: ledger.ReasonCitation,
				Detail: fmt.Sprintf("cites entry %d of %v with height %d, it has %d", c.Seq, c.Origin, c.Height, height)}
		}
	}
	return missing, nil
}

// joinDisputed checks and adds an entry of the disputed part of a log. What it names must be held, and its height must
// follow; no more is asked, since nothing it says counts.
func (b *builder) joinDisputed(e *checked) (held bool, err error) {
	h := &e.Header
	if _, held, err := b.exact(h.Origin, h.Seq, e.Hash); held || err != nil {
		return held, err
	}
	missing, err := b.missing(e)
	if err != nil {
		return false, err
	}
	height := uint64(0)
	if h.Seq > 0 {
		var held bool
		if height, held, err = b.exact(h.Origin, h.Seq-1, h.Prev); err != nil {
			return false, err
		} else if !held {
			missing = append(missing, ledger.Citation{Origin: h.Origin, Seq: h.Seq - 1, Hash: h.Prev})
		}
	}
	if len(missing) > 0 {
		return false, &MissingError{Entry: e.Citation(), Missing: missing}
	}
	if want := ledger.NextHeight(height, h.Seen); h.Height != want {
		return false, &ledger.InvalidError{Origin: h.Origin, Seq: h.Seq, Reason: ledger.ReasonHeight,
			Detail: fmt.Sprintf("states %d, its predecessor and citations make it %d", h.Height, want)}
	}
	key := branchKey(h.Origin, h.Seq, e.Hash)
	setHops(e.value, branchHops)
	b.cur.branches[key] = e.value
	b.cur.others = append(b.cur.others, keyValue{key, e.value})
	b.cur.bytes += len(e.value)
	b.cur.count++
	return false, nil
}

// freeze works out what a durable batch changes about frozen logs. Evidence that moves a freeze is left to the freezer. It
// belongs to the committer, which holds the freezer's mu.
func (s *Store) freeze(ctx context.Context, b *batch) error {
	now := map[ledger.Origin]*frozen{}
	s.mu.RLock()
	maps.Copy(now, s.frozen)
	s.mu.RUnlock()
	changed := map[ledger.Origin]bool{}
	for _, ev := range b.evidence {
		o := ev.Origin()
		if f := now[o]; f != nil && f.evidence.Seq() == ev.Seq() {
			// It disputes what was disputed. A liar can make as much of it as he likes, so it must cost little.
			next := *f
			next.evidence = ev
			now[o], changed[o] = &next, true
		} else {
			s.freezer.add(ev)
		}
	}
	if len(now) == 0 {
		return nil
	}
	for _, c := range b.cites {
		if err := s.reach(ctx, now, c, false, changed); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	for o := range changed {
		now[o] = now[o].sorted()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = now
	s.version++
	s.notify()
	return nil
}

// refreeze works everything out from evidence and entries, when the store opens.
func (s *Store) refreeze(ctx context.Context, all map[ledger.Origin]*proof.Evidence) (map[ledger.Origin]*frozen, error) {
	now := map[ledger.Origin]*frozen{}
	lowest := uint64(ledger.MaxHeight) // height above which all disputed entries, and so all that cite them, are
	sizes := map[ledger.Origin]*head{}
	for _, h := range s.heads() {
		sizes[h.log.Origin] = h
	}
	for o, ev := range all {
		f := &frozen{evidence: ev, reached: map[ledger.Hash]*reached{}}
		now[o] = f
		h := sizes[o]
		if h == nil || ev.Seq() == 0 {
			lowest = 0
			continue
		}
		if h.log.Size() <= ev.Seq() {
			lowest = min(lowest, h.log.Height)
			continue
		}
		e, err := s.Get(ctx, Ref{o, ev.Seq() - 1})
		if err != nil {
			return nil, err
		}
		f.before = e.Citation()
		lowest = min(lowest, f.before.Height)
	}
	for o, h := range sizes {
		end := now[o].undisputed(h.log.Size())
		from, err := s.above(ctx, o, end, lowest)
		if err != nil {
			return nil, err
		}
		for c, err := range s.citations(ctx, h, from, end) {
			if err == nil {
				err = s.reach(ctx, now, c, false, nil)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for o, f := range now {
		now[o] = f.sorted()
	}
	return now, nil
}

// citations yields what the entries of a log with from ≤ seq < to cite.
func (s *Store) citations(ctx context.Context, h *head, from, to uint64) iter.Seq2[ledger.Citation, error] {
	return func(yield func(ledger.Citation, error) bool) {
		var seen []ledger.Citation
		for pair, err := range s.scanLog(ctx, h, from, to) {
			if err != nil {
				yield(ledger.Citation{}, err)
				return
			}
			st, err := parseStored(pair.Value)
			if err == nil {
				seen, err = ledger.AppendSeen(seen[:0], st.raw)
			}
			if err != nil {
				yield(ledger.Citation{}, damage(string(pair.Key), "%v", err))
				return
			}
			for _, c := range seen {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// above returns the first of a log's entries that is higher than a height. Heights rise within a log.
func (s *Store) above(ctx context.Context, o ledger.Origin, size, height uint64) (uint64, error) {
	low, high := uint64(0), size
	for low < high {
		mid := low + (high-low)/2
		e, err := s.Get(ctx, Ref{o, mid})
		if err != nil {
			return 0, err
		}
		if e.Header.Height > height {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}

// reach follows a citation into the disputed part of a log, and from there to all that leads to. Child says that it is no
// citation but what a reached entry names as predecessor.
func (s *Store) reach(ctx context.Context, now map[ledger.Origin]*frozen, c ledger.Citation, child bool, changed map[ledger.Origin]bool) error {
	for todo := []ledger.Citation{c}; len(todo) > 0; child = false {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		f := now[c.Origin]
		for f != nil && c.Seq >= f.evidence.Seq() {
			if r := f.reached[c.Hash]; r != nil {
				r.followed = r.followed || child
				break
			}
			e, err := s.exact(ctx, Ref{c.Origin, c.Seq}, c.Hash, true)
			if err != nil {
				return err
			}
			f.reached[c.Hash] = &reached{e.Citation(), child}
			if changed != nil {
				changed[c.Origin] = true
			}
			todo = append(todo, e.Header.Seen...)
			if c.Seq == 0 {
				break
			}
			c, child = ledger.Citation{Origin: c.Origin, Seq: c.Seq - 1, Hash: e.Header.Prev}, true
		}
	}
	return nil
}

// sorted returns the same with disputed and cited made anew.
func (f *frozen) sorted() *frozen {
	next := *f
	next.disputed = make([]ledger.Citation, 0, len(f.reached))
	var cited []ledger.Hash
	for hash, r := range f.reached {
		next.disputed = append(next.disputed, r.Citation)
		if !r.followed {
			cited = append(cited, hash)
		}
	}
	next.cited = ledger.CitedHash(cited)
	slices.SortFunc(next.disputed, func(a, b ledger.Citation) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.Seq, b.Seq), a.Hash.Compare(b.Hash))
	})
	return &next
}

// entries yields the disputed entries that undisputed ones lead to, in canonical order.
func (f *frozen) entries(ctx context.Context, s *Store) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for _, c := range f.disputed {
			e, err := s.Exact(ctx, Ref{c.Origin, c.Seq}, c.Hash)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// loadEvidence reads the evidence and works out what is frozen. It comes after the logs.
func (s *Store) loadEvidence(ctx context.Context, r *Recovery) error {
	all := map[ledger.Origin]*proof.Evidence{}
	for raw, err := range ScanEvidence(ctx, s.ds) {
		if err != nil {
			return err
		}
		if raw.Err == nil {
			raw.Err = raw.Evidence.Verify(s.genesis)
		}
		if raw.Err != nil {
			return damage(raw.Key, "%v", raw.Err)
		}
		all[raw.Evidence.Origin()] = raw.Evidence
	}
	listed := map[ledger.Origin]ledger.Hash{}
	for raw, err := range ScanFrozen(ctx, s.ds) {
		switch {
		case err != nil:
			return err
		case raw.Err != nil:
			return damage(raw.Key, "%v", raw.Err)
		case raw.Lacks(all[raw.Origin]):
			return &LostEvidenceError{raw.Origin, raw.Seq, raw.ID}
		}
		listed[raw.Origin] = raw.ID
	}
	var mend []keyValue
	for o, ev := range all {
		if listed[o] != ev.ID() {
			mend = append(mend, frozenRow(ev))
			r.Mended = append(r.Mended, fmt.Sprintf("evidence against %v was written but not listed", o))
		}
	}
	if len(mend) > 0 && !s.opts.ReadOnly {
		if err := writeBatch(s.ds, mend); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	var err error
	s.frozen, err = s.refreeze(ctx, all)
	return err
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
