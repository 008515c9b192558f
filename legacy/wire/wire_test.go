package wire

import (
	"encoding/json"
	"os"
	"testing"

	"pyvnode/ledger/record"
)

// vectors are what the original server and its client library made: keystreams, keys with messages encrypted under
// them, whole frames.
type vectors struct {
	Rabbit []struct {
		Key       string `json:"key_hex"`
		KeyStream string `json:"keystream_hex"`
	} `json:"rabbit_variant"`
	Keys []struct {
		Bits            int
		Public, Private string
		D               string `json:"d_hex"`
		X               string `json:"x_hex"`
		Y               string `json:"y_hex"`
		ID              string `json:"keyid"` // in decimal
		Messages        []struct {
			Plain        string
			Cipher       string `json:"cipher_utf8_hex"`
			SHA256Plain  string `json:"sha256_plain"`
			SHA256Cipher string `json:"sha256_cipher_utf8"`
		}
	}
	Frames []struct {
		Direction string
		Key       string
		Frame     string `json:"frame_hex"`
		Decoded   typed
	}
}

func readVectors(tb testing.TB) *vectors {
	tb.Helper()
	raw, err := os.ReadFile("testdata/codec.json")
	if err != nil {
		tb.Fatal(err)
	}
	v := new(vectors)
	if err := json.Unmarshal(raw, v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Rabbit) != 6 || len(v.Keys) != 6 || len(v.Frames) != 14 {
		tb.Fatalf("%d key streams, %d keys, %d frames", len(v.Rabbit), len(v.Keys), len(v.Frames))
	}
	return v
}

// typed is a value in the vectors: an object of one member that names the type.
type typed struct{ record.Value }

func (t *typed) UnmarshalJSON(raw []byte) error {
	var v struct {
		Int   *string
		Float *string
		Str   *string
		Bytes *[]byte
		List  *[]typed
		Tuple *[]typed
		Dict  *[][2]typed
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	values := func(ts []typed) []record.Value {
		out := make([]record.Value, len(ts))
		for i, t := range ts {
			out[i] = t.Value
		}
		return out
	}
	switch {
	case v.Int != nil:
		n, err := record.ParseInt(*v.Int)
		t.Value = n
		return err
	case v.Str != nil:
		t.Value = record.Text(*v.Str)
	case v.Bytes != nil:
		t.Value = record.Bytes(*v.Bytes)
	case v.List != nil:
		t.Value = record.List(values(*v.List))
	case v.Tuple != nil:
		t.Value = record.Tuple(values(*v.Tuple))
	case v.Dict != nil:
		d := new(record.Dict)
		for _, pair := range *v.Dict {
			d.Set(pair[0].Value, pair[1].Value)
		}
		t.Value = d
	}
	return nil
}
