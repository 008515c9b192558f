package ledger

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"

	"pyvnode/ledger/record"
)

// Reason says in one word why an entry is provably invalid. Reasons of the record itself are [record.Reason] values.
type Reason string

// The reasons that concern the entry rather than its record.
const (
	ReasonEncoding     Reason = "bad-encoding"
	ReasonNetwork      Reason = "wrong-network"
	ReasonNotMember    Reason = "not-a-member"
	ReasonOriginProof  Reason = "bad-origin-proof"
	ReasonPrivateKind  Reason = "private-kind"
	ReasonBounds       Reason = "out-of-bounds"
	ReasonCitation     Reason = "bad-citation"
	ReasonRecordHash   Reason = "record-hash-mismatch"
	ReasonRecordUUID   Reason = "record-uuid-mismatch"
	ReasonSignature    Reason = "bad-signature"
	ReasonPrev         Reason = "prev-mismatch"
	ReasonRoot         Reason = "root-mismatch"
	ReasonHeight       Reason = "wrong-height"
	ReasonSeq          Reason = "wrong-seq"
	ReasonRepeated     Reason = "repeated-record"
	ReasonRecordLength Reason = "record-too-long"
)

// InvalidError says that an entry is invalid for everybody: its bytes, its causal past and the genesis document prove
// it.
type InvalidError struct {
	Origin Origin
	Seq    uint64
	Reason Reason
	Detail string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("entry %d of %v is invalid: %s: %s", e.Seq, e.Origin, e.Reason, e.Detail)
}

