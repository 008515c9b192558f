package record

import (
	"bytes"
	"context"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// genText draws text of all the kinds that matter: ASCII, code page 437,
// neither, quotes, and what repr() escapes.
func genText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9 _'"\\]{0,12}`),
		rapid.StringOfN(rapid.RuneFrom([]rune("aé'\"\\ü±∞ \t\n\x00\x7f")), 0, 10, -1),
		rapid.StringOfN(rapid.RuneFrom([]rune("aé日本😀\u0085\u00a0\u200b\ufeff\U000e0001")), 0, 10, -1),
		rapid.String(),
	)
}

func genInt() *rapid.Generator[Int] {
	return rapid.Custom(func(t *rapid.T) Int {
		n := new(big.Int).SetInt64(rapid.Int64().Draw(t, "int"))
		if rapid.Bool().Draw(t, "big") {
			n.Exp(n, big.NewInt(3), nil)
		}
		v, err := ParseInt(n.String())
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

// genFloat draws floats as they are after transport.
func genFloat() *rapid.Generator[Float] {
	return rapid.Custom(func(t *rapid.T) Float {
		return Float(roundFloat(rapid.OneOf(rapid.Float64(), rapid.Float64Range(-10, 10), rapid.Float64Range(-1e20, 1e20)).Draw(t, "float")))
	})
}

func genKey() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		switch rapid.IntRange(0, 9).Draw(t, "key") {
		case 0:
			return genInt().Draw(t, "int")
		case 1:
			return genFloat().Draw(t, "float")
		case 2:
			return Bytes(rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"))
		case 3:
			return Tuple{genInt().Draw(t, "int"), Text(genText().Draw(t, "text"))}
		}
		return Text(genText().Draw(t, "text"))
	})
}

func genValue(depth int) *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		kinds := 6
		if depth <= 0 {
			kinds = 3
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return Text(genText().Draw(t, "text"))
		case 1:
			return genInt().Draw(t, "int")
		case 2:
			return genFloat().Draw(t, "float")
		case 3:
			return Bytes(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		case 4:
			return List(rapid.SliceOfN(genValue(depth-1), 0, 4).Draw(t, "list"))
		case 5:
			return Tuple(rapid.SliceOfN(genValue(depth-1), 0, 4).Draw(t, "tuple"))
		}
		return genDict(depth).Draw(t, "dict")
	})
}

func genDict(depth int) *rapid.Generator[*Dict] {
	return rapid.Custom(func(t *rapid.T) *Dict {
		d := new(Dict)
		for range rapid.IntRange(0, 12).Draw(t, "len") {
			d.Set(genKey().Draw(t, "key"), genValue(depth-1).Draw(t, "value"))
		}
		return d
	})
}

// genRecord draws minted records, with a link or without, some of them with
// keys that clients do not write.
func genRecord() *rapid.Generator[*Record] {
	return rapid.Custom(func(t *rapid.T) *Record {
		seed := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "seed")
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		r, err := New(genDict(2).Draw(t, "payload"), now, bytes.NewReader(seed[:8]))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 2).Draw(t, "extra") {
			key := genText().Draw(t, "key")
			if roleOf(key) == roleOther {
				r.Set(key, genValue(1).Draw(t, "value"))
			}
		}
		mint(t, r, seed[8:])
		if rapid.Bool().Draw(t, "linked") {
			if err := r.SetLink(hexSum(seed)); err != nil {
				t.Fatal(err)
			}
		}
		return r
	})
}

