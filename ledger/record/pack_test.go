package record

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("9", MaxIntDigits)
	for _, text := range []string{
		"pg s1 'i' i4 1",                                    // no space at the end
		"pg s1 'i' i4 1  ",                                  // a space too many
		"pg s1 'i' i4 01 ",                                  // leading zero
		"pg s1 'i' i4 -0 ",                                  //
		"pg s1 'i' i4 +1 ",                                  //
		"pg s1 'i' i4 - ",                                   //
		"pg s1 'i' i4  ",                                    //
		"pg s1 'i' i4 ١ ",                                   // a digit, but not ASCII
		"pg s1 'i' i4 9" + big + " ",                        // too many digits
		"pg s1 'l' i4 1 ",                                   // letter and item differ
		"pg s1 'i' l8 1 ",                                   //
		"pg s01 'i' i4 1 ",                                  // length with leading zero
		"pg s1 'ii' i4 1 i4 1 ",                             // too few letters counted
		"pg s2 'i' i4 1 ",                                   // too many
		"pg s0 '' i4 1 ",                                    // an item without letter
		"pg s1 'f' f8 1.5 ",                                 // not six decimals
		"pg s1 'f' f8 01.500000 ",                           //
		"pg s1 'f' f8 1.5000000 ",                           //
		"pg s1 'f' f8 nan ",                                 //
		"pg s1 'f' f8 NaN ",                                 //
		"pg s1 'f' f8 inf ",                                 //
		"pg s1 'f' f8 +Inf ",                                //
		"pg s1 'f' f8 -Inf ",                                //
		"pg s1 'f' f8 100000000000000000001.000000 ",        // no double
		"pg s1 'f' f8 1" + big + ".000000 ",                 //
		"pg s1 'c' c1 ab ",                                  // two characters
		"pg s1 'c' c1 ",                                     // none
		"pg s1 's' s1 'a' ",                                 // one character is c1
		"pg s1 's' s2 'é' ",                                 // lengths count characters
		"pg s1 's' s3 'ab' ",                                //
		"pg s1 's' s1 'ab' ",                                //
		"pg s1 's' s99999999999999999999 'ab' ",             // overflows
		"pg s1 'b' b4 'YWI=' x",                             //
		"pg s1 'b' b3 'YWI' ",                               // no padding
		"pg s1 'b' b4 'YWJ=' ",                              // stray bits
		"pg s1 'b' b8 'YWJj\n\n\n\n' ",                      // line ends
		"pg s1 'b' b4 'YW-_' ",                              // the other alphabet
		"pg s1 'x' x14 [pg s1 'i' i4 1 ] ",                  // pre-packed
		"pg s1 'a' a15 'pg s1 'i' i4 1 '",                   //
		"pg s1 'a' a14 'pg s1 'i' i4 1 ' ",                  // length too small
		"pg s1 'a' a16 'pg s1 'i' i4 1 ' ",                  // too large
		"pg s1 'd' d15 'pg s1 'i' i4 1 ' ",                  // a dict without list
		"pg s1 'd' d32 'pg s1 'a' a15 'pg s1 'i' i4 1 ' ' ", // of other than tuples
		"pg s1 'd' d49 'pg s1 'a' a32 'pg s1 't' t15 'pg s1 'i' i4 1 ' ' ' ", // of one
		string(dictOf("c1 a c1 b ", "cc", "c1 a c1 b ", "cc")),               // equal keys
		string(dictOf("i4 1 c1 b ", "ic", "f8 1.000000 c1 b ", "fc")),        //
		string(dictOf("f8 0.000000 c1 b ", "fc", "f8 -0.000000 c1 b ", "fc")),
		string(dictOf("a9 'pg s0 '' ' c1 b ", "ac")), // a list as key
		string(dictOf("t24 'pg s1 'a' a9 'pg s0 '' ' ' c1 b ", "tc")),
	} {
		if got, err := Unpack([]byte(text)); ReasonOf(err) != MalformedPacking {
			t.Errorf("Unpack(%q) = %s, %v; want reason %s", text, PythonStr(List(got)), err, MalformedPacking)
		}
		var s scanner
		s.reset([]byte(text))
		if letters, err := s.head(); err == nil {
			for _, l := range letters {
				if err = s.walk(l, repr); err != nil {
					break
				}
			}
			if err == nil && s.pos == len(text) {
				t.Errorf("walk(%q) succeeds", text)
			}
		}
	}
}

