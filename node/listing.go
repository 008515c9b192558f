package node

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// Order is an order of records.
type Order string

// The orders of [Node.List].
const (
	ByChain   Order = "chain"   // canonical: causes before effects, the same on every node
	ByTime    Order = "time"    // by the time in record headers, which is what their makers' clocks said
	ByArrival Order = "arrival" // as they arrived at this node, each kind by itself
)

// Listing says which records to list and how. The zero value lists all in canonical order.
type Listing struct {
	Kind    string    // empty means all
	From    time.Time // of the time in record headers, inclusive; zero means no bound
	To      time.Time // exclusive; zero means no bound
	Order   Order
	Reverse bool // the newest first; by arrival only
}

// List yields entries in constant memory.
func (n *Node) List(ctx context.Context, l Listing) iter.Seq2[*ledger.Entry, error] {
	switch l.Order {
	case ByTime:
		return n.byTime(ctx, l)
	case ByArrival:
		return l.within(n.byArrival(ctx, l))
	}
	return l.within(n.Chain(ctx))
}

func (l Listing) kinds(n *Node) []string {
	if l.Kind != "" {
		return []string{l.Kind}
	}
	return n.Kinds()
}

// within leaves out what the listing does not ask for.
func (l Listing) within(entries iter.Seq2[*ledger.Entry, error]) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for e, err := range entries {
			if err == nil {
				made := record.HeaderTime(e.Header.RecordUUID)
				if l.Kind != "" && e.Header.Kind != l.Kind || made.Before(l.From) || !l.To.IsZero() && !made.Before(l.To) {
					continue
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Entries are read in blocks: through a node that runs each reading is a request, which costs as much as ten entries. The
// first blocks are small, because often a few entries are all that is asked for.
const (
	firstBlock = 16
	maxBlock   = 256
)

// entriesAt yields the entries at groups of places, those of a group in canonical order.
func (n *Node) entriesAt(ctx context.Context, groups iter.Seq2[[]store.Ref, error]) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		var refs []store.Ref
		var ends []int // of groups in refs
		flush := func() bool {
			entries, err := n.GetAll(ctx, refs)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return false
			}
			from := 0
			for _, end := range ends {
				slices.SortFunc(entries[from:end], func(a, b *store.Stored) int { return ledger.CompareCanonical(a.Entry, b.Entry) })
				from = end
			}
			for _, e := range entries {
				if !yield(e.Entry, nil) {
					return false
				}
			}
			refs, ends = refs[:0], ends[:0]
			return true
		}
		size := firstBlock
		for group, err := range groups {
			if err != nil {
				if flush() {
					yield(nil, err)
				}
				return
			}
			refs = append(refs, group...)
			ends = append(ends, len(refs))
			if len(refs) >= size {
				if !flush() {
					return
				}
				size = min(2*size, maxBlock)
			}
		}
		flush()
	}
}

func (n *Node) byArrival(ctx context.Context, l Listing) iter.Seq2[*ledger.Entry, error] {
	return n.entriesAt(ctx, func(yield func([]store.Ref, error) bool) {
		for _, kind := range l.kinds(n) {
			count := n.Count(kind)
			for done, size := uint64(0), uint64(firstBlock); done < count; done, size = done+size, min(2*size, maxBlock) {
				size = min(size, count-done)
				from := done
				if l.Reverse {
					from = count - done - size
				}
				refs, err := n.Arrivals(ctx, kind, from, from+size)
				if err != nil {
					yield(nil, err)
					return
				}
				if l.Reverse {
					slices.Reverse(refs)
				}
				for i := range refs {
					if !yield(refs[i:i+1], nil) {
						return
					}
				}
			}
		}
	})
}

func (n *Node) byTime(ctx context.Context, l Listing) iter.Seq2[*ledger.Entry, error] {
	return n.entriesAt(ctx, n.refsByTime(ctx, l))
}

// refsByTime merges the kinds by time, and yields the places of the entries of each record header.
func (n *Node) refsByTime(ctx context.Context, l Listing) iter.Seq2[[]store.Ref, error] {
	span := store.TimeSpan{From: uuidTicks(l.From), To: uuidTicks(l.To)}
	return func(yield func([]store.Ref, error) bool) {
		if !l.To.IsZero() && span.To == 0 {
			return // before all times that a header can hold
		}
		type cursor struct {
			head store.Timed
			next func() (store.Timed, error, bool)
		}
		var open []*cursor
		for _, kind := range l.kinds(n) {
			next, stop := iter.Pull2(n.ByTime(ctx, kind, span))
			defer stop()
			open = append(open, &cursor{next: next})
		}
		advance := func(c *cursor) (ok bool, err error) {
			c.head, err, ok = c.next()
			return ok, err
		}
		for i := 0; i < len(open); {
			ok, err := advance(open[i])
			switch {
			case err != nil:
				yield(nil, err)
				return
			case !ok:
				open = slices.Delete(open, i, i+1)
			default:
				i++
			}
		}
		for len(open) > 0 {
			least := slices.MinFunc(open, func(a, b *cursor) int {
				return compareTimed(a.head, b.head)
			})
			if !yield(least.head.Refs, nil) {
				return
			}
			ok, err := advance(least)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				open = slices.DeleteFunc(open, func(c *cursor) bool { return c == least })
			}
		}
	}
}

func compareTimed(a, b store.Timed) int {
	if c := record.HeaderTime(a.Header).Compare(record.HeaderTime(b.Header)); c != 0 {
		return c
	}
	return slices.Compare(a.Header[:], b.Header[:])
}

// uuidTicks returns a time in the units of version-1 UUIDs, 100 ns since 15 October 1582 (RFC 9562 §5.1); 0 for the zero
// time and all before.
func uuidTicks(t time.Time) uint64 {
	const gregorian = 12219292800 // seconds from then to 1970
	const maxSeconds = 1 << 37    // beyond what 60 bits hold
	if t.IsZero() || t.Unix() < -gregorian {
		return 0
	}
	seconds := min(uint64(t.Unix()+gregorian), maxSeconds)
	return min(seconds*1e7+uint64(t.Nanosecond()/100), 1<<60-1)
}

// ParseMoment reads an RFC 3339 time, or a date, which is its beginning in UTC; endOfDay makes it the end.
func ParseMoment(text string, endOfDay bool) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time: want 2026-11-22 or 2026-11-22T18:00:00Z", shorten(text))
	}
	if endOfDay {
		t = t.AddDate(0, 0, 1)
	}
	return t, nil
}
