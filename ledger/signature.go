package ledger

import (
	"sync"

	"github.com/hdevalence/ed25519consensus"
)

// A signature is valid as ZIP 215 defines it, which settles the cases that RFC 8032 leaves to each implementation, and in
// the same way for one signature and for many at once: whether an entry is valid must not depend on who checks it, nor
// how. Signatures that crypto/ed25519 makes are valid under both. (https://zips.z.cash/zip-0215)

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

// message is a buffer for what is signed.
type message []byte

func (m *message) of(e *Entry) []byte {
	*m = append(append((*m)[:0], signatureDomain...), e.RawHeader...)
	return *m
}

var messages = sync.Pool{New: func() any { return new(message) }}
