package proof_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
)

// goldenID freezes the encoding of evidence. When this test fails, nodes no longer agree on what was proven.
const (
	goldenID     = "8f44519264e7081febb37d0ad964f4b755c2dfce262c765f49f5d25a7fcb2297"
	goldenLength = 560
)

// world is a history of three parties in one network, all honest so far, and the same parties in another network. Mallory
// will lie, with a key that is good.
type world struct {
	tb      testing.TB
	genesis *ledger.Genesis
	entries []*ledger.Entry
	logs    map[string][]*ledger.Entry
	foreign map[string][]*ledger.Entry // of the other network
}

const liar = "mallory"

var parties = []string{"alice", "bob", liar}

func newWorld(tb testing.TB) *world {
	doc := ledgertest.Doc(parties...)
	doc.MaxRecord = 2000
	w := &world{tb: tb, genesis: ledgertest.Genesis(tb, doc), logs: map[string][]*ledger.Entry{}, foreign: map[string][]*ledger.Entry{}}
	here := ledgertest.NewNetwork(tb, w.genesis)
	here.Put(liar)
	here.Random(7, 36, parties...)
	w.entries = here.Entries
	doc.Name = "another network"
	there := ledgertest.NewNetwork(tb, ledgertest.Genesis(tb, doc))
	there.Random(8, 24, parties...)
	for _, p := range parties {
		w.logs[p], w.foreign[p] = logOf(here, p), logOf(there, p)
	}
	return w
}

func logOf(n *ledgertest.Network, party string) []*ledger.Entry {
	var log []*ledger.Entry
	for _, e := range n.Entries {
		if e.Header.Origin == ledgertest.Origin(party) {
			log = append(log, e)
		}
	}
	return log
}

func leavesOf(log []*ledger.Entry) proof.Leaves {
	hashes := make([]ledger.Hash, len(log))
	for i, e := range log {
		hashes[i] = e.Hash
	}
	return stream(hashes)
}

func rootOf(log []*ledger.Entry) ledger.Hash {
	var tree ledger.Tree
	for _, e := range log {
		tree.Append(e.Hash)
	}
	return tree.Root()
}

// lie signs a changed header with the liar's key.
func lie(like *ledger.Entry, change func(h *ledger.Header)) *ledger.Entry {
	h := like.Header
	h.Origin, h.Seen = ledgertest.Origin(liar), slices.Clone(h.Seen)
	change(&h)
	return ledger.Sign(ledgertest.Key(liar), h, like.Record)
}

// over signs a header like that of an entry, at the end of another branch.
func over(like *ledger.Entry, branch []*ledger.Entry) *ledger.Entry {
	last := branch[len(branch)-1]
	return lie(like, func(h *ledger.Header) {
		h.Seq, h.Prev, h.Root = uint64(len(branch)), last.Hash, rootOf(branch)
		h.Height = ledger.NextHeight(last.Header.Height, h.Seen)
	})
}

// swapped is a log with another entry at one index.
func swapped(log []*ledger.Entry, index int, e *ledger.Entry) []*ledger.Entry {
	log = slices.Clone(log)
	log[index] = e
	return log
}

// unsigned is an entry whose signature is broken, with the hash that follows.
func unsigned(tb testing.TB, e *ledger.Entry) *ledger.Entry {
	tb.Helper()
	signature := e.Signature
	signature[3] ^= 8
	s, err := ledger.DecodeStatement(e.RawHeader, signature)
	if err != nil {
		tb.Fatal(err)
	}
	s.Record = e.Record
	return s
}

type accusation struct {
	name     string
	kind     proof.Kind
	seq      uint64
	reason   string // part of the sentence
	evidence func() (*proof.Evidence, error)
}

