package replicate

import (
	"context"
	"errors"
	"slices"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/chainfile"
)

const (
	// fetchEvery is how often it is looked what a host has, besides at the start and whenever it was not reached before.
	fetchEvery = 30 * time.Second
	// fetchHidden is how often a host is asked that does not show its records.
	fetchHidden = time.Hour
	// fetchAgain is the pause before records are fetched again that the ledger does not take at the moment.
	fetchAgain = 5 * time.Second
	// fetchTurn is how many records are fetched before new ones are sent.
	fetchTurn = 64
	// maxFetchKinds bounds of how many kinds records are fetched.
	maxFetchKinds = 1000
)

// fetchSome takes records that the host has and the ledger has not: by their positions, which an original server
// never gives to another record. A host that does not show them, such as a node, which gives a replicator few rights, is only
// sent to. Of kinds that nobody here knows the original protocol says nothing.
func (s *sender) fetchSome(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	kinds := s.r.source.Kinds()
	if !slices.Contains(kinds, "vote") { // an original server has these from the start
		kinds = append(kinds, "vote")
	}
	left := uint64(fetchTurn)
	useful := false
	s.fetch = time.Now().Add(fetchEvery)
	for _, kind := range kinds[:min(len(kinds), maxFetchKinds)] {
		side := syncSide{s.conn, kind}
		size, err := side.size(ctx)
		if errors.Is(err, ErrNoKind) || refusal(err) != nil {
			continue
		}
		if err == nil && s.t.Fetched[kind] > size { // its chain was replaced by a shorter one; only this goroutine changes the map
			s.r.change(s.t, func() { s.t.Fetched[kind] = 0 })
		}
		if err == nil {
			from := s.t.Fetched[kind]
			to := from + min(size-from, left)
			left -= to - from
			err = side.positions(ctx, from, to, func(at uint64, _ string, packed []byte, unreadable error) error {
				good, err := s.take(ctx, kind, packed, unreadable)
				useful = useful || good
				return err
			})
		}
		var refused *legacy.RefusedError
		switch {
		case errors.As(err, &refused):
			s.log.Warn("records of an original server are not taken now", "error", err)
			s.fetch = time.Now().Add(fetchAgain)
			return nil
		case errors.As(err, new(*deniedError)):
			s.log.Debug("an original server does not show its records by position", "error", err)
			s.fetch = time.Now().Add(fetchHidden)
			return nil
		case err != nil:
			return err
		case left == 0:
			if useful { // else it may be inventing positions
				s.fetch = time.Time{}
			}
			return nil
		}
	}
	return nil
}

// take puts the next record of a kind into the ledger, unless the host cannot show it; good is whether it is held then. The
// error may be a [*legacy.RefusedError] that says not now.
func (s *sender) take(ctx context.Context, kind string, packed []byte, err error) (good bool, _ error) {
	gone := errors.Is(err, errGone) // deleted there
	if err == nil {
		err = s.put(ctx, kind, packed)
	}
	var taken, bad uint64
	var refused *legacy.RefusedError
	switch {
	case err == nil:
		good, taken = true, 1
	case errors.Is(err, legacy.ErrDuplicate):
		good = true
	case gone:
	case refusal(err) != nil, errors.As(err, new(*record.Error)), errors.Is(err, legacy.ErrConflict), errors.As(err, &refused) && !refused.NotNow:
		bad = 1
		s.log.Debug("a record of an original server is not taken", "kind", kind, "position", s.t.Fetched[kind], "error", err)
	default:
		return false, err
	}
	s.r.change(s.t, func() {
		s.t.Fetched[kind]++
		s.t.Taken += taken
		s.t.NotTaken += bad
	})
	return good, nil
}

// put stores a record as if the host had sent it.
func (s *sender) put(ctx context.Context, kind string, packed []byte) error {
	packed = chainfile.Unpadded(packed)
	r, err := record.Parse(packed)
	if err != nil {
		return err
	}
	hops, isCount := legacy.Hops(r.Dict())
	if !isCount {
		return &record.Error{Reason: record.NotRecord, Detail: "Replicated is no small whole number"}
	}
	return s.r.source.Put(ctx, kind, packed, hops+1)
}
