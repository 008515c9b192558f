package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxKeyText is the greatest length of the text of a key in bytes; the longest that is written, a private key of 521
// bits, has about 480.
const MaxKeyText = 2048

// DefaultKeyBits is the size of the keys that the original makes unless told otherwise.
const DefaultKeyBits = 256

// ErrKey is wrapped when a text is not a key of the original protocol, or bits are no size of one. It shows nothing of
// a private key.
var ErrKey = errors.New("not a key of the original protocol")

// ErrCiphertext is wrapped when a text was not encrypted for a key.
var ErrCiphertext = errors.New("not encrypted for this key")

// A size is one of the NIST curves that keys are on.
type size struct {
	bits  int
	bytes int // of a coordinate and of a scalar
	curve ecdh.Curve
}

var sizes = []size{
	{256, 32, ecdh.P256()},
	{384, 48, ecdh.P384()},
	{521, 66, ecdh.P521()},
}

func sizeOf(bits int) (*size, error) {
	for i := range sizes {
		if sizes[i].bits == bits {
			return &sizes[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %d bits, want 256, 384 or 521", ErrKey, bits)
}

// A KeyID names a key pair: the first 8 bytes of the SHA-1 over the point of its public key, as text in UTF-8
// (docs/original-protocol.md §4). It is a label, not a proof.
type KeyID [8]byte

// String returns the ID in hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

func keyID(point []byte) (id KeyID) {
	digest := sha1.Sum([]byte(textOf(point)))
	copy(id[:], digest[:])
	return id
}

// A PublicKey is what a client encrypts its session key under.
type PublicKey struct {
	key  *ecdh.PublicKey
	size *size
}

// A PrivateKey is one of the server's pool. It prints as its ID.
type PrivateKey struct {
	key  *ecdh.PrivateKey
	size *size
}

// GenerateKey makes a key pair of 256, 384 or 521 bits. Other sizes get an error that wraps [ErrKey].
func GenerateKey(rand io.Reader, bits int) (*PrivateKey, error) {
	size, err := sizeOf(bits)
	if err != nil {
		return nil, err
	}
	key, err := size.generate(rand)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{key, size}, nil
}

// generate takes random numbers until one is a scalar of the curve: below its order, and not 0.
func (s *size) generate(rand io.Reader) (*ecdh.PrivateKey, error) {
	scalar := make([]byte, s.bytes)
	for range 128 { // not one in 2^32 numbers is no scalar of P-256, and every other one is of P-521
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("key of %d bits: %w", s.bits, err)
		}
		scalar[0] &= 0xff >> (8*s.bytes - s.bits)
		if key, err := s.curve.NewPrivateKey(scalar); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("key of %d bits: the random numbers are not random", s.bits)
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return &PublicKey{k.key.PublicKey(), k.size} }

// ID returns the ID of the pair.
func (k *PrivateKey) ID() KeyID { return k.Public().ID() }

// ID returns the ID of the pair.
func (k *PublicKey) ID() KeyID { return keyID(point(k.key)) }

// Bits returns the size of the key: 256, 384 or 521.
func (k *PrivateKey) Bits() int { return k.size.bits }

// Bits returns the size of the key: 256, 384 or 521.
func (k *PublicKey) Bits() int { return k.size.bits }

// String returns the ID and nothing secret; the key itself is [PrivateKey.Text].
func (k *PrivateKey) String() string { return "private key " + k.ID().String() }

// GoString is String.
func (k *PrivateKey) GoString() string { return k.String() }

// String returns the ID; the key itself is [PublicKey.Text].
func (k *PublicKey) String() string { return "public key " + k.ID().String() }

// The text of a key is a line, base64, and a line.
const (
	publicKind  = "PUBLIC"
	privateKind = "PRIVATE"
)

func beginLine(kind string) string { return "-----BEGIN " + kind + " ECC-----" }
func endLine(kind string) string   { return "-----END " + kind + " ECC-----" }

// Text returns the key as the original sends and stores it, without a line end behind the last line.
func (k *PublicKey) Text() string { return k.text(publicKind, nil) }

// Text returns the key, with what is secret in it, as the original stores it, without a line end behind the last line.
func (k *PrivateKey) Text() string {
	return k.Public().text(privateKind, bytes.TrimLeft(k.key.Bytes(), "\x00"))
}

// text writes key ID · bits · length · x‖y · length · d.
func (k *PublicKey) text(kind string, d []byte) string {
	id, xy := k.ID(), point(k.key)
	out := id[:]
	out = binary.BigEndian.AppendUint16(out, uint16(k.size.bits))
	out = appendShort(out, xy)
	out = appendShort(out, d)
	return beginLine(kind) + "\n" + base64.StdEncoding.EncodeToString([]byte(textOf(out))) + "\n" + endLine(kind)
}

// ParsePublicKey reads what [PublicKey.Text] writes; white space around the lines does not matter. The error wraps
// [ErrKey].
func ParsePublicKey(text string) (*PublicKey, error) {
	public, d, err := parseKey(publicKind, text)
	if err == nil && len(d) > 0 {
		err = fmt.Errorf("%w: a public key holds a private one", ErrKey)
	}
	if err != nil {
		return nil, err
	}
	return public, nil
}

// ParsePrivateKey reads what [PrivateKey.Text] writes; white space around the lines does not matter. The error wraps
// [ErrKey].
func ParsePrivateKey(text string) (*PrivateKey, error) {
	public, d, err := parseKey(privateKind, text)
	if err != nil {
		return nil, err
	}
	size := public.size
	if len(d) > size.bytes {
		return nil, fmt.Errorf("%w: a number of %d bytes is too long for %d bits", ErrKey, len(d), size.bits)
	}
	key, err := size.curve.NewPrivateKey(leftPad(d, size.bytes))
	if err != nil {
		return nil, fmt.Errorf("%w: the private number is 0 or too great", ErrKey)
	}
	if !key.PublicKey().Equal(public.key) {
		return nil, fmt.Errorf("%w: its private half does not belong to its public half", ErrKey)
	}
	return &PrivateKey{key, size}, nil
}

func parseKey(kind, text string) (*PublicKey, []byte, error) {
	if len(text) > MaxKeyText {
		return nil, nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrKey, len(text), MaxKeyText)
	}
	body, ok := strings.CutPrefix(strings.TrimSpace(text), beginLine(kind))
	if ok {
		body, ok = strings.CutSuffix(body, endLine(kind))
	}
	if !ok {
		return nil, nil, fmt.Errorf("%w: want lines %q and %q", ErrKey, beginLine(kind), endLine(kind))
	}
	utf, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(body))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: between its first and its last line is not one line of base64", ErrKey)
	}
	raw, ok := bytesOf(string(utf))
	if !ok {
		return nil, nil, fmt.Errorf("%w: it is not UTF-8 of byte values", ErrKey)
	}
	r := reader{rest: raw}
	id := KeyID(r.take(len(KeyID{})))
	bits := int(binary.BigEndian.Uint16(r.take(2)))
	xy := r.short()
	d := r.short()
	if r.failed || len(r.rest) > 0 {
		return nil, nil, fmt.Errorf("%w: its parts do not have the lengths it states", ErrKey)
	}
	size, err := sizeOf(bits)
	if err != nil {
		return nil, nil, err
	}
	key, err := size.parsePoint(xy)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if want := keyID(xy); id != want {
		return nil, nil, fmt.Errorf("%w: its ID is %v, but that of its point is %v", ErrKey, id, want)
	}
	return &PublicKey{key, size}, d, nil
}

