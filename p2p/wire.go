package p2p

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// The sync protocol /pyvnode/sync/1. A node opens a stream and asks; the other answers each
// question in turn. Both send frames: a length as uvarint, then a kind, one byte, and the body.
// Bodies of several fields are in protobuf wire format.
//
//	have       network, own digest, own entries, known digest    → have, then, if the digests differ, rows (several), or
//	                                                               the outline of many (several)
//	rows       ranges of origins                                 → rows (several) in them, or the first of them
//	from       starts of logs, before a pull that goes on          (no answer)
//	range      ranges of origins, before a pull that goes on       (no answer)
//	pull       starts of logs                                    → entry (many), batch after every 256 or 1 MiB,
//	                                                               other for a log that does not go on as the start
//	                                                               says, end
//	more       one batch more may be sent                          (only while a pull is answered)
//	statement  origin, seq                                       → statement or none
//	branch     origin, seq, hash, count                          → entry (that one and those before it, as far as they
//	                                                               are disputed) and end, or none
//	evidence   origin                                            → evidence or none
//	accuse     evidence                                          → none
const ProtocolID = "/pyvnode/sync/1"

type frameKind byte

const (
	frameHave      frameKind = 1
	frameRows      frameKind = 2
	framePull      frameKind = 3
	frameEntry     frameKind = 4
	frameBatch     frameKind = 5
	frameOther     frameKind = 6
	frameEnd       frameKind = 7
	frameMore      frameKind = 8
	frameStatement frameKind = 9
	frameBranch    frameKind = 10
	frameEvidence  frameKind = 11
	frameNone      frameKind = 12
	frameError     frameKind = 13
	frameOutline   frameKind = 14
	frameFrom      frameKind = 15
	frameRange     frameKind = 16
	frameAccuse    frameKind = 17
)

// errFrame is wrapped by errors about bytes that no node of this kind sends.
var errFrame = errors.New("malformed message")

// framer reads and writes frames. One goroutine may read while another writes.
type framer struct {
	r   *bufio.Reader
	w   *bufio.Writer
	in  []byte
	out []byte
}

func newFramer(rw io.ReadWriter) *framer {
	return &framer{r: bufio.NewReaderSize(rw, 64<<10), w: bufio.NewWriterSize(rw, 64<<10)}
}

// read returns the next frame; its body is valid until the next call.
func (f *framer) read() (frameKind, []byte, error) {
	length, err := binary.ReadUvarint(f.r)
	if err != nil {
		return 0, nil, err
	}
	if length == 0 || length > maxFrame {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes, 1 to %d are allowed", errFrame, length, maxFrame)
	}
	if uint64(cap(f.in)) < length {
		f.in = make([]byte, max(int(length), 4096))
	}
	buf := f.in[:length]
	if _, err := io.ReadFull(f.r, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return frameKind(buf[0]), buf[1:], nil
}

// write adds a frame to what the next flush sends.
func (f *framer) write(kind frameKind, body []byte) error {
	f.out = binary.AppendUvarint(f.out[:0], uint64(len(body)+1))
	f.out = append(f.out, byte(kind))
	if _, err := f.w.Write(f.out); err != nil {
		return err
	}
	_, err := f.w.Write(body)
	return err
}

// writeAll adds whole frames.
func (f *framer) writeAll(frames []byte) error {
	_, err := f.w.Write(frames)
	return err
}

func (f *framer) flush() error { return f.w.Flush() }

// send writes one frame and flushes.
func (f *framer) send(kind frameKind, body []byte) error {
	if err := f.write(kind, body); err != nil {
		return err
	}
	return f.flush()
}

// have says what a node holds.
type have struct {
	network ledger.Hash
	digest  ledger.Hash
	entries uint64
	known   *ledger.Hash // a digest of the other's whose rows the sender still has
	run     runID        // of the sender; zero if it does not say
	twin    bool         // the sender hears two nodes with the receiver's key
}

const (
	haveNetwork protowire.Number = 1
	haveDigest  protowire.Number = 2
	haveEntries protowire.Number = 3
	haveKnown   protowire.Number = 4
	haveRun     protowire.Number = 5
	haveTwin    protowire.Number = 6
)

func (h *have) append(dst []byte) []byte {
	dst = protowire.AppendBytes(protowire.AppendTag(dst, haveNetwork, protowire.BytesType), h.network[:])
	dst = protowire.AppendBytes(protowire.AppendTag(dst, haveDigest, protowire.BytesType), h.digest[:])
	dst = protowire.AppendVarint(protowire.AppendTag(dst, haveEntries, protowire.VarintType), h.entries)
	if h.known != nil {
		dst = protowire.AppendBytes(protowire.AppendTag(dst, haveKnown, protowire.BytesType), h.known[:])
	}
	if h.run != (runID{}) {
		dst = protowire.AppendBytes(protowire.AppendTag(dst, haveRun, protowire.BytesType), h.run[:])
	}
	if h.twin {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, haveTwin, protowire.VarintType), 1)
	}
	return dst
}

