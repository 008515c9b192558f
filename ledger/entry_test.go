package ledger_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

// goldenEntry freezes the format: the hash of an entry whose every byte follows from this file. When this test fails,
// entries that others have signed can no longer be read; the format must not change, the code must.
const (
	goldenHash   = "a07b0a3724b6b5cb6d9a9a9c536fe08010faa12a63fafa0d020e42d08b401fdf"
	goldenDigest = "d9073ecd24a03533cc7feeabc82ec6c0bb796a46a89a21910ebe9ff4eb91db23"
)

// goldenNetwork holds three of the original's records in the logs of two parties.
func goldenNetwork(t testing.TB) *ledgertest.Network {
	raw, err := os.ReadFile("testdata/golden-records.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "bob")))
	checker := ledger.Checker{Genesis: n.Genesis}
	puts := []struct{ party, cite string }{{"alice", ""}, {"bob", "alice"}, {"alice", "bob"}}
	for i, normal := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		d, err := checker.Draft("vote", []byte(normal))
		if err != nil {
			t.Fatal(err)
		}
		n.PutDraft(puts[i].party, d, puts[i].cite)
	}
	return n
}

func TestGoldenHash(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	last := n.Entries[2]
	if got := last.Hash.String(); got != goldenHash {
		t.Errorf("entry hash is %s, frozen as %s\nentry: %x", got, goldenHash, last.Append(nil))
	}
	f := ledger.Frontier{{Citation: n.Entries[2].Citation()}, {Citation: n.Entries[1].Citation()}}
	f.Sort()
	if got := f.Digest(n.Genesis.Network()).String(); got != goldenDigest {
		t.Errorf("frontier digest is %s, frozen as %s", got, goldenDigest)
	}
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	for _, e := range goldenNetwork(t).Entries {
		raw := e.Append(nil)
		if len(raw) != e.Len() {
			t.Errorf("Len says %d, encoding has %d bytes", e.Len(), len(raw))
		}
		got, err := ledger.DecodeEntry(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("decoded entry differs (-want +got):\n%s", diff)
		}
	}
}

// TestEveryFlipIsRefused flips each bit of a signed entry: each must fail to decode, to check, or to verify.
func TestEveryFlipIsRefused(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	raw := n.Entries[2].Append(nil)
	checker := ledger.Checker{Genesis: n.Genesis}
	for i := range raw {
		for bit := range 8 {
			flipped := bytes.Clone(raw)
			flipped[i] ^= 1 << bit
			e, err := ledger.DecodeEntry(flipped)
			if err != nil {
				continue
			}
			if _, err := checker.Check(e); err != nil {
				continue
			}
			if e.CheckSignature() == nil {
				t.Fatalf("bit %d of byte %d flipped, and the entry still passes", bit, i)
			}
		}
	}
}

func TestDecodeRefusesNonCanonical(t *testing.T) {
	t.Parallel()
	e := goldenNetwork(t).Entries[2]
	h := e.RawHeader
	wrap := func(header []byte) []byte {
		c := *e
		c.RawHeader = header
		return c.Append(nil)
	}
	insert := func(b []byte, at int, extra ...byte) []byte {
		return append(append(bytes.Clone(b[:at]), extra...), b[at:]...)
	}
	cases := map[string][]byte{
		"empty":                   nil,
		"truncated":               wrap(h)[:40],
		"trailing byte":           append(wrap(h), 0),
		"trailing field":          append(wrap(h), 0x22, 0x01, 0x00),
		"unknown header field":    wrap(append(bytes.Clone(h), 0x72, 0x00)),
		"long varint in header":   wrap(insert(h, 1, 0xa0, 0x80)[:1+2+1+len(h)-2]),
		"explicit zero":           wrap(insert(h, 34+40, 0x18, 0x00)),
		"fields out of order":     wrap(append(bytes.Clone(h[34:]), h[:34]...)),
		"repeated field":          wrap(append(bytes.Clone(h[:34]), h...)),
		"header missing":          wrap(nil),
		"long varint in entry":    append([]byte{0x0a, byte(len(h)&0x7f) | 0x80, byte(len(h)>>7) | 0x80, 0x00}, wrap(h)[3:]...),
		"group wire type":         wrap(append(bytes.Clone(h), 0x73, 0x74)),
		"sixteen-bit tag, record": append(wrap(h), 0x9a, 0x01, 0x00),
		"too long":                append(wrap(h), make([]byte, ledger.MaxEntry)...),
	}
	for name, raw := range cases {
		if _, err := ledger.DecodeEntry(raw); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error of several lines: %v", name, err)
		}
	}
}

