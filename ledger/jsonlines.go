package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"pyvnode/ledger/record"
)

// JSONLine is one line of a readable export: a record with its kind, and where it stands in the ledger. A reader needs
// Kind and Record only; what is absent from a line is nil or the zero value. The line carries no signature, so it proves
// that the record is sound, not who published it.
type JSONLine struct {
	Kind      string
	Origin    *Origin
	Seq       *uint64
	Hash      *Hash // of the entry
	Height    uint64
	Time      time.Time // of the entry, in UTC and to milliseconds
	ContentID *record.ContentID
	Disputed  bool // at or after the first place in question of a frozen log
	Record    *record.Record
}

// MaxJSONLine is the greatest length of a line of a readable export in bytes, the line break included.
const MaxJSONLine = record.MaxJSON + 2<<10

// jsonLineTime is RFC 3339 with milliseconds, which is what a header holds.
const jsonLineTime = "2006-01-02T15:04:05.000Z"

// NewJSONLine returns the line of an entry.
func NewJSONLine(e *Entry) (*JSONLine, error) {
	r, err := record.Parse(e.Record)
	if err != nil {
		return nil, fmt.Errorf("entry %d of %v: %w", e.Header.Seq, e.Header.Origin, err)
	}
	id, err := r.ContentID()
	if err != nil {
		return nil, fmt.Errorf("entry %d of %v: %w", e.Header.Seq, e.Header.Origin, err)
	}
	return &JSONLine{
		Kind:      e.Header.Kind,
		Origin:    &e.Header.Origin,
		Seq:       &e.Header.Seq,
		Hash:      &e.Hash,
		Height:    e.Header.Height,
		Time:      EntryTime(&e.Header),
		ContentID: &id,
		Record:    r,
	}, nil
}

// EntryTime returns the time that an entry's author put into it, in UTC; the zero time if that is
// beyond what RFC 3339 can write. No rule depends on it.
func EntryTime(h *Header) time.Time {
	const year10000 = 253402300800000 // Unix milliseconds
	if h.Time >= year10000 {
		return time.Time{}
	}
	return time.UnixMilli(int64(h.Time)).UTC()
}

// AppendJSONLine appends a line with its line break. The order of keys is fixed: kind, origin, seq, hash, height, time,
// content_id, disputed (left out when false), record.
func AppendJSONLine(dst []byte, l *JSONLine) ([]byte, error) {
	if err := CheckKind(l.Kind); err != nil {
		return dst, err
	}
	if l.Record == nil {
		return dst, errors.New("line without a record")
	}
	raw, err := l.Record.MarshalJSON()
	if err != nil {
		return dst, err
	}
	out := append(dst, `{"kind":"`...) // what CheckKind allows needs no escapes, nor do hashes and peer IDs
	out = append(out, l.Kind...)
	out = append(out, '"')
	if l.Origin != nil {
		out = fmt.Appendf(out, `,"origin":"%v"`, l.Origin)
	}
	if l.Seq != nil {
		out = fmt.Appendf(out, `,"seq":%d`, *l.Seq)
	}
	if l.Hash != nil {
		out = fmt.Appendf(out, `,"hash":"%v"`, l.Hash)
	}
	if l.Height > 0 {
		out = fmt.Appendf(out, `,"height":%d`, l.Height)
	}
	if !l.Time.IsZero() {
		out = fmt.Appendf(out, `,"time":"%s"`, l.Time.UTC().Format(jsonLineTime))
	}
	if l.ContentID != nil {
		out = fmt.Appendf(out, `,"content_id":"%v"`, l.ContentID)
	}
	if l.Disputed {
		out = append(out, `,"disputed":true`...)
	}
	out = append(out, `,"record":`...)
	return append(append(out, raw...), "}\n"...), nil
}

// ParseJSONLine reads a line strictly: unknown keys, the same key twice, values out of range and
// anything after the object are refused, so that nothing a line says is passed over in silence. The
// record's hashes are not checked.
func ParseJSONLine(line []byte) (*JSONLine, error) {
	if len(line) > MaxJSONLine {
		return nil, fmt.Errorf("line has %d bytes, more than the limit of %d", len(line), MaxJSONLine)
	}
	line = record.TrimMark(line)
	if !utf8.Valid(line) {
		return nil, errors.New("line is not UTF-8 text")
	}
	l := new(JSONLine)
	seen := map[string]bool{}
	err := eachMember(line, func(key string, value json.RawMessage) error {
		if seen[key] {
			return errors.New("the key is there twice")
		}
		seen[key] = true
		var err error
		switch key {
		case "kind":
			if err = notNull(value, &l.Kind); err == nil {
				err = CheckKind(l.Kind)
			}
		case "origin":
			l.Origin = new(Origin)
			err = notNull(value, l.Origin)
		case "seq":
			l.Seq = new(uint64)
			if err = notNull(value, l.Seq); err == nil && *l.Seq >= MaxSeq {
				err = fmt.Errorf("%d is over the limit of %d", *l.Seq, uint64(MaxSeq))
			}
		case "hash":
			l.Hash = new(Hash)
			err = notNull(value, l.Hash)
		case "height":
			if err = notNull(value, &l.Height); err == nil && (l.Height == 0 || l.Height > MaxHeight) {
				err = fmt.Errorf("%d is not within 1 to %d", l.Height, uint64(MaxHeight))
			}
		case "time":
			var text string
			if err = notNull(value, &text); err == nil {
				if l.Time, err = time.Parse(time.RFC3339, text); err != nil {
					err = fmt.Errorf("%q is not a time: want one like 2026-11-22T18:00:00Z", clip(text, 40))
				}
				l.Time = l.Time.UTC()
			}
		case "content_id":
			l.ContentID = new(record.ContentID)
			err = notNull(value, l.ContentID)
		case "disputed":
			err = notNull(value, &l.Disputed)
		case "record":
			l.Record, err = record.ParseJSON(value)
		default:
			err = errors.New("unknown key; a line has kind, origin, seq, hash, height, time, content_id, disputed and record")
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case l.Kind == "":
		return nil, errors.New(`line without "kind"`)
	case l.Record == nil:
		return nil, errors.New(`line without "record"`)
	}
	return l, nil
}

func notNull(value json.RawMessage, into any) error {
	if string(value) == "null" {
		return errors.New("null is not a value here")
	}
	err := json.Unmarshal(value, into)
	if errors.As(err, new(*json.UnmarshalTypeError)) {
		err = errors.New(record.ExplainJSON(value, err))
	}
	return err
}

// eachMember calls visit for every key and value of the one JSON object in a text.
func eachMember(text []byte, visit func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	badJSON := func(err error) error { return fmt.Errorf("not JSON: %s", record.ExplainJSON(text, err)) }
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return badJSON(err)
		}
		key, _ := tok.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return badJSON(err)
		}
		if err := visit(key, value); err != nil {
			return fmt.Errorf("key %q: %w", clip(key, 40), err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return badJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("text after the JSON object")
	}
	return nil
}
