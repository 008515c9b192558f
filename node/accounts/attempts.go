package accounts

import (
	"container/heap"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// attempts limits failed attempts. What an attempt takes from the limits is given back when it succeeds, so only failures
// count, also of attempts that are under way at once.
type attempts struct {
	mu        sync.Mutex // guards what follows
	addresses *limiter[netip.Prefix]
	users     *limiter[string] // from addresses that are not the user's own
	pairs     *limiter[pair]   // from the user's own addresses
	codes     *limiter[string]
	known     map[string][]netip.Prefix // the addresses from which a user logged in last, the latest last
}

// pair is a user at one of his own addresses.
type pair struct {
	user string
	from netip.Prefix
}

func newAttempts() *attempts {
	return &attempts{
		addresses: newLimiter[netip.Prefix](AddressBurst, AddressPeriod, maxLimited),
		users:     newLimiter[string](AttemptBurst, AttemptPeriod, maxLimited),
		pairs:     newLimiter[pair](AttemptBurst, AttemptPeriod, maxLimited),
		codes:     newLimiter[string](CodeBurst, CodePeriod, maxLimited),
		known:     map[string][]netip.Prefix{},
	}
}

// addressOf returns what counts as one address: whoever has an IPv6 address has all of its /64.
func addressOf(from netip.Addr) netip.Prefix {
	from = from.Unmap()
	bits := 32
	if from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // the zero prefix for the zero address
	return p
}

// wait returns how long the next attempt to give a password has to wait, 0 when it need not. The user is "" where there is none
// of that name.
func (a *attempts) wait(user string, from netip.Prefix, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waitLocked(user, from, now)
}

func (a *attempts) waitLocked(user string, from netip.Prefix, now time.Time) time.Duration {
	switch {
	case a.own(user, from):
		return a.pairs.wait(pair{user, from}, now)
	case user != "":
		return max(a.users.wait(user, now), a.addresses.wait(from, now))
	}
	return a.addresses.wait(from, now)
}

func (a *attempts) own(user string, from netip.Prefix) bool {
	return slices.Contains(a.known[user], from)
}

// password takes from the limits for one attempt, unless it has to wait. The returned function gives back.
func (a *attempts) password(user string, from netip.Prefix, now time.Time) (giveBack func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait := a.waitLocked(user, from, now); wait > 0 {
		return nil, wait
	}
	own := a.own(user, from)
	a.addresses.take(from, now)
	if own {
		a.pairs.take(pair{user, from}, now)
	} else if user != "" {
		a.users.take(user, now)
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.addresses.giveBack(from)
		if own {
			a.pairs.giveBack(pair{user, from})
		} else if user != "" {
			a.users.giveBack(user)
		}
	}, 0
}

// code is password for codes. A wrong one counts for its address too.
func (a *attempts) code(user string, from netip.Prefix, now time.Time) (giveBack func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait := a.codes.wait(user, now); wait > 0 {
		return nil, wait
	}
	a.codes.take(user, now)
	a.addresses.take(from, now)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.codes.giveBack(user)
		a.addresses.giveBack(from)
	}, 0
}

// remember notes that a user logged in from an address. There are no more than maxKnown for each user, so nobody can make
// others' be forgotten.
func (a *attempts) remember(user string, from netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := slices.DeleteFunc(a.known[user], func(p netip.Prefix) bool { return p == from })
	if len(known) == maxKnown {
		known = known[1:]
	}
	a.known[user] = append(slices.Clip(known), from)
}

// forget drops what is known of a user's addresses.
func (a *attempts) forget(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, user)
}

// limiter is a table of token buckets. Each is kept as the one moment at which it will be full again (the generic cell
// rate algorithm of ATM, ITU-T I.371), so one that is full needs no place. Where the table is full even so, the bucket that
// will be full first is dropped: who wants his own forgotten must have failed as often for each place in the table.
type limiter[K comparable] struct {
	burst  time.Duration // how far a bucket's moment may lie ahead
	period time.Duration
	size   int
	byKey  map[K]*bucket[K]
	heap   buckets[K] // by the moment
}

type bucket[K comparable] struct {
	key   K
	full  time.Time
	index int // in the heap
}

func newLimiter[K comparable](burst int, period time.Duration, size int) *limiter[K] {
	return &limiter[K]{burst: time.Duration(burst) * period, period: period, size: size, byKey: map[K]*bucket[K]{}}
}

// wait returns how long it takes until the bucket has a token, 0 when it has one.
func (l *limiter[K]) wait(key K, now time.Time) time.Duration {
	b, ok := l.byKey[key]
	if !ok {
		return 0
	}
	return max(0, b.full.Sub(now)+l.period-l.burst)
}

func (l *limiter[K]) take(key K, now time.Time) {
	for len(l.heap) > 0 && !l.heap[0].full.After(now) {
		l.drop(l.heap[0])
	}
	b, ok := l.byKey[key]
	if !ok {
		if len(l.heap) == l.size {
			l.drop(l.heap[0])
		}
		b = &bucket[K]{key: key, full: now}
		l.byKey[key] = b
		heap.Push(&l.heap, b)
	}
	b.full = b.full.Add(l.period)
	heap.Fix(&l.heap, b.index)
}

func (l *limiter[K]) giveBack(key K) {
	if b, ok := l.byKey[key]; ok {
		b.full = b.full.Add(-l.period)
		heap.Fix(&l.heap, b.index)
	}
}

func (l *limiter[K]) drop(b *bucket[K]) {
	heap.Remove(&l.heap, b.index)
	delete(l.byKey, b.key)
}

type buckets[K comparable] []*bucket[K]

func (h buckets[K]) Len() int           { return len(h) }
func (h buckets[K]) Less(i, j int) bool { return h[i].full.Before(h[j].full) }
func (h buckets[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *buckets[K]) Push(x any) {
	b := x.(*bucket[K])
	b.index = len(*h)
	*h = append(*h, b)
}

func (h *buckets[K]) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}
