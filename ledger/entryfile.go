package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// An entry file carries a ledger between nodes and to auditors: its evidence and its entries. It is:
//
//	"pyvnode-entries-2\n"
//	uvarint length, genesis document
//	uvarint length, kind (1 byte), item                (repeated)
//	0 · number of items, 8 bytes big-endian · SHA-256 of all bytes before the hash
//
// An item is a piece of evidence in the encoding of package proof, or an entry in its canonical
// encoding. All evidence stands before all entries, so that a reader of an entry knows whether it
// is disputed. Evidence stands in the order of the accused, one piece for each. Entries stand in
// canonical order, so that each follows its predecessor and citations. [EntryFileOrder] checks both
// orders. The trailer tells a file that was cut short or damaged from a whole one. What the items
// are worth, their signatures tell.
//
// Version 1, which is still read, has no evidence, and its entries have no kind before them.
const (
	entryFileMagic  = "pyvnode-entries-2\n"
	entryFileMagic1 = "pyvnode-entries-1\n" // as long as the other
	entryFileStart  = "pyvnode-entries-"    // of every version
)

// ItemKind says what an item of an entry file is. The numbers are in the files.
type ItemKind byte

// The kinds of items, in the order in which they stand in a file.
const (
	EvidenceItem ItemKind = 1
	EntryItem    ItemKind = 2
)

// EntryFileWriter writes an entry file. Close writes the trailer; it does not close the underlying writer.
type EntryFileWriter struct {
	w     *bufio.Writer
	sum   hash.Hash
	count uint64
	last  ItemKind
	buf   []byte
}

// NewEntryFileWriter starts an entry file.
func NewEntryFileWriter(w io.Writer, g *Genesis) (*EntryFileWriter, error) {
	sum := sha256.New()
	f := &EntryFileWriter{sum: sum, w: bufio.NewWriterSize(io.MultiWriter(w, sum), 256<<10)}
	if _, err := f.w.WriteString(entryFileMagic); err != nil {
		return nil, err
	}
	if err := f.frame(g.Bytes()); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *EntryFileWriter) frame(data []byte) error {
	var length [binary.MaxVarintLen64]byte
	if _, err := f.w.Write(length[:binary.PutUvarint(length[:], uint64(len(data)))]); err != nil {
		return err
	}
	_, err := f.w.Write(data)
	return err
}

// WriteEvidence adds a piece of evidence in its encoding, before all entries. Writers add it by
// origin, one for each.
func (f *EntryFileWriter) WriteEvidence(raw []byte) error {
	if len(raw) > MaxItem {
		return fmt.Errorf("evidence of %d bytes is over the limit of %d", len(raw), MaxItem)
	}
	f.buf = append(append(f.buf[:0], byte(EvidenceItem)), raw...)
	return f.item(EvidenceItem)
}

// Write adds an entry.
func (f *EntryFileWriter) Write(e *Entry) error {
	f.buf = e.Append(append(f.buf[:0], byte(EntryItem)))
	return f.item(EntryItem)
}

func (f *EntryFileWriter) item(kind ItemKind) error {
	if kind < f.last {
		return errors.New("evidence stands before all entries of an entry file")
	}
	f.last = kind
	f.count++
	return f.frame(f.buf)
}

// Close writes the trailer.
func (f *EntryFileWriter) Close() error {
	if err := f.frame(nil); err != nil {
		return err
	}
	if _, err := f.w.Write(binary.BigEndian.AppendUint64(nil, f.count)); err != nil {
		return err
	}
	if err := f.w.Flush(); err != nil {
		return err
	}
	if _, err := f.w.Write(f.sum.Sum(nil)); err != nil {
		return err
	}
	return f.w.Flush()
}

// EntryFileOrder checks the order of the items of an entry file, which takes more than their bytes. The zero value is for
// the first item. Every reader checks by it, so that all take the same files.
type EntryFileOrder struct {
	accused Origin
	any     bool // there was evidence before
	place   Citation
}

// Evidence takes the next piece of evidence by its origin.
func (o *EntryFileOrder) Evidence(accused Origin) error {
	last, any := o.accused, o.any
	o.accused, o.any = accused, true
	if any && last.Compare(accused) >= 0 {
		return fmt.Errorf("there is one piece of evidence against each origin, in their order; this one is against %v", accused)
	}
	return nil
}

// Entry takes the next entry.
func (o *EntryFileOrder) Entry(e *Entry) error {
	last := o.place
	o.place = e.Citation()
	if last.Height > 0 && last.compareCanonical(&o.place) >= 0 {
		return fmt.Errorf("entries are in canonical order; entry %d of %v, %s, stands after entry %d of %v, %s",
			e.Header.Seq, e.Header.Origin, e.Hash.Beside(last.Hash), last.Seq, last.Origin, last.Hash.Beside(e.Hash))
	}
	return nil
}

// ErrEntryFile is wrapped by every error about the form of an entry file: not one, cut short, or damaged.
var ErrEntryFile = errors.New("damaged entry file")