func parseHave(body []byte) (have, error) {
	var h have
	seen := 0
	err := fields(body, func(field protowire.Number, value uint64, data []byte) error {
		switch field {
		case haveNetwork:
			seen |= 1
			return hashField(&h.network, data)
		case haveDigest:
			seen |= 2
			return hashField(&h.digest, data)
		case haveEntries:
			h.entries = value
		case haveKnown:
			h.known = new(ledger.Hash)
			return hashField(h.known, data)
		case haveRun:
			if len(data) != len(h.run) {
				return fmt.Errorf("%w: run of %d bytes", errFrame, len(data))
			}
			copy(h.run[:], data)
		case haveTwin:
			h.twin = value == 1
		}
		return nil // a later version may say more
	})
	if err == nil && seen != 3 {
		err = fmt.Errorf("%w: have without network or digest", errFrame)
	}
	return h, err
}

// rows carries a part of a frontier, or of what changed in it since a digest.
type rows struct {
	changes bool // since the known digest; otherwise all rows
	last    bool
	cut     bool // of the ranges that were asked for, only the first rows
	gone    bool // some of the rows are gone: of these only the origin is set
	rows    []ledger.Row
}

const (
	rowsChanges protowire.Number = 1
	rowsLast    protowire.Number = 2
	rowsRow     protowire.Number = 3
	rowsCut     protowire.Number = 4
	rowsGone    protowire.Number = 5
)

func parseRows(body []byte) (rows, error) {
	var r rows
	err := fields(body, func(field protowire.Number, value uint64, data []byte) error {
		switch field {
		case rowsChanges:
			r.changes = value != 0
		case rowsLast:
			r.last = value != 0
		case rowsCut:
			r.cut = value != 0
		case rowsRow:
			row, err := ledger.DecodeRow(data)
			if err != nil {
				return fmt.Errorf("%w: %w", errFrame, err)
			}
			r.rows = append(r.rows, row)
		case rowsGone:
			var row ledger.Row
			if len(data) != len(row.Origin) {
				return fmt.Errorf("%w: origin of %d bytes", errFrame, len(data))
			}
			copy(row.Origin[:], data)
			r.rows = append(r.rows, row)
			r.gone = true
		}
		return nil
	})
	return r, err
}

// appendRows adds frames with rows to a buffer, as many as it takes.
func appendRows(dst []byte, list []ledger.Row, changes, cut bool) []byte {
	var body, row []byte
	flag := func(field protowire.Number) {
		body = protowire.AppendVarint(protowire.AppendTag(body, field, protowire.VarintType), 1)
	}
	start := func() {
		body = body[:0]
		if changes {
			flag(rowsChanges)
		}
	}
	start()
	for i := range list {
		if len(body) >= rowsFrame {
			dst = appendFrame(dst, frameRows, body)
			start()
		}
		if isGone(&list[i]) {
			body = protowire.AppendBytes(protowire.AppendTag(body, rowsGone, protowire.BytesType), list[i].Origin[:])
			continue
		}
		row = list[i].Append(row[:0])
		body = protowire.AppendBytes(protowire.AppendTag(body, rowsRow, protowire.BytesType), row)
	}
	flag(rowsLast)
	if cut {
		flag(rowsCut)
	}
	return appendFrame(dst, frameRows, body)
}

