package ledger_test

import (
	"crypto/ed25519"
	"testing"

	"pgregory.net/rapid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

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