// accusations are lies of every kind that the liar may tell, each made with the real key.
func (w *world) accusations() []accusation {
	g, log := w.genesis, w.logs[liar]
	leaves := leavesOf(log)
	far := func(e *ledger.Entry, index uint64, leaves proof.Leaves) proof.Claim {
		p, err := proof.NewInclusion(index, e.Header.Seq, leaves)
		if err != nil {
			w.tb.Fatal(err)
		}
		return proof.Claim{Entry: e, Inclusion: p}
	}
	other := func(i int) *ledger.Entry { return lie(log[i], func(h *ledger.Header) { h.Time++ }) }
	var as []accusation
	add := func(name string, kind proof.Kind, seq uint64, reason string, evidence func() (*proof.Evidence, error)) {
		as = append(as, accusation{name, kind, seq, reason, evidence})
	}

	conflict := func(name string, seq uint64, reason string, a, b proof.Claim) {
		add("conflict/"+name, proof.KindConflict, seq, reason, func() (*proof.Evidence, error) { return proof.Conflict(g, seq, a, b) })
	}
	add("fork", proof.KindConflict, 4, "signed two different entries 4", func() (*proof.Evidence, error) { return proof.Fork(g, log[4], other(4)) })
	add("fork at 0", proof.KindConflict, 0, "signed two different entries 0", func() (*proof.Evidence, error) { return proof.Fork(g, other(0), log[0]) })
	conflict("prev and self", 4, "committed to two different entries 4", proof.Claim{Entry: over(log[5], swapped(log[:5], 4, other(4)))}, proof.Claim{Entry: log[4]})
	forged := swapped(log[:9], 3, other(3))
	head := over(log[9], forged)
	conflict("root and self", 3, "committed to two different entries 3", far(head, 3, leavesOf(forged)), proof.Claim{Entry: log[3]})
	conflict("root and prev", 3, "committed", far(head, 3, leavesOf(forged)), proof.Claim{Entry: log[4]})
	conflict("root and root", 3, "committed", far(head, 3, leavesOf(forged)), far(log[8], 3, leaves))
	conflict("root of one leaf", 0, "committed", far(over(log[1], []*ledger.Entry{other(0)}), 0, leavesOf([]*ledger.Entry{other(0)})), proof.Claim{Entry: log[0]})
	torn := lie(log[6], func(h *ledger.Header) { h.Prev = other(5).Hash })
	conflict("prev and own root", 5, "committed", proof.Claim{Entry: torn}, far(torn, 5, leaves))
	wild := lie(log[9], func(h *ledger.Header) { h.Seq = 1<<63 + 5 })
	add("fork beyond all numbers", proof.KindConflict, ledger.MaxSeq, "signed", func() (*proof.Evidence, error) {
		return proof.Fork(g, wild, lie(wild, func(h *ledger.Header) { h.Time++ }))
	})

	invalid := func(name string, seq uint64, e *ledger.Entry) {
		add("invalid/"+name, proof.KindInvalidEntry, seq, "forbid", func() (*proof.Evidence, error) { return proof.InvalidEntry(g, e) })
	}
	invalid("private kind", 4, lie(log[4], func(h *ledger.Header) { h.Kind = "voter" }))
	invalid("cites itself", 4, lie(log[4], func(h *ledger.Header) { h.Seen = []ledger.Citation{log[3].Citation()} }))
	invalid("no height", 4, lie(log[4], func(h *ledger.Header) { h.Height = 0 }))
	invalid("seq beyond the last", ledger.MaxSeq, lie(log[4], func(h *ledger.Header) { h.Seq = ledger.MaxSeq }))
	invalid("greatest seq", ledger.MaxSeq, lie(log[4], func(h *ledger.Header) { h.Seq = 1<<64 - 1 }))
	invalid("origin proof", 0, lie(log[0], func(h *ledger.Header) { h.OriginProof = new(ledger.OriginProof) }))
	invalid("long by its header", 4, lie(log[4], func(h *ledger.Header) { h.RecordLen = 2001 }))
	invalid("other length", 4, lie(log[4], func(h *ledger.Header) { h.RecordLen++ }))
	invalid("other UUID", 4, lie(log[4], func(h *ledger.Header) { h.RecordUUID[0] ^= 1 }))
	nothing := lie(log[4], func(h *ledger.Header) { h.RecordLen, h.RecordHash = 0, ledger.RecordHash(nil) })
	nothing.Record = nil
	invalid("no record", 4, nothing)
	garbage := []byte("pg s1 'd' garbage")
	malformed := lie(log[4], func(h *ledger.Header) { h.RecordLen, h.RecordHash = uint32(len(garbage)), ledger.RecordHash(garbage) })
	malformed.Record = garbage
	invalid("malformed record", 4, malformed)
	long := lie(log[4], func(h *ledger.Header) { h.RecordHash = ledger.RecordHash(make([]byte, 3000)) })
	long.Record = make([]byte, 3000)
	invalid("long against its header", 4, long)

	signature := func(name, reason string, bad *ledger.Entry) {
		branch := swapped(log[:6], 4, bad)
		next := over(log[5], branch[:5])
		later := over(log[6], swapped(branch, 5, next))
		add("signature/"+name+", named by the next", proof.KindBadSignature, 4, reason, func() (*proof.Evidence, error) {
			return proof.BadSignature(g, 4, bad, next, nil)
		})
		add("signature/"+name+", under a later root", proof.KindBadSignature, 4, reason, func() (*proof.Evidence, error) {
			return proof.BadSignature(g, 4, bad, later, leavesOf(swapped(branch, 5, next)))
		})
	}
	signature("broken", "without a valid signature", unsigned(w.tb, log[4]))
	signature("of another place", "which is entry 2", log[2])
	signature("of another origin", "belongs elsewhere", w.logs["bob"][4])
	signature("of another network", "belongs elsewhere", w.foreign[liar][4])

	root := func(name string, seq uint64, change func(h *ledger.Header)) {
		bad := lie(log[seq], change)
		add("root/"+name, proof.KindBadRoot, seq, "misstates", func() (*proof.Evidence, error) {
			if seq == 0 {
				return proof.BadRoot(g, nil, bad, nil)
			}
			return proof.BadRoot(g, log[seq-1], bad, leaves)
		})
	}
	root("first", 0, func(h *ledger.Header) { h.Root = ledger.Hash{} })
	root("first with a predecessor", 0, func(h *ledger.Header) { h.Prev = log[3].Hash })
	root("second", 1, func(h *ledger.Header) { h.Root = ledger.EmptyRoot })
	root("later", 7, func(h *ledger.Header) { h.Root = log[6].Header.Root })

	height := func(seq uint64, change func(h *ledger.Header)) {
		bad := lie(log[seq], change)
		add(fmt.Sprintf("height/%d", bad.Header.Height), proof.KindBadHeight, seq, "does not follow", func() (*proof.Evidence, error) {
			if seq == 0 {
				return proof.BadHeight(g, nil, bad)
			}
			return proof.BadHeight(g, log[seq-1], bad)
		})
	}
	height(0, func(h *ledger.Header) { h.Height++ })
	height(5, func(h *ledger.Header) { h.Height += 1000 })
	height(5, func(h *ledger.Header) { h.Height-- })

	i := slices.IndexFunc(log, func(e *ledger.Entry) bool { return len(e.Header.Seen) > 0 })
	at := slices.IndexFunc(w.entries, func(e *ledger.Entry) bool { return e.Hash == log[i].Header.Seen[0].Hash })
	cited := w.entries[at]
	citation := func(name string, change func(c *ledger.Citation)) {
		bad := lie(log[i], func(h *ledger.Header) { change(&h.Seen[0]) })
		add("citation/"+name, proof.KindBadCitation, uint64(i), "misstated", func() (*proof.Evidence, error) { return proof.BadCitation(g, bad, cited) })
	}
	citation("origin", func(c *ledger.Citation) { c.Origin = ledgertest.Origin("nobody") })
	citation("seq", func(c *ledger.Citation) { c.Seq++ })
	citation("height", func(c *ledger.Citation) { c.Height += 7 })
	alien := w.foreign["bob"][1]
	add("citation/network", proof.KindBadCitation, uint64(i), "misstated", func() (*proof.Evidence, error) {
		return proof.BadCitation(g, lie(log[i], func(h *ledger.Header) { h.Seen = []ledger.Citation{alien.Citation()} }), alien)
	})

	again := func(first int) {
		second := over(log[first], log[:6])
		add(fmt.Sprintf("repeated/%d", first), proof.KindRepeated, 6, fmt.Sprintf("entries %d and 6", first), func() (*proof.Evidence, error) {
			return proof.Repeated(g, log[first], second, leaves)
		})
	}
	again(5)
	again(0)
	again(2)
	return as
}

