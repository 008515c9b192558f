package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendJSON appends the JSON form of v to dst. The form keeps types and the
// order of keys, so that [ParseJSONValue] gives back an equal value:
//
//	Text    string
//	Int     number without point and exponent, of any length
//	Float   number with a point or an exponent
//	Bytes   {"bytes": "<base64>"}
//	List    array
//	Tuple   {"tuple": [elements]}
//	*Dict   object, in order, if all keys are text;
//	        {"dict": [[key, value], …]} otherwise, and where the object would
//	        have the one key "bytes", "tuple" or "dict"
//
// Floats are written with as many digits as they need, not rounded. The error
// is as from [AppendPack]; on an error dst is returned as it came.
func AppendJSON(dst []byte, v Value) ([]byte, error) {
	if err := packable(v); err != nil {
		return dst, err
	}
	return appendJSON(dst, v), nil
}

// packable returns the error of packing v.
func packable(v Value) error {
	_, err := AppendPack(nil, v)
	return err
}

// appendJSON is for values that can be packed, whose depth is bounded.
func appendJSON(dst []byte, v Value) []byte {
	switch v := v.(type) {
	case Int:
		return append(dst, v.String()...)
	case Float:
		return appendFloatRepr(dst, float64(v)) // for finite floats, repr() is JSON
	case Text:
		return appendJSONText(dst, string(v))
	case Bytes:
		dst = append(dst, `{"bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, v)
		return append(dst, `"}`...)
	case List:
		return appendJSONArray(dst, v)
	case Tuple:
		dst = append(dst, `{"tuple":`...)
		return append(appendJSONArray(dst, v), '}')
	case *Dict:
		if plainObject(v) {
			return appendJSONObject(dst, v)
		}
		dst = append(dst, `{"dict":[`...)
		sep := ""
		for key, val := range v.All() {
			dst = append(dst, sep...)
			dst = appendJSONArray(dst, []Value{key, val})
			sep = ","
		}
		return append(dst, "]}"...)
	}
	return dst
}

func appendJSONArray(dst []byte, vs []Value) []byte {
	dst = append(dst, '[')
	for i, v := range vs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(dst, v)
	}
	return append(dst, ']')
}

// appendJSONObject is for dicts whose keys are text.
func appendJSONObject(dst []byte, d *Dict) []byte {
	dst = append(dst, '{')
	sep := ""
	for key, val := range d.All() {
		dst = append(dst, sep...)
		dst = appendJSON(dst, key)
		dst = append(dst, ':')
		dst = appendJSON(dst, val)
		sep = ","
	}
	return append(dst, '}')
}

// The keys that mark an object of one key as something other than a dict.
const (
	jsonBytes = "bytes"
	jsonTuple = "tuple"
	jsonDict  = "dict"
)

func isJSONMark(key string) bool {
	return key == jsonBytes || key == jsonTuple || key == jsonDict
}

// plainObject reports whether the JSON object of d reads back as d.
func plainObject(d *Dict) bool {
	for key := range d.All() {
		text, ok := key.(Text)
		if !ok || d.Len() == 1 && isJSONMark(string(text)) {
			return false
		}
	}
	return true
}

// appendJSONText quotes text, escaping no more than JSON demands: what people
// wrote stays readable in any script.
func appendJSONText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < ' ':
			dst = append(dst, `\u`...)
			dst = appendHex(dst, rune(c), 4)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// MarshalJSON returns the record as one JSON object, keys in their order,
// values as by [AppendJSON].
func (r *Record) MarshalJSON() ([]byte, error) {
	if err := checkKeys(&r.dict); err != nil {
		return nil, err
	}
	if err := packable(&r.dict); err != nil {
		return nil, err
	}
	return appendJSONObject(nil, &r.dict), nil
}

// ParseJSON reads a record that [Record.MarshalJSON] wrote, or a person. It
// checks no hash. The error is as from [ParseJSONValue] and [FromDict].
func ParseJSON(data []byte) (*Record, error) {
	p, err := newJSONParser(data)
	if err != nil {
		return nil, err
	}
	v, err := p.document(true)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, errorf(NotRecord, "the JSON is %s, want an object", kind(letterOf(v)))
	}
	return FromDict(d)
}

