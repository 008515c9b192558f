package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
