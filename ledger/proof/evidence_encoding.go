package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"pyvnode/ledger"
)

// MaxEvidence is the greatest length in bytes of a piece of evidence, encoded: two entries of
// [ledger.MaxEntry], and 8 KiB for two inclusion proofs of [MaxPath] hashes and what frames them.
// Most pieces have one to five kilobytes.
const MaxEvidence = 2*ledger.MaxEntry + 8<<10

const _ = uint(ledger.MaxItem - MaxEvidence) // or entry files could not carry it

// Field numbers in protobuf wire format. They are frozen.
const (
	evidenceKind      protowire.Number = 1
	evidenceSeq       protowire.Number = 2
	evidenceStatement protowire.Number = 3
	evidencePeaks     protowire.Number = 4

	statementHeader    protowire.Number = 1
	statementSignature protowire.Number = 2
	statementRecord    protowire.Number = 3
	statementInclusion protowire.Number = 4

	inclusionLeaf protowire.Number = 1
	inclusionPath protowire.Number = 2
)

// encode returns the canonical encoding: ascending field numbers, shortest varints, and what is zero or empty left out.
func (e *Evidence) encode() []byte {
	dst := appendUint(nil, evidenceKind, uint64(e.kind))
	dst = appendUint(dst, evidenceSeq, e.seq)
	for i, c := range e.claims {
		record, inclusion := e.kind.parts(i)
		dst = appendBytes(dst, evidenceStatement, c.encode(record, inclusion))
	}
	return appendHashes(dst, evidencePeaks, e.peaks)
}

// parts says whether statement i of a kind may have a record and an inclusion proof.
func (k Kind) parts(i int) (record, inclusion bool) {
	return k == KindInvalidEntry || k == KindRepeated,
		k == KindConflict || i == 0 && (k == KindBadSignature || k == KindRepeated)
}

func (c Claim) encode(record, inclusion bool) []byte {
	dst := appendBytes(nil, statementHeader, c.Entry.RawHeader)
	dst = appendBytes(dst, statementSignature, c.Entry.Signature[:])
	if record && len(c.Entry.Record) > 0 {
		dst = appendBytes(dst, statementRecord, c.Entry.Record)
	}
	if inclusion && c.Inclusion != nil {
		proof := appendBytes(nil, inclusionLeaf, c.Inclusion.Leaf[:])
		dst = appendBytes(dst, statementInclusion, appendHashes(proof, inclusionPath, c.Inclusion.Path))
	}
	return dst
}

func appendBytes(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}

func appendUint(dst []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), value)
}

func appendHashes(dst []byte, field protowire.Number, hashes []ledger.Hash) []byte {
	if len(hashes) == 0 {
		return dst
	}
	var joined []byte
	for i := range hashes {
		joined = append(joined, hashes[i][:]...)
	}
	return appendBytes(dst, field, joined)
}

// ParseEvidence reads a piece of evidence in canonical encoding. It refuses bytes that do not
// encode to the same again, and what cannot be evidence by its form. Whether it proves anything is
// for [Evidence.Verify] to say. It keeps no reference to raw.
func ParseEvidence(raw []byte) (*Evidence, error) {
	if len(raw) > MaxEvidence {
		return nil, fmt.Errorf("evidence has %d bytes, more than the limit of %d", len(raw), MaxEvidence)
	}
	e := &Evidence{raw: bytes.Clone(raw), id: evidenceID(raw)}
	err := e.decode()
	if err == nil {
		err = e.checkForm()
	}
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return e, nil
}

// decode reads what stands in its place and passes over nothing; the comparison at the end refuses the rest.
func (e *Evidence) decode() error {
	in := fields(e.raw)
	kind := in.uint(evidenceKind)
	if kind == 0 || kind >= uint64(len(kindNames)) {
		return fmt.Errorf("unknown kind %d", kind)
	}
	e.kind = Kind(kind)
	e.seq = in.uint(evidenceSeq)
	for len(e.claims) < 2 {
		raw, ok := in.bytes(evidenceStatement)
		if !ok {
			break
		}
		c, err := decodeClaim(raw)
		if err != nil {
			return fmt.Errorf("statement %d: %w", len(e.claims), err)
		}
		e.claims = append(e.claims, c)
	}
	var err error
	if e.peaks, err = in.hashes(evidencePeaks); err != nil {
		return fmt.Errorf("subtree roots: %w", err)
	}
	if !bytes.Equal(e.encode(), e.raw) {
		return ledger.ErrNotCanonical
	}
	return nil
}

