package replicate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/client"
)

// A syncSide asks a server about the records of a kind. Errors that are a [*client.RefusedError] are about what was asked
// for; when the login is what is wrong, or the connection, they are a [deniedError] or others.
type syncSide struct {
	Caller
	kind string
}

// syncBatch is how many records are asked for at once, unless the reply gets too long.
const syncBatch = 32

var (
	errTooManyListed = errors.New("more headers than a reply holds")
	errGone          = errors.New("there is no record at this position")
)

// deniedError is a refusal that has nothing to do with a record, so that it is no use to go on.
type deniedError struct{ *client.RefusedError }

func (e *deniedError) Unwrap() error { return e.RefusedError }

// refusal returns the refusal that an error is, unless it is a deniedError.
func refusal(err error) *client.RefusedError {
	refused, _ := err.(*client.RefusedError)
	return refused
}

// says reports whether a reply has one of some words, which are how servers tell refusals apart.
func says(err error, words ...string) bool {
	for _, word := range words {
		if strings.Contains(err.Error(), word) {
			return true
		}
	}
	return false
}

// ask is Do for commands that need no more than a login.
func (s syncSide) ask(ctx context.Context, command string, args ...any) ([]record.Value, error) {
	reply, err := s.Do(ctx, append([]any{command, s.kind}, args...)...)
	if refused := refusal(err); refused != nil && says(err, "Out of Sequence", "cannot use this command", "No Access", "Timeout occured") {
		return nil, &deniedError{refused}
	}
	return client.Items(reply), err
}

// size returns how many records the server has, or [ErrNoKind].
func (s syncSide) size(ctx context.Context) (uint64, error) {
	items, err := s.ask(ctx, "rsize")
	if refusal(err) != nil && says(err, "does not exist") {
		return 0, fmt.Errorf("%w: %s", ErrNoKind, s.kind)
	}
	return number("rsize", items, err)
}

// count returns how many headers have a time in a span.
func (s syncSide) count(ctx context.Context, w syncSpan) (uint64, error) {
	items, err := s.ask(ctx, "rcount", unixSeconds(w.begin), unixSeconds(w.end-1))
	return number("rcount", items, err)
}

func number(command string, items []record.Value, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	if len(items) > 1 {
		if n, ok := legacy.Integer(items[1]); ok && n >= 0 {
			return uint64(n), nil
		}
	}
	return 0, fmt.Errorf("%w: %s without a number", client.ErrReply, command)
}

// list returns the headers whose time is in a window, each once, the latest arrival first. The error may be
// errTooManyListed.
func (s syncSide) list(ctx context.Context, w syncSpan) ([]syncHeader, error) {
	// Servers leave out both ends, and compare times as floating-point numbers: a wider window is asked for.
	items, err := s.ask(ctx, "rlist", unixSeconds(w.begin-syncSlack), unixSeconds(w.end+syncSlack))
	if refusal(err) != nil && says(err, "Too many records") {
		return nil, errTooManyListed
	}
	if err != nil {
		return nil, err
	}
	if len(items) < 2 || client.Items(items[1]) == nil {
		return nil, fmt.Errorf("%w: rlist without a list", client.ErrReply)
	}
	var headers []syncHeader
	var listed headerSet
	for _, item := range client.Items(items[1]) {
		text, ok := item.(record.Text)
		if !ok {
			return nil, fmt.Errorf("%w: rlist with something that is no header", client.ErrReply)
		}
		if h := newSyncHeader(string(text)); h.at >= w.begin && h.at < w.end && listed.add(h.key) {
			headers = append(headers, h)
		}
	}
	return headers, nil
}

// have reports whether the server has a record.
func (s syncSide) have(ctx context.Context, header string) (bool, error) {
	_, err := s.ask(ctx, "rhave", header)
	if refusal(err) != nil { // what it is asked about in a form that it does not know it does not have
		return false, nil
	}
	return err == nil, err
}

// get calls do with the records of headers, in this order, or with why one cannot be read.
func (s syncSide) get(ctx context.Context, headers []syncHeader, do func(h syncHeader, packed []byte, err error) error) error {
	for i, batch := 0, syncBatch; i < len(headers); {
		texts := []string{}
		for _, h := range headers[i:min(i+batch, len(headers))] {
			texts = append(texts, h.text)
		}
		items, err := s.ask(ctx, "rget", texts)
		records, err := packedRecords("rget", len(texts), items, err)
		if refusal(err) != nil && len(texts) > 1 {
			batch = len(texts) / 2
			continue
		}
		if refusal(err) != nil {
			records, err = []packedRecord{{err: err}}, nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := do(headers[i], r.packed, r.err); err != nil {
				return err
			}
			i++
		}
		batch = min(batch+batch/4+1, syncBatch)
	}
	return nil
}

// at returns n records from a position on.
func (s syncSide) at(ctx context.Context, position uint64, n int) ([]packedRecord, error) {
	args := make([]any, n)
	for i := range args {
		args[i] = int64(position) + int64(i)
	}
	items, err := s.ask(ctx, "rabs", args...)
	return packedRecords("rabs", n, items, err)
}

// positions calls do with the records from one position to before another, or with why one cannot be read, which may be
// errGone.
func (s syncSide) positions(ctx context.Context, from, to uint64, do func(at uint64, header string, packed []byte, err error) error) error {
	for at, batch := from, uint64(syncBatch); at < to; {
		length := min(batch, to-at)
		records, err := s.at(ctx, at, int(length))
		if refusal(err) != nil && length > 1 {
			batch = length / 2
			continue
		}
		if refusal(err) != nil {
			if says(err, "Record not found") {
				err = errGone
			}
			records, err = []packedRecord{{err: err}}, nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := do(at, r.header, r.packed, r.err); err != nil {
				return err
			}
			at++
		}
		batch = min(batch+batch/4+1, syncBatch)
	}
	return nil
}