// TestLiarIsConvicted: each lie is proven by a constructor, passes through its bytes, and stops proving anything when any
// part of it is changed.
func TestLiarIsConvicted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, a := range w.accusations() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			e, err := a.evidence()
			if err != nil {
				t.Fatal(err)
			}
			back, err := proof.ParseEvidence(e.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if err := back.Verify(w.genesis); err != nil {
				t.Fatal(err)
			}
			if back.Origin() != ledgertest.Origin(liar) || back.Seq() != a.seq || back.Kind() != a.kind || back.Network() != w.genesis.Network() {
				t.Errorf("%v at %d, %v; want %v at %d against the liar", back.Kind(), back.Seq(), back, a.kind, a.seq)
			}
			if !bytes.Equal(back.Bytes(), e.Bytes()) || back.ID() != e.ID() || back.Compare(e) != 0 {
				t.Error("the parsed evidence is another")
			}
			if s := back.String(); !strings.Contains(s, a.reason) || strings.ContainsAny(s, "\n%") {
				t.Errorf("reason %q, want %q in it", s, a.reason)
			}
			if again, err := a.evidence(); err != nil || again.ID() != e.ID() {
				t.Errorf("made once more it is another, %v", err)
			}
			if limit := 6000; len(e.Bytes()) > limit {
				t.Errorf("%d bytes, which is more than %d", len(e.Bytes()), limit)
			}
			w.corrupt(t, e.Bytes())
		})
	}
}

