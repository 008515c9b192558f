package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

// field returns a field of a record that a client got.
func field(t testing.TB, packed record.Value, key string) record.Value {
	t.Helper()
	bytes, _ := packed.(record.Bytes)
	r, err := record.Parse(bytes)
	must(t, err)
	v, _ := r.Get(key)
	return v
}

// records takes the reply of rget and rabs apart.
func records(t testing.TB, reply record.Value) (packed []record.Value) {
	t.Helper()
	wantOK(t, reply)
	items := legacytest.Items(reply)
	if len(items) != 4 {
		t.Fatalf("answered %s", legacytest.Show(reply))
	}
	for _, pair := range legacytest.Items(items[3]) {
		packed = append(packed, legacytest.Items(pair)[1])
	}
	return packed
}

// TestRoundTrip gives back what a client has put, byte for byte, with a count that is how often it was sent on.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	for i, packed := range votes(t, 10) {
		r, err := record.Parse(packed)
		must(t, err)
		sent := r.Dict()
		sent.Set(record.Text(record.KeyReplicated), record.NewInt(int64(i)))
		want, err := record.AppendPack(nil, sent)
		must(t, err)
		header, _ := r.Get(record.KeyHeader)
		wantOK(t, p.Call(t, "rput", "vote", sent))
		for _, reply := range []record.Value{p.Call(t, "rget", "vote", header), p.Call(t, "rabs", "vote", -1), p.Call(t, "rabs", "vote", i)} {
			if got := records(t, reply)[0].(record.Bytes); string(got) != string(want) {
				t.Errorf("record %d came back as\n%s\nand was\n%s", i, got, want)
			}
		}
	}
	for _, hops := range []record.Value{record.NewInt(-1), record.Text("1"), record.NewInt(1 << 40), record.Float(1)} {
		r := legacytest.Record(t, 100)
		r.Set(record.Text(record.KeyReplicated), hops)
		wantError(t, p.Call(t, "rput", "vote", r), "Replicated must be")
	}
	r := legacytest.Record(t, 101)
	r.Delete(record.Text(record.KeyReplicated))
	wantOK(t, p.Call(t, "rput", "vote", r))
	if n := field(t, records(t, p.Call(t, "rabs", "vote", -1))[0], record.KeyReplicated); n != (record.Int{}) {
		t.Errorf("Replicated is %v", n)
	}
}

// TestRefusedRecords answers for each damage with what the original answers, or better.
func TestRefusedRecords(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	const noUUID = "Header must be a valid UUID, not saved"
	for name, c := range map[string]struct {
		change func(r *record.Dict)
		want   string
	}{
		"no header":     {func(r *record.Dict) { r.Delete(record.Text("header")) }, noUUID},
		"header":        {func(r *record.Dict) { r.Set(record.Text("header"), record.Text("x")) }, noUUID},
		"odd header":    {func(r *record.Dict) { r.Set(record.Text("header"), record.NewInt(1)) }, noUUID},
		"odd key":       {func(r *record.Dict) { r.Set(record.NewInt(1), record.NewInt(1)) }, noUUID},
		"no payload":    {func(r *record.Dict) { r.Delete(record.Text("PayLoad")) }, "Not saved: "},
		"content":       {func(r *record.Dict) { r.Set(record.Text("now"), record.Text("then")) }, "Error on block hash."},
		"no hash":       {func(r *record.Dict) { r.Delete(record.Text("_Hash")) }, "Error on block hash."},
		"weak proof":    {func(r *record.Dict) { r.Set(record.Text("_Proof"), record.Text(strings.Repeat("f", 62)+"00")) }, "Insufficient hash strength (2)"},
		"no proof":      {func(r *record.Dict) { r.Delete(record.Text("_Proof")) }, "Insufficient hash strength (0)"},
		"wrong proof":   {func(r *record.Dict) { r.Set(record.Text("_Proof"), record.Text(strings.Repeat("0", 64))) }, "Error on block PROW."},
		"another nonce": {func(r *record.Dict) { r.Set(record.Text("_PowRand"), record.Bytes("x")) }, "Error on block PROW."},
		"link": {func(r *record.Dict) {
			r.Set(record.Text("_Link"), record.Text(strings.Repeat("0", 64)))
			r.Set(record.Text("_PrevHash"), record.Text(strings.Repeat("0", 64)))
		}, "Error on block link."},
		"too large": {func(r *record.Dict) { r.Set(record.Text("x"), record.Text(strings.Repeat("x", record.MaxRecord))) }, "larger than 61440 bytes"},
	} {
		r := legacytest.Record(t, 1)
		c.change(r)
		if reply := p.Call(t, "rput", "vote", r); !legacytest.IsError(reply) || !strings.Contains(legacytest.Show(reply), c.want) {
			t.Errorf("%s: %s, want %q", name, legacytest.Show(reply), c.want)
		}
	}
	for _, kind := range []string{"", "a b", "-x", "Ünïcode", "x\x00", strings.Repeat("x", 65), "a/b"} {
		wantError(t, p.Call(t, "rput", kind, legacytest.Record(t, 1)), "A kind is")
	}
	for _, kind := range []string{"..", "../x", "/x", "x/../../y"} {
		wantError(t, p.Call(t, "rput", kind, legacytest.Record(t, 1)), "No Access to directory.")
		wantError(t, p.Call(t, "rsize", kind), "No Access to directory.")
		wantError(t, p.Call(t, "rhave", kind, "x"), "No Access to directory.")
	}
	wantError(t, p.Call(t, "rput", "voter", legacytest.Record(t, 1)), "Not saved: ") // a private kind
	w.ledger.BeforePut = func(context.Context) error { return &legacy.RefusedError{Reason: "this node is catching up"} }
	wantReply(t, p.Call(t, "rput", "vote", legacytest.Record(t, 1)), "['ERR', 'Not saved: this node is catching up', 'rput']")
	w.ledger.BeforePut = func(context.Context) error { return errors.New("disk on fire at /srv/data") }
	wantReply(t, p.Call(t, "rput", "vote", legacytest.Record(t, 1)), `['ERR', 'on processing request.', "internal error, see the server's log"]`)
	w.ledger.BeforePut = func(context.Context) error { panic("mistake") }
	wantReply(t, p.Call(t, "rput", "vote", legacytest.Record(t, 1)), `['ERR', 'on processing request.', "internal error, see the server's log"]`)
	w.ledger.BeforePut = nil
	wantReply(t, p.Call(t, "rsize", "vote"), "['OK', 0, 'records']")
	wantOK(t, p.Call(t, "rput", "vote", legacytest.Record(t, 1)))
}

