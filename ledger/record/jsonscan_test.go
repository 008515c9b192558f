package record

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// TestScanAgrees: a text is JSON to the scan exactly if it is to encoding/json, and the scan ends within it.
func TestScanAgrees(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const good = `{"a": [1, -0.5e+3, true, false, null, "x\n\u00e9é"], "b": {"c": {}, "d": []}, "e": 0}`
	const marks = "{}[]\",:\\ \n0123456789.eE+-truefalsn\x01é"
	valid := 0
	for range 50_000 {
		text := []byte(good)
		for range r.IntN(4) {
			if len(text) == 0 {
				break
			}
			i := r.IntN(len(text))
			switch r.IntN(3) {
			case 0:
				text[i] = marks[r.IntN(len(marks))]
			case 1:
				text = append(text[:i], text[i+1:]...)
			default:
				text = text[:i+1]
			}
		}
		s := jsonScan{text: text}
		why := s.document()
		is := why == ": want nothing more after the value" && s.at == len(text)
		if is != json.Valid(text) || s.at > len(text) {
			t.Fatalf("%q: at %d%s; encoding/json says valid: %v", text, s.at, why, !is)
		}
		if is {
			valid++
		}
	}
	if valid < 1000 {
		t.Errorf("only %d texts were JSON", valid)
	}
	deep := jsonScan{text: bytes.Repeat([]byte("["), 1<<20)}
	if why := deep.document(); why == "" || deep.at > maxScan {
		t.Errorf("a text that is nested too deep: at %d%s", deep.at, why)
	}
}
