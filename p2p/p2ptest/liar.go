package p2ptest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
)

// Liar is a member of a network that says whatever it likes. It is a host of its own, and no node: what it wants others
// to believe it pushes to them.
type Liar struct {
	Name string
	Host host.Host

	tb      testing.TB
	genesis *ledger.Genesis
	rand    *rand.Rand
	log     []*ledger.Entry   // the branch it goes on with
	shown   [][]*ledger.Entry // branches that it showed somebody, the newest few
	allies  []*Liar
	next    int // record number
	// Taken is what each node took of it: entry hashes by node and seq.
	Taken map[string]map[uint64]ledger.Hash
}

// NewLiar makes a liar on a host.
func NewLiar(tb testing.TB, g *ledger.Genesis, name string, h host.Host, seed uint64) *Liar {
	return &Liar{Name: name, Host: h, tb: tb, genesis: g, rand: rand.New(rand.NewPCG(seed, 2)),
		next: 1_000_000 * (1 + int(seed%1000)), Taken: map[string]map[uint64]ledger.Hash{}}
}

// Conspire lets liars build on each other's branches.
func Conspire(all []*Liar) {
	for _, l := range all {
		for _, other := range all {
			if other != l {
				l.allies = append(l.allies, other)
			}
		}
	}
}

// show notes branches that others may build on.
func (l *Liar) show(branches ...[]*ledger.Entry) {
	l.shown = append(l.shown, branches...)
	l.shown = l.shown[max(0, len(l.shown)-6):]
}

// Act tells one lie, or for once the truth, to some of the nodes, and returns which it was.
func (l *Liar) Act(nodes []*Node) string {
	some := func() []*Node {
		l.rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		return nodes[:1+l.rand.IntN(min(3, len(nodes)))]
	}
	lies := []struct {
		name string
		tell func()
	}{
		{"truth", func() {
			l.log = append(l.log, l.sign(l.log, nil, nil))
			l.Push(some(), l.log...)
		}},
		{"fork", func() {
			from := len(l.log) - l.rand.IntN(min(len(l.log), 3)+1)
			common := l.log[:from:from]
			one, other := common, common
			for range 1 + l.rand.IntN(3) {
				one = append(one[:len(one):len(one)], l.sign(one, nil, nil))
				other = append(other[:len(other):len(other)], l.sign(other, nil, nil))
			}
			half := len(nodes) / 2
			some()
			l.Push(nodes[:max(1, min(half, 3))], one...)
			l.Push(nodes[half:min(len(nodes), half+3)], other...)
			l.log = one
			l.show(one, other)
		}},
		{"conspiracy", func() { // a fork, each side of which vouches for another branch of an ally
			if len(l.allies) == 0 {
				return
			}
			common := l.log[:len(l.log):len(l.log)]
			for range 2 {
				ally := l.allies[l.rand.IntN(len(l.allies))]
				if len(ally.shown) == 0 {
					continue
				}
				branch := ally.shown[l.rand.IntN(len(ally.shown))]
				mine := append(common, l.sign(common, []ledger.Citation{branch[len(branch)-1].Citation()}, nil))
				l.Push(some(), append(branch[:len(branch):len(branch)], mine...)...)
				l.log = mine
				l.show(mine)
			}
		}},
		{"height", func() {
			l.Push(some(), l.sign(l.log, nil, func(h *ledger.Header) { h.Height += 1 + l.rand.Uint64N(1000) }))
		}},
		{"root", func() { l.Push(some(), l.sign(l.log, nil, func(h *ledger.Header) { h.Root[0] ^= 1 })) }},
		{"predecessor", func() { l.Push(some(), l.sign(l.log, nil, func(h *ledger.Header) { h.Prev[0] ^= 1 })) }},
		{"invented citation", func() {
			cited := l.someHead(nodes)
			if cited.Height > 0 {
				cited.Hash[0] ^= 1
				l.Push(some(), l.sign(l.log, []ledger.Citation{cited}, nil))
			}
		}},
		{"height of a citation", func() {
			cited := l.someHead(nodes)
			if cited.Height > 0 {
				cited.Height += 1 + l.rand.Uint64N(1000)
				l.Push(some(), l.sign(l.log, []ledger.Citation{cited}, nil))
			}
		}},
		{"repeated record", func() {
			if len(l.log) > 0 {
				e := l.log[l.rand.IntN(len(l.log))]
				l.Push(some(), append(l.log[:len(l.log):len(l.log)], l.signRecord(l.log, nil, nil, e.Record, e.Header))...)
			}
		}},
		{"bad record", func() {
			r := append([]byte(nil), ledgertest.Record(l.tb, l.next)...)
			r[len(r)/2] ^= 1
			e := l.sign(l.log, nil, nil)
			l.Push(some(), l.signRecord(l.log, nil, nil, r, e.Header))
		}},
		{"bytes withheld", func() {
			ahead := append(l.log[:len(l.log):len(l.log)], l.sign(l.log, nil, nil))
			ahead = append(ahead, l.sign(ahead, nil, nil))
			l.Push(some(), ahead[len(ahead)-1])
		}},
		{"replay", func() {
			for e, err := range nodes[0].Store.Chain(l.tb.Context()) {
				if err == nil && l.rand.IntN(4) == 0 {
					l.Push(some(), e)
				}
			}
		}},
		{"another network", func() {
			other := ledgertest.Doc(l.Name)
			other.Name = "another network"
			g := ledgertest.Genesis(l.tb, other)
			log := &ledger.Log{Origin: ledgertest.Origin(l.Name)}
			l.next++
			e, err := log.Sign(g, ledgertest.Key(l.Name), ledgertest.Draft(l.tb, g, "vote", l.next), nil, 0, nil)
			if err != nil {
				l.tb.Fatal(err)
			}
			l.Push(some(), e)
		}},
		{"signature inside", func() {
			branch := l.log[:len(l.log):len(l.log)]
			for i := range 3 {
				e := l.sign(branch, nil, nil)
				if i == 1 {
					e = Unsigned(l.tb, e)
				}
				branch = append(branch, e)
			}
			// As if the node had pulled it: the last signature vouches for the range.
			n := some()[0]
			l.Push([]*Node{n}, l.log...)
			if _, err := n.Store.IngestRange(l.tb.Context(), branch[len(l.log):]); err == nil {
				n.VerifySoon()
			}
		}},
	}
	lie := lies[l.rand.IntN(len(lies))]
	lie.tell()
	return lie.name
}

