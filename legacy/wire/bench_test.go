package wire

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"pyvnode/ledger/record"
)

// messages are a command and a reply as they mostly are: short, and a reply to rget with one record of 1 KiB.
func benchMessages() (hello, ok record.List, rget record.List) {
	hello = record.List{record.Text("hello")}
	ok = record.List{record.Text("OK"), record.Text("Hello"), record.Text("f3c79512-52a4-11ef-8d2b-d9957d7a2b41"), record.Text("7")}
	packed := make([]byte, 0, 1024)
	for i := 0; len(packed) < 1024; i++ {
		packed = fmt.Appendf(packed, "t%d 'pg s2 'ss' s6 'field%d' s8 'content%d' ' ", 40+i, i, i*i)
	}
	header := record.Bytes("f3c79512-52a4-11ef-8d2b-d9957d7a2b41")
	rget = record.List{record.Text("OK"), record.NewInt(1), record.Text("records"), record.List{record.List{header, record.Bytes(packed[:1024])}}}
	return hello, ok, rget
}

func BenchmarkCodec(b *testing.B) {
	hello, ok, rget := benchMessages()
	big := record.List{record.Text("OK"), record.Bytes(bytes.Repeat([]byte(strings.Repeat("0123456789abcdef", 3)+" line "), 500))}
	for _, key := range []SessionKey{"", newKey(b)} {
		name := "clear"
		if key != "" {
			name = "encrypted"
		}
		for _, m := range []struct {
			name    string
			value   record.List
			request bool
		}{{"hello", hello, true}, {"hello reply", ok, false}, {"rget reply 1 KiB", rget, false}, {"reply 26 KB", big, false}} {
			var c Codec
			encode := func() ([]byte, error) { return c.EncodeReply(key, m.value) }
			decode := c.DecodeReply
			if m.request {
				encode = func() ([]byte, error) { return c.EncodeRequest(key, m.value) }
				decode = c.DecodeRequest
			}
			payload, err := encode()
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/"+m.name+"/encode", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := encode(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(payload)), "wire-B")
			})
			b.Run(name+"/"+m.name+"/decode", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := decode(key, payload); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, bits := range []int{256, 384, 521} {
		k, err := GenerateKey(rand.Reader, bits)
		if err != nil {
			b.Fatal(err)
		}
		plain := []byte(newKey(b))
		text, err := k.Public().Encrypt(rand.Reader, plain)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(bits, "/encrypt"), func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Public().Encrypt(rand.Reader, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(bits, "/decrypt"), func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Decrypt(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostile is what the worst frames cost: text of the greatest length, which compresses well, with as many small
// values as fit.
func BenchmarkHostile(b *testing.B) {
	repeat := func(v record.Value, n int) record.List {
		out := make(record.List, n)
		for i := range out {
			out[i] = v
		}
		return out
	}
	dict := new(record.Dict)
	for i := range 4500 {
		dict.Set(record.NewInt(int64(i)), record.Int{})
	}
	tuples := new(record.Dict)
	for i := range 2000 {
		tuples.Set(record.Tuple{record.Tuple{record.NewInt(int64(i))}}, record.Int{})
	}
	deep := record.Value(record.List{})
	for range record.MaxDepth - 2 {
		deep = record.List{deep}
	}
	for _, m := range []struct {
		name  string
		value record.List
	}{
		{"ints", repeat(record.NewInt(7), 37000)},
		{"floats", repeat(record.Float(1e18+1.0/3), 8000)},
		{"long floats", repeat(record.Float(1.7976931348623157e308), 800)},
		{"characters", repeat(record.Text("x"), 37000)},
		{"wide characters", repeat(record.Text("é"), 32000)},
		{"lists", repeat(record.List{}, 16000)},
		{"deep lists", repeat(deep, 450)},
		{"dict", record.List{dict}},
		{"dict of tuples", record.List{tuples}},
		{"one text", record.List{record.Text(strings.Repeat("x", 260000))}},
	} {
		var c Codec
		w := getWorkspace()
		text, err := record.AppendPack(nil, record.Bytes{}, m.value, record.Bytes{})
		if err != nil {
			b.Fatal(err)
		}
		payload, err := w.deflate(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.DecodeRequest("", payload); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(text)), "text-B")
			b.ReportMetric(float64(len(payload)), "wire-B")
		})
	}
}
