package legacy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"pyvnode/ledger/record"
)

// ChainFrame is what stands at one place of a chain file: a record, one that was deleted, or bytes that are neither.
type ChainFrame struct {
	ChainRecord       // of a damaged one the key, where that is sound, and the place
	Deleted     bool  // it was marked as deleted
	End         int64 // where the next frame begins
	Err         error // what is wrong; it wraps [ErrChainFile]
}

const (
	frameHead = 12 // mark, hash and length, before a key and before data

	// maxFoundAgain is the greatest length of the data of a record behind damage. A record is never longer; a file made to
	// take long can hold a mark at every few bytes.
	maxFoundAgain = 2 * record.MaxRecord

	// maxEffort is how many bytes of damage a scan looks through, and hashes, to find a record again: far more than a file that
	// broke can ask for. A file made to take long could ask for the square of its size, and one with holes has any size.
	maxEffort = 1 << 30
)

// MaxChainFile is the greatest length of a chain file in bytes: its last record begins below 4 GiB (see [ErrChainFull]).
const MaxChainFile = 1<<32 + 2*frameHead + MaxChainKey + MaxChainData

// Effort bounds, over any number of scans, what looking for records behind damage costs. The zero value has none left.
type Effort struct{ left atomic.Int64 }

// NewEffort returns an effort of a number of bytes.
func NewEffort(bytes int64) *Effort {
	e := new(Effort)
	e.left.Store(bytes)
	return e
}

// spend takes from the effort, and reports whether there was any left.
func (e *Effort) spend(bytes int64) bool { return e.left.Add(-bytes) > -bytes }

// ScanChain yields everything that stands in a chain file of a number of bytes, to its end, whatever is damaged: deleted
// records and damaged places too. Frames follow each other without gaps; only the file's own header is not among them
// when it is sound. What a frame holds packed is good until the next. An error of the sequence is one of reading, and the
// last.
//
// Where a record is damaged the scan goes on at the next place at which there must be one: a record whose hashes are
// right, and which either is named by the file's index (named may be nil) or has a record or the end of the file right
// behind it. So what only looks like a record inside another record's data is not taken for one.
//
// Looking for records behind damage is bounded: by effort, nil for as much as any file that broke needs. When it is used up
// the rest of the file is one damaged frame.
func ScanChain(r io.ReaderAt, size int64, named func(offset int64) bool, effort *Effort) iter.Seq2[ChainFrame, error] {
	return func(yield func(ChainFrame, error) bool) {
		c := newChainScan(r, size, named, effort)
		header, err := c.bytes(0, chainFileHeaderSize)
		switch {
		case err != nil:
			yield(ChainFrame{}, err)
			return
		case header == nil:
			yield(ChainFrame{End: size, Err: fmt.Errorf("%w: cut short at byte %d", ErrChainFile, size)}, nil)
			return
		case !IsChainFile(header):
			f := ChainFrame{End: chainFileHeaderSize, Err: fmt.Errorf("%w: it does not begin with %x", ErrChainFile, chainFileHeader)}
			if !yield(f, nil) {
				return
			}
		}
		c.frames(chainFileHeaderSize, yield)
	}
}

// ScanChainFrom is [ScanChain] from a place on at which a frame begins.
func ScanChainFrom(r io.ReaderAt, size int64, named func(offset int64) bool, effort *Effort, from int64) iter.Seq2[ChainFrame, error] {
	return func(yield func(ChainFrame, error) bool) { newChainScan(r, size, named, effort).frames(from, yield) }
}

func newChainScan(r io.ReaderAt, size int64, named func(int64) bool, effort *Effort) *chainScan {
	if effort == nil {
		effort = NewEffort(maxEffort)
	}
	if named == nil {
		named = func(int64) bool { return false }
	}
	return &chainScan{r: r, size: size, named: named, effort: effort}
}