// Encrypt encrypts a session key, or other text of which every byte stands for a character, under the key
// (docs/original-protocol.md §4). The result is UTF-8: length · point of a key of one use · length · ciphertext. It
// fails only when rand does, or with an error that wraps [ErrTooLong] when plain is longer than [MaxFrame].
func (k *PublicKey) Encrypt(rand io.Reader, plain []byte) (string, error) {
	if len(plain) > MaxFrame {
		return "", fmt.Errorf("%w: %d bytes to be encrypted", ErrTooLong, len(plain))
	}
	once, err := k.size.generate(rand)
	if err != nil {
		return "", err
	}
	out := appendShort(nil, point(once.PublicKey()))
	out = binary.BigEndian.AppendUint32(out, uint32(len(plain)))
	start := len(out)
	out = append(out, plain...)
	if err := crypt(once, k.key, out[start:]); err != nil {
		return "", err
	}
	return textOf(out), nil
}

// Decrypt reads what [PublicKey.Encrypt] made. The error wraps [ErrCiphertext] when the text is malformed; there is
// nothing in it by which to see that it was encrypted for another key.
func (k *PrivateKey) Decrypt(text string) ([]byte, error) {
	if len(text) > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrCiphertext, len(text), MaxFrame)
	}
	raw, ok := bytesOf(text)
	if !ok {
		return nil, fmt.Errorf("%w: it is not UTF-8 of byte values", ErrCiphertext)
	}
	r := reader{rest: raw}
	xy := r.short()
	length := binary.BigEndian.Uint32(r.take(4))
	if r.failed || uint64(length) != uint64(len(r.rest)) {
		return nil, fmt.Errorf("%w: its parts do not have the lengths it states", ErrCiphertext)
	}
	once, err := k.size.parsePoint(xy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCiphertext, err)
	}
	if err := crypt(k.key, once, r.rest); err != nil {
		return nil, err
	}
	return r.rest, nil
}

