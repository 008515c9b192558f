package legacy

import (
	"math"
	"strconv"
	"strings"

	"pyvnode/ledger/record"
)

// request is a command with its arguments.
type request struct {
	name string
	args []record.Value
}

// parseRequest takes a decoded message apart: a list or tuple that begins with the name of a command.
func parseRequest(v record.Value) (request, bool) {
	var items []record.Value
	switch v := v.(type) {
	case record.List:
		items = v
	case record.Tuple:
		items = v
	}
	if len(items) == 0 {
		return request{}, false
	}
	name, isText := items[0].(record.Text)
	return request{name: string(name), args: items[1:]}, isText
}

// has reports whether there is an argument i.
func (r request) has(i int) bool { return i < len(r.args) }

// text returns argument i, which the table of commands says is text. It returns "" if there is
// none.
func (r request) text(i int) string {
	if i < len(r.args) {
		if t, isText := r.args[i].(record.Text); isText {
			return string(t)
		}
	}
	return ""
}

// Integer reads a whole number in any of the ways in which clients send one.
func Integer(v record.Value) (int64, bool) {
	var text string
	switch v := v.(type) {
	case record.Int:
		return v.Int64()
	case record.Float:
		if v != record.Float(math.Trunc(float64(v))) || math.Abs(float64(v)) > 1<<53 {
			return 0, false
		}
		return int64(v), true
	case record.Text:
		text = string(v)
	case record.Bytes:
		text = string(v)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil
}

// seconds reads a time in Unix seconds.
func seconds(v record.Value) (float64, bool) {
	switch v := v.(type) {
	case record.Float:
		return float64(v), true
	case record.Int:
		n, fits := v.Int64()
		return float64(n), fits
	case record.Text:
		f, err := strconv.ParseFloat(strings.TrimSpace(string(v)), 64)
		return f, err == nil && !math.IsNaN(f)
	}
	return 0, false
}
