package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// jsonLineEntry is an entry with a payload of every type.
func jsonLineEntry(t *testing.T) *ledger.Entry {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	payload := new(record.Dict).
		Set(record.Text("text"), record.Text("Zoë \"quoted\"\n\u2028")).
		Set(record.Text("int"), record.NewInt(-5)).
		Set(record.Text("float"), record.Float(1.25)).
		Set(record.Text("bytes"), record.Bytes{0, 1, 255}).
		Set(record.Text("list"), record.List{record.Tuple{record.NewInt(1)}, new(record.Dict)})
	r, err := record.New(payload, time.Unix(1795310564, 0), bytes.NewReader(make([]byte, 8)))
	if err != nil {
		t.Fatal(err)
	}
	if err := (record.Minter{Strength: 1, Workers: 1, Rand: bytes.NewReader(make([]byte, 8))}).Mint(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	normal, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	g, err := ledger.NewGenesis(ledger.GenesisDoc{Format: ledger.GenesisFormat, Name: "lines", Nonce: make([]byte, 16), Members: []ledger.Origin{ledger.OriginOf(key)}})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := (&ledger.Checker{Genesis: g}).Draft("ballot", normal)
	if err != nil {
		t.Fatal(err)
	}
	log := ledger.Log{Origin: ledger.OriginOf(key)}
	e, err := log.Sign(g, key, draft, nil, 1795310564123, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestJSONLineRoundTrip(t *testing.T) {
	t.Parallel()
	e := jsonLineEntry(t)
	l, err := ledger.NewJSONLine(e)
	if err != nil {
		t.Fatal(err)
	}
	line, err := ledger.AppendJSONLine([]byte("before "), l)
	if err != nil {
		t.Fatal(err)
	}
	line = bytes.TrimPrefix(line, []byte("before "))
	if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("not one line: %q", line)
	}
	got, err := ledger.ParseJSONLine(line)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != "ballot" || *got.Origin != e.Header.Origin || *got.Seq != 0 || *got.Hash != e.Hash || got.Height != 1 ||
		!got.Time.Equal(time.UnixMilli(1795310564123)) || *got.ContentID != *l.ContentID {
		t.Errorf("read back as %+v", got)
	}
	normal, err := got.Record.Normal()
	if err != nil || !bytes.Equal(normal, e.Record) {
		t.Errorf("record reads back as %s, %v; want %s", normal, err, e.Record)
	}
	again, err := ledger.AppendJSONLine(nil, got)
	if err != nil || !bytes.Equal(again, line) {
		t.Errorf("written again: %s, %v; want %s", again, err, line)
	}

	// Kind and record are all that a reader needs.
	short, err := ledger.AppendJSONLine(nil, &ledger.JSONLine{Kind: "ballot", Record: got.Record})
	if err != nil || !bytes.HasPrefix(short, []byte(`{"kind":"ballot","record":{`)) {
		t.Errorf("short line %s, %v", short, err)
	}
	if _, err := ledger.ParseJSONLine(short); err != nil {
		t.Error(err)
	}
}

func TestJSONLineRefused(t *testing.T) {
	t.Parallel()
	l, err := ledger.NewJSONLine(jsonLineEntry(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ledger.AppendJSONLine(nil, l)
	if err != nil {
		t.Fatal(err)
	}
	line := string(raw)
	replace := func(old, now string) string {
		if !strings.Contains(line, old) {
			t.Fatalf("no %s in %s", old, line)
		}
		return strings.Replace(line, old, now, 1)
	}
	for name, text := range map[string]string{
		"empty":          "",
		"array":          "[]",
		"cut":            line[:len(line)-3],
		"behind":         line + "{}",
		"unknown key":    replace(`{"kind"`, `{"extra":1,"kind"`),
		"other case":     replace(`"kind"`, `"Kind"`),
		"twice":          replace(`{"kind"`, `{"kind":"ballot","kind"`),
		"no kind":        replace(`"kind":"ballot",`, ``),
		"bad kind":       replace(`"kind":"ballot"`, `"kind":"a/b"`),
		"null kind":      replace(`"kind":"ballot"`, `"kind":null`),
		"null origin":    replace(`"origin":"`+l.Origin.String()+`"`, `"origin":null`),
		"bad origin":     replace(`"origin":"12D3`, `"origin":"13D3`),
		"negative seq":   replace(`"seq":0`, `"seq":-1`),
		"great seq":      replace(`"seq":0`, `"seq":281474976710656`),
		"text seq":       replace(`"seq":0`, `"seq":"0"`),
		"no height":      replace(`"height":1`, `"height":0`),
		"great height":   replace(`"height":1`, `"height":72057594037927937`),
		"short hash":     replace(`"hash":"`, `"hash":"ab`),
		"bad time":       replace(`"time":"2`, `"time":"x`),
		"bad content ID": replace(`"content_id":"`, `"content_id":"X`),
		"no record":      `{"kind":"ballot"}`,
		"null record":    `{"kind":"ballot","record":null}`,
		"list record":    `{"kind":"ballot","record":[]}`,
		"not UTF-8":      replace("Zo", "\xff"),
		"too long":       `{"kind":"ballot","record":{"a":"` + strings.Repeat("x", ledger.MaxJSONLine) + `"}}`,
	} {
		if got, err := ledger.ParseJSONLine([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	for _, l := range []*ledger.JSONLine{{Kind: "a b", Record: l.Record}, {Kind: "a"}} {
		if line, err := ledger.AppendJSONLine(nil, l); err == nil {
			t.Errorf("written: %s", line)
		}
	}
}

func TestEntryTime(t *testing.T) {
	t.Parallel()
	for ms, want := range map[uint64]string{
		0:                    "1970-01-01T00:00:00Z",
		1795310564123:        "2026-11-22T01:22:44.123Z",
		253402300799999:      "9999-12-31T23:59:59.999Z",
		253402300800000:      "0001-01-01T00:00:00Z",
		18446744073709551615: "0001-01-01T00:00:00Z",
	} {
		if got := ledger.EntryTime(&ledger.Header{Time: ms}).Format(time.RFC3339Nano); got != want {
			t.Errorf("EntryTime(%d) = %s, want %s", ms, got, want)
		}
	}
}

func FuzzParseJSONLine(f *testing.F) {
	f.Add([]byte(`{"kind":"a","record":{"header":"x"}}`))
	f.Add([]byte(`{"kind":"a","seq":1,"height":2,"time":"2026-11-22T01:22:44Z","record":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := ledger.ParseJSONLine(line)
		if err != nil {
			return
		}
		again, err := ledger.AppendJSONLine(nil, l)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", line, err)
		}
		if _, err := ledger.ParseJSONLine(again); err != nil {
			t.Fatalf("%q was written as %q, which cannot be read: %v", line, again, err)
		}
	})
}
