package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store/raw"
)

// Limits of a store's queues. They bound memory, not validity.
const (
	// MaxQueue is how many writes may wait at once; one more blocks.
	MaxQueue = 4096
	// maxBatchEntries and maxBatchBytes bound one batch, and so what a crash can leave half-acknowledged.
	maxBatchEntries = 4096
	maxBatchBytes   = 4 << 20
)

// Errors by which callers decide what to do.
var (
	// ErrNotFound says that nothing is held under that name.
	ErrNotFound = errors.New("not found")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrReadOnly says that the store was opened for reading, or without a key to sign with.
	ErrReadOnly = errors.New("the ledger is open for reading only")
	// ErrFailed says that a write had no certain outcome, or that the database cannot go on. The store serves what was durable before and refuses
	// writes until it is opened again, which finds out what is on disk. Submitting a record again after that is safe.
	ErrFailed = errors.New("the ledger stopped writing")
)

// DuplicateError says that the record, this kind with this content, is held already in a log that
// counts for this node: see [Store.Append].
type DuplicateError struct {
	Ref // the place of the first copy
}

func (e *DuplicateError) Error() string { return fmt.Sprintf("duplicate: already held as %v", e.Ref) }

// ConflictError says that another record with the same kind and header is held in a log that counts
// for this node: see [Store.Append]. Records from the network are kept and flagged then; a record
// submitted here is refused, so that its author finds out.
type ConflictError struct {
	Ref // the place of the other record
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("duplicate header: another record with this kind and header is held as %v", e.Ref)
}

// MissingError says what an entry names that is not held yet. The entry may be valid; it joins when that is here.
type MissingError struct {
	Entry   ledger.Citation
	Missing []ledger.Citation // hash and height of a missing predecessor are what the entry says, or zero
}

func (e *MissingError) Error() string {
	m := e.Missing[0]
	return fmt.Sprintf("entry %d of %v cannot join: it names entry %d of %v, which is not held", e.Entry.Seq, e.Entry.Origin, m.Seq, m.Origin)
}

// ForkError holds two different entries that one origin signed for one position.
type ForkError struct{ Held, Other *ledger.Entry }

func (e *ForkError) Error() string {
	return fmt.Sprintf("%v signed two different entries %d: %s is held, %s was offered",
		e.Held.Header.Origin, e.Held.Header.Seq, e.Held.Hash.Beside(e.Other.Hash), e.Other.Hash.Beside(e.Held.Hash))
}

// Ref names an entry by its place in the network.
type Ref struct {
	Origin ledger.Origin `json:"origin"`
	Seq    uint64        `json:"seq"`
}

// String returns "origin/seq", which the command line reads too.
func (r Ref) String() string { return fmt.Sprintf("%v/%d", r.Origin, r.Seq) }

// Options configure [Open].
type Options struct {
	// Key signs the entries of this node's own log. Without it [Store.Append] returns [ErrReadOnly].
	Key ed25519.PrivateKey
	// ReadOnly never writes to the datastore, not even to mend what a crash left.
	ReadOnly bool
	// Now is the time that entries carry, for people; nil means time.Now.
	Now func() time.Time
	// OriginProof goes into the first entry of this node's log if the network asks for one.
	OriginProof *ledger.OriginProof
	// Logger receives what happens in the background; nil discards it.
	Logger *slog.Logger
	// Committed, if not nil, is called after each batch that was made durable. Writes wait meanwhile.
	Committed func(Commit)
}

// Commit says of a batch that was made durable how many entries were new in it, and how long it took to write and sync.
type Commit struct {
	Entries int
	Took    time.Duration
}

