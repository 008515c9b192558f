package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
)

// Citation names the head of another log as its author held it.
type Citation struct {
	Origin Origin `json:"origin"`
	Seq    uint64 `json:"seq"`
	Hash   Hash   `json:"hash"`
	Height uint64 `json:"height"`
}

// Header is the signed part of an entry.
type Header struct {
	Network    Hash      // SHA-256 of the genesis document
	Origin     Origin    // who signs
	Seq        uint64    // position in the origin's log, from 0; below MaxSeq
	Prev       Hash      // hash of entry Seq−1, zero at Seq 0
	Root       Hash      // RFC 6962 root of entries 0…Seq−1
	Height     uint64    // 1 + the greatest height among the predecessor and Seen
	Time       uint64    // Unix milliseconds, for people only: no rule depends on it
	Kind       string    // see CheckKind
	RecordUUID uuid.UUID // the record's own header field
	RecordHash Hash      // SHA-256 of the record bytes
	RecordLen  uint32    // their number
	Seen       []Citation
	// OriginProof is present at Seq 0 in open networks that ask for it, and nowhere else.
	OriginProof *OriginProof
}

// Field numbers of the header in protobuf wire format. They are frozen.
const (
	fieldNetwork     protowire.Number = 1
	fieldOrigin      protowire.Number = 2
	fieldSeq         protowire.Number = 3
	fieldPrev        protowire.Number = 4
	fieldRoot        protowire.Number = 5
	fieldHeight      protowire.Number = 6
	fieldTime        protowire.Number = 7
	fieldKind        protowire.Number = 8
	fieldRecordUUID  protowire.Number = 9
	fieldRecordHash  protowire.Number = 10
	fieldRecordLen   protowire.Number = 11
	fieldSeen        protowire.Number = 12
	fieldOriginProof protowire.Number = 13

	citationOrigin protowire.Number = 1
	citationSeq    protowire.Number = 2
	citationHash   protowire.Number = 3
	citationHeight protowire.Number = 4

	entryHeader    protowire.Number = 1
	entrySignature protowire.Number = 2
	entryRecord    protowire.Number = 3
)

// Append appends the canonical encoding.
func (h *Header) Append(dst []byte) []byte {
	dst = appendBytes(dst, fieldNetwork, h.Network[:])
	dst = appendOrigin(dst, fieldOrigin, h.Origin)
	dst = appendUint(dst, fieldSeq, h.Seq)
	dst = appendBytes(dst, fieldPrev, h.Prev[:])
	dst = appendBytes(dst, fieldRoot, h.Root[:])
	dst = appendUint(dst, fieldHeight, h.Height)
	dst = appendUint(dst, fieldTime, h.Time)
	dst = appendBytes(dst, fieldKind, h.Kind)
	dst = appendBytes(dst, fieldRecordUUID, h.RecordUUID[:])
	dst = appendBytes(dst, fieldRecordHash, h.RecordHash[:])
	dst = appendUint(dst, fieldRecordLen, uint64(h.RecordLen))
	for i := range h.Seen {
		c := &h.Seen[i]
		dst = protowire.AppendTag(dst, fieldSeen, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(c.size()))
		dst = c.Append(dst)
	}
	if h.OriginProof != nil {
		dst = appendBytes(dst, fieldOriginProof, h.OriginProof[:])
	}
	return dst
}

// Append appends the canonical encoding of a citation.
func (c *Citation) Append(dst []byte) []byte {
	dst = appendOrigin(dst, citationOrigin, c.Origin)
	dst = appendUint(dst, citationSeq, c.Seq)
	dst = appendBytes(dst, citationHash, c.Hash[:])
	return appendUint(dst, citationHeight, c.Height)
}

func (c *Citation) size() int {
	n := 1 + 1 + originWire + 1 + 1 + HashSize
	if c.Seq > 0 {
		n += 1 + protowire.SizeVarint(c.Seq)
	}
	if c.Height > 0 {
		n += 1 + protowire.SizeVarint(c.Height)
	}
	return n
}

func appendBytes[T ~[]byte | ~string](dst []byte, field protowire.Number, value T) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func appendOrigin(dst []byte, field protowire.Number, o Origin) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(originWire))
	return o.appendWire(dst)
}

// appendUint leaves out zero, as protobuf's canonical form does.
func appendUint(dst []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, value)
}

// ErrNotCanonical is wrapped by errors about bytes that are not the one encoding of what they hold.
var ErrNotCanonical = errors.New("not in canonical encoding")

