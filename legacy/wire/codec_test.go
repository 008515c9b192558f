package wire

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
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
		got, err := decode(SessionKey(f.Key), payload)
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
	dict := new(record.Dict).Set(record.Text("k"), record.List{record.NewInt(-7), record.Float(1.5), record.Bytes{0, 255}})
	values := []record.Value{
		record.List{},
		record.List{record.Text("hello")},
		record.List{record.Text("rput"), record.Text("投票"), dict, record.Tuple{}},
		record.Tuple{record.Text("ERR")},
		record.List{record.Text(strings.Repeat("a", MaxText/2))},
		record.List{record.Text(strings.Repeat("abcdefghé", MaxText/12))},
	}
	for n := maxStored - 150; n < maxStored+10; n++ { // around the length from which text is compressed
		values = append(values, record.List{record.Text(strings.Repeat("a", n))})
	}
	for _, key := range []SessionKey{"", newKey(t)} {
		var server, client Codec
		for _, v := range values {
			payload, err := client.EncodeRequestValue(key, v)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := server.DecodeRequest(key, payload); err != nil || !record.Equal(got, v) {
				t.Errorf("a request of %d bytes: %v, %v", len(payload), got, err)
			}
			if payload, err = server.EncodeReply(key, v); err != nil {
				t.Fatal(err)
			}
			if got, err := client.DecodeReply(key, payload); err != nil || !record.Equal(got, v) {
				t.Errorf("a reply of %d bytes: %v, %v", len(payload), got, err)
			}
		}
		for _, part := range []record.Bytes{{}, bytes.Repeat([]byte{1, 2, 3}, 6000)} {
			payload, err := client.EncodeRequestValue(key, part)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := server.DecodeRequest(key, payload); err != nil || !record.Equal(got, part) {
				t.Errorf("%d bytes of a file: %v, %v", len(part), got, err)
			}
		}
	}
}

// TestNewKey has one connection whose session key changes, and whose sides keep their codecs.
func TestNewKey(t *testing.T) {
	t.Parallel()
	var c Codec
	first, second := newKey(t), newKey(t)
	for _, key := range []SessionKey{"", first, second, "", first} {
		payload, err := c.EncodeRequest(key, []record.Value{record.Text("hello")})
		if err != nil {
			t.Fatal(err)
		}
		for _, decoder := range []*Codec{&c, new(Codec)} {
			if got, err := decoder.DecodeRequest(key, payload); err != nil || !record.Equal(got, record.List{record.Text("hello")}) {
				t.Errorf("%v, %v", got, err)
			}
		}
	}
}

