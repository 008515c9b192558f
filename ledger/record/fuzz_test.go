package record

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func FuzzUnpack(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		vs, err := Unpack(text)
		if err != nil {
			if r := ReasonOf(err); r != MalformedPacking && r != TooDeep {
				t.Fatal(err)
			}
			return
		}
		packed, err := AppendPack(nil, vs...)
		if err != nil {
			t.Fatal(err)
		}
		if utf8.Valid(text) && !bytes.Contains(text, []byte("l8 ")) && !bytes.Equal(packed, text) {
			t.Fatalf("%q packs to %q", text, packed)
		}
		again, err := Unpack(packed)
		if err != nil || !Equal(List(again), List(vs)) {
			t.Fatalf("%q reads as %v, %v", packed, again, err)
		}
	})
}

func FuzzCheck(f *testing.F) {
	for _, normal := range normalVectors(f)[:6] {
		f.Add(normal, DefaultStrength)
	}
	var c Checker
	f.Fuzz(func(t *testing.T, packed []byte, minStrength int) {
		agree(t, &c, packed, minStrength)
		normal, facts, err := Check(packed, minStrength)
		if err != nil {
			return
		}
		if again, err := c.Check(normal, minStrength); err != nil || again != facts {
			t.Fatalf("%q: %+v, %v; normalised %+v", packed, facts, err, again)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := ParseJSONValue(data); err == nil {
			text, err := AppendJSON(nil, v)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := ParseJSONValue(text); err != nil || !Equal(again, v) && len(text) <= MaxJSON {
				t.Fatalf("%s reads as %v, %v", text, again, err)
			}
		}
		r, err := ParseJSON(data)
		if err != nil {
			return
		}
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseJSON(text); err != nil || !Equal(again.Dict(), r.Dict()) {
			t.Fatalf("%s reads as %v, %v", text, again, err)
		}
	})
}
