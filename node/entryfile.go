package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
)

// EntryFileSide is a [Side] of an entry file. It remembers where each undisputed entry stands and reads it when asked.
type EntryFileSide struct {
	file    *os.File
	genesis *ledger.Genesis
	logs    map[ledger.Origin]*fileLog
	frozen  map[ledger.Origin]*proof.Evidence
	reached map[ledger.Hash]ledger.Citation // disputed entries that undisputed ones lead to
	before  map[ledger.Hash]bool            // what these name as predecessor
}

type fileLog struct {
	head    ledger.Citation
	offsets []int64 // of entries, by seq
	lengths []uint32
}

// OpenEntryFile reads an entry file through. Entries must follow each other, so that the newest hashes vouch for all;
// evidence is verified, signatures and records of entries are not checked. The error wraps [ledger.ErrEntryFile] where the file is not what it should be.
func OpenEntryFile(ctx context.Context, path string) (*EntryFileSide, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &EntryFileSide{
		file: f, logs: map[ledger.Origin]*fileLog{}, frozen: map[ledger.Origin]*proof.Evidence{},
		reached: map[ledger.Hash]ledger.Citation{}, before: map[ledger.Hash]bool{},
	}
	if err := s.read(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *EntryFileSide) read(ctx context.Context) error {
	start := make([]byte, record.SourceBytes)
	n, err := s.file.ReadAt(start, 0)
	if err == nil || errors.Is(err, io.EOF) {
		err = formError(start[:n])
	}
	if err != nil {
		return err
	}
	r, err := ledger.NewEntryFileReader(s.file)
	if err != nil {
		return err
	}
	s.genesis = r.Genesis()
	var decoder ledger.Decoder
	var decoded ledger.Entry
	var disputes disputes
	var order ledger.EntryFileOrder
	for {
		at := r.Offset()
		kind, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		damaged := func(err error) error { return fmt.Errorf("%w: at byte %d: %w", ledger.ErrEntryFile, at, err) }
		if kind == ledger.EvidenceItem {
			ev, err := readEvidence(raw, s.genesis)
			if err == nil {
				err = order.Evidence(ev.Origin())
			}
			if err != nil {
				return damaged(err)
			}
			s.frozen[ev.Origin()] = ev
			continue
		}
		e := &decoded
		err = decoder.Decode(e, raw)
		if err == nil {
			err = order.Entry(e)
		}
		if err != nil {
			return damaged(err)
		}
		h := &e.Header
		if ev := s.frozen[h.Origin]; ev != nil && h.Seq >= ev.Seq() {
			e, err := ledger.DecodeEntry(bytes.Clone(raw)) // decoded is used again
			if err == nil && !disputes.hold(e) {
				err = errors.New("more disputed entries wait for an undisputed one that leads to them than there is room for")
			}
			if err != nil {
				return damaged(err)
			}
			continue
		}
		for _, led := range disputes.lead(e) {
			s.reached[led.Hash] = led.Citation()
			s.before[led.Header.Prev] = true
		}
		l := s.logs[h.Origin]
		if l == nil {
			l = new(fileLog)
			s.logs[h.Origin] = l
		}
		if h.Seq != uint64(len(l.offsets)) || h.Prev != l.head.Hash {
			return damaged(fmt.Errorf("entry %d of %v does not follow the one before", h.Seq, h.Origin))
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
	rows := map[ledger.Origin]*ledger.Row{}
	for o, l := range s.logs {
		rows[o] = &ledger.Row{Citation: l.head}
	}
	for o, ev := range s.frozen {
		if rows[o] == nil {
			rows[o] = &ledger.Row{Citation: ledger.Citation{Origin: o}}
		}
		rows[o].Frozen = &ledger.Freeze{Seq: ev.Seq(), Evidence: ev.ID()}
	}
	cited := map[ledger.Origin][]ledger.Hash{}
	for hash, is := range s.reached {
		if !s.before[hash] {
			cited[is.Origin] = append(cited[is.Origin], hash)
		}
	}
	for o, entries := range cited {
		rows[o].Frozen.Cited = ledger.CitedHash(entries)
	}
	var f ledger.Frontier
	for _, row := range rows {
		f = append(f, *row)
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
