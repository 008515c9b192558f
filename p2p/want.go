package p2p

import (
	"slices"

	"pyvnode/ledger"
)

// want is what a peer seems to have and this node lacks. Whatever is pulled must hold together: entries name entries of other
// logs, so all that is missing is asked for at once, and comes in canonical order, causes before effects. However little of
// it comes in a turn, it can be kept.
//
// Few logs are named. Of many, ranges of origins are asked for, with what is held in them.
type want struct {
	logs    []ledger.Origin // in order, outside the ranges
	ranges  []originRange   // in order
	entries uint64          // about how many are missing
	missing []ledger.Row    // some of the rows that promise them, at most [maxOthers]
	other   []ledger.Row    // rows that do not go with what is held here, at most [maxOthers]
}

func (w *want) empty() bool { return len(w.logs) == 0 && len(w.ranges) == 0 }

// over reports whether nothing of what was wanted is missing any more, as far as that is known.
func (w *want) over(n *Network) bool {
	for i := range w.missing {
		own, _ := n.store.Row(w.missing[i].Origin)
		if missing(&own, &w.missing[i]) > 0 {
			return false
		}
	}
	return len(w.ranges) == 0 && len(w.logs) <= len(w.missing)
}

// missing returns how many entries a peer's row promises that are not held and not disputed here.
func missing(own, theirs *ledger.Row) uint64 {
	limit := theirs.Size()
	if own.Frozen != nil {
		limit = min(limit, own.Frozen.Seq)
	}
	return limit - min(limit, own.Size())
}

// add takes account of the rows that a peer has in some ranges.
func (w *want) add(n *Network, rows []ledger.Row, ranges []originRange) {
	var logs []ledger.Origin
	for i := range rows {
		theirs := &rows[i]
		own, _ := n.store.Row(theirs.Origin)
		more := missing(&own, theirs)
		switch {
		case more > 0:
			logs = append(logs, theirs.Origin)
			w.entries += more
			if len(w.missing) < maxOthers {
				w.missing = append(w.missing, *theirs)
			}
		case theirs.Size() == 0 || own.Size() == 0 || own.Citation == theirs.Citation || len(w.other) == maxOthers:
		case !n.holds(theirs.Citation):
			w.other = append(w.other, *theirs)
		}
	}
	if len(logs) <= max(len(rows)/8, maxOthers) {
		w.logs = append(w.logs, logs...)
		return
	}
	w.addRanges(ranges)
}

func (w *want) addRanges(ranges []originRange) {
	for _, r := range ranges {
		if last := len(w.ranges) - 1; last >= 0 && w.ranges[last].before == r.from {
			w.ranges[last].before = r.before
		} else {
			w.ranges = append(w.ranges, r)
		}
	}
}

// pullRequest is a want as it is asked for.
type pullRequest struct {
	view   *view
	named  []logStart // in order
	ranges []originRange
}

// start returns from where on a log is wanted; ok is false when it was not asked for.
func (p *pullRequest) start(o ledger.Origin) (s logStart, ok bool) {
	if i, named := slices.BinarySearchFunc(p.named, o, func(s logStart, o ledger.Origin) int { return s.origin.Compare(o) }); named {
		return p.named[i], true
	}
	i, found := slices.BinarySearchFunc(p.ranges, o, func(r originRange, o ledger.Origin) int { return r.from.Compare(o) })
	if !found {
		i--
	}
	if i < 0 || !p.ranges[i].holds(o) {
		return s, false
	}
	row := p.view.row(o)
	return startOf(&row), true
}

// startOf returns from where on more is wanted of a log.
func startOf(own *ledger.Row) logStart {
	s := logStart{origin: own.Origin, size: own.Size(), head: own.Hash, before: newest}
	if own.Frozen != nil {
		s.before = own.Frozen.Seq
	}
	return s
}

// request makes a want what is to be asked for now: another peer may have brought some of it meanwhile.
func (n *Network) request(w *want) *pullRequest {
	p := &pullRequest{view: n.view(), ranges: w.ranges}
	for _, o := range w.logs {
		own, _ := n.store.Row(o)
		own.Origin = o
		p.named = append(p.named, startOf(&own))
	}
	return p
}

// write sends the request, and returns how many starts of logs are in it.
func (p *pullRequest) write(f *framer) (starts int, err error) {
	body := make([]byte, 0, rowsFrame+logStartLen)
	flush := func() {
		if len(body) > 0 && err == nil {
			err = f.write(frameFrom, body)
		}
		body = body[:0]
	}
	add := func(s logStart) {
		starts++
		if body = s.append(body); len(body) >= rowsFrame {
			flush()
		}
	}
	named := p.named
	for i := range p.ranges {
		for len(named) > 0 && named[0].origin.Compare(p.ranges[i].from) < 0 {
			add(named[0])
			named = named[1:]
		}
		flush()
		if err == nil {
			err = f.write(frameRange, appendRanges(nil, p.ranges[i:i+1]))
		}
		rows := p.view.known(p.ranges[i])
		for j := range rows {
			add(startOf(&rows[j]))
		}
	}
	for _, s := range named {
		add(s)
	}
	if err != nil {
		return starts, err
	}
	return starts, f.send(framePull, body)
}