// Store is the ledger of one node. Its methods may be called concurrently.
type Store struct {
	ds      Datastore
	genesis *ledger.Genesis
	opts    Options
	origin  ledger.Origin  // of opts.Key; zero without a key
	signer  *ledger.Signer // with that key

	reqs    chan *request // to the builder
	batches chan *batch   // from the builder to the committer
	closing chan struct{} // closed by Close, so that nobody blocks on reqs any more
	senders sync.RWMutex  // held for reading while sending to reqs; Close locks it before closing reqs
	running sync.WaitGroup
	close   sync.Once
	own     ownLog
	freezer *freezer      // nil for readers
	ended   chan struct{} // closed when the committer has ended

	mu      sync.RWMutex // guards what follows: the state that is durable
	logs    map[ledger.Origin]*raw.Head
	byNum   []*raw.Head       // by number; entries are replaced, never changed
	kinds   map[string]uint64 // records held by kind
	frozen  map[ledger.Origin]*frozen
	failed  error         // the first failed write
	floor   *ledger.Entry // see floor.go; nil if it is held
	version uint64        // rises with each change of logs or frozen

	holding      holding
	firstHeights firstHeights
	watchers     map[chan struct{}]bool
	indexes      map[string]*recordIndex // by kind; see records.go
}

// Genesis returns the document that founds the store's network.
func (s *Store) Genesis() *ledger.Genesis { return s.genesis }

// Close stops accepting writes, finishes those that wait, and returns when nothing of the store runs any more. It does
// not close the datastore.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		s.senders.Lock()
		defer s.senders.Unlock()
		close(s.reqs)
	})
	s.running.Wait()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// Failure returns why the store writes nothing any more, as an [ErrFailed]; nil while it does, or when it never did.
func (s *Store) Failure() error { return s.writeFailure() }

// watchDatastore learns of failures that no write is there to meet.
func (s *Store) watchDatastore(d Stopper) {
	select {
	case <-d.Stopped():
		s.fail(d.Failure())
	case <-s.ended:
	}
}

// Ack says where a record of this node was stored.
type Ack struct {
	Ref
	Hash     ledger.Hash
	Height   uint64
	Position uint64 // among the records of its kind, in the order of arrival here
}

// Pending is a write on its way. Every Pending must be waited for.
type Pending struct{ req *request }

// Wait returns when the write is durable or refused. When the context ends first its error is returned, and the write
// goes on.
func (p Pending) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.req.done:
		return p.req.result, p.req.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Result says what became of a write.
type Result struct {
	Appended []Appended // what became of each record of this node
	Joined   int        // how many entries are new
	Held     int        // how many were held already
}

// Appended says what became of a record of this node: its place, or why it was refused.
type Appended struct {
	Ack Ack
	Err error
}

// request is one write: records of this node or foreign entries.
type request struct {
	drafts   []draft
	entries  []*checked
	whole    bool // all entries or none
	verified bool // every signature was checked, not just the last of each log
	disputed bool // entries at or after a freeze may be among them
	evidence *proof.Evidence
	signed   *ledger.Entry // that others hold of this node's log
	mark     map[ledger.Origin]uint64

	result Result
	err    error
	done   chan struct{}
}

// draft is a draft with all that can be made ready before the builder sees it.
type draft struct {
	*ledger.Draft
	contentKey string
	headerKey  string
}

func newDraft(d *ledger.Draft) draft {
	return draft{d, raw.ContentKey(d.Kind, d.Facts.ContentID), raw.HeaderKey(d.Kind, d.Facts.Header)}
}

// fail answers a request for which the store could do nothing.
func (r *request) fail(err error) {
	r.result, r.err = Result{Appended: make([]Appended, len(r.drafts))}, err
	for i := range r.drafts {
		r.result.Appended[i].Err = err
	}
}

// Append puts a checked record into this node's own log and returns when it is durable. The errors that are the
// caller's to handle are [*DuplicateError], [*ConflictError], [ErrReadOnly], [ErrFailed] and [ErrClosed].
//
// A record is a duplicate of one with its kind and content, and in conflict with another that has
// its kind and header. Of a ballot or a vote only this node's log says so, since it counts only in
// the log of the party that took it. A node that publishes it first must not keep it out of there.
// Of other kinds the undisputed entries of the origins that the genesis document names say so too.
// The same goes for a ballot or vote that was sent on more than once ([ledger.Draft.Hops]): that is
// the echo of what the network holds.
func (s *Store) Append(ctx context.Context, d *ledger.Draft) (Ack, error) {
	p, err := s.Submit(ctx, d)
	if err != nil {
		return Ack{}, err
	}
	result, err := p.Wait(ctx)
	if err != nil {
		return Ack{}, err
	}
	return result.Appended[0].Ack, nil
}

