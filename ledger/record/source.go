package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// byteOrderMark is U+FEFF in UTF-8. Some editors write it at the start of a
// text, where it says nothing.
const byteOrderMark = "\ufeff"

// TrimMark returns a text without the byte order mark that some editors begin
// it with.
func TrimMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte(byteOrderMark)) }

// SourceBytes is how much of the start of a source [ForeignForm] looks at.
const SourceBytes = 8

// ForeignForm says what a source is that should have been text in UTF-8 or a
// file of this program, judged by its first [SourceBytes], and how to make it
// that. Both are empty for what may be right.
func ForeignForm(start []byte) (what, hint string) {
	const unpack = "unpack it first, with "
	for _, f := range []struct{ magic, what, hint string }{
		{"\xff\xfe\x00\x00", "text in UTF-32", "save it as UTF-8"},
		{"\x00\x00\xfe\xff", "text in UTF-32", "save it as UTF-8"},
		{"\xff\xfe", "text in UTF-16", "save it as UTF-8"},
		{"\xfe\xff", "text in UTF-16", "save it as UTF-8"},
		{"\x1f\x8b", "compressed by gzip", unpack + "gunzip"},
		{"PK\x03\x04", "a zip archive", unpack + "unzip"},
		{"PK\x05\x06", "an empty zip archive", unpack + "unzip"},
		{"\x28\xb5\x2f\xfd", "compressed by zstd", unpack + "unzstd"},
		{"BZh", "compressed by bzip2", unpack + "bunzip2"},
		{"\xfd7zXZ\x00", "compressed by xz", unpack + "unxz"},
		{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", unpack + "7z"},
		{"SQLite f", "an SQLite database", ""},
		{"%PDF-", "a PDF document", ""},
	} {
		if strings.HasPrefix(string(start), f.magic) {
			return f.what, f.hint
		}
	}
	if len(start) >= 4 { // UTF-16 without a mark: every other byte of what is ASCII is zero
		zero := func(i int) bool { return start[i] == 0 }
		switch {
		case zero(0) && !zero(1) && zero(2) && !zero(3), !zero(0) && zero(1) && !zero(2) && zero(3):
			return "text in UTF-16", "save it as UTF-8"
		}
	}
	return "", ""
}

// ExplainJSON says to people what is wrong with a text that encoding/json did
// not take with err: where, and what stands there. The text of err would speak
// of Go's types, and of single bytes of a character.
func ExplainJSON(text []byte, err error) string {
	if what, hint := ForeignForm(text); what != "" {
		if hint != "" {
			hint = "; " + hint
		}
		return "it is " + what + hint
	}
	if !utf8.Valid(text) {
		return "it is not text in UTF-8"
	}
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(text, &whole), &syntax) {
		return explainSyntax(text)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		where := ""
		if wrong.Field != "" {
			where = fmt.Sprintf("%q: ", wrong.Field)
		}
		return fmt.Sprintf("%swant %s, found %s", where, jsonWant(wrong.Type), jsonFound(wrong.Value))
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// explainSyntax names the character at which a text stops being JSON.
func explainSyntax(text []byte) string {
	scan := jsonScan{text: text}
	why := scan.document()
	if scan.at >= len(text) {
		return "the JSON ends too early"
	}
	r, _ := utf8.DecodeRune(text[scan.at:])
	return fmt.Sprintf("%q at byte %d%s", r, scan.at+1, why)
}

// jsonWant says which JSON a Go type is read from.
func jsonWant(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return "a list"
		}
	case reflect.Map:
		return "an object"
	case reflect.Struct:
		if !reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()) {
			return "an object"
		}
	}
	return "text in quotes"
}

// jsonFound says what stood in the place of another value, as
// [json.UnmarshalTypeError] calls it.
func jsonFound(value string) string {
	switch {
	case value == "string":
		return "text"
	case value == "bool":
		return "true or false"
	case value == "array":
		return "a list"
	case value == "object":
		return "an object"
	case value == "number":
		return "a number"
	}
	return value // "number 1.5"
}
