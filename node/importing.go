package node

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
)

// InputFormat is what a file to be imported holds.
type InputFormat string

// The formats that [DetectFormat] tells apart.
const (
	EntryFormat InputFormat = "entries" // an entry file: signed entries, which keep their place in their logs
	LineFormat  InputFormat = "records" // lines of records, which go into this node's own log
	ChainFormat InputFormat = "chain"   // a chain file of the original server, likewise
)

// chainMagic begins the chain files of the original server (docs/original-protocol.md §9).
const chainMagic = "PYDB"

// DetectFormat looks at the start of a file without consuming it. The error is one of reading, or an [*InputError] where
// the start says that it is something else.
func DetectFormat(in *bufio.Reader) (InputFormat, error) {
	if err := checkForm(in); err != nil {
		return "", err
	}
	start, err := in.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch {
	case ledger.IsEntryFile(start):
		return EntryFormat, nil
	case bytes.HasPrefix(start, []byte(chainMagic)):
		return ChainFormat, nil
	}
	return LineFormat, nil
}

// EntrySummary counts what became of the entries of a file.
type EntrySummary struct {
	Read     int `json:"read"`   // whole entries in the file, up to the first error
	Proofs   int `json:"proofs"` // pieces of evidence in it, likewise
	New      int `json:"new"`
	Held     int `json:"held"`     // already before
	Uncited  int `json:"uncited"`  // disputed here, and left out because no undisputed entry leads to them
	Evidence int `json:"evidence"` // pieces that are new, or better than what was held
}

// ChainIndex says which records of a chain file are the newest with their keys: those that the original shows.
type ChainIndex struct {
	newest map[string]int64 // offset by key
	older  int
}

// IndexChain reads a chain file to its end, or to where it cannot be read on, which [ChainIndex.Inputs] reports.
func IndexChain(ctx context.Context, r io.Reader) (*ChainIndex, error) {
	x := &ChainIndex{newest: map[string]int64{}}
	for c, err := range legacy.ReadChain(r) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			continue
		}
		if _, known := x.newest[c.Key]; known {
			x.older++
		}
		x.newest[c.Key] = c.Offset
	}
	return x, nil
}

// Older returns how many records [ChainIndex.Inputs] leaves out, because a newer one has their key.
func (x *ChainIndex) Older() int { return x.older }

// Inputs yields the records of the same chain file, all of one kind, numbered from 1. A record that is not what was
// written is an input with an error; a file that cannot be read on is an error that wraps [legacy.ErrChainFile].
func (x *ChainIndex) Inputs(r io.Reader, kind string) iter.Seq2[Input, error] {
	return func(yield func(Input, error) bool) {
		n := 0
		for c, err := range legacy.ReadChain(r) {
			n++
			in := Input{Line: n, Kind: kind, Text: c.Packed, header: c.Key}
			switch {
			case err != nil && c.Packed == nil:
				yield(Input{}, err)
				return
			case err != nil:
				in.Err = &InputError{Reason: DamagedRecord, Detail: err.Error()}
			case x.newest[c.Key] != c.Offset:
				continue
			}
			if !yield(in, nil) {
				return
			}
		}
	}
}

// ImportProgress says how far an import of entries is.
type ImportProgress struct {
	Entries  int    // taken or held
	Offset   int64  // bytes read of the file
	Verified uint64 // signatures checked at the end
}

