package node

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/node/authority"
	"pyvnode/p2p"
)

// Records of one [Writer.Write] go their way in runs of up to writeRun: those that have come by the time the ones before
// are on their way, so that nothing waits for what is not there yet. At most writeRuns runs are being checked, and as many
// are being stored: enough that group commit has something to group, and little enough to bound memory.
const (
	writeRun  = 64
	writeRuns = 16
)

// Status says what became of a record.
type Status string

// The statuses of an [Outcome].
const (
	Stored    Status = "stored"
	Duplicate Status = "duplicate" // its content is held already
	Conflict  Status = "conflict"  // another record with its kind and header is held
	Refused   Status = "refused"   // for its content
	Failed    Status = "failed"    // for another reason
)

// Outcome says what became of one record. Header and ContentID are zero where the record could not be read so far.
type Outcome struct {
	Line      int
	Offset    int64  // in a chain file
	Key       string // in a chain file: the header as which it was kept
	Kind      string
	Header    uuid.UUID
	ContentID record.ContentID
	Status    Status
	Ack       store.Ack // where it was stored
	Held      store.Ref // where the one stands that it duplicates or conflicts with
	Err       error     // of every status but Stored
}

// Summary counts outcomes.
type Summary struct {
	Stored     int `json:"stored"`
	Duplicates int `json:"duplicates"`
	Conflicts  int `json:"conflicts"`
	Refused    int `json:"refused"`
	Failed     int `json:"failed"`
}

func (s *Summary) count(status Status) {
	switch status {
	case Stored:
		s.Stored++
	case Duplicate:
		s.Duplicates++
	case Conflict:
		s.Conflicts++
	case Refused:
		s.Refused++
	default:
		s.Failed++
	}
}

// Total returns how many records there were.
func (s Summary) Total() int { return s.Stored + s.Duplicates + s.Conflicts + s.Refused + s.Failed }

// Bad returns how many records are neither stored now nor were before.
func (s Summary) Bad() int { return s.Conflicts + s.Refused + s.Failed }

// Add adds the counts of another summary.
func (s *Summary) Add(o Summary) {
	s.Stored += o.Stored
	s.Duplicates += o.Duplicates
	s.Conflicts += o.Conflicts
	s.Refused += o.Refused
	s.Failed += o.Failed
}

// appender sends checked records on their way into the own log, in the order of the calls, and returns what to wait with
// until they are durable or refused. Its errors are those of [store.Store.Submit] and, of a node that runs,
// [*p2p.NotReadyError].
type appender func(ctx context.Context, drafts ...*ledger.Draft) (waiter, error)

// waiter returns what became of each record; when the context ends first, its error is that of each.
type waiter func(ctx context.Context) []store.Appended

// appendTo makes an appender of a method Submit, that of a store or of a network over one.
func appendTo(submit func(context.Context, ...*ledger.Draft) (store.Pending, error)) appender {
	return func(ctx context.Context, drafts ...*ledger.Draft) (waiter, error) {
		pending, err := submit(ctx, drafts...)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) []store.Appended {
			result, err := pending.Wait(ctx)
			if result.Appended == nil {
				result.Appended = slices.Repeat([]store.Appended{{Err: err}}, len(drafts))
			}
			return result.Appended
		}, nil
	}
}

// Writer puts records into a node's own log: into the ledger of a data directory, or through the node that runs on it.
type Writer struct {
	genesis *ledger.Genesis
	submit  appender
	by      authority.Author
}

// writtenBy returns the writer for what somebody else brings than the operator, who opened it.
func (n *Writer) writtenBy(who authority.Author) *Writer {
	return &Writer{genesis: n.genesis, submit: n.submit, by: who}
}

// Genesis returns the document that founds the node's network.
func (n *Writer) Genesis() *ledger.Genesis { return n.genesis }

// CheckWritable refuses a kind that can never be stored in the node's network.
func (n *Writer) CheckWritable(kind string) error {
	if err := ledger.CheckKind(kind); err != nil {
		return &InputError{Reason: BadKind, Detail: err.Error()}
	}
	if g := n.genesis; g.IsPrivate(kind) {
		return &PrivateKindError{Kind: kind, Network: g.Name}
	}
	return nil
}