// deflated returns text compressed as any other program may do it.
func deflated(tb testing.TB, level int, text []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestAnyLevelDecodes(t *testing.T) {
	t.Parallel()
	text := []byte("pg s3 'iai' i4 1 a21 'pg s1 's' s5 'hello' ' i4 2 ")
	var c Codec
	for level := zlib.HuffmanOnly; level <= zlib.BestCompression; level++ {
		got, err := c.DecodeRequest("", deflated(t, level, text))
		if err != nil || !record.Equal(got, record.List{record.Text("hello")}) {
			t.Errorf("level %d: %v, %v", level, got, err)
		}
	}
}

// TestCodePage437 reads text that is not UTF-8 (docs/original-protocol.md §2), in which lengths count bytes.
func TestCodePage437(t *testing.T) {
	t.Parallel()
	var c Codec
	got, err := c.DecodeRequest("", deflated(t, 1, []byte("pg s3 'iai' i4 1 a20 'pg s1 's' s4 'h\x82l\xe3' ' i4 2 ")))
	if want := (record.List{record.Text("hélπ")}); err != nil || !record.Equal(got, want) {
		t.Errorf("request %v, %v", got, err)
	}
	got, err = c.DecodeReply("", deflated(t, 1, []byte("pg s3 'isi' i4 1 s37 'pg s1 'a' a20 'pg s1 's' s4 'h\x82l\xe3' ' ' i4 2 ")))
	if want := (record.List{record.Text("hélπ")}); err != nil || !record.Equal(got, want) {
		t.Errorf("reply %v, %v", got, err)
	}
}

// TestPadding checks the random bytes around a message.
func TestPadding(t *testing.T) {
	t.Parallel()
	var c Codec
	lengths := func(encode func() ([]byte, error)) (before, after map[int]int) {
		before, after = map[int]int{}, map[int]int{}
		seen := map[string]bool{}
		for range 2000 {
			payload, err := encode()
			if err != nil {
				t.Fatal(err)
			}
			var w workspace
			text, err := w.inflate(payload)
			if err != nil {
				t.Fatal(err)
			}
			items, err := record.Unpack(text)
			if err != nil || len(items) != 3 {
				t.Fatal(items, err)
			}
			before[len(items[0].(record.Bytes))]++
			after[len(items[2].(record.Bytes))]++
			if bytes.Equal(items[0].(record.Bytes)[:4], items[2].(record.Bytes)[:4]) {
				t.Error("the same bytes in front and behind")
			}
			seen[string(payload)] = true
		}
		if len(seen) < 1990 {
			t.Errorf("%d of 2000 messages are different", len(seen))
		}
		return before, after
	}
	all := func(what string, got map[int]int, least, most int) {
		t.Helper()
		for n := least; n <= most; n++ {
			if got[n] == 0 {
				t.Errorf("%s: none is %d bytes long", what, n)
			}
		}
		if len(got) != most-least+1 {
			t.Errorf("%s: lengths %v, want %d to %d", what, got, least, most)
		}
	}
	before, after := lengths(func() ([]byte, error) { return c.EncodeRequest("", []record.Value{record.Text("hello")}) })
	all("before a request", before, 4, 14)
	all("after a request", after, 4, 16)
	before, after = lengths(func() ([]byte, error) { return c.EncodeReply("", record.List{record.Text("OK")}) })
	all("before a reply", before, 14, 24)
	all("after a reply", after, 24, 36)
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const request = "pg s3 'iai' i4 1 a21 'pg s1 's' s5 'hello' ' i4 2 "
	good := deflated(t, 1, []byte(request))
	badSum := bytes.Clone(good)
	badSum[len(badSum)-1]++
	nest := func(levels int) []byte {
		text := "pg s1 'i' i4 1 "
		for range levels {
			text = fmt.Sprintf("pg s1 'a' a%d '%s' ", len(text), text)
		}
		return []byte(strings.Replace(text, "pg s1 'a' ", "pg s3 'iai' i4 1 ", 1) + "i4 2 ")
	}
	long := fmt.Appendf(nil, "pg s3 'isi' i4 1 s%d '%s' i4 2 ", MaxText, strings.Repeat("x", MaxText))
	var c Codec
	if _, err := c.DecodeRequest("", deflated(t, 1, nest(record.MaxDepth))); err != nil {
		t.Errorf("%d levels: %v", record.MaxDepth, err)
	}
	packedReply := func(reply string) []byte {
		return deflated(t, 1, fmt.Appendf(nil, "pg s3 'isi' i4 1 s%d '%s' i4 2 ", len(reply), reply))
	}
	for _, test := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"nothing", nil, "EOF"},
		{"no zlib", []byte("hello, world"), "invalid header"},
		{"a dictionary", []byte{0x78, 0x20, 0, 0, 0, 0, 1}, "dictionary"},
		{"cut", good[:len(good)-5], "unexpected EOF"},
		{"a wrong checksum", badSum, "checksum"},
		{"more behind", append(bytes.Clone(good), 0), "1 bytes follow"},
		{"a bomb", deflated(t, 9, make([]byte, 20<<20)), "longer than 262144 bytes"},
		{"one byte too much", deflated(t, 9, long[:MaxText+1]), "longer than 262144 bytes"},
		{"just short enough", deflated(t, 9, long[:MaxText]), "malformed-packing"},
		{"too long", make([]byte, MaxFrame+1), "at most 32767"},
		{"no packed text", deflated(t, 1, []byte("hello")), "malformed-packing"},
		{"two items", deflated(t, 1, []byte("pg s2 'ii' i4 1 i4 2 ")), "2 items"},
		{"four items", deflated(t, 1, []byte("pg s4 'iiii' i4 1 i4 2 i4 3 i4 4 ")), "4 items"},
		{"too deep", deflated(t, 1, nest(record.MaxDepth+1)), "nested more than"},
	} {
		for _, decode := range []func(SessionKey, []byte) (record.Value, error){c.DecodeRequest, c.DecodeReply} {
			got, err := decode("", test.payload)
			if !errors.Is(err, ErrMessage) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, %v", test.name, got, err)
			}
		}
	}
	for name, payload := range map[string][]byte{
		"packed once":      good,
		"no items":         packedReply("pg s0 '' "),
		"two items":        packedReply("pg s2 'ii' i4 1 i4 2 "),
		"no list":          packedReply("pg s1 'i' i4 1 "),
		"not packed":       packedReply("OK"),
		"a packed integer": deflated(t, 1, []byte("pg s3 'iii' i4 1 i4 2 i4 3 ")),
	} {
		if got, err := c.DecodeReply("", payload); !errors.Is(err, ErrMessage) {
			t.Errorf("a reply of %s: %v, %v", name, got, err)
		}
	}
	// After all that it still works.
	if got, err := c.DecodeRequest("", good); err != nil || !record.Equal(got, record.List{record.Text("hello")}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	random := make(record.Bytes, MaxFrame)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	var c Codec
	for name, v := range map[string]record.Value{
		"random bytes": random,
		"long text":    record.Text(strings.Repeat("x", MaxText)),
	} {
		if _, err := c.EncodeRequestValue("", v); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.EncodeReply("", record.List{v}); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s in a reply: %v", name, err)
		}
	}
	for name, v := range map[string]record.Value{
		"NaN":       record.Float(math.NaN()),
		"bad UTF-8": record.Text("\xff"),
		"nil":       nil,
	} {
		var bad *record.Error
		if _, err := c.EncodeRequest("", []record.Value{v}); !errors.As(err, &bad) || bad.Reason != record.BadValue {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.EncodeReply("", record.List{v}); !errors.As(err, &bad) || bad.Reason != record.BadValue {
			t.Errorf("%s in a reply: %v", name, err)
		}
	}
}

// TestCodecsShareNothing has many connections at once, whose memory comes from one pool.
func TestCodecsShareNothing(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for i := range 8 {
		key := newKey(t)
		if i%2 == 0 {
			key = ""
		}
		wg.Go(func() {
			var c Codec
			var got, want []record.Value
			var payloads, copies [][]byte
			for j := range 200 {
				v := record.List{record.Text(fmt.Sprint(i, " ", j)), record.Bytes(bytes.Repeat([]byte{byte(i), byte(j)}, 10*j))}
				payload, err := c.EncodeReply(key, v)
				if err != nil {
					t.Error(err)
					return
				}
				back, err := c.DecodeReply(key, payload)
				if err != nil {
					t.Error(err)
					return
				}
				got, want = append(got, back), append(want, v)
				payloads, copies = append(payloads, payload), append(copies, bytes.Clone(payload))
			}
			for j := range got {
				if !record.Equal(got[j], want[j]) || !bytes.Equal(payloads[j], copies[j]) {
					t.Errorf("connection %d, message %d is not what it was", i, j)
				}
			}
		})
	}
	wg.Wait()
}
