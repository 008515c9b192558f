package record

import (
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A Value is what a record and a message of the original protocol are made
// of: [Int], [Float], [Text], [Bytes], [List], [Tuple] or [*Dict], the Python
// types that the original's packer knows. The set is closed. There is no
// boolean and no null: the packer cannot hold them.
type Value interface {
	value() // closes the set
}

// An Int is an integer of any size up to [MaxIntDigits] digits. The zero
// value is 0. Ints may be compared with ==.
type Int struct {
	text string // canonical decimal; empty for 0, so that == compares numbers
}

// Float is a double. Packed text holds six decimals of it, see [AppendPack];
// infinities and NaN cannot be packed.
type Float float64

// Text is a Python str: valid UTF-8, whose length counts code points.
type Text string

// Bytes is a Python bytes object.
type Bytes []byte

// List is a Python list.
type List []Value

// Tuple is a Python tuple.
type Tuple []Value

func (Int) value()   {}
func (Float) value() {}
func (Text) value()  {}
func (Bytes) value() {}
func (List) value()  {}
func (Tuple) value() {}
func (*Dict) value() {}

// NewInt returns n as an Int.
func NewInt(n int64) Int {
	if n == 0 {
		return Int{}
	}
	return Int{strconv.FormatInt(n, 10)}
}

// ParseInt reads a decimal integer: an optional minus sign and at least one
// digit, with no leading zeros and at most [MaxIntDigits] digits.
func ParseInt(text string) (Int, error) {
	if !canonicalInt(text) {
		return Int{}, errorf(BadValue, "%s is not an integer: want decimal digits, at most %d, without leading zeros", shown(text), MaxIntDigits)
	}
	if text == "0" {
		return Int{}, nil
	}
	return Int{text}, nil
}

// canonicalInt reports whether text is how Python writes an integer.
func canonicalInt[T string | []byte](text T) bool {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
		if len(digits) > 0 && digits[0] == '0' {
			return false
		}
	}
	if len(digits) == 0 || len(digits) > MaxIntDigits || digits[0] == '0' && len(digits) > 1 {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// String returns n in decimal.
func (n Int) String() string {
	if n.text == "" {
		return "0"
	}
	return n.text
}

// Int64 returns n and whether it fits an int64.
func (n Int) Int64() (int64, bool) {
	i, err := strconv.ParseInt(n.String(), 10, 64)
	return i, err == nil
}

// Big returns n as a new big integer.
func (n Int) Big() *big.Int {
	b, _ := new(big.Int).SetString(n.String(), 10)
	return b
}

// A Dict is a Python dict: keys with values, in the order in which the keys
// were first set. Keys that Python holds equal, such as 1 and 1.0, are one
// key; floats are compared as they travel, with six decimals. The zero value
// is an empty Dict. It is not for use by several goroutines while one changes
// it.
type Dict struct {
	pairs []pair
	index map[string]int // keyID to position; nil while the dict is small
}

type pair struct{ key, val Value }

// smallDict is up to which size a search of the pairs beats a map.
const smallDict = 8

// Len returns the number of keys. A nil Dict has none.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.pairs)
}

// All ranges over keys and values in order.
func (d *Dict) All() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if d == nil {
			return
		}
		for _, p := range d.pairs {
			if !yield(p.key, p.val) {
				return
			}
		}
	}
}

// Get returns the value under key, and whether there is one.
func (d *Dict) Get(key Value) (Value, bool) {
	if i := d.find(key); i >= 0 {
		return d.pairs[i].val, true
	}
	return nil, false
}

// Set puts value under key: in the place the key already has, or at the end.
// It returns d, so that calls can be chained.
func (d *Dict) Set(key, value Value) *Dict {
	if i := d.find(key); i >= 0 {
		d.pairs[i].val = value
		return d
	}
	d.pairs = append(d.pairs, pair{key, value})
	if d.index != nil {
		d.index[keyID(key)] = len(d.pairs) - 1
	} else if len(d.pairs) > smallDict {
		d.reindex()
	}
	return d
}

// Delete removes key, if it is there.
func (d *Dict) Delete(key Value) {
	i := d.find(key)
	if i < 0 {
		return
	}
	d.pairs = append(d.pairs[:i], d.pairs[i+1:]...)
	if d.index != nil {
		d.reindex()
	}
}

func (d *Dict) reindex() {
	d.index = make(map[string]int, 2*len(d.pairs))
	for i, p := range d.pairs {
		d.index[keyID(p.key)] = i
	}
}

