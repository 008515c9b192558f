package ledger

import "slices"

// Undisputed entries lead to the disputed ones that they cite, to what these cite, and to the
// predecessors of all of them. Every ledger that holds the undisputed entries holds those too, because
// without them they could not have joined. Package audit follows them in its own way, so that one fault
// does not hide another.

// Named is an entry as another one names it: cited, or as the predecessor, with a height of zero.
type Named struct {
	Citation
	Predecessor bool
}

// Names returns what an entry names: what it cites, and its predecessor.
func (h *Header) Names() []Named {
	named := make([]Named, 0, len(h.Seen)+1)
	for _, c := range h.Seen {
		named = append(named, Named{Citation: c})
	}
	if h.Seq > 0 {
		named = append(named, Named{Citation{Origin: h.Origin, Seq: h.Seq - 1, Hash: h.Prev}, true})
	}
	return named
}

// Follow walks from entries that are named to all that they lead to. Step gets each, also one that it
// has had before. It returns the entry's header if the walk is to go on there, and otherwise nil: the
// entry is not disputed, or was walked before. An error of step ends the walk.
func Follow(from []Named, step func(Named) (*Header, error)) error {
	for todo := slices.Clone(from); len(todo) > 0; {
		last := len(todo) - 1
		h, err := step(todo[last])
		if err != nil {
			return err
		}
		todo = todo[:last]
		if h != nil {
			todo = append(todo, h.Names()...)
		}
	}
	return nil
}
