package record

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendPack appends the packed text of items, side by side, to dst: "pg ",
// then "s<n> '<type letters>' ", then one item per letter
// (docs/original-protocol.md §2). All lengths count code points.
//
//	i4 <decimal>                    Int
//	f8 <six decimals>               Float
//	c1 <character>                  Text of one character
//	s<n> '<text>'                   any other Text
//	b<n> '<base64>'                 Bytes
//	a<n> '<packed elements>'        List
//	t<n> '<packed elements>'        Tuple
//	d<n> '<packed list of pairs>'   *Dict: one List of Tuples of two
//
// Every item ends in a space. The text is UTF-8, and equal items always pack
// to equal bytes.
//
// A Float is rounded to six decimals. The error is an [*Error] of reason
// [BadValue] for a nil value, a float that is not finite, text that is not
// UTF-8, or a dict key that Python cannot hash; and of reason [TooDeep] beyond
// [MaxDepth]. On an error dst is returned as it came.
func AppendPack(dst []byte, items ...Value) ([]byte, error) {
	out, _, err := appendPack(dst, items, 0)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// appendPack also returns how many code points it appended.
func appendPack(dst []byte, items []Value, depth int) ([]byte, int, error) {
	start := len(dst)
	dst = appendHead(dst, len(items))
	for _, v := range items {
		letter := letterOf(v)
		if letter == 0 {
			return dst, 0, errorf(BadValue, "a nil value cannot be packed")
		}
		dst = append(dst, letter)
	}
	dst = append(dst, "' "...)
	points := len(dst) - start
	for _, v := range items {
		var n int
		var err error
		if dst, n, err = appendItem(dst, v, depth); err != nil {
			return dst, 0, err
		}
		points += n
	}
	return dst, points, nil
}

// appendHead appends what comes before the n type letters of packed text.
func appendHead(dst []byte, n int) []byte {
	dst = append(dst, "pg s"...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, " '"...)
}

// letterOf returns the type letter of v, 0 for nil.
func letterOf(v Value) byte {
	switch v := v.(type) {
	case Int:
		return 'i'
	case Float:
		return 'f'
	case Text:
		if oneRune(string(v)) {
			return 'c'
		}
		return 's'
	case Bytes:
		return 'b'
	case List:
		return 'a'
	case Tuple:
		return 't'
	case *Dict:
		return 'd'
	}
	return 0
}

func oneRune(s string) bool {
	if s == "" {
		return false
	}
	_, size := utf8.DecodeRuneInString(s)
	return size == len(s)
}

// appendItem appends one item without its type letter in front, and returns
// the code points it appended. Depth counts the containers around it.
func appendItem(dst []byte, v Value, depth int) ([]byte, int, error) {
	start := len(dst)
	switch v := v.(type) {
	case Int:
		dst = append(dst, "i4 "...)
		dst = append(dst, v.String()...)
		dst = append(dst, ' ')
	case Float:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return dst, 0, errorf(BadValue, "float %v cannot be packed: want a finite number", float64(v))
		}
		dst = append(dst, "f8 "...)
		dst = appendFloat(dst, float64(v))
		dst = append(dst, ' ')
	case Text:
		if !utf8.ValidString(string(v)) {
			return dst, 0, errorf(BadValue, "text %s cannot be packed: it is not valid UTF-8", shown(v))
		}
		n := utf8.RuneCountInString(string(v))
		if n == 1 {
			dst = append(dst, "c1 "...)
			dst = append(dst, v...)
			dst = append(dst, ' ')
		} else {
			dst = appendFrame(dst, 's', n)
			dst = append(dst, v...)
			dst = append(dst, "' "...)
		}
		return dst, len(dst) - start - len(v) + n, nil
	case Bytes:
		dst = appendFrame(dst, 'b', base64.StdEncoding.EncodedLen(len(v)))
		dst = base64.StdEncoding.AppendEncode(dst, v)
		dst = append(dst, "' "...)
	case List:
		return appendSequence(dst, 'a', v, depth)
	case Tuple:
		return appendSequence(dst, 't', v, depth)
	case *Dict:
		return appendDict(dst, v, depth)
	default:
		return dst, 0, errorf(BadValue, "a nil value cannot be packed")
	}
	return dst, len(dst) - start, nil
}

// appendFloat is Python's "%f".
func appendFloat(dst []byte, f float64) []byte {
	return strconv.AppendFloat(dst, f, 'f', 6, 64)
}

// appendFrame appends what comes before a text of n code points.
func appendFrame(dst []byte, letter byte, n int) []byte {
	dst = append(dst, letter)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, " '"...)
}

// frameOverhead is the length of appendFrame's text and of the "' " behind.
func frameOverhead(n int) int {
	digits := 1
	for ; n >= 10; n /= 10 {
		digits++
	}
	return 1 + digits + len(" '") + len("' ")
}

// enclose puts a frame around what dst holds from start on, which has n code
// points, and returns the code points with it.
func enclose(dst []byte, start int, letter byte, n int) ([]byte, int) {
	var buf [24]byte
	dst = slices.Insert(dst, start, appendFrame(buf[:0], letter, n)...)
	return append(dst, "' "...), n + frameOverhead(n)
}

func appendSequence(dst []byte, letter byte, items []Value, depth int) ([]byte, int, error) {
	if depth >= MaxDepth {
		return dst, 0, errTooDeep()
	}
	start := len(dst)
	dst, n, err := appendPack(dst, items, depth+1)
	if err != nil {
		return dst, 0, err
	}
	dst, n = enclose(dst, start, letter, n)
	return dst, n, nil
}

func appendDict(dst []byte, d *Dict, depth int) ([]byte, int, error) {
	if depth >= MaxDepth {
		return dst, 0, errTooDeep()
	}
	outer := len(dst)
	dst = append(dst, "pg s1 'a' "...)
	inner := len(dst)
	outerPoints := inner - outer

	dst = appendHead(dst, d.Len())
	for range d.Len() {
		dst = append(dst, 't')
	}
	dst = append(dst, "' "...)
	points := len(dst) - inner
	for key, val := range d.All() {
		if !hashable(key) {
			return dst, 0, errorf(BadValue, "dict key %s cannot be packed: want a number, text, bytes, or a tuple of such", shown(PythonStr(key)))
		}
		start := len(dst)
		var n int
		var err error
		if dst, n, err = appendPack(dst, []Value{key, val}, depth+1); err != nil {
			return dst, 0, err
		}
		dst, n = enclose(dst, start, 't', n)
		points += n
	}
	dst, points = enclose(dst, inner, 'a', points)
	dst, points = enclose(dst, outer, 'd', outerPoints+points)
	return dst, points, nil
}

func errTooDeep() *Error {
	return errorf(TooDeep, "lists, tuples and dicts are nested more than %d deep", MaxDepth)
}
