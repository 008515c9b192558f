package record

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Reason says, for programs, why something was refused. Reasons are stable
// and may be stored and sent; the text of an [Error] may not.
type Reason string

// The reasons for a refusal.
const (
	// MalformedPacking: the bytes are not packed text as this package
	// writes it.
	MalformedPacking Reason = "malformed-packing"
	// NotRecord: well packed, but not one dict whose top-level keys are
	// all text.
	NotRecord Reason = "not-a-record"
	// NotNormalForm: a record, but not in the one form that is stored;
	// [Parse] and [Record.Normal] may be able to put it right.
	NotNormalForm Reason = "not-normal-form"
	// TooLarge: longer than [MaxRecord] or [MaxJSON].
	TooLarge Reason = "too-large"
	// TooDeep: nested deeper than [MaxDepth].
	TooDeep Reason = "too-deep"
	// BadValue: a value that cannot be packed, such as an infinite float.
	BadValue Reason = "bad-value"
	// BadJSON: not the JSON form of a value or of a record.
	BadJSON Reason = "bad-json"
	// BadHeader: header is missing or is not a UUID in canonical form.
	BadHeader Reason = "bad-header"
	// BadPayload: PayLoad is missing or is not a dict.
	BadPayload Reason = "bad-payload"
	// MissingHash: there is no _Hash.
	MissingHash Reason = "missing-hash"
	// HashMismatch: _Hash is not the hash of the content.
	HashMismatch Reason = "hash-mismatch"
	// MissingProof: there is no _Proof.
	MissingProof Reason = "missing-proof"
	// WeakProof: _Proof ends in fewer zero digits than asked for.
	WeakProof Reason = "weak-proof"
	// ProofMismatch: _Proof is not the hash of content and _PowRand.
	ProofMismatch Reason = "proof-mismatch"
	// LinkMismatch: _Link is not the hash of content and _PrevHash, or
	// there is no _PrevHash for it to link to.
	LinkMismatch Reason = "link-mismatch"
)

// An Error is a refusal. Every error about the content of a value, a record
// or its packed or JSON form is an *Error; find it with [errors.As].
type Error struct {
	// Reason is why, for programs. Of several failures of one record it is
	// the first in the original's order: header, hash, strength, proof,
	// link.
	Reason Reason
	// Detail is why, for people: what was found where, and what was
	// expected. Further failures of the same record follow the first.
	Detail string
}

func (e *Error) Error() string {
	return "record: " + string(e.Reason) + ": " + e.Detail
}

func errorf(r Reason, format string, args ...any) *Error {
	return &Error{r, fmt.Sprintf(format, args...)}
}

// joinFailures makes one Error of all failures of a record, first one first.
func joinFailures(fails []*Error) *Error {
	if len(fails) == 1 {
		return fails[0]
	}
	var also []string
	for _, f := range fails[1:] {
		also = append(also, string(f.Reason)+": "+f.Detail)
	}
	return &Error{fails[0].Reason, fails[0].Detail + "; also " + strings.Join(also, "; also ")}
}

// shown quotes foreign text for an error message, cut to maxShown bytes.
func shown[T ~string | ~[]byte](text T) string {
	if len(text) <= maxShown {
		return fmt.Sprintf("%q", text)
	}
	cut := maxShown
	for cut > maxShown-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%q… (%d bytes)", text[:cut], len(text))
}

// shownHash quotes a digest: the ends tell two of them apart, and the last
// digits show the strength.
func shownHash[T ~string | ~[]byte](hex T) string {
	if len(hex) != 64 {
		return shown(hex)
	}
	return fmt.Sprintf("%q…%q", hex[:12], hex[56:])
}

// shownHashes quotes two digests that differ, so that they look different:
// whole, where shownHash shows the same of both.
func shownHashes[T, U ~string | ~[]byte](a T, b U) (string, string) {
	x, y := shownHash(a), shownHash(b)
	if x == y {
		x, y = fmt.Sprintf("%q", a), fmt.Sprintf("%q", b)
	}
	return x, y
}