// crypt encrypts or decrypts text in place. The key is the x coordinate of the point that both sides can compute,
// without leading zeros, of which the first 16 bytes count.
func crypt(private *ecdh.PrivateKey, public *ecdh.PublicKey, text []byte) error {
	x, err := private.ECDH(public)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCiphertext, err)
	}
	x = bytes.TrimLeft(x, "\x00")
	if len(x) > rabbitKey {
		x = x[:rabbitKey]
	}
	newRabbit([rabbitKey]byte(leftPad(x, rabbitKey))).XORKeyStream(text, text)
	return nil
}

// point returns x‖y, each without leading zeros and then filled up to the length of the longer one.
func point(k *ecdh.PublicKey) []byte {
	xy := k.Bytes()[1:] // behind the mark of an uncompressed point
	x, y := xy[:len(xy)/2], xy[len(xy)/2:]
	for len(x) > 0 && x[0] == 0 && y[0] == 0 {
		x, y = x[1:], y[1:]
	}
	return append(append([]byte{}, x...), y...)
}

// parsePoint reads what point returns, and checks that the point is on the curve.
func (s *size) parsePoint(xy []byte) (*ecdh.PublicKey, error) {
	half := len(xy) / 2
	if len(xy)%2 != 0 || half > s.bytes {
		return nil, fmt.Errorf("%d bytes are no point of %d bits", len(xy), s.bits)
	}
	raw := append([]byte{4}, leftPad(xy[:half], s.bytes)...)
	key, err := s.curve.NewPublicKey(append(raw, leftPad(xy[half:], s.bytes)...))
	if err != nil {
		return nil, fmt.Errorf("its point is not on the curve of %d bits", s.bits)
	}
	if !bytes.Equal(point(key), xy) {
		return nil, errors.New("its point has leading zeros")
	}
	return key, nil
}

func leftPad(number []byte, length int) []byte {
	out := make([]byte, length)
	copy(out[length-len(number):], number)
	return out
}

func appendShort(dst, part []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(part)))
	return append(dst, part...)
}

// A reader takes parts from the front of bytes. What is not there reads as zeros, and failed says so.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.failed = true
		return make([]byte, n)
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) short() []byte { return r.take(int(binary.BigEndian.Uint16(r.take(2)))) }

// textOf returns the text whose characters are the bytes, in UTF-8.
func textOf(raw []byte) string {
	out := make([]byte, 0, 2*len(raw))
	for _, c := range raw {
		out = utf8.AppendRune(out, rune(c))
	}
	return string(out)
}

// bytesOf is the inverse of textOf. It reports false for text that no bytes have.
func bytesOf(text string) ([]byte, bool) {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c > 0xff { // what is not UTF-8 reads as U+FFFD
			return nil, false
		}
		out = append(out, byte(c))
	}
	return out, true
}