// corrupt demands that every byte of evidence counts.
func (w *world) corrupt(t *testing.T, raw []byte) {
	refuse := func(what string, raw []byte) {
		if e, err := proof.ParseEvidence(raw); err == nil && e.Verify(w.genesis) == nil {
			t.Errorf("%s, and it still proves: %v", what, e)
		}
	}
	for i := range raw {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 1 << (i % 8)
		refuse(fmt.Sprintf("a bit of byte %d flipped", i), flipped)
		flipped[i] = ^raw[i]
		refuse(fmt.Sprintf("byte %d inverted", i), flipped)
		refuse(fmt.Sprintf("cut at %d", i), raw[:i])
		refuse(fmt.Sprintf("byte %d gone", i), slices.Delete(bytes.Clone(raw), i, i+1))
	}
	refuse("a byte added", append(bytes.Clone(raw), 0))
	refuse("a field added", append(bytes.Clone(raw), 0x28, 0x01))
	refuse("made long", append(bytes.Clone(raw), make([]byte, proof.MaxEvidence)...))
}

// TestAnotherNetwork: evidence of one network is none in another, and none against an origin that may not write.
func TestAnotherNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(*ledger.GenesisDoc){
		"another name": func(d *ledger.GenesisDoc) { d.Name = "elsewhere" },
		"not a member": func(d *ledger.GenesisDoc) { d.Members = d.Members[:2] },
	} {
		doc := w.genesis.GenesisDoc
		change(&doc)
		g := ledgertest.Genesis(t, doc)
		for _, a := range w.accusations() {
			e, err := a.evidence()
			if err != nil {
				t.Fatal(err)
			}
			if e.Verify(g) == nil {
				t.Errorf("%s: %s holds there too", name, a.name)
			}
		}
	}
	stranger := ledger.Sign(ledgertest.Key("stranger"), ledger.Header{Network: w.genesis.Network(), Origin: ledgertest.Origin("stranger"), Kind: "vote"}, nil)
	if e, err := proof.InvalidEntry(w.genesis, stranger); err == nil {
		t.Errorf("evidence against a stranger: %v", e)
	}
}

// TestHonestLogsProveNothing tries every constructor on every pair of honest entries, with true proofs, swapped records
// and entries of another network.
func TestHonestLogsProveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.genesis
	refuse := func(what string, a, b *ledger.Entry, e *proof.Evidence, err error) {
		if err == nil {
			t.Errorf("%s from entries %d and %d of %v and %v: %v", what, a.Header.Seq, b.Header.Seq, a.Header.Origin, b.Header.Origin, e)
		}
	}
	all := slices.Concat(w.entries[:20], w.foreign["alice"][:2], w.foreign[liar][:2])
	for _, a := range all {
		log := w.logs["alice"]
		for _, p := range parties {
			if a.Header.Origin == ledgertest.Origin(p) {
				log = w.logs[p]
			}
		}
		leaves := leavesOf(log)
		for _, b := range all {
			e, err := proof.Fork(g, a, b)
			refuse("a fork", a, b, e, err)
			for index := range uint64(4) {
				own, err := proof.NewClaim(a, index, leaves)
				if err != nil {
					continue
				}
				for _, c := range []proof.Claim{own, {Entry: b}} {
					e, err = proof.Conflict(g, index, own, c)
					refuse("a conflict", a, b, e, err)
				}
				e, err = proof.BadSignature(g, index, b, a, leaves)
				refuse("a bad signature", a, b, e, err)
				e, err = proof.BadSignature(g, index, unsigned(t, b), a, leaves)
				refuse("a broken signature", a, b, e, err)
			}
			mixed := *a
			mixed.Record = b.Record
			e, err = proof.InvalidEntry(g, &mixed)
			refuse("an invalid entry", a, b, e, err)
			mixed.Record = append(bytes.Clone(b.Record), ' ')
			e, err = proof.InvalidEntry(g, &mixed)
			refuse("an invalid entry", a, b, e, err)
			mixed.Record = nil
			e, err = proof.InvalidEntry(g, &mixed)
			refuse("an entry without record", a, b, e, err)
			for _, prev := range []*ledger.Entry{nil, b} {
				e, err = proof.BadRoot(g, prev, a, leaves)
				refuse("a bad root", a, b, e, err)
				e, err = proof.BadHeight(g, prev, a)
				refuse("a bad height", a, b, e, err)
			}
			e, err = proof.BadCitation(g, a, b)
			refuse("a bad citation", a, b, e, err)
			e, err = proof.Repeated(g, b, a, leaves)
			refuse("a repetition", a, b, e, err)
			swap := *a
			swap.Record = b.Record
			e, err = proof.Repeated(g, b, &swap, leaves)
			refuse("a repetition by swapping", a, b, e, err)
		}
	}
}

