package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Text("José \"日本\" <\\>\n\x01\u2028"), "\"José \\\"日本\\\" <\\\\>\\n\\u0001\u2028\""},
		{Int{}, "0"},
		{Int{"-123456789012345678901234567890"}, "-123456789012345678901234567890"},
		{Float(1), "1.0"},
		{Float(1e20), "1e+20"},
		{Float(0.000001), "1e-06"},
		{Bytes{0, 1, 254}, `{"bytes":"AAH+"}`},
		{Bytes{}, `{"bytes":""}`},
		{List{}, "[]"},
		{List{NewInt(1), List{Text("a")}}, `[1,["a"]]`},
		{Tuple{}, `{"tuple":[]}`},
		{Tuple{NewInt(1), Tuple{}}, `{"tuple":[1,{"tuple":[]}]}`},
		{new(Dict), "{}"},
		{new(Dict).Set(Text("b"), NewInt(1)).Set(Text("a"), NewInt(2)), `{"b":1,"a":2}`},
		{new(Dict).Set(Text("bytes"), Text("AAH+")), `{"dict":[["bytes","AAH+"]]}`},
		{new(Dict).Set(Text("tuple"), List{}), `{"dict":[["tuple",[]]]}`},
		{new(Dict).Set(Text("dict"), List{}), `{"dict":[["dict",[]]]}`},
		{new(Dict).Set(Text("dict"), List{}).Set(Text("tuple"), List{}), `{"dict":[],"tuple":[]}`},
		{new(Dict).Set(Tuple{NewInt(1)}, Bytes("x")), `{"dict":[[{"tuple":[1]},{"bytes":"eA=="}]]}`},
	} {
		got, err := AppendJSON([]byte("x"), c.v)
		if err != nil || string(got) != "x"+c.want {
			t.Errorf("AppendJSON = %s, %v; want x%s", got, err, c.want)
		}
		if back, err := ParseJSONValue([]byte(c.want)); err != nil || !Equal(back, c.v) {
			t.Errorf("%s reads as %v, %v", c.want, back, err)
		}
	}
	for text, want := range map[string]Value{
		" {\"dict\" : [ ] } ":        new(Dict),
		`{"dict":[["a",1],["b",2]]}`: new(Dict).Set(Text("a"), NewInt(1)).Set(Text("b"), NewInt(2)),
		"-0":                         Int{},
		"1E2":                        Float(100),
		"\ufeff[1]":                  List{NewInt(1)},
		`"\ud83d\ude00\\ud83d"`:      Text(`😀\ud83d`),
	} {
		if got, err := ParseJSONValue([]byte(text)); err != nil || !Equal(got, want) {
			t.Errorf("%s reads as %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "too early",
		"[1":                            "too early",
		`{"a":`:                         "too early",
		"null":                          "null cannot be packed",
		"[true]":                        "true cannot be packed",
		`{"a":false}`:                   "false cannot be packed",
		`{"a":1,"b":2,"a":3}`:           "twice",
		`{"a":1,"\u0061":3}`:            "twice",
		`{"dict":[["a",1],["a",1]]}`:    "twice",
		`{"dict":[[1,1],[1.0,1]]}`:      "twice",
		`{"dict":[["a"]]}`:              "key and value",
		`{"dict":{}}`:                   "array",
		`{"dict":[[[],1]]}`:             "cannot be packed",
		`{"tuple":1}`:                   "array",
		`{"bytes":1}`:                   "base64",
		`{"bytes":"A"}`:                 "base64",
		`{"bytes":"AA=="} 1`:            "after the value",
		`{"bytes":"AB=="}`:              "base64",
		`"\ud83d"`:                      "UTF-16",
		`"\ud83d\u0041"`:                "UTF-16",
		`"\ude00\ud83d"`:                "UTF-16",
		"\"\xff\"":                      "UTF-8",
		"1e999":                         "too large",
		"-1e999":                        "too large",
		"1" + strings.Repeat("0", 1000): "digits",
		"[1,]":                          "']' at byte 4: want a value",
		"{,}":                           "',' at byte 2: want a key in quotes",
		"01":                            "after the value",
		`{"a" 1}`:                       "'1' at byte 6: want a colon",
		`{1:1}`:                         "'1' at byte 2: want a key in quotes",
		"[1]]":                          "']' at byte 4: want nothing more",
		"NaN":                           "'N' at byte 1: want a value",
		`["a",é]`:                       "'é' at byte 6: want a value",
		`[選挙]`:                          "'選' at byte 2: want a value",
		`{"a":1 é}`:                     "'é' at byte 8: want a comma or }",
		`{"a":"b}`:                      "too early",
		"[\"a\nb\"]":                    "'\\n' at byte 4: line breaks",
		`["\é"]`:                        "'é' at byte 4: no such escape",
		`[1.]`:                          "']' at byte 4 cannot stand after decimal point",
		`\ud83d`:                        "half a UTF-16 pair",
		"\xff\xfe[\x001\x00]\x00":       "UTF-16; save it as UTF-8",
		"[\x00\"\x00é\x00":              "UTF-16; save it as UTF-8",
		"\x1f\x8b\x08":                  "compressed by gzip",
	} {
		got, err := ParseJSONValue([]byte(text))
		if ReasonOf(err) != BadJSON || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s reads as %v, %v; want reason %s and %q", text, got, err, BadJSON, want)
		}
	}
	for text, want := range map[string]Reason{
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1):                    TooDeep,
		strings.Repeat("[", MaxJSON):                                                         TooDeep,
		strings.Repeat(`{"dict":[[1,`, MaxDepth+1) + "1" + strings.Repeat("]]}", MaxDepth+1): TooDeep,
		strings.Repeat(" ", MaxJSON) + "1":                                                   TooLarge,
	} {
		if got, err := ParseJSONValue([]byte(text)); ReasonOf(err) != want {
			t.Errorf("%.40s… reads as %v, %v; want reason %s", text, got, err, want)
		}
	}
	deep := strings.Repeat(`{"dict":[[1,`, MaxDepth) + "1" + strings.Repeat("]]}", MaxDepth)
	if _, err := ParseJSONValue([]byte(deep)); err != nil {
		t.Errorf("dicts %d deep: %v", MaxDepth, err)
	}
}