func TestCheckSaysWhy(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc("alice", "bob")
	doc.KindStrength = map[string]int{"strong": 4}
	doc.MaxRecord = 2000
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, doc))
	first := n.Put("bob")
	good := n.Put("alice", "bob")
	otherDoc := ledgertest.Doc("alice")
	otherDoc.Name = "another network"
	other := ledgertest.NewNetwork(t, ledgertest.Genesis(t, otherDoc)).Put("alice")

	sign := func(party string, change func(h *ledger.Header), record []byte) *ledger.Entry {
		h := good.Header
		h.Origin = ledgertest.Origin(party)
		change(&h)
		return ledger.Sign(ledgertest.Key(party), h, record)
	}
	cases := []struct {
		name   string
		entry  *ledger.Entry
		reason ledger.Reason
	}{
		{"another network", other, ledger.ReasonNetwork},
		{"a stranger", sign("mallory", func(*ledger.Header) {}, good.Record), ledger.ReasonNotMember},
		{"private kind", sign("alice", func(h *ledger.Header) { h.Kind = "voter" }, good.Record), ledger.ReasonPrivateKind},
		{"no kind", sign("alice", func(h *ledger.Header) { h.Kind = "../evil" }, good.Record), ledger.ReasonEncoding},
		{"height 0", sign("alice", func(h *ledger.Header) { h.Height = 0 }, good.Record), ledger.ReasonBounds},
		{"huge seq", sign("alice", func(h *ledger.Header) { h.Seq = ledger.MaxSeq }, good.Record), ledger.ReasonBounds},
		{"cites itself", sign("alice", func(h *ledger.Header) { h.Seen = []ledger.Citation{good.Citation()} }, good.Record), ledger.ReasonCitation},
		{"cites twice", sign("alice", func(h *ledger.Header) { h.Seen = []ledger.Citation{first.Citation(), first.Citation()} }, good.Record), ledger.ReasonCitation},
		{"proof in a closed network", sign("alice", func(h *ledger.Header) { h.OriginProof = new(ledger.OriginProof) }, good.Record), ledger.ReasonOriginProof},
		{"other record", sign("alice", func(*ledger.Header) {}, first.Record), ledger.ReasonRecordHash},
		{"other length", sign("alice", func(h *ledger.Header) { h.RecordLen++ }, good.Record), ledger.ReasonRecordHash},
		{"other UUID", sign("alice", func(h *ledger.Header) { h.RecordUUID[0] ^= 1 }, good.Record), ledger.ReasonRecordUUID},
		{"weak proof", sign("alice", func(h *ledger.Header) { h.Kind = "strong" }, good.Record), "weak-proof"},
		{"record of nothing", sign("alice", func(h *ledger.Header) { h.RecordLen, h.RecordHash = 0, ledger.RecordHash(nil) }, nil), "malformed-packing"},
		{"long record", sign("alice", func(h *ledger.Header) { h.RecordLen = 2001 }, make([]byte, 2001)), ledger.ReasonRecordLength},
	}
	checker := ledger.Checker{Genesis: n.Genesis}
	if _, err := checker.Check(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		var bad *ledger.InvalidError
		if _, err := checker.Check(c.entry); !errors.As(err, &bad) || bad.Reason != c.reason {
			t.Errorf("%s: %v, want reason %s", c.name, err, c.reason)
		}
		if err := c.entry.CheckSignature(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLogCheck(t *testing.T) {
	t.Parallel()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "bob")))
	n.Put("bob")
	n.Put("alice", "bob")
	before := n.Log("alice")
	good := n.Put("alice", "bob").Header
	cases := []struct {
		change func(h *ledger.Header)
		reason ledger.Reason
	}{
		{func(h *ledger.Header) { h.Origin = ledgertest.Origin("bob") }, ledger.ReasonPrev},
		{func(h *ledger.Header) { h.Seq++ }, ledger.ReasonSeq},
		{func(h *ledger.Header) { h.Prev[0] ^= 1 }, ledger.ReasonPrev},
		{func(h *ledger.Header) { h.Root[0] ^= 1 }, ledger.ReasonRoot},
		{func(h *ledger.Header) { h.Height++ }, ledger.ReasonHeight},
		{func(h *ledger.Header) { h.Height-- }, ledger.ReasonHeight},
	}
	if err := before.Check(&good); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		h := good
		c.change(&h)
		var bad *ledger.InvalidError
		if err := before.Check(&h); !errors.As(err, &bad) || bad.Reason != c.reason {
			t.Errorf("got %v, want reason %s", err, c.reason)
		}
	}
}