// TestOnlyTheLiar puts evidence together at random from honest entries, lies and damage, as an attacker would who has
// everything but the keys of the honest. Whatever verifies is against the liar, in the network lied to.
func TestOnlyTheLiar(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := slices.Concat(w.entries, w.foreign["alice"], w.foreign["bob"], w.foreign[liar])
	honest := len(pool)
	log := w.logs[liar]
	for i := range log {
		for _, change := range []func(h *ledger.Header){
			func(h *ledger.Header) { h.Time++ },
			func(h *ledger.Header) { h.Height++ },
			func(h *ledger.Header) { h.Root[0] ^= 1 },
			func(h *ledger.Header) { h.RecordLen++ },
			func(h *ledger.Header) { h.Kind = "voter" },
			func(h *ledger.Header) { h.Origin = ledgertest.Origin("alice") }, // signed with the wrong key
		} {
			pool = append(pool, lie(log[i], change))
		}
		pool = append(pool, lie(w.logs["alice"][i%len(w.logs["alice"])], func(h *ledger.Header) {}))
	}
	// A branch with lies in its midst, to which the liar's later entries commit.
	branch := swapped(log[:5], 4, unsigned(t, log[4]))
	for _, like := range []*ledger.Entry{log[5], log[2], log[7]} {
		branch = append(branch, over(like, branch))
	}
	pool = append(pool, branch[4:]...)
	histories := [][]*ledger.Entry{w.logs["alice"], w.logs["bob"], log, branch}
	records := [][]byte{nil, []byte("x"), log[0].Record, w.logs["alice"][0].Record}
	elsewhere := w.elsewhere()
	convicted := map[proof.Kind]int{}
	tried := 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			tried++
			kind := proof.Kind(rapid.IntRange(1, 7).Draw(t, "kind"))
			whose := rapid.SampledFrom(histories).Draw(t, "history")
			draw := func() proof.Claim {
				var e ledger.Entry
				switch rapid.IntRange(0, 5).Draw(t, "source") {
				case 0:
					e = *rapid.SampledFrom(pool[:honest]).Draw(t, "honest entry")
				case 1:
					e = *rapid.SampledFrom(pool[honest:]).Draw(t, "lie")
				default:
					e = *rapid.SampledFrom(whose).Draw(t, "entry")
				}
				if rapid.IntRange(0, 9).Draw(t, "break the signature") == 7 {
					e.Signature[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1
				}
				if rapid.IntRange(0, 4).Draw(t, "swap the record") == 4 {
					e.Record = rapid.SampledFrom(records).Draw(t, "record")
				}
				return proof.Claim{Entry: &e}
			}
			first, second := draw(), draw()
			if rapid.IntRange(0, 7).Draw(t, "the same twice") == 7 {
				second = first
			}
			seq := first.Entry.Header.Seq
			if kind == proof.KindConflict || kind == proof.KindBadSignature {
				seq = rapid.SampledFrom([]uint64{seq, second.Entry.Header.Seq, max(seq, 1) - 1, 0, 3}).Draw(t, "index")
			}
			index := seq
			if kind == proof.KindRepeated {
				index = second.Entry.Header.Seq
			}
			for _, c := range []*proof.Claim{&first, &second} {
				if rapid.Bool().Draw(t, "with a proof") {
					c.Inclusion = drawInclusion(t, index, c.Entry.Header.Seq, whose)
				}
			}
			var peaks []ledger.Hash
			claims := []proof.Claim{first, second}
			if linked := kind == proof.KindBadRoot || kind == proof.KindBadHeight; kind == proof.KindInvalidEntry || linked && seq == 0 {
				claims = claims[:1]
			} else if linked {
				if rapid.Bool().Draw(t, "right predecessor") && seq-1 < uint64(len(whose)) {
					claims[1] = proof.Claim{Entry: whose[seq-1]}
				}
				if kind == proof.KindBadRoot {
					var tree ledger.Tree
					for _, e := range whose[:min(seq-1, uint64(len(whose)))] {
						tree.Append(e.Hash)
					}
					peaks = slices.Clone(tree.Peaks())
					if len(peaks) > 0 && rapid.IntRange(0, 3).Draw(t, "damage the peaks") == 3 {
						peaks[0][0] ^= 1
					}
				}
			}
			for _, claims := range [][]proof.Claim{claims, {claims[len(claims)-1], claims[0]}} {
				e, err := proof.ParseEvidence(proof.Assemble(kind, seq, peaks, claims...))
				if err != nil {
					continue
				}
				if err := e.Verify(w.genesis); err == nil {
					if e.Origin() != ledgertest.Origin(liar) {
						t.Fatalf("an honest party was convicted: %v", e)
					}
					convicted[kind]++
				}
				if e.Verify(elsewhere) == nil {
					t.Fatalf("convicted where nobody lied: %v", e)
				}
			}
		}
	})
	t.Logf("of %d tries convicted: %v", tried, convicted)
	if len(convicted) == 0 {
		t.Error("the tries are too far off the mark to prove anything")
	}
}

