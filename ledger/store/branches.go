package store

import (
	"context"
	"errors"
	"fmt"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store/raw"
)

// A disputed entry that came before the evidence stands in the log as it is held. This file keeps
// the others: entries of other branches, by their hash and without rows in any index. See
// evidence.go for the story.

// IngestDisputed takes entries of the disputed parts of logs, which undisputed entries cite, in an order in which each
// comes after those it names. Other entries in between are taken as by [Store.Ingest], with the same errors.
func (s *Store) IngestDisputed(ctx context.Context, entries ...*ledger.Entry) (Result, error) {
	p, err := s.prepareDisputed(entries)
	if err != nil {
		return Result{}, err
	}
	p.SetHops(raw.BranchHops)
	pending, err := s.SubmitPrepared(ctx, p)
	if err != nil {
		return Result{}, err
	}
	return pending.Wait(ctx)
}

// prepareDisputed is [Store.Prepare] for entries that durable evidence disputes, and for others
// between them.
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

// ingestDisputed takes an entry at or after a freeze, if that was asked for.
func (b *builder) ingestDisputed(r *request, e *checked, ev *proof.Evidence) error {
	_, held, err := b.exact(e.Header.Origin, e.Header.Seq, e.Hash)
	if err == nil && !held {
		if !r.disputed {
			return &FrozenError{Entry: e.Citation(), Evidence: ev}
		}
		held, err = b.joinDisputed(e)
	}
	switch {
	case err != nil:
		return err
	case held:
		r.result.Held++
	default:
		r.result.Joined++
	}
	return nil
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
	key := raw.BranchKey(h.Origin, h.Seq, e.Hash)
	raw.SetHops(e.value, raw.BranchHops)
	b.cur.branches[key] = e.value
	b.cur.others = append(b.cur.others, raw.KeyValue{Key: key, Value: e.value})
	b.cur.bytes += len(e.value)
	b.cur.count++
	return false, nil
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

// exact looks an entry up by its hash, and returns its height. A place of a log that is not frozen holds one entry.
func (b *builder) exact(o ledger.Origin, seq uint64, hash ledger.Hash) (height uint64, held bool, err error) {
	if h, ok := b.head(o); ok && seq < h.Log.Size() {
		is, err := b.citation(h, seq)
		if err != nil || is.Hash == hash {
			return is.Height, err == nil, err
		}
	}
	if _, disputed := b.frozenAt(o, seq); !disputed {
		return 0, false, nil
	}
	key := raw.BranchKey(o, seq, hash)
	value, ok := b.cur.branches[key]
	if !ok && b.prev != nil {
		value, ok = b.prev.branches[key]
	}
	if !ok {
		value, err = b.s.ds.Get(context.Background(), raw.Key(key))
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

// Exact returns the entry with a hash at a place, in the log as it is held or on another branch, or [ErrNotFound].
func (s *Store) Exact(ctx context.Context, ref Ref, hash ledger.Hash) (*ledger.Entry, error) {
	return s.exact(ctx, ref, hash, s.Disputed(ref))
}

// exact is Exact for a caller that knows whether the place is disputed. If it is not, there are no
// other branches. Then nothing is read for an entry that is not there yet, because many ask for
// those.
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
	key := raw.BranchKey(ref.Origin, ref.Seq, hash)
	value, err := s.ds.Get(ctx, raw.Key(key))
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
