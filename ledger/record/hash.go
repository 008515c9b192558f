package record

import (
	"crypto/sha256"
	"encoding/hex"
)

// A ContentID names what a record says: the SHA-256 of its canonical
// packing, one dict item with sorted top-level keys in UTF-8, without
// Replicated, _PrevHash, _Link, _PowRand and _Proof. It stays the same when a
// record is sent on, linked into another chain or minted again, and changes
// with everything else. It is a record's identity together with the kind,
// which stands beside a record and not in it: the same content under another
// kind is another record.
type ContentID [sha256.Size]byte

// String returns the ID as 64 lower-case hex digits.
func (id ContentID) String() string { return hex.EncodeToString(id[:]) }

// ParseContentID is the inverse of [ContentID.String]: exactly 64 lower-case
// hex digits.
func ParseContentID(text string) (ContentID, error) {
	var id ContentID
	if !isDigest(text) {
		return id, errorf(BadValue, "%s is not a content ID: want %d lower-case hex digits", shown(text), hex.EncodedLen(len(id)))
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err
}

// MarshalText returns the ID as [ContentID.String] does.
func (id ContentID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads what MarshalText returns.
func (id *ContentID) UnmarshalText(text []byte) error {
	parsed, err := ParseContentID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// isDigest reports whether text is a SHA-256 in lower-case hex.
func isDigest[T ~string | ~[]byte](text T) bool {
	if len(text) != hex.EncodedLen(sha256.Size) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Strength returns how many zero digits a proof ends in.
func Strength(proof string) int { return trailingZeros(proof) }

func trailingZeros[T ~string | ~[]byte](hex T) int {
	n := 0
	for n < len(hex) && hex[len(hex)-1-n] == '0' {
		n++
	}
	return n
}

// ContentID returns what names the content of the record. The error is as from [AppendPack].
func (r *Record) ContentID() (ContentID, error) {
	packed, err := AppendPack(nil, r.sorted(notInID))
	if err != nil {
		return ContentID{}, err
	}
	return sha256.Sum256(packed), nil
}

// ComputeHash returns what _Hash should be: the SHA-256, in hex, of the packed
// list of values in sorted key order, without _Hash, _PrevHash, _Link,
// _PowRand, _Proof and Replicated (docs/original-protocol.md §6). Keys are not
// in it: PayLoad and the like are told apart by place alone.
//
// The text is UTF-8, as original clients make _Hash. Original servers check it
// over code page 437 and so refuse text outside ASCII; a [Checker] takes
// either. The error is as from [AppendPack].
func (r *Record) ComputeHash() (string, error) {
	text, err := r.hashText()
	if err != nil {
		return "", err
	}
	return hexSum(text), nil
}

func (r *Record) hashText() ([]byte, error) {
	values := List{}
	for _, val := range r.sorted(notInHash).All() {
		values = append(values, val)
	}
	return AppendPack(nil, values)
}

// ComputeProof returns what _Proof should be for the _PowRand that is set: the
// SHA-256, in hex, of key and [PythonStr] of the value, for one key after the
// other in sorted order, without _Hash, _PrevHash, _Link, _Proof and
// Replicated (docs/original-protocol.md §6). The text is code page 437 where
// all of it can be, otherwise UTF-8. [Minter] finds a _PowRand that makes it
// end in zeros. The error is as from [AppendPack].
func (r *Record) ComputeProof() (string, error) {
	text, err := r.proofText()
	if err != nil {
		return "", err
	}
	return hexSum(proofBytes(text)), nil
}

func (r *Record) proofText() ([]byte, error) {
	d := r.sorted(notInProof)
	if _, err := AppendPack(nil, d); err != nil {
		return nil, err // PythonStr takes more than can be packed
	}
	var text []byte
	for key, val := range d.All() {
		text = AppendPythonStr(text, key)
		text = AppendPythonStr(text, val)
	}
	return text, nil
}

// ComputeLink returns what _Link should be, were _PrevHash set to prev, the
// _Link of another record: the SHA-256, in hex, of the record packed as one
// dict with sorted keys, without _Hash, _Link, _Proof and Replicated
// (docs/original-protocol.md §6). The text is code page 437 where all of it can
// be, otherwise UTF-8. The error is an [*Error] of reason [LinkMismatch] when
// prev is not 64 lower-case hex digits, or as from [AppendPack].
func (r *Record) ComputeLink(prev string) (string, error) {
	if !isDigest(prev) {
		return "", errorf(LinkMismatch, "_PrevHash %s cannot be linked to: want 64 lower-case hex digits", shown(prev))
	}
	d := r.sorted(notInLink)
	d.Set(Text(KeyPrevHash), Text(prev))
	d.sort()
	packed, err := AppendPack(nil, d)
	if err != nil {
		return "", err
	}
	return hexSum(proofBytes(packed)), nil
}

// SetLink sets _PrevHash to prev and _Link to [Record.ComputeLink] of it. A
// link covers _PowRand, so a record is linked after it is minted.
func (r *Record) SetLink(prev string) error {
	link, err := r.ComputeLink(prev)
	if err != nil {
		return err
	}
	r.Set(KeyPrevHash, Text(prev))
	r.Set(KeyLink, Text(link))
	return nil
}
