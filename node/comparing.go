package node

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// Side is one of two ledgers that are compared: one that is held here, or that of a peer, who may lie.
type Side interface {
	// Frontier returns what the side says it holds.
	Frontier(ctx context.Context) (ledger.Frontier, error)
	// Entries yields the entries of a log with from ≤ seq < to, in order.
	Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error]
}

// StoreSide makes a side of a store.
func StoreSide(s *store.Store) Side { return storeSide{s} }

type storeSide struct{ s *store.Store }

func (s storeSide) Frontier(context.Context) (ledger.Frontier, error) { return s.s.Frontier(), nil }

func (s storeSide) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return s.s.Log(ctx, o, from, to)
}

// Verdict says how two ledgers, or two copies of a log, relate.
type Verdict string

// The verdicts, from the best to the worst.
const (
	Same     Verdict = "same"
	Behind   Verdict = "behind"   // one lacks what the other holds, and nothing contradicts
	Disputed Verdict = "disputed" // one holds evidence that the other lacks
	Forked   Verdict = "fork"     // they hold different entries for one place
)

var verdicts = []Verdict{Same, Behind, Disputed, Forked}

// Comparison says how two ledgers, A and B, differ.
type Comparison struct {
	Verdict Verdict         `json:"verdict"` // the worst of all logs
	A       SideSummary     `json:"a"`
	B       SideSummary     `json:"b"`
	Differ  int             `json:"differ"`  // logs that differ
	Logs    []LogComparison `json:"logs"`    // of those, at most MaxCompared
	Missing []MissingEntry  `json:"missing"` // at most as many as were asked for
}

// SideSummary says what one side holds, and how much of the other's it does not.
type SideSummary struct {
	Digest  ledger.Hash `json:"digest"`
	Entries uint64      `json:"entries"`
	Logs    int         `json:"logs"`
	Lacks   uint64      `json:"lacks"` // entries
}

// LogComparison says how two copies of a log differ.
type LogComparison struct {
	Origin  ledger.Origin  `json:"origin"`
	Verdict Verdict        `json:"verdict"`
	A       uint64         `json:"a"`      // entries that A holds, up to where it disputes them
	B       uint64         `json:"b"`      // likewise
	Common  uint64         `json:"common"` // how many of the first ones are the same
	FrozenA *ledger.Freeze `json:"freeze_a,omitempty"`
	FrozenB *ledger.Freeze `json:"freeze_b,omitempty"`
	// HashA and HashB are of the first entry that differs, which the origin has signed twice. Only of a fork.
	HashA *ledger.Hash `json:"hash_a,omitempty"`
	HashB *ledger.Hash `json:"hash_b,omitempty"`
}

// MissingEntry is an entry that one side holds and the other does not.
type MissingEntry struct {
	On     string        `json:"missing_on"` // "a" or "b"
	Origin ledger.Origin `json:"origin"`
	Seq    uint64        `json:"seq"`
	Hash   ledger.Hash   `json:"hash"`
	Kind   string        `json:"kind"`
	Header uuid.UUID     `json:"header"` // of the record
}

// MaxCompared is how many logs that differ a [Comparison] lists.
const MaxCompared = 1000

// SideError says that a side contradicts itself, so it cannot be compared.
type SideError struct {
	Side   string // "A" or "B"
	Detail string
}

func (e *SideError) Error() string { return e.Side + ": " + e.Detail }

