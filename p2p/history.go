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

// changes returns the rows of a frontier that are not in the one with a digest, and a row of only an origin for each that
// went away ([isGone]); ok is false if that frontier is not remembered. A row goes away when evidence disputes all of a log
// and nothing leads to it.
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
	for i := range old {
		if _, still := f.Row(old[i].Origin); !still {
			changed = append(changed, ledger.Row{Citation: ledger.Citation{Origin: old[i].Origin}})
		}
	}
	slices.SortFunc(changed, func(a, b ledger.Row) int { return a.Origin.Compare(b.Origin) })
	return changed, true
}

// isGone reports whether a row among changes says that there is none any more.
func isGone(r *ledger.Row) bool { return r.Size() == 0 && r.Frozen == nil }

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
		switch {
		case found && isGone(&row):
			next = slices.Delete(next, i, i+1)
		case found:
			next[i] = row
		case !isGone(&row):
			next = slices.Insert(next, i, row)
		}
	}
	return next
}
