package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pyvnode/ledger/durable"
)

// When Pebble opens a database it replays the write logs that are not in tables yet, and takes the first place of the newest
// one that makes no sense for its end: that is how a log ends that was being written when the power failed. Damage looks the
// same, and everything after it would be gone without a word. So what was acknowledged is noted beside the logs, and at
// opening the newest is read once more before Pebble does.

// AcknowledgedFile is the file of the database's directory that says how many bytes of the newest write log were synced. It
// is one line, ackLength bytes long: the log's number in 12 digits, the bytes in 20, and the CRC-32C of both as they stand
// there, in 8 hex digits. It is written in place after every sync and not synced itself: a crash of the process does not
// touch it, and after a power cut it may say less than was true.
const AcknowledgedFile = "acknowledged"

const ackLength = 12 + 1 + 20 + 1 + 8 + 1

// logMark is how far a write log was synced.
type logMark struct {
	log  uint64
	size int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (m logMark) encode() []byte {
	text := fmt.Appendf(make([]byte, 0, ackLength), "%012d %020d ", m.log, m.size)
	return fmt.Appendf(text, "%08x\n", crc32.Checksum(text, castagnoli))
}

func parseMark(text []byte) (m logMark, err error) {
	if len(text) == ackLength {
		var err1, err2 error
		m.log, err1 = strconv.ParseUint(string(text[:12]), 10, 64)
		m.size, err2 = strconv.ParseInt(string(text[13:33]), 10, 64)
		if err1 == nil && err2 == nil && bytes.Equal(m.encode(), text) {
			return m, nil
		}
	}
	return logMark{}, errors.New("it is not as pyvnode writes it")
}

// readMark reads the note in a database's directory. Without one the mark is zero.
func readMark(files vfs.FS, dir string) (logMark, error) {
	name := files.PathJoin(dir, AcknowledgedFile)
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return logMark{}, nil
	}
	if err != nil {
		return logMark{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, ackLength+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return logMark{}, err
	}
	m, err := parseMark(text)
	if err != nil {
		return m, &durable.DamageError{Path: name, Detail: err.Error()}
	}
	return m, nil
}

// ackNote keeps the note.
type ackNote struct{ f vfs.File }

// openNote opens the note, and makes it if it is missing.
func openNote(files vfs.FS, dir string) (*ackNote, error) {
	name := files.PathJoin(dir, AcknowledgedFile)
	if _, err := files.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := writeNew(files, dir, name, logMark{}.encode()); err != nil {
			return nil, err
		}
	}
	f, err := files.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &ackNote{f}, nil
}

// writeNew makes a file that is there whole or not at all.
func writeNew(files vfs.FS, dir, name string, data []byte) error {
	f, err := files.Create(name+durable.Unfinished+"0", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := files.Rename(name+durable.Unfinished+"0", name); err != nil {
		return err
	}
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (n *ackNote) set(m logMark) error {
	_, err := n.f.WriteAt(m.encode(), 0)
	return err
}

// LogDamageError says that a write log of the database cannot be read as far as it was
// acknowledged. The store does not open for writing: it would put other entries in the places of
// those that are lost.
type LogDamageError struct {
	Path         string
	Offset       int64 // how far it can be read, in bytes
	Acknowledged int64 // how far it was acknowledged, at least, in bytes; 0 if nothing but the database says that it is damaged
	Missing      bool  // the file is not there
}

func (e *LogDamageError) Error() string {
	const lost = "so records that were reported as stored cannot be read"
	switch {
	case e.Missing:
		return fmt.Sprintf("the write log %s is missing: %d bytes of it were acknowledged, %s", e.Path, e.Acknowledged, lost)
	case e.Acknowledged > 0:
		return fmt.Sprintf("the write log %s is damaged at byte %d: at least %d bytes of it were acknowledged, %s", e.Path, e.Offset, e.Acknowledged, lost)
	}
	return fmt.Sprintf("the write log %s is damaged at byte %d, and was ended in order long after that, %s", e.Path, e.Offset, lost)
}

// logNumber returns the number in the name of a write log.
func logNumber(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), ".log")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil
}

// writeLogs returns the names of the write logs in a directory, oldest first.
func writeLogs(files vfs.FS, dir string) ([]string, error) {
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, ok := logNumber(name)
		return !ok
	})
	slices.SortFunc(names, func(a, b string) int {
		x, _ := logNumber(a)
		y, _ := logNumber(b)
		return cmp.Compare(x, y)
	})
	return names, nil
}