// Compare finds how two ledgers of a network differ, and where first. Of a log that goes on differently it asks for as
// many entries as its length has binary digits: hashes link backwards, so all before an equal one are equal. At most so
// many missing entries are listed as limit says. Entries on which the verdict or the list rests have their signatures
// checked.
func Compare(ctx context.Context, network ledger.Hash, a, b Side, limit int) (*Comparison, error) {
	c := &comparing{ctx: ctx, network: network, limit: limit}
	c.out = &Comparison{Verdict: Same, Logs: []LogComparison{}, Missing: []MissingEntry{}}
	c.sides = [2]comparedSide{{Side: a, name: "A", summary: &c.out.A}, {Side: b, name: "B", summary: &c.out.B}}
	for i := range c.sides {
		s := &c.sides[i]
		f, err := s.Frontier(ctx)
		if err == nil {
			err = f.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: frontier: %w", s.name, err)
		}
		s.frontier = f
		*s.summary = SideSummary{Digest: f.Digest(network), Entries: f.Entries(), Logs: len(f)}
	}
	for o, rows := range bothFrontiers(c.sides[0].frontier, c.sides[1].frontier) {
		if err := c.log(o, rows); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// comparing is a comparison under way.
type comparing struct {
	ctx     context.Context
	network ledger.Hash
	limit   int
	sides   [2]comparedSide
	out     *Comparison
}

type comparedSide struct {
	Side
	name     string
	frontier ledger.Frontier
	summary  *SideSummary
}

// bothFrontiers yields each origin of two frontiers with its rows; nil where one has none.
func bothFrontiers(a, b ledger.Frontier) iter.Seq2[ledger.Origin, [2]*ledger.Row] {
	return func(yield func(ledger.Origin, [2]*ledger.Row) bool) {
		for len(a) > 0 || len(b) > 0 {
			order := 0
			switch {
			case len(a) == 0:
				order = 1
			case len(b) == 0:
				order = -1
			default:
				order = a[0].Origin.Compare(b[0].Origin)
			}
			var rows [2]*ledger.Row
			var o ledger.Origin
			if order <= 0 {
				rows[0], o, a = &a[0], a[0].Origin, a[1:]
			}
			if order >= 0 {
				rows[1], o, b = &b[0], b[0].Origin, b[1:]
			}
			if !yield(o, rows) {
				return
			}
		}
	}
}

// log compares the two copies of a log.
func (c *comparing) log(o ledger.Origin, rows [2]*ledger.Row) error {
	var sizes [2]uint64
	var freezes [2]*ledger.Freeze
	var encoded [2][]byte
	for i, row := range rows {
		if row != nil {
			sizes[i], freezes[i], encoded[i] = row.Size(), row.Frozen, row.Append(nil)
		}
	}
	if bytes.Equal(encoded[0], encoded[1]) {
		return nil
	}
	l := LogComparison{Origin: o, Verdict: Behind, A: sizes[0], B: sizes[1], FrozenA: freezes[0], FrozenB: freezes[1]}
	common, first, err := c.common(o, rows, sizes)
	if err != nil {
		return err
	}
	l.Common = common
	switch {
	case first[0] != nil:
		l.Verdict, l.HashA, l.HashB = Forked, &first[0].Hash, &first[1].Hash
	case freezes[0] != nil || freezes[1] != nil:
		l.Verdict = Disputed
	}
	if slices.Index(verdicts, l.Verdict) > slices.Index(verdicts, c.out.Verdict) {
		c.out.Verdict = l.Verdict
	}
	c.out.Differ++
	if len(c.out.Logs) < MaxCompared {
		c.out.Logs = append(c.out.Logs, l)
	}
	if l.Verdict == Disputed {
		return nil // neither lacks entries as such
	}
	for i := range c.sides {
		if err := c.missing(i, o, common, sizes[1-i]); err != nil {
			return err
		}
	}
	return nil
}

// common returns how many entries two copies of a log have in common, and, of a fork, the first two that differ.
func (c *comparing) common(o ledger.Origin, rows [2]*ledger.Row, sizes [2]uint64) (uint64, [2]*ledger.Entry, error) {
	none := [2]*ledger.Entry{}
	shorter := min(sizes[0], sizes[1])
	if shorter == 0 {
		return 0, none, nil
	}
	var heads [2]ledger.Hash
	for i, row := range rows {
		if sizes[i] == shorter {
			heads[i] = row.Hash
			continue
		}
		e, err := c.entry(i, o, shorter-1)
		if err != nil {
			return 0, none, err
		}
		heads[i] = e.Hash
	}
	if heads[0] == heads[1] {
		return shorter, none, nil
	}
	var first [2]*ledger.Entry
	low, high := uint64(0), shorter-1 // the first difference is in low…high
	for {
		middle := low + (high-low)/2
		var both [2]*ledger.Entry
		for i := range c.sides {
			var err error
			if both[i], err = c.entry(i, o, middle); err != nil {
				return 0, none, err
			}
		}
		if both[0].Hash == both[1].Hash {
			if middle == high { // the heads differ, says one side, and gives the same
				return 0, none, &SideError{"A or B", fmt.Sprintf("says that entry %d of %v has another hash than the one it gives", high, o)}
			}
			low = middle + 1
			continue
		}
		first = both
		if middle == low {
			break
		}
		high = middle
	}
	for i, e := range first {
		if err := e.CheckSignature(); err != nil {
			return 0, none, &SideError{c.sides[i].name, err.Error()}
		}
	}
	return low, first, nil
}

// entry asks a side for one entry that it says it holds.
func (c *comparing) entry(side int, o ledger.Origin, seq uint64) (*ledger.Entry, error) {
	for e, err := range c.entries(side, o, seq, seq+1) {
		return e, err
	}
	return nil, &SideError{c.sides[side].name, fmt.Sprintf("says that it holds entry %d of %v and does not give it", seq, o)}
}

// entries asks a side for entries and checks that they are those.
func (c *comparing) entries(side int, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	s := &c.sides[side]
	return func(yield func(*ledger.Entry, error) bool) {
		seq := from
		for e, err := range s.Entries(c.ctx, o, from, to) {
			switch {
			case err != nil:
				err = fmt.Errorf("%s: entry %d of %v: %w", s.name, seq, o, err)
			case e.Header.Origin != o || e.Header.Seq != seq || e.Header.Network != c.network || seq >= to:
				err = &SideError{s.name, fmt.Sprintf("was asked for entry %d of %v and gives another one", seq, o)}
			}
			if !yield(e, err) || err != nil {
				return
			}
			seq++
		}
	}
}

// missing counts the entries of a log that a side lacks, and lists them while there is room.
func (c *comparing) missing(side int, o ledger.Origin, from, to uint64) error {
	if from >= to {
		return nil
	}
	c.sides[side].summary.Lacks += to - from
	room := uint64(max(0, c.limit-len(c.out.Missing)))
	if room == 0 {
		return nil
	}
	other := &c.sides[1-side]
	listed := from
	for e, err := range c.entries(1-side, o, from, min(to, from+room)) {
		if err != nil {
			return err
		}
		if err := e.CheckSignature(); err != nil {
			return &SideError{other.name, err.Error()}
		}
		c.out.Missing = append(c.out.Missing, MissingEntry{
			On: []string{"a", "b"}[side], Origin: o, Seq: e.Header.Seq, Hash: e.Hash, Kind: e.Header.Kind, Header: e.Header.RecordUUID,
		})
		listed++
	}
	if listed < min(to, from+room) {
		return &SideError{other.name, fmt.Sprintf("says that it holds entry %d of %v and does not give it", listed, o)}
	}
	return nil
}
