package proof

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"pyvnode/ledger"
)

// Kind says in which way the statements of [Evidence] contradict each other or the rules. The numbers are on the wire.
type Kind uint8

// The kinds of evidence.
const (
	// KindConflict: two claims about one index name different leaves.
	KindConflict Kind = 1 + iota
	// KindInvalidEntry: an entry whose bytes and the genesis document prove it invalid. If the
	// header alone does, the record is left out.
	KindInvalidEntry
	// KindBadSignature: a claim about a leaf that is an entry without the accused's valid signature, or of another origin,
	// place or network than the index demands.
	KindBadSignature
	// KindBadRoot: a header whose root is not that of its predecessor's tree with the predecessor added; at sequence
	// number 0, one that names any predecessor or a root other than the empty tree's.
	KindBadRoot
	// KindBadHeight: a header whose height is not one more than the greatest of its predecessor and citations.
	KindBadHeight
	// KindBadCitation: a citation whose origin, sequence number or height is not that of the entry it names by hash, or
	// that names an entry of another network.
	KindBadCitation
	// KindRepeated: the record of an earlier entry again, the same kind and content ID.
	KindRepeated
)

var kindNames = [...]string{"", "conflict", "invalid-entry", "bad-signature", "bad-root", "bad-height", "bad-citation", "repeated"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("evidence of kind %d", uint8(k))
}

// Evidence is a piece of evidence: it proves that an origin, the accused, signed statements that
// cannot all be true. One that comes from [ParseEvidence] proves nothing until [Evidence.Verify]
// says so. One that comes from a constructor has been verified. It never changes and may be shared.
// The zero value is of no use.
type Evidence struct {
	kind Kind
	seq  uint64
	// claims holds the statements, one or two. The accused signed the first:
	//
	//	conflict       two claims, the lesser leaf hash first
	//	invalid-entry  the entry, with its record unless the header alone is bad
	//	bad-signature  the claim about the leaf, then the leaf
	//	bad-root       the header, then its predecessor
	//	bad-height     the header, then its predecessor
	//	bad-citation   the header, then the cited entry
	//	repeated       the second entry with the claim about the first, then the first, both with records
	claims []Claim
	peaks  []ledger.Hash // bad-root: the subtree roots of the predecessor's tree, see [ledger.Tree.Peaks]
	raw    []byte
	id     ledger.Hash
}

const evidenceDomain = "pyvnode/evidence/1\n"

// Origin returns the accused.
func (e *Evidence) Origin() ledger.Origin { return e.accused().Header.Origin }

// Seq returns the first sequence number in dispute: from there on the log of the accused is frozen. It is at most
// [ledger.MaxSeq], beyond which no log has entries: a lie about a greater number freezes nothing.
func (e *Evidence) Seq() uint64 { return min(e.seq, ledger.MaxSeq) }

// Kind returns the kind of contradiction.
func (e *Evidence) Kind() Kind { return e.kind }

// Network returns the network for which the accused signed.
func (e *Evidence) Network() ledger.Hash { return e.accused().Header.Network }

// Bytes returns the canonical encoding. The caller must not change it.
func (e *Evidence) Bytes() []byte { return e.raw }

// ID names the evidence: the SHA-256 of a domain prefix and the canonical encoding.
func (e *Evidence) ID() ledger.Hash { return e.id }

// Compare orders evidence by sequence number, then ID. Nodes keep the least against each origin. So
// all nodes that know the same evidence freeze its log at the same place and for the same reason.
func (e *Evidence) Compare(o *Evidence) int {
	return cmp.Or(cmp.Compare(e.Seq(), o.Seq()), e.id.Compare(o.id))
}

