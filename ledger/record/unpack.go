package record

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Unpack reads packed text, the inverse of [AppendPack], in one pass over it.
//
// It takes exactly what AppendPack writes, and besides it the "l8 <decimal> "
// items of old clients, which are read as [Int]. Everything else is refused,
// also where the original guesses: type letters that do not match the items,
// lengths that run past the end, text behind the last item, numbers with
// leading zeros, base64 with stray characters, two equal keys in one dict,
// pre-packed "x" items. Bytes that are not UTF-8 are read as code page 437,
// as the original does.
//
// The caller bounds the length of text; nesting is bounded by [MaxDepth]. The
// error is an [*Error] of reason [MalformedPacking] or [TooDeep], and names
// the offset.
func Unpack(text []byte) ([]Value, error) {
	if !utf8.Valid(text) {
		text = decodeCP437(text)
	}
	var s scanner
	s.reset(text)
	s.oldLongs = true
	vs, err := s.pack()
	if err != nil {
		return nil, err
	}
	if s.pos != len(s.src) {
		return nil, s.fail("%d bytes follow the last item", len(s.src)-s.pos)
	}
	return vs, nil
}

// A scanner reads packed text from front to back. It never looks ahead by a
// length: the end of a container is found by reading its items, and the
// length stated in front must then agree. So every byte is read once, however
// deep it is nested.
//
// There are two ways to read an item: value builds a tree of it, and walk
// only checks it and writes its Python str() to out, without allocating.
type scanner struct {
	src      []byte // valid UTF-8
	pos      int    // next byte
	wide     int    // continuation bytes before pos: pos-wide is in code points
	depth    int    // containers around pos
	ascii    bool   // src has no byte above 0x7f
	oldLongs bool   // accept l items

	out  []byte // str() of what was walked; reused
	bin  []byte // decoded base64; reused
	keys []span // keys of the dicts around pos, innermost last; reused
}

// A span is a part of the packed text.
type span struct{ from, to int }

func (s *scanner) reset(src []byte) {
	s.src, s.pos, s.wide, s.depth, s.ascii = src, 0, 0, 0, isASCII(src)
	s.out, s.keys = s.out[:0], s.keys[:0]
}