// mint gives r a weak proof.
func mint(t interface{ Fatal(...any) }, r *Record, seed []byte) {
	m := Minter{Strength: 1, Workers: 1, Rand: bytes.NewReader(seed)}
	if err := m.Mint(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// slowCheck is Check without haste: on the tree, one rule after the other, and
// each hash from the method that says what it should be.
func slowCheck(packed []byte, minStrength int) (Facts, error) {
	refuse := func(r Reason) (Facts, error) { return Facts{}, &Error{Reason: r} }
	if len(packed) > MaxRecord {
		return refuse(TooLarge)
	}
	r, err := Parse(packed)
	if err != nil {
		return Facts{}, err
	}
	if normal, err := r.Normal(); err != nil || !bytes.Equal(normal, packed) {
		return refuse(NotNormalForm)
	}

	var f Facts
	if f.Header, err = r.Header(); err != nil {
		return Facts{}, err
	}
	f.Time = HeaderTime(f.Header)
	if v, _ := r.Get(KeyPayload); letterOf(v) != 'd' {
		return refuse(BadPayload)
	}
	stated, ok := r.text(KeyHash)
	if _, there := r.Get(KeyHash); !there {
		return refuse(MissingHash)
	}
	hash, err := r.ComputeHash()
	if err != nil {
		return Facts{}, err
	}
	text, err := r.hashText()
	if err != nil {
		return Facts{}, err
	}
	if !ok || stated != hash && stated != hexSum(proofBytes(text)) {
		return refuse(HashMismatch)
	}
	if _, there := r.Get(KeyProof); !there {
		return refuse(MissingProof)
	}
	stated, ok = r.text(KeyProof)
	if f.Strength = len(stated) - len(strings.TrimRight(stated, "0")); f.Strength < minStrength {
		return refuse(WeakProof)
	}
	if v, there := r.Get(KeyPowRand); there && letterOf(v) != 'b' {
		return refuse(ProofMismatch)
	}
	if proof, err := r.ComputeProof(); err != nil || !ok || stated != proof {
		return refuse(ProofMismatch)
	}
	if _, there := r.Get(KeyLink); there {
		stated, ok = r.text(KeyLink)
		prev, _ := r.text(KeyPrevHash)
		if link, err := r.ComputeLink(prev); err != nil || !ok || stated != link {
			return refuse(LinkMismatch)
		}
		f.Linked = true
	}
	f.ContentID, err = r.ContentID()
	return f, err
}

// agree fails the test unless Checker and slowCheck say the same of packed, and
// normalising it gives the same by both of its ways.
func agree(t interface{ Fatalf(string, ...any) }, c *Checker, packed []byte, minStrength int) {
	fast, ferr := c.Check(packed, minStrength)
	slow, serr := slowCheck(packed, minStrength)
	if fast != slow || ReasonOf(ferr) != ReasonOf(serr) || (ferr == nil) != (serr == nil) {
		t.Fatalf("%q\nfast: %+v, %v\nslow: %+v, %v", packed, fast, ferr, slow, serr)
	}
	normal, fast, ferr := c.Normalise(packed, minStrength)
	rebuilt, slow, serr := c.rebuild(packed, minStrength)
	if !bytes.Equal(normal, rebuilt) || fast != slow || ReasonOf(ferr) != ReasonOf(serr) || (ferr == nil) != (serr == nil) {
		t.Fatalf("%q\nnormalised: %q, %+v, %v\nrebuilt: %q, %+v, %v", packed, normal, fast, ferr, rebuilt, slow, serr)
	}
}

func TestPackRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		vs := rapid.SliceOfN(genValue(4), 0, 4).Draw(t, "values")
		packed, err := AppendPack([]byte("before"), vs...)
		if err != nil {
			t.Fatal(err)
		}
		packed, ok := bytes.CutPrefix(packed, []byte("before"))
		if !ok {
			t.Fatal("AppendPack changed what was there")
		}
		got, err := Unpack(packed)
		if err != nil || !Equal(List(got), List(vs)) {
			t.Fatalf("Unpack(%q) = %s, %v; want %s", packed, PythonStr(List(got)), err, PythonStr(List(vs)))
		}
		again, err := AppendPack(nil, got...)
		if err != nil || !bytes.Equal(again, packed) {
			t.Fatalf("packed again: %q, %v; want %q", again, err, packed)
		}

		// The scanner's other way to read, and its str().
		var s scanner
		s.reset(packed)
		letters, err := s.head()
		if err != nil {
			t.Fatal(err)
		}
		for i, letter := range letters {
			s.out = s.out[:0]
			if err := s.walk(letter, bare); err != nil {
				t.Fatal(err)
			}
			if want := PythonStr(vs[i]); string(s.out) != want {
				t.Fatalf("walk gives %s, want %s", s.out, want)
			}
		}
		if s.pos != len(packed) {
			t.Fatalf("walk ends at %d of %d bytes", s.pos, len(packed))
		}
	})
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(4).Draw(t, "value")
		text, err := AppendJSON(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseJSONValue(text)
		if err != nil || !Equal(got, v) {
			t.Fatalf("%s reads as %v, %v; want %s", text, got, err, PythonStr(v))
		}
	})
}

func TestCheckerAgrees(t *testing.T) {
	t.Parallel()
	var c Checker
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		normal, err := r.Normal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Check(normal, 1); err != nil {
			t.Fatalf("%q: %v", normal, err)
		}
		agree(t, &c, normal, 1)
		agree(t, &c, normal, 2)

		// Unpacked, shuffled, sent on: the same record.
		shuffled := new(Dict)
		pairs := rapid.Permutation(r.dict.pairs).Draw(t, "order")
		for _, p := range pairs {
			shuffled.Set(p.key, p.val)
		}
		shuffled.Set(Text(KeyReplicated), NewInt(3))
		packed, err := AppendPack(nil, shuffled)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, &c, packed, 1)
		if again, _, err := Check(packed, 1); err != nil || !bytes.Equal(again, normal) {
			t.Fatalf("normalised: %q, %v; want %q", again, err, normal)
		}

		// As JSON, too.
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON(text)
		if err != nil || !Equal(back.Dict(), r.Dict()) {
			t.Fatalf("%s reads as %v, %v", text, back, err)
		}

		// A key less, or another value: both must say so, and why.
		spoilt := Record{*r.sorted(0)}
		p := spoilt.dict.pairs[rapid.IntRange(0, spoilt.dict.Len()-1).Draw(t, "key")]
		if rapid.Bool().Draw(t, "delete") {
			spoilt.dict.Delete(p.key)
		} else {
			spoilt.dict.Set(p.key, genValue(1).Draw(t, "spoilt"))
		}
		if packed, err = AppendPack(nil, spoilt.Dict()); err != nil {
			t.Fatal(err)
		}
		agree(t, &c, packed, 1)

		// Some byte changed.
		flipped := slices.Clone(normal)
		flipped[rapid.IntRange(0, len(flipped)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		agree(t, &c, flipped, 1)
	})
}

// mustPack packs values that can be.
func mustPack(t testing.TB, vs ...Value) []byte {
	t.Helper()
	packed, err := AppendPack(nil, vs...)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
