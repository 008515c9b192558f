package record

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The vectors in testdata/codec.json and testdata/records.json were made by
// the original server and its client library.

// typed is a value as the vectors write it.
type typed struct {
	Int   *string
	Float *string
	Str   *string
	Bytes *string
	List  *[]typed
	Tuple *[]typed
	Dict  *[][2]typed
}

func (v typed) value(t testing.TB) Value {
	t.Helper()
	switch {
	case v.Int != nil:
		n, err := ParseInt(*v.Int)
		if err != nil {
			t.Fatal(err)
		}
		return n
	case v.Float != nil:
		f, err := strconv.ParseFloat(*v.Float, 64)
		if err != nil {
			t.Fatal(err)
		}
		return Float(f)
	case v.Str != nil:
		return Text(*v.Str)
	case v.Bytes != nil:
		b, err := base64.StdEncoding.DecodeString(*v.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return Bytes(b)
	case v.List != nil:
		return List(values(t, *v.List))
	case v.Tuple != nil:
		return Tuple(values(t, *v.Tuple))
	case v.Dict != nil:
		d := new(Dict)
		for _, kv := range *v.Dict {
			d.Set(kv[0].value(t), kv[1].value(t))
		}
		return d
	}
	t.Fatal("a value of unknown type in the vectors")
	return nil
}

func values(t testing.TB, vs []typed) []Value {
	out := []Value{}
	for _, v := range vs {
		out = append(out, v.value(t))
	}
	return out
}

type codecVectors struct {
	Packer []struct {
		Value   []typed
		Packed  string
		Decoded []typed
	}
	PackerBad []struct{ Packed string } `json:"packer_bad"`
	PythonStr []struct {
		Value typed
		Str   string
		CP437 *[]byte
	} `json:"python_str"`
}

type recordVectors struct {
	ValidChain []struct {
		Record                    typed
		Packed, Hash, Proof, Link string
		Strength                  int
	} `json:"valid_chain"`
	Variants []struct {
		Name, Packed string
	}
}

func readVectors[V any](t testing.TB, name string) (v V) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPackVectors(t *testing.T) {
	t.Parallel()
	v := readVectors[codecVectors](t, "codec.json")
	if len(v.Packer) == 0 || len(v.PackerBad) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Packer {
		in := values(t, c.Value)
		packed, err := AppendPack(nil, in...)
		if err != nil || string(packed) != c.Packed {
			t.Errorf("AppendPack = %q, %v; want %q", packed, err, c.Packed)
		}
		want := in // where the original cannot decode, too
		if c.Decoded != nil {
			want = values(t, c.Decoded)
		}
		got, err := Unpack([]byte(c.Packed))
		if err != nil || !Equal(List(got), List(want)) {
			t.Errorf("Unpack(%q) = %s, %v; want %s", c.Packed, PythonStr(List(got)), err, PythonStr(List(want)))
		}
		if wide := c.Packed; utf8.RuneCountInString(wide) == len(wide) {
			continue
		}
		// The same in code page 437, where it can be.
		if text, ok := appendCP437(nil, []byte(c.Packed)); ok {
			got, err := Unpack(text)
			if err != nil || !Equal(List(got), List(want)) {
				t.Errorf("Unpack of code page 437 (%q) = %s, %v; want %s", text, PythonStr(List(got)), err, PythonStr(List(want)))
			}
		}
	}
	for _, c := range v.PackerBad {
		got, err := Unpack([]byte(c.Packed))
		if ReasonOf(err) != MalformedPacking {
			t.Errorf("Unpack(%q) = %s, %v; want reason %s", c.Packed, PythonStr(List(got)), err, MalformedPacking)
		}
	}
}

func TestPythonStrVectors(t *testing.T) {
	t.Parallel()
	v := readVectors[codecVectors](t, "codec.json")
	if len(v.PythonStr) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.PythonStr {
		got := PythonStr(c.Value.value(t))
		if got != c.Str {
			t.Errorf("PythonStr = %s, want %s", got, c.Str)
		}
		cp, ok := appendCP437(nil, []byte(got))
		switch {
		case ok != (c.CP437 != nil):
			t.Errorf("%s in code page 437: %v, want %v", got, ok, c.CP437 != nil)
		case ok && string(cp) != string(*c.CP437):
			t.Errorf("%s in code page 437 = %x, want %x", got, cp, *c.CP437)
		}
	}
}

func TestCP437(t *testing.T) {
	t.Parallel()
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	text := decodeCP437(all)
	// From Python 3.11: bytes(range(256)).decode("cp437").encode()
	const want = "754c5bb3fea001ec959c555075130320962d3b98446117fb8cf28ae37eb06fc7"
	if got := hexSum(text); got != want {
		t.Errorf("all bytes decode to a text of hash %s, want %s", got, want)
	}
	back, ok := appendCP437(nil, text)
	if !ok || string(back) != string(all) {
		t.Errorf("all bytes encode to %x, %v", back, ok)
	}
	if _, ok := appendCP437(nil, []byte("日")); ok {
		t.Error("a character outside code page 437 was encoded")
	}
}

func TestPrintableTable(t *testing.T) {
	t.Parallel()
	// From Python 3.11: bytes(chr(c).isprintable() for c in range(0x110000))
	const want = "8a3c3a3d69c6e08239dab306dcf53a58ec670792bac351388902bb0a4c818343"
	bits := make([]byte, utf8.MaxRune+1)
	for r := range bits {
		if printable(rune(r)) {
			bits[r] = 1
		}
	}
	sum := sha256.Sum256(bits)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the table has hash %s, want %s", got, want)
	}
}

