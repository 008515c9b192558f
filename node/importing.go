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

// chainMagic begins the chain files of the original server (the original protocol, §9).
const chainMagic = "PYDB"

// DetectFormat looks at the start of a file without consuming it.
func DetectFormat(in *bufio.Reader) (InputFormat, error) {
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
	Read int `json:"read"` // whole entries in the file, up to the first error
	New  int `json:"new"`
	Held int `json:"held"` // already before
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

// ImportEntries takes the entries of a file into the logs of their origins. Each batch is taken by hashing, which the
// signatures of its newest entries vouch for; all the others are checked before ImportEntries returns. On an error the
// batch that it came in is left out, and so is what builds on it; all the rest is kept. The error says which entry it is
// about, and wraps [ledger.ErrEntryFile], [store.ErrOtherNetwork], or is one of [store.Store.Ingest].
func (n *Node) ImportEntries(ctx context.Context, in io.Reader, progress func(ImportProgress)) (EntrySummary, error) {
	var sum EntrySummary
	f, err := ledger.NewEntryFileReader(in)
	if err != nil {
		return sum, err
	}
	if theirs, ours := f.Genesis(), n.Genesis(); theirs.Network() != ours.Network() {
		return sum, fmt.Errorf("%w: the file is of %q (%s), this node is of %q (%s)", store.ErrOtherNetwork,
			theirs.Name, theirs.Network().Short(), ours.Name, ours.Network().Short())
	}
	var offset int64
	var underWay [][]*ledger.Entry // batches of which it is not known what became of them
	p := n.NewPipeline(ctx, 0, func(r store.Result) {
		underWay = underWay[1:]
		sum.New += r.Joined
		sum.Held += r.Held
		if progress != nil {
			progress(ImportProgress{Entries: sum.New + sum.Held, Offset: offset})
		}
	})
	var unread error
	for b := range readBatches(ctx, f) {
		sum.Read += len(b.entries)
		offset, unread = b.offset, ignoreEOF(b.end)
		if len(b.entries) > 0 {
			underWay = append(underWay, b.entries)
			if p.Add(b.entries) != nil {
				break
			}
		}
	}
	_, failed := p.Close()
	var invalid *ledger.InvalidError
	if errors.As(failed, &invalid) && len(underWay) > 0 {
		var taken store.Result
		taken, failed = n.takeBefore(ctx, invalid, underWay[0])
		sum.New += taken.Joined
		sum.Held += taken.Held
	}
	failed = cmp.Or(failed, unread, context.Cause(ctx))
	if ctx.Err() != nil {
		return sum, failed // the store remembers what is not checked, and the next import checks it
	}
	// What was taken is checked whether or not all could be.
	err = n.VerifySignatures(ctx, func(done uint64) {
		if progress != nil {
			progress(ImportProgress{Entries: sum.New + sum.Held, Offset: offset, Verified: done})
		}
	})
	if failed == nil {
		failed = err
	}
	return sum, failed
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

// importBatch is a batch of entries that were read.
type importBatch struct {
	entries []*ledger.Entry
	offset  int64 // behind it, in the file
	end     error // io.EOF behind the last one, or what ended the reading
}

// readBatches yields an entry file in batches, and reads the next meanwhile. It ends behind the last one, or when the
// context does. The reading is not waited for: it may hang in a read that only its source can end.
func readBatches(ctx context.Context, f *ledger.EntryFileReader) iter.Seq[importBatch] {
	return func(yield func(importBatch) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ahead := make(chan importBatch, 1)
		go func() {
			for b := (importBatch{}); b.end == nil; {
				b.entries, b.end = nextBatch(f)
				b.offset = f.Offset()
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

// nextBatch reads entries up to the bounds of a batch; end is io.EOF behind the last one.
func nextBatch(f *ledger.EntryFileReader) (batch []*ledger.Entry, end error) {
	for size := 0; len(batch) < store.RangeEntries && size < store.RangeBytes; {
		raw, err := f.Next()
		if err != nil {
			return batch, err
		}
		e, err := ledger.DecodeEntry(bytes.Clone(raw))
		if err != nil {
			return batch, fmt.Errorf("%w: before byte %d: %w", ledger.ErrEntryFile, f.Offset(), err)
		}
		batch = append(batch, e)
		size += len(raw)
	}
	return batch, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