// Submit is Append without the wait, for writers of many records. One that is refused does not keep out the others:
// [Result] says what became of each, and the error of [Pending.Wait] is the first of theirs. It blocks while the queue
// is full.
func (s *Store) Submit(ctx context.Context, drafts ...*ledger.Draft) (Pending, error) {
	if s.opts.Key == nil {
		return Pending{}, ErrReadOnly
	}
	r := &request{drafts: make([]draft, len(drafts))}
	for i, d := range drafts {
		r.drafts[i] = newDraft(d)
	}
	return s.enqueue(ctx, r)
}

func (s *Store) enqueue(ctx context.Context, r *request) (Pending, error) {
	s.senders.RLock()
	defer s.senders.RUnlock()
	if err := s.writable(); err != nil {
		return Pending{}, err
	}
	r.done = make(chan struct{})
	select {
	case s.reqs <- r:
		return Pending{r}, nil
	case <-s.closing:
		return Pending{}, ErrClosed
	case <-ctx.Done():
		return Pending{}, ctx.Err()
	}
}

func (s *Store) writable() error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// Prepared are foreign entries that have passed every check that needs no ledger.
type Prepared struct {
	entries  []*checked
	verified bool // every signature was checked
	disputed bool // entries at or after a freeze may be among them
}

// Signatures says which signatures [Store.Prepare] checks.
type Signatures int

const (
	// EverySignature is for entries that came one by one.
	EverySignature Signatures = iota
	// LastSignature checks the newest entry of each log only: the hashes lead from it to all the
	// others of a range. The rest are checked later, by [Store.VerifySignatures].
	LastSignature
)

