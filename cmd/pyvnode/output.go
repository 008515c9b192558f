package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/node"
)

func (a *app) json() bool { return a.cfg.Format() == node.FormatJSON }

// talk prints a sentence for people to standard error.
func (a *app) talk(format string, args ...any) {
	if !a.quiet {
		_ = printLine(a.stderr, format, args...) // nobody depends on it
	}
}

// printJSON prints one value as one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(printableWriter{w})
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// buffered calls do with a buffered standard output and flushes it, also when do fails: what was found is shown.
func (a *app) buffered(do func(w io.Writer) error) error {
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	err := do(w)
	if flushing := w.Flush(); err == nil {
		err = flushing
	}
	return err
}

// printLine prints a line. What is in it stays on it, whoever chose it.
func printLine(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, printable(fmt.Sprintf(format, args...))+"\n")
	return err
}

// pairs prints names and values in two columns. A value goes on below itself where it is too long for its line.
func pairs(w io.Writer, rows ...[2]string) error {
	width := 0
	for _, r := range rows {
		width = max(width, columnsOf(printable(r[0])))
	}
	var l layout
	for _, r := range rows {
		l.put(0, printable(r[0]))
		l.put(width+columnGap, printable(r[1]))
		l.end()
	}
	return l.writeTo(w)
}

// columns prints cells in columns of given widths without keeping rows back. A cell that is too long for its column pushes
// the others to the next line, where they begin as they would have.
func columns(w io.Writer, widths []int, cells ...string) error {
	var l layout
	at := 0
	for i, cell := range cells {
		l.put(at, printable(cell))
		at += widths[i] + columnGap
	}
	l.end()
	return l.writeTo(w)
}

// indented prints a line that belongs to the row above it.
func indented(w io.Writer, text string) error {
	var l layout
	l.put(columnGap, printable(text))
	l.end()
	return l.writeTo(w)
}

// rowsOrNone prints rows under their heads, or says that there are none.
func rowsOrNone(w io.Writer, widths []int, heads []string, rows [][]string) error {
	if len(rows) == 0 {
		return printLine(w, "none")
	}
	for _, row := range append([][]string{heads}, rows...) {
		if err := columns(w, widths, row...); err != nil {
			return err
		}
	}
	return nil
}

// plural returns a number with the right form of a noun.
func plural[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// The layouts of times that people read.
const (
	layoutUTC   = "2006-01-02 15:04:05 UTC"
	layoutLocal = "2006-01-02 15:04:05 -07:00"
)

func utc(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(layoutUTC)
}

// shortUTC is for columns whose head says that times are in UTC.
func shortUTC(t time.Time) string { return strings.TrimSuffix(utc(t), " UTC") }

func utcAndLocal(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(layoutUTC) + " (local " + t.Local().Format(layoutLocal) + ")"
}

// jsonTime is a time in JSON: RFC 3339 in UTC with milliseconds, absent when zero.
func jsonTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func place(h *ledger.Header) string { return fmt.Sprintf("%v/%d", h.Origin, h.Seq) }

// prettyRecord returns a record as indented JSON for people, with everything that could move a terminal's cursor
// written as an escape.
func prettyRecord(r *record.Record) (string, error) {
	raw, err := r.MarshalJSON()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return "", err
	}
	return printableLines(out.String()), nil
}

// rawOut returns standard output for what is printed to the byte; on a terminal, which would obey some bytes, for what is
// like it.
func (a *app) rawOut() io.Writer {
	if isTerminal(a.stdout) {
		return printableWriter{a.stdout}
	}
	return a.stdout
}