// Unsigned returns an entry with a signature that is not its origin's.
func Unsigned(tb testing.TB, e *ledger.Entry) *ledger.Entry {
	bad := *e
	bad.Signature[0] ^= 1
	decoded, err := ledger.DecodeEntry(bad.Append(nil))
	if err != nil {
		tb.Fatal(err)
	}
	return decoded
}

func (l *Liar) someHead(nodes []*Node) ledger.Citation {
	for _, row := range nodes[0].Store.Frontier() {
		if row.Origin != ledgertest.Origin(l.Name) && row.Size() > 0 {
			return row.Citation
		}
	}
	return ledger.Citation{}
}

func (l *Liar) sign(branch []*ledger.Entry, seen []ledger.Citation, change func(*ledger.Header)) *ledger.Entry {
	l.next++
	d := ledgertest.Draft(l.tb, l.genesis, "vote", l.next)
	return l.signRecord(branch, seen, change, d.Record, ledger.Header{RecordUUID: d.Facts.Header, Kind: "vote"})
}

// signRecord signs the next entry of a branch over record bytes, after a change to the header.
func (l *Liar) signRecord(branch []*ledger.Entry, seen []ledger.Citation, change func(*ledger.Header), record []byte, like ledger.Header) *ledger.Entry {
	var tree ledger.Tree
	for _, e := range branch {
		tree.Append(e.Hash)
	}
	h := ledger.Header{Network: l.genesis.Network(), Origin: ledgertest.Origin(l.Name), Seq: uint64(len(branch)), Root: tree.Root(),
		Kind: like.Kind, RecordUUID: like.RecordUUID, RecordHash: ledger.RecordHash(record), RecordLen: uint32(len(record)), Seen: seen}
	height := uint64(0)
	if n := len(branch); n > 0 {
		h.Prev, height = branch[n-1].Hash, branch[n-1].Header.Height
	}
	h.Height = ledger.NextHeight(height, seen)
	if change != nil {
		change(&h)
	}
	return ledger.Sign(ledgertest.Key(l.Name), h, record)
}

// Push sends entries to nodes over the link protocol, and notes which they take. Nodes that cannot be reached miss them.
func (l *Liar) Push(to []*Node, entries ...*ledger.Entry) {
	for _, n := range to {
		if err := l.push(n, entries); err != nil {
			continue
		}
	}
}

func (l *Liar) push(n *Node, entries []*ledger.Entry) error {
	return push(l.tb, l.Host, n, entries, func(e *ledger.Entry) {
		for _, liar := range append(l.allies, l) {
			if e.Header.Origin == ledgertest.Origin(liar.Name) {
				if liar.Taken[n.Name] == nil {
					liar.Taken[n.Name] = map[uint64]ledger.Hash{}
				}
				liar.Taken[n.Name][e.Header.Seq] = e.Hash
			}
		}
	})
}

// push sends entries from a host to a node over the link protocol, and tells which it takes.
func push(tb testing.TB, from host.Host, n *Node, entries []*ledger.Entry, taken func(*ledger.Entry)) error {
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
	defer cancel()
	if err := from.Connect(ctx, n.Info()); err != nil {
		return err
	}
	s, err := from.NewStream(ctx, n.Host().ID(), p2p.LinkProtocolID)
	if err != nil {
		return err
	}
	defer func() { _ = s.Reset() }()
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(s)
	for _, e := range entries {
		const pushFrame, doneFrame = 32, 33
		frame := e.Append([]byte{pushFrame, 1})
		if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...)); err != nil {
			return err
		}
		length, err := binary.ReadUvarint(r)
		if err != nil || length == 0 || length > 1<<16 {
			return fmt.Errorf("answer of %d bytes: %w", length, err)
		}
		answer := make([]byte, length)
		if _, err := io.ReadFull(r, answer); err != nil {
			return err
		}
		if answer[0] == doneFrame {
			taken(e)
		}
	}
	return nil
}

// Forked reports whether two nodes took different entries for one place.
func (l *Liar) Forked() bool {
	first := map[uint64]ledger.Hash{}
	for _, taken := range l.Taken {
		for seq, hash := range taken {
			if other, ok := first[seq]; ok && other != hash {
				return true
			}
			first[seq] = hash
		}
	}
	return false
}
