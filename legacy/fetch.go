package legacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/client"
)

const (
	// fetchEvery is how often it is looked what a host has, besides at the start and whenever it was not reached before.
	fetchEvery = 30 * time.Second
	// fetchHidden is how often a host is asked that does not show its records.
	fetchHidden = time.Hour
	// fetchAgain is the pause before records are fetched again that the ledger does not take at the moment.
	fetchAgain = 5 * time.Second
	// fetchTurn is how many records are fetched before new ones are sent, and fetchBatch how many of them a reply holds.
	fetchTurn, fetchBatch = 64, 8
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
	left := fetchTurn
	s.fetch = time.Now().Add(fetchEvery)
	for _, kind := range kinds[:min(len(kinds), maxFetchKinds)] {
		reply, err := s.conn.Call(ctx, "rsize", kind)
		if err != nil {
			return err
		}
		size, known := count(reply)
		if !known {
			continue
		}
		if s.t.Fetched[kind] > size { // its chain was replaced by a shorter one; only this goroutine changes the map
			s.r.change(s.t, func() { s.t.Fetched[kind] = 0 })
		}
		for s.t.Fetched[kind] < size {
			if left <= 0 {
				s.fetch = time.Time{}
				return nil
			}
			n := int(min(fetchBatch, size-s.t.Fetched[kind]))
			left -= n
			shown, err := s.fetchBatch(ctx, kind, n)
			var refused *RefusedError
			switch {
			case errors.As(err, &refused):
				s.log.Warn("records of an original server are not taken now", "error", err)
				s.fetch = time.Now().Add(fetchAgain)
				return nil
			case err != nil:
				return err
			case !shown:
				s.log.Debug("an original server does not show its records by position")
				s.fetch = time.Now().Add(fetchHidden)
				return nil
			}
		}
	}
	return nil
}

// fetchBatch takes the next n records of a kind; shown is false when the host does not show records.
func (s *sender) fetchBatch(ctx context.Context, kind string, n int) (shown bool, err error) {
	from := s.t.Fetched[kind]
	args := []any{"rabs", kind}
	for i := range n {
		args = append(args, fmt.Sprint(from+uint64(i)))
	}
	reply, err := s.conn.Call(ctx, args...)
	if err != nil {
		return false, err
	}
	items := client.Items(reply)
	if client.Refusal("rabs", reply) == nil && len(items) == 4 && len(client.Items(items[3])) == n {
		for _, item := range client.Items(items[3]) {
			if err := s.take(ctx, kind, item); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	// One of them was deleted, cannot be read, or they do not fit one reply; the others come one by one.
	said := ""
	if len(items) > 1 {
		text, _ := items[1].(record.Text)
		said = string(text)
	}
	switch {
	case !strings.HasPrefix(said, "Record not found") && !strings.HasPrefix(said, "on processing request"):
		return false, nil
	case n == 1:
		return true, s.take(ctx, kind, nil)
	}
	for range n {
		if shown, err := s.fetchBatch(ctx, kind, 1); err != nil || !shown {
			return shown, err
		}
	}
	return true, nil
}

// take puts the next record of a kind into the ledger: an item of a reply, its header and itself, or nil where the host has
// none to show.
func (s *sender) take(ctx context.Context, kind string, item record.Value) error {
	var taken, bad uint64
	if item != nil {
		switch err := s.put(ctx, kind, item); {
		case err == nil:
			taken = 1
		case errors.Is(err, ErrDuplicate):
		case errors.As(err, new(*record.Error)), errors.Is(err, ErrConflict), permanent(err):
			bad = 1
			s.log.Debug("a record of an original server is not taken", "kind", kind, "position", s.t.Fetched[kind], "error", err)
		default:
			return err
		}
	}
	s.r.change(s.t, func() {
		s.t.Fetched[kind]++
		s.t.Taken += taken
		s.t.NotTaken += bad
	})
	return nil
}

func permanent(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && !refused.NotNow
}

func (s *sender) put(ctx context.Context, kind string, item record.Value) error {
	pair := client.Items(item)
	if len(pair) != 2 {
		return &record.Error{Reason: record.NotRecord, Detail: "the reply holds no record"}
	}
	packed, _ := pair[1].(record.Bytes)
	r, err := record.Parse(unpadded([]byte(packed)))
	if err != nil {
		return err
	}
	hops, isCount := hopsOf(r.Dict())
	if !isCount {
		return &record.Error{Reason: record.NotRecord, Detail: "Replicated is no small whole number"}
	}
	return s.r.source.Put(ctx, kind, unpadded([]byte(packed)), hops+1)
}

// count reads a reply that is a number of records.
func count(reply record.Value) (n uint64, ok bool) {
	items := client.Items(reply)
	if client.Refusal("", reply) != nil || len(items) < 2 {
		return 0, false
	}
	number, isInt := items[1].(record.Int)
	if !isInt {
		return 0, false
	}
	size, fits := number.Int64()
	return uint64(size), fits && size >= 0
}