// Reason says in one sentence without its subject, the accused, what the evidence shows once it is verified.
func (e *Evidence) Reason() string {
	x := e.accused()
	var other *ledger.Entry
	if len(e.claims) > 1 {
		other = e.claims[1].Entry
	}
	switch e.kind {
	case KindConflict:
		verb := "committed to"
		if x.Header.Seq == e.seq && other.Header.Seq == e.seq {
			verb = "signed"
		}
		a, _ := e.claims[0].stated(e.seq)
		b, _ := e.claims[1].stated(e.seq)
		return fmt.Sprintf("%s two different entries %d: %s and %s", verb, e.seq, a.Beside(b), b.Beside(a))
	case KindInvalidEntry:
		return fmt.Sprintf("signed entry %d, %s, which the rules of the network forbid", e.seq, x.Hash.Short())
	case KindBadSignature:
		if e.misplaced(other) {
			return fmt.Sprintf("committed at %d to %s, which is entry %d of %v and belongs elsewhere", e.seq, other.Hash.Short(), other.Header.Seq, other.Header.Origin)
		}
		return fmt.Sprintf("committed to an entry %d, %s, without a valid signature", e.seq, other.Hash.Short())
	case KindBadRoot:
		return fmt.Sprintf("signed entry %d, %s, which misstates the entries before it", e.seq, x.Hash.Short())
	case KindBadHeight:
		return fmt.Sprintf("signed entry %d, %s, with height %d, which does not follow from its predecessor and citations", e.seq, x.Hash.Short(), x.Header.Height)
	case KindBadCitation:
		return fmt.Sprintf("misstated in entry %d, %s, what it cites: entry %d of %v", e.seq, x.Hash.Short(), other.Header.Seq, other.Header.Origin)
	case KindRepeated:
		return fmt.Sprintf("published one record twice, in entries %d and %d", other.Header.Seq, e.seq)
	}
	return e.kind.String()
}

// String is a sentence for people.
func (e *Evidence) String() string { return fmt.Sprintf("%v %s", e.Origin(), e.Reason()) }

func (e *Evidence) accused() *ledger.Entry { return e.claims[0].Entry }

// Verify returns nil if and only if the evidence proves, by itself and the genesis document, that
// the accused lied to this network. It takes at most two signatures, two records and [MaxPath]
// hashes for each statement.
func (e *Evidence) Verify(g *ledger.Genesis) error {
	if err := e.verify(g); err != nil {
		return fmt.Errorf("evidence of %v against %v: %w", e.kind, e.Origin(), err)
	}
	return nil
}

func (e *Evidence) verify(g *ledger.Genesis) error {
	if !g.MayWrite(e.Origin()) {
		return errors.New("the accused may not write in this network, so there is nothing to freeze")
	}
	if err := e.signed(g, e.accused()); err != nil {
		return err
	}
	switch e.kind {
	case KindConflict:
		return e.verifyConflict(g)
	case KindInvalidEntry:
		return e.verifyInvalidEntry(g)
	case KindBadSignature:
		return e.verifyBadSignature()
	case KindBadRoot:
		return e.verifyBadRoot(g)
	case KindBadHeight:
		return e.verifyBadHeight(g)
	case KindBadCitation:
		return e.verifyBadCitation()
	case KindRepeated:
		return e.verifyRepeated(g)
	}
	return errors.New("unknown kind")
}

// signed says whether a statement is one of the accused, for this network.
func (e *Evidence) signed(g *ledger.Genesis, s *ledger.Entry) error {
	switch h := &s.Header; {
	case h.Network != g.Network():
		return fmt.Errorf("entry %d is of network %s, this is %s", h.Seq, h.Network.Beside(g.Network()), g.Network().Beside(h.Network))
	case h.Origin != e.Origin():
		return fmt.Errorf("entry %d is of %v", h.Seq, h.Origin)
	}
	return s.CheckSignature()
}

func (e *Evidence) verifyConflict(g *ledger.Genesis) error {
	if err := e.signed(g, e.claims[1].Entry); err != nil {
		return err
	}
	for _, c := range e.claims {
		if _, err := c.Leaf(e.seq); err != nil {
			return err
		}
	}
	return nil // that the leaves differ is a matter of form
}

func (e *Evidence) verifyInvalidEntry(g *ledger.Genesis) error {
	x, checker := e.accused(), ledger.Checker{Genesis: g}
	if checker.CheckHeader(&x.Header) != nil {
		if x.Record != nil {
			return errors.New("the header alone is bad, so the record does not belong")
		}
		return nil
	}
	// The record is not signed. Only the one whose hash was signed speaks against the signer.
	if got := ledger.RecordHash(x.Record); got != x.Header.RecordHash {
		return fmt.Errorf("the record has hash %s, the accused signed %s", got.Beside(x.Header.RecordHash), x.Header.RecordHash.Beside(got))
	}
	if _, err := checker.Check(x); err == nil {
		return fmt.Errorf("entry %d is valid by itself", x.Header.Seq)
	}
	return nil
}

// misplaced reports whether a leaf cannot be the accused's entry at the disputed index, no matter
// which key signed it.
func (e *Evidence) misplaced(leaf *ledger.Entry) bool {
	h := &leaf.Header
	return h.Network != e.Network() || h.Origin != e.Origin() || h.Seq != e.seq
}

