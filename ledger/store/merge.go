package store

import (
	"container/heap"
	"context"
	"iter"
	"sync"

	"pyvnode/ledger"
)

// Bounds of what a [Merge] reads ahead, besides the entry that it yields next and 64 bytes for each log.
const (
	mergeEntries = 1024     // in all its logs
	mergeBytes   = 1 << 20  // likewise
	mergeChunk   = 64 << 10 // of one log, unless a single entry is longer
)

// Merge yields parts of several logs in canonical order. However many there are, it keeps no more than a few of their
// entries in memory and no scan of the datastore open.
type Merge struct {
	s     *Store
	parts mergeHeap
	ahead int // bytes that are read ahead
}

type mergePart struct {
	h        *head
	next, to uint64
	height   uint64 // of next
	ahead    []*Stored
}

// NewMerge returns a merge of nothing.
func (s *Store) NewMerge() *Merge { return &Merge{s: s} }

// Add adds the entries of a log with from ≤ seq < to, as far as they are held. No log may be added twice.
func (m *Merge) Add(o ledger.Origin, from, to uint64) {
	m.s.mu.RLock()
	h := m.s.logs[o]
	m.s.mu.RUnlock()
	if to = min(to, h.size()); from < to {
		m.parts = append(m.parts, mergePart{h: h, next: from, to: to})
	}
}

// Logs returns how many logs have entries to yield.
func (m *Merge) Logs() int { return len(m.parts) }

// All yields everything that was added, once. An error ends the sequence.
func (m *Merge) All(ctx context.Context) iter.Seq2[*Stored, error] {
	return func(yield func(*Stored, error) bool) {
		for i := range m.parts {
			p := &m.parts[i]
			if p.height = m.s.firstHeights.of(p); p.height > 0 {
				continue
			}
			if err := m.fill(ctx, p); err != nil {
				yield(nil, err)
				return
			}
			m.s.firstHeights.note(p)
			m.trim(p)
		}
		heap.Init(&m.parts)
		for len(m.parts) > 0 {
			p := &m.parts[0]
			if len(p.ahead) == 0 {
				if err := m.fill(ctx, p); err != nil {
					yield(nil, err)
					return
				}
			}
			e := p.ahead[0]
			p.ahead = p.ahead[1:]
			m.ahead -= e.Len()
			if !yield(e, nil) {
				return
			}
			if p.next++; p.next == p.to {
				heap.Pop(&m.parts)
				continue
			}
			if len(p.ahead) > 0 {
				p.height = p.ahead[0].Header.Height
			} else if err := m.fill(ctx, p); err != nil {
				yield(nil, err)
				return
			}
			m.trim(p)
			heap.Fix(&m.parts, 0)
		}
	}
}

// fill reads on in a log.
func (m *Merge) fill(ctx context.Context, p *mergePart) error {
	to := min(p.to, p.next+uint64(max(1, mergeEntries/len(m.parts))))
	size := 0
	if to == p.next+1 {
		e, err := m.s.read(ctx, place{p.h.number, p.next})
		if err != nil {
			return err
		}
		p.ahead, size = append(p.ahead[:0:0], e), e.Len()
	} else {
		p.ahead = nil
		for pair, err := range m.s.scanLog(ctx, p.h, p.next, to) {
			if err != nil {
				return err
			}
			e, err := decodeStored(string(pair.Key), append([]byte(nil), pair.Value...))
			if err != nil {
				return err
			}
			p.ahead = append(p.ahead, e)
			if size += e.Len(); size >= mergeChunk {
				break
			}
		}
	}
	m.ahead += size
	p.height = p.ahead[0].Header.Height
	return nil
}

// trim forgets what was read ahead of a log when all together is too much. It is read again when its turn comes.
func (m *Merge) trim(p *mergePart) {
	if m.ahead <= mergeBytes {
		return
	}
	for _, e := range p.ahead {
		m.ahead -= e.Len()
	}
	p.ahead = nil
}

// mergeHeap orders logs by their next entry. Within a log heights rise, so height and origin order all.
type mergeHeap []mergePart

func (h mergeHeap) Len() int { return len(h) }
func (h mergeHeap) Less(i, j int) bool {
	if h[i].height != h[j].height {
		return h[i].height < h[j].height
	}
	return h[i].h.log.Origin.Compare(h[j].h.log.Origin) < 0
}
func (h mergeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *mergeHeap) Push(x any)   { *h = append(*h, x.(mergePart)) }
func (h *mergeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = mergePart{}
	*h = (*h)[:len(*h)-1]
	return last
}

// firstHeights remembers the heights of the first entries of logs, which never change: of many logs, most are wanted from there on.
type firstHeights struct {
	mu      sync.Mutex
	heights map[uint32]uint64 // by number of the log
}

// of returns the height of the first entry of a part, or zero when it is not known.
func (f *firstHeights) of(p *mergePart) uint64 {
	if p.next > 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heights[p.h.number]
}

func (f *firstHeights) note(p *mergePart) {
	if p.next > 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heights == nil {
		f.heights = map[uint32]uint64{}
	}
	f.heights[p.h.number] = p.height
}
