package p2p

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// pipeStream is a stream between two goroutines.
type pipeStream struct {
	network.Stream
	conn net.Conn
}

func (p pipeStream) Read(b []byte) (int, error)       { return p.conn.Read(b) }
func (p pipeStream) Write(b []byte) (int, error)      { return p.conn.Write(b) }
func (p pipeStream) Close() error                     { return p.conn.Close() }
func (p pipeStream) Reset() error                     { return p.conn.Close() }
func (p pipeStream) SetDeadline(t time.Time) error    { return p.conn.SetDeadline(t) }
func (p pipeStream) SetReadDeadline(time.Time) error  { return nil }
func (p pipeStream) SetWriteDeadline(time.Time) error { return nil }

// someRows returns rows of logs with random keys.
func someRows(r *rand.Rand, logs int) ledger.Frontier {
	f := make(ledger.Frontier, logs)
	for i := range f {
		for j := 0; j < len(f[i].Origin); j += 8 {
			binary.BigEndian.PutUint64(f[i].Origin[j:], r.Uint64())
			binary.BigEndian.PutUint64(f[i].Hash[j:], r.Uint64())
		}
		f[i].Seq = uint64(r.IntN(5))
		f[i].Height = f[i].Seq + 1
	}
	f.Sort()
	return f
}

func viewOf(f ledger.Frontier, network ledger.Hash) *view {
	return &view{Held: &store.Held{Frontier: f, Digest: f.Digest(network), Entries: f.Entries()}, network: network}
}

// asks returns a session in which a node that holds a frontier is asked, and counts questions and rows.
func asks(t *testing.T, theirs *view) (s *session, questions, rows *int) {
	here, there := net.Pipe()
	questions, rows = new(int), new(int)
	n := &Network{history: newHistory()}
	n.viewing.view, n.viewing.next = theirs, time.Now().Add(time.Hour)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f := newFramer(there)
		for {
			kind, body, err := f.read()
			if err != nil {
				return
			}
			*questions++
			if kind == frameHave {
				err = f.write(frameHave, (&have{network: theirs.network, digest: theirs.Digest}).append(nil))
				if err == nil {
					err = n.writeHeld(f, theirs, nil)
				}
				if err == nil {
					err = f.flush()
				}
			} else if ranges, bad := parseRanges(body); bad != nil {
				err = bad
			} else {
				for _, r := range ranges {
					*rows += len(theirs.rows(r))
				}
				err = n.answerRows(f, ranges)
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = here.Close(); <-done })
	return &session{framer: newFramer(here), s: pipeStream{nil, here}}, questions, rows
}

