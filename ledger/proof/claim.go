package proof

import (
	"fmt"

	"pyvnode/ledger"
)

// Claim is a signed header seen as a statement about the leaf hash at some index of its log. Without an Inclusion it is
// what the header says outright, of its own index by its hash and of the one before by Prev; with one it is what the
// header's root says of any index below its own. Of the entry, the header and the signature count.
type Claim struct {
	Entry     *ledger.Entry
	Inclusion *Inclusion // nil if the header says it outright
}

// NewClaim returns what an entry says about an index at or below its own. If the header says it
// outright, that is all. Otherwise the claim is by its root, with a proof made from the leaves of
// the entry's own branch.
func NewClaim(e *ledger.Entry, index uint64, leaves Leaves) (Claim, error) {
	c := Claim{Entry: e}
	if _, err := c.stated(index); err == nil {
		return c, nil
	}
	var err error
	if c.Inclusion, err = NewInclusion(index, e.Header.Seq, leaves); err != nil {
		return Claim{}, fmt.Errorf("what entry %d says of index %d: %w", e.Header.Seq, index, err)
	}
	_, err = c.Leaf(index)
	return c, err
}

// Leaf returns the leaf hash that the header claims for an index, or an error if it claims none.
// The signature is not checked.
func (c Claim) Leaf(index uint64) (ledger.Hash, error) {
	leaf, err := c.stated(index)
	if err == nil && c.Inclusion != nil {
		err = c.Inclusion.Verify(index, c.Entry.Header.Seq, c.Entry.Header.Root)
	}
	return leaf, err
}

// stated is Leaf without verifying the inclusion.
func (c Claim) stated(index uint64) (ledger.Hash, error) {
	h := &c.Entry.Header
	switch {
	case c.Inclusion != nil:
		return c.Inclusion.Leaf, nil
	case h.Seq == index:
		return c.Entry.Hash, nil
	case h.Seq > 0 && h.Seq-1 == index:
		return h.Prev, nil
	}
	return ledger.Hash{}, fmt.Errorf("entry %d says nothing outright of index %d", h.Seq, index)
}