// TestOtherRoutes shows records that came by another way than this server.
func TestOtherRoutes(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	wantError(t, p.Call(t, "rsize", "charity"), "Directory does not exist.")
	packed, err := record.AppendPack(nil, legacytest.Record(t, 1))
	must(t, err)
	must(t, w.ledger.Put(t.Context(), "charity", packed, 7))
	wantReply(t, p.Call(t, "rsize", "charity"), "['OK', 1, 'records']")
	if n := field(t, records(t, p.Call(t, "rabs", "charity", 0))[0], record.KeyReplicated); n != record.NewInt(7) {
		t.Errorf("Replicated is %v", n)
	}
}

// TestLists is rlist and rcount at their bounds.
func TestLists(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	var times []float64
	var headers []string
	for _, v := range votes(t, 101) {
		must(t, w.ledger.Put(t.Context(), "vote", v, 0))
		r, err := record.Parse(v)
		must(t, err)
		header, err := r.Header()
		must(t, err)
		times = append(times, float64(record.HeaderTime(header).UnixNano())/1e9)
		headers = append(headers, header.String())
	}
	first, last := slices.Min(times), slices.Max(times)
	wantReply(t, p.Call(t, "rlist", "vote", 0, 4e9), "['ERR', 'Too many records, narrow date range.', 'vote']")
	wantReply(t, p.Call(t, "rcount", "vote", 0, 4e9), "['OK', 101, 'records']")
	reply := p.Call(t, "rlist", "vote", fmt.Sprintf("%.9f", first), 4e9) // 100, without the first
	listed := legacytest.Items(legacytest.Items(reply)[1])
	if len(listed) != 100 || listed[0] != record.Text(headers[100]) {
		t.Errorf("%d are listed, the first is %v", len(listed), listed[:1])
	}
	wantReply(t, p.Call(t, "rcount", "vote", fmt.Sprintf("%.9f", first), fmt.Sprintf("%.9f", last)), "['OK', 101, 'records']")
	wantReply(t, p.Call(t, "rlist", "vote", 4e9, 0), "['OK', []]")
	wantReply(t, p.Call(t, "rcount", "vote", 4e9, 0), "['OK', 0, 'records']")
	for _, bad := range []any{"x", "", "nan", []byte("1"), record.List{}, new(record.Dict)} {
		wantError(t, p.Call(t, "rlist", "vote", bad, 1), "on processing request.")
		wantError(t, p.Call(t, "rcount", "vote", 1, bad), "on processing request.")
	}
	for _, c := range []struct {
		position any
		want     string
	}{{-101, headers[0]}, {"-1", headers[100]}, {100.0, headers[100]}, {[]byte("5"), headers[5]}} {
		if got := field(t, records(t, p.Call(t, "rabs", "vote", c.position))[0], record.KeyHeader); got != record.Text(c.want) {
			t.Errorf("position %v is %v, want %s", c.position, got, c.want)
		}
	}
	wantReply(t, p.Call(t, "rabs", "vote", 0, -102), "['ERR', 'Record not found.', -102]")
	wantError(t, p.Call(t, "rabs", "vote", 0.5), "on processing request.")
	for _, bad := range []any{5, []byte(headers[0]), new(record.Dict), record.List{record.NewInt(1)}, "not a uuid"} {
		wantError(t, p.Call(t, "rget", "vote", bad), "Header must be a real UUID.")
	}
	wantReply(t, p.Call(t, "rget", "vote", ""), "['OK', 0, 'records', []]")
	wantError(t, p.Call(t, "rget", "vote", strings.ToUpper(headers[0])), "Data not found.")
	wantError(t, p.Call(t, "rhave", "vote", strings.ToUpper(headers[0])), "Data not found.")
	if n := len(records(t, p.Call(t, "rget", "vote", record.Tuple{record.Text(headers[0]), record.Text(headers[0])}))); n != 2 {
		t.Errorf("%d records", n)
	}
}