// TestTree compares our compact tree with an independent implementation of RFC 6962.
func TestTree(t *testing.T) {
	t.Parallel()
	var ours ledger.Tree
	theirs := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	r := rand.New(rand.NewPCG(1, 2))
	for size := range uint64(600) {
		want, err := theirs.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			want = rfc6962.DefaultHasher.EmptyRoot()
		}
		root := ours.Root()
		if !bytes.Equal(root[:], want) {
			t.Fatalf("root of %d leaves is %v, want %x", size, root, want)
		}
		restored, err := ledger.NewTree(ours.Size(), ours.Peaks())
		if err != nil || restored.Root() != root {
			t.Fatalf("tree of %d leaves restored with root %v, %v", size, restored.Root(), err)
		}
		var leaf ledger.Hash
		for i := range leaf {
			leaf[i] = byte(r.Uint32())
		}
		ours.Append(leaf)
		if err := theirs.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.NewTree(3, make([]ledger.Hash, 3)); err == nil {
		t.Error("a tree of 3 leaves was restored from 3 subtree roots")
	}
}

func TestOriginText(t *testing.T) {
	t.Parallel()
	o := ledgertest.Origin("alice")
	back, err := ledger.ParseOrigin(o.String())
	if err != nil || back != o {
		t.Errorf("parsed %v, %v", back, err)
	}
	key, err := crypto.UnmarshalEd25519PublicKey(o[:])
	if err != nil || !o.PeerID().MatchesPublicKey(key) {
		t.Errorf("go-libp2p does not agree that %v is the peer ID of its key (%v)", o, err)
	}
	for _, bad := range []string{"", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", strings.Repeat("1", 500)} {
		if o, err := ledger.ParseOrigin(bad); err == nil {
			t.Errorf("ParseOrigin(%q) = %v", bad, o)
		}
	}
}

func TestOriginProof(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc()
	doc.Open, doc.OriginBits = true, 8
	g := ledgertest.Genesis(t, doc)
	o := ledgertest.Origin("alice")
	proof, ok := ledger.FindOriginProof(g.Network(), o, doc.OriginBits, 0, 1<<16)
	if !ok || proof.Bits(g.Network(), o) < doc.OriginBits {
		t.Fatalf("found %x (%v) with %d bits", proof, ok, proof.Bits(g.Network(), o))
	}
	d := ledgertest.Draft(t, g, "vote", 1)
	log := &ledger.Log{Origin: o}
	if _, err := log.Sign(g, ledgertest.Key("alice"), d, nil, 0, nil); err == nil {
		t.Error("signed a first entry without proof")
	}
	e, err := log.Sign(g, ledgertest.Key("alice"), d, nil, 0, &proof)
	if err != nil {
		t.Fatal(err)
	}
	checker := ledger.Checker{Genesis: g}
	if _, err := checker.Check(e); err != nil {
		t.Error(err)
	}
	log.Advance(e)
	if second, err := log.Sign(g, ledgertest.Key("alice"), ledgertest.Draft(t, g, "vote", 2), nil, 0, &proof); err != nil || second.Header.OriginProof != nil {
		t.Errorf("second entry: %v, proof %v", err, second.Header.OriginProof)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range goldenNetwork(f).Entries {
		f.Add(e.Append(nil))
	}
	f.Add([]byte{})
	f.Add(mustHex("0a00120012"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		seen, seenErr := ledger.AppendSeen(nil, raw) // of anything, without a panic
		if len(raw) == 0 && seenErr == nil {
			t.Error("nothing is taken for an entry that cites nothing")
		}
		e, err := ledger.DecodeEntry(raw)
		if err != nil {
			return
		}
		if seenErr != nil || !slices.Equal(seen, e.Header.Seen) {
			t.Errorf("cites %v (%v), decoded %v", seen, seenErr, e.Header.Seen)
		}
		if !bytes.Equal(e.Append(nil), raw) {
			t.Errorf("decoded bytes that do not re-encode to themselves: %x", raw)
		}
		if !bytes.Equal(e.Header.Append(nil), e.RawHeader) {
			t.Errorf("header does not re-encode to itself: %x", e.RawHeader)
		}
	})
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// TestBeside: two hashes in one message look different when they are.
func TestBeside(t *testing.T) {
	t.Parallel()
	a := ledger.RecordHash([]byte("a"))
	for bit := range 8 * ledger.HashSize {
		b := a
		b[bit/8] ^= 1 << (bit % 8)
		x, y := a.Beside(b), b.Beside(a)
		if x == y || len(x) != max(12, 2*(bit/8+1)) || len(y) != len(x) || !strings.HasPrefix(a.String(), x) || !strings.HasPrefix(b.String(), y) {
			t.Errorf("bit %d: %s and %s", bit, x, y)
		}
	}
	if a.Beside(a) != a.String() {
		t.Errorf("of equal ones %s", a.Beside(a))
	}
}
