package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"pyvnode/ledger"
)

// EntryFileSide is a [Side] of an entry file. It remembers where each entry stands and reads it when asked.
type EntryFileSide struct {
	file    *os.File
	genesis *ledger.Genesis
	logs    map[ledger.Origin]*fileLog
}

type fileLog struct {
	head    ledger.Citation
	offsets []int64 // of entries, by seq
	lengths []uint32
}

// OpenEntryFile reads an entry file through. Entries must follow each other, so that the newest hashes vouch for all;
// signatures and records are not checked. The error wraps [ledger.ErrEntryFile] where the file is not what it should be.
func OpenEntryFile(ctx context.Context, path string) (*EntryFileSide, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &EntryFileSide{file: f, logs: map[ledger.Origin]*fileLog{}}
	if err := s.read(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *EntryFileSide) read(ctx context.Context) error {
	r, err := ledger.NewEntryFileReader(s.file)
	if err != nil {
		return err
	}
	s.genesis = r.Genesis()
	var decoder ledger.Decoder
	var e ledger.Entry
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := decoder.Decode(&e, raw); err != nil {
			return fmt.Errorf("%w: before byte %d: %w", ledger.ErrEntryFile, r.Offset(), err)
		}
		h := &e.Header
		l := s.logs[h.Origin]
		if l == nil {
			l = new(fileLog)
			s.logs[h.Origin] = l
		}
		if h.Seq != uint64(len(l.offsets)) || h.Prev != l.head.Hash {
			return fmt.Errorf("%w: entry %d of %v does not follow the one before", ledger.ErrEntryFile, h.Seq, h.Origin)
		}
		l.head = e.Citation()
		l.offsets = append(l.offsets, r.Offset()-int64(len(raw)))
		l.lengths = append(l.lengths, uint32(len(raw)))
	}
}

// Genesis returns the genesis document that the file carries.
func (s *EntryFileSide) Genesis() *ledger.Genesis { return s.genesis }

// Close closes the file.
func (s *EntryFileSide) Close() error { return s.file.Close() }

// Frontier implements [Side].
func (s *EntryFileSide) Frontier(context.Context) (ledger.Frontier, error) {
	var f ledger.Frontier
	for _, l := range s.logs {
		f = append(f, ledger.Row{Citation: l.head})
	}
	f.Sort()
	return f, nil
}

// Entries implements [Side].
func (s *EntryFileSide) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		l := s.logs[o]
		if l == nil {
			return
		}
		for seq := from; seq < min(to, uint64(len(l.offsets))); seq++ {
			raw := make([]byte, l.lengths[seq])
			_, err := s.file.ReadAt(raw, l.offsets[seq])
			if err == nil {
				err = ctx.Err()
			}
			var e *ledger.Entry
			if err == nil {
				e, err = ledger.DecodeEntry(raw)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
