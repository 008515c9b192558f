package node

import (
	"context"
	"errors"
	"iter"
	"runtime"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// writeWindow is how many records of one [Writer.Write] are under way at once: enough that group commit has something to
// group, and little enough to bound memory.
const writeWindow = 512

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

// appender sends a checked record on its way into the own log, in the order of the calls, and returns what to wait with
// until it is durable or refused. Its errors are those of [store.Store.Submit] and, of a node that runs,
// [*p2p.NotReadyError].
type appender func(ctx context.Context, d *ledger.Draft) (waiter, error)

type waiter func(ctx context.Context) (store.Result, error)

// appendTo makes an appender of a method Submit, that of a store or of a network over one.
func appendTo(submit func(context.Context, *ledger.Draft) (store.Pending, error)) appender {
	return func(ctx context.Context, d *ledger.Draft) (waiter, error) {
		pending, err := submit(ctx, d)
		return pending.Wait, err
	}
}

// Writer puts records into a node's own log: into the ledger of a data directory, or through the node that runs on it.
type Writer struct {
	genesis *ledger.Genesis
	submit  appender
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
	in      Input
	out     Outcome
	draft   *ledger.Draft
	wait    waiter
	checked chan struct{} // closed when out and draft are set
}

// Write puts records into the node's own log. They are read one after the other, checked on all cores, and stored with
// many under way; report gets every outcome in the order of the inputs, from the calling goroutine, as soon as it is
// durable or refused. A record that cannot be stored does not stop the others unless failFast; those under way by then
// are still stored and reported. An error of inputs, of report, of the store or of ctx ends it all; what was reported as
// stored stays stored.
func (n *Writer) Write(ctx context.Context, inputs iter.Seq2[Input, error], failFast bool, report func(Outcome) error) (Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unchecked := make(chan *writing)
	inOrder := make(chan *writing, writeWindow)
	submitted := make(chan *writing, writeWindow)
	readError := make(chan error, 1)

	go func() { // not waited for: it may hang in a read that only its source can end
		readError <- feed(ctx, inputs, inOrder, unchecked)
		close(inOrder)
		close(unchecked)
	}()
	for range runtime.GOMAXPROCS(0) {
		go n.check(ctx, unchecked)
	}
	go n.submitAll(ctx, failFast, inOrder, submitted)

	var sum Summary
	var failed error
	stopped := false
	for w := range submitted {
		if w.draft != nil {
			// What is on its way gets stored, so its outcome is told even when ctx has ended.
			w.settle(w.wait(context.WithoutCancel(ctx)))
		}
		sum.count(w.out.Status)
		err := report(w.out)
		if err == nil && endsWriting(w.out.Err) {
			err = w.out.Err
		}
		if err != nil && failed == nil {
			failed = err
			cancel(err)
		}
		if failFast && w.out.Status != Stored && w.out.Status != Duplicate {
			stopped = true
			cancel(nil)
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
	for _, end := range []error{store.ErrFailed, store.ErrClosed, store.ErrReadOnly, ErrStopping, ErrConnectionLost} {
		if errors.Is(err, end) {
			return true
		}
	}
	return errors.As(err, new(*p2p.NotReadyError))
}

func feed(ctx context.Context, inputs iter.Seq2[Input, error], inOrder, unchecked chan<- *writing) error {
	for in, err := range inputs {
		if err != nil {
			return err
		}
		w := &writing{in: in, checked: make(chan struct{})}
		select {
		case inOrder <- w:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case unchecked <- w:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// check reads and checks records until there are no more.
func (n *Writer) check(ctx context.Context, unchecked <-chan *writing) {
	checker := ledger.Checker{Genesis: n.genesis}
	for {
		select {
		case w, ok := <-unchecked:
			if !ok {
				return
			}
			w.draft, w.out = n.draft(&checker, w.in)
			w.in = Input{} // its text may be large
			close(w.checked)
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
	out.Header, out.ContentID = d.Facts.Header, d.Facts.ContentID
	return d, out
}

// submitAll sends checked records on their way, in order.
func (n *Writer) submitAll(ctx context.Context, failFast bool, inOrder <-chan *writing, submitted chan<- *writing) {
	defer close(submitted)
	for {
		var w *writing
		var ok bool
		select {
		case w, ok = <-inOrder:
		case <-ctx.Done():
		}
		if !ok {
			return
		}
		select {
		case <-w.checked:
		case <-ctx.Done():
			return
		}
		if w.draft != nil {
			var err error
			if w.wait, err = n.submit(ctx, w.draft); err != nil {
				if ctx.Err() != nil {
					return
				}
				w.draft, w.out.Status, w.out.Err = nil, Failed, err
			}
		}
		submitted <- w
		if failFast && w.draft == nil {
			return
		}
	}
}

// settle notes what became of a submitted record.
func (w *writing) settle(result store.Result, err error) {
	out := &w.out
	var duplicate *store.DuplicateError
	var conflict *store.ConflictError
	switch out.Err = err; {
	case err == nil:
		out.Status, out.Ack = Stored, result.Ack
	case errors.As(err, &duplicate):
		out.Status, out.Held = Duplicate, duplicate.Ref
	case errors.As(err, &conflict):
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
	w.settle(wait(context.WithoutCancel(ctx)))
	return w.out, w.out.Err
}
