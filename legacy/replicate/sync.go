package replicate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/client"
	"pyvnode/legacy/wire"
)

// Caller sends commands of the original protocol and returns the replies that are OK; others are a
// [*client.RefusedError]. A [*client.Conn] is one.
type Caller interface {
	Do(ctx context.Context, args ...any) (record.Value, error)
}

// SyncWay is how [Sync] finds records.
type SyncWay string

// The ways. Both find every record.
const (
	// SyncAuto takes the way that is likely to be the faster one.
	SyncAuto SyncWay = "auto"
	// SyncByTime lists headers window by window on both sides, and reads only the records that are missing. What no window
	// shows is then found by position.
	SyncByTime SyncWay = "time"
	// SyncByPosition reads all records, of the target too. Original servers, which read their whole chain for a window but
	// not for a position, are much faster that way.
	SyncByPosition SyncWay = "position"
	// syncBoth is by time, and then by position.
	syncBoth SyncWay = "time, then position"
)

// SyncOptions configure [Sync].
type SyncOptions struct {
	Kind string
	// From and To, unless zero, leave out records whose header's own time is before From, or not before To. Headers
	// without a time are then left out too.
	From, To time.Time
	// By is SyncAuto when empty.
	By SyncWay
	// DryRun only reports what is missing.
	DryRun bool
	// Report, unless nil, gets every record that the target does not hold in the end, and every one that could not be read.
	Report func(SyncRecord) error
	// Progress, unless nil, is called with the number of records looked at on both sides, and of those to look at.
	Progress func(done, total uint64)
}

// SyncRecord is a record that was not brought over.
type SyncRecord struct {
	Kind    string      `json:"kind"`
	Status  SyncOutcome `json:"status"`
	Header  string      `json:"header,omitempty"`   // as the source says it; empty when it is not known
	At      *uint64     `json:"position,omitempty"` // at the source, when the header is not known
	Because string      `json:"reason,omitempty"`
}

// SyncOutcome says why a record was not brought over.
type SyncOutcome string

// The outcomes.
const (
	SyncMissing    SyncOutcome = "missing"    // it would have been, but for DryRun
	SyncConflict   SyncOutcome = "conflict"   // the target has another record with its header
	SyncRefused    SyncOutcome = "refused"    // by the target
	SyncUnreadable SyncOutcome = "unreadable" // at the source
)

// SyncSummary counts what became of the records of a kind.
type SyncSummary struct {
	Kind   string  `json:"kind"`
	By     SyncWay `json:"by"`
	Why    string  `json:"why,omitempty"` // of By
	Source uint64  `json:"source"`        // how many records the source had at the beginning, between From and To if it can tell
	Seen   uint64  `json:"seen"`          // that were looked at
	Held   uint64  `json:"held"`          // by the target already
	Stored uint64  `json:"stored"`

	Missing    uint64 `json:"missing"`
	Conflicts  uint64 `json:"conflicts"`
	Refused    uint64 `json:"refused"`
	Unreadable uint64 `json:"unreadable"`
	// Gone are positions at which the source says that it has no record. An original server says so of deleted ones.
	Gone uint64 `json:"gone"`
	// Complete says that every record that the source had at the beginning was looked at.
	Complete bool `json:"complete"`
}

// Errors of [Sync] that somebody can do something about.
var (
	ErrNoKind    = errors.New("the source has no records of this kind")
	ErrNotProven = errors.New("the target takes no records from this login: it is in production mode, and wants the code of the second factor")
	ErrPrivate   = errors.New("the target does not take records of this kind: it keeps them private")
	ErrTooMany   = errors.New("there are too many records to remember")
)

const (
	// syncTimeout is for how long a side may be left alone while the other one is read, in seconds. The original's own is
	// 20 s.
	syncTimeout = "3600"
	// syncMeasured is how many records there must be before it is worth measuring which way is faster.
	syncMeasured = 200
	// maxSyncHeaders is how many headers of a kind are remembered at once. An original server's chain file, at most 4 GiB,
	// holds fewer records.
	maxSyncHeaders = 8 << 20
)

