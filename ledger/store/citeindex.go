package store

import (
	"bytes"
	"context"
	"iter"

	"pyvnode/ledger"
)

// citeIndex says which parts of the logs cite which origins, so that few have to be read again when one is accused. It is filled
// when it is first needed, by one reading of all entries, and goes on from there.
//
// It takes at most 24 bytes for each 16 entries and 384 more for each [citeChunk] of a log: 19 MB for 10,000,000 entries. In a
// network of eight that write much it takes two.
type citeIndex struct {
	ids  map[ledger.Origin]uint32
	logs []citedBy // by number
}

// citedBy is what one log cites.
type citedBy struct {
	size   uint64 // entries that were read
	chunks []citeChunkOf
}

// citeChunk is how many entries make a chunk.
const citeChunk = 1024

// citeChunkOf is what a chunk of a log cites. One that cites too many origins says nothing, and is always read.
type citeChunkOf struct {
	cites []cited
	many  bool
}

// cited says which entries of an origin are cited, from the earliest to the latest.
type cited struct {
	id       uint32
	from, to uint64
}

// span is a part of a log, without its end.
type span struct{ from, to uint64 }

// spans are parts of logs.
type spans map[ledger.Origin]span

func (s spans) have(c ledger.Citation) bool {
	in, ok := s[c.Origin]
	return ok && c.Seq >= in.from && c.Seq < in.to
}

// extend reads the entries that are new since the last time.
func (x *citeIndex) extend(ctx context.Context, s *Store, heads []*head) error {
	if x.ids == nil {
		x.ids = map[ledger.Origin]uint32{}
	}
	for _, h := range heads {
		if int(h.number) >= len(x.logs) {
			x.logs = append(x.logs, citedBy{})
		}
		log := &x.logs[h.number]
		for e, err := range scanSeen(ctx, s, h, span{log.size, h.log.Size()}) {
			if err != nil {
				return err
			}
			x.add(log, e)
		}
	}
	return nil
}

func (x *citeIndex) add(log *citedBy, e seenEntry) {
	n := int(e.seq / citeChunk)
	if n == len(log.chunks) {
		log.chunks = append(log.chunks, citeChunkOf{})
	}
	chunk := &log.chunks[n]
	log.size = e.seq + 1
	for _, c := range e.seen {
		if !chunk.many {
			x.cite(chunk, c, 16+int(e.seq%citeChunk)/16)
		}
	}
}

func (x *citeIndex) cite(chunk *citeChunkOf, c ledger.Citation, limit int) {
	id, ok := x.ids[c.Origin]
	if !ok {
		id = uint32(len(x.ids))
		x.ids[c.Origin] = id
	}
	for i := range chunk.cites {
		if is := &chunk.cites[i]; is.id == id {
			is.from, is.to = min(is.from, c.Seq), max(is.to, c.Seq)
			return
		}
	}
	if len(chunk.cites) == limit {
		*chunk = citeChunkOf{many: true}
		return
	}
	chunk.cites = append(chunk.cites, cited{id, c.Seq, c.Seq})
}

// scan yields the entries of a part of a log, as far as it was read, that are in chunks which may cite what is wanted.
func (x *citeIndex) scan(ctx context.Context, s *Store, h *head, in span, wanted spans) iter.Seq2[seenEntry, error] {
	return func(yield func(seenEntry, error) bool) {
		byID := map[uint32]span{}
		for o, w := range wanted {
			if id, ok := x.ids[o]; ok {
				byID[id] = w
			}
		}
		log := &x.logs[h.number]
		for n := range log.chunks {
			start := uint64(n) * citeChunk
			part := span{max(in.from, start), min(in.to, start+citeChunk, log.size)}
			if part.from >= part.to || !log.chunks[n].mayCite(byID) {
				continue
			}
			for e, err := range scanSeen(ctx, s, h, part) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func (c *citeChunkOf) mayCite(wanted map[uint32]span) bool {
	if c.many {
		return true
	}
	for _, is := range c.cites {
		if w, ok := wanted[is.id]; ok && is.from < w.to && is.to >= w.from {
			return true
		}
	}
	return false
}

// seenEntry is an entry as far as its citations are concerned. It is valid until the next one.
type seenEntry struct {
	seq  uint64
	seen []ledger.Citation
	raw  []byte
}

func (e *seenEntry) hash() (ledger.Hash, error) {
	entry, err := ledger.DecodeEntry(bytes.Clone(e.raw))
	if err != nil {
		return ledger.Hash{}, err
	}
	return entry.Hash, nil
}

// scanSeen yields the entries of a part of a log.
func scanSeen(ctx context.Context, s *Store, h *head, in span) iter.Seq2[seenEntry, error] {
	return func(yield func(seenEntry, error) bool) {
		e := seenEntry{seq: in.from}
		for pair, err := range s.scanLog(ctx, h, in.from, in.to) {
			if err != nil {
				yield(seenEntry{}, err)
				return
			}
			st, err := parseStored(pair.Value)
			if err == nil {
				e.raw = st.raw
				e.seen, err = ledger.AppendSeen(e.seen[:0], st.raw)
			}
			if err != nil {
				yield(seenEntry{}, damage(string(pair.Key), "%v", err))
				return
			}
			if !yield(e, nil) {
				return
			}
			e.seq++
		}
	}
}
