package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// knownKind refuses a kind that there is nothing of, in the words of two groups of commands.
func (s *session) knownKind(kind, unknown string) (reply, bool) {
	switch {
	case looksLikePath(kind):
		return refuse("No Access to directory.", kind), false
	case ledger.CheckKind(kind) != nil || !s.server.ledger.Known(kind):
		return refuse(unknown, kind), false
	}
	return reply{}, true
}

// looksLikePath reports whether a kind would lead out of the directory of kinds that the original has. Here kinds are no
// directories; the reply is the same.
func looksLikePath(kind string) bool {
	return strings.HasPrefix(kind, "/") || kind == ".." || strings.HasPrefix(kind, "../") || strings.Contains(kind, "/..")
}

const (
	noDirectory     = "Directory does not exist."
	noKindDirectory = "Blockchain 'kind' directory does not exist."
)

// rput puts a record into the ledger. OK means that it is durable.
func (s *session) rput(ctx context.Context, in request) reply {
	kind := in.text(0)
	if looksLikePath(kind) {
		return refuse("No Access to directory.", kind)
	}
	if err := ledger.CheckKind(kind); err != nil {
		return refuse("A kind is 1 to 64 letters, digits, '_', '-' or '.', not saved", kind)
	}
	const noHeader = "Header must be a valid UUID, not saved"
	fields, isDict := in.args[1].(*record.Dict)
	if !isDict {
		return refuse(noHeader, in.name)
	}
	hops, isCount := Hops(fields)
	if !isCount {
		return refuse("Replicated must be a small whole number, not saved", in.name)
	}
	header, _ := fields.Get(record.Text(record.KeyHeader))
	if !originalForm(header) {
		return refuse("Header must be a UUID in small letters, with hyphens, not saved", in.name)
	}
	if !hasTimes(fields) {
		// The original makes the times that are missing, and finds that the hash is not over them.
		return refuse("Error on block hash.", in.name)
	}
	packed, err := record.AppendPack(nil, fields)
	if err == nil {
		err = s.server.ledger.Put(ctx, kind, packed, hops)
	}
	var bad *record.Error
	var refused *RefusedError
	switch {
	case err == nil:
		return ok("Blockchain data added.", header)
	case errors.Is(err, ErrDuplicate):
		return refuse("Duplicate block, not saved.", header, s.position(ctx, kind, header))
	case errors.Is(err, ErrConflict):
		return refuse("Duplicate header of a record with other content, not saved.", header, 0)
	case errors.As(err, &refused):
		return refuse("Not saved: "+refused.Reason, in.name)
	case !errors.As(err, &bad):
		return s.internal("ledger", err)
	}
	switch bad.Reason {
	case record.BadHeader, record.NotRecord:
		return refuse(noHeader, in.name)
	case record.HashMismatch, record.MissingHash:
		return refuse("Error on block hash.", in.name)
	case record.WeakProof, record.MissingProof:
		proof, _ := fields.Get(record.Text(record.KeyProof))
		text, _ := proof.(record.Text)
		return refuse(fmt.Sprintf("Insufficient hash strength (%d)", record.Strength(string(text))), in.name)
	case record.ProofMismatch:
		return refuse("Error on block PROW.", in.name)
	case record.LinkMismatch:
		return refuse("Error on block link.", in.name)
	case record.TooLarge:
		return refuse(fmt.Sprintf("The record is larger than %d bytes, not saved", record.MaxRecord), in.name)
	}
	return refuse("Not saved: "+bad.Detail, in.name)
}

// position is the place of a record that is held already. It is 0 if the record is held in another
// place.
func (s *session) position(ctx context.Context, kind string, header record.Value) int {
	text, _ := header.(record.Text)
	id, isHeader := canonicalHeader(string(text))
	if !isHeader {
		return 0
	}
	n, err := s.server.ledger.Position(ctx, kind, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Error("the position of a record was not found", "kind", kind, "error", err)
	}
	return int(n)
}

