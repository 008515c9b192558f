package count

import (
	"fmt"

	"pyvnode/ledger"
)

// Entry is what counting needs to know of an entry.
type Entry struct {
	ledger.Citation
	Prev ledger.Hash       // zero at seq 0
	Seen []ledger.Citation // what it cites
	// Valid says that the entry carries a valid signature and breaks no rule of bytes, genesis document or past. It is
	// sound if all its predecessors are valid too.
	Valid bool
}

// ID is the number of an entry in a [Graph]: how many were added before it. What an entry names has lower numbers.
type ID uint32

// MaxEntries is how many entries a graph holds at most.
const MaxEntries = 1<<32 - 1

// none stands for no entry, as the predecessor of a log's first.
const none = ^ID(0)

// Graph holds entries and what they name. It takes about 60 bytes for each entry and 4 for each citation. It may be read
// concurrently, but not while entries are added.
type Graph struct {
	entries []node
	seen    []ID // of all entries, one after the other
	logs    []log
	byName  map[ledger.Origin]uint32
	chains  []chain
}

type node struct {
	key   hashKey
	prev  ID
	chain uint32
	seen  uint64 // where its citations begin in Graph.seen; they end where those of the next begin
	seq   uint64
	sound bool
}

// hashKey is the half of an entry's hash, which finds it among those of its place. Two entries with equal halves are out of
// reach for whoever makes them: that takes 2^64 tries.
type hashKey [ledger.HashSize / 2]byte

func keyOf(h ledger.Hash) hashKey { return hashKey(h[:len(hashKey{})]) }

type log struct {
	origin ledger.Origin
	main   []ID           // by seq: the entries of its first chain, from seq 0 on
	others map[hashKey]ID // those of other chains
	chains []uint32       // numbers of its chains
}

// chain is a run of entries of one log that follow each other; wherever a log forks another one begins.
type chain struct {
	log    uint32
	parent ID     // the entry before its first, in another chain; none if the chain begins the log
	end    uint64 // the sequence number after its newest entry
	sound  uint64 // the sequence number after its newest sound entry, or after that of its parent
	tail   ID
}

// NewGraph returns a graph without entries.
func NewGraph() *Graph { return &Graph{byName: map[ledger.Origin]uint32{}} }

// MissingError says that an entry cannot be added yet, because it names one that is not there.
type MissingError struct {
	Entry, Missing ledger.Citation // the hash and the height of a missing predecessor are what the entry says, or zero
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("entry %d of %v names entry %d of %v, which is not there", e.Entry.Seq, e.Entry.Origin, e.Missing.Seq, e.Missing.Origin)
}

// Len returns how many entries there are.
func (g *Graph) Len() int { return len(g.entries) }

// Find returns the number of an entry.
func (g *Graph) Find(o ledger.Origin, seq uint64, hash ledger.Hash) (ID, bool) {
	n, ok := g.byName[o]
	if !ok {
		return 0, false
	}
	l := &g.logs[n]
	key := keyOf(hash)
	if seq < uint64(len(l.main)) {
		if id := l.main[seq]; g.entries[id].key == key {
			return id, true
		}
	}
	id, ok := l.others[key]
	if ok && g.entries[id].seq != seq {
		return 0, false
	}
	return id, ok
}

// Seq returns the sequence number of an entry.
func (g *Graph) Seq(id ID) uint64 { return g.entries[id].seq }

// Origin returns the origin of an entry.
func (g *Graph) Origin(id ID) ledger.Origin { return g.logs[g.logOf(id)].origin }

// Prev returns the predecessor of an entry; ok is false for a log's first.
func (g *Graph) Prev(id ID) (prev ID, ok bool) {
	prev = g.entries[id].prev
	return prev, prev != none
}

// Seen returns what an entry cites. It must not be changed.
func (g *Graph) Seen(id ID) []ID {
	end := uint64(len(g.seen))
	if int(id)+1 < len(g.entries) {
		end = g.entries[id+1].seen
	}
	return g.seen[g.entries[id].seen:end]
}

// Sound reports whether an entry and all its predecessors are valid.
func (g *Graph) Sound(id ID) bool { return g.entries[id].sound }

func (g *Graph) logOf(id ID) uint32 { return g.chains[g.entries[id].chain].log }

// Add adds an entry, after all that it names: otherwise the error is a [*MissingError] and nothing is added. An entry that
// is there already keeps its number.
func (g *Graph) Add(e *Entry) (ID, error) {
	if id, ok := g.Find(e.Origin, e.Seq, e.Hash); ok {
		return id, nil
	}
	if len(g.entries) >= MaxEntries {
		return 0, fmt.Errorf("entry %d of %v: %d entries are the limit", e.Seq, e.Origin, uint32(MaxEntries))
	}
	prev, sound := none, e.Valid
	if e.Seq > 0 {
		var ok bool
		if prev, ok = g.Find(e.Origin, e.Seq-1, e.Prev); !ok {
			return 0, &MissingError{e.Citation, ledger.Citation{Origin: e.Origin, Seq: e.Seq - 1, Hash: e.Prev}}
		}
		sound = sound && g.entries[prev].sound
	}
	begin := len(g.seen)
	for _, c := range e.Seen {
		cited, ok := g.Find(c.Origin, c.Seq, c.Hash)
		if !ok {
			g.seen = g.seen[:begin]
			return 0, &MissingError{e.Citation, c}
		}
		g.seen = append(g.seen, cited)
	}
	id := ID(len(g.entries))
	n := g.chainFor(e.Origin, prev)
	c := &g.chains[n]
	c.tail, c.end = id, e.Seq+1
	if sound {
		c.sound = e.Seq + 1
	}
	g.entries = append(g.entries, node{key: keyOf(e.Hash), prev: prev, chain: n, seen: uint64(begin), seq: e.Seq, sound: sound})
	l := &g.logs[c.log]
	if n == l.chains[0] {
		l.main = append(l.main, id)
	} else {
		if l.others == nil {
			l.others = map[hashKey]ID{}
		}
		l.others[keyOf(e.Hash)] = id
	}
	return id, nil
}

// chainFor returns the chain that an entry goes on, or a new one.
func (g *Graph) chainFor(o ledger.Origin, prev ID) uint32 {
	n, known := g.byName[o]
	if !known {
		n = uint32(len(g.logs))
		g.logs, g.byName[o] = append(g.logs, log{origin: o}), n
	}
	c := chain{log: n, parent: prev, tail: none}
	if prev != none {
		before := g.entries[prev].chain
		if g.chains[before].tail == prev {
			return before
		}
		if g.entries[prev].sound {
			c.sound = g.entries[prev].seq + 1
		} else {
			c.sound = g.chains[before].sound
		}
	}
	number := uint32(len(g.chains))
	g.chains = append(g.chains, c)
	g.logs[n].chains = append(g.logs[n].chains, number)
	return number
}
