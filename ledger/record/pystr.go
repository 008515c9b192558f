package record

import (
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// PythonStr returns what Python's str() gives for v. The proof of work of a
// record is over such text (docs/original-protocol.md §6). Text is bare; inside
// a list, tuple or dict it is quoted, as by repr(). A value nested deeper than
// [MaxDepth], which cannot be packed, ends in "...", and a nil value is
// "None".
func PythonStr(v Value) string { return string(AppendPythonStr(nil, v)) }

// AppendPythonStr appends [PythonStr] of v to dst.
func AppendPythonStr(dst []byte, v Value) []byte {
	if text, ok := v.(Text); ok {
		return append(dst, text...)
	}
	return appendRepr(dst, v, 0)
}

type bracketPair struct{ open, close string }

// brackets returns what Python puts around the n elements of a list or tuple:
// a tuple of one keeps a comma.
func brackets(letter byte, n int) bracketPair {
	switch {
	case letter == 'a':
		return bracketPair{"[", "]"}
	case n == 1:
		return bracketPair{"(", ",)"}
	}
	return bracketPair{"(", ")"}
}

func appendRepr(dst []byte, v Value, depth int) []byte {
	switch v := v.(type) {
	case Int:
		return append(dst, v.String()...)
	case Float:
		return appendFloatRepr(dst, float64(v))
	case Text:
		return appendTextRepr(dst, v)
	case Bytes:
		return appendBytesRepr(dst, v)
	case List:
		return appendSequenceRepr(dst, 'a', v, depth)
	case Tuple:
		return appendSequenceRepr(dst, 't', v, depth)
	case *Dict:
		if depth >= MaxDepth {
			return append(dst, "..."...)
		}
		dst = append(dst, '{')
		sep := ""
		for key, val := range v.All() {
			dst = append(dst, sep...)
			dst = appendRepr(dst, key, depth+1)
			dst = append(dst, ": "...)
			dst = appendRepr(dst, val, depth+1)
			sep = ", "
		}
		return append(dst, '}')
	}
	return append(dst, "None"...)
}

func appendSequenceRepr(dst []byte, letter byte, items []Value, depth int) []byte {
	if depth >= MaxDepth {
		return append(dst, "..."...)
	}
	b := brackets(letter, len(items))
	dst = append(dst, b.open...)
	for i, v := range items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendRepr(dst, v, depth+1)
	}
	return append(dst, b.close...)
}

// appendFloatRepr writes the shortest decimal that reads back as f, with an
// exponent from 1e16 up and below 1e-4 (Python's float_repr_style "short").
func appendFloatRepr(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case f != 0 && (abs < 1e-4 || abs >= 1e16):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if !slices.Contains(dst[start:], '.') {
		dst = append(dst, ".0"...)
	}
	return dst
}

// plainChar marks the ASCII characters that a quoted text holds as they are,
// whatever its quotes.
var plainChar = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = c != '\'' && c != '"' && c != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendTextRepr is repr() of a str: single quotes, but double ones around
// text that has single and no double quotes.
func appendTextRepr[T ~string | ~[]byte](dst []byte, text T) []byte {
	i := 0
	for i < len(text) && plainChar[text[i]] {
		i++
	}
	if i == len(text) {
		dst = append(dst, '\'')
		dst = append(dst, text...)
		return append(dst, '\'')
	}
	quote := reprQuote(text)
	dst = append(dst, quote)
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			dst = appendEscaped(dst, c, quote)
			i++
			continue
		}
		// A string conversion of so few bytes stays on the stack.
		r, size := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
		i += size
		switch {
		case printable(r):
			dst = utf8.AppendRune(dst, r)
		case r <= 0xff:
			dst = append(dst, `\x`...)
			dst = appendHex(dst, r, 2)
		case r <= 0xffff:
			dst = append(dst, `\u`...)
			dst = appendHex(dst, r, 4)
		default:
			dst = append(dst, `\U`...)
			dst = appendHex(dst, r, 8)
		}
	}
	return append(dst, quote)
}

// appendBytesRepr is repr() of bytes.
func appendBytesRepr(dst, b []byte) []byte {
	quote := reprQuote(b)
	dst = append(dst, 'b', quote)
	for _, c := range b {
		dst = appendEscaped(dst, c, quote)
	}
	return append(dst, quote)
}

// appendEscaped writes a byte, or a character of one byte, as both kinds of
// literal do.
func appendEscaped(dst []byte, c, quote byte) []byte {
	switch {
	case plainChar[c]:
		return append(dst, c)
	case c == quote || c == '\\':
		return append(dst, '\\', c)
	case c == '\'' || c == '"':
		return append(dst, c)
	case c == '\t':
		return append(dst, `\t`...)
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\r':
		return append(dst, `\r`...)
	}
	return append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

func appendHex(dst []byte, r rune, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[r>>shift&15])
	}
	return dst
}

func reprQuote[T ~string | ~[]byte](text T) byte {
	single := false
	for i := range len(text) {
		switch text[i] {
		case '"':
			return '\''
		case '\'':
			single = true
		}
	}
	if single {
		return '"'
	}
	return '\''
}

//go:generate sh -c "python3 testdata/printable.py > printable_table.go"

// printable reports whether repr() of a str leaves r as it is.
func printable(r rune) bool {
	i, exact := slices.BinarySearch(printableEdges[:], r)
	if exact {
		i++
	}
	return i%2 == 1
}
