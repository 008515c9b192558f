package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// TestRabbit checks the cipher itself by the vectors without IV of RFC 4503, A.1.
func TestRabbit(t *testing.T) {
	t.Parallel()
	for key, want := range map[string][3]string{
		"00000000000000000000000000000000": {"b15754f036a5d6ecf56b45261c4af702", "88e8d815c59c0c397b696c4789c68aa7", "f416a1c3700cd451da68d1881673d696"},
		"912813292e3d36fe3bfc62f1dc51c3ac": {"3d2df3c83ef627a1e97fc38487e2519c", "f576cd61f4405b8896bf53aa8554fc19", "e5547473fbdb43508ae53b20204d4c5e"},
		"8395741587e0c733e9e9ab01c09b0043": {"0cb10dcda041cdac32eb5cfd02d0609b", "95fc9fca0f17015a7b7092114cff3ead", "9649e5de8bfc7f3f924147ad3a947428"},
	} {
		r := newRabbit([rabbitKey]byte(decodeHex(t, key)))
		for i, block := range want {
			r.extract()
			var got []byte
			for j := 3; j >= 0; j-- {
				got = binary.BigEndian.AppendUint32(got, r.block[j])
			}
			if hex.EncodeToString(got) != block {
				t.Errorf("key %s, block %d: %x, want %s", key, i, got, block)
			}
		}
	}
}

// TestRabbitVariant checks what the original makes of it.
func TestRabbitVariant(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Rabbit {
		key, want := decodeHex(t, v.Key), decodeHex(t, v.KeyStream)
		key = key[:min(len(key), rabbitKey)]
		got := make([]byte, len(want))
		newRabbit([rabbitKey]byte(leftPad(key, rabbitKey))).XORKeyStream(got, got)
		if !bytes.Equal(got, want) {
			t.Errorf("key %q:\n%x, want\n%x", v.Key, got, want)
		}
		// In pieces it is the same.
		r := newRabbit([rabbitKey]byte(leftPad(key, rabbitKey)))
		pieces := make([]byte, len(want))
		for i := 0; i < len(pieces); i += 7 {
			r.XORKeyStream(pieces[i:min(i+7, len(pieces))], pieces[i:min(i+7, len(pieces))])
		}
		if !bytes.Equal(pieces, want) {
			t.Errorf("key %q in pieces: %x", v.Key, pieces)
		}
	}
}
