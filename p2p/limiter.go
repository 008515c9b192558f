package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"pyvnode/ledger"
)

// limiter bounds how many entries are taken by gossip: of each origin, of each peer that forwards, and in all.
type limiter struct {
	mu      sync.Mutex
	all     *rate.Limiter
	peers   map[peer.ID]*rate.Limiter
	origins map[ledger.Origin]*rate.Limiter
}

func newLimiter() *limiter {
	return &limiter{
		all:     rate.NewLimiter(allRate, allBurst),
		peers:   map[peer.ID]*rate.Limiter{},
		origins: map[ledger.Origin]*rate.Limiter{},
	}
}

func (l *limiter) allow(from peer.ID, o ledger.Origin, entries int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return bucket(l.peers, from, peerRate, peerBurst).AllowN(now, entries) &&
		bucket(l.origins, o, originRate, originBurst).AllowN(now, entries) &&
		l.all.AllowN(now, entries)
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
