package record

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// normalVectors returns the records of the chain in normal form.
func normalVectors(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	for _, e := range readVectors[recordVectors](t, "records.json").ValidChain {
		normal, _, err := Check([]byte(e.Packed), DefaultStrength)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, normal)
	}
	return out
}

// Every bit of every record counts.
func TestCheckBitFlips(t *testing.T) {
	t.Parallel()
	all := normalVectors(t)
	for _, normal := range [][]byte{all[2], all[4], all[5]} { // numbers, nesting, not in ASCII
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var c Checker
			flipped := slices.Clone(normal)
			for i := range flipped {
				for bit := range 8 {
					flipped[i] ^= 1 << bit
					if _, err := c.Check(flipped, DefaultStrength); err == nil {
						t.Errorf("accepted with bit %d of byte %d flipped: %q", bit, i, flipped)
					}
					flipped[i] ^= 1 << bit
				}
			}
			for i := range flipped {
				if _, err := c.Check(flipped[:i], DefaultStrength); err == nil {
					t.Errorf("accepted cut to %d bytes", i)
				}
			}
			if _, err := c.Check(append(flipped, ' '), DefaultStrength); err == nil {
				t.Error("accepted with a space behind it")
			}
			if _, err := c.Check(normal, DefaultStrength); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckReasons(t *testing.T) {
	t.Parallel()
	normal := normalVectors(t)[0]
	for _, c := range []struct {
		name   string
		change func(*Record)
		want   Reason
		detail string
	}{
		{"no header", func(r *Record) { r.Delete(KeyHeader) }, BadHeader, "no header"},
		{"header a number", func(r *Record) { r.Set(KeyHeader, NewInt(1)) }, BadHeader, "an integer"},
		{"header in capitals", func(r *Record) { r.Set(KeyHeader, Text("37E108B0-e613-11f1-aa1b-02fc00000001")) }, BadHeader, "37E108B0"},
		{"header without hyphens", func(r *Record) { r.Set(KeyHeader, Text("37e108b0e61311f1aa1b02fc00000001")) }, BadHeader, "37e108b0e6"},
		{"header in braces", func(r *Record) { r.Set(KeyHeader, Text("{37e108b0-e613-11f1-aa1b-02fc0000000}")) }, BadHeader, "hyphens"},
		{"no payload", func(r *Record) { r.Delete(KeyPayload) }, BadPayload, "also hash-mismatch"},
		{"payload a list", func(r *Record) { r.Set(KeyPayload, List{}) }, BadPayload, "a list"},
		{"hash of one character", func(r *Record) { r.Set(KeyHash, Text("a")) }, HashMismatch, `"a"`},
		{"hash as bytes", func(r *Record) { r.Set(KeyHash, Bytes{1}) }, HashMismatch, "bytes"},
		{"weak proof", func(r *Record) { r.Set(KeyProof, Text(strings.Repeat("1", 64))) }, WeakProof, "also proof-mismatch"},
		{"proof an int", func(r *Record) { r.Set(KeyProof, NewInt(10000)) }, WeakProof, "an integer"},
		{"nonce as text", func(r *Record) {
			v, _ := r.Get(KeyPowRand)
			r.Set(KeyPowRand, Text(PythonStr(v)))
		}, ProofMismatch, "want bytes"},
		{"no nonce", func(r *Record) { r.Delete(KeyPowRand) }, ProofMismatch, "also link-mismatch"},
		{"link without previous", func(r *Record) { r.Delete(KeyPrevHash) }, LinkMismatch, "no _PrevHash"},
		{"other previous", func(r *Record) { r.Set(KeyPrevHash, Text(strings.Repeat("1", 64))) }, LinkMismatch, "_Link says"},
		{"previous no hash", func(r *Record) { r.Set(KeyPrevHash, Text("none")) }, LinkMismatch, "none"},
		{"link a list", func(r *Record) { r.Set(KeyLink, List{}) }, LinkMismatch, "a list"},
		{"only previous", func(r *Record) { r.Delete(KeyLink) }, "", ""},
		{"no link", func(r *Record) { r.Delete(KeyLink); r.Delete(KeyPrevHash) }, "", ""},
		{"too large", func(r *Record) { r.Payload().Set(Text("more"), Text(strings.Repeat("x", MaxRecord))) }, TooLarge, ""},
	} {
		r, err := Parse(normal)
		if err != nil {
			t.Fatal(err)
		}
		c.change(r)
		packed, err := AppendPack(nil, r.sorted(0))
		if err != nil {
			t.Fatal(err)
		}
		var checker Checker
		_, err = checker.Check(packed, DefaultStrength)
		if ReasonOf(err) != c.want || err != nil && !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%s: %v, want reason %q and %q", c.name, err, c.want, c.detail)
		}
		agree(t, &checker, packed, DefaultStrength)
	}
}

func TestCheckForm(t *testing.T) {
	t.Parallel()
	normal := string(normalVectors(t)[0])
	r, err := Parse([]byte(normal))
	if err != nil {
		t.Fatal(err)
	}
	deep := r.sorted(0).Set(Text("deep"), nested(MaxDepth-1))
	deep.sort()
	unsorted := r.sorted(0)
	slices.Reverse(unsorted.pairs)
	for _, c := range []struct {
		name   string
		packed []byte
		want   Reason
	}{
		{"nothing", nil, MalformedPacking},
		{"no items", mustPack(t), NotRecord},
		{"two items", mustPack(t, r.sorted(0), r.sorted(0)), NotRecord},
		{"a list", mustPack(t, List{r.sorted(0)}), NotRecord},
		{"a key that is no text", mustPack(t, r.sorted(0).Set(NewInt(1), Text("x"))), NotRecord},
		{"no Replicated", mustPack(t, r.sorted(roles(roleReplicated))), NotNormalForm},
		{"Replicated a text", mustPack(t, r.sorted(0).Set(Text(KeyReplicated), Text("0"))), NotNormalForm},
		{"unsorted", mustPack(t, unsorted), NotNormalForm},
		{"an old long", []byte(strings.NewReplacer("'si' s10 'Replicated' i4 0", "'sl' s10 'Replicated' l8 0").Replace(normal)), NotNormalForm},
		{"code page 437", bytes.Replace([]byte(normal), []byte("'Voter One'"), []byte("'Voter \x82ne'"), 1), NotNormalForm},
		{"as deep as may be", mustPack(t, deep), HashMismatch},
		{"too large", make([]byte, MaxRecord+1), TooLarge},
	} {
		var checker Checker
		if _, err := checker.Check(c.packed, DefaultStrength); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want reason %s", c.name, err, c.want)
		}
	}
}