// ParseJSONValue is the inverse of [AppendJSON]. It refuses what the form
// cannot mean or would not keep: null, true and false, for which the original
// packer has no letter; the same key twice in one object; strings that are not
// UTF-8 or escape half a UTF-16 pair; numbers that overflow, and those that
// packing would round, so that what is read is what was written; anything
// after the value. A byte order mark before it is passed over. The error is an [*Error] of reason [BadJSON], [TooDeep] or
// [BadValue], or [TooLarge] over [MaxJSON].
func ParseJSONValue(data []byte) (Value, error) {
	p, err := newJSONParser(data)
	if err != nil {
		return nil, err
	}
	return p.document(false)
}

type jsonParser struct {
	text  []byte
	dec   *json.Decoder
	depth int
}

// maxJSONDepth bounds nesting while reading. A dict or a tuple may take up to
// three levels of JSON; packing checks MaxDepth itself in the end.
const maxJSONDepth = 3 * (MaxDepth + 1)

func newJSONParser(data []byte) (*jsonParser, error) {
	if len(data) > MaxJSON {
		return nil, errorf(TooLarge, "the JSON has %d bytes, at most %d are allowed", len(data), MaxJSON)
	}
	data = TrimMark(data)
	if err := checkJSONText(data); err != nil {
		return nil, err
	}
	p := &jsonParser{text: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	return p, nil
}

// checkJSONText refuses what encoding/json would replace by U+FFFD: bytes that
// are not UTF-8, and \u escapes of half a UTF-16 pair.
func checkJSONText(data []byte) error {
	if !utf8.Valid(data) {
		if what, hint := ForeignForm(data); what != "" {
			return errorf(BadJSON, "the JSON is %s; %s", what, hint)
		}
		return errorf(BadJSON, "the JSON is not in UTF-8")
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		// A backslash is legal in strings only, and json refuses it
		// elsewhere; so strings need not be told from the rest.
		unit, ok := utf16Escape(data[i:])
		if !ok {
			i++ // another escape, of two bytes
			continue
		}
		switch {
		case 0xd800 <= unit && unit < 0xdc00:
			low, ok := utf16Escape(data[i+6:])
			if !ok || low < 0xdc00 || low > 0xdfff {
				return errorf(BadJSON, "at byte %d: %s is half a UTF-16 pair", i, data[i:i+6])
			}
			i += 11
		case 0xdc00 <= unit && unit <= 0xdfff:
			return errorf(BadJSON, "at byte %d: %s is half a UTF-16 pair", i, data[i:i+6])
		default:
			i += 5
		}
	}
	return nil
}

// utf16Escape reads a \uXXXX at the start of data.
func utf16Escape(data []byte) (uint64, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return unit, err == nil
}

func (p *jsonParser) fail(format string, args ...any) error {
	e := errorf(BadJSON, format, args...)
	e.Detail = "before byte " + strconv.FormatInt(p.dec.InputOffset()+1, 10) + ": " + e.Detail
	return e
}

func (p *jsonParser) token() (json.Token, error) {
	tok, err := p.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.fail("the JSON ends too early")
	}
	if err != nil {
		return nil, p.syntax(err)
	}
	return tok, nil
}

// syntax is the error of a text that is not JSON.
func (p *jsonParser) syntax(err error) error {
	return errorf(BadJSON, "not JSON: %s", ExplainJSON(p.text, err))
}

// document reads the one value and the end. Whole says that an object is a
// dict at top level whatever its keys.
func (p *jsonParser) document(whole bool) (Value, error) {
	tok, err := p.token()
	if err != nil {
		return nil, err
	}
	var v Value
	if tok == json.Delim('{') && whole {
		v, err = p.object()
	} else {
		v, err = p.value(tok)
	}
	if err != nil {
		return nil, err
	}
	if tok, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, p.syntax(err)
		}
		return nil, p.fail("found %v after the value", tok)
	}
	if err := packable(v); err != nil {
		return nil, err
	}
	return v, nil
}

func (p *jsonParser) value(tok json.Token) (Value, error) {
	switch tok := tok.(type) {
	case string:
		return Text(tok), nil
	case json.Number:
		return p.number(string(tok))
	case nil:
		return nil, p.fail("null cannot be packed: want text, a number, an array or an object")
	case bool:
		return nil, p.fail("%v cannot be packed: want text, a number, an array or an object", tok)
	case json.Delim:
		if tok == '[' {
			return p.array()
		}
		d, err := p.object()
		if err != nil {
			return nil, err
		}
		return p.marked(d)
	}
	return nil, p.fail("found %v, want a value", tok)
}