// originalForm reports whether a header is written in the one way in which the ledger names records, if it is a UUID at all.
// The original takes others and knows a record by its header's text, so that one UUID can name several.
func originalForm(header record.Value) bool {
	text, _ := header.(record.Text)
	id, err := uuid.Parse(string(text))
	return err != nil || id.String() == string(text)
}

// timeKeys are when a record was made, in three forms. All that the original makes has them.
var timeKeys = []record.Text{record.KeyNow, record.KeyStamp, record.KeyISO}

// hasTimes reports whether a record has all that the original needs: one without can go to no original server.
func hasTimes(fields *record.Dict) bool {
	for _, key := range timeKeys {
		if _, has := fields.Get(key); !has {
			return false
		}
	}
	return true
}

// Hops reads how often a record was sent on, which nothing in it vouches for.
func Hops(fields *record.Dict) (uint32, bool) {
	v, found := fields.Get(record.Text(record.KeyReplicated))
	if !found {
		return 0, true
	}
	n, isInt := v.(record.Int)
	if !isInt {
		return 0, false
	}
	hops, fits := n.Int64()
	return uint32(hops), fits && hops >= 0 && hops <= math.MaxInt16
}

func (s *session) rsize(ctx context.Context, in request) reply {
	kind := in.text(0)
	if r, known := s.knownKind(kind, noDirectory); !known {
		return r
	}
	n, err := s.server.ledger.Count(ctx, kind)
	if err != nil {
		return s.internal("ledger", err)
	}
	return ok(int(n), "records")
}

func (s *session) rlist(ctx context.Context, in request) reply {
	kind, from, to, r, fine := s.span(in)
	if !fine {
		return r
	}
	headers, more, err := s.server.ledger.Between(ctx, kind, from, to, MaxListed)
	if err != nil {
		return s.internal("ledger", err)
	}
	if more {
		return refuse("Too many records, narrow date range.", kind)
	}
	texts := make([]string, len(headers))
	for i, h := range headers {
		texts[i] = h.String()
	}
	return ok(texts)
}

func (s *session) rcount(ctx context.Context, in request) reply {
	kind, from, to, r, fine := s.span(in)
	if !fine {
		return r
	}
	n, err := s.server.ledger.CountBetween(ctx, kind, from, to)
	if err != nil {
		return s.internal("ledger", err)
	}
	return ok(int(n), "records")
}

// span reads the arguments of rlist and rcount.
func (s *session) span(in request) (kind string, from, to float64, r reply, fine bool) {
	kind = in.text(0)
	if r, known := s.knownKind(kind, noDirectory); !known {
		return "", 0, 0, r, false
	}
	from, isFrom := seconds(in.args[1])
	to, isTo := seconds(in.args[2])
	if !isFrom || !isTo {
		return "", 0, 0, failed("a time is a number of seconds since 1970"), false
	}
	return kind, from, to, reply{}, true
}

func (s *session) rhave(ctx context.Context, in request) reply {
	kind := in.text(0)
	if r, known := s.knownKind(kind, noKindDirectory); !known {
		return r
	}
	header, isHeader := canonicalHeader(in.text(1))
	if !isHeader {
		return refuse("Data not found.", in.args[1])
	}
	_, err := s.server.ledger.Get(ctx, kind, header)
	switch {
	case errors.Is(err, ErrNotFound):
		return refuse("Data not found.", in.args[1])
	case err != nil:
		return s.internal("ledger", err)
	}
	return ok("Data found", in.args[1])
}

// canonicalHeader reads a header as records have it: 36 characters, in lower case.
func canonicalHeader(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && id.String() == text
}

