package chainfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Names of the files of a chain, beside each other (docs/original-protocol.md §9).
const (
	Name      = "initial.pydb"
	IndexName = "initial.pidx"    // see [IndexRow]
	IDsName   = "initial.hash.id" // the hash of each record's key again; it begins like a chain file
)

// IndexRow is what the index of a chain file says of one of its records. They are in the order of the file; deleted
// records keep theirs.
type IndexRow struct {
	Offset uint32 // of the record
	Hash   uint32 // of its key, see [Hash]
}

var indexHeader = []byte("PYIX\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff")

// ReadIndex reads an index. The error wraps [ErrDamaged]; rows before the damage are returned with it.
func ReadIndex(raw []byte) ([]IndexRow, error) {
	if len(raw) < headerSize || !bytes.HasPrefix(raw, indexHeader) {
		return nil, fmt.Errorf("%w: the index does not begin with %x", ErrDamaged, indexHeader)
	}
	raw = raw[headerSize:]
	rows := make([]IndexRow, 0, len(raw)/8)
	for ; len(raw) >= 8; raw = raw[8:] {
		rows = append(rows, IndexRow{binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:])})
	}
	if len(raw) > 0 {
		return rows, fmt.Errorf("%w: the index ends in the middle of row %d", ErrDamaged, len(rows))
	}
	return rows, nil
}

// ReadIDs reads the hashes of the keys, likewise.
func ReadIDs(raw []byte) ([]uint32, error) {
	if len(raw) < headerSize || !Is(raw) {
		return nil, fmt.Errorf("%w: the list of hashes does not begin with %x", ErrDamaged, fileHeader)
	}
	raw = raw[headerSize:]
	ids := make([]uint32, 0, len(raw)/4)
	for ; len(raw) >= 4; raw = raw[4:] {
		ids = append(ids, binary.LittleEndian.Uint32(raw))
	}
	if len(raw) > 0 {
		return ids, fmt.Errorf("%w: the list of hashes ends in the middle of row %d", ErrDamaged, len(ids))
	}
	return ids, nil
}

// Writer writes a chain file with what stands beside it.
type Writer struct {
	chain, index, ids *bufio.Writer
	offset            uint64
}

// NewWriter begins the three files of a chain; those beside the chain file may be nil.
func NewWriter(chain, index, ids io.Writer) *Writer {
	buffered := func(w io.Writer) *bufio.Writer {
		if w == nil {
			w = io.Discard
		}
		return bufio.NewWriterSize(w, 64<<10)
	}
	w := &Writer{chain: buffered(chain), index: buffered(index), ids: buffered(ids), offset: headerSize}
	header := func(to *bufio.Writer, text []byte) {
		_, _ = to.Write(append(bytes.Clone(text), make([]byte, headerSize-len(text))...)) // Flush returns the error
	}
	header(w.chain, fileHeader)
	header(w.index, indexHeader)
	header(w.ids, fileHeader)
	return w
}

// ErrFull says that a chain file has no place for a record: what it names by number must be below 4 GiB.
var ErrFull = errors.New("a chain file of the original cannot be larger than 4 GiB")

// Add appends a record.
func (w *Writer) Add(key string, packed []byte) error {
	switch {
	case len(key) > MaxKey || len(packed) > MaxData:
		return fmt.Errorf("record %.64q: a key of %d bytes and data of %d; %d and %d are allowed", key, len(key), len(packed), MaxKey, MaxData)
	case w.offset > math.MaxUint32:
		return ErrFull
	}
	hash := Hash(key)
	var row []byte
	row = binary.LittleEndian.AppendUint32(row, uint32(w.offset))
	row = binary.LittleEndian.AppendUint32(row, hash)
	var frame []byte
	for _, part := range []struct {
		mark string
		data []byte
	}{{"RECB", []byte(key)}, {"RECS", packed}} {
		frame = append(frame, part.mark...)
		frame = binary.LittleEndian.AppendUint32(frame, Hash(part.data))
		frame = binary.LittleEndian.AppendUint32(frame, uint32(len(part.data)))
		frame = append(frame, part.data...)
	}
	_, err1 := w.chain.Write(frame)
	_, err2 := w.index.Write(row)
	_, err3 := w.ids.Write(row[4:])
	w.offset += uint64(len(frame))
	return errors.Join(err1, err2, err3)
}

// Flush writes what is buffered. The files are whole then.
func (w *Writer) Flush() error {
	return errors.Join(w.chain.Flush(), w.index.Flush(), w.ids.Flush())
}