// TestCheck really checks: it reads every record from the ledger and finds each kind of damage.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, v := range votes(t, 20) {
		must(t, w.ledger.Put(t.Context(), "vote", v, 0))
	}
	p := w.login(t, "admin")
	change := func(key string, to func(old record.Value) record.Value) func(r *legacy.Record) {
		return func(r *legacy.Record) {
			parsed, err := record.Parse(r.Packed)
			must(t, err)
			old, _ := parsed.Get(key)
			parsed.Set(key, to(old))
			r.Packed, err = parsed.Normal()
			must(t, err)
		}
	}
	constant := func(v record.Value) func(record.Value) record.Value {
		return func(record.Value) record.Value { return v }
	}
	zeros := record.Text(strings.Repeat("0", 64))
	for name, c := range map[string]struct {
		change            func(r *legacy.Record)
		hash, proof, data bool // whether the check finds it
	}{
		"nothing":          {func(*legacy.Record) {}, false, false, false},
		"content":          {change(record.KeyNow, constant(record.Text("then"))), true, true, false},
		"hash":             {change(record.KeyHash, constant(zeros)), true, false, false},
		"proof":            {change(record.KeyProof, constant(zeros)), false, true, false},
		"weak":             {change(record.KeyProof, constant(record.Text("x"))), false, true, false},
		"nonce":            {change(record.KeyPowRand, constant(record.Bytes("x"))), false, true, false},
		"hash and proof":   {change(record.KeyPayload, constant(new(record.Dict))), true, true, false},
		"packing":          {func(r *legacy.Record) { r.Packed = r.Packed[1:] }, true, true, true},
		"another record's": {func(r *legacy.Record) { r.Header[0] ^= 1 }, false, false, true},
		"not normal":       {func(r *legacy.Record) { r.Packed = append(r.Packed, ' ') }, true, true, true},
	} {
		place := 0
		w.ledger.Change = func(r *legacy.Record) {
			if place == 3 || place == 17 {
				c.change(r)
			}
			place++
		}
		for what, finds := range map[string]bool{"hash": c.hash, "proof": c.proof, "data": c.data} {
			place = 0
			want := fmt.Sprintf("['OK', 'No errors.', '%s', 20, 'total']", what)
			if finds {
				want = fmt.Sprintf("['ERR', [3, 17], 2, 'errors', '%s', 20, 'total']", what)
			}
			if got := legacytest.Show(p.Call(t, "rcheck", "vote", what)); got != want {
				t.Errorf("%s: rcheck %s: %s, want %s", name, what, got, want)
			}
		}
	}
	w.ledger.Change = nil
	wantReply(t, p.Call(t, "rcheck", "vote", "data"), "['OK', 'No errors.', 'data', 20, 'total']")
}

// TestCheckEnds runs one check at a time, and ends it when the client is gone or the server stops.
func TestCheckEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dial := piped(t)
		for _, v := range votes(t, 20) {
			must(t, w.ledger.Put(t.Context(), "vote", v, 0))
		}
		step := make(chan struct{})
		w.ledger.Change = func(*legacy.Record) { <-step }
		check := func() *legacytest.Peer {
			p := dial()
			p.Login(t, "admin", "pw")
			must(t, p.Send(legacytest.Request("rcheck", "vote", "hash")))
			step <- struct{}{}
			synctest.Wait() // until the second record is being read
			return p
		}
		p, q := check(), dial()
		q.Login(t, "admin", "pw")
		wantError(t, q.Call(t, "rcheck", "vote", "hash"), "Another check is under way")
		must(t, p.Close())
		synctest.Wait()
		step <- struct{}{} // the record that was being read
		synctest.Wait()
		if w.Checking() {
			t.Error("the check goes on without the client")
		}

		p = check()
		go func() {
			synctest.Wait()
			step <- struct{}{}
			reply, err := p.Receive()
			if err != nil || !legacytest.IsError(reply) {
				t.Errorf("a check that was cut short: %s, %v", legacytest.Show(reply), err)
			}
		}()
		before := time.Now()
		must(t, w.Close())
		if took := time.Since(before); took > 0 {
			t.Errorf("Close waited %v for a check", took)
		}
	})
}
