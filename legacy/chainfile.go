package legacy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Bounds of a chain file.
const (
	// MaxChainKey is the greatest length of a key in bytes; a key is a record's header, 36 characters.
	MaxChainKey = 256
	// MaxChainData is the greatest length of a packed record in bytes, padding included.
	MaxChainData = 1 << 20
)

// IsChainFile reports whether the first bytes of a file are those of a chain file.
func IsChainFile(start []byte) bool { return bytes.HasPrefix(start, chainFileHeader) }

// The file header is 32 bytes: this, then zeros. After it each record is
//
//	"RECB" · hash of the key · length · key · "RECS" · hash of the data · length · data
//
// with numbers of 4 bytes, little-endian. A deleted record begins with "RECX" instead. The hash is the first 4 bytes of
// the SHA-256, read as a big-endian number (docs/original-protocol.md §9).
var chainFileHeader = []byte("PYDB\x03\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff")

const chainFileHeaderSize = 32

// ErrChainFile is wrapped by every error about the form of a chain file.
var ErrChainFile = errors.New("damaged chain file")

// ChainRecord is one record of a chain file.
type ChainRecord struct {
	Key    string // the record's header, as the file has it
	Packed []byte // the packed record, without the spaces that pad a rewritten one
	Offset int64  // of the record in the file
}

// ReadChain yields the records of a chain file of the original server ("chain/<kind>/initial.pydb") in the order in
// which they were written, without the deleted ones. Where a key occurs more than once the original shows the last.
// Errors wrap [ErrChainFile] or come from the reader. A record whose hashes are wrong is yielded with its error, and
// reading goes on behind it; any other error is the last.
func ReadChain(r io.Reader) iter.Seq2[ChainRecord, error] {
	return func(yield func(ChainRecord, error) bool) {
		c := &chainReader{r: bufio.NewReaderSize(r, 64<<10)}
		header, err := c.take(chainFileHeaderSize)
		if err == nil && !IsChainFile(header) {
			err = fmt.Errorf("%w: it does not begin with %x", ErrChainFile, chainFileHeader)
		}
		if err != nil {
			yield(ChainRecord{}, err)
			return
		}
		for {
			if _, err := c.r.Peek(1); err == io.EOF {
				return
			}
			record, deleted, err := c.next()
			var damaged *hashError
			if err != nil && !errors.As(err, &damaged) {
				yield(record, err)
				return
			}
			if deleted {
				continue
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

type chainReader struct {
	r      *bufio.Reader
	offset int64
}

// hashError says that a record is framed well and its content is not what was written.
type hashError struct{ error }

func (e *hashError) Unwrap() error { return e.error }

func (c *chainReader) next() (record ChainRecord, deleted bool, err error) {
	record.Offset = c.offset
	mark, key, keyErr := c.part(MaxChainKey, "RECB", "RECX")
	if keyErr != nil && !isHashError(keyErr) {
		return record, false, keyErr
	}
	_, data, dataErr := c.part(MaxChainData, "RECS")
	if dataErr != nil && !isHashError(dataErr) {
		return record, false, dataErr
	}
	record.Key = string(key)
	record.Packed = unpadded(data)
	return record, mark == "RECX", errors.Join(keyErr, dataErr)
}

func isHashError(err error) bool {
	var h *hashError
	return errors.As(err, &h)
}

// part reads a mark, a hash, a length and that many bytes.
func (c *chainReader) part(limit uint32, marks ...string) (mark string, data []byte, err error) {
	at := c.offset
	head, err := c.take(12)
	if err != nil {
		return "", nil, err
	}
	mark = string(head[:4])
	known := false
	for _, m := range marks {
		known = known || m == mark
	}
	if !known {
		return "", nil, fmt.Errorf("%w: at byte %d stands %q instead of %q", ErrChainFile, at, mark, marks)
	}
	sum, length := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
	if length > limit {
		return "", nil, fmt.Errorf("%w: at byte %d a length of %d, more than the limit of %d bytes", ErrChainFile, at, length, limit)
	}
	if data, err = c.take(int(length)); err != nil {
		return "", nil, err
	}
	if got := chainHash(data); got != sum {
		err = &hashError{fmt.Errorf("%w: at byte %d the hash is %08x, of what stands there %08x", ErrChainFile, at, sum, got)}
	}
	return mark, data, err
}

func (c *chainReader) take(n int) ([]byte, error) {
	buf := make([]byte, n)
	m, err := io.ReadFull(c.r, buf)
	c.offset += int64(m)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%w: cut short at byte %d", ErrChainFile, c.offset)
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", c.offset, err)
	}
	return buf, nil
}

func chainHash(data []byte) uint32 {
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint32(sum[:])
}