// Prepare checks foreign entries by themselves, on all cores. The first bad one is an error, an
// [*ledger.InvalidError] if its bytes prove it invalid. The entries are kept and must not be
// changed afterwards.
func (s *Store) Prepare(entries []*ledger.Entry, sigs Signatures) (*Prepared, error) {
	p := &Prepared{entries: make([]*checked, len(entries)), verified: sigs == EverySignature}
	newest := make(map[ledger.Origin]uint64) // by seq, whatever order they come in
	for _, e := range entries {
		newest[e.Header.Origin] = max(newest[e.Header.Origin], e.Header.Seq)
	}
	errs := make([]error, len(entries))
	parallel(len(entries), func(from, to int) {
		checker := ledger.Checker{Genesis: s.genesis}
		for i := from; i < to; i++ {
			e := entries[i]
			facts, err := checker.Check(e)
			if err == nil && sigs == LastSignature && newest[e.Header.Origin] == e.Header.Seq {
				err = e.CheckSignature()
			}
			if errs[i] = err; err == nil {
				p.entries[i] = newChecked(e, facts)
			}
		}
		if sigs == EverySignature {
			for i, err := range ledger.CheckSignatures(entries[from:to]) {
				errs[from+i] = cmp.Or(errs[from+i], err)
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// SetHops notes how often the entries were sent on before they came here.
func (p *Prepared) SetHops(hops uint32) {
	for _, e := range p.entries {
		raw.SetHops(e.value, min(hops, ledger.MaxHops))
	}
}

// SubmitPrepared sends prepared entries on their way into the ledger. Entries must come after the ones they name, in
// earlier calls or earlier in this one. With [LastSignature], all or none are taken.
func (s *Store) SubmitPrepared(ctx context.Context, p *Prepared) (Pending, error) {
	return s.enqueue(ctx, &request{entries: p.entries, verified: p.verified, whole: !p.verified, disputed: p.disputed})
}

// Ingest takes foreign entries and returns when they are durable. The errors that are the caller's to handle are
// [*ledger.InvalidError], [*MissingError], [*ForkError], [ErrFailed] and [ErrClosed]; entries before the one that the
// error is about are taken.
func (s *Store) Ingest(ctx context.Context, entries ...*ledger.Entry) (Result, error) {
	return s.ingest(ctx, entries, EverySignature)
}

// IngestRange takes a contiguous range of each of one or more logs by hashing: the signature of each log's last entry
// vouches for all before it. All or none are taken. The other signatures are left to [Store.VerifySignatures].
func (s *Store) IngestRange(ctx context.Context, entries []*ledger.Entry) (Result, error) {
	return s.ingest(ctx, entries, LastSignature)
}

func (s *Store) ingest(ctx context.Context, entries []*ledger.Entry, sigs Signatures) (Result, error) {
	p, err := s.Prepare(entries, sigs)
	if err != nil {
		return Result{}, err
	}
	pending, err := s.SubmitPrepared(ctx, p)
	if err != nil {
		return Result{}, err
	}
	return pending.Wait(ctx)
}

// VerifySignatures checks all signatures of undisputed entries that ranges left unchecked and remembers how far it came in each log. Checking
// of a log stops at a bad one, which is invalid for everybody; the first such [*ledger.InvalidError] is returned when
// the other logs are done.
func (s *Store) VerifySignatures(ctx context.Context, progress func(done uint64)) error {
	v := verifying{s: s, progress: progress, bad: map[ledger.Origin]bool{}}
	for _, h := range s.heads() {
		for from, end := h.Verified, s.undisputed(h); from < end && !v.bad[h.Log.Origin]; {
			to := min(from+verifyAtOnce-v.entries, end)
			v.parts, v.entries = append(v.parts, logPart{h.Log.Origin, from, to}), v.entries+to-from
			from = to
			if v.entries == verifyAtOnce {
				if err := v.settle(ctx); err != nil {
					return err
				}
			}
		}
	}
	if err := v.settle(ctx); err != nil {
		return err
	}
	return v.first
}

// verifyAtOnce is how many signatures are checked before it is remembered that they were: each time is a sync of the disk,
// whether they are of one log or of many.
const verifyAtOnce = 1024

// verifying is a check of signatures under way.
type verifying struct {
	s        *Store
	progress func(done uint64)
	parts    []logPart // to be checked next, of different logs
	entries  uint64    // in them
	done     uint64
	bad      map[ledger.Origin]bool
	first    error // the first bad one
}

// logPart is the entries of a log with from ≤ seq < to.
type logPart struct {
	origin   ledger.Origin
	from, to uint64
}

// settle checks the parts, and remembers how far each is good.
func (v *verifying) settle(ctx context.Context) error {
	if len(v.parts) == 0 {
		return nil
	}
	var entries []*ledger.Entry
	for _, part := range v.parts {
		for e, err := range v.s.Log(ctx, part.origin, part.from, part.to) {
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
	}
	errs := make([]error, len(entries))
	parallel(len(entries), func(i, end int) {
		copy(errs[i:end], ledger.CheckSignatures(entries[i:end]))
	})
	mark := map[ledger.Origin]uint64{}
	for i, e := range entries {
		o := e.Header.Origin
		var bad *ledger.InvalidError
		switch {
		case v.bad[o]:
		case errors.As(errs[i], &bad):
			v.bad[o], v.first = true, cmp.Or(v.first, errs[i])
		case errs[i] != nil:
			return errs[i]
		default:
			mark[o] = e.Header.Seq + 1
			v.done++
		}
	}
	v.parts, v.entries = nil, 0
	if len(mark) > 0 {
		pending, err := v.s.enqueue(ctx, &request{mark: mark})
		if err != nil {
			return err
		}
		if _, err := pending.Wait(ctx); err != nil {
			return err
		}
	}
	if v.progress != nil {
		v.progress(v.done)
	}
	return nil
}

// parallel splits n items among all cores.
func parallel(n int, work func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), (n+31)/32) // below 32 items a second goroutine costs more than it saves
	if workers <= 1 {
		work(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { work(n*w/workers, n*(w+1)/workers) })
	}
	wg.Wait()
}