// rget returns records by their headers: one, a list of them, or several in one text.
func (s *session) rget(ctx context.Context, in request) reply {
	kind := in.text(0)
	if r, known := s.knownKind(kind, noKindDirectory); !known {
		return r
	}
	var headers []record.Value
	echo := in.args[1]
	switch v := in.args[1].(type) {
	case record.Text:
		words := record.List{}
		for _, word := range strings.Fields(string(v)) {
			words = append(words, record.Text(word))
		}
		headers, echo = words, words
	case record.List:
		headers = v
	case record.Tuple:
		headers = v
	default:
		return refuse("Header must be a real UUID.", echo)
	}
	texts := make([]string, len(headers))
	for i, h := range headers {
		text, _ := h.(record.Text)
		if _, err := uuid.Parse(string(text)); err != nil {
			return refuse("Header must be a real UUID.", echo)
		}
		texts[i] = string(text)
	}
	found := newFound(len(headers))
	for _, text := range texts {
		header, isHeader := canonicalHeader(text)
		if !isHeader {
			return refuse("Data not found.", text)
		}
		r, err := s.server.ledger.Get(ctx, kind, header)
		if errors.Is(err, ErrNotFound) {
			return refuse("Data not found.", text)
		}
		if err := found.add(r, err); err != nil {
			return s.foundError(err)
		}
	}
	return found.reply()
}

// rabs returns records by their positions.
func (s *session) rabs(ctx context.Context, in request) reply {
	kind := in.text(0)
	if r, known := s.knownKind(kind, noKindDirectory); !known {
		return r
	}
	positions := make([]int64, len(in.args)-1)
	for i, v := range in.args[1:] {
		n, isInteger := Integer(v)
		if !isInteger {
			return failed("a position is a whole number")
		}
		positions[i] = n
	}
	size, err := s.server.ledger.Count(ctx, kind)
	if err != nil {
		return s.internal("ledger", err)
	}
	count := int64(size)
	found := newFound(len(positions))
	for _, n := range positions {
		at := n
		if n < 0 {
			at += count
		}
		if at < 0 || at >= count {
			return refuse("Record not found.", int(n))
		}
		r, err := s.server.ledger.At(ctx, kind, uint64(at))
		if errors.Is(err, ErrNotFound) {
			return refuse("Record not found.", int(n))
		}
		if err := found.add(r, err); err != nil {
			return s.foundError(err)
		}
	}
	return found.reply()
}

// found gathers the records of a reply, within bounds.
type found struct {
	items record.List
	bytes int
}

func newFound(capacity int) *found {
	return &found{items: make(record.List, 0, min(capacity, MaxListed))}
}

var errManyRecords = errors.New("too many records for a reply")

func (f *found) add(r Record, err error) error {
	if err != nil {
		return err
	}
	packed, err := ClientForm(r)
	if err != nil {
		return err
	}
	if f.bytes += len(packed); f.bytes > maxReplyRecords {
		return errManyRecords
	}
	f.items = append(f.items, list(record.Bytes(r.Header.String()), packed))
	return nil
}

func (f *found) reply() reply { return ok(len(f.items), "records", f.items) }

func (s *session) foundError(err error) reply {
	if errors.Is(err, errManyRecords) {
		return tooLong()
	}
	return s.internal("ledger", err)
}

// clientOrder is the order in which original clients write the fields of a record, and so get them back. What else there
// is follows in sorted order.
var clientOrder = []record.Text{
	record.KeyHeader, record.KeyPayload, record.KeyNow, record.KeyStamp, record.KeyISO, record.KeyReplicated,
	record.KeyHash, record.KeyPowRand, record.KeyProof, record.KeyPrevHash, record.KeyLink,
}

// ClientForm packs a record as an original client wrote it and an original server stores it, with the count of how often
// it was sent on.
func ClientForm(r Record) ([]byte, error) {
	fields, err := ClientFields(r)
	if err != nil {
		return nil, err
	}
	return record.AppendPack(make([]byte, 0, len(r.Packed)+16), fields)
}