// TestJSONNumbers reads numbers: what is kept is what was written, to the last digit, or it is refused.
func TestJSONNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0":                            "0",
		"-0":                           "0",
		"0.0":                          "0.0",
		"-0.0":                         "-0.0",
		"0e999999999":                  "0.0",
		"0.000":                        "0.0",
		"1.5":                          "1.5",
		"1.50000000000000000000":       "1.5",
		"0.000001":                     "1e-06",
		"1e-6":                         "1e-06",
		"10e-7":                        "1e-06",
		"123456789.123456":             "123456789.123456",
		"9007199254740992.0":           "9007199254740992.0",
		"9007199254740993":             "9007199254740993",
		"1E2":                          "100.0",
		"-12.5e+3":                     "-12500.0",
		"1e22":                         "1e+22",
		"1e23":                         "1e+23",
		"1.7976931348623157e308":       "1.7976931348623157e+308",
		strings.Repeat("9", 300):       strings.Repeat("9", 300),
		"0." + strings.Repeat("0", 99): "0.0",
	} {
		v, err := ParseJSONValue([]byte(text))
		if err != nil {
			t.Errorf("%s is refused: %v", text, err)
			continue
		}
		packed, err := AppendPack(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := Unpack(packed)
		if err != nil || len(kept) != 1 || PythonStr(kept[0]) != want {
			t.Errorf("%s is kept as %v, %v; want %s", text, kept, err, want)
		}
	}
	for _, text := range []string{
		"0.0000004", "-0.0000004", "0.0000005", "1e-7", "1e-400", "-1e-400", "1.1234567", "0.30000000000000004", "9007199254740993.0",
		"-9007199254740993.0", "90071992547409930e-1", "123456789012345678.5", "12345678901.123456", "1.00000000000000000001", "1e400", "-1e400",
		"1.7976931348623159e308", "0." + strings.Repeat("9", 1000), "123456789012345678901234567890.0",
	} {
		for form, read := range map[string]func([]byte) error{
			"%s":                        func(b []byte) error { _, err := ParseJSONValue(b); return err },
			`{"a":[{"b":%s}]}`:          func(b []byte) error { _, err := ParseJSONValue(b); return err },
			`{"dict":[[%s,1]]}`:         func(b []byte) error { _, err := ParseJSONValue(b); return err },
			`{"PayLoad":{"amount":%s}}`: func(b []byte) error { _, err := ParseJSON(b); return err },
		} {
			err := read(fmt.Appendf(nil, form, text))
			if ReasonOf(err) != BadJSON || !strings.Contains(err.Error(), "write it as text, in quotes") {
				t.Errorf("%s: %v, want it refused with what to write instead", fmt.Sprintf(form, text), err)
			}
		}
	}
}

func TestRecordJSON(t *testing.T) {
	t.Parallel()
	for _, e := range readVectors[recordVectors](t, "records.json").ValidChain {
		r, err := Parse([]byte(e.Packed))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON(text)
		if err != nil || !Equal(back.Dict(), r.Dict()) {
			t.Errorf("%s reads as %v, %v", text, back, err)
		}
	}
	// At top level an object is a record, whatever its keys.
	r, err := ParseJSON([]byte(`{"tuple":[1, 0.123457]}`))
	if err != nil || PythonStr(r.Dict()) != "{'tuple': [1, 0.123457]}" {
		t.Errorf("ParseJSON = %v, %v", r, err)
	}
	if text, err := r.MarshalJSON(); err != nil || string(text) != `{"tuple":[1,0.123457]}` {
		t.Errorf("MarshalJSON = %s, %v", text, err)
	}
	if _, err := ParseJSON([]byte("[]")); ReasonOf(err) != NotRecord {
		t.Errorf("an array: %v, want reason %s", err, NotRecord)
	}
	if _, err := ParseJSON([]byte(`{"a":"` + strings.Repeat("x", MaxRecord) + `"}`)); ReasonOf(err) != TooLarge {
		t.Errorf("too large: %v, want reason %s", err, TooLarge)
	}
	r.Set("bad", nil)
	if _, err := r.MarshalJSON(); ReasonOf(err) != BadValue {
		t.Errorf("a nil value: %v, want reason %s", err, BadValue)
	}
}
