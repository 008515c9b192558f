// Package journal notes what is done in the name of the party that runs a node: who did what when,
// by which way, to what, and how it ended. It is for the party itself, when it asks later who
// changed a user's roles or took over an old server. Others see the node and hold it to account,
// whatever its journal says.
//
// The journal is the file [File] in the data directory, for its owner alone: one JSON object a
// line, only ever appended to, each line durable before [Journal.Append] returns. Any number of
// processes may append at once, the command line beside a node that runs. A line never holds a
// password, a code, a key or another secret, and never more than [MaxLine] bytes. Texts that others
// chose, such as names that somebody asked for, cannot leave their field or move a terminal's
// cursor: what does not print is escaped.
//
// A crash can leave the beginning of a line at the end of the file. Nobody was told that it is
// noted; it is left out in reading, and ended before the next line. Nothing proves that the file
// was not edited: a user of the machine who can write it owns the node's key too.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"pyvnode/ledger/durable"
)

const (
	// File is the name of the journal in a data directory.
	File = "journal.jsonl"
	// LockFile is the name of the empty file that whoever appends locks.
	LockFile = "journal.lock"
	// MaxLine is the greatest length of a line in bytes, with its end. Longer texts are cut.
	MaxLine = 4096

	maxShort = 300  // bytes of a short text, as it stands in the line
	maxLong  = 1200 // of a long one
)

// Way is how somebody came to do something.
type Way string

// The ways.
const (
	Command  Way = "command"  // a command of pyvnode on the data directory
	Socket   Way = "socket"   // a command through the node that runs
	Original Way = "original" // a client of the original protocol
	Itself   Way = "node"     // the node
)

// The outcomes.
const (
	Done   = "done"
	Failed = "failed"
)

// Entry is a line of the journal.
type Entry struct {
	Time time.Time `json:"time"` // when it ended, in UTC; [Journal.Append] sets it
	Way  Way       `json:"way"`
	// Who did it: on the command line the user of the operating system, in the original protocol the user of the node.
	Who string `json:"who"`
	// From is the address of who came over a network.
	From    string `json:"from,omitempty"`
	What    string `json:"what"`             // such as "user add"
	On      string `json:"on,omitempty"`     // to whom or what it was done
	Detail  string `json:"detail,omitempty"` // such as the roles that were given
	Outcome string `json:"outcome"`          // [Done] or [Failed]
	Error   string `json:"error,omitempty"`  // why it failed
}

// Journal is the journal of a data directory. Its methods may be called concurrently.
type Journal struct {
	dir string
	now func() time.Time
}

// Open returns the journal of a data directory. It reads and creates nothing. A nil now means time.Now.
func Open(dir string, now func() time.Time) (*Journal, error) {
	dir, err := filepath.Abs(dir) // a lock must always be called by the same path
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Journal{dir: dir, now: now}, nil
}

func (j *Journal) path() string { return filepath.Join(j.dir, File) }

// NotNotedError says that something could not be noted. Where Done is set it was done all the same.
type NotNotedError struct {
	Path string
	What string
	Done bool
	Err  error
}

func (e *NotNotedError) Error() string {
	if e.Done {
		return fmt.Sprintf("%s was done, but could not be noted in %s: %v", e.What, e.Path, e.Err)
	}
	return fmt.Sprintf("%s was not done, because it cannot be noted in %s: %v", e.What, e.Path, e.Err)
}

// Unwrap returns why.
func (e *NotNotedError) Unwrap() error { return e.Err }

// Do does something and notes how it ended. When nothing can be noted now it is not done; the error is a [*NotNotedError] then,
// and also where noting failed after all. Every other error is that of do.
func (j *Journal) Do(ctx context.Context, e Entry, do func() error) error {
	f, _, err := j.open()
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return &NotNotedError{Path: j.path(), What: e.What, Err: err}
	}
	err = do()
	return errors.Join(err, j.Note(ctx, e, err))
}

// Note notes how something ended that was done already. The error is a [*NotNotedError].
func (j *Journal) Note(ctx context.Context, e Entry, ended error) error {
	e.Outcome = Done
	if ended != nil {
		e.Outcome, e.Error = Failed, ended.Error()
	}
	// It is over, so it is noted even where whoever asked for it has gone.
	if err := j.Append(context.WithoutCancel(ctx), e); err != nil {
		return &NotNotedError{Path: j.path(), What: e.What, Done: ended == nil, Err: err}
	}
	return nil
}