func isASCII(b []byte) bool {
	const high = 0x8080808080808080
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&high != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// points returns the position in code points.
func (s *scanner) points() int { return s.pos - s.wide }

func (s *scanner) fail(format string, args ...any) error {
	e := errorf(MalformedPacking, format, args...)
	e.Detail = "at byte " + strconv.Itoa(s.pos) + ": " + e.Detail
	return e
}

// next quotes what comes next, for error messages.
func (s *scanner) next() string {
	if s.pos >= len(s.src) {
		return "the end"
	}
	return shown(s.src[s.pos:min(len(s.src), s.pos+12)])
}

// skip reads lit if it comes next. It is small enough to be inlined, so that
// with a constant it is one comparison.
func (s *scanner) skip(lit string) bool {
	if len(s.src)-s.pos < len(lit) || string(s.src[s.pos:s.pos+len(lit)]) != lit {
		return false
	}
	s.pos += len(lit)
	return true
}

func (s *scanner) want(lit string) error {
	return s.fail("found %s, want %q", s.next(), lit)
}

// length reads a decimal length and the " '" behind it.
func (s *scanner) length() (int, error) {
	src, start, pos, n := s.src, s.pos, s.pos, 0
	for pos < len(src) && src[pos]-'0' <= 9 {
		n = 10*n + int(src[pos]-'0')
		pos++
		if n > len(src) {
			return 0, s.fail("a length of %d or more runs past the end", n)
		}
	}
	if pos == start {
		return 0, s.fail("found %s, want a length", s.next())
	}
	if src[start] == '0' && pos-start > 1 {
		return 0, s.fail("a length is written with a leading zero")
	}
	s.pos = pos
	if !s.skip(" '") {
		return 0, s.want(" '")
	}
	if n > len(s.src)-s.pos {
		return 0, s.fail("a length of %d runs past the end, %d bytes are left", n, len(s.src)-s.pos)
	}
	return n, nil
}

// head reads what stands in front of the items and returns the type letters.
// The letters are checked only as the items are read by them.
func (s *scanner) head() ([]byte, error) {
	if !s.skip("pg s") {
		return nil, s.want("pg s")
	}
	n, err := s.length()
	if err != nil {
		return nil, err
	}
	letters := s.src[s.pos : s.pos+n]
	s.pos += n
	if !s.skip("' ") {
		return nil, s.want("' ")
	}
	return letters, nil
}

// enter reads the front of a container and returns the code points that its
// content is said to have. Every enter is followed by a leave.
func (s *scanner) enter(letter byte) (int, error) {
	if s.pos >= len(s.src) || s.src[s.pos] != letter {
		return 0, s.fail("found %s, want an item of type %q", s.next(), letter)
	}
	s.pos++
	return s.length()
}

// leave reads the end of a container whose content began at start, in code
// points, and was said to have n.
func (s *scanner) leave(start, n int) error {
	if got := s.points() - start; got != n {
		return s.fail("a container said to hold %d characters holds %d", n, got)
	}
	if !s.skip("' ") {
		return s.want("' ")
	}
	return nil
}

// scalar reads one item that is not a container and returns its text.
func (s *scanner) scalar(letter byte) ([]byte, error) {
	switch letter {
	case 'i':
		return s.decimal("i4 ")
	case 'l':
		if s.oldLongs {
			return s.decimal("l8 ")
		}
	case 'f':
		if !s.skip("f8 ") {
			return nil, s.want("f8 ")
		}
		text := s.word()
		if !canonicalFloat(text) {
			return nil, s.fail("%s is not a float with six decimals as Python writes it", shown(text))
		}
		if !s.skip(" ") {
			return nil, s.want(" ")
		}
		return text, nil
	case 'c':
		if !s.skip("c1 ") {
			return nil, s.want("c1 ")
		}
		text, err := s.text(1)
		if err != nil {
			return nil, err
		}
		if !s.skip(" ") {
			return nil, s.want(" ")
		}
		return text, nil
	case 's':
		n, err := s.enter('s')
		if err != nil {
			return nil, err
		}
		if n == 1 {
			return nil, s.fail("text of one character is packed as %q, want %q", "s1 '", "c1 ")
		}
		text, err := s.text(n)
		if err != nil {
			return nil, err
		}
		if !s.skip("' ") {
			return nil, s.want("' ")
		}
		return text, nil
	case 'b':
		n, err := s.enter('b')
		if err != nil {
			return nil, err
		}
		text := s.src[s.pos : s.pos+n]
		if s.bin, err = appendBase64(s.bin[:0], text); err != nil {
			return nil, s.fail("%s is not canonical base64", shown(text))
		}
		s.pos += n
		if !s.skip("' ") {
			return nil, s.want("' ")
		}
		return text, nil
	}
	return nil, s.fail("%q is not a known type letter", letter)
}

func (s *scanner) decimal(lit string) ([]byte, error) {
	if !s.skip(lit) {
		return nil, s.want(lit)
	}
	text := s.word()
	if !canonicalInt(text) {
		return nil, s.fail("%s is not an integer as Python writes it, of at most %d digits", shown(text), MaxIntDigits)
	}
	if !s.skip(" ") {
		return nil, s.want(" ")
	}
	return text, nil
}

// word reads up to the next space, or the end. It gives up soon after the
// longest number, so that its result may be in one piece with what follows,
// and is then no number.
func (s *scanner) word() []byte {
	rest := s.src[s.pos:min(len(s.src), s.pos+MaxIntDigits+2)]
	if end := bytes.IndexByte(rest, ' '); end >= 0 {
		rest = rest[:end]
	}
	if !isASCII(rest) {
		return nil // no number, and its bytes must not count as characters
	}
	s.pos += len(rest)
	return rest
}

// text reads n code points.
func (s *scanner) text(n int) ([]byte, error) {
	start := s.pos
	if s.ascii {
		if n > len(s.src)-s.pos {
			return nil, s.fail("text of %d characters runs past the end", n)
		}
		s.pos += n
		return s.src[start:s.pos], nil
	}
	pos := s.pos
	for range n {
		if pos >= len(s.src) {
			return nil, s.fail("text of %d characters runs past the end", n)
		}
		if s.src[pos] < utf8.RuneSelf {
			pos++
			continue
		}
		_, size := utf8.DecodeRune(s.src[pos:])
		pos += size
		s.wide += size - 1
	}
	s.pos = pos
	return s.src[start:pos], nil
}

// canonicalFloat reports whether text is what AppendPack writes for the float
// that it reads as.
func canonicalFloat(text []byte) bool {
	if len(text) > maxFloatText {
		return false
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return false
	}
	var buf [maxFloatText]byte
	return bytes.Equal(appendFloat(buf[:0], f), text) && text[len(text)-1] <= '9' // not nan, not inf
}

var strictBase64 = base64.StdEncoding.Strict()

// appendBase64 decodes text, which must be the one canonical encoding of its
// bytes: the package base64 skips line ends even where it is strict.
func appendBase64(dst, text []byte) ([]byte, error) {
	if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
		return dst, base64.CorruptInputError(i)
	}
	return strictBase64.AppendDecode(dst, text)
}

