package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pyvnode/ledger/record"
)

func decodeHex(tb testing.TB, text string) []byte {
	tb.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func newKey(tb testing.TB) SessionKey {
	tb.Helper()
	key, err := NewSessionKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// TestFrames reads what the original's client and server sent.
func TestFrames(t *testing.T) {
	t.Parallel()
	var c Codec
	for i, f := range readVectors(t).Frames {
		decode := c.DecodeRequest
		if f.Direction == "server" {
			decode = c.DecodeReply
		}
		payload := decodeHex(t, f.Frame)
		before := bytes.Clone(payload)
		got, err := decode(f.Key, payload)
		if err != nil || !record.Equal(got, f.Decoded.Value) {
			t.Errorf("frame %d: %v, %v; want %v", i, record.PythonStr(got), err, record.PythonStr(f.Decoded))
		}
		if !bytes.Equal(payload, before) {
			t.Errorf("frame %d: the payload was changed", i)
		}
		if f.Key != "" {
			if got, err := decode("", payload); !errors.Is(err, ErrMessage) {
				t.Errorf("frame %d without its key: %v, %v", i, got, err)
			}
		}
	}
}

func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	n := record.NewInt(-7)
	dict := new(record.Dict).Set(record.Text("k"), record.List{n, record.Float(1.5), record.Bytes{0, 255}})
	for _, key := range []SessionKey{"", newKey(t)} {
		for _, v := range []record.List{
			nil,
			{record.Text("hello")},
			{record.Text("rput"), record.Text("投票"), dict, record.Tuple{}},
			{record.Text(strings.Repeat("a", maxStored-200))},
			{record.Text(strings.Repeat("a", maxStored))},
			{record.Text(strings.Repeat("abcdefghé", MaxText/12))},
		} {
			var c Codec
			payload, err := c.EncodeRequest(key, v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.DecodeRequest(key, payload)
			if err != nil || !record.Equal(got, v) {
				t.Errorf("a request of %d bytes: %v, %v", len(payload), got, err)
			}
			payload, err = c.EncodeReply(key, v)
			if err != nil {
				t.Fatal(err)
			}
			got, err = c.DecodeReply(key, payload)
			if err != nil || !record.Equal(got, v) {
				t.Errorf("a reply of %d bytes: %v, %v", len(payload), got, err)
			}
		}
	}
}