func (e *Evidence) verifyBadSignature() error {
	bad := e.claims[1].Entry
	if err := e.committed(bad, e.seq); err != nil {
		return err
	}
	if !e.misplaced(bad) && bad.VerifySignature() {
		return fmt.Errorf("the signature of entry %d is good", e.seq)
	}
	return nil
}

// committed says whether the first claim is about an entry at an index before its own.
func (e *Evidence) committed(to *ledger.Entry, index uint64) error {
	if index >= e.accused().Header.Seq {
		return fmt.Errorf("index %d is not in the past of entry %d", index, e.accused().Header.Seq)
	}
	leaf, err := e.claims[0].Leaf(index)
	if err == nil && leaf != to.Hash {
		err = fmt.Errorf("entry %d claims %s at index %d, not %s", e.accused().Header.Seq, leaf.Beside(to.Hash), index, to.Hash.Beside(leaf))
	}
	return err
}

// predecessor returns the entry that the accused names as the one before, nil before the first.
func (e *Evidence) predecessor(g *ledger.Genesis) (*ledger.Entry, error) {
	if e.seq == 0 {
		return nil, nil
	}
	prev := e.claims[1].Entry
	if err := e.committed(prev, e.seq-1); err != nil {
		return nil, err
	}
	if prev.Header.Seq != e.seq-1 {
		return nil, fmt.Errorf("entry %d stands before entry %d", prev.Header.Seq, e.seq)
	}
	return prev, e.signed(g, prev)
}

func (e *Evidence) verifyBadRoot(g *ledger.Genesis) error {
	prev, err := e.predecessor(g)
	if err != nil {
		return err
	}
	var tree ledger.Tree
	if prev != nil {
		if tree, err = ledger.NewTree(prev.Header.Seq, e.peaks); err != nil {
			return err
		}
		if got := tree.Root(); got != prev.Header.Root {
			return fmt.Errorf("the subtree roots give %s, entry %d states %s", got.Beside(prev.Header.Root), prev.Header.Seq, prev.Header.Root.Beside(got))
		}
		tree.Append(prev.Hash)
	}
	x := &e.accused().Header
	if x.Root == tree.Root() && (prev != nil || x.Prev.IsZero()) {
		return fmt.Errorf("the root of entry %d is right", e.seq)
	}
	return nil
}

func (e *Evidence) verifyBadHeight(g *ledger.Genesis) error {
	prev, err := e.predecessor(g)
	if err != nil {
		return err
	}
	var below uint64
	if prev != nil {
		below = prev.Header.Height
	}
	x := &e.accused().Header
	if x.Height == ledger.NextHeight(below, x.Seen) {
		return fmt.Errorf("height %d of entry %d is right", x.Height, e.seq)
	}
	return nil
}

func (e *Evidence) verifyBadCitation() error {
	x, cited := e.accused(), e.claims[1].Entry
	if err := cited.CheckSignature(); err != nil {
		return err
	}
	if !slices.ContainsFunc(x.Header.Seen, func(s ledger.Citation) bool {
		return s.Hash == cited.Hash && (s != cited.Citation() || x.Header.Network != cited.Header.Network)
	}) {
		return fmt.Errorf("entry %d does not misstate %s", e.seq, cited.Hash.Short())
	}
	return nil
}

func (e *Evidence) verifyRepeated(g *ledger.Genesis) error {
	second, first := e.accused(), e.claims[1].Entry
	if err := e.signed(g, first); err != nil {
		return err
	}
	if err := e.committed(first, first.Header.Seq); err != nil {
		return err
	}
	if a, b := first.Header.Kind, second.Header.Kind; a != b {
		return fmt.Errorf("entry %d is of kind %s, entry %d of kind %s", first.Header.Seq, a, second.Header.Seq, b)
	}
	checker := ledger.Checker{Genesis: g}
	old, err := checker.Check(first) // which also binds the record to the header
	if err != nil {
		return err
	}
	again, err := checker.Check(second)
	if err != nil {
		return err
	}
	if old.ContentID != again.ContentID {
		return fmt.Errorf("entries %d and %d say different things", first.Header.Seq, second.Header.Seq)
	}
	return nil
}

// Fork returns the evidence that an origin signed two different entries of one sequence number.
func Fork(g *ledger.Genesis, a, b *ledger.Entry) (*Evidence, error) {
	return Conflict(g, a.Header.Seq, Claim{Entry: a}, Claim{Entry: b})
}

