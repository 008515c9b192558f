package ledger_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

// TestSigner: a signature is the one that crypto/ed25519 makes, for any key and message (RFC 8032 §7.1 has the first).
func TestSigner(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), ed25519.SeedSize, ed25519.SeedSize).Draw(t, "seed")
		message := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		key := ed25519.NewKeyFromSeed(seed)
		s, err := ledger.NewSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Sign(nil, message, crypto.Hash(0))
		if want := ed25519.Sign(key, message); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %v; crypto/ed25519 makes %x", got, err, want)
		}
		if !key.Public().(ed25519.PublicKey).Equal(s.Public()) {
			t.Fatal("another public key")
		}
	})
	key := ledgertest.Key("alice")
	if _, err := ledger.NewSigner(key[:63]); err == nil {
		t.Error("a key of 63 bytes is taken")
	}
	s, err := ledger.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(nil, make([]byte, 64), crypto.SHA512); err == nil {
		t.Error("a hash is signed as if it were a message")
	}
}

func BenchmarkSign(b *testing.B) {
	key, message := ledgertest.Key("alice"), make([]byte, 320)
	s, err := ledger.NewSigner(key)
	if err != nil {
		b.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"ours": s, "crypto/ed25519": key} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := signer.Sign(nil, message, crypto.Hash(0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// badSigner makes signatures that are too short, or none.
type badSigner struct {
	ed25519.PrivateKey
	err error
}

func (s badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 63), s.err
}

// TestSignerFails: what a key does not sign, or not well, becomes no entry.
func TestSignerFails(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	key := ledgertest.Key("alice")
	log := &ledger.Log{Origin: ledgertest.Origin("alice")}
	boom := errors.New("boom")
	for _, s := range []badSigner{{key, nil}, {key, boom}} {
		e, err := log.Sign(g, s, ledgertest.Draft(t, g, "vote", 1), nil, 0, nil)
		if e != nil || err == nil || s.err != nil && !errors.Is(err, boom) {
			t.Errorf("%v: entry %v, %v", s.err, e, err)
		}
	}
}

// TestCheckSignatures: many at once give the same verdicts as one by one, whichever are bad, and whatever is bad in them.
func TestCheckSignatures(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	n := ledgertest.NewNetwork(t, g)
	n.Random(1, 150, "alice", "bob")
	pool := n.Entries
	rapid.Check(t, func(t *rapid.T) {
		entries := make([]*ledger.Entry, rapid.IntRange(0, len(pool)).Draw(t, "entries"))
		for i := range entries {
			e := *pool[i]
			entries[i] = &e
		}
		if len(entries) > 0 {
			for range rapid.IntRange(0, 3).Draw(t, "damaged") {
				e := entries[rapid.IntRange(0, len(entries)-1).Draw(t, "which")]
				bit := rapid.IntRange(0, 511).Draw(t, "bit")
				e.Signature[bit/8] ^= 1 << (bit % 8)
			}
		}
		errs := ledger.CheckSignatures(entries)
		for i, e := range entries {
			if one := e.CheckSignature(); errs == nil && one != nil || errs != nil && (one == nil) != (errs[i] == nil) {
				t.Fatalf("entry %d: alone %v, among others %v", i, one, errs)
			}
		}
	})
}

// TestSignatureRule: the cases in which implementations of Ed25519 differ are settled as in ZIP 215, for one signature and
// for many. Here: a public key and R of small order, which cofactorless checks accept or not as the message has it.
func TestSignatureRule(t *testing.T) {
	t.Parallel()
	// The encoding of a point of order 8. With s = 0, the equation holds after multiplication by the cofactor.
	order8 := [32]byte{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}
	var differ bool
	for i := range 16 {
		e := &ledger.Entry{Header: ledger.Header{Origin: order8}, RawHeader: []byte{byte(i)}}
		copy(e.Signature[:], order8[:])
		differ = differ || !ed25519.Verify(order8[:], append([]byte("pyvnode/entry/1\n"), byte(i)), e.Signature[:])
		if !e.VerifySignature() || ledger.CheckSignatures([]*ledger.Entry{e, e}) != nil {
			t.Errorf("message %d: refused", i)
		}
		e.Signature[63] = 0x20 // s beyond the order of the group
		if e.VerifySignature() || ledger.CheckSignatures([]*ledger.Entry{e, e}) == nil {
			t.Errorf("message %d: taken with s out of range", i)
		}
	}
	if !differ {
		t.Error("the vector does not tell the rules apart")
	}
}
