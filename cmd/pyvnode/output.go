package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/node"
)

func (a *app) json() bool { return a.cfg.Format() == node.FormatJSON }

// talk prints a sentence for people to standard error.
func (a *app) talk(format string, args ...any) {
	if !a.quiet {
		_, _ = fmt.Fprintf(a.stderr, format+"\n", args...) // nobody depends on it
	}
}

// printJSON prints one value as one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
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

// pairs prints names and values in two columns.
func pairs(w io.Writer, rows ...[2]string) error {
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// columns prints cells in columns of given widths without keeping rows back. A longer cell pushes the others aside.
func columns(w io.Writer, widths []int, cells ...string) error {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(cell)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))))
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// rowsOrNone prints rows under their heads, or says that there are none.
func rowsOrNone(w io.Writer, widths []int, heads []string, rows [][]string) error {
	if len(rows) == 0 {
		_, err := io.WriteString(w, "none\n")
		return err
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
	return printable(out.String()), nil
}

// printable replaces what a terminal would obey rather than show.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else if r > 0xffff {
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		} else {
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
