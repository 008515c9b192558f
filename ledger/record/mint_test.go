package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// A record is minted at every place of the nonce within a block of SHA-256:
// inside, at its ends, and with any number of digits behind it.
func TestMint(t *testing.T) {
	t.Parallel()
	for n := range sha256.BlockSize {
		r := newTestRecord(t, new(Dict).Set(Text("pad"), Text(strings.Repeat("x", n))))
		m := Minter{Strength: 3, Workers: 2}
		if err := m.Mint(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		v, _ := r.Get(KeyPowRand)
		if b, ok := v.(Bytes); !ok || len(b) != NonceSize {
			t.Errorf("_PowRand %s, want %d bytes", PythonStr(v), NonceSize)
		}
		_, facts, err := Check(mustPack(t, r.Dict()), 3)
		if err != nil {
			t.Errorf("padded with %d: %v", n, err)
		}
		if proof, _ := r.text(KeyProof); Strength(proof) != facts.Strength || facts.Strength < 3 {
			t.Errorf("strength %d, Check says %d", Strength(proof), facts.Strength)
		}
	}
}

// Each way to look ahead tries the same nonces with the same proofs as hashing
// all of the text.
func TestTail(t *testing.T) {
	t.Parallel()
	suffix := []byte("'header and more")
	for n := range 2 * sha256.BlockSize {
		prefix := bytes.Repeat([]byte("p"), n)
		tl := newTail(prefix, suffix)
		tl.setClaim(numClaims - 2)
		want := 0 // hits, by hashing all
		text := append(append(append([]byte{}, prefix...), "zzzzzzzzy5__"...), suffix...)
		for _, a := range []byte(nonceDigits) {
			for _, b := range []byte(nonceDigits) {
				text[n+10], text[n+11] = a, b
				sum := sha256.Sum256(text)
				want = max(want, zeroDigits(sum[:]))
			}
		}
		if hit, hashes := tl.tryPeriod(5, want+1); hit || hashes != periodNonces {
			t.Errorf("prefix of %d: found %q of strength over %d in %d", n, tl.nonce, want, hashes)
		}
		hit, _ := tl.tryPeriod(5, want)
		copy(text[n:], tl.nonce[:])
		sum := sha256.Sum256(text)
		if !hit || zeroDigits(sum[:]) < want || !strings.HasPrefix(string(tl.nonce[:]), "zzzzzzzzy5") {
			t.Errorf("prefix of %d: %v, %q of strength %d, want %d", n, hit, tl.nonce, zeroDigits(sum[:]), want)
		}
	}
}

func TestZeroDigits(t *testing.T) {
	t.Parallel()
	for n := range 65 {
		sum := sha256.Sum256(nil)
		for i := range sum {
			sum[i] = 0xff
		}
		for i := range n {
			sum[31-i/2] &= 0xf0 << (i % 2 * 4)
		}
		if got := zeroDigits(sum[:]); got != n || trailingZeros(fmt.Sprintf("%x", sum)) != n {
			t.Errorf("zeroDigits(%x) = %d, want %d", sum, got, n)
		}
	}
}

func TestMintDeterministic(t *testing.T) {
	t.Parallel()
	var first *Record
	for range 2 {
		r := newTestRecord(t, new(Dict).Set(Text("name"), Text("José 日本")))
		m := Minter{Strength: 2, Workers: 1, Rand: strings.NewReader("12345678")}
		if err := m.Mint(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = r
		} else if !Equal(first.Dict(), r.Dict()) {
			t.Errorf("minted %s, before %s", PythonStr(r.Dict()), PythonStr(first.Dict()))
		}
	}
}

// Mint brings hash and link up to date, too.
func TestMintAgain(t *testing.T) {
	t.Parallel()
	r := newTestRecord(t, nil)
	m := Minter{Strength: 1}
	if err := m.Mint(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := r.SetLink(strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	r.Payload().Set(Text("more"), Text("x"))
	if err := m.Mint(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, facts, err := Check(mustPack(t, r.Dict()), 1); err != nil || !facts.Linked {
		t.Errorf("minted again: %+v, %v", facts, err)
	}
}

func TestMintCancel(t *testing.T) {
	t.Parallel()
	r := newTestRecord(t, nil)
	before := PythonStr(r.Dict())
	cause := errors.New("no longer needed")
	ctx, cancel := context.WithCancelCause(t.Context())
	var calls, last uint64
	m := Minter{Strength: MaxStrength, Progress: func(hashes uint64) {
		if hashes < last {
			t.Errorf("progress goes from %d to %d", last, hashes)
		}
		last = hashes
		if calls++; calls == 2 {
			cancel(cause)
		}
	}}
	start := time.Now()
	err := m.Mint(ctx, r)
	if !errors.Is(err, cause) {
		t.Errorf("Mint: %v, want %v", err, cause)
	}
	if got := PythonStr(r.Dict()); got != before {
		t.Errorf("the record has become %s", got)
	}
	if calls != 3 || last == 0 {
		t.Errorf("%d calls of Progress, up to %d hashes in %v; want 3", calls, last, time.Since(start))
	}
	if err := m.Mint(ctx, r); !errors.Is(err, cause) {
		t.Errorf("Mint after that: %v, want %v", err, cause)
	}
}

func TestMintRefuses(t *testing.T) {
	t.Parallel()
	for _, strength := range []int{-1, MaxStrength + 1} {
		if err := (Minter{Strength: strength}).Mint(t.Context(), newTestRecord(t, nil)); ReasonOf(err) != BadValue {
			t.Errorf("strength %d: %v, want reason %s", strength, err, BadValue)
		}
	}
	m := Minter{Rand: iotest.ErrReader(io.ErrClosedPipe)}
	if err := m.Mint(t.Context(), newTestRecord(t, nil)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("no randomness: %v", err)
	}
	r := newTestRecord(t, nil)
	r.Set("bad", nil)
	if err := (Minter{}).Mint(t.Context(), r); ReasonOf(err) != BadValue {
		t.Errorf("a nil value: %v, want reason %s", err, BadValue)
	}
}

func TestExpectedAttempts(t *testing.T) {
	t.Parallel()
	for strength, want := range map[int]float64{-1: 1, 0: 1, 1: 16, 4: 65536, 8: 1 << 32} {
		if got := ExpectedAttempts(strength); got != want {
			t.Errorf("ExpectedAttempts(%d) = %v, want %v", strength, got, want)
		}
	}
}

// benchTail returns the tail of a usual record, and how much of it is hashed
// for each nonce.
func benchTail(b *testing.B) (*tail, int) {
	r := newTestRecord(b, new(Dict).Set(Text("name"), Text("Voter One")))
	r.Set(KeyPowRand, make(Bytes, NonceSize))
	s, err := newSearch(r, MaxStrength, strings.NewReader("12345678"))
	if err != nil {
		b.Fatal(err)
	}
	t := newTail(s.prefix, s.suffix)
	return t, len(t.last)
}

// BenchmarkMint is one worker's search.
func BenchmarkMint(b *testing.B) {
	t, n := benchTail(b)
	b.ReportAllocs()
	hashes := uint64(0)
	for b.Loop() {
		t.setClaim(hashes)
		_, tried := t.tryPeriod(0, MaxStrength)
		hashes += tried
	}
	b.ReportMetric(float64(hashes)/b.Elapsed().Seconds(), "hashes/s")
	b.ReportMetric(float64(n), "bytes/hash")
}

// BenchmarkMintLimit is what SHA-256 alone allows: a hash of as many bytes as
// BenchmarkMint hashes for each nonce.
func BenchmarkMintLimit(b *testing.B) {
	_, n := benchTail(b)
	text := make([]byte, n)
	hashes := 0
	for b.Loop() {
		for range periodNonces {
			text[hashes%n]++
			sum := sha256.Sum256(text)
			text[0] ^= sum[31]
			hashes++
		}
	}
	b.ReportMetric(float64(hashes)/b.Elapsed().Seconds(), "hashes/s")
	b.ReportMetric(float64(n), "bytes/hash")
}

// BenchmarkMintAll is Mint itself on all processors.
func BenchmarkMintAll(b *testing.B) {
	hashes := uint64(0)
	for b.Loop() {
		r := newTestRecord(b, nil)
		m := Minter{Progress: func(n uint64) { hashes = n }}
		total := hashes
		if err := m.Mint(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		hashes += total
	}
	b.ReportMetric(float64(hashes)/b.Elapsed().Seconds(), "hashes/s")
}