// dictOf packs a dict of packed pairs, each given as items and letters.
func dictOf(pairs ...string) []byte {
	var list []byte
	for i := 0; i < len(pairs); i += 2 {
		inner := "pg s2 '" + pairs[i+1] + "' " + pairs[i]
		list = fmt.Appendf(list, "t%d '%s' ", len(inner), inner)
	}
	n := len(pairs) / 2
	list = append(fmt.Appendf(nil, "pg s%d '%s' ", n, strings.Repeat("t", n)), list...)
	dict := fmt.Sprintf("pg s1 'a' a%d '%s' ", len(list), list)
	return fmt.Appendf(nil, "pg s1 'd' d%d '%s' ", len(dict), dict)
}

func TestUnpackOldLong(t *testing.T) {
	t.Parallel()
	got, err := Unpack([]byte("pg s2 'll' l8 -7 l8 123456789012345678901234567890 "))
	want := List{NewInt(-7), Int{"123456789012345678901234567890"}}
	if err != nil || !Equal(List(got), want) {
		t.Errorf("Unpack = %s, %v; want %s", PythonStr(List(got)), err, PythonStr(want))
	}
}

func TestAppendPackRefuses(t *testing.T) {
	t.Parallel()
	loop := List{nil}
	loop[0] = loop
	for _, c := range []struct {
		v    Value
		want Reason
	}{
		{nil, BadValue},
		{List{nil}, BadValue},
		{Float(math.NaN()), BadValue},
		{Float(math.Inf(-1)), BadValue},
		{Text("\xff"), BadValue},
		{Tuple{Text("ab\xc3")}, BadValue},
		{new(Dict).Set(List{}, Text("v")), BadValue},
		{new(Dict).Set(Tuple{new(Dict)}, Text("v")), BadValue},
		{new(Dict).Set(nil, Text("v")), BadValue},
		{new(Dict).Set(Text("k"), nil), BadValue},
		{loop, TooDeep},
		{nested(MaxDepth + 1), TooDeep},
	} {
		got, err := AppendPack([]byte("x"), c.v)
		if ReasonOf(err) != c.want || string(got) != "x" {
			t.Errorf("AppendPack(%s) = %q, %v; want %q and reason %s", PythonStr(c.v), got, err, "x", c.want)
		}
		if _, err := AppendJSON(nil, c.v); ReasonOf(err) != c.want {
			t.Errorf("AppendJSON(%s): %v, want reason %s", PythonStr(c.v), err, c.want)
		}
	}
	if got := mustPack(t, (*Dict)(nil)); !bytes.Equal(got, mustPack(t, new(Dict))) {
		t.Errorf("a nil dict packs to %q", got)
	}
}

// nested returns lists n deep.
func nested(n int) Value {
	l := List{}
	for range n - 1 {
		l = List{l}
	}
	return l
}

func TestDepth(t *testing.T) {
	t.Parallel()
	packed := mustPack(t, nested(MaxDepth))
	if _, err := Unpack(packed); err != nil {
		t.Errorf("%d deep: %v", MaxDepth, err)
	}
	deeper := fmt.Appendf(nil, "pg s1 'a' a%d '%s' ", len(packed), packed)
	if _, err := Unpack(deeper); ReasonOf(err) != TooDeep {
		t.Errorf("%d deep: %v, want reason %s", MaxDepth+1, err, TooDeep)
	}
}

