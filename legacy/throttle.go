package legacy

import (
	"net/netip"
	"sync"
	"time"
)

// throttle slows down addresses that connect often: more than [throttleBurst] connections within [throttleWindow] wait
// [throttleDelay] for their greeting (docs/original-protocol.md §5). It is of the whole server.
type throttle struct {
	mu     sync.Mutex
	active bool
	recent map[netip.Prefix]*recentConnections
	swept  time.Time // when old addresses were forgotten last
}

// recentConnections are the times of the last connections of an address, in a ring.
type recentConnections struct {
	times [throttleBurst]time.Time
	next  int
}

func newThrottle(active bool) *throttle {
	return &throttle{active: active, recent: map[netip.Prefix]*recentConnections{}}
}

func (t *throttle) on() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active
}

func (t *throttle) set(active bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = active
	clear(t.recent)
}

// delay notes a connection and returns how long its greeting waits.
func (t *throttle) delay(from netip.Prefix, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.active {
		return 0
	}
	r := t.recent[from]
	if r == nil {
		t.makeRoom(now)
		r = new(recentConnections)
		t.recent[from] = r
	}
	oldest := r.times[r.next]
	r.times[r.next] = now
	r.next = (r.next + 1) % throttleBurst
	if oldest.IsZero() || now.Sub(oldest) >= throttleWindow {
		return 0
	}
	return throttleDelay
}

// makeRoom forgets addresses that have not connected for a while; if there are too many even so, any.
func (t *throttle) makeRoom(now time.Time) {
	if len(t.recent) < throttleAddresses {
		return
	}
	if now.Sub(t.swept) >= throttleWindow {
		t.swept = now
		for from, r := range t.recent {
			if last := r.times[(r.next+throttleBurst-1)%throttleBurst]; now.Sub(last) >= throttleWindow {
				delete(t.recent, from)
			}
		}
	}
	for from := range t.recent {
		if len(t.recent) < throttleAddresses {
			break
		}
		delete(t.recent, from)
	}
}

// neighbourhood is what counts as one address: an IPv4 address, or the /64 of an IPv6 address, all of which one customer
// usually has.
func neighbourhood(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero prefix for the zero address
	return p
}