// writeRows sends rows in as many frames as it takes.
func (f *framer) writeRows(list []ledger.Row, changes bool) error {
	return f.writeAll(appendRows(nil, list, changes, false))
}

func appendFrame(dst []byte, kind frameKind, body []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(body)+1))
	return append(append(dst, byte(kind)), body...)
}

// writeOutline sends the chunks of a frontier: each frame begins with whether it is the last.
func (f *framer) writeOutline(chunks []chunk) error {
	body := []byte{0}
	for i, c := range chunks {
		if len(body) >= rowsFrame {
			if err := f.write(frameOutline, body); err != nil {
				return err
			}
			body = body[:1]
		}
		body = append(append(body, chunks[i].from[:]...), c.digest[:]...)
	}
	body[0] = 1
	return f.write(frameOutline, body)
}

func parseOutline(body []byte) (chunks []chunk, last bool, err error) {
	if len(body) < 1+chunkLen || (len(body)-1)%chunkLen != 0 || body[0] > 1 {
		return nil, false, fmt.Errorf("%w: outline of %d bytes", errFrame, len(body))
	}
	last = body[0] == 1
	for body = body[1:]; len(body) > 0; body = body[chunkLen:] {
		var c chunk
		copy(c.from[:], body)
		copy(c.digest[:], body[len(c.from):])
		chunks = append(chunks, c)
	}
	return chunks, last, nil
}

func appendRanges(dst []byte, ranges []originRange) []byte {
	for i := range ranges {
		dst = append(append(dst, ranges[i].from[:]...), ranges[i].before[:]...)
	}
	return dst
}

