package ledger

import (
	"crypto/ed25519"
	"fmt"
)

// DecodeStatement reads an entry without its record: the canonical encoding of a header and what is given as the
// signature over it. That is all that evidence and proofs need, because the header binds the record by its hash. Form
// and bounds are checked, the signature is not. The entry has its Hash and no Record, and refers to rawHeader.
func DecodeStatement(rawHeader []byte, signature [ed25519.SignatureSize]byte) (*Entry, error) {
	e := &Entry{RawHeader: rawHeader, Signature: signature}
	scratch, err := e.Header.decode(rawHeader, nil)
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	e.Hash, _ = leafHash(scratch, e.RawHeader, e.Signature[:])
	return e, nil
}

// CheckHeader checks what the header and the genesis document decide, whatever the record may be.
// If it fails, [Checker.Check] fails with every record. The error is an [*InvalidError].
func (c *Checker) CheckHeader(h *Header) error {
	if err := c.checkHeader(h); err != nil {
		return err
	}
	if limit := c.Genesis.RecordLimit(); int(h.RecordLen) > limit {
		return invalid(h, ReasonRecordLength, "header says %d bytes, and this network allows %d", h.RecordLen, limit)
	}
	return nil
}
