package p2p

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// turns lets a few peers at a time be pulled from, and decides whose turn is next: that of the peer of which most is to be
// expected. A turn has an end only when others wait.
type turns struct {
	length    time.Duration
	standings *standings

	mu      sync.Mutex
	free    int
	holders map[*turn]bool
	waiting []*waiting
}

type turn struct {
	stop context.CancelFunc
	over bool
}

type waiting struct {
	id   peer.ID
	turn chan struct{}
}

func newTurns(places int, length time.Duration, s *standings) *turns {
	return &turns{length: length, standings: s, free: places, holders: map[*turn]bool{}}
}

// wait returns when it is a peer's turn, with a context that ends with the turn. The turn must be left.
func (t *turns) wait(ctx context.Context, id peer.ID) (_ context.Context, leave func(), err error) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
	} else {
		w := &waiting{id, make(chan struct{})}
		t.waiting = append(t.waiting, w)
		for h := range t.holders {
			if h.over {
				h.stop()
			}
		}
		t.mu.Unlock()
		select {
		case <-w.turn:
		case <-ctx.Done():
			t.mu.Lock()
			defer t.mu.Unlock()
			for i := range t.waiting {
				if t.waiting[i] == w {
					t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
					return nil, nil, ctx.Err()
				}
			}
			t.next() // it was its turn already
			return nil, nil, ctx.Err()
		}
		t.mu.Lock()
	}
	defer t.mu.Unlock()
	ctx, stop := context.WithCancel(ctx)
	h := &turn{stop: stop}
	t.holders[h] = true
	end := time.AfterFunc(t.length, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.over = true; len(t.waiting) > 0 {
			stop()
		}
	})
	return ctx, func() {
		end.Stop()
		stop()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.holders, h)
		t.next()
	}, nil
}

// crowded reports whether others wait.
func (t *turns) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0
}

// next passes a free place on. The caller holds mu.
func (t *turns) next() {
	if len(t.waiting) == 0 {
		t.free++
		return
	}
	best := t.standings.best(len(t.waiting), func(i int) peer.ID { return t.waiting[i].id })
	close(t.waiting[best].turn)
	t.waiting = append(t.waiting[:best], t.waiting[best+1:]...)
}

// standings remember what came of the turns of peers, also of those that have left.
type standings struct {
	trusted map[peer.ID]bool

	mu  sync.Mutex
	all map[peer.ID]*standing
}

// standing says what came of a peer's turns.
type standing struct {
	fruitless int           // turns of which nothing came, since something did
	owed      time.Duration // for which it has let this node wait, less what the entries that joined are worth
}

func newStandings(trusted map[peer.ID]bool) *standings {
	return &standings{trusted: trusted, all: map[peer.ID]*standing{}}
}

// of returns a peer's standing. The caller holds mu.
func (s *standings) of(id peer.ID) *standing {
	p := s.all[id]
	if p == nil {
		if len(s.all) >= limitedNames {
			clear(s.all) // whoever has so many keys can come with another as well
		}
		p = new(standing)
		s.all[id] = p
	}
	return p
}

// best returns which of several peers is next: who has had the fewest fruitless turns since a fruitful one, then who owes
// least, then a configured peer, then any.
func (s *standings) best(count int, id func(int) peer.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, order := 0, rand.Perm(count)
	for i, at := range order {
		a, b := s.of(id(at)), s.of(id(best))
		if i == 0 || cmp.Or(
			cmp.Compare(a.fruitless, b.fruitless),
			cmp.Compare(a.owed/time.Second, b.owed/time.Second),
			trust(s.trusted[id(best)])-trust(s.trusted[id(at)]),
		) < 0 {
			best = at
		}
	}
	return best
}

func trust(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// note takes account of a turn: how long the peer let this node wait, and how many bytes joined.
func (s *standings) note(id peer.ID, waited time.Duration, joined int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.of(id)
	if joined > 0 {
		p.fruitless = 0
	} else {
		p.fruitless++
	}
	p.owed = min(max(0, p.owed+waited-pullPatience*time.Duration(joined)/pullPace), mostOwed)
}

// agrees notes that a peer holds the same as this node.
func (s *standings) agrees(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.all[id]; p != nil {
		p.fruitless = 0
	}
}

// pause returns how long a peer is left alone after the turns of which nothing came.
func (s *standings) pause(id peer.ID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.all[id]
	if p == nil || p.fruitless == 0 {
		return 0
	}
	pause := min(fruitlessMin<<min(p.fruitless-1, 20), fruitlessMax)
	if s.trusted[id] {
		pause = min(pause, haveInterval)
	}
	return pause
}
