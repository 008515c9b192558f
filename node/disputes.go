package node

import (
	"slices"

	"pyvnode/ledger"
)

// Bounds of what waits in disputes: as much as nodes fetch from each other for one citation, and park in all.
const (
	maxWaiting      = 1 << 16
	maxWaitingBytes = 64 << 20
)

// disputes holds disputed entries of a file back until an undisputed one leads to them: others do not belong to a ledger,
// and nobody need have signed them. The zero value is ready for use.
type disputes struct {
	waiting map[ledger.Hash]*ledger.Entry
	bytes   int
	left    int // entries for which there was no room
}

// hold takes a disputed entry. It reports false where there is no room.
func (d *disputes) hold(e *ledger.Entry) bool {
	if d.waiting[e.Hash] != nil {
		return true
	}
	if len(d.waiting) >= maxWaiting || d.bytes+e.Len() > maxWaitingBytes {
		d.left++
		return false
	}
	if d.waiting == nil {
		d.waiting = map[ledger.Hash]*ledger.Entry{}
	}
	d.waiting[e.Hash] = e
	d.bytes += e.Len()
	return true
}

// lead returns what waits and an undisputed entry leads to, in canonical order. It waits no more.
func (d *disputes) lead(e *ledger.Entry) []*ledger.Entry {
	if len(d.waiting) == 0 {
		return nil
	}
	var led []*ledger.Entry
	_ = ledger.Follow(e.Header.Names(), func(n ledger.Named) (*ledger.Header, error) { // it has no way to fail
		waiting := d.waiting[n.Hash]
		if waiting == nil {
			return nil, nil
		}
		delete(d.waiting, n.Hash)
		d.bytes -= waiting.Len()
		led = append(led, waiting)
		return &waiting.Header, nil
	})
	slices.SortFunc(led, ledger.CompareCanonical)
	return led
}

// uncited returns how many entries no undisputed one led to.
func (d *disputes) uncited() int { return len(d.waiting) + d.left }
