package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

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

// Bounds of one batch of entries, and how many batches are under way at once.
const (
	importEntries = 256
	importBytes   = 1 << 20
	importWindow  = 16
)

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
	var window []store.Pending
	var offset int64
	settle := func(keep int) error { // waits until at most keep batches are under way
		var first error
		for len(window) > keep || first != nil && len(window) > 0 {
			result, err := window[0].Wait(context.WithoutCancel(ctx))
			window = window[1:]
			sum.New += result.Joined
			sum.Held += result.Held
			if first == nil {
				first = err
			}
		}
		if progress != nil {
			progress(ImportProgress{Entries: sum.New + sum.Held, Offset: offset})
		}
		return first
	}
	var failed error
	ahead, stop := context.WithCancel(ctx)
	defer stop()
	for future := range readAhead(ahead, n.Store, f) {
		b := <-future
		sum.Read += len(b.entries)
		offset = b.offset
		if len(b.entries) > 0 {
			var pending []store.Pending
			pending, failed = n.submitEntries(ctx, b)
			window = append(window, pending...)
		}
		if failed == nil && b.end != io.EOF {
			failed = b.end
		}
		if failed == nil {
			failed = settle(importWindow - 1)
		}
		if failed == nil {
			failed = context.Cause(ctx)
		}
		if failed != nil {
			break
		}
	}
	if err := settle(0); err != nil {
		failed = err
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
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

// nextBatch reads entries up to the bounds of a batch; end is io.EOF behind the last one.
func nextBatch(f *ledger.EntryFileReader) (batch []*ledger.Entry, end error) {
	for size := 0; len(batch) < importEntries && size < importBytes; {
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

// importBatch is a batch of entries that were read and checked by themselves.
type importBatch struct {
	entries  []*ledger.Entry
	prepared *store.Prepared
	refused  error // why it could not be prepared
	offset   int64 // behind it, in the file
	end      error // io.EOF behind the last one, or what ended the reading
}

// importAhead is how many batches are read and checked ahead of the one that is being stored.
const importAhead = 3

// readAhead reads batches and checks several at once, and yields them in order. It ends by itself behind the last one,
// or when the context ends; it is not waited for, because it may hang in a read that only its source can end.
func readAhead(ctx context.Context, s *store.Store, f *ledger.EntryFileReader) <-chan chan importBatch {
	out := make(chan chan importBatch, importAhead)
	go func() {
		defer close(out)
		for {
			var b importBatch
			b.entries, b.end = nextBatch(f)
			b.offset = f.Offset()
			future := make(chan importBatch, 1)
			select {
			case out <- future:
			case <-ctx.Done():
				return
			}
			go func() {
				b.prepared, b.refused = s.Prepare(b.entries, store.LastSignature)
				future <- b
			}()
			if b.end != nil {
				return
			}
		}
	}()
	return out
}

// submitEntries sends a batch on its way; of one with an invalid entry, those before it.
func (n *Node) submitEntries(ctx context.Context, b importBatch) ([]store.Pending, error) {
	batch, prepared, failed := b.entries, b.prepared, b.refused
	var invalid *ledger.InvalidError
	for failed != nil && prepared == nil {
		if !errors.As(failed, &invalid) {
			return nil, failed
		}
		good := 0
		for good < len(batch) && (batch[good].Header.Origin != invalid.Origin || batch[good].Header.Seq != invalid.Seq) {
			good++
		}
		if good == 0 || good == len(batch) {
			return nil, failed
		}
		var err error
		if prepared, err = n.Prepare(batch[:good], store.LastSignature); err != nil {
			batch, failed = batch[:good], err // an earlier entry, whose signature was not the last one before
		}
	}
	pending, err := n.SubmitPrepared(ctx, prepared)
	if err != nil {
		return nil, err
	}
	return []store.Pending{pending}, failed
}
