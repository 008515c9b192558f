package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"pyvnode/ledger"
)

// limiter bounds how many entries are taken by gossip and links: from each peer that forwards and in all, before they are
// checked, and of each origin, when it is known that they are its. Evidence is bounded likewise.
type limiter struct {
	mu       sync.Mutex
	all      *rate.Limiter
	peers    map[peer.ID]*rate.Limiter
	origins  map[ledger.Origin]*rate.Limiter
	evidence map[ledger.Origin]*rate.Limiter
	asking   map[peer.ID]*rate.Limiter
}

func newLimiter() *limiter {
	return &limiter{
		all:      rate.NewLimiter(allRate, allBurst),
		peers:    map[peer.ID]*rate.Limiter{},
		origins:  map[ledger.Origin]*rate.Limiter{},
		evidence: map[ledger.Origin]*rate.Limiter{},
		asking:   map[peer.ID]*rate.Limiter{},
	}
}

// checks reports whether so many entries from a peer may be checked.
func (l *limiter) checks(from peer.ID, entries int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return bucket(l.peers, from, peerRate, peerBurst).AllowN(now, entries) && l.all.AllowN(now, entries)
}

// takes reports whether so many entries, which an origin signed, may be taken. Others cannot use up what is its.
func (l *limiter) takes(o ledger.Origin, entries int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bucket(l.origins, o, originRate, originBurst).AllowN(time.Now(), entries)
}

// takesEvidence reports whether evidence against an origin may be taken, when it is verified. Each new piece can mean to work
// out anew what is disputed, and a liar can make one for each of its entries. It is asked for beforehand too, with verified
// false.
func (l *limiter) takesEvidence(o ledger.Origin, verified bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, now := bucket(l.evidence, o, evidenceRate, evidenceBurst), time.Now()
	if !verified {
		return of.TokensAt(now) >= 1
	}
	return of.AllowN(now, 1)
}

// questions returns the bucket of a peer's questions, on all its streams. Who asks too much is answered later.
func (l *limiter) questions(from peer.ID) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bucket(l.asking, from, questionRate, questionBurst)
}

// bucket returns the bucket of a name. When there are too many all are forgotten, which is as if they had been idle; the
// bucket for all together is not.
func bucket[K comparable](all map[K]*rate.Limiter, name K, r rate.Limit, burst int) *rate.Limiter {
	b := all[name]
	if b == nil {
		if len(all) >= limitedNames {
			clear(all)
		}
		b = rate.NewLimiter(r, burst)
		all[name] = b
	}
	return b
}

// weigh returns what entries count: each one, and more when they are long.
func weigh(run []*ledger.Entry) (entries int) {
	for _, e := range run {
		entries += 1 + e.Len()/entryBytes
	}
	return entries
}

// quiet bounds the lines that strangers can make a node write to its log: some at once, then one a minute, which says how many
// were left out.
type quiet struct {
	mu   sync.Mutex
	left int // lines that may be written at once
	more int // that were left out
	last time.Time
}

// say reports whether a line may be written, and how many were not since the last.
func (q *quiet) say() (more int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.last.IsZero() {
		q.left, q.last = logBurst, now
	}
	if minutes := int(now.Sub(q.last) / logInterval); minutes > 0 {
		q.left = min(logBurst, q.left+minutes)
		q.last = q.last.Add(time.Duration(minutes) * logInterval)
	}
	if q.left == 0 {
		q.more++
		return 0, false
	}
	more = q.more
	q.left, q.more = q.left-1, 0
	return more, true
}