// pack reads packed text into values.
func (s *scanner) pack() ([]Value, error) {
	letters, err := s.head()
	if err != nil {
		return nil, err
	}
	vs := make([]Value, 0, len(letters))
	for _, letter := range letters {
		v, err := s.value(letter)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// value reads one item.
func (s *scanner) value(letter byte) (Value, error) {
	switch letter {
	case 'a', 't', 'd':
		return s.container(letter)
	}
	text, err := s.scalar(letter)
	if err != nil {
		return nil, err
	}
	switch letter {
	case 'i', 'l':
		if string(text) == "0" {
			return Int{}, nil
		}
		return Int{string(text)}, nil
	case 'f':
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return nil, s.fail("float %s is out of range", shown(text))
		}
		return Float(f), nil
	case 'b':
		return Bytes(append([]byte{}, s.bin...)), nil
	}
	return Text(text), nil
}

func (s *scanner) container(letter byte) (Value, error) {
	n, err := s.enter(letter)
	if err != nil {
		return nil, err
	}
	if s.depth++; s.depth > MaxDepth {
		return nil, errTooDeep()
	}
	start := s.points()
	var v Value
	if letter == 'd' {
		v, err = s.dict()
	} else {
		var vs []Value
		vs, err = s.pack()
		if v = List(vs); letter == 't' {
			v = Tuple(vs)
		}
	}
	if err != nil {
		return nil, err
	}
	s.depth--
	return v, s.leave(start, n)
}

// dict reads the content of a dict item.
func (s *scanner) dict() (*Dict, error) {
	d := new(Dict)
	err := s.pairs(func(_ int, key, val byte) error {
		k, err := s.value(key)
		if err != nil {
			return err
		}
		if !hashable(k) {
			return s.fail("the key of a dict is %s, want a number, text, bytes, or a tuple of such", kind(key))
		}
		if d.find(k) >= 0 {
			return s.fail("key %s is twice in one dict", shown(PythonStr(k)))
		}
		v, err := s.value(val)
		if err != nil {
			return err
		}
		d.Set(k, v)
		return nil
	})
	return d, err
}

// pairs reads the content of a dict item: packed text of one list of tuples
// of two. It calls item to read each key and value, with the offset of the
// tuple's item and the letters of both.
func (s *scanner) pairs(item func(from int, key, val byte) error) error {
	if !s.skip("pg s1 'a' ") {
		return s.want("pg s1 'a' ")
	}
	n, err := s.enter('a')
	if err != nil {
		return err
	}
	start := s.points()
	tuples, err := s.head()
	if err != nil {
		return err
	}
	for _, t := range tuples {
		if t != 't' {
			return s.fail("a dict holds a list with an item of type %q, want tuples only", t)
		}
		from := s.pos
		tn, err := s.enter('t')
		if err != nil {
			return err
		}
		tstart := s.points()
		if !s.skip("pg s2 '") { // key and value
			return s.want("pg s2 '")
		}
		if len(s.src)-s.pos < len("kv' ") {
			return s.fail("found %s, want two type letters", s.next())
		}
		key, val := s.src[s.pos], s.src[s.pos+1]
		s.pos += 2
		if !s.skip("' ") {
			return s.want("' ")
		}
		if err := item(from, key, val); err != nil {
			return err
		}
		if err := s.leave(tstart, tn); err != nil {
			return err
		}
	}
	return s.leave(start, n)
}

// kind names a type letter for error messages.
func kind(letter byte) string {
	switch letter {
	case 'i', 'l':
		return "an integer"
	case 'f':
		return "a float"
	case 'c', 's':
		return "text"
	case 'b':
		return "bytes"
	case 'a':
		return "a list"
	case 't':
		return "a tuple"
	case 'd':
		return "a dict"
	}
	return "of unknown type"
}

// How walk writes what it reads.
type strMode int

const (
	quiet strMode = iota // nothing
	bare                 // Python's str()
	repr                 // Python's repr()
)

// walk checks one item and appends its str() or repr() to out.
func (s *scanner) walk(letter byte, mode strMode) error {
	switch letter {
	case 'd':
		return s.walkDict(mode)
	case 'a', 't':
		n, err := s.enter(letter)
		if err != nil {
			return err
		}
		if s.depth++; s.depth > MaxDepth {
			return errTooDeep()
		}
		start := s.points()
		letters, err := s.head()
		if err != nil {
			return err
		}
		if mode == bare {
			mode = repr
		}
		s.emit(mode, brackets(letter, len(letters)).open)
		for i, l := range letters {
			if i > 0 {
				s.emit(mode, ", ")
			}
			if err := s.walk(l, mode); err != nil {
				return err
			}
		}
		s.emit(mode, brackets(letter, len(letters)).close)
		s.depth--
		return s.leave(start, n)
	}
	text, err := s.scalar(letter)
	if err != nil || mode == quiet {
		return err
	}
	switch {
	case letter == 'f':
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return s.fail("float %s is out of range", shown(text))
		}
		s.out = appendFloatRepr(s.out, f)
	case letter == 'b':
		s.out = appendBytesRepr(s.out, s.bin)
	case (letter == 'c' || letter == 's') && mode == repr:
		s.out = appendTextRepr(s.out, text)
	default:
		s.out = append(s.out, text...)
	}
	return nil
}