// elsewhere is the genesis document of the other network, in which nobody ever lied.
func (w *world) elsewhere() *ledger.Genesis {
	doc := w.genesis.GenesisDoc
	doc.Name = "another network"
	g := ledgertest.Genesis(w.tb, doc)
	if g.Network() != w.foreign["alice"][0].Header.Network {
		w.tb.Fatal("not that network")
	}
	return g
}

// drawInclusion draws a proof that is right, nearly right or made up.
func drawInclusion(t *rapid.T, index, size uint64, log []*ledger.Entry) *proof.Inclusion {
	p, err := proof.NewInclusion(index, size, leavesOf(log))
	if err != nil {
		return &proof.Inclusion{Leaf: log[0].Hash, Path: numbered(rapid.IntRange(0, 3).Draw(t, "made up"))}
	}
	switch rapid.IntRange(0, 5).Draw(t, "damage the proof") {
	case 5:
		p.Leaf[5] ^= 1
	case 4:
		if len(p.Path) > 0 { // an inner node for a leaf
			p.Leaf, p.Path = p.Path[len(p.Path)-1], p.Path[:len(p.Path)-1]
		}
	case 3:
		p.Path = append(p.Path, p.Leaf)
	}
	return p
}

// TestOneForm: what says the same in another form is refused.
func TestOneForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.logs[liar]
	a, b := log[4], lie(log[4], func(h *ledger.Header) { h.Time++ })
	if a.Hash.Compare(b.Hash) > 0 {
		a, b = b, a
	}
	x, y := proof.Claim{Entry: a}, proof.Claim{Entry: b}
	private := proof.Claim{Entry: lie(log[4], func(h *ledger.Header) { h.Kind = "voter" })}
	first := proof.Claim{Entry: lie(log[0], func(h *ledger.Header) { h.Root[0] ^= 1 })}
	if _, err := proof.ParseEvidence(proof.Assemble(proof.KindConflict, 4, nil, x, y)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"nothing":              nil,
		"kind 0":               proof.Assemble(0, 4, nil, x, y),
		"kind 8":               proof.Assemble(8, 4, nil, x, y),
		"kind 257":             append([]byte{0x08, 0x81, 0x02}, proof.Assemble(1, 4, nil, x, y)[2:]...),
		"long kind":            append([]byte{0x08, 0x81, 0x00}, proof.Assemble(1, 4, nil, x, y)[2:]...),
		"wrong order":          proof.Assemble(proof.KindConflict, 4, nil, y, x),
		"the same twice":       proof.Assemble(proof.KindConflict, 4, nil, x, x),
		"one claim":            proof.Assemble(proof.KindConflict, 4, nil, x),
		"three claims":         proof.Assemble(proof.KindConflict, 4, nil, x, y, y),
		"about elsewhere":      proof.Assemble(proof.KindConflict, 2, nil, x, y),
		"peaks in a conflict":  proof.Assemble(proof.KindConflict, 4, numbered(1), x, y),
		"an idle predecessor":  proof.Assemble(proof.KindBadRoot, 0, nil, first, x),
		"peaks of nothing":     proof.Assemble(proof.KindBadRoot, 0, numbered(1), first),
		"another place":        proof.Assemble(proof.KindInvalidEntry, 5, nil, private),
		"an idle statement":    proof.Assemble(proof.KindInvalidEntry, 4, nil, private, x),
		"a path of 65":         proof.Assemble(proof.KindConflict, 2, nil, proof.Claim{Entry: a, Inclusion: &proof.Inclusion{Path: numbered(65)}}, proof.Claim{Entry: b, Inclusion: &proof.Inclusion{Leaf: a.Hash}}),
		"65 peaks":             proof.Assemble(proof.KindBadRoot, 4, numbered(65), x, y),
		"an unknown field":     append(proof.Assemble(proof.KindConflict, 4, nil, x, y), 0x28, 0x01),
		"a header in excess":   bytes.Replace(proof.Assemble(proof.KindConflict, 4, nil, x, y), a.RawHeader[:40], make([]byte, 40), 1),
		"more than is allowed": make([]byte, proof.MaxEvidence+1),
	} {
		if e, err := proof.ParseEvidence(raw); err == nil {
			t.Errorf("%s: accepted as %v", name, e)
		} else if strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: error of several lines: %v", name, err)
		}
	}
	// The record of an entry whose header alone is bad proves nothing more, and is refused.
	e, err := proof.ParseEvidence(proof.Assemble(proof.KindInvalidEntry, 4, nil, private))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(w.genesis); err == nil {
		t.Error("the idle record was accepted")
	}
	private.Entry.Record = nil
	if e, err = proof.ParseEvidence(proof.Assemble(proof.KindInvalidEntry, 4, nil, private)); err != nil || e.Verify(w.genesis) != nil {
		t.Errorf("without record: %v, %v", err, e)
	}
}