// EntryFileReader reads an entry file. Memory is bounded by [MaxGenesis] and [MaxItem], whatever the file says.
type EntryFileReader struct {
	r        *bufio.Reader
	sum      hash.Hash
	genesis  *Genesis
	version1 bool
	last     ItemKind
	count    uint64
	offset   int64 // of the next byte, from the start of the file
	buf      []byte
	err      error
}

// NewEntryFileReader reads the start of an entry file up to and including its genesis document.
func NewEntryFileReader(r io.Reader) (*EntryFileReader, error) {
	f := &EntryFileReader{r: bufio.NewReaderSize(r, 256<<10), sum: sha256.New()}
	magic, err := f.take(len(entryFileMagic))
	if err != nil && !errors.Is(err, ErrEntryFile) {
		return nil, err
	}
	switch {
	case err != nil || !IsEntryFile(magic):
		return nil, fmt.Errorf("%w: does not begin with %q", ErrEntryFile, entryFileMagic)
	case string(magic) != entryFileMagic && string(magic) != entryFileMagic1:
		return nil, fmt.Errorf("%w: it begins with %q; this version of pyvnode reads %q and %q", ErrEntryFile, magic, entryFileMagic, entryFileMagic1)
	}
	f.version1 = string(magic) == entryFileMagic1
	raw, err := f.frame(MaxGenesis)
	if err != nil {
		return nil, err
	}
	if f.genesis, err = ParseGenesis(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntryFile, err)
	}
	return f, nil
}

// IsEntryFile reports whether the first bytes of a file are those of an entry file, of whatever version.
func IsEntryFile(start []byte) bool { return bytes.HasPrefix(start, []byte(entryFileStart)) }

// Genesis returns the genesis document that the file carries.
func (f *EntryFileReader) Genesis() *Genesis { return f.genesis }

// Offset returns how many bytes have been read.
func (f *EntryFileReader) Offset() int64 { return f.offset }

// Next returns the next item, whose bytes are valid until the next call. After the last one and a right trailer it
// returns [io.EOF]; all other errors wrap [ErrEntryFile] or come from the underlying reader, and are final.
func (f *EntryFileReader) Next() (ItemKind, []byte, error) {
	if f.err != nil {
		return 0, nil, f.err
	}
	kind, item, err := f.item()
	if err != nil {
		f.err = err
		return 0, nil, err
	}
	f.last = kind
	f.count++
	return kind, item, nil
}

func (f *EntryFileReader) item() (ItemKind, []byte, error) {
	raw, err := f.frame(1 + MaxItem)
	if err == nil && len(raw) == 0 {
		err = cmp.Or(f.trailer(), io.EOF)
	}
	if err != nil {
		return 0, nil, err
	}
	kind := EntryItem
	if !f.version1 {
		kind, raw = ItemKind(raw[0]), raw[1:]
	}
	switch {
	case kind != EvidenceItem && kind != EntryItem:
		err = fmt.Errorf("%w: an item of unknown kind %d", ErrEntryFile, kind)
	case kind < f.last:
		err = fmt.Errorf("%w: evidence behind entries", ErrEntryFile)
	case kind == EntryItem && len(raw) > MaxEntry:
		err = fmt.Errorf("%w: an entry of %d bytes, %d are allowed", ErrEntryFile, len(raw), MaxEntry)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%w, before byte %d", err, f.offset)
	}
	return kind, raw, nil
}

func (f *EntryFileReader) trailer() error {
	count, err := f.take(8)
	if err != nil {
		return err
	}
	if stated := binary.BigEndian.Uint64(count); stated != f.count {
		return fmt.Errorf("%w: trailer counts %d items, the file has %d", ErrEntryFile, stated, f.count)
	}
	want := f.sum.Sum(nil)
	got, err := f.take(sha256.Size)
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("%w: its SHA-256 is %x, the trailer says %x", ErrEntryFile, want, got)
	}
	if _, err := f.r.ReadByte(); err != nil && err != io.EOF {
		return fmt.Errorf("behind the trailer: %w", err)
	} else if err == nil {
		return fmt.Errorf("%w: bytes after the trailer at %d", ErrEntryFile, f.offset)
	}
	return nil
}

// frame reads one length-prefixed frame.
func (f *EntryFileReader) frame(limit int) ([]byte, error) {
	var length uint64
	for shift := 0; ; shift += 7 {
		b, err := f.take(1)
		if err != nil {
			return nil, err
		}
		if shift > 21 || b[0] == 0 && shift > 0 {
			return nil, fmt.Errorf("%w: bad length before byte %d", ErrEntryFile, f.offset)
		}
		length |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
	}
	if length > uint64(limit) {
		return nil, fmt.Errorf("%w: length of %d bytes before byte %d is over the limit of %d", ErrEntryFile, length, f.offset, limit)
	}
	return f.take(int(length))
}

func (f *EntryFileReader) take(n int) ([]byte, error) {
	if cap(f.buf) < n {
		f.buf = make([]byte, max(n, 4096))
	}
	buf := f.buf[:n]
	m, err := io.ReadFull(f.r, buf)
	f.offset += int64(m)
	f.sum.Write(buf[:m])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%w: cut short at byte %d", ErrEntryFile, f.offset)
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", f.offset, err)
	}
	return buf, nil
}
