package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pyvnode/ledger/record"
)

const fuzzKey = SessionKey("0123456789012345678901234567890123456789")

// FuzzDecodeRequest reads frames as a server does, in clear text and encrypted.
func FuzzDecodeRequest(f *testing.F) {
	var all bytes.Buffer
	for _, v := range readVectors(f).Frames {
		if v.Key == "" {
			if err := WriteFrame(&all, decodeHex(f, v.Frame)); err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.Clone(all.Bytes()[all.Len()-len(v.Frame)/2-frameHeader:]), false)
		}
	}
	f.Add(all.Bytes(), false)
	f.Fuzz(func(t *testing.T, stream []byte, encrypted bool) {
		var key SessionKey
		if encrypted {
			key = fuzzKey
		}
		var c Codec
		var buf []byte
		for r := bytes.NewReader(stream); ; {
			payload, err := ReadFrame(r, buf)
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrFrame) {
					t.Fatal(err)
				}
				return
			}
			buf = payload[:0]
			request, err := c.DecodeRequest(key, payload)
			if err != nil {
				if !errors.Is(err, ErrMessage) {
					t.Fatal(err)
				}
				continue
			}
			again, err := c.EncodeRequestValue(key, request)
			if err != nil {
				if !errors.Is(err, ErrTooLong) {
					t.Fatal(err)
				}
				continue
			}
			if got, err := c.DecodeRequest(key, again); err != nil || !record.Equal(got, request) {
				t.Fatalf("%v reads as %v, %v", request, got, err)
			}
		}
	})
}

// FuzzDecodeText reads requests and replies behind the compression, which a fuzzer does not get through.
func FuzzDecodeText(f *testing.F) {
	var w workspace
	for _, v := range readVectors(f).Frames {
		if v.Key == "" {
			text, err := w.inflate(decodeHex(f, v.Frame))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.Clone(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > MaxFrame {
			return
		}
		payload := store(text)
		var c Codec
		if _, err := c.DecodeRequest("", payload); err != nil && !errors.Is(err, ErrMessage) {
			t.Fatal(err)
		}
		checkReply(t, "", payload)
	})
}

// FuzzDecodeReply reads payloads as a client does, in clear text and encrypted.
func FuzzDecodeReply(f *testing.F) {
	for _, v := range readVectors(f).Frames {
		if v.Key == "" {
			f.Add(decodeHex(f, v.Frame), false)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, encrypted bool) {
		if encrypted {
			checkReply(t, fuzzKey, payload)
		} else {
			checkReply(t, "", payload)
		}
	})
}

func checkReply(t *testing.T, key SessionKey, payload []byte) {
	t.Helper()
	var c Codec
	reply, err := c.DecodeReply(key, payload)
	if err != nil {
		if !errors.Is(err, ErrMessage) {
			t.Fatal(err)
		}
		return
	}
	again, err := c.EncodeReply(key, reply)
	if err != nil {
		if !errors.Is(err, ErrTooLong) {
			t.Fatal(err)
		}
		return
	}
	if got, err := c.DecodeReply(key, again); err != nil || !record.Equal(got, reply) {
		t.Fatalf("%v reads as %v, %v", reply, got, err)
	}
}

// FuzzParseKey reads public and private keys.
func FuzzParseKey(f *testing.F) {
	for _, v := range readVectors(f).Keys {
		f.Add(v.Public)
		f.Add(v.Private)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParsePublicKey(text); err == nil {
			if again, err := ParsePublicKey(k.Text()); err != nil || !again.key.Equal(k.key) {
				t.Fatal(err)
			}
		} else if !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
		if k, err := ParsePrivateKey(text); err == nil {
			if again, err := ParsePrivateKey(k.Text()); err != nil || !again.key.Equal(k.key) {
				t.Fatal(err)
			}
		} else if !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
	})
}

// FuzzDecrypt reads what clients send as their encrypted session key.
func FuzzDecrypt(f *testing.F) {
	keys := readVectors(f).Keys
	var private []*PrivateKey
	for i, v := range keys {
		k, err := ParsePrivateKey(v.Private)
		if err != nil {
			f.Fatal(err)
		}
		private = append(private, k)
		for _, m := range v.Messages {
			f.Add(byte(i), string(decodeHex(f, m.Cipher)))
		}
	}
	f.Fuzz(func(t *testing.T, i byte, text string) {
		k := private[int(i)%len(private)]
		plain, err := k.Decrypt(text)
		if err != nil {
			if !errors.Is(err, ErrCiphertext) {
				t.Fatal(err)
			}
			return
		}
		if key, err := ParseSessionKey(plain); err == nil && len(key) < MinSessionKey || len(plain) > len(text) {
			t.Fatalf("%d bytes of %d", len(plain), len(text))
		}
	})
}