func (s *scanner) emit(mode strMode, text string) {
	if mode != quiet {
		s.out = append(s.out, text...)
	}
}

func (s *scanner) walkDict(mode strMode) error {
	n, err := s.enter('d')
	if err != nil {
		return err
	}
	if s.depth++; s.depth > MaxDepth {
		return errTooDeep()
	}
	if mode == bare {
		mode = repr
	}
	start, base, plain, sep := s.points(), len(s.keys), true, ""
	s.emit(mode, "{")
	err = s.pairs(func(_ int, key, val byte) error {
		s.emit(mode, sep)
		sep = ", "
		from := s.pos
		if key == 'a' || key == 'd' {
			return s.fail("the key of a dict is %s, want a number, text, bytes, or a tuple of such", kind(key))
		}
		if err := s.walk(key, mode); err != nil {
			return err
		}
		s.keys = append(s.keys, span{from, s.pos})
		plain = plain && (key == 's' || key == 'c')
		s.emit(mode, ": ")
		return s.walk(val, mode)
	})
	if err != nil {
		return err
	}
	s.emit(mode, "}")
	if err := s.unique(s.keys[base:], plain); err != nil {
		return err
	}
	s.keys = s.keys[:base]
	s.depth--
	return s.leave(start, n)
}

// unique reports two equal keys of one dict. It may reorder keys. Plain says
// that all of them are text, of which the packed text can be compared.
func (s *scanner) unique(keys []span, plain bool) error {
	if !plain {
		return s.uniqueValues(keys)
	}
	item := func(k span) []byte { return s.src[k.from:k.to] }
	if len(keys) > smallDict {
		slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(item(a), item(b)) })
		for i := 1; i < len(keys); i++ {
			if bytes.Equal(item(keys[i-1]), item(keys[i])) {
				return s.fail("key %s is twice in one dict", shown(item(keys[i])))
			}
		}
		return nil
	}
	for i := range keys {
		for j := range i {
			if bytes.Equal(item(keys[i]), item(keys[j])) {
				return s.fail("key %s is twice in one dict", shown(item(keys[i])))
			}
		}
	}
	return nil
}

// uniqueValues is unique for keys that may be equal though they pack to other
// bytes, such as 1 and 1.0, or that may not be hashable, such as ([],).
func (s *scanner) uniqueValues(keys []span) error {
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		sub := scanner{src: s.src[k.from:k.to], ascii: s.ascii, depth: s.depth}
		v, err := sub.value(sub.src[0])
		if err != nil {
			return err
		}
		if !hashable(v) {
			return s.fail("dict key %s cannot be hashed by Python", shown(PythonStr(v)))
		}
		id := keyID(v)
		if seen[id] {
			return s.fail("key %s is twice in one dict", shown(PythonStr(v)))
		}
		seen[id] = true
	}
	return nil
}
