package store

import (
	"slices"
	"sync"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// Held is what a store holds at one moment. It is shared: nobody may change it.
//
// The entries that it covers are those of the frontier's digest: all undisputed ones, and the disputed
// ones that these lead to. Whatever an entry names is covered with it. [Store.Added] and [Store.Gone] say
// what differs between two moments.
type Held struct {
	Frontier ledger.Frontier
	Hidden   ledger.Frontier // rows of frozen logs that the frontier does not cover
	Digest   ledger.Hash     // of the frontier
	Entries  uint64          // undisputed

	frozen     map[ledger.Origin]*frozen // as the store has it: replaced, never changed
	unverified map[ledger.Origin]uint64  // size of the verified part, of logs of which more is undisputed
}

// Undisputed returns how many undisputed entries of a log are held.
func (h *Held) Undisputed(o ledger.Origin) uint64 {
	row, _ := h.Frontier.Row(o)
	return row.Size()
}

// Verified returns how many undisputed entries of a log are known to be signed well, from the first on.
func (h *Held) Verified(o ledger.Origin) uint64 {
	if n, ok := h.unverified[o]; ok {
		return n
	}
	return h.Undisputed(o)
}

// Evidence returns the evidence against an origin, nil if there is none.
func (h *Held) Evidence(o ledger.Origin) *proof.Evidence {
	if f := h.frozen[o]; f != nil {
		return f.evidence
	}
	return nil
}

// Disputed reports whether an entry is at or after the place at which its log is frozen.
func (h *Held) Disputed(ref Ref) bool {
	f := h.frozen[ref.Origin]
	return f != nil && ref.Seq >= f.evidence.Seq()
}

// Cited returns the disputed entries of a log that undisputed entries lead to, in canonical order.
func (h *Held) Cited(o ledger.Origin) []ledger.Citation {
	if f := h.frozen[o]; f != nil {
		return f.disputed
	}
	return nil
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
			c.order = append(c.order, h.Log.Origin)
		}
		for o := range s.frozen {
			if s.logs[o] == nil {
				c.order = append(c.order, o)
			}
		}
		slices.SortFunc(c.order, ledger.Origin.Compare)
	}
	f, hidden := make(ledger.Frontier, 0, len(c.order)), ledger.Frontier(nil)
	var unverified map[ledger.Origin]uint64
	for _, o := range c.order {
		if h := s.logs[o]; h != nil && h.Verified < s.frozen[o].undisputed(h.Size()) {
			if unverified == nil {
				unverified = map[ledger.Origin]uint64{}
			}
			unverified[o] = h.Verified
		}
		if row, ok := s.row(o); ok {
			f = append(f, row)
		} else {
			hidden = append(hidden, row)
		}
	}
	c.version = s.version
	now := s.frozen
	s.mu.RUnlock()
	c.held = &Held{
		Frontier: f, Hidden: hidden, Digest: f.Digest(s.genesis.Network()), Entries: f.Entries(),
		frozen: now, unverified: unverified,
	}
	return c.held
}

// Frontier returns a row for every log that it covers, in order. It is the caller's own copy. A
// caller that only reads it has it for less from [Store.Held].
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