// decode reads a header that must be in canonical encoding. The scratch space is returned for reuse.
func (h *Header) decode(raw, scratch []byte) ([]byte, error) {
	*h = Header{Seen: h.Seen[:0], Kind: h.Kind}
	kind := h.Kind
	h.Kind = ""
	err := eachField(raw, func(field protowire.Number, value uint64, data []byte) error {
		switch field {
		case fieldNetwork:
			return fixed(h.Network[:], data)
		case fieldOrigin:
			return h.Origin.fromWire(data)
		case fieldSeq:
			h.Seq = value
		case fieldPrev:
			return fixed(h.Prev[:], data)
		case fieldRoot:
			return fixed(h.Root[:], data)
		case fieldHeight:
			h.Height = value
		case fieldTime:
			h.Time = value
		case fieldKind:
			if h.Kind = kind; string(data) != kind { // spares an allocation if neighbours are of one kind
				h.Kind = string(data)
			}
			return CheckKind(h.Kind)
		case fieldRecordUUID:
			return fixed(h.RecordUUID[:], data)
		case fieldRecordHash:
			return fixed(h.RecordHash[:], data)
		case fieldRecordLen:
			if value > MaxRecord {
				return fmt.Errorf("record length %d is over the limit of %d bytes", value, MaxRecord)
			}
			h.RecordLen = uint32(value)
		case fieldSeen:
			if len(h.Seen) == MaxSeen {
				return fmt.Errorf("more than %d citations", MaxSeen)
			}
			var c Citation
			err := c.decode(data)
			h.Seen = append(h.Seen, c)
			return err
		case fieldOriginProof:
			h.OriginProof = new(OriginProof)
			return fixed(h.OriginProof[:], data)
		default:
			return errors.New("unknown field")
		}
		return nil
	})
	if err != nil {
		return scratch, fmt.Errorf("header: %w", err)
	}
	scratch = h.Append(scratch[:0])
	if !bytes.Equal(scratch, raw) {
		return scratch, fmt.Errorf("header: %w", ErrNotCanonical)
	}
	return scratch, nil
}

func (c *Citation) decode(raw []byte) error {
	return eachField(raw, c.field)
}

// field takes one field of a citation's encoding.
func (c *Citation) field(field protowire.Number, value uint64, data []byte) error {
	switch field {
	case citationOrigin:
		return c.Origin.fromWire(data)
	case citationSeq:
		c.Seq = value
	case citationHash:
		return fixed(c.Hash[:], data)
	case citationHeight:
		c.Height = value
	default:
		return errors.New("unknown field")
	}
	return nil
}

func (o *Origin) fromWire(data []byte) error {
	var err error
	*o, err = originFromWire(data)
	return err
}

func fixed(dst, data []byte) error {
	if len(data) != len(dst) {
		return fmt.Errorf("%d bytes instead of %d", len(data), len(dst))
	}
	copy(dst, data)
	return nil
}

// eachField calls visit for every field of a message. Only varints and byte strings occur in our
// messages. A caller that needs the canonical form re-encodes and compares.
func eachField(raw []byte, visit func(field protowire.Number, value uint64, data []byte) error) error {
	for at := 0; at < len(raw); {
		field, typ, n := protowire.ConsumeTag(raw[at:])
		if n < 0 {
			return fmt.Errorf("at byte %d: %w", at, protowire.ParseError(n))
		}
		body := raw[at+n:]
		var value uint64
		var data []byte
		var m int
		switch typ {
		case protowire.VarintType:
			value, m = protowire.ConsumeVarint(body)
		case protowire.BytesType:
			data, m = protowire.ConsumeBytes(body)
		default:
			return fmt.Errorf("at byte %d: field %d has wire type %d, which no field of ours has", at, field, typ)
		}
		if m < 0 {
			return fmt.Errorf("at byte %d: field %d: %w", at, field, protowire.ParseError(m))
		}
		if err := visit(field, value, data); err != nil {
			return fmt.Errorf("at byte %d: field %d: %w", at, field, err)
		}
		at += n + m
	}
	return nil
}

// Entry is one position in an origin's log. Its slices share memory with the bytes it was decoded from.
type Entry struct {
	Header    Header
	RawHeader []byte // the canonical encoding of Header, which is what is signed and hashed
	Signature [ed25519.SignatureSize]byte
	Record    []byte // in normal form, see package record
	Hash      Hash   // RFC 6962 leaf hash of RawHeader ‖ Signature
}