func decodeClaim(raw []byte) (Claim, error) {
	in := fields(raw)
	header, _ := in.bytes(statementHeader)
	signature, _ := in.bytes(statementSignature)
	var c Claim
	if want := len(ledger.Entry{}.Signature); len(signature) != want {
		return c, fmt.Errorf("signature of %d bytes instead of %d", len(signature), want)
	}
	var err error
	if c.Entry, err = ledger.DecodeStatement(header, [64]byte(signature)); err != nil {
		return c, err
	}
	c.Entry.Record, _ = in.bytes(statementRecord)
	if raw, ok := in.bytes(statementInclusion); ok {
		if c.Inclusion, err = decodeInclusion(raw); err != nil {
			return c, fmt.Errorf("inclusion proof: %w", err)
		}
	}
	return c, nil
}

func decodeInclusion(raw []byte) (*Inclusion, error) {
	in, p := fields(raw), new(Inclusion)
	leaf, _ := in.bytes(inclusionLeaf)
	if len(leaf) != len(p.Leaf) {
		return nil, fmt.Errorf("leaf of %d bytes instead of %d", len(leaf), len(p.Leaf))
	}
	copy(p.Leaf[:], leaf)
	var err error
	p.Path, err = in.hashes(inclusionPath)
	return p, err
}

// fields is what is left to read of a message in canonical encoding. A field that does not stand next, or is damaged,
// counts as left out.
type fields []byte

func (f *fields) next(field protowire.Number, typ protowire.Type) (body []byte, ok bool) {
	got, gotType, n := protowire.ConsumeTag(*f)
	if n < 0 || got != field || gotType != typ {
		return nil, false
	}
	return (*f)[n:], true
}

func (f *fields) uint(field protowire.Number) uint64 {
	body, ok := f.next(field, protowire.VarintType)
	value, n := protowire.ConsumeVarint(body)
	if !ok || n < 0 {
		return 0
	}
	*f = body[n:]
	return value
}

func (f *fields) bytes(field protowire.Number) ([]byte, bool) {
	body, ok := f.next(field, protowire.BytesType)
	value, n := protowire.ConsumeBytes(body)
	if !ok || n < 0 {
		return nil, false
	}
	*f = body[n:]
	return value, true
}

func (f *fields) hashes(field protowire.Number) ([]ledger.Hash, error) {
	joined, _ := f.bytes(field)
	if len(joined)%ledger.HashSize != 0 || len(joined) > MaxPath*ledger.HashSize {
		return nil, fmt.Errorf("%d bytes are not up to %d hashes", len(joined), MaxPath)
	}
	var hashes []ledger.Hash
	for h := range slices.Chunk(joined, ledger.HashSize) {
		hashes = append(hashes, ledger.Hash(h))
	}
	return hashes, nil
}

// checkForm refuses what no constructor makes, so that there are few ways to say the same.
func (e *Evidence) checkForm() error {
	want := 2
	if linked := e.kind == KindBadRoot || e.kind == KindBadHeight; e.kind == KindInvalidEntry || linked && e.seq == 0 {
		want = 1
	}
	if len(e.claims) != want {
		return fmt.Errorf("%d statements, %v at %d has %d", len(e.claims), e.kind, e.seq, want)
	}
	if e.peaks != nil && (e.kind != KindBadRoot || e.seq == 0) {
		return errors.New("subtree roots where none belong")
	}
	switch e.kind {
	case KindConflict:
		a, err := e.claims[0].stated(e.seq)
		if err != nil {
			return err
		}
		b, err := e.claims[1].stated(e.seq)
		if err != nil {
			return err
		}
		if a.Compare(b) >= 0 {
			return errors.New("the claims are the same or in the wrong order")
		}
	case KindBadSignature: // the index is that of the leaf, which may lie about it
	default:
		if at := e.accused().Header.Seq; at != e.seq {
			return fmt.Errorf("it is about %d, the statement about %d", e.seq, at)
		}
	}
	return nil
}
