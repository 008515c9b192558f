package legacytest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
)

// Items returns the elements of a list or tuple.
func Items(v record.Value) []record.Value {
	switch v := v.(type) {
	case record.List:
		return v
	case record.Tuple:
		return v
	}
	return nil
}

// IsOK reports whether a reply begins with OK, whatever it is wrapped in.
func IsOK(reply record.Value) bool {
	items := Items(reply)
	if len(items) == 1 && Items(items[0]) != nil { // `tout`
		items = Items(items[0])
	}
	return len(items) > 0 && items[0] == record.Text("OK")
}

// IsError reports whether a reply begins with ERR.
func IsError(reply record.Value) bool {
	items := Items(reply)
	return len(items) > 0 && items[0] == record.Text("ERR")
}

// Show returns a value for messages.
func Show(v record.Value) string {
	if v == nil {
		return "nothing"
	}
	return record.PythonStr(v)
}

// typedValue reads the typed values of recorded steps, such as {"list": [{"int": "7"}, {"str": "x"}]}.
type typedValue struct{ record.Value }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *typedValue) UnmarshalJSON(data []byte) error {
	var form map[string]json.RawMessage
	if err := json.Unmarshal(data, &form); err != nil {
		return err
	}
	for kind, raw := range form {
		return t.read(kind, raw)
	}
	return fmt.Errorf("no value in %s", data)
}

func (t *typedValue) read(kind string, raw json.RawMessage) error {
	switch kind {
	case "list", "tuple":
		var items []typedValue
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
		t.Value = record.List(values(items))
		if kind == "tuple" {
			t.Value = record.Tuple(values(items))
		}
		return nil
	case "dict":
		var pairs [][2]typedValue
		if err := json.Unmarshal(raw, &pairs); err != nil {
			return err
		}
		d := new(record.Dict)
		for _, p := range pairs {
			d.Set(p[0].Value, p[1].Value)
		}
		t.Value = d
		return nil
	case "bytes":
		var b []byte // base64, as encoding/json has it
		err := json.Unmarshal(raw, &b)
		t.Value = record.Bytes(b)
		return err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	switch kind {
	case "str":
		t.Value = record.Text(text)
		return nil
	case "int":
		n, err := record.ParseInt(text)
		t.Value = n
		return err
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		t.Value = record.Float(f)
		return err
	}
	return fmt.Errorf("a value of kind %q", kind)
}

func values(items []typedValue) []record.Value {
	out := make([]record.Value, len(items))
	for i, item := range items {
		out[i] = item.Value
	}
	return out
}

// Record returns record number n as clients send one, with the proof of work that original servers ask for.
func Record(tb testing.TB, n int) *record.Dict {
	tb.Helper()
	r, err := record.Parse(ledgertest.Minted(tb, n, record.DefaultStrength))
	if err != nil {
		tb.Fatal(err)
	}
	return r.Dict()
}