// TestCompare: the least evidence is that of the lowest place, whoever found it.
func TestCompare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []*proof.Evidence
	for _, a := range w.accusations() {
		e, err := a.evidence()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	least := slices.MinFunc(all, (*proof.Evidence).Compare)
	for _, e := range all {
		if e.Seq() < least.Seq() || e.Compare(least) < 0 || e.Compare(least) != -least.Compare(e) {
			t.Errorf("%v comes before %v", e, least)
		}
	}
}

// TestMaxEvidence: the largest that two valid entries can make still fits.
func TestMaxEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citation := ledger.Citation{Origin: ledgertest.Origin("bob"), Seq: 1<<64 - 1, Height: 1<<64 - 1}
	h := ledger.Header{Origin: ledgertest.Origin(liar), Seq: 1<<64 - 1, Height: 1<<64 - 1, Time: 1<<64 - 1, Network: w.genesis.Network(),
		Kind: strings.Repeat("k", ledger.MaxKind), RecordLen: ledger.MaxRecord, OriginProof: new(ledger.OriginProof), Seen: slices.Repeat([]ledger.Citation{citation}, ledger.MaxSeen)}
	head := ledger.Sign(ledgertest.Key(liar), h, nil)
	head.Record = make([]byte, ledger.MaxEntry-len(head.RawHeader))
	claim := proof.Claim{Entry: head, Inclusion: &proof.Inclusion{Path: numbered(proof.MaxPath)}}
	raw := proof.Assemble(proof.KindRepeated, h.Seq, nil, claim, proof.Claim{Entry: head})
	if _, err := proof.ParseEvidence(raw); err != nil {
		t.Errorf("%d bytes: %v", len(raw), err)
	}
}

// TestImmutable: neither what went in nor what came out is shared with anybody who may change it.
func TestImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.logs[liar][4]
	e, err := proof.Fork(w.genesis, a, lie(a, func(h *ledger.Header) { h.Time++ }))
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(e.Bytes())
	parsed, err := proof.ParseEvidence(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	clear(a.RawHeader)
	for _, e := range []*proof.Evidence{e, parsed} {
		if err := e.Verify(w.genesis); err != nil {
			t.Error(err)
		}
	}
}

func TestGoldenEvidence(t *testing.T) {
	t.Parallel()
	h := ledger.Header{Network: ledgertest.Genesis(t, ledgertest.Doc(liar)).Network(), Origin: ledgertest.Origin(liar), Seq: 17, Height: 18, Kind: "vote"}
	sign := func(time uint64) *ledger.Entry {
		h := h
		h.Time = time
		return ledger.Sign(ledgertest.Key(liar), h, nil)
	}
	e, err := proof.Fork(ledgertest.Genesis(t, ledgertest.Doc(liar)), sign(1), sign(2))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.ID().String(); got != goldenID || len(e.Bytes()) != goldenLength {
		t.Errorf("evidence is %s of %d bytes, frozen as %s of %d\n%x", got, len(e.Bytes()), goldenID, goldenLength, e.Bytes())
	}
}

