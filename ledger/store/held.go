package store

import (
	"slices"
	"sync"

	"pyvnode/ledger"
)

// Held is what a store holds at one moment. It is shared: nobody may change it.
type Held struct {
	Frontier ledger.Frontier
	Hidden   ledger.Frontier // rows of frozen logs that the frontier does not cover
	Digest   ledger.Hash     // of the frontier
	Entries  uint64          // undisputed
}

// holding makes a Held once for each state of the store.
type holding struct {
	mu      sync.Mutex
	held    *Held
	version uint64
	order   []ledger.Origin // of all logs and frozen origins
	logs    int             // how many logs are among them
	frozen  int             // and how many frozen origins
}

// Held returns what the store holds now. It is worked out once for each change of the ledger.
func (s *Store) Held() *Held {
	c := &s.holding
	c.mu.Lock()
	defer c.mu.Unlock()
	s.mu.RLock()
	if c.held != nil && c.version == s.version {
		s.mu.RUnlock()
		return c.held
	}
	if c.logs != len(s.byNum) || c.frozen != len(s.frozen) { // neither ever shrinks
		c.logs, c.frozen, c.order = len(s.byNum), len(s.frozen), make([]ledger.Origin, 0, len(s.byNum)+1)
		for _, h := range s.byNum {
			c.order = append(c.order, h.log.Origin)
		}
		for o := range s.frozen {
			if s.logs[o] == nil {
				c.order = append(c.order, o)
			}
		}
		slices.SortFunc(c.order, ledger.Origin.Compare)
	}
	f, hidden := make(ledger.Frontier, 0, len(c.order)), ledger.Frontier(nil)
	for _, o := range c.order {
		if row, ok := s.row(o); ok {
			f = append(f, row)
		} else {
			hidden = append(hidden, row)
		}
	}
	c.version = s.version
	s.mu.RUnlock()
	c.held = &Held{Frontier: f, Hidden: hidden, Digest: f.Digest(s.genesis.Network()), Entries: f.Entries()}
	return c.held
}

// Frontier returns a row for every log that it covers, in order. It is the caller's own; who only reads it
// has it for less from [Store.Held].
func (s *Store) Frontier() ledger.Frontier {
	f := slices.Clone(s.Held().Frontier)
	for i := range f {
		if f[i].Frozen != nil {
			freeze := *f[i].Frozen
			f[i].Frozen = &freeze
		}
	}
	return f
}
