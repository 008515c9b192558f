package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

// TestKeyVectors reads keys and messages of the original.
func TestKeyVectors(t *testing.T) {
	t.Parallel()
	for i, v := range readVectors(t).Keys {
		private, err := ParsePrivateKey(v.Private)
		if err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		public, err := ParsePublicKey(v.Public)
		if err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		if got := private.Text(); got != v.Private {
			t.Errorf("key %d: written as %q", i, got)
		}
		for _, k := range []*PublicKey{public, private.Public()} {
			if got := k.Text(); got != v.Public {
				t.Errorf("key %d: public half written as %q", i, got)
			}
			xy := new(big.Int).SetBytes(k.key.Bytes()[1:])
			shift := uint(4 * (len(k.key.Bytes()) - 1))
			if x := new(big.Int).Rsh(xy, shift).Text(16); x != v.X {
				t.Errorf("key %d: x is %s", i, x)
			}
			if y := new(big.Int).Sub(xy, new(big.Int).Lsh(new(big.Int).Rsh(xy, shift), shift)).Text(16); y != v.Y {
				t.Errorf("key %d: y is %s", i, y)
			}
		}
		id := public.ID()
		if got := new(big.Int).SetBytes(id[:]).String(); got != v.ID || private.ID() != id {
			t.Errorf("key %d: ID %s, want %s", i, got, v.ID)
		}
		if private.Bits() != v.Bits || public.Bits() != v.Bits || new(big.Int).SetBytes(private.key.Bytes()).Text(16) != v.D {
			t.Errorf("key %d: %d bits", i, private.Bits())
		}
		if len(v.Messages) == 0 {
			t.Errorf("key %d: no messages", i)
		}
		for j, m := range v.Messages {
			text := decodeHex(t, m.Cipher)
			if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != m.SHA256Cipher {
				t.Errorf("key %d, message %d: the hash is not over UTF-8", i, j)
			}
			plain, err := private.Decrypt(string(text))
			if err != nil || string(plain) != m.Plain {
				t.Errorf("key %d, message %d: %q, %v", i, j, plain, err)
			}
			if got := sha256.Sum256(plain); hex.EncodeToString(got[:]) != m.SHA256Plain {
				t.Errorf("key %d, message %d: hash %x", i, j, got)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{256, 384, 521} {
		k, err := GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePrivateKey(k.Text() + "\n"); err != nil || !again.key.Equal(k.key) || again.Text() != k.Text() {
			t.Errorf("%d bits: %v", bits, err)
		}
		public, err := ParsePublicKey(k.Public().Text())
		if err != nil || public.ID() != k.ID() {
			t.Fatalf("%d bits: %v", bits, err)
		}
		for _, plain := range [][]byte{{}, {0}, []byte(newKey(t)), bytes.Repeat([]byte{255}, 1000)} {
			text, err := public.Encrypt(rand.Reader, plain)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.Decrypt(text); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bits: %q, %v", bits, got, err)
			}
		}
	}
	if _, err := GenerateKey(rand.Reader, 512); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if _, err := GenerateKey(strings.NewReader(strings.Repeat("\x00", 1<<16)), 256); err == nil {
		t.Error("zeros made a key")
	}
	if _, err := GenerateKey(strings.NewReader("short"), 256); err == nil {
		t.Error("five bytes made a key")
	}
}

// scalar is a source of "random" bytes that makes a key of 256 bits with a known private number.
func scalar(n uint64) *bytes.Reader {
	return bytes.NewReader(binary.BigEndian.AppendUint64(make([]byte, 24), n))
}

// TestLeadingZeros has keys and messages whose points have coordinates with leading zeros
// (docs/original-protocol.md §4).
func TestLeadingZeros(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		n      uint64
		length int // of x‖y
		what   string
	}{
		{43, 64, "y begins with a zero byte"},
		{379, 64, "x begins with a zero byte"},
		{49350, 62, "x and y begin with a zero byte"},
	} {
		k, err := GenerateKey(scalar(test.n), 256)
		if err != nil {
			t.Fatal(err)
		}
		xy := point(k.key.PublicKey())
		if len(xy) != test.length || k.key.PublicKey().Bytes()[1] != 0 && k.key.PublicKey().Bytes()[33] != 0 {
			t.Errorf("%s: %x", test.what, xy)
		}
		again, err := ParsePrivateKey(k.Text())
		if err != nil || !again.key.Equal(k.key) {
			t.Errorf("%s: %v", test.what, err)
		}
		if test.length < 64 { // a key has one text
			long := k.key.PublicKey().Bytes()[1:]
			id := keyID(long)
			text := keyText(publicKind, appendShort(appendShort(append(id[:], 1, 0), long), nil))
			if got, err := ParsePublicKey(text); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "leading zeros") {
				t.Errorf("%s, and they are kept: %v, %v", test.what, got, err)
			}
		}
		// The same point as that of a message.
		other, err := GenerateKey(rand.Reader, 256)
		if err != nil {
			t.Fatal(err)
		}
		text, err := other.Public().Encrypt(scalar(test.n), []byte("plain"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := other.Decrypt(text); err != nil || string(got) != "plain" {
			t.Errorf("%s: %q, %v", test.what, got, err)
		}
	}
}

// keyText makes the text of a key with any content.
func keyText(kind string, raw []byte) string {
	return beginLine(kind) + "\n" + base64.StdEncoding.EncodeToString([]byte(textOf(raw))) + "\n" + endLine(kind)
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	k, err := GenerateKey(rand.Reader, 256)
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateKey(rand.Reader, 256)
	if err != nil {
		t.Fatal(err)
	}
	id, xy := k.ID(), point(k.key.PublicKey())
	raw := func(id []byte, bits int, xy, d []byte) []byte {
		out := binary.BigEndian.AppendUint16(bytes.Clone(id), uint16(bits))
		return appendShort(appendShort(out, xy), d)
	}
	d := bytes.TrimLeft(k.key.Bytes(), "\x00")
	good := raw(id[:], 256, xy, d)
	if _, err := ParsePrivateKey(keyText(privateKind, good)); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(xy)
	flipped[40] ^= 1
	flippedID := keyID(flipped)
	zeros := append(append(append([]byte{0}, xy[:32]...), 0), xy[32:]...)
	zerosID := keyID(zeros)
	order, _ := hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	body := func(text string) string { return strings.Split(text, "\n")[1] }
	for name, text := range map[string]string{
		"nothing":                "",
		"text":                   "hello",
		"the other kind":         k.Public().Text(),
		"no last line":           strings.TrimSuffix(k.Text(), endLine(privateKind)),
		"no base64":              beginLine(privateKind) + "\n!!!!\n" + endLine(privateKind),
		"nothing between":        beginLine(privateKind) + "\n" + endLine(privateKind),
		"overlapping lines":      strings.TrimSuffix(beginLine(privateKind), "-----") + endLine(privateKind),
		"no UTF-8":               beginLine(privateKind) + "\n" + base64.StdEncoding.EncodeToString(good) + "\n" + endLine(privateKind),
		"a character above 0xff": beginLine(privateKind) + "\n" + base64.StdEncoding.EncodeToString([]byte("Ā"+textOf(good[1:]))) + "\n" + endLine(privateKind),
		"a line too much":        strings.Replace(k.Text(), body(k.Text()), body(k.Text())+"\n"+body(k.Text()), 1),
		"too long":               k.Text() + strings.Repeat(" ", MaxKeyText),
		"cut":                    keyText(privateKind, good[:len(good)-1]),
		"only an ID":             keyText(privateKind, good[:8]),
		"more behind":            keyText(privateKind, append(bytes.Clone(good), 0)),
		"another ID":             keyText(privateKind, raw(make([]byte, 8), 256, xy, d)),
		"other bits":             keyText(privateKind, raw(id[:], 384, xy, d)),
		"unknown bits":           keyText(privateKind, raw(id[:], 257, xy, d)),
		"another point":          keyText(privateKind, raw(flippedID[:], 256, flipped, d)),
		"half a point":           keyText(privateKind, raw(id[:], 256, xy[:33], d)),
		"no point":               keyText(privateKind, raw(id[:], 256, nil, d)),
		"leading zeros":          keyText(privateKind, raw(zerosID[:], 256, zeros, d)),
		"no private half":        keyText(privateKind, raw(id[:], 256, xy, nil)),
		"zero":                   keyText(privateKind, raw(id[:], 256, xy, make([]byte, 32))),
		"the curve's order":      keyText(privateKind, raw(id[:], 256, xy, order)),
		"a long private half":    keyText(privateKind, raw(id[:], 256, xy, append([]byte{0}, k.key.Bytes()...))),
		"another private half":   keyText(privateKind, raw(id[:], 256, xy, other.key.Bytes())),
	} {
		got, err := ParsePrivateKey(text)
		if !errors.Is(err, ErrKey) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		} else if len(d) > 8 && strings.Contains(err.Error(), hex.EncodeToString(d[:4])) {
			t.Errorf("%s: the key is in the error %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"a private key":       k.Text(),
		"with a private half": keyText(publicKind, good),
	} {
		if got, err := ParsePublicKey(text); !errors.Is(err, ErrKey) || got != nil {
			t.Errorf("public: %s: %v, %v", name, got, err)
		}
	}
}

func TestPrivateKeyIsHidden(t *testing.T) {
	t.Parallel()
	k, err := GenerateKey(scalar(0xabcdef12345678), 256)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", k, k, k, k, k, k)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k)
	if text := strings.ToLower(out.String()); strings.Contains(text, "abcdef12345678") || !strings.Contains(text, k.ID().String()) {
		t.Error(text)
	}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	k, err := GenerateKey(rand.Reader, 256)
	if err != nil {
		t.Fatal(err)
	}
	good, err := k.Public().Encrypt(rand.Reader, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := bytesOf(good)
	change := func(at int, c byte) string {
		changed := bytes.Clone(raw)
		changed[at] = c
		return textOf(changed)
	}
	larger, err := GenerateKey(rand.Reader, 384)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := larger.Public().Encrypt(rand.Reader, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"one byte":           "\x00",
		"a point only":       textOf(raw[:66]),
		"cut":                textOf(raw[:len(raw)-1]),
		"more behind":        good + "x",
		"a point not on it":  change(20, raw[20]^1),
		"an odd point":       change(1, 63),
		"a great length":     change(66, 255),
		"no UTF-8":           string(raw),
		"a wide character":   good + "Ā",
		"for a larger curve": elsewhere,
		"too long":           strings.Repeat("x", MaxFrame+1),
	} {
		if got, err := k.Decrypt(text); !errors.Is(err, ErrCiphertext) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := k.Public().Encrypt(rand.Reader, make([]byte, MaxFrame+1)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if _, err := k.Public().Encrypt(strings.NewReader("short"), nil); err == nil {
		t.Error("five random bytes were enough")
	}
}
