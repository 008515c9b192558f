package p2p

import (
	"slices"
	"sync"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// view is what this node holds, as it says it to peers. It is shared and never changes.
type view struct {
	*store.Held
	network ledger.Hash
	once    sync.Once
	chunks  []chunk
}

// chunk is a part of a frontier: the rows of origins from one on, up to the first of the next chunk, and the digest of a
// frontier of these rows only.
type chunk struct {
	from   ledger.Origin
	digest ledger.Hash
}

const chunkLen = len(ledger.Origin{}) + ledger.HashSize

// originRange is the origins with from ≤ origin < before; a zero before is behind all.
type originRange struct{ from, before ledger.Origin }

const originRangeLen = 2 * len(ledger.Origin{})

func (r *originRange) holds(o ledger.Origin) bool {
	return r.from.Compare(o) <= 0 && (r.before == ledger.Origin{} || o.Compare(r.before) < 0)
}

// viewing works the view out, for one part of the time in [viewShare] at most: whoever writes much, or asks often, sees one that is a
// moment old.
type viewing struct {
	mu   sync.Mutex
	view *view
	next time.Time
}

func (n *Network) view() *view {
	v := &n.viewing
	v.mu.Lock()
	defer v.mu.Unlock()
	begin := time.Now()
	if v.view != nil && begin.Before(v.next) {
		return v.view
	}
	if held := n.store.Held(); v.view == nil || v.view.Held != held {
		v.view = &view{Held: held, network: n.genesis.Network()}
		v.next = begin.Add(viewShare * time.Since(begin))
	}
	return v.view
}

// have is what the view says in a comparison.
func (v *view) have() have {
	return have{network: v.network, digest: v.Digest, entries: v.Entries}
}

// rows returns the rows in a range.
func (v *view) rows(r originRange) ledger.Frontier {
	at := func(o ledger.Origin) int {
		i, _ := slices.BinarySearchFunc(v.Frontier, o, func(row ledger.Row, o ledger.Origin) int { return row.Origin.Compare(o) })
		return i
	}
	from, before := at(r.from), len(v.Frontier)
	if (r.before != ledger.Origin{}) {
		before = max(from, at(r.before))
	}
	return v.Frontier[from:before]
}

// row returns the row of a log, also one that the frontier does not cover, to say from where on more is wanted.
func (v *view) row(o ledger.Origin) ledger.Row {
	row, ok := v.Frontier.Row(o)
	if !ok {
		row, _ = v.Hidden.Row(o)
	}
	row.Origin = o
	return row
}

// known returns the rows in a range with those that the frontier does not cover.
func (v *view) known(r originRange) ledger.Frontier {
	rows := v.rows(r)
	if len(v.Hidden) == 0 {
		return rows
	}
	rows = slices.Clone(rows)
	for _, row := range v.Hidden {
		if r.holds(row.Origin) {
			rows = append(rows, row)
		}
	}
	rows.Sort()
	return rows
}

// outline returns the chunks of the frontier: few enough for one answer, each of few rows.
func (v *view) outline() []chunk {
	v.once.Do(func() {
		size := max(chunkRows, (len(v.Frontier)+maxChunks-1)/maxChunks)
		for rows := range slices.Chunk(v.Frontier, size) {
			v.chunks = append(v.chunks, chunk{rows[0].Origin, rows.Digest(v.network)})
		}
		if len(v.chunks) > 0 {
			v.chunks[0].from = ledger.Origin{}
		}
	})
	return v.chunks
}

// differing returns the ranges of a peer's outline in which this node does not hold the same.
func (v *view) differing(theirs []chunk) (ranges []originRange) {
	for i, c := range theirs {
		r := originRange{from: c.from}
		if i+1 < len(theirs) {
			r.before = theirs[i+1].from
		}
		if v.rows(r).Digest(v.network) != c.digest {
			ranges = append(ranges, r)
		}
	}
	return ranges
}