// parseRanges reads ranges of origins in order, which do not overlap.
func parseRanges(body []byte) ([]originRange, error) {
	if len(body) == 0 || len(body)%originRangeLen != 0 || len(body) > maxRanges*originRangeLen {
		return nil, fmt.Errorf("%w: ranges of %d bytes", errFrame, len(body))
	}
	ranges := make([]originRange, 0, len(body)/originRangeLen)
	for ; len(body) > 0; body = body[originRangeLen:] {
		var r originRange
		copy(r.from[:], body)
		copy(r.before[:], body[len(r.from):])
		if i := len(ranges); (r.before != ledger.Origin{} && r.before.Compare(r.from) <= 0) || i > 0 && ranges[i-1].holds(r.from) {
			return nil, fmt.Errorf("%w: ranges of origins out of order", errFrame)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// logStart says which part of a log is wanted: after its first size entries, the last of which has
// the hash head, and before another entry, from which on the log is disputed on the asking side.
type logStart struct {
	origin ledger.Origin
	size   uint64
	head   ledger.Hash // zero when size is
	before uint64
}

const logStartLen = len(ledger.Origin{}) + 8 + ledger.HashSize + 8

func (s *logStart) append(dst []byte) []byte {
	dst = append(dst, s.origin[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.size)
	dst = append(dst, s.head[:]...)
	return binary.BigEndian.AppendUint64(dst, s.before)
}

// parsePull reads starts of logs.
func parsePull(body []byte) ([]logStart, error) {
	if len(body)%logStartLen != 0 || len(body) > maxPullLogs*logStartLen {
		return nil, fmt.Errorf("%w: starts of logs of %d bytes", errFrame, len(body))
	}
	starts := make([]logStart, 0, len(body)/logStartLen)
	for ; len(body) > 0; body = body[logStartLen:] {
		var s logStart
		copy(s.origin[:], body)
		s.size = binary.BigEndian.Uint64(body[len(s.origin):])
		copy(s.head[:], body[len(s.origin)+8:])
		s.before = binary.BigEndian.Uint64(body[logStartLen-8:])
		if s.size > ledger.MaxSeq {
			return nil, fmt.Errorf("%w: start of %v at %d", errFrame, s.origin, s.size)
		}
		starts = append(starts, s)
	}
	return starts, nil
}

// place names an entry: by origin and seq, and by hash if several are possible. The newest is at
// seq [newest].
type place struct {
	origin ledger.Origin
	seq    uint64
	hash   ledger.Hash
}

const newest = ^uint64(0)

const placeLen = len(ledger.Origin{}) + 8 + ledger.HashSize

func (p *place) append(dst []byte) []byte {
	dst = append(dst, p.origin[:]...)
	dst = binary.BigEndian.AppendUint64(dst, p.seq)
	return append(dst, p.hash[:]...)
}

func parsePlace(body []byte) (place, error) {
	var p place
	if len(body) != placeLen {
		return p, fmt.Errorf("%w: place of %d bytes", errFrame, len(body))
	}
	copy(p.origin[:], body)
	p.seq = binary.BigEndian.Uint64(body[len(p.origin):])
	copy(p.hash[:], body[len(p.origin)+8:])
	return p, nil
}

// branchQuery asks for an entry and those before it: 1 to [store.RangeEntries].
type branchQuery struct {
	place
	count uint16
}

func (q *branchQuery) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(q.place.append(dst), q.count)
}

func parseBranchQuery(body []byte) (q branchQuery, err error) {
	if len(body) != placeLen+2 {
		return q, fmt.Errorf("%w: question for a branch of %d bytes", errFrame, len(body))
	}
	q.count = binary.BigEndian.Uint16(body[placeLen:])
	if q.count == 0 || q.count > store.RangeEntries {
		return q, fmt.Errorf("%w: %d entries of a branch", errFrame, q.count)
	}
	q.place, err = parsePlace(body[:placeLen])
	return q, err
}

const (
	statementHeader    protowire.Number = 1
	statementSignature protowire.Number = 2
)

func appendStatement(dst []byte, e *ledger.Entry) []byte {
	dst = protowire.AppendBytes(protowire.AppendTag(dst, statementHeader, protowire.BytesType), e.RawHeader)
	return protowire.AppendBytes(protowire.AppendTag(dst, statementSignature, protowire.BytesType), e.Signature[:])
}

// parseStatement reads a signed header. Whether the signature is good is for the caller to check.
func parseStatement(body []byte) (*ledger.Entry, error) {
	var header []byte
	var signature [64]byte
	err := fields(body, func(field protowire.Number, _ uint64, data []byte) error {
		switch field {
		case statementHeader:
			header = append([]byte{}, data...)
		case statementSignature:
			if len(data) != len(signature) {
				return fmt.Errorf("%w: signature of %d bytes", errFrame, len(data))
			}
			copy(signature[:], data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e, err := ledger.DecodeStatement(header, signature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return e, nil
}

func hashField(h *ledger.Hash, data []byte) error {
	if len(data) != len(h) {
		return fmt.Errorf("%w: hash of %d bytes", errFrame, len(data))
	}
	copy(h[:], data)
	return nil
}

// fields calls visit for each field of a body.
func fields(body []byte, visit func(field protowire.Number, value uint64, data []byte) error) error {
	for len(body) > 0 {
		field, typ, n := protowire.ConsumeTag(body)
		if n < 0 {
			return fmt.Errorf("%w: %w", errFrame, protowire.ParseError(n))
		}
		body = body[n:]
		var value uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(body)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(body)
		default:
			return fmt.Errorf("%w: wire type %d", errFrame, typ)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errFrame, protowire.ParseError(n))
		}
		if err := visit(field, value, data); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}
