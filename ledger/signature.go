package ledger

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"io"
	"sync"

	"filippo.io/edwards25519"
	"github.com/hdevalence/ed25519consensus"
)

// A signature is valid as ZIP 215 defines it. That settles the cases that RFC 8032 leaves to each
// implementation, and in the same way for one signature and for many at once. Whether an entry is
// valid must not depend on the node that checks it, nor on how it does. Signatures that
// crypto/ed25519 makes are valid under both. (https://zips.z.cash/zip-0215)

// signatureDomain stands before the header in what is signed, so that no signature made for another purpose can pass
// for one over an entry.
const signatureDomain = "pyvnode/entry/1\n"

// VerifySignature reports whether the origin named in the header signed it.
func (e *Entry) VerifySignature() bool {
	m := messages.Get().(*message)
	defer messages.Put(m)
	return ed25519consensus.Verify(e.Header.Origin[:], m.of(e), e.Signature[:])
}

// CheckSignature returns an [*InvalidError] unless the origin signed the entry.
func (e *Entry) CheckSignature() error {
	if !e.VerifySignature() {
		return invalid(&e.Header, ReasonSignature, "the signature is not the origin's over this header")
	}
	return nil
}

// signatureBatch is how many signatures are checked at once. More gain nothing.
const signatureBatch = 64

// CheckSignatures checks the signatures of many entries in half the time it takes one by one. It returns nil when all
// are good, and otherwise what [Entry.CheckSignature] returns for each.
func CheckSignatures(entries []*Entry) []error {
	var errs []error
	for from := 0; from < len(entries); from += signatureBatch {
		batch := entries[from:min(from+signatureBatch, len(entries))]
		if len(batch) == 1 && batch[0].VerifySignature() || len(batch) > 1 && verifyBatch(batch) { // alone it is faster alone
			continue
		}
		if errs == nil {
			errs = make([]error, len(entries))
		}
		for i, e := range batch {
			errs[from+i] = e.CheckSignature()
		}
	}
	return errs
}

func verifyBatch(entries []*Entry) bool {
	m := messages.Get().(*message)
	defer messages.Put(m)
	v := ed25519consensus.NewPreallocatedBatchVerifier(len(entries))
	for _, e := range entries {
		v.Add(e.Header.Origin[:], m.of(e), e.Signature[:])
	}
	return v.Verify()
}

// Signer makes the signatures of crypto/ed25519, bit for bit (RFC 8032 §5.1.6), in about five sixths of the time: that package
// encodes R twice, and the inversion in it is a sixth of a signature. Signing bounds how fast a log grows. It is a
// [crypto.Signer], and safe for concurrent use.
type Signer struct {
	public crypto.PublicKey // an ed25519.PublicKey
	raw    []byte           // the same
	prefix []byte           // of what the nonce is the hash of
	secret *edwards25519.Scalar
}

// NewSigner makes a signer of a key, which is as long as ed25519.PrivateKeySize says.
func NewSigner(key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("an Ed25519 key of wrong length")
	}
	h := sha512.Sum512(key.Seed())
	secret, err := edwards25519.NewScalar().SetBytesWithClamping(h[:32])
	if err != nil {
		return nil, err
	}
	return &Signer{public: key.Public(), raw: key[ed25519.SeedSize:], prefix: h[32:], secret: secret}, nil
}

// Public returns the ed25519.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign signs a message. As of an ed25519.PrivateKey, its opts must have HashFunc 0, and there is no randomness.
func (s *Signer) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 {
		return nil, errors.New("an Ed25519 signature is over the message, not over a hash of it")
	}
	var digest [sha512.Size]byte
	h := sha512.New()
	h.Write(s.prefix)
	h.Write(message)
	r, err := edwards25519.NewScalar().SetUniformBytes(h.Sum(digest[:0]))
	if err != nil {
		return nil, err
	}
	signature := append(make([]byte, 0, ed25519.SignatureSize), new(edwards25519.Point).ScalarBaseMult(r).Bytes()...)
	h.Reset()
	h.Write(signature)
	h.Write(s.raw)
	h.Write(message)
	k, err := edwards25519.NewScalar().SetUniformBytes(h.Sum(digest[:0]))
	if err != nil {
		return nil, err
	}
	return append(signature, k.MultiplyAdd(k, s.secret, r).Bytes()...), nil
}

// message is a buffer for what is signed.
type message []byte

func (m *message) of(e *Entry) []byte {
	*m = append(append((*m)[:0], signatureDomain...), e.RawHeader...)
	return *m
}

var messages = sync.Pool{New: func() any { return new(message) }}
