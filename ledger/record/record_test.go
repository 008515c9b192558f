package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"
)

var testTime = time.Date(2026, 11, 22, 2, 22, 44, 123456789, time.FixedZone("", 3600))

func newTestRecord(t testing.TB, payload *Dict) *Record {
	t.Helper()
	r, err := New(payload, testTime, strings.NewReader("\xff\xfe\x00\x11\x22\x33\x44\x55"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNew(t *testing.T) {
	t.Parallel()
	r := newTestRecord(t, new(Dict).Set(Text("name"), Text("x")).Set(Text("rate"), Float(1.0/3)))
	const want = "{'header': '37dda087-e613-11f1-bffe-011122334455', " +
		"'PayLoad': {'Default': 'None', 'name': 'x', 'rate': 0.333333}, " +
		"'now': 'Sun, 22 Nov 2026 01:22:44', 'stamp': '1795310564.0', 'iso': '2026-11-22T01:22:44', 'Replicated': 0, " +
		"'_Hash': '"
	if got := PythonStr(r.Dict()); !strings.HasPrefix(got, want) {
		t.Errorf("New = %s, want %s…", got, want)
	}
	id, err := r.Header()
	if err != nil || id.Version() != 1 || id.Variant() != uuid.RFC4122 {
		t.Errorf("header %v, %v of version %v", id, err, id.Version())
	}
	if got := HeaderTime(id); !got.Equal(testTime.Truncate(100)) || got.Location() != time.UTC {
		t.Errorf("HeaderTime = %v, want %v", got, testTime.UTC())
	}
	if id[10]&1 == 0 {
		t.Error("the node looks like a machine's address")
	}
	if _, _, err := Check(mustPack(t, r.Dict()), 0); ReasonOf(err) != MissingProof {
		t.Errorf("a new record: %v, want reason %s", err, MissingProof)
	}
	mint(t, r, make([]byte, 8))
	if _, _, err := Check(mustPack(t, r.Dict()), 1); err != nil {
		t.Errorf("minted: %v", err)
	}

	own := newTestRecord(t, new(Dict).Set(Text("name"), Text("x")).Set(Text("Default"), Text("own")))
	if got := PythonStr(own.Payload()); got != "{'name': 'x', 'Default': 'own'}" {
		t.Errorf("payload with a Default of its own: %s", got)
	}
	if got := PythonStr(newTestRecord(t, nil).Payload()); got != "{'Default': 'None'}" {
		t.Errorf("no payload: %s", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	random := strings.NewReader(strings.Repeat("r", 999))
	for _, now := range []time.Time{{}, time.Unix(-1, 0), time.Date(5236, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if _, err := New(nil, now, random); ReasonOf(err) != BadValue {
			t.Errorf("dated %v: %v, want reason %s", now, err, BadValue)
		}
	}
	last := time.Date(5235, 12, 31, 23, 59, 59, 0, time.UTC)
	if r, err := New(nil, last, random); err != nil {
		t.Error(err)
	} else if id, _ := r.Header(); !HeaderTime(id).Equal(last) {
		t.Errorf("HeaderTime = %v, want %v", HeaderTime(id), last)
	}
	if _, err := New(new(Dict).Set(Text("f"), Float(math.NaN())), testTime, random); ReasonOf(err) != BadValue {
		t.Errorf("NaN: %v, want reason %s", err, BadValue)
	}
	if _, err := New(new(Dict).Set(Text("t"), Text(strings.Repeat("x", MaxRecord))), testTime, random); ReasonOf(err) != TooLarge {
		t.Errorf("too large: %v, want reason %s", err, TooLarge)
	}
	if _, err := New(nil, testTime, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("no randomness: %v", err)
	}
	if _, err := New(nil, testTime, iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("no randomness: %v", err)
	}
}

func TestFromDictCopies(t *testing.T) {
	t.Parallel()
	raw := Bytes("abc")
	list := List{Float(0.12345678), raw}
	d := new(Dict).Set(Text("l"), list)
	r, err := FromDict(d)
	if err != nil {
		t.Fatal(err)
	}
	list[0], raw[0] = Text("changed"), 'x'
	if got := PythonStr(r.Dict()); got != "{'l': [0.123457, b'abc']}" {
		t.Errorf("FromDict = %s", got)
	}
	if _, err := FromDict(new(Dict).Set(NewInt(1), list)); ReasonOf(err) != NotRecord {
		t.Errorf("a key that is no text: %v, want reason %s", err, NotRecord)
	}
}

func TestZeroRecord(t *testing.T) {
	t.Parallel()
	var r Record
	if _, err := r.Header(); ReasonOf(err) != BadHeader {
		t.Errorf("Header: %v", err)
	}
	if r.Payload() != nil {
		t.Error("a payload")
	}
	if normal, err := r.Normal(); err != nil || !bytes.Equal(normal, mustPack(t, new(Dict).Set(Text(KeyReplicated), Int{}))) {
		t.Errorf("Normal = %q, %v", normal, err)
	}
	for _, f := range []func() (string, error){r.ComputeHash, r.ComputeProof} {
		if _, err := f(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.ComputeLink("0"); ReasonOf(err) != LinkMismatch {
		t.Errorf("ComputeLink: %v, want reason %s", err, LinkMismatch)
	}
	r.Set("k", nil)
	if _, err := r.Normal(); ReasonOf(err) != BadValue {
		t.Errorf("a nil value: %v, want reason %s", err, BadValue)
	}
	if _, err := r.ComputeProof(); ReasonOf(err) != BadValue {
		t.Errorf("a nil value: %v, want reason %s", err, BadValue)
	}
}

func TestContentID(t *testing.T) {
	t.Parallel()
	r := newTestRecord(t, nil)
	id, err := r.ContentID()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseContentID(id.String())
	if err != nil || parsed != id {
		t.Errorf("ParseContentID = %v, %v; want %v", parsed, err, id)
	}
	for _, bad := range []string{"", id.String()[1:], strings.ToUpper(id.String()), id.String() + "0", strings.Repeat("g", 64)} {
		if got, err := ParseContentID(bad); err == nil {
			t.Errorf("ParseContentID(%q) = %v", bad, got)
		}
	}
	mint(t, r, make([]byte, 8))
	if err := r.SetLink(strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	r.Set(KeyReplicated, NewInt(2))
	if got, err := r.ContentID(); err != nil || got != id {
		t.Errorf("minted, linked and sent on: %v, %v; want %v", got, err, id)
	}
	r.Set("extra", Text("1"))
	if got, _ := r.ContentID(); got == id {
		t.Error("another key, but the same ID")
	}
}

func TestHeaderTimeOfOtherVersions(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"00000000-0000-0000-0000-000000000000",
		"f47ac10b-58cc-4372-a567-0e02b2c3d479", // version 4
		"37e108b0-e613-11f1-ca1b-02fc00000001", // version 1 of another variant
	} {
		id := uuid.MustParse(text)
		if got := HeaderTime(id); !got.IsZero() {
			t.Errorf("HeaderTime(%s) = %v, want the zero time", text, got)
		}
	}
}

func TestContentIDText(t *testing.T) {
	t.Parallel()
	id, err := newTestRecord(t, nil).ContentID()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[ContentID]ContentID{id: id})
	if want := fmt.Sprintf(`{"%s":"%[1]s"}`, id); err != nil || string(text) != want {
		t.Errorf("as JSON %s, %v; want %s", text, err, want)
	}
	var back map[ContentID]ContentID
	if err := json.Unmarshal(text, &back); err != nil || back[id] != id {
		t.Errorf("%s reads as %v, %v", text, back, err)
	}
	if err := json.Unmarshal([]byte(`"00"`), &id); ReasonOf(err) != BadValue {
		t.Errorf("a short ID: %v, want reason %s", err, BadValue)
	}
}

// What cannot be packed still has a str(), for messages.
func TestPythonStrOfUnpackable(t *testing.T) {
	t.Parallel()
	loop := List{nil}
	loop[0] = Tuple{loop}
	for _, c := range []struct {
		v    Value
		want string
	}{
		{List{Float(math.NaN()), Float(math.Inf(1)), Float(math.Inf(-1))}, "[nan, inf, -inf]"},
		{nil, "None"},
		{(*Dict)(nil), "{}"},
		{Text("\xff"), "\xff"},
		{List{Text("a\xff'")}, "[\"a\ufffd'\"]"},
		{loop, strings.Repeat("[(", MaxDepth/2) + "..." + strings.Repeat(",)]", MaxDepth/2)},
	} {
		if got := PythonStr(c.v); got != c.want {
			t.Errorf("PythonStr = %q, want %q", got, c.want)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	all := []Value{
		nil, Int{}, NewInt(1), Float(0), Float(math.Copysign(0, -1)), Float(math.NaN()), Text(""), Text("0"), Bytes{}, Bytes("0"),
		List{}, List{Int{}}, List{Text("")}, Tuple{}, Tuple{Int{}}, new(Dict),
		new(Dict).Set(Text("a"), Int{}).Set(Text("b"), Int{}), new(Dict).Set(Text("b"), Int{}).Set(Text("a"), Int{}),
	}
	for i, a := range all {
		for j, b := range all {
			if Equal(a, b) != (i == j) {
				t.Errorf("Equal(%s, %s) = %v", PythonStr(a), PythonStr(b), i != j)
			}
		}
	}
}