// ImportEntries takes the evidence and the entries of a file into the logs of their origins. Each batch of entries is taken
// by hashing, which the signatures of its newest entries vouch for; all the others are checked before ImportEntries
// returns. On an error the batch that it came in is left out, and so is what builds on it; all the rest is kept. The error
// says which entry or place in the file it is about, and wraps [ledger.ErrEntryFile], [store.ErrOtherNetwork], or is one of
// [store.Store.Ingest].
//
// Disputed entries are taken as nodes take them from each other: where an undisputed entry leads to them.
func (n *Node) ImportEntries(ctx context.Context, in io.Reader, progress func(ImportProgress)) (EntrySummary, error) {
	f, err := ledger.NewEntryFileReader(in)
	if err != nil {
		return EntrySummary{}, err
	}
	if theirs, ours := f.Genesis(), n.Genesis(); theirs.Network() != ours.Network() {
		return EntrySummary{}, fmt.Errorf("%w: the file is of %q (%s), this node is of %q (%s)", store.ErrOtherNetwork,
			theirs.Name, theirs.Network().Beside(ours.Network()), ours.Name, ours.Network().Beside(theirs.Network()))
	}
	if progress == nil {
		progress = func(ImportProgress) {}
	}
	i := &importing{n: n, ctx: ctx, progress: progress}
	i.pipeline = n.NewPipeline(ctx, 0, i.settled)
	var failed error
	for b := range readBatches(ctx, f) {
		i.offset = b.offset
		if failed = cmp.Or(i.add(b), ignoreEOF(b.end)); failed != nil {
			break
		}
	}
	failed = cmp.Or(i.finish(), failed, context.Cause(ctx))
	if ctx.Err() != nil {
		return i.sum, failed // the store remembers what is not checked, and the next import checks it
	}
	// What was taken is checked whether or not all could be.
	err = n.VerifySignatures(ctx, func(done uint64) { i.tell(done) })
	return i.sum, cmp.Or(failed, err)
}

// importing is an import of an entry file under way.
type importing struct {
	n        *Node
	ctx      context.Context
	pipeline *store.Pipeline
	progress func(ImportProgress)
	sum      EntrySummary
	offset   int64
	underWay []importRun // of which it is not known what became of them
	disputes disputes
	// Evidence against origins that the genesis document does not name and of which nothing is held: it counts once the
	// file has an entry of them. Keys cost nothing, so anybody can make as much of it as he likes.
	later      map[ledger.Origin]*proof.Evidence
	laterBytes int
}

// Bounds of importing.later, in pieces and in bytes.
const (
	maxLater      = 4096
	maxLaterBytes = 16 << 20
)

// importRun is a part of a batch as the store gets it.
type importRun struct {
	entries  []*ledger.Entry
	disputed bool
}

func (i *importing) tell(verified uint64) {
	i.progress(ImportProgress{Entries: i.sum.New + i.sum.Held, Offset: i.offset, Verified: verified})
}

func (i *importing) settled(r store.Result) {
	i.underWay = i.underWay[1:]
	i.sum.New += r.Joined
	i.sum.Held += r.Held
	i.tell(0)
}

// add takes what a batch of a file holds.
func (i *importing) add(b importBatch) error {
	for _, ev := range b.evidence {
		if err := i.accuse(ev); err != nil {
			return err
		}
	}
	i.sum.Read += len(b.entries)
	i.sum.Proofs += len(b.evidence)
	var run []*ledger.Entry
	for _, e := range b.entries {
		o := e.Header.Origin
		if ev := i.later[o]; ev != nil {
			i.laterBytes -= len(ev.Bytes())
			delete(i.later, o)
			if err := i.keep(ev); err != nil {
				return err
			}
		}
		if i.n.Disputed(store.Ref{Origin: o, Seq: e.Header.Seq}) {
			i.disputes.hold(e)
			continue
		}
		if led := i.disputes.lead(e); len(led) > 0 {
			if err := i.send(importRun{entries: run}); err != nil {
				return err
			}
			run = nil
			for part := range slices.Chunk(led, store.RangeEntries) {
				if err := i.send(importRun{part, true}); err != nil {
					return err
				}
			}
		}
		run = append(run, e)
	}
	return i.send(importRun{entries: run})
}

func (i *importing) send(run importRun) error {
	switch {
	case len(run.entries) == 0:
		return nil
	case run.disputed:
		i.underWay = append(i.underWay, run)
		return i.pipeline.AddDisputed(run.entries)
	}
	i.underWay = append(i.underWay, run)
	return i.pipeline.Add(run.entries)
}

// accuse takes evidence that was verified, by the rule of nodes: against whom the genesis document names, and against whose
// log is held.
func (i *importing) accuse(ev *proof.Evidence) error {
	o := ev.Origin()
	if _, held := i.n.Row(o); held || i.n.Genesis().Names(o) || i.n.EvidenceOf(o) != nil {
		return i.keep(ev)
	}
	if i.later == nil {
		i.later = map[ledger.Origin]*proof.Evidence{}
	}
	held, size := i.later[o], len(ev.Bytes())
	if held != nil {
		if ev.Compare(held) >= 0 {
			return nil
		}
		size -= len(held.Bytes())
	} else if len(i.later) == maxLater {
		return nil
	}
	if i.laterBytes+size <= maxLaterBytes {
		i.later[o] = ev
		i.laterBytes += size
	}
	return nil
}

