package count

import "iter"

// Set is a set of entries of a graph. The zero value is empty.
type Set struct {
	words []uint64
	count int
}

// Has reports whether an entry is in the set.
func (s *Set) Has(id ID) bool {
	w := int(id / 64)
	return w < len(s.words) && s.words[w]&(1<<(id%64)) != 0
}

// Len returns how many entries are in the set.
func (s *Set) Len() int { return s.count }

// add adds an entry and reports whether it is new.
func (s *Set) add(id ID) bool {
	w := int(id / 64)
	if w >= len(s.words) {
		s.words = append(s.words, make([]uint64, w+1-len(s.words))...)
	}
	bit := uint64(1) << (id % 64)
	if s.words[w]&bit != 0 {
		return false
	}
	s.words[w] |= bit
	s.count++
	return true
}

// All yields the entries in the order of their numbers: each after those that it names.
func (s *Set) All() iter.Seq[ID] {
	return func(yield func(ID) bool) {
		for w, word := range s.words {
			for bit := 0; word != 0; bit, word = bit+1, word>>1 {
				if word&1 != 0 && !yield(ID(w*64+bit)) {
					return
				}
			}
		}
	}
}

// Past returns an entry with all its past.
func (g *Graph) Past(id ID) *Set {
	s := new(Set)
	g.addPast(s, id, func(ID) {})
	return s
}

// addPast adds an entry and its past to a set that holds the past of each of its entries, and calls added for each that is
// new.
func (g *Graph) addPast(s *Set, id ID, added func(ID)) {
	todo := []ID{id}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for id != none && s.add(id) {
			added(id)
			todo = append(todo, g.Seen(id)...)
			id = g.entries[id].prev
		}
	}
}