// TestOutline: nodes of any number of logs find out what differs, with what that costs, and are never told more at once than
// a node takes.
func TestOutline(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	s, _, err := store.Open(t.Context(), store.NewMemory(), g, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	for _, logs := range []int{fewRows, fewRows + 1, 20_000, 200_000} {
		theirs := viewOf(someRows(r, logs), g.Network())
		some := slices.Clone(theirs.Frontier)
		for range 20 { // logs that go on, that are new to one, and that are new to the other
			some[r.IntN(len(some))].Seq++
			some = slices.Delete(some, 5, 6)
			some = append(some, someRows(r, 1)...)
		}
		some.Sort()
		for _, mine := range []*view{viewOf(nil, g.Network()), viewOf(some, g.Network()), theirs} {
			asked, questions, rows := asks(t, theirs)
			own := mine.have()
			_, got, err := asked.frontier(&own, mine)
			if err != nil {
				t.Fatalf("%d logs, of which %d were held: %v", logs, len(mine.Frontier), err)
			}
			if got.Digest(g.Network()) != theirs.Digest {
				t.Errorf("%d logs, of which %d were held: %d rows came, not the same", logs, len(mine.Frontier), len(got))
			}
			if len(mine.Frontier) == len(some) && logs > fewRows && *rows > 60*(chunkRows+logs/maxChunks) {
				t.Errorf("%d logs, few of them other: %d rows were sent in %d answers", logs, *rows, *questions)
			}
		}
		// A newcomer wants all of it, and says so in few words; who lacks little names that.
		n := &Network{store: s, genesis: g, standings: newStandings(nil), gossip: &gossip{limits: newLimiter()}}
		for _, mine := range []*view{viewOf(nil, g.Network()), viewOf(some, g.Network())} {
			asked, _, _ := asks(t, theirs)
			own := mine.have()
			a, err := asked.have(&own, nil)
			if err != nil {
				t.Fatal(err)
			}
			w, err := (&neighbour{n: n}).look(asked, mine, &a)
			if err != nil {
				t.Fatal(err)
			}
			p := &pullRequest{view: mine, ranges: w.ranges}
			for _, o := range w.logs {
				p.named = append(p.named, logStart{origin: o, before: newest})
			}
			lacking := 0
			for i := range theirs.Frontier {
				row := &theirs.Frontier[i]
				if own, ok := mine.Frontier.Row(row.Origin); ok && own.Size() >= row.Size() {
					continue
				}
				if _, asked := p.start(row.Origin); !asked {
					lacking++
				}
			}
			if lacking > 0 || len(w.ranges) > 60 || len(mine.Frontier) == 0 && logs > fewRows && len(w.ranges) != 1 {
				t.Errorf("%d logs, of which %d are held: of %d that are missing nothing is asked; %d ranges are", logs, len(mine.Frontier), lacking, len(w.ranges))
			}
		}
	}
}

// TestPullOfRanges: what is asked for in ranges and by name comes out as it was meant, each log once, and nothing out of order
// is taken.
func TestPullOfRanges(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc()
	doc.Open = true
	network := ledgertest.NewNetwork(t, ledgertest.Genesis(t, doc))
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	slices.SortFunc(names, func(a, b string) int { return ledgertest.Origin(a).Compare(ledgertest.Origin(b)) })
	for range 3 {
		for _, name := range names {
			network.Put(name)
		}
	}
	s, _, err := store.Open(t.Context(), store.NewMemory(), network.Genesis, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Ingest(t.Context(), network.Entries...); err != nil {
		t.Fatal(err)
	}
	n := &Network{store: s, genesis: network.Genesis, serving: newServing(), ctx: t.Context()}
	at := func(i int) ledger.Origin { return ledgertest.Origin(names[i]) }
	held := viewOf(ledger.Frontier{
		{Citation: network.Entries[2].Citation()},     // the first of names[2]
		{Citation: network.Entries[8+3].Citation()},   // the first two of names[3]
		{Citation: network.Entries[2*8+4].Citation()}, // all of names[4]
	}, network.Genesis.Network())
	for _, c := range []struct {
		name string
		ask  pullRequest
		want map[int]int // entries by log
	}{
		{"all", pullRequest{view: held, ranges: []originRange{{}}}, map[int]int{0: 3, 1: 3, 2: 2, 3: 1, 5: 3, 6: 3, 7: 3}},
		{"some", pullRequest{view: held, ranges: []originRange{{at(1), at(3)}, {at(5), at(6)}}}, map[int]int{1: 3, 2: 2, 5: 3}},
		{"named besides", pullRequest{view: held, ranges: []originRange{{at(2), at(4)}}, named: []logStart{{origin: at(0), before: 2}, {origin: at(6), before: newest}}},
			map[int]int{0: 2, 2: 2, 3: 1, 6: 3}},
	} {
		p := &servedPull{n: n, view: viewOf(s.Frontier(), network.Genesis.Network()), merge: s.NewMerge(), place: make(chan struct{}, 1), ends: time.Now().Add(time.Hour)}
		a := &answering{n: n, pull: p}
		var sent bytes.Buffer
		f := newFramer(&sent)
		if _, err := c.ask.write(f); err != nil {
			t.Fatal(err)
		}
		p.place <- struct{}{}
		got := map[int]int{}
		for in := newFramer(&sent); ; {
			kind, body, err := in.read()
			if err != nil {
				t.Fatal(err)
			}
			if kind == framePull { // the answer itself is looked at here
				starts, err := parsePull(body)
				for i := range starts {
					err = cmp.Or(err, p.addStart(&starts[i]))
				}
				if err = cmp.Or(err, p.closeRange(ledger.Origin{})); err != nil {
					t.Fatal(err)
				}
				break
			}
			if err := a.answerPull(kind, body); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		for e, err := range p.merge.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got[slices.IndexFunc(names, func(name string) bool { return ledgertest.Origin(name) == e.Header.Origin })]++
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if err := p.addStart(&logStart{origin: at(0)}); !errors.Is(err, errFrame) {
			t.Errorf("%s: a log out of order: %v", c.name, err)
		}
	}
}