// checkNewestLog reads the newest write log and compares it with what was acknowledged. It returns
// the log's name, "" if there is no log, and how far it can be read. Pebble itself checks older
// logs up to their ends, which it wrote in order.
func checkNewestLog(files vfs.FS, dir string, mark logMark) (newest string, end int64, err error) {
	names, err := writeLogs(files, dir)
	if err != nil {
		return "", 0, err
	}
	number := uint64(0)
	if len(names) > 0 {
		newest = names[len(names)-1]
		number, _ = logNumber(newest)
	}
	if mark.log > number {
		path := files.PathJoin(dir, fmt.Sprintf("%06d.log", mark.log))
		return "", 0, &LogDamageError{Path: path, Acknowledged: mark.size, Missing: true}
	}
	if newest == "" {
		return "", 0, nil
	}
	path := files.PathJoin(dir, newest)
	end, promised, err := readLogFile(files, path)
	if mark.log == number {
		promised = max(promised, mark.size)
	}
	if err == nil && promised > end {
		err = &LogDamageError{Path: path, Offset: end, Acknowledged: promised}
	}
	return newest, end, err
}

func readLogFile(files vfs.FS, path string) (end, promised int64, err error) {
	f, err := files.Open(path)
	if err != nil {
		return 0, 0, err
	}
	number, _ := logNumber(path)
	end, promised, err = scanLog(f, uint32(number))
	return end, promised, errors.Join(err, f.Close())
}

// Pebble's write log, as its package record describes it: blocks of 32 KiB, and in them chunks, each with a CRC-32C (masked),
// its length, a type and the low half of the log's number. Chunks of the newer types say up to which byte the log had been
// synced when they were made.
const (
	logBlock = 32 << 10

	chunkHeader     = 4 + 2 + 1 + 4
	syncChunkHeader = chunkHeader + 8

	chunkFull     = 5 // the first of the types with the log's number
	chunkSyncFull = 9 // the first of those that say what was synced
	chunkTypes    = 13
)

// scanLog returns how far a write log can be read without a gap, and how far it was synced, as its
// intact chunks say, those after a gap too. If the second is greater, what is between was durable
// and is damaged. If it is not, the gap may be what a power cut left: what had not been synced
// reaches the disk in any order.
func scanLog(r io.Reader, number uint32) (end, promised int64, err error) {
	block := make([]byte, logBlock)
	gap := false
	for at := int64(0); ; at += logBlock {
		n, err := io.ReadFull(r, block)
		if errors.Is(err, io.EOF) {
			return end, promised, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return end, promised, err
		}
		for i := 0; i < n; {
			rest := block[i:n]
			length, synced := parseChunk(rest, number)
			switch {
			case length > 0:
				i += length
				promised = max(promised, synced)
			case !gap && isTrailer(rest, number):
				return at + int64(i) + chunkHeader, promised, nil // the log was ended in order
			case at+int64(i)+syncChunkHeader > at+logBlock && allZero(rest):
				i = n // no room for another chunk
			default:
				if !gap {
					gap, end = true, at+int64(i)
				}
				i++ // a chunk may begin anywhere after it
			}
			if !gap {
				end = at + int64(i)
			}
		}
	}
}

// parseChunk returns the length in bytes of the chunk at the beginning, 0 if there is none, and how
// far that chunk says that the log was synced.
func parseChunk(b []byte, number uint32) (length int, synced int64) {
	if len(b) < chunkHeader || b[6] < chunkFull || b[6] >= chunkTypes || binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, 0
	}
	header := chunkHeader
	if b[6] >= chunkSyncFull {
		header = syncChunkHeader
	}
	length = header + int(binary.LittleEndian.Uint16(b[4:]))
	if length > len(b) || binary.LittleEndian.Uint32(b) != maskedCRC(b[6:length]) {
		return 0, 0
	}
	if header == syncChunkHeader {
		synced = int64(min(binary.LittleEndian.Uint64(b[chunkHeader:]), math.MaxInt64))
	}
	return length, synced
}

// isTrailer reports whether a log ends here in order: with an empty chunk of the next log, without checksum.
func isTrailer(b []byte, number uint32) bool {
	return len(b) >= chunkHeader && allZero(b[:6]) && b[6] == chunkFull && binary.LittleEndian.Uint32(b[7:]) == number+1
}

// maskedCRC is the checksum of a chunk: CRC-32C, changed so that a CRC of bytes that hold CRCs is no weaker.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