// keep keeps evidence, and returns when it is durable and the log is frozen.
func (i *importing) keep(ev *proof.Evidence) error {
	added, err := i.n.AddEvidence(i.ctx, ev)
	if added {
		i.sum.Evidence++
	}
	return err
}

// finish waits for what is under way and returns the first error of it. Of a run with an invalid entry, those before it
// are taken.
func (i *importing) finish() error {
	_, err := i.pipeline.Close()
	i.sum.Uncited = i.disputes.uncited()
	var invalid *ledger.InvalidError
	if !errors.As(err, &invalid) || len(i.underWay) == 0 || i.underWay[0].disputed {
		return err
	}
	taken, err := i.n.takeBefore(i.ctx, invalid, i.underWay[0].entries)
	i.sum.New += taken.Joined
	i.sum.Held += taken.Held
	return err
}

// takeBefore takes the entries of a batch that stand before an invalid one, and returns why it took no more.
func (n *Node) takeBefore(ctx context.Context, invalid *ledger.InvalidError, batch []*ledger.Entry) (store.Result, error) {
	for {
		good := slices.IndexFunc(batch, func(e *ledger.Entry) bool {
			return e.Header.Origin == invalid.Origin && e.Header.Seq == invalid.Seq
		})
		if good <= 0 {
			return store.Result{}, invalid
		}
		batch = batch[:good]
		result, err := n.IngestRange(ctx, batch)
		if err == nil {
			return result, invalid
		}
		if !errors.As(err, &invalid) { // an earlier one, whose signature was not the last of its log before
			return result, err
		}
	}
}

// importBatch is a part of an entry file that was read.
type importBatch struct {
	evidence []*proof.Evidence // verified
	entries  []*ledger.Entry
	offset   int64 // behind it, in the file
	end      error // io.EOF behind the last one, or what ended the reading
}

// readBatches yields an entry file in batches, and reads the next meanwhile. It ends behind the last one, or when the
// context does. The reading is not waited for: it may hang in a read that only its source can end.
func readBatches(ctx context.Context, f *ledger.EntryFileReader) iter.Seq[importBatch] {
	return func(yield func(importBatch) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ahead := make(chan importBatch, 1)
		go func() {
			var order ledger.EntryFileOrder
			for b := (importBatch{}); b.end == nil; {
				b = nextBatch(f, &order)
				select {
				case ahead <- b:
				case <-ctx.Done():
					return
				}
			}
		}()
		for {
			select {
			case b := <-ahead:
				if !yield(b) || b.end != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// nextBatch reads up to the bounds of a batch.
func nextBatch(f *ledger.EntryFileReader, order *ledger.EntryFileOrder) (b importBatch) {
	for size := 0; b.end == nil && len(b.evidence)+len(b.entries) < store.RangeEntries && size < store.RangeBytes; {
		at := f.Offset()
		kind, raw, err := f.Next()
		b.offset = f.Offset()
		size += len(raw)
		if err != nil {
			b.end = err
			return b
		}
		if kind == ledger.EvidenceItem {
			var ev *proof.Evidence
			if ev, err = readEvidence(raw, f.Genesis()); err == nil {
				err = order.Evidence(ev.Origin())
			}
			if err == nil {
				b.evidence = append(b.evidence, ev)
				continue
			}
		} else {
			var e *ledger.Entry
			if e, err = ledger.DecodeEntry(bytes.Clone(raw)); err == nil {
				err = order.Entry(e)
			}
			if err == nil {
				b.entries = append(b.entries, e)
				continue
			}
		}
		b.end = fmt.Errorf("%w: at byte %d: %w", ledger.ErrEntryFile, at, err)
	}
	return b
}

// readEvidence reads and verifies evidence. The bytes may be changed afterwards.
func readEvidence(raw []byte, g *ledger.Genesis) (*proof.Evidence, error) {
	ev, err := proof.ParseEvidence(raw)
	if err == nil {
		err = ev.Verify(g)
	}
	return ev, err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