func (p *jsonParser) number(text string) (Value, error) {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			return Int{}, nil
		}
		n, err := ParseInt(text)
		if err != nil {
			return nil, p.fail("%s has more than %d digits", shown(text), MaxIntDigits)
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, p.fail("%s is too large for a number with a point or an exponent: write it as text, in quotes", shown(text))
	}
	kept := appendFloatRepr(nil, roundFloat(f))
	if !sameDecimal(text, string(kept)) {
		return nil, p.fail("%s would be kept as %s: a number with a point has at most six decimals, and about 15 digits in all; "+
			"write it as text, in quotes, or as a whole number of a smaller unit", shown(text), kept)
	}
	return Float(f), nil
}

// sameDecimal reports whether two JSON numbers are the same number, to the last
// digit. Their exponents are those of floats.
func sameDecimal(a, b string) bool {
	digitsA, pointA := decimal(a)
	digitsB, pointB := decimal(b)
	return digitsA == digitsB && pointA == pointB
}

// decimal returns the digits of a JSON number from the first to the last that
// is not zero, after its sign, and where its point stands, counted from the
// first of them; nothing and 0 for zero.
func decimal(text string) (digits string, point int) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		exponent, _ = strconv.Atoi(text[i+1:]) // where it overflows, no float has the number
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	digits = strings.TrimLeft(all, "0")
	if strings.Trim(digits, "0") == "" {
		return "", 0
	}
	point = len(whole) - (len(all) - len(digits)) + exponent
	digits = strings.TrimRight(digits, "0")
	if negative {
		digits = "-" + digits
	}
	return digits, point
}

func (p *jsonParser) enter() error {
	if p.depth++; p.depth > maxJSONDepth {
		return errTooDeep()
	}
	return nil
}

func (p *jsonParser) array() (Value, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	l := List{}
	for {
		tok, err := p.token()
		if err != nil {
			return nil, err
		}
		if tok == json.Delim(']') {
			p.depth--
			return l, nil
		}
		v, err := p.value(tok)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
}

func (p *jsonParser) object() (*Dict, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	d := new(Dict)
	for {
		tok, err := p.token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok { // the closing brace: json refuses all else
			p.depth--
			return d, nil
		}
		if d.find(Text(key)) >= 0 {
			return nil, p.fail("key %s is twice in one object", shown(key))
		}
		if tok, err = p.token(); err != nil {
			return nil, err
		}
		v, err := p.value(tok)
		if err != nil {
			return nil, err
		}
		d.Set(Text(key), v)
	}
}

// marked returns what an object stands for: itself, unless it has the one key
// that marks bytes, a tuple, or a dict with other keys than text.
func (p *jsonParser) marked(d *Dict) (Value, error) {
	if d.Len() != 1 {
		return d, nil
	}
	key, _ := d.pairs[0].key.(Text)
	list, isList := d.pairs[0].val.(List)
	switch string(key) {
	case jsonBytes:
		text, ok := d.pairs[0].val.(Text)
		b, err := appendBase64(Bytes{}, []byte(text))
		if !ok || err != nil {
			return nil, p.fail(`{"bytes": …} holds no canonical base64 string`)
		}
		return Bytes(b), nil
	case jsonTuple:
		if !isList {
			return nil, p.fail(`{"tuple": …} holds no array`)
		}
		return Tuple(list), nil
	case jsonDict:
		if !isList {
			return nil, p.fail(`{"dict": …} holds no array`)
		}
		out := new(Dict)
		for _, e := range list {
			kv, ok := e.(List)
			if !ok || len(kv) != 2 {
				return nil, p.fail(`{"dict": …} holds something other than arrays of key and value`)
			}
			if !hashable(kv[0]) {
				return nil, p.fail("dict key %s cannot be packed: want a number, text, bytes, or a tuple of such", shown(PythonStr(kv[0])))
			}
			if out.find(kv[0]) >= 0 {
				return nil, p.fail("key %s is twice in one dict", shown(PythonStr(kv[0])))
			}
			out.Set(kv[0], kv[1])
		}
		return out, nil
	}
	return d, nil
}