// frames yields the frames from a place to the end of the file.
func (c *chainScan) frames(at int64, yield func(ChainFrame, error) bool) {
	for at < c.size {
		f, err := c.frame(at)
		if !yield(f, err) || err != nil {
			return
		}
		at = f.End
	}
}

// chainScan reads a chain file at any place through one buffer.
type chainScan struct {
	r     io.ReaderAt
	size  int64
	named func(int64) bool

	effort    *Effort
	searching bool // for a record behind damage, which takes from the effort
	gaveUp    bool // there was none left: the frame under way goes to the end of the file

	buf []byte
	at  int64 // of the buffer in the file
}

const scanBuffer = 256 << 10

func (c *chainScan) spend(bytes int) {
	if c.searching && !c.effort.spend(int64(bytes)) {
		c.gaveUp = true
	}
}

// bytes returns n bytes of the file, good until the next call; nil where there are not as many.
func (c *chainScan) bytes(at int64, n int) ([]byte, error) {
	if at < 0 || at > c.size-int64(n) {
		return nil, nil
	}
	if at < c.at || at+int64(n) > c.at+int64(len(c.buf)) {
		want := min(int64(max(n, scanBuffer)), c.size-at)
		if int64(cap(c.buf)) < want {
			c.buf = make([]byte, want)
		}
		c.spend(int(want))
		c.at, c.buf = at, c.buf[:want]
		m, err := c.r.ReadAt(c.buf, at)
		c.buf = c.buf[:m]
		if m < n { // the file was cut meanwhile, or cannot be read
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("at byte %d: %w", at, err)
		}
	}
	from := at - c.at
	return c.buf[from : from+int64(n) : from+int64(n)], nil
}

// span is a part of a frame, with the hash that stands before it.
type span struct {
	at   int64
	size int
	hash uint32
}

// layout is where the parts of a frame are.
type layout struct {
	mark      string
	key, data span
	end       int64
}

// layout reads the marks and lengths of a frame. The first error is about them and wraps [ErrChainFile]; what was read
// before is returned with it.
func (c *chainScan) layout(at int64) (l layout, form, err error) {
	l.mark, l.key, form, err = c.head(at, MaxChainKey, keyMarks)
	if form != nil || err != nil {
		return l, form, err
	}
	_, l.data, form, err = c.head(l.key.at+int64(l.key.size), MaxChainData, dataMarks)
	l.end = l.data.at + int64(l.data.size)
	return l, form, err
}

// What a frame and its data begin with.
var keyMarks, dataMarks = []string{"RECB", "RECX"}, []string{"RECS"}

// head reads what stands before a part.
func (c *chainScan) head(at int64, limit uint32, marks []string) (mark string, s span, form, err error) {
	damaged := func(format string, args ...any) (string, span, error, error) {
		return "", span{}, fmt.Errorf("%w: %s", ErrChainFile, fmt.Sprintf(format, args...)), nil
	}
	raw, err := c.bytes(at, frameHead)
	if err != nil {
		return "", s, nil, err
	}
	if raw == nil {
		return damaged("cut short at byte %d", c.size)
	}
	for _, m := range marks {
		if m == string(raw[:4]) {
			mark = m
		}
	}
	if mark == "" {
		return damaged("at byte %d stands %q instead of %q", at, raw[:4], marks)
	}
	length := binary.LittleEndian.Uint32(raw[8:])
	if length > limit {
		return damaged("at byte %d a length of %d, more than the limit of %d bytes", at, length, limit)
	}
	s = span{at: at + frameHead, size: int(length), hash: binary.LittleEndian.Uint32(raw[4:])}
	if s.at+int64(s.size) > c.size {
		return damaged("cut short at byte %d", c.size)
	}
	return mark, s, nil, nil
}

// read returns a part, and what is wrong with it.
func (c *chainScan) read(s span) (data []byte, wrong, err error) {
	if data, err = c.bytes(s.at, s.size); err != nil {
		return nil, nil, err
	}
	if got := chainHash(data); got != s.hash {
		wrong = fmt.Errorf("%w: at byte %d the hash is %08x, of what stands there %08x", ErrChainFile, s.at-frameHead, s.hash, got)
	}
	return data, wrong, nil
}