// TestOtherLies: a liar is guilty of what the evidence says, and not of something else. So each kind asks that the other
// statements in it are what they pretend to be; where they are not, that is evidence of another kind or place.
func TestOtherLies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, log := w.genesis, w.logs[liar]
	leaves := leavesOf(log)
	branch := lie(log[4], func(h *ledger.Header) { h.Height += 50 })
	cases := map[string]error{
		"height over another branch": second(proof.BadHeight(g, branch, log[5])),
		"root over another branch":   second(proof.BadRoot(g, branch, log[5], leaves)),
		"citation of a broken entry": second(func() (*proof.Evidence, error) {
			broken := unsigned(t, w.logs["bob"][1])
			bad := lie(log[4], func(h *ledger.Header) {
				h.Seen = []ledger.Citation{broken.Citation()}
				h.Seen[0].Height++
			})
			return proof.BadCitation(g, bad, broken)
		}()),
		"more than fits": second(func() (*proof.Evidence, error) {
			long := lie(log[4], func(h *ledger.Header) { h.RecordHash = ledger.RecordHash(make([]byte, proof.MaxEvidence)) })
			long.Record = make([]byte, proof.MaxEvidence)
			return proof.InvalidEntry(g, long)
		}()),
	}
	for name, prev := range map[string]*ledger.Entry{"a broken": unsigned(t, log[4]), "a misplaced": log[2], "another's": w.logs["bob"][4]} {
		next := over(log[5], swapped(log[:5], 4, prev))
		cases["height over "+name+" predecessor"] = second(proof.BadHeight(g, prev, lie(next, func(h *ledger.Header) { h.Height++ })))
		cases["root over "+name+" predecessor"] = second(proof.BadRoot(g, prev, lie(next, func(h *ledger.Header) { h.Root[0] ^= 1 }), leaves))
		if name == "a misplaced" {
			continue // its own record again, wherever it stands
		}
		again := over(lie(prev, func(h *ledger.Header) { h.Seen = nil }), swapped(log[:5], 4, prev))
		cases["repetition of "+name+" entry"] = second(proof.Repeated(g, prev, again, nil))
	}
	cases["repetition under another kind"] = second(proof.Repeated(g, log[2], over(lie(log[2], func(h *ledger.Header) { h.Kind = "gift" }), log[:6]), leaves))
	for name, err := range cases {
		if err == nil {
			t.Errorf("%s: proven", name)
		}
	}
}

// TestLeavesError: an error of the store is not taken for innocence.
func TestLeavesError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.logs[liar]
	for name, err := range map[string]error{
		"root":      second(proof.BadRoot(w.genesis, log[6], log[7], stream(nil))),
		"repeated":  second(proof.Repeated(w.genesis, log[2], log[7], stream(nil))),
		"signature": second(proof.BadSignature(w.genesis, 2, log[2], log[7], stream(nil))),
	} {
		if err == nil || !strings.Contains(err.Error(), "leaves end at") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := proof.NewClaim(log[7], 2, leavesOf(w.logs["alice"])); err == nil {
		t.Error("a claim from another log's leaves")
	}
	var bad *ledger.InvalidError
	if _, err := proof.Fork(w.genesis, log[4], unsigned(t, log[4])); !errors.As(err, &bad) || bad.Reason != ledger.ReasonSignature {
		t.Errorf("a fork of an unsigned entry: %v", err)
	}
}

func second(_ *proof.Evidence, err error) error { return err }

func FuzzEvidence(f *testing.F) {
	w := newWorld(f)
	guilty := ledgertest.Origin(liar)
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := proof.ParseEvidence(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Bytes(), raw) {
			t.Errorf("parsed bytes that are not those of the evidence: %x", raw)
		}
		if again, err := proof.ParseEvidence(e.Bytes()); err != nil || again.ID() != e.ID() || again.String() != e.String() {
			t.Errorf("not the same again: %v, %v", e, err)
		}
		if e.Verify(w.genesis) == nil && e.Origin() != guilty {
			t.Errorf("an honest party was convicted: %v", e)
		}
	})
}

// TestCorpus keeps the seeds of the fuzz target in step with the format: one that verifies for each kind.
func TestCorpus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done := map[proof.Kind]bool{}
	for _, a := range w.accusations() {
		if done[a.kind] {
			continue
		}
		done[a.kind] = true
		e, err := a.evidence()
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", e.Bytes())
		name := filepath.Join("testdata", "fuzz", "FuzzEvidence", a.kind.String())
		if os.Getenv("WRITE_CORPUS") != "" {
			if err := os.WriteFile(name, []byte(want), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is not what the tests make (%v); run them with WRITE_CORPUS=1 if the format is meant to change", name, err)
		}
	}
}
