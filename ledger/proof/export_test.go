package proof

import "pyvnode/ledger"

// Assemble encodes evidence that no constructor would make, as an attacker can.
func Assemble(kind Kind, seq uint64, peaks []ledger.Hash, claims ...Claim) []byte {
	return (&Evidence{kind: kind, seq: seq, claims: claims, peaks: peaks}).encode()
}
