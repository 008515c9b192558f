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