func invalid(h *Header, reason Reason, format string, args ...any) error {
	return &InvalidError{Origin: h.Origin, Seq: h.Seq, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Checker checks entries against the genesis document and keeps scratch space between calls. It is not safe for
// concurrent use; the genesis document may be shared.
type Checker struct {
	Genesis *Genesis
	record  record.Checker
}

// Check checks all that the bytes and the genesis document decide, the signature excepted: network, right to write,
// kind, citations among themselves, and the record with its hash, proof of work and link. It returns what the record
// says of itself. The error is an [*InvalidError].
func (c *Checker) Check(e *Entry) (record.Facts, error) {
	h := &e.Header
	if err := c.checkHeader(h); err != nil {
		return record.Facts{}, err
	}
	switch limit := c.Genesis.RecordLimit(); {
	case len(e.Record) > limit:
		return record.Facts{}, invalid(h, ReasonRecordLength, "%d bytes, and this network allows %d", len(e.Record), limit)
	case int(h.RecordLen) != len(e.Record):
		return record.Facts{}, invalid(h, ReasonRecordHash, "header says %d bytes, record has %d", h.RecordLen, len(e.Record))
	}
	if got := RecordHash(e.Record); got != h.RecordHash {
		return record.Facts{}, invalid(h, ReasonRecordHash, "header says %s, record has %s", h.RecordHash.Beside(got), got.Beside(h.RecordHash))
	}
	facts, err := c.record.Check(e.Record, c.Genesis.StrengthOf(h.Kind))
	if err != nil {
		var bad *record.Error
		if errors.As(err, &bad) {
			return record.Facts{}, invalid(h, Reason(bad.Reason), "%s", bad.Detail)
		}
		return record.Facts{}, invalid(h, ReasonEncoding, "%v", err)
	}
	if facts.Header != h.RecordUUID {
		return record.Facts{}, invalid(h, ReasonRecordUUID, "header says %v, record is %v", h.RecordUUID, facts.Header)
	}
	return facts, nil
}

func (c *Checker) checkHeader(h *Header) error {
	g := c.Genesis
	if h.Network != g.network {
		return invalid(h, ReasonNetwork, "entry of network %s, this is %s", h.Network.Beside(g.network), g.network.Beside(h.Network))
	}
	if !g.MayWrite(h.Origin) {
		return invalid(h, ReasonNotMember, "the genesis document of %q does not list this origin", g.Name)
	}
	if h.Seq >= MaxSeq || h.Height == 0 || h.Height > MaxHeight {
		return invalid(h, ReasonBounds, "seq %d, height %d", h.Seq, h.Height)
	}
	if err := CheckKind(h.Kind); err != nil {
		return invalid(h, ReasonEncoding, "%v", err)
	}
	if g.IsPrivate(h.Kind) {
		return invalid(h, ReasonPrivateKind, "records of kind %q are never published in this network", h.Kind)
	}
	for i := range h.Seen {
		s := &h.Seen[i]
		if s.Origin == h.Origin {
			return invalid(h, ReasonCitation, "cites its own log")
		}
		if s.Seq >= MaxSeq || s.Height == 0 || s.Height > MaxHeight {
			return invalid(h, ReasonBounds, "citation of %v with seq %d, height %d", s.Origin, s.Seq, s.Height)
		}
		for j := range i {
			if h.Seen[j].Origin == s.Origin {
				return invalid(h, ReasonCitation, "cites %v twice", s.Origin)
			}
		}
	}
	switch wanted := g.Open && g.OriginBits > 0 && h.Seq == 0; {
	case !wanted && h.OriginProof != nil:
		return invalid(h, ReasonOriginProof, "present where none belongs")
	case wanted && h.OriginProof == nil:
		return invalid(h, ReasonOriginProof, "missing; this network asks for %d zero bits in a log's first entry", g.OriginBits)
	case wanted && h.OriginProof.Bits(g.network, h.Origin) < g.OriginBits:
		return invalid(h, ReasonOriginProof, "%d zero bits, this network asks for %d", h.OriginProof.Bits(g.network, h.Origin), g.OriginBits)
	}
	return nil
}

// Log is what must be known of an origin's log to check and append its next entry. Methods do not change it except
// [Log.Advance]. A copy made with [Log.Clone] is independent.
type Log struct {
	Origin Origin
	Head   Hash   // hash of the newest entry, zero in an empty log
	Height uint64 // its height, 0 in an empty log
	Tree   Tree   // over all entries
}

// Size returns the number of entries, which is the next sequence number.
func (l *Log) Size() uint64 { return l.Tree.Size() }

// Clone returns an independent copy.
func (l *Log) Clone() *Log {
	c := *l
	c.Tree = l.Tree.Clone()
	return &c
}

// Check checks an entry as the next of the log: its sequence number, predecessor, Merkle root and height. Whether the
// citations are held, and as they say, is for the caller to look up; their heights enter here as stated. The error is
// an [*InvalidError].
func (l *Log) Check(h *Header) error {
	switch {
	case h.Origin != l.Origin:
		return invalid(h, ReasonPrev, "this is the log of %v", l.Origin)
	case h.Seq != l.Size():
		return invalid(h, ReasonSeq, "the log goes on at %d", l.Size())
	case h.Prev != l.Head:
		return invalid(h, ReasonPrev, "names %s as predecessor, the log's head is %s", h.Prev.Beside(l.Head), l.Head.Beside(h.Prev))
	}
	if root := l.Tree.Root(); h.Root != root {
		return invalid(h, ReasonRoot, "states %s, the entries before it have %s", h.Root.Beside(root), root.Beside(h.Root))
	}
	if want := NextHeight(l.Height, h.Seen); h.Height != want {
		return invalid(h, ReasonHeight, "states %d, its predecessor and citations make it %d", h.Height, want)
	}
	return nil
}

// NextHeight returns 1 + the greatest of a predecessor's height (0 for none) and the heights of citations.
func NextHeight(prev uint64, seen []Citation) uint64 {
	for i := range seen {
		prev = max(prev, seen[i].Height)
	}
	return prev + 1
}

// Advance takes a checked entry as the new head.
func (l *Log) Advance(e *Entry) {
	l.Head, l.Height = e.Hash, e.Header.Height
	l.Tree.Append(e.Hash)
}

// Draft is a checked record on its way into a log.
type Draft struct {
	Kind   string
	Record []byte // in normal form
	Hash   Hash   // of Record
	Facts  record.Facts
	Hops   uint32 // how often the record was sent on before; no part of the entry, but kept beside it
}

// Draft puts a packed record in normal form and checks it for a kind as [Checker.Check] would check it in an entry. The
// draft may keep packed. The error is a [*record.Error] or says what the network does not allow.
func (c *Checker) Draft(kind string, packed []byte) (*Draft, error) {
	if err := CheckKind(kind); err != nil {
		return nil, err
	}
	if c.Genesis.IsPrivate(kind) {
		return nil, fmt.Errorf("records of kind %q are private in network %q and never published", kind, c.Genesis.Name)
	}
	normal, facts, err := c.record.Normalise(packed, c.Genesis.StrengthOf(kind))
	if err != nil {
		return nil, err
	}
	if limit := c.Genesis.RecordLimit(); len(normal) > limit {
		return nil, &RecordLengthError{Length: len(normal), Limit: limit, Network: c.Genesis.Name}
	}
	return &Draft{Kind: kind, Record: normal, Hash: RecordHash(normal), Facts: facts}, nil
}

// RecordLengthError says that a record is longer than a network allows, in bytes of its normal form.
type RecordLengthError struct {
	Length, Limit int
	Network       string
}

func (e *RecordLengthError) Error() string {
	return fmt.Sprintf("the record has %d bytes, network %q allows %d", e.Length, e.Network, e.Limit)
}

// Sign makes the next entry of the log from a draft. It does not advance the log. The key is an ed25519.PrivateKey, a
// [Signer] or another that makes such signatures. The time is for people.
func (l *Log) Sign(g *Genesis, key crypto.Signer, d *Draft, seen []Citation, unixMilli int64, proof *OriginProof) (*Entry, error) {
	if public, ok := key.Public().(ed25519.PublicKey); !ok || !bytes.Equal(l.Origin[:], public) {
		return nil, fmt.Errorf("key does not belong to the log of %v", l.Origin)
	}
	if l.Size() >= MaxSeq {
		return nil, fmt.Errorf("log of %v is full", l.Origin)
	}
	h := Header{
		Network:    g.network,
		Origin:     l.Origin,
		Seq:        l.Size(),
		Prev:       l.Head,
		Root:       l.Tree.Root(),
		Height:     NextHeight(l.Height, seen),
		Time:       uint64(max(unixMilli, 0)),
		Kind:       d.Kind,
		RecordUUID: d.Facts.Header,
		RecordHash: d.Hash,
		RecordLen:  uint32(len(d.Record)),
		Seen:       seen,
	}
	if g.Open && g.OriginBits > 0 && h.Seq == 0 {
		h.OriginProof = proof
	}
	checker := Checker{Genesis: g}
	if err := checker.checkHeader(&h); err != nil {
		return nil, err
	}
	e, message := unsigned(h, d.Record)
	signature, err := key.Sign(nil, message, crypto.Hash(0))
	if err == nil && len(signature) != len(e.Signature) {
		err = fmt.Errorf("%d bytes instead of %d", len(signature), len(e.Signature))
	}
	if err != nil {
		return nil, fmt.Errorf("sign entry %d of %v: %w", h.Seq, h.Origin, err)
	}
	return e.signed(signature), nil
}