// ClientFields is [ClientForm] before it is packed.
func ClientFields(r Record) (*record.Dict, error) {
	parsed, err := record.Parse(r.Packed)
	if err != nil {
		return nil, err
	}
	stored := parsed.Dict()
	stored.Set(record.Text(record.KeyReplicated), record.NewInt(int64(r.Hops)))
	var out record.Dict
	for _, key := range clientOrder {
		if v, has := stored.Get(key); has {
			out.Set(key, v)
		}
	}
	for key, v := range stored.All() {
		out.Set(key, v) // keys that are there keep their place
	}
	return &out, nil
}

// rcheck reads every record of a kind from the ledger and checks it: its hash, its proof of work, or whether it is a
// record at all, in the form in which records are stored. One check goes on at a time.
func (s *session) rcheck(ctx context.Context, in request) reply {
	kind := in.text(0)
	what, _ := in.args[1].(record.Text)
	faulty, isCheck := recordChecks[what]
	if !isCheck {
		return refuse("One of 'proof' or 'hash' or 'data' is required.", in.name)
	}
	if r, known := s.knownKind(kind, noDirectory); !known {
		return r
	}
	select {
	case s.server.checking <- struct{}{}:
		defer func() { <-s.server.checking }()
	default:
		return refuse("Another check is under way, try again later.", in.name)
	}
	ctx, stop := s.watch(ctx)
	defer stop()
	strength := s.server.ledger.Strength(kind)
	var checker record.Checker
	bad := record.List{}
	total, faults := 0, 0
	for r, err := range s.server.ledger.All(ctx, kind) {
		if ctx.Err() != nil {
			return failed("the check was cut short")
		}
		if err != nil {
			return s.internal("check of "+kind, err)
		}
		if faulty(&checker, r, strength) {
			if faults++; len(bad) < maxFailedPositions {
				bad = append(bad, record.NewInt(int64(total)))
			}
		}
		total++
	}
	if faults > 0 {
		s.log.Error("the check of a kind found damaged records", "kind", kind, "check", string(what), "faults", faults, "records", total)
		return refuse(bad, faults, "errors", what, total, "total")
	}
	return ok("No errors.", what, total, "total")
}

// recordChecks are what `rcheck` can look at. Each reports whether a record is at fault there.
var recordChecks = map[record.Text]func(c *record.Checker, r Record, strength int) bool{
	"hash": func(c *record.Checker, r Record, strength int) bool {
		_, err := c.Check(r.Packed, strength)
		return err != nil && !onlyFails(err, record.WeakProof, record.ProofMismatch, record.MissingProof, record.LinkMismatch)
	},
	"proof": func(c *record.Checker, r Record, strength int) bool {
		_, err := c.Check(r.Packed, strength)
		if err == nil || onlyFails(err, record.LinkMismatch) {
			return false
		}
		if !onlyFails(err, record.HashMismatch, record.MissingHash) {
			return true
		}
		// The hash is wrong; the proof does not depend on it.
		parsed, err := record.Parse(r.Packed)
		if err != nil {
			return true
		}
		want, err := parsed.ComputeProof()
		got, _ := parsed.Get(record.KeyProof)
		return err != nil || got != record.Text(want) || record.Strength(want) < strength
	},
	"data": func(c *record.Checker, r Record, strength int) bool {
		parsed, err := record.Parse(r.Packed)
		if err != nil {
			return true
		}
		normal, err := parsed.Normal()
		if err != nil || !bytes.Equal(normal, r.Packed) || parsed.Payload() == nil {
			return true
		}
		header, err := parsed.Header()
		return err != nil || header != r.Header
	},
}

// onlyFails reports whether the first failure of a record is one of some reasons. Failures come in the order of header,
// hash, strength, proof and link.
func onlyFails(err error, reasons ...record.Reason) bool {
	first := record.ReasonOf(err)
	for _, r := range reasons {
		if first == r {
			return true
		}
	}
	return false
}