// Conflict returns the evidence that an origin claimed two different leaves at one index. The order of the claims does
// not matter. They may be of one header, whose predecessor and root then contradict each other.
func Conflict(g *ledger.Genesis, index uint64, a, b Claim) (*Evidence, error) {
	x, errA := a.stated(index)
	y, errB := b.stated(index)
	if err := errors.Join(errA, errB); err != nil {
		return nil, fmt.Errorf("evidence of %v: %w", KindConflict, err)
	}
	if x.Compare(y) > 0 {
		a, b = b, a
	}
	return prove(g, Evidence{kind: KindConflict, seq: index, claims: []Claim{a, b}})
}

// InvalidEntry returns the evidence that an origin signed an entry that bytes and genesis document
// prove invalid. The record may be missing if the header alone is bad.
func InvalidEntry(g *ledger.Genesis, bad *ledger.Entry) (*Evidence, error) {
	whole := *bad
	if checker := (ledger.Checker{Genesis: g}); checker.CheckHeader(&bad.Header) != nil {
		whole.Record = nil
	}
	return prove(g, Evidence{kind: KindInvalidEntry, seq: bad.Header.Seq, claims: []Claim{{Entry: &whole}}})
}

// BadSignature returns the evidence that head, which its origin signed, commits at an index before
// its own to an entry that this origin did not sign, or that does not belong at that index. The
// leaves are of head's branch. If head is the direct successor, none are needed, so all nodes that
// use that one make the same evidence.
func BadSignature(g *ledger.Genesis, index uint64, bad, head *ledger.Entry, leaves Leaves) (*Evidence, error) {
	claim, err := NewClaim(head, index, leaves)
	if err != nil {
		return nil, fmt.Errorf("evidence of %v: %w", KindBadSignature, err)
	}
	return prove(g, Evidence{kind: KindBadSignature, seq: index, claims: []Claim{claim, {Entry: bad}}})
}

// BadRoot returns the evidence that an entry's root is not that of the log up to its predecessor. Before the first
// entry prev is nil. The leaves are those before prev.
func BadRoot(g *ledger.Genesis, prev, bad *ledger.Entry, leaves Leaves) (*Evidence, error) {
	e := Evidence{kind: KindBadRoot, seq: bad.Header.Seq, claims: withPredecessor(bad, prev)}
	if prev != nil {
		before, err := leaves.tree(0, prev.Header.Seq)
		if err != nil {
			return nil, fmt.Errorf("evidence of %v: %w", e.kind, err)
		}
		e.peaks = before.Peaks()
	}
	return prove(g, e)
}

// BadHeight returns the evidence that an entry's height does not follow from its predecessor, nil before the first
// entry, and its citations.
func BadHeight(g *ledger.Genesis, prev, bad *ledger.Entry) (*Evidence, error) {
	return prove(g, Evidence{kind: KindBadHeight, seq: bad.Header.Seq, claims: withPredecessor(bad, prev)})
}

func withPredecessor(e, prev *ledger.Entry) []Claim {
	if prev == nil {
		return []Claim{{Entry: e}}
	}
	return []Claim{{Entry: e}, {Entry: prev}}
}

// BadCitation returns the evidence that an entry cites another with a wrong origin, sequence number or height.
func BadCitation(g *ledger.Genesis, bad, cited *ledger.Entry) (*Evidence, error) {
	return prove(g, Evidence{kind: KindBadCitation, seq: bad.Header.Seq, claims: []Claim{{Entry: bad}, {Entry: cited}}})
}

// Repeated returns the evidence that the second entry says again what the first, in its past, said. Both need their
// records. The leaves are of second's branch; none are needed for neighbours.
func Repeated(g *ledger.Genesis, first, second *ledger.Entry, leaves Leaves) (*Evidence, error) {
	claim, err := NewClaim(second, first.Header.Seq, leaves)
	if err != nil {
		return nil, fmt.Errorf("evidence of %v: %w", KindRepeated, err)
	}
	return prove(g, Evidence{kind: KindRepeated, seq: second.Header.Seq, claims: []Claim{claim, {Entry: first}}})
}

// prove makes evidence of a draft in the same way as evidence from others is read: through its
// bytes.
func prove(g *ledger.Genesis, draft Evidence) (*Evidence, error) {
	e, err := ParseEvidence(draft.encode())
	if err != nil {
		return nil, err
	}
	if err := e.Verify(g); err != nil {
		return nil, err
	}
	return e, nil
}

func evidenceID(raw []byte) ledger.Hash {
	buf := make([]byte, 0, len(evidenceDomain)+len(raw))
	return sha256.Sum256(append(append(buf, evidenceDomain...), raw...))
}