type packedRecord struct {
	header string
	packed []byte
	err    error
}

// packedRecords reads a reply with n records.
func packedRecords(command string, n int, items []record.Value, err error) ([]packedRecord, error) {
	if err != nil {
		return nil, err
	}
	wrong := fmt.Errorf("%w: %s without the records that were asked for", client.ErrReply, command)
	if len(items) < 4 || len(client.Items(items[3])) != n {
		return nil, wrong
	}
	records := make([]packedRecord, n)
	for i, item := range client.Items(items[3]) {
		pair := client.Items(item)
		if len(pair) != 2 {
			return nil, wrong
		}
		header, hasHeader := pair[0].(record.Bytes)
		packed, hasRecord := pair[1].(record.Bytes)
		if !hasHeader || !hasRecord {
			return nil, wrong
		}
		records[i] = packedRecord{header: string(header), packed: []byte(packed)}
	}
	return records, nil
}

// putOutcome is what a server does with a record.
type putOutcome int

const (
	putStored putOutcome = iota
	putHeld
	putConflict
	putRefused
)

// put sends a record. why is what the server says when it refuses it. The errors may be [ErrNotProven] and [ErrPrivate].
func (s syncSide) put(ctx context.Context, fields *record.Dict) (outcome putOutcome, why string, err error) {
	_, err = s.ask(ctx, "rput", fields)
	refused := refusal(err)
	switch {
	case err == nil:
		return putStored, "", nil
	case errors.As(err, new(*deniedError)) && says(err, "Out of Sequence"):
		return 0, "", ErrNotProven
	case refused == nil:
		return 0, "", err
	case says(err, "Duplicate block"):
		return putHeld, "", nil
	case says(err, "Duplicate header"):
		return putConflict, refused.Text(), nil
	case says(err, "never published"):
		return 0, "", fmt.Errorf("%w: %w", ErrPrivate, err)
	}
	return putRefused, refused.Text(), nil
}

// A syncHeader is a header as a server says it.
type syncHeader struct {
	text  string
	key   headerKey
	at    int64 // microseconds since 1970, as the original takes them from a UUID of whatever version; noTime if it is none
	timed bool  // version 1, so at is a time to everybody
}

const noTime = math.MinInt64

func newSyncHeader(text string) syncHeader {
	h := syncHeader{text: text, at: noTime}
	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		sum := sha256.Sum256([]byte(text))
		h.key = headerKey(sum[:])
		return h
	}
	h.key = headerKey(id)
	h.timed = id.Version() == 1 && id.Variant() == uuid.RFC4122
	ticks := int64(id[6]&0x0f)<<56 | int64(id[7])<<48 | int64(id[4])<<40 | int64(id[5])<<32 |
		int64(id[0])<<24 | int64(id[1])<<16 | int64(id[2])<<8 | int64(id[3])
	h.at = micros(ticks)
	return h
}

// micros turns a time as UUIDs have it, in units of 100 ns since 15 October 1582 (RFC 9562 §5.1), into microseconds since
// 1970.
func micros(ticks int64) int64 {
	const epoch = 0x01b21dd213814000
	return (ticks - ticks%10 - epoch) / 10 // the epoch is a whole number of microseconds
}

// headerKey stands for a header: the UUID, or the beginning of the SHA-256 of what is none.
type headerKey [16]byte

// A headerSet is a set of at most maxSyncHeaders headers.
type headerSet struct {
	in      map[headerKey]struct{}
	partial bool // something is not in it that should be
}

func (s *headerSet) has(k headerKey) bool {
	_, in := s.in[k]
	return in
}

// add reports whether the header was not in the set and is now.
func (s *headerSet) add(k headerKey) bool {
	if s.has(k) {
		return false
	}
	if len(s.in) >= maxSyncHeaders {
		s.partial = true
		return false
	}
	if s.in == nil {
		s.in = map[headerKey]struct{}{}
	}
	s.in[k] = struct{}{}
	return true
}

// A syncSpan is a span of time in microseconds since 1970, from begin on and before end.
type syncSpan struct {
	begin, end int64
	all        bool // nobody asked for less
}

// syncSlack is by how much windows are asked for wider than they are, in microseconds. It is more than the error of a
// floating-point number of seconds anywhere in the span of time that UUIDs have.
const syncSlack = 100

var (
	syncEarliest = micros(0)
	syncLatest   = micros(1<<60-1) + 1
	// syncNever is a window in which there is nothing, in 1970.
	syncNever = syncSpan{begin: 0, end: 1}
)

func syncSpanOf(from, to time.Time) syncSpan {
	w := syncSpan{begin: syncEarliest, end: syncLatest, all: from.IsZero() && to.IsZero()}
	if !from.IsZero() {
		w.begin = max(w.begin, from.UnixMicro())
	}
	if !to.IsZero() {
		w.end = min(w.end, to.UnixMicro())
	}
	return w
}

// has reports whether a header belongs to a span. One without a time belongs to all there is only.
func (w syncSpan) has(h syncHeader) bool { return w.all || h.at >= w.begin && h.at < w.end }

func (w syncSpan) String() string { return time.UnixMicro(w.begin).UTC().Format(time.RFC3339Nano) }

func unixSeconds(micros int64) float64 { return float64(micros) / 1e6 }