func TestRecordVectors(t *testing.T) {
	t.Parallel()
	v := readVectors[recordVectors](t, "records.json")
	if len(v.ValidChain) != 8 {
		t.Fatalf("%d records in the chain, want 8", len(v.ValidChain))
	}
	prev := strings.Repeat("0", 64)
	var c Checker
	for _, e := range v.ValidChain {
		r, err := Parse([]byte(e.Packed))
		if err != nil {
			t.Fatal(err)
		}
		if want := e.Record.value(t); !Equal(r.Dict(), want) {
			t.Errorf("Parse = %s, want %s", PythonStr(r.Dict()), PythonStr(want))
		}
		hash, err := r.ComputeHash()
		if err != nil || hash != e.Hash {
			t.Errorf("hash %s, %v; want %s", hash, err, e.Hash)
		}
		proof, err := r.ComputeProof()
		if err != nil || proof != e.Proof {
			t.Errorf("proof %s, %v; want %s", proof, err, e.Proof)
		}
		link, err := r.ComputeLink(prev)
		if err != nil || link != e.Link {
			t.Errorf("link %s, %v; want %s", link, err, e.Link)
		}
		if got, _ := r.text(KeyPrevHash); got != prev {
			t.Errorf("_PrevHash %s, want %s", got, prev)
		}
		prev = link

		normal, facts, err := Check([]byte(e.Packed), DefaultStrength)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := r.ContentID()
		header, _ := r.Header()
		// The vectors count no more than eight digits of the strength.
		if facts.Strength != e.Strength || !facts.Linked || facts.ContentID != id || facts.Header != header {
			t.Errorf("facts %+v", facts)
		}
		stamp, _ := r.text(KeyStamp)
		if got := strconv.FormatInt(facts.Time.Unix(), 10) + ".0"; got != stamp {
			t.Errorf("the header says it is of %s, stamp %s", got, stamp)
		}
		if again, err := c.Check(normal, DefaultStrength); err != nil || again != facts {
			t.Errorf("Check again: %+v, %v; want %+v", again, err, facts)
		}
		if _, err := c.Check(normal, facts.Strength+1); ReasonOf(err) != WeakProof {
			t.Errorf("Check with more strength: %v, want reason %s", err, WeakProof)
		}
	}
}

func TestRecordVariants(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		reason Reason
		detail []string
	}{
		"intact":                   {},
		"payload changed":          {HashMismatch, []string{`"fe246f0c9e90"`, "also proof-mismatch"}},
		"header changed":           {HashMismatch, []string{"also proof-mismatch"}},
		"replicated count changed": {},
		"proof changed":            {ProofMismatch, []string{`"000000000000"`, `"e319e57e2696"`}},
		"powrand changed":          {ProofMismatch, nil},
		"hash removed":             {MissingHash, []string{"_Hash"}},
		"proof removed":            {MissingProof, []string{"_Proof"}},
		"extra top-level key":      {HashMismatch, []string{`"extra"`, "also proof-mismatch"}},
	}
	v := readVectors[recordVectors](t, "records.json")
	if len(v.Variants) != len(want) {
		t.Fatalf("%d variants, want %d", len(v.Variants), len(want))
	}
	intact, facts, err := Check([]byte(v.Variants[0].Packed), DefaultStrength)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range v.Variants {
		w := want[e.Name]
		normal, f, err := Check([]byte(e.Packed), DefaultStrength)
		if ReasonOf(err) != w.reason {
			t.Errorf("%s: %v, want reason %q", e.Name, err, w.reason)
		}
		for _, part := range w.detail {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not name %s", e.Name, err, part)
			}
		}
		if w.reason == "" && (string(normal) != string(intact) || f != facts) {
			t.Errorf("%s: normal form %s, facts %+v; want %s, %+v", e.Name, normal, f, intact, facts)
		}
	}

	// As they came, they are not in normal form; sorted, Replicated counts.
	var c Checker
	for _, e := range v.Variants {
		if _, err := c.Check([]byte(e.Packed), DefaultStrength); ReasonOf(err) != NotNormalForm {
			t.Errorf("%s, not normalised: %v, want reason %s", e.Name, err, NotNormalForm)
		}
	}
	travelled := strings.Replace(string(intact), "i4 0 ", "i4 2 ", 1)
	if _, err := c.Check([]byte(travelled), DefaultStrength); ReasonOf(err) != NotNormalForm {
		t.Errorf("Replicated 2: %v, want reason %s", err, NotNormalForm)
	}
}