// frame reads what stands at a place.
func (c *chainScan) frame(at int64) (f ChainFrame, err error) {
	f.Offset = at
	l, form, err := c.layout(at)
	if err != nil {
		return f, err
	}
	var wrongKey, wrongData error
	if l.key.at > 0 {
		var key []byte
		if key, wrongKey, err = c.read(l.key); err != nil {
			return f, err
		}
		if wrongKey == nil {
			f.Key, f.Deleted = string(key), l.mark == "RECX"
		}
	}
	if form == nil {
		var data []byte
		if data, wrongData, err = c.read(l.data); err != nil {
			return f, err
		}
		if wrongKey == nil && wrongData == nil {
			f.Packed, f.End = unpadded(data), l.end
			return f, nil
		}
	}
	if f.Err = form; form == nil {
		f.Err = errors.Join(wrongKey, wrongData)
	}
	// A wrong length may have swallowed records.
	if form == nil {
		bounded, err := c.bounded(l.end)
		if err != nil {
			return f, err
		}
		if bounded {
			f.End, err = c.next(at+1, l.end)
			return f, c.giveUp(&f, err)
		}
	}
	f.End, err = c.next(at+1, c.size)
	return f, c.giveUp(&f, err)
}

// giveUp makes the rest of the file a part of a damaged frame when there is no effort left.
func (c *chainScan) giveUp(f *ChainFrame, err error) error {
	if err == nil && c.gaveUp {
		f.End = c.size
		f.Err = fmt.Errorf("%w; behind it so much is damaged that the rest of the file, %d bytes, was not read", f.Err, c.size-f.Offset)
	}
	return err
}

// unpadded returns packed text without the spaces that pad a record that was rewritten in its place.
func unpadded(data []byte) []byte {
	packed := bytes.TrimRight(data, " ")
	if bytes.HasPrefix(packed, []byte("pg ")) && len(packed) < len(data) {
		packed = packed[:len(packed)+1] // every packed item ends in one space
	}
	return packed
}

// bounded reports whether a frame can end at a place: the file does, or another frame begins there.
func (c *chainScan) bounded(at int64) (bool, error) {
	if at == c.size || c.named(at) {
		return true, nil
	}
	mark, err := c.bytes(at, 4)
	return string(mark) == "RECB" || string(mark) == "RECX", err
}

// next returns the first place from one on at which there must be a record, or the limit.
func (c *chainScan) next(from, limit int64) (int64, error) {
	mark := []byte("REC")
	c.searching, c.gaveUp = true, false
	defer func() { c.searching = false }()
	for from < limit {
		n := int64(scanBuffer)
		if ahead := c.at + int64(len(c.buf)) - from; from >= c.at && ahead >= int64(len(mark)) {
			n = ahead // what is in the buffer first
		}
		window, err := c.bytes(from, int(min(limit-from, n)))
		if err != nil {
			return 0, err
		}
		if c.gaveUp {
			return limit, nil
		}
		i := bytes.Index(window, mark)
		if i < 0 {
			if int64(len(window)) == limit-from {
				break
			}
			from += int64(len(window) - len(mark) + 1)
			continue
		}
		from += int64(i)
		if sound, err := c.sound(from); err != nil || sound {
			return from, err
		}
		from++
	}
	return limit, nil
}

// sound reports whether there must be a record at a place.
func (c *chainScan) sound(at int64) (bool, error) {
	l, form, err := c.layout(at)
	if form != nil || err != nil || l.data.size > maxFoundAgain {
		return false, err
	}
	if bounded, err := c.bounded(l.end); err != nil || !bounded && !c.named(at) {
		return false, err
	}
	for _, part := range []span{l.key, l.data} {
		c.spend(part.size)
		if _, wrong, err := c.read(part); err != nil || wrong != nil {
			return false, err
		}
	}
	return true, nil
}