// A hash over code page 437 counts like one over UTF-8, where there is one.
func TestCheckHashCP437(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"José Núñez", "日本"} {
		r := newTestRecord(t, new(Dict).Set(Text("name"), Text(name)))
		text, err := r.hashText()
		if err != nil {
			t.Fatal(err)
		}
		cp, ok := appendCP437(nil, text)
		if ok != (name == "José Núñez") {
			t.Fatalf("%s in code page 437: %v", name, ok)
		}
		mint(t, r, make([]byte, 8))
		r.Set(KeyHash, Text(hexSum(cp)))
		normal, err := r.Normal()
		if err != nil {
			t.Fatal(err)
		}
		var c Checker
		want := Reason("")
		if !ok {
			want = HashMismatch // of what could be converted
		}
		if _, err := c.Check(normal, 1); ReasonOf(err) != want {
			t.Errorf("%s: %v, want reason %q", name, err, want)
		}
	}
}

func TestCheckAllocs(t *testing.T) {
	normal := append(normalVectors(t), minted(t, 900))
	var c Checker
	for _, n := range normal {
		if !isASCII(n) {
			continue
		}
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := c.Check(n, 1); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations for %q", allocs, n)
		}
	}
}

// minted returns a valid record of some size, in normal form.
func minted(t testing.TB, size int) []byte {
	t.Helper()
	payload := new(Dict)
	for i := range (size - 700) / 50 {
		payload.Set(Text(fmt.Sprint("answer ", i)), Text("O'Brien"))
	}
	r := newTestRecord(t, payload)
	mint(t, r, make([]byte, 8))
	normal, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	return normal
}

func BenchmarkCheck(b *testing.B) {
	for _, size := range []int{900, 10000} {
		normal := minted(b, size)
		b.Run(fmt.Sprint(len(normal)), func(b *testing.B) {
			var c Checker
			b.SetBytes(int64(len(normal)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Check(normal, 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// TestHashesInMessages: whichever digit of a hash is wrong, the message shows two hashes that differ.
func TestHashesInMessages(t *testing.T) {
	t.Parallel()
	r := newTestRecord(t, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(Minter{Strength: 1, Workers: 1}.Mint(t.Context(), r))
	must(r.SetLink(strings.Repeat("0", 64)))
	quoted := regexp.MustCompile(`says (\S+), [^"]* gives? (\S+)`)
	for _, key := range []string{KeyHash, KeyProof, KeyLink} {
		v, _ := r.Get(key)
		for i := range 64 {
			changed := []byte(v.(Text))
			changed[i] ^= 1 // another digit, or letter
			bad, err := r.Normal()
			must(err)
			copied, err := Parse(bad)
			must(err)
			copied.Set(key, Text(changed))
			bad, err = copied.Normal()
			must(err)
			var checker Checker
			_, err = checker.Check(bad, 0)
			if err == nil {
				t.Fatalf("%s with another digit %d passes", key, i)
			}
			if m := quoted.FindStringSubmatch(err.Error()); m == nil || strings.TrimRight(m[1], ";") == strings.TrimRight(m[2], ";") {
				t.Errorf("%s, digit %d: %v", key, i, err)
			}
		}
	}
}
