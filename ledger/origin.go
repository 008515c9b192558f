package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"filippo.io/edwards25519"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Origin names a node that accepts records. It is the node's raw Ed25519 public key; as text and on the wire it is the
// libp2p peer ID of that key ("12D3KooW…").
type Origin [ed25519.PublicKeySize]byte

// originPrefix is what stands before the key in the binary peer ID of an Ed25519 key: identity multihash of 36 bytes,
// then the protobuf key message (type 1 = Ed25519, 32 bytes of data). See the libp2p peer-ids specification.
var originPrefix = [...]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// originWire is the length of an origin on the wire, in bytes.
const originWire = len(originPrefix) + ed25519.PublicKeySize

// OriginOf returns the origin of a private key.
func OriginOf(key ed25519.PrivateKey) Origin { return Origin(key.Public().(ed25519.PublicKey)) }

// IsKey reports whether an origin is a public key as key pairs have it: a point of the curve in its canonical encoding, and
// not of small order. Under a key of small order anybody can make signatures that are valid as ZIP 215 says.
func (o Origin) IsKey() bool {
	p, err := new(edwards25519.Point).SetBytes(o[:])
	if err != nil || !bytes.Equal(p.Bytes(), o[:]) {
		return false
	}
	return new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 0
}

// ParseOrigin reads a peer ID in its text form. Peer IDs of other key types than Ed25519 are refused.
func ParseOrigin(s string) (Origin, error) {
	if len(s) > 128 {
		return Origin{}, fmt.Errorf("origin %q is too long for a peer ID", clip(s, 40))
	}
	id, err := peer.Decode(s)
	if err != nil {
		return Origin{}, fmt.Errorf("origin %q is not a peer ID: %w", s, err)
	}
	o, err := originFromWire([]byte(id))
	if err != nil {
		return Origin{}, fmt.Errorf("origin %q: %w", s, err)
	}
	return o, nil
}

func originFromWire(b []byte) (Origin, error) {
	var o Origin
	if len(b) != originWire || !bytes.Equal(b[:len(originPrefix)], originPrefix[:]) {
		return o, fmt.Errorf("not the peer ID of an Ed25519 key (%d bytes, want %d)", len(b), originWire)
	}
	copy(o[:], b[len(originPrefix):])
	return o, nil
}

func (o Origin) appendWire(dst []byte) []byte {
	dst = append(dst, originPrefix[:]...)
	return append(dst, o[:]...)
}

// PeerID returns the libp2p peer ID.
func (o Origin) PeerID() peer.ID { return peer.ID(o.appendWire(nil)) }

// String returns the peer ID as text.
func (o Origin) String() string { return o.PeerID().String() }

// Short returns the last eight characters of the peer ID, for messages to people.
func (o Origin) Short() string {
	s := o.String()
	return s[len(s)-8:]
}

// Compare orders origins by key bytes, which is also the order of their binary peer IDs.
func (o Origin) Compare(p Origin) int { return bytes.Compare(o[:], p[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *Origin) UnmarshalText(text []byte) error {
	parsed, err := ParseOrigin(string(text))
	if err != nil {
		return err
	}
	*o = parsed
	return nil
}

// OriginProof is the proof of work that an open network asks of a new origin, in the first entry of its log. It makes
// filling a network with throw-away origins cost something; it is not a right to be counted.
type OriginProof [8]byte

const originProofDomain = "pyvnode/origin-proof/1\n"

// Bits returns how many leading zero bits the SHA-256 of domain ‖ network ‖ origin ‖ proof has.
func (p OriginProof) Bits(network Hash, origin Origin) int {
	buf := make([]byte, 0, len(originProofDomain)+len(network)+len(origin)+len(p))
	buf = append(buf, originProofDomain...)
	buf = append(buf, network[:]...)
	buf = append(buf, origin[:]...)
	return leadingZeros(sha256.Sum256(append(buf, p[:]...)))
}

// FindOriginProof searches the proofs from, from+1, … and returns the first with at least the given number of zero
// bits, or ok false when none of the next tries has it. The expected number of tries is 2^bits.
func FindOriginProof(network Hash, origin Origin, zeroBits int, from uint64, tries int) (proof OriginProof, ok bool) {
	buf := make([]byte, 0, 128)
	buf = append(buf, originProofDomain...)
	buf = append(buf, network[:]...)
	buf = append(buf, origin[:]...)
	at := len(buf)
	buf = buf[:at+len(proof)]
	for n := range tries {
		binary.BigEndian.PutUint64(buf[at:], from+uint64(n))
		if leadingZeros(sha256.Sum256(buf)) >= zeroBits {
			return OriginProof(buf[at:]), true
		}
	}
	return OriginProof{}, false
}

func leadingZeros(sum [sha256.Size]byte) int {
	for i := 0; i < len(sum); i += 8 {
		if word := binary.BigEndian.Uint64(sum[i:]); word != 0 {
			return i*8 + bits.LeadingZeros64(word)
		}
	}
	return 8 * len(sum)
}