// Sync brings the records of one kind that the source holds and the target does not to the target: the "I have, you have"
// walk. What the target has already counts as held, so Sync may be repeated, and goes on where it was cut off. Records are
// told apart by their headers, as the original does: a record that the target holds with other content under the same
// header counts as held, except when it is offered and a node says otherwise.
//
// A record arrives with Replicated one higher than at the source, and is brought however high that is: someone who asks
// for the records wants all of them, and the count keeps servers that replicate from sending them round once more.
//
// The summary says how far it came also when there is an error. The errors are those above, and those of the servers; a
// [*client.RefusedError] among them is about the login, not about a record.
func Sync(ctx context.Context, source, target Caller, o SyncOptions) (SyncSummary, error) {
	s := &syncing{SyncOptions: o, source: syncSide{source, o.Kind}, target: syncSide{target, o.Kind}, span: syncSpanOf(o.From, o.To)}
	s.sum.Kind = o.Kind
	err := s.run(ctx)
	return s.sum, err
}

type syncing struct {
	SyncOptions
	source, target syncSide
	span           syncSpan
	sum            SyncSummary

	empty      bool // the target has nothing of the kind
	targetSize uint64
	timed      bool      // every record at the source matches a window
	seen       headerSet // at the source, by time
	loaded     uint64    // records of the target that were looked at, for progress
}

func (s *syncing) run(ctx context.Context) error {
	for _, side := range []syncSide{s.source, s.target} {
		if _, err := side.Do(ctx, "tout", syncTimeout); err != nil && refusal(err) == nil {
			return err
		}
	}
	var err error
	if s.sum.Source, err = s.source.size(ctx); err != nil {
		return err
	}
	s.targetSize, err = s.target.size(ctx)
	if s.empty = errors.Is(err, ErrNoKind); err != nil && !s.empty {
		return err
	}
	way, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if s.sum.By = way; way == SyncByTime {
		if s.sum.Complete, err = s.byTime(ctx); err != nil || s.sum.Complete {
			return err
		}
		if s.seen.partial {
			return fmt.Errorf("%w: only windows of time were looked at; go over fewer records at a time", ErrTooMany)
		}
		s.sum.By = syncBoth
	}
	if err := s.byPosition(ctx, way == SyncByTime); errors.As(err, new(*deniedError)) {
		return fmt.Errorf("%s, and then records are found by position only: %w", s.sum.Why, err)
	} else if err != nil {
		return err
	}
	s.sum.Complete = true
	return nil
}

// plan decides on the way.
func (s *syncing) plan(ctx context.Context) (SyncWay, error) {
	if s.By == SyncByPosition {
		return s.By, nil
	}
	// Original servers list nothing by time once a record was deleted.
	matching, err := s.source.count(ctx, s.span)
	if err == nil {
		_, err = s.source.list(ctx, syncNever)
	}
	if err == nil && !s.empty {
		_, err = s.target.list(ctx, syncNever)
	}
	if refusal(err) != nil {
		s.sum.Why = "windows of time cannot be listed: " + err.Error()
		return SyncByPosition, nil
	}
	if err != nil {
		return "", err
	}
	if s.span.all {
		after, err := s.source.size(ctx)
		if err != nil {
			return "", err
		}
		s.timed = matching == s.sum.Source && after == s.sum.Source
		if s.By != SyncByTime && matching < s.sum.Source {
			s.sum.Why = fmt.Sprintf("%d headers have no time", s.sum.Source-matching)
			return SyncByPosition, nil
		}
	} else {
		s.timed = true
		s.sum.Source = matching
	}
	if s.By == SyncByTime || matching < syncMeasured {
		return SyncByTime, nil
	}
	return s.faster(ctx, matching)
}

