package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Everything that people see goes through printable: names of networks, kinds, payloads, what peers say, names of files.
// Others chose such text, and a terminal obeys some of it. What is written here, cell by cell and line by line, calls it
// itself, so that no caller has to think of it.

// screen is how many columns what is printed takes at most; longer is only what cannot be broken.
const screen = 80

// maxMarks is how many marks may stand on one letter. No script needs more, and piles of them reach into other lines.
const maxMarks = 6

// printable returns a text that stays on its line and shows all there is: what a terminal would obey, not show, or show in
// another order is written as JSON escapes it, and bytes that are not UTF-8 as \xff. So JSON stays the same JSON.
func printable(text string) string {
	marks := maxMarks // a mark with nothing before it would stand on what is not of this text
	odd := func(r rune) bool {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
			marks++
			return marks > maxMarks || hidden(r)
		case r == ' ':
			marks = maxMarks
			return false
		}
		if marks = 0; !unicode.IsPrint(r) || hidden(r) {
			marks = maxMarks
			return true
		}
		return false
	}
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = ' ' <= text[i] && text[i] <= '~'
	}
	if plain {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			_, _ = fmt.Fprintf(&b, `\x%02x`, text[i])
		case !odd(r):
			b.WriteString(text[i : i+size])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

// hidden reports whether a character that counts as printable shows nothing.
func hidden(r rune) bool {
	const brailleBlank = '\u2800'
	return r == brailleBlank || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// printableLines is printable for a text whose line breaks are to stay.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return strings.Join(lines, "\n")
}

// printableWriter makes all that is written through it printable, line breaks apart. Each Write is text by itself.
type printableWriter struct{ io.Writer }

func (w printableWriter) Write(text []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, printableLines(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// columnsOf returns how many columns of a terminal a printable text takes.
func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		default:
			n++
			if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
				n++
			}
		}
	}
	return n
}

// wrap breaks a text at spaces into lines of at most so many columns. What has no space is not broken.
func wrap(text string, columns int) []string {
	if columnsOf(text) <= columns {
		return []string{text}
	}
	var lines []string
	line, used := "", 0
	for word := range strings.SplitSeq(text, " ") {
		switch n := columnsOf(word); {
		case line != "" && used+1+n > columns:
			lines = append(lines, strings.TrimRight(line, " "))
			line, used = word, n
		case line == "" && used == 0:
			line, used = word, n
		default:
			line, used = line+" "+word, used+1+n
		}
	}
	return append(lines, line)
}

// layout fills lines of a screen with pieces that each have a column to begin at.
type layout struct {
	b    strings.Builder
	used int // columns of the last line
}

// columnGap is how many spaces are between two columns.
const columnGap = 2

// minIndent is how far in a line begins at least that goes on with the one before.
const minIndent = 2

// put writes a printable text at a column, or on a new line where something stands there already. It is broken at spaces
// where it is too long; what still is begins further to the left, on a line of its own.
func (l *layout) put(column int, text string) {
	if text == "" {
		return
	}
	lines := wrap(text, screen-column)
	first := columnsOf(lines[0])
	if l.used > 0 && (l.used+columnGap > column || column+first > screen) {
		l.end()
	}
	for i, line := range lines {
		if i > 0 {
			l.end()
		}
		at := column
		if n := columnsOf(line); at+n > screen && at > 0 {
			at = min(at, 2*minIndent)
			if at+n > screen {
				at = min(at, minIndent)
			}
		}
		l.b.WriteString(strings.Repeat(" ", at-l.used))
		l.b.WriteString(line)
		l.used = at + columnsOf(line)
	}
}

// end ends a line.
func (l *layout) end() {
	l.b.WriteByte('\n')
	l.used = 0
}

func (l *layout) writeTo(w io.Writer) error {
	_, err := io.WriteString(w, l.b.String())
	return err
}
