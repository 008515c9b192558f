package node

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// Input is one record on its way into the ledger, not yet read.
type Input struct {
	Line int    // where it stands in its source, from 1; 0 where there is only one
	Kind string // as whoever sends it says; empty when the text must say
	Text []byte // see [Lines] for its forms
	Err  error  // why there is no text

	header string // what the record's header must be, unless empty
	offset int64  // where it stands in a chain file
}

// InputReason says, for programs, why a text is not a record with its kind.
type InputReason string

// The reasons of an [*InputError].
const (
	LineTooLong     InputReason = "line-too-long"
	BadLine         InputReason = "bad-line"
	PayloadOnly     InputReason = "payload-only"
	KindMissing     InputReason = "kind-missing"
	KindMismatch    InputReason = "kind-mismatch"
	BadKind         InputReason = "bad-kind"
	ContentMismatch InputReason = "content-id-mismatch"
	RecordTooLong   InputReason = "record-too-long"
	DamagedRecord   InputReason = "damaged-record"
	HeaderMismatch  InputReason = "header-mismatch"
	NotText         InputReason = "not-text"    // a whole file
	NotEntries      InputReason = "not-entries" // likewise
)

// InputError says that a text is not a record with its kind that this network takes.
type InputError struct {
	Reason InputReason
	Detail string
	Hint   string
}

func (e *InputError) Error() string { return e.Detail }

// Lines yields the lines of a text as inputs, in bounded memory. A line is a record as JSON object, an object
// {"kind": …, "record": …} with more of what exports say, or packed text, which begins with "pg ". Empty lines are left
// out, and so is a byte order mark before a line. The error is one of reading, or an [*InputError] where the text is none.
func Lines(r io.Reader, kind string) iter.Seq2[Input, error] {
	return func(yield func(Input, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		if err := checkForm(in); err != nil {
			yield(Input{}, err)
			return
		}
		for n := 1; ; n++ {
			text, tooLong, err := readLine(in)
			if err != nil && err != io.EOF {
				yield(Input{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			text = record.TrimMark(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")))
			switch {
			case tooLong:
				e := &InputError{Reason: LineTooLong, Detail: fmt.Sprintf("longer than %d bytes", ledger.MaxJSONLine)}
				if !yield(Input{Line: n, Kind: kind, Err: e}, nil) {
					return
				}
			case len(bytes.TrimSpace(text)) > 0:
				if !yield(Input{Line: n, Kind: kind, Text: text}, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
		}
	}
}

// checkForm refuses a source whose start says that it is something else than what a node reads. Nothing is consumed, and
// nothing is waited for but the first byte: whoever sends records one by one may wait for what becomes of a short line.
func checkForm(in *bufio.Reader) error {
	if _, err := in.Peek(1); err != nil {
		return ignoreEOF(err)
	}
	start, _ := in.Peek(min(in.Buffered(), record.SourceBytes)) // which is there
	return formError(start)
}

func formError(start []byte) error {
	if what, hint := record.ForeignForm(start); what != "" {
		return &InputError{Reason: NotText, Detail: "it is " + what, Hint: hint}
	}
	return nil
}

// readLine reads a line with its end. Of a line that is too long nothing is kept.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if !tooLong {
			line = append(line, part...)
		}
		if len(line) > ledger.MaxJSONLine {
			line, tooLong = nil, true
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// read finds out kind and packed record of an input. Packed text is as its maker wrote it, and nothing in it was looked at.
func (in Input) read() (kind string, packed []byte, err error) {
	if in.Err == nil && in.isPacked() {
		return in.Kind, in.Text, in.checkKind()
	}
	kind, r, err := in.Record()
	if err != nil {
		return kind, nil, err
	}
	packed, err = r.Normal()
	return kind, packed, err
}

// Record finds out kind and record of an input. The record is as its maker wrote it; its hash and proof are not checked.
func (in Input) Record() (kind string, r *record.Record, err error) {
	if in.Err != nil {
		return in.Kind, nil, in.Err
	}
	if in.isPacked() {
		r, err = record.Parse(in.Text)
	} else {
		in.Kind, r, err = in.readJSON()
	}
	if err == nil {
		err = in.checkKind()
	}
	if err != nil {
		return in.Kind, nil, err
	}
	return in.Kind, r, nil
}

func (in Input) isPacked() bool { return bytes.HasPrefix(in.Text, []byte("pg ")) || in.header != "" }

func (in Input) checkKind() error {
	if in.Kind == "" {
		return &InputError{Reason: KindMissing, Detail: "the record does not say its kind", Hint: "name the kind with --kind"}
	}
	if err := ledger.CheckKind(in.Kind); err != nil {
		return &InputError{Reason: BadKind, Detail: err.Error()}
	}
	return nil
}

// keptAs refuses a record that its source kept under the header of another.
func (in Input) keptAs(header uuid.UUID) error {
	if in.header != "" && in.header != header.String() {
		return &InputError{Reason: HeaderMismatch, Detail: fmt.Sprintf("it was kept as %q and is %v", shorten(in.header), header)}
	}
	return nil
}

func (in Input) readJSON() (kind string, r *record.Record, err error) {
	var form struct {
		Header json.RawMessage `json:"header"`
		Record json.RawMessage `json:"record"`
	}
	if err := json.Unmarshal(in.Text, &form); err != nil {
		return in.Kind, nil, &InputError{Reason: BadLine, Detail: "neither a JSON object nor packed text: " + record.ExplainJSON(in.Text, err)}
	}
	switch {
	case form.Header != nil:
		r, err = record.ParseJSON(in.Text)
		return in.Kind, r, err
	case form.Record == nil:
		return in.Kind, nil, &InputError{Reason: PayloadOnly,
			Detail: "this is a payload and not a record: it has no header, hash and proof of work",
			Hint:   "make a record of it with: pyvnode mint --payload JSON"}
	}
	l, err := ledger.ParseJSONLine(in.Text)
	var bad *record.Error
	switch {
	case errors.As(err, &bad):
		return in.Kind, nil, err
	case err != nil:
		return in.Kind, nil, &InputError{Reason: BadLine, Detail: err.Error()}
	case in.Kind != "" && in.Kind != l.Kind:
		return l.Kind, nil, &InputError{Reason: KindMismatch, Detail: fmt.Sprintf("the line says kind %q, wanted is %q", l.Kind, in.Kind),
			Hint: "leave out --kind to take every record as the kind that its line says"}
	}
	if l.ContentID != nil {
		id, err := l.Record.ContentID()
		if err != nil {
			return l.Kind, nil, err
		}
		if id != *l.ContentID {
			return l.Kind, nil, &InputError{Reason: ContentMismatch, Detail: fmt.Sprintf("the line says content %v, the record has %v", *l.ContentID, id)}
		}
	}
	return l.Kind, l.Record, nil
}