// open opens the file to append, and makes it where it is missing. It must be a regular file of its owner's alone.
func (j *Journal) open() (f *os.File, info fs.FileInfo, err error) {
	if info, err := os.Lstat(j.path()); err == nil && !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, nil, errors.New("it is no regular file")
	}
	f, err = os.OpenFile(j.path(), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat()
	if err == nil {
		err = durable.CheckPrivate(j.path(), info)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Append adds an entry with the time of now, and returns when it is durable. An append that fails leaves the file as it was, or
// what a crash could leave.
func (j *Journal) Append(ctx context.Context, e Entry) (err error) {
	unlock, err := durable.Lock(ctx, filepath.Join(j.dir, LockFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	f, info, err := j.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e.Time = j.now()
	line, err := encode(e)
	if err != nil {
		return err
	}
	size := info.Size()
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // a crash left the beginning of a line
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(line); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if size == 0 {
		return durable.SyncDir(j.dir)
	}
	return nil
}

// encode returns the line of an entry.
func encode(e Entry) ([]byte, error) {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	for _, text := range []*string{(*string)(&e.Way), &e.Who, &e.From, &e.What, &e.On, &e.Outcome} {
		*text = cut(*text, maxShort)
	}
	e.Detail, e.Error = cut(e.Detail, maxLong), cut(e.Error, maxLong)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	line := append(escape(out.String()), '\n')
	if len(line) > MaxLine {
		return nil, fmt.Errorf("a line of %d bytes", len(line))
	}
	return line, nil
}

// cut makes a text valid UTF-8, and short enough that it takes no more than so many bytes in a line.
func cut(text string, most int) string {
	const end = "…"
	taken, before := 0, 0 // before: where to cut so that end fits
	long := len(text) > most
	if long { // before going through all of it
		at := most
		for at > most-utf8.UTFMax && !utf8.RuneStart(text[at]) {
			at--
		}
		text = text[:at]
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	for i, r := range text {
		if taken <= most-len(end) {
			before = i
		}
		switch {
		case r > 0xffff && !unicode.IsPrint(r):
			taken += 12
		case !unicode.IsPrint(r):
			taken += 6
		case r == '"' || r == '\\':
			taken += 2
		default:
			taken += utf8.RuneLen(r)
		}
		if taken > most {
			return text[:before] + end
		}
	}
	switch {
	case !long:
		return text
	case taken <= most-len(end):
		return text + end
	}
	return text[:before] + end
}

// escape writes what does not print in JSON as escapes. Such characters stand in strings only.
func escape(line string) []byte {
	var out []byte
	for _, r := range strings.TrimSuffix(line, "\n") {
		switch {
		case unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// Query says what to read.
type Query struct {
	Since time.Time // only what ended then or later
	Limit int       // only the newest so many; 0 means all
}

// LineError says that a line of the journal is not as pyvnode writes it. Reading goes on after it.
type LineError struct {
	Line   int // from 1
	Detail string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d of %s: %s", e.Line, File, e.Detail) }

// Read yields entries from the oldest to the newest, in memory for no more than the limit. A [*LineError] is no end; any other
// error is. A journal that is missing is empty.
func (j *Journal) Read(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := os.Open(j.path())
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer func() { _ = f.Close() }() // opened for reading only
		var newest []Entry               // of a limit, as a ring
		next := 0
		for e, err := range lines(ctx, f) {
			switch {
			case err != nil:
				if !yield(Entry{}, err) || !errors.As(err, new(*LineError)) {
					return
				}
			case e.Time.Before(q.Since):
			case q.Limit <= 0:
				if !yield(e, nil) {
					return
				}
			case len(newest) < q.Limit:
				newest = append(newest, e)
			default:
				newest[next] = e
				next = (next + 1) % q.Limit
			}
		}
		for i := range newest {
			if !yield(newest[(next+i)%len(newest)], nil) {
				return
			}
		}
	}
}

// lines reads whole lines. What follows the last end of a line was never said to be noted.
func lines(ctx context.Context, r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in := bufio.NewReaderSize(r, MaxLine)
		for n := 1; ; n++ {
			if ctx.Err() != nil {
				yield(Entry{}, context.Cause(ctx))
				return
			}
			line, err := in.ReadSlice('\n')
			tooLong := errors.Is(err, bufio.ErrBufferFull)
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = in.ReadSlice('\n')
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			var e Entry
			switch {
			case tooLong:
				err = &LineError{n, fmt.Sprintf("it is longer than %d bytes", MaxLine)}
			case json.Unmarshal(line, &e) != nil, e.Time.IsZero(), e.What == "", e.Outcome == "":
				e, err = Entry{}, &LineError{n, "it is not as pyvnode writes it; perhaps a crash cut it off"}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