// faster measures which way is. A window costs an original server as much as its chain is long, and a node next to
// nothing; a position costs both the record that is there.
func (s *syncing) faster(ctx context.Context, matching uint64) (SyncWay, error) {
	begin := time.Now()
	_, err := s.source.list(ctx, syncNever)
	if err == nil && !s.empty {
		_, err = s.target.list(ctx, syncNever)
	}
	if err != nil {
		return "", err
	}
	window := time.Since(begin)
	begin = time.Now()
	_, err = s.source.at(ctx, 0, syncBatch)
	if errors.As(err, new(*client.RefusedError)) {
		return SyncByTime, nil // a restricted account may list, but not read by position
	}
	if err != nil {
		return "", err
	}
	position := time.Since(begin) / syncBatch
	byTime := window.Seconds() * float64(matching) / (legacy.MaxListed / 2)
	byPosition := position.Seconds() * float64(s.sum.Source+s.targetSize)
	if byTime <= byPosition {
		return SyncByTime, nil
	}
	s.sum.Why = fmt.Sprintf("listing by time would take about %.0f times as long", math.Max(byTime/byPosition, 2))
	return SyncByPosition, nil
}

// byTime goes over the windows of the span, as long as will do for the replies, and reports whether it saw all records
// that the source had at the beginning. That is so when it saw as many as there are in the end; or as many as there were,
// if more came and every header had a time.
func (s *syncing) byTime(ctx context.Context) (complete bool, err error) {
	complete = true
	longest := s.span.end - s.span.begin
	for begin, length := s.span.begin, longest; begin < s.span.end; {
		w := syncSpan{begin: begin, end: min(begin+length, s.span.end)}
		headers, err := s.source.list(ctx, w)
		if tooMany := errors.Is(err, errTooManyListed); tooMany && w.end-w.begin > syncSlack {
			length = (w.end - w.begin) / 2
			continue
		} else if tooMany || refusal(err) != nil {
			complete = false
			s.sum.Why = fmt.Sprintf("more than %d headers are of one moment, %v", legacy.MaxListed, w)
			if !tooMany {
				s.sum.Why = err.Error()
			}
		} else if err != nil {
			return false, err
		}
		if err := s.window(ctx, w, headers); err != nil {
			return false, err
		}
		if begin = w.end; len(headers) < legacy.MaxListed/2 {
			length = min(2*length, longest)
		}
	}
	now, err := s.source.size(ctx)
	if !s.span.all && err == nil {
		now, err = s.source.count(ctx, s.span)
	}
	if err != nil {
		return false, err
	}
	if !complete || s.sum.Seen == now || s.timed && s.sum.Seen >= s.sum.Source && s.sum.Seen <= now {
		return complete, nil
	}
	s.sum.Why = fmt.Sprintf("windows of time show %d records, and the source says that it has %d", s.sum.Seen, now)
	return false, nil
}

// window deals with the headers of the source in a window.
func (s *syncing) window(ctx context.Context, w syncSpan, headers []syncHeader) error {
	for _, h := range headers {
		s.seen.add(h.key)
	}
	s.sum.Seen += uint64(len(headers))
	if s.progress(); len(headers) == 0 {
		return nil
	}
	missing, err := s.missing(ctx, w, headers)
	if err != nil {
		return err
	}
	s.sum.Held += uint64(len(headers) - len(missing))
	if s.DryRun {
		for _, h := range missing {
			if err := s.report(SyncRecord{Status: SyncMissing, Header: h.text}); err != nil {
				return err
			}
		}
		return nil
	}
	slices.Reverse(missing) // the oldest first
	return s.source.get(ctx, missing, func(h syncHeader, packed []byte, err error) error {
		if err != nil {
			return s.report(SyncRecord{Status: SyncUnreadable, Header: h.text, Because: err.Error()})
		}
		return s.put(ctx, h.text, packed)
	})
}

// missing returns which headers the target does not have.
func (s *syncing) missing(ctx context.Context, w syncSpan, headers []syncHeader) ([]syncHeader, error) {
	if s.empty {
		return headers, nil
	}
	theirs, err := s.target.list(ctx, w)
	listed := err == nil
	if err != nil && refusal(err) == nil && !errors.Is(err, errTooManyListed) {
		return nil, err
	}
	var held headerSet
	for _, h := range theirs {
		held.add(h.key)
	}
	var missing []syncHeader
	for _, h := range headers {
		has := held.has(h.key)
		if !has && (!listed || !h.timed) { // not every server lists headers of every version
			if has, err = s.target.have(ctx, h.text); err != nil {
				return nil, err
			}
		}
		if !has {
			missing = append(missing, h)
		}
	}
	return missing, nil
}

