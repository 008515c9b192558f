package record

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestForeignForm(t *testing.T) {
	t.Parallel()
	for start, want := range map[string]string{
		"":                         "",
		"{":                        "",
		"{\"a\":1}":                "",
		"pg s1 'd":                 "",
		"pyvnode-":                 "",
		"PYDB\x00\x01\x00\x00":     "",
		"\ufeff{\"a\"":             "",
		"\xff\xfe{\x00":            "text in UTF-16",
		"\xfe\xff\x00{":            "text in UTF-16",
		"{\x00\"\x00a\x00\"\x00":   "text in UTF-16",
		"\x00{\x00\"\x00a\x00\"":   "text in UTF-16",
		"\xff\xfe\x00\x00{\x00":    "text in UTF-32",
		"\x1f\x8b\x08\x00":         "compressed by gzip",
		"PK\x03\x04\x14\x00":       "a zip archive",
		"\x28\xb5\x2f\xfd\x04\x00": "compressed by zstd",
		"BZh91AY&":                 "compressed by bzip2",
		"\xfd7zXZ\x00\x00\x04":     "compressed by xz",
	} {
		if got, _ := ForeignForm([]byte(start)[:min(len(start), SourceBytes)]); got != want {
			t.Errorf("%q is taken for %q, want %q", start, got, want)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"peers": "a"}`:         `"peers": want a list, found text`,
		`{"peers": {}}`:          `"peers": want a list, found an object`,
		`{"peers": [1]}`:         `want text in quotes, found a number`,
		`{"count": "5"}`:         `"count": want a whole number, found text`,
		`{"count": 1.5}`:         `"count": want a whole number, found number 1.5`,
		`{"open": 1}`:            `"open": want true or false, found a number`,
		`{"inner": []}`:          `"inner": want an object, found a list`,
		`{"inner": {"open": 5}}`: `"inner.open": want true or false, found a number`,
		`{"friends": []}`:        `unknown field "friends"`,
		`[]`:                     `want an object, found a list`,
		`{"peers": [é]}`:         `'é' at byte 12: want a value`,
		`{"peers": [`:            "ends too early",
		"\x1f\x8b\x08\x00":       "it is compressed by gzip; unpack it first, with gunzip",
	} {
		var doc struct {
			Peers []string `json:"peers"`
			Count int      `json:"count"`
			Open  bool     `json:"open"`
			Inner *struct {
				Open bool `json:"open"`
			} `json:"inner"`
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		err := dec.Decode(&doc)
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		got := ExplainJSON([]byte(text), err)
		if !strings.Contains(got, want) || strings.Contains(got, "json:") || strings.Contains(got, "Go ") || strings.Contains(got, "struct") {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
}