// writing is one record on its way through [Writer.Write].
type writing struct {
	in    Input
	out   Outcome
	draft *ledger.Draft // nil where it was refused
}

// run is some records on their way, in the order of the inputs.
type run struct {
	records []writing
	drafts  []*ledger.Draft // of those records that have one
	wait    waiter          // nil where there is nothing to wait for
	checked chan struct{}   // closed when the drafts are set
}

// Write puts records into the node's own log. They are read one after the other, checked on all cores, and stored with
// many under way; report gets every outcome in the order of the inputs, from the calling goroutine, as soon as it is
// durable or refused. A record that cannot be stored does not stop the others unless failFast; those under way by then
// are still stored and reported. An error of inputs, of report, of the store or of ctx ends it all; what was reported as
// stored stays stored.
func (n *Writer) Write(ctx context.Context, inputs iter.Seq2[Input, error], failFast bool, report func(Outcome) error) (Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	read := make(chan Input, writeRun)
	unchecked := make(chan *run)
	inOrder := make(chan *run, writeRuns)
	submitted := make(chan *run, writeRuns)
	readError := make(chan error, 1)

	go func() { // not waited for: it may hang in a read that only its source can end
		readError <- feed(ctx, inputs, read)
		close(read)
	}()
	go gather(ctx, read, inOrder, unchecked)
	for range runtime.GOMAXPROCS(0) {
		go n.checkAll(ctx, unchecked)
	}
	go n.submitAll(ctx, failFast, inOrder, submitted)

	var sum Summary
	var failed error
	stopped := false
	for r := range submitted {
		if r.wait != nil {
			// What is on its way gets stored, so its outcome is told even when ctx has ended.
			r.settle(r.wait(context.WithoutCancel(ctx)))
		}
		for i := range r.records {
			out := &r.records[i].out
			sum.count(out.Status)
			err := report(*out)
			if err == nil && endsWriting(out.Err) {
				err = out.Err
			}
			if err != nil && failed == nil {
				failed = err
				cancel(err)
			}
			if failFast && out.Status != Stored && out.Status != Duplicate {
				stopped = true
				cancel(nil)
			}
		}
	}
	switch {
	case failed != nil:
		return sum, failed
	case stopped:
		return sum, nil
	case ctx.Err() != nil:
		return sum, context.Cause(ctx)
	}
	return sum, <-readError // everything was submitted, so reading has ended
}

// endsWriting reports whether all records that follow would fail in the same way.
func endsWriting(err error) bool {
	if err == nil {
		return false
	}
	for _, end := range []error{store.ErrFailed, store.ErrClosed, store.ErrReadOnly, ErrStopping, ErrConnectionLost} {
		if errors.Is(err, end) {
			return true
		}
	}
	return errors.As(err, new(*p2p.NotReadyError))
}

