package p2p

import (
	"slices"
	"sync"

	"pyvnode/ledger"
)

// history remembers earlier frontiers of this node, so that neighbours who have seen one are told only what changed.
type history struct {
	mu      sync.Mutex
	list    []snapshot // oldest first
	allRows int
}

type snapshot struct {
	digest   ledger.Hash
	frontier ledger.Frontier
}

func newHistory() *history { return new(history) }

func (h *history) note(v *view) {
	f, digest := v.Frontier, v.Digest
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.list, func(s snapshot) bool { return s.digest == digest }) {
		return
	}
	h.list = append(h.list, snapshot{digest, f})
	h.allRows += len(f)
	for len(h.list) > snapshots || len(h.list) > 1 && h.allRows > snapshotRows {
		h.allRows -= len(h.list[0].frontier)
		h.list = slices.Delete(h.list, 0, 1)
	}
}

// changes returns the rows of a frontier that are not in the one with a digest; ok is false when that is not remembered.
// Rows only ever change, they do not go away.
func (h *history) changes(f ledger.Frontier, since ledger.Hash) (changed []ledger.Row, ok bool) {
	h.mu.Lock()
	i := slices.IndexFunc(h.list, func(s snapshot) bool { return s.digest == since })
	var old ledger.Frontier
	if i >= 0 {
		old = h.list[i].frontier
	}
	h.mu.Unlock()
	if i < 0 {
		return nil, false
	}
	for _, row := range f {
		if before, ok := old.Row(row.Origin); !ok || !sameRow(&before, &row) {
			changed = append(changed, row)
		}
	}
	return changed, true
}

func sameRow(a, b *ledger.Row) bool {
	if a.Citation != b.Citation || (a.Frozen == nil) != (b.Frozen == nil) {
		return false
	}
	return a.Frozen == nil || *a.Frozen == *b.Frozen
}

// merge applies changed rows to a frontier.
func merge(f ledger.Frontier, changed []ledger.Row) ledger.Frontier {
	next := slices.Clone(f)
	for _, row := range changed {
		i, found := slices.BinarySearchFunc(next, row.Origin, func(r ledger.Row, o ledger.Origin) int { return r.Origin.Compare(o) })
		if found {
			next[i] = row
		} else {
			next = slices.Insert(next, i, row)
		}
	}
	return next
}