// Sign encodes a header, signs it and returns the entry. The header must name the key's origin.
func Sign(key ed25519.PrivateKey, header Header, record []byte) *Entry {
	e, message := unsigned(header, record)
	return e.signed(ed25519.Sign(key, message))
}

// unsigned returns an entry that lacks its signature, and what is to be signed.
func unsigned(header Header, record []byte) (e *Entry, message []byte) {
	message = make([]byte, len(signatureDomain), len(signatureDomain)+512)
	copy(message, signatureDomain)
	message = header.Append(message)
	return &Entry{Header: header, RawHeader: message[len(signatureDomain):], Record: record}, message
}

// signed puts in the signature.
func (e *Entry) signed(signature []byte) *Entry {
	copy(e.Signature[:], signature)
	e.Hash, _ = leafHash(make([]byte, 0, 1+len(e.RawHeader)+len(e.Signature)), e.RawHeader, e.Signature[:])
	return e
}

// Append appends the canonical encoding of the entry: what is published, stored and exported.
func (e *Entry) Append(dst []byte) []byte {
	dst = appendBytes(dst, entryHeader, e.RawHeader)
	dst = appendBytes(dst, entrySignature, e.Signature[:])
	return appendBytes(dst, entryRecord, e.Record)
}

// Len returns the length of the canonical encoding in bytes.
func (e *Entry) Len() int {
	return 3 + protowire.SizeBytes(len(e.RawHeader)) + protowire.SizeBytes(len(e.Signature)) + protowire.SizeBytes(len(e.Record))
}

// Decoder decodes entries and keeps scratch space between calls. It is not safe for concurrent use.
type Decoder struct{ scratch []byte }

// Decode reads one entry in canonical encoding into e, reusing e's memory for citations. It checks form and bounds
// only; see [Checker.Check] for validity. e refers to raw afterwards.
func (d *Decoder) Decode(e *Entry, raw []byte) error {
	if len(raw) > MaxEntry {
		return fmt.Errorf("entry has %d bytes, more than the limit of %d", len(raw), MaxEntry)
	}
	e.RawHeader, e.Record = nil, nil
	last := protowire.Number(0)
	err := eachField(raw, func(field protowire.Number, _ uint64, data []byte) error {
		if field != last+1 || data == nil {
			return ErrNotCanonical
		}
		last = field
		switch field {
		case entryHeader:
			e.RawHeader = data
		case entrySignature:
			return fixed(e.Signature[:], data)
		case entryRecord:
			e.Record = data
		default:
			return errors.New("unknown field")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	if last != entryRecord || e.Len() != len(raw) { // the second catches lengths written with more bytes than needed
		return fmt.Errorf("entry: incomplete or %w", ErrNotCanonical)
	}
	if d.scratch, err = e.Header.decode(e.RawHeader, d.scratch); err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	e.Hash, d.scratch = leafHash(d.scratch, e.RawHeader, e.Signature[:])
	return nil
}

// DecodeEntry reads one entry in canonical encoding. The entry refers to raw.
func DecodeEntry(raw []byte) (*Entry, error) {
	e, d := new(Entry), Decoder{}
	if err := d.Decode(e, raw); err != nil {
		return nil, err
	}
	return e, nil
}

// AppendSeen appends what an entry in canonical encoding cites. It looks at nothing else, because
// decoding the rest is what takes the time. It does check that there is exactly one header.
func AppendSeen(seen []Citation, raw []byte) ([]Citation, error) {
	headers := 0
	err := eachField(raw, func(field protowire.Number, _ uint64, data []byte) error {
		if field != entryHeader {
			return nil
		}
		headers++
		return eachField(data, func(field protowire.Number, _ uint64, data []byte) error {
			if field != fieldSeen {
				return nil
			}
			var c Citation
			err := c.decode(data)
			seen = append(seen, c)
			return err
		})
	})
	if err == nil && headers != 1 {
		err = ErrNotCanonical
	}
	if err != nil {
		return seen, fmt.Errorf("entry: %w", err)
	}
	return seen, nil
}

// Citation returns the citation by which other logs name this entry.
func (e *Entry) Citation() Citation {
	return Citation{Origin: e.Header.Origin, Seq: e.Header.Seq, Hash: e.Hash, Height: e.Header.Height}
}

// RecordHash is the hash of record bytes that a header carries.
func RecordHash(record []byte) Hash { return sha256.Sum256(record) }

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
