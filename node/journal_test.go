package node

import (
	"slices"
	"strings"
	"testing"

	"pyvnode/legacy/legacytest"
	"pyvnode/node/journal"
)

// TestJournal: what administrators do in the original protocol is noted, with who did it from where and how it ended, and so is
// that the node started and stopped; no password is.
func TestJournal(t *testing.T) {
	t.Parallel()
	dir := foundedFor(t)
	r, address := legacyNode(t, dir, nil)
	p := legacytest.Dial(t, address)
	p.Call(t, "uini", "admin", "correct-horse")
	p.Login(t, "admin", "correct-horse")
	p.Call(t, "uadd", "bob", "battery-staple")
	p.Call(t, "udel", "eve")
	must(t, r.Close())
	j, err := journal.Open(dir, nil)
	must(t, err)
	var got []string
	for e, err := range j.Read(t.Context(), journal.Query{}) {
		must(t, err)
		got = append(got, strings.TrimSpace(strings.Join([]string{string(e.Way), e.Who, e.From, e.What, e.On, e.Outcome}, " ")))
	}
	want := []string{
		"node node  node started  done",
		"original nobody 127.0.0.1 user initialised admin done",
		"original admin 127.0.0.1 user added bob done",
		"original admin 127.0.0.1 user deleted eve failed",
		"node node  node stopped  done",
	}
	if !slices.Equal(got, want) {
		t.Errorf("noted is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