// Hostile input of the greatest size takes no longer than other input.
func TestHostile(t *testing.T) {
	t.Parallel()
	wide := new(Dict)
	for i := range 1200 {
		wide.Set(Text(fmt.Sprint("key number ", i)), Int{})
	}
	numbers := new(Dict)
	for i := range 1500 {
		numbers.Set(NewInt(int64(i)), Int{})
	}
	key := Value(Text("k"))
	for range MaxDepth - 3 {
		key = Tuple{key, Text(strings.Repeat("x", 1700))}
	}
	record := func(v Value) []byte { return mustPack(t, new(Dict).Set(Text(KeyPayload), v)) }
	for name, text := range map[string][]byte{
		"open lists":    bytes.Repeat([]byte("pg s1 'a' a60000 '"), MaxRecord/18),
		"open dicts":    bytes.Repeat([]byte("pg s1 'd' d60000 'pg s1 'a' a60000 'pg s1 't' t60000 'pg s2 'cd' c1 a "), MaxRecord/70),
		"letters":       []byte("pg s60000 '" + strings.Repeat("a", 60000) + "' "),
		"digits":        []byte("pg s1 'i' i4 " + strings.Repeat("1", 60000)),
		"length":        []byte("pg s" + strings.Repeat("1", 60000)),
		"not in UTF-8":  bytes.Repeat([]byte{0xff}, MaxRecord),
		"wide dict":     record(wide),
		"wide numbers":  record(numbers),
		"deep key":      record(new(Dict).Set(key, Int{})),
		"tiny floats":   record(List(slicesRepeat(Float(0.1), 4000))),
		"large floats":  record(List(slicesRepeat(Float(-math.MaxFloat64), 180))),
		"unprintable":   record(Text(strings.Repeat("\U000e0001", 15000))),
		"many brackets": record(List(slicesRepeat(List{}, 3500))),
	} {
		if len(text) > MaxRecord {
			t.Errorf("%s: %d bytes are refused before they are read", name, len(text))
		}
		var c Checker
		start := time.Now()
		vs, _ := Unpack(text)
		if _, err := c.Check(text, 0); err == nil {
			t.Errorf("%s: accepted", name)
		}
		// A few ms; but test machines may be slow, and -race is.
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%s: %d bytes, %d items, %v", name, len(text), len(vs), took)
		}
	}
}

func slicesRepeat(v Value, n int) []Value {
	vs := make([]Value, n)
	for i := range vs {
		vs[i] = v
	}
	return vs
}

func TestDict(t *testing.T) {
	t.Parallel()
	var d Dict
	for i := range 20 {
		d.Set(Text(fmt.Sprint(i)), NewInt(int64(i)))
	}
	d.Set(NewInt(1), Text("int")).Set(Float(1), Text("float"))
	if d.Len() != 21 {
		t.Errorf("Len = %d, want 21: 1 and 1.0 are one key", d.Len())
	}
	if v, ok := d.Get(Float(1.0000001)); !ok || v != Text("float") {
		t.Errorf("Get(1.0000001) = %v, %v; want the value of 1.0, as which it travels", v, ok)
	}
	d.Delete(Text("3"))
	d.Delete(Text("3"))
	if _, ok := d.Get(Text("3")); ok || d.Len() != 20 {
		t.Errorf("a deleted key is still there, of %d", d.Len())
	}
	if v, ok := d.Get(Text("19")); !ok || v != NewInt(19) {
		t.Errorf("Get(19) = %v, %v", v, ok)
	}
	var none *Dict
	if _, ok := none.Get(Text("k")); ok || none.Len() != 0 {
		t.Error("a nil dict has a key")
	}
	for range none.All() {
		t.Error("a nil dict has a key")
	}
}

func TestInt(t *testing.T) {
	t.Parallel()
	if n, err := ParseInt("0"); err != nil || n != (Int{}) || n.String() != "0" {
		t.Errorf("ParseInt(0) = %v, %v", n, err)
	}
	n, err := ParseInt("-9223372036854775808")
	if i, ok := n.Int64(); err != nil || !ok || i != math.MinInt64 || n != NewInt(math.MinInt64) {
		t.Errorf("the least int64 = %v, %v, %v", i, ok, err)
	}
	n, _ = ParseInt("9223372036854775808")
	if _, ok := n.Int64(); ok || n.Big().String() != "9223372036854775808" {
		t.Errorf("2^63 fits an int64, or is %v", n.Big())
	}
	for _, text := range []string{"", "-", "-0", "00", "1x", "0x1", " 1"} {
		if n, err := ParseInt(text); err == nil {
			t.Errorf("ParseInt(%q) = %v", text, n)
		}
	}
}
