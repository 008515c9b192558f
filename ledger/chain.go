package ledger

import (
	"cmp"
	"container/heap"
	"iter"
)

// CompareCanonical orders entries as the chain lists them: by height, origin, seq and hash. Causes come before effects,
// because an entry is higher than all it names.
func CompareCanonical(a, b *Entry) int {
	return cmp.Or(
		cmp.Compare(a.Header.Height, b.Header.Height),
		a.Header.Origin.Compare(b.Header.Origin),
		cmp.Compare(a.Header.Seq, b.Header.Seq),
		a.Hash.Compare(b.Hash),
	)
}

// compareCanonical is CompareCanonical for what entries are cited by.
func (c *Citation) compareCanonical(o *Citation) int {
	return cmp.Or(cmp.Compare(c.Height, o.Height), c.Origin.Compare(o.Origin), cmp.Compare(c.Seq, o.Seq), c.Hash.Compare(o.Hash))
}

// Chain merges logs into the canonical order. Each log must yield its entries by seq, in which heights rise; memory is
// one entry per log. An error of a log ends the sequence.
func Chain(logs ...iter.Seq2[*Entry, error]) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		h := make(chainHeap, 0, len(logs))
		defer func() {
			for _, c := range h {
				c.stop()
			}
		}()
		for _, log := range logs {
			next, stop := iter.Pull2(log)
			c := &chainCursor{next: next, stop: stop}
			h = append(h, c)
			if !c.advance() {
				h = h[:len(h)-1]
				stop()
				if c.err != nil {
					yield(nil, c.err)
					return
				}
			}
		}
		heap.Init(&h)
		for len(h) > 0 {
			c := h[0]
			if !yield(c.head, nil) {
				return
			}
			if c.advance() {
				heap.Fix(&h, 0)
				continue
			}
			heap.Pop(&h)
			c.stop()
			if c.err != nil {
				yield(nil, c.err)
				return
			}
		}
	}
}

type chainCursor struct {
	head *Entry
	err  error
	next func() (*Entry, error, bool)
	stop func()
}

func (c *chainCursor) advance() bool {
	var ok bool
	c.head, c.err, ok = c.next()
	return ok && c.err == nil
}

// chainHeap is a heap of logs by their next entry.
type chainHeap []*chainCursor

func (h chainHeap) Len() int           { return len(h) }
func (h chainHeap) Less(i, j int) bool { return CompareCanonical(h[i].head, h[j].head) < 0 }
func (h chainHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *chainHeap) Push(x any)        { *h = append(*h, x.(*chainCursor)) }
func (h *chainHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
