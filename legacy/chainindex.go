package legacy

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
	ChainFileName  = "initial.pydb"
	ChainIndexName = "initial.pidx"    // see [ChainIndexRow]
	ChainIDsName   = "initial.hash.id" // the hash of each record's key again; it begins like a chain file
)

// ChainIndexRow is what the index of a chain file says of one of its records. They are in the order of the file; deleted
// records keep theirs.
type ChainIndexRow struct {
	Offset uint32 // of the record
	Hash   uint32 // of its key, see [ChainHash]
}

var chainIndexHeader = []byte("PYIX\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff")

// ReadChainIndex reads an index. The error wraps [ErrChainFile]; rows before the damage are returned with it.
func ReadChainIndex(raw []byte) ([]ChainIndexRow, error) {
	if len(raw) < chainFileHeaderSize || !bytes.HasPrefix(raw, chainIndexHeader) {
		return nil, fmt.Errorf("%w: the index does not begin with %x", ErrChainFile, chainIndexHeader)
	}
	raw = raw[chainFileHeaderSize:]
	rows := make([]ChainIndexRow, 0, len(raw)/8)
	for ; len(raw) >= 8; raw = raw[8:] {
		rows = append(rows, ChainIndexRow{binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:])})
	}
	if len(raw) > 0 {
		return rows, fmt.Errorf("%w: the index ends in the middle of row %d", ErrChainFile, len(rows))
	}
	return rows, nil
}

// ReadChainIDs reads the hashes of the keys, likewise.
func ReadChainIDs(raw []byte) ([]uint32, error) {
	if len(raw) < chainFileHeaderSize || !IsChainFile(raw) {
		return nil, fmt.Errorf("%w: the list of hashes does not begin with %x", ErrChainFile, chainFileHeader)
	}
	raw = raw[chainFileHeaderSize:]
	ids := make([]uint32, 0, len(raw)/4)
	for ; len(raw) >= 4; raw = raw[4:] {
		ids = append(ids, binary.LittleEndian.Uint32(raw))
	}
	if len(raw) > 0 {
		return ids, fmt.Errorf("%w: the list of hashes ends in the middle of row %d", ErrChainFile, len(ids))
	}
	return ids, nil
}

// ChainHash is the hash that chain files and their indexes have: the first 4 bytes of the SHA-256, read as a big-endian
// number.
func ChainHash[T ~string | ~[]byte](data T) uint32 { return chainHash([]byte(data)) }

// ChainWriter writes a chain file with what stands beside it.
type ChainWriter struct {
	chain, index, ids *bufio.Writer
	offset            uint64
}

// NewChainWriter begins the three files of a chain; those beside the chain file may be nil.
func NewChainWriter(chain, index, ids io.Writer) *ChainWriter {
	buffered := func(w io.Writer) *bufio.Writer {
		if w == nil {
			w = io.Discard
		}
		return bufio.NewWriterSize(w, 64<<10)
	}
	w := &ChainWriter{chain: buffered(chain), index: buffered(index), ids: buffered(ids), offset: chainFileHeaderSize}
	header := func(to *bufio.Writer, text []byte) {
		_, _ = to.Write(append(bytes.Clone(text), make([]byte, chainFileHeaderSize-len(text))...)) // Flush returns the error
	}
	header(w.chain, chainFileHeader)
	header(w.index, chainIndexHeader)
	header(w.ids, chainFileHeader)
	return w
}

// ErrChainFull says that a chain file has no place for a record: what it names by number must be below 4 GiB.
var ErrChainFull = errors.New("a chain file of the original cannot be larger than 4 GiB")

// Add appends a record.
func (w *ChainWriter) Add(key string, packed []byte) error {
	switch {
	case len(key) > MaxChainKey || len(packed) > MaxChainData:
		return fmt.Errorf("record %.64q: a key of %d bytes and data of %d; %d and %d are allowed", key, len(key), len(packed), MaxChainKey, MaxChainData)
	case w.offset > math.MaxUint32:
		return ErrChainFull
	}
	hash := ChainHash(key)
	var row []byte
	row = binary.LittleEndian.AppendUint32(row, uint32(w.offset))
	row = binary.LittleEndian.AppendUint32(row, hash)
	var frame []byte
	for _, part := range []struct {
		mark string
		data []byte
	}{{"RECB", []byte(key)}, {"RECS", packed}} {
		frame = append(frame, part.mark...)
		frame = binary.LittleEndian.AppendUint32(frame, chainHash(part.data))
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
func (w *ChainWriter) Flush() error {
	return errors.Join(w.chain.Flush(), w.index.Flush(), w.ids.Flush())
}