// byPosition goes over the positions of the source. After byTime it leaves out what that saw.
func (s *syncing) byPosition(ctx context.Context, after bool) error {
	known := &s.seen
	if !after {
		known = new(headerSet)
		if err := s.load(ctx, known); err != nil {
			return err
		}
	}
	size := s.sum.Source
	if !s.span.all {
		var err error
		if size, err = s.source.size(ctx); err != nil {
			return err
		}
	}
	return s.source.positions(ctx, 0, size, func(at uint64, header string, packed []byte, err error) error {
		if errors.Is(err, errGone) {
			s.sum.Gone++
			return nil
		}
		if err != nil {
			return s.report(SyncRecord{Status: SyncUnreadable, At: &at, Because: err.Error()})
		}
		h := newSyncHeader(header)
		if !s.span.has(h) || after && known.has(h.key) {
			return nil
		}
		s.sum.Seen++
		s.progress()
		has := known.has(h.key)
		if !has && !s.empty && (after || known.partial) {
			if has, err = s.target.have(ctx, header); err != nil {
				return err
			}
		}
		known.add(h.key)
		switch {
		case has:
			s.sum.Held++
			return nil
		case s.DryRun:
			return s.report(SyncRecord{Status: SyncMissing, Header: header})
		}
		return s.put(ctx, header, packed)
	})
}

// load reads which headers the target has.
func (s *syncing) load(ctx context.Context, known *headerSet) error {
	err := s.target.positions(ctx, 0, s.targetSize, func(_ uint64, header string, _ []byte, err error) error {
		if err != nil {
			known.partial = true // its header is not known
			return nil
		}
		known.add(newSyncHeader(header).key)
		s.loaded++
		s.progress()
		return nil
	})
	if errors.As(err, new(*client.RefusedError)) { // a restricted account may ask for headers only
		known.partial = true
		return nil
	}
	return err
}

// put sends a record to the target.
func (s *syncing) put(ctx context.Context, header string, packed []byte) error {
	fields, err := sentOn(header, packed)
	if err != nil {
		return s.report(SyncRecord{Status: SyncUnreadable, Header: header, Because: err.Error()})
	}
	r := SyncRecord{Status: SyncRefused, Header: header}
	outcome, why, err := s.target.put(ctx, fields)
	switch {
	case errors.Is(err, wire.ErrTooLong):
		r.Because = "it does not fit into a message of the original protocol"
		return s.report(r)
	case err != nil:
		return err
	case outcome == putStored:
		s.sum.Stored++
		return nil
	case outcome == putHeld:
		s.sum.Held++
		return nil
	case outcome == putConflict:
		r.Status = SyncConflict
	}
	r.Because = why
	return s.report(r)
}

// sentOn returns a record that was sent on once more.
func sentOn(header string, packed []byte) (*record.Dict, error) {
	parsed, err := record.Parse(packed)
	if err != nil {
		return nil, err
	}
	fields := parsed.Dict()
	if inside, _ := fields.Get(record.Text(record.KeyHeader)); inside != record.Value(record.Text(header)) {
		return nil, errors.New("the record under this header has another one")
	}
	hops, _ := legacy.Hops(fields) // who does not say it right has not sent it on
	fields.Set(record.Text(record.KeyReplicated), record.NewInt(int64(min(hops, math.MaxInt16-1))+1))
	return fields, nil
}

func (s *syncing) report(r SyncRecord) error {
	switch r.Kind = s.Kind; r.Status {
	case SyncMissing:
		s.sum.Missing++
	case SyncConflict:
		s.sum.Conflicts++
	case SyncRefused:
		s.sum.Refused++
	case SyncUnreadable:
		s.sum.Unreadable++
	}
	if s.Report == nil {
		return nil
	}
	return s.Report(r)
}

func (s *syncing) progress() {
	if s.Progress == nil {
		return
	}
	total := s.sum.Source
	if s.loaded > 0 {
		total += s.targetSize
	}
	s.Progress(s.sum.Seen+s.loaded, max(total, s.sum.Seen+s.loaded))
}

var _ Caller = (*client.Conn)(nil)