// find returns the position of key, or -1.
func (d *Dict) find(key Value) int {
	if d == nil {
		return -1
	}
	if d.index != nil {
		if i, ok := d.index[keyID(key)]; ok {
			return i
		}
		return -1
	}
	if text, ok := key.(Text); ok {
		for i, p := range d.pairs {
			if t, ok := p.key.(Text); ok && t == text {
				return i
			}
		}
		return -1
	}
	id := keyID(key)
	for i, p := range d.pairs {
		if keyID(p.key) == id {
			return i
		}
	}
	return -1
}

// Equal reports whether two values are the same in type and content. Dicts
// are equal only in the same order, because they pack to other bytes in
// another. NaN equals NaN.
func Equal(a, b Value) bool { return equal(a, b, 0) }

func equal(a, b Value, depth int) bool {
	if depth > MaxDepth {
		return false // such values cannot be packed, and may be cyclic
	}
	switch a := a.(type) {
	case Int:
		b, ok := b.(Int)
		return ok && a == b
	case Float:
		b, ok := b.(Float)
		return ok && (math.Float64bits(float64(a)) == math.Float64bits(float64(b)) || a != a && b != b)
	case Text:
		b, ok := b.(Text)
		return ok && a == b
	case Bytes:
		b, ok := b.(Bytes)
		return ok && string(a) == string(b)
	case List:
		b, ok := b.(List)
		return ok && equalAll(a, b, depth)
	case Tuple:
		b, ok := b.(Tuple)
		return ok && equalAll(a, b, depth)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.pairs[i].key, b.pairs[i].key, depth+1) || !equal(a.pairs[i].val, b.pairs[i].val, depth+1) {
				return false
			}
		}
		return true
	}
	return a == nil && b == nil
}

func equalAll(a, b []Value, depth int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equal(a[i], b[i], depth+1) {
			return false
		}
	}
	return true
}

// hashable reports whether Python takes v as the key of a dict.
func hashable(v Value) bool { return hashableAt(v, 0) }

func hashableAt(v Value, depth int) bool {
	switch v := v.(type) {
	case Int, Float, Text, Bytes:
		return true
	case Tuple:
		if depth >= MaxDepth {
			return false
		}
		for _, e := range v {
			if !hashableAt(e, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// keyID returns a text that is the same for two keys exactly when Python
// holds them equal after transport.
func keyID(v Value) string { return string(appendKeyID(nil, v, 0)) }

func appendKeyID(dst []byte, v Value, depth int) []byte {
	switch v := v.(type) {
	case Int:
		return append(append(dst, 'n'), v.String()...)
	case Float:
		// 1 and 1.0 are one key, and so are 0.0 and -0.0.
		dst = append(dst, 'n')
		text := strings.TrimSuffix(string(appendFloat(nil, float64(v))), ".000000")
		if text == "-0" {
			text = "0"
		}
		return append(dst, text...)
	case Text:
		return append(append(dst, 's'), v...)
	case Bytes:
		return append(append(dst, 'b'), v...)
	case Tuple:
		dst = append(dst, 't')
		if depth >= MaxDepth {
			return dst
		}
		for _, e := range v {
			id := appendKeyID(nil, e, depth+1)
			dst = strconv.AppendInt(dst, int64(len(id)), 10)
			dst = append(append(dst, ':'), id...)
		}
		return dst
	}
	return append(dst, '?') // not hashable: refused when packed
}

// roundFloat returns f as it is after transport, with six decimals.
func roundFloat(f float64) float64 {
	r, err := strconv.ParseFloat(string(appendFloat(nil, f)), 64)
	if err != nil {
		return f
	}
	return r
}

// travelled returns a deep copy of v with every float rounded to the six
// decimals with which it travels. Depth is the caller's to bound.
func travelled(v Value) Value {
	switch v := v.(type) {
	case Float:
		return Float(roundFloat(float64(v)))
	case Bytes:
		return Bytes(append([]byte{}, v...))
	case List:
		return List(travelledAll(v))
	case Tuple:
		return Tuple(travelledAll(v))
	case *Dict:
		d := new(Dict)
		for k, e := range v.All() {
			d.Set(travelled(k), travelled(e))
		}
		return d
	}
	return v
}

func travelledAll(vs []Value) []Value {
	out := make([]Value, len(vs))
	for i, v := range vs {
		out[i] = travelled(v)
	}
	return out
}