// feed reads inputs.
func feed(ctx context.Context, inputs iter.Seq2[Input, error], read chan<- Input) error {
	for in, err := range inputs {
		if err != nil {
			return err
		}
		select {
		case read <- in:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// gather makes runs of what was read.
func gather(ctx context.Context, read <-chan Input, inOrder, unchecked chan<- *run) {
	defer close(inOrder)
	defer close(unchecked)
	for in := range read {
		r := &run{records: append(make([]writing, 0, 1+len(read)), writing{in: in}), checked: make(chan struct{})}
	more:
		for len(r.records) < writeRun {
			select {
			case in, ok := <-read:
				if !ok {
					break more
				}
				r.records = append(r.records, writing{in: in})
			default:
				break more
			}
		}
		for _, to := range []chan<- *run{inOrder, unchecked} {
			select {
			case to <- r:
			case <-ctx.Done():
				return
			}
		}
	}
}

// checkAll reads and checks records until there are no more.
func (n *Writer) checkAll(ctx context.Context, unchecked <-chan *run) {
	checker := ledger.Checker{Genesis: n.genesis}
	for {
		select {
		case r, ok := <-unchecked:
			if !ok {
				return
			}
			r.drafts = make([]*ledger.Draft, 0, len(r.records))
			for i := range r.records {
				w := &r.records[i]
				w.draft, w.out = n.draft(&checker, w.in)
				w.in = Input{} // its text may be large
				if w.draft != nil {
					r.drafts = append(r.drafts, w.draft)
				}
			}
			close(r.checked)
		case <-ctx.Done():
			return
		}
	}
}

// draft reads and checks one record.
func (n *Writer) draft(checker *ledger.Checker, in Input) (*ledger.Draft, Outcome) {
	out := Outcome{Line: in.Line, Offset: in.offset, Key: in.header, Kind: in.Kind, Status: Refused}
	var packed []byte
	if out.Kind, packed, out.Err = in.read(); out.Err != nil {
		return nil, out
	}
	if out.Err = n.CheckWritable(out.Kind); out.Err != nil {
		return nil, out
	}
	d, err := checker.Draft(out.Kind, packed)
	var tooLong *ledger.RecordLengthError
	switch {
	case errors.As(err, &tooLong):
		out.Err = &InputError{Reason: RecordTooLong, Detail: tooLong.Error()}
		return nil, out
	case err != nil:
		out.Err = err
		return nil, out
	}
	if out.Err = in.keptAs(d.Facts.Header); out.Err != nil {
		return nil, out
	}
	if out.Err = authority.Check(n.by, d.Kind, d.Record, nil); out.Err != nil {
		return nil, out
	}
	out.Header, out.ContentID = d.Facts.Header, d.Facts.ContentID
	return d, out
}

// submitAll sends checked records on their way, in order.
func (n *Writer) submitAll(ctx context.Context, failFast bool, inOrder <-chan *run, submitted chan<- *run) {
	defer close(submitted)
	for {
		var r *run
		var ok bool
		select {
		case r, ok = <-inOrder:
		case <-ctx.Done():
		}
		if !ok {
			return
		}
		select {
		case <-r.checked:
		case <-ctx.Done():
			return
		}
		last := failFast && len(r.drafts) < len(r.records)
		if last {
			r.cutAfterRefused()
		}
		if len(r.drafts) > 0 {
			var err error
			if r.wait, err = n.submit(ctx, r.drafts...); err != nil {
				if ctx.Err() != nil {
					return
				}
				r.settle(slices.Repeat([]store.Appended{{Err: err}}, len(r.drafts)))
			}
		}
		submitted <- r
		if last {
			return
		}
	}
}

// cutAfterRefused drops everything behind the first record that was refused.
func (r *run) cutAfterRefused() {
	first := slices.IndexFunc(r.records, func(w writing) bool { return w.draft == nil })
	r.records, r.drafts = r.records[:first+1], r.drafts[:first]
}

// settle notes what became of the records that were submitted.
func (r *run) settle(appended []store.Appended) {
	for i := range r.records {
		if w := &r.records[i]; w.draft != nil {
			w.settle(appended[0])
			appended = appended[1:]
		}
	}
}

// settle notes what became of a submitted record.
func (w *writing) settle(a store.Appended) {
	out := &w.out
	if a.Err == nil {
		out.Status, out.Ack, out.Err = Stored, a.Ack, nil
		return
	}
	var duplicate *store.DuplicateError
	var conflict *store.ConflictError
	switch out.Err = a.Err; {
	case errors.As(a.Err, &duplicate):
		out.Status, out.Held = Duplicate, duplicate.Ref
	case errors.As(a.Err, &conflict):
		out.Status, out.Held = Conflict, conflict.Ref
	default:
		out.Status = Failed
	}
}

// WriteOne puts one record into the node's own log.
func (n *Writer) WriteOne(ctx context.Context, in Input) (Outcome, error) {
	checker := ledger.Checker{Genesis: n.genesis}
	d, out := n.draft(&checker, in)
	if d == nil {
		return out, out.Err
	}
	wait, err := n.submit(ctx, d)
	if err != nil {
		out.Status, out.Err = Failed, err
		return out, err
	}
	w := writing{out: out}
	w.settle(wait(context.WithoutCancel(ctx))[0])
	return w.out, w.out.Err
}
