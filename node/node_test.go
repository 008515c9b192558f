package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// records makes packed records of strength 1, a second apart; the seed tells them from those of other calls.
func records(t *testing.T, seed uint64, count int) [][]byte {
	t.Helper()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	var out [][]byte
	for i := range count {
		payload := new(record.Dict).Set(record.Text("n"), record.NewInt(int64(i)))
		r, err := record.New(payload, time.Unix(1795310564+int64(i), 0), random)
		if err != nil {
			t.Fatal(err)
		}
		if err := (record.Minter{Strength: 1, Workers: 1, Rand: random}).Mint(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		normal, err := r.Normal()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, normal)
	}
	return out
}

func inputs(kind string, packed [][]byte) iter.Seq2[Input, error] {
	return Lines(bytes.NewReader(append(bytes.Join(packed, []byte("\n")), '\n')), kind)
}

// newNode founds a network in which only this node may write.
func newNode(t *testing.T) *Node {
	t.Helper()
	dir := t.TempDir()
	if _, _, err := FoundNetwork(t.Context(), dir, ledger.GenesisDoc{Strength: 1, PrivateKinds: []string{"voter"}}); err != nil {
		t.Fatal(err)
	}
	return openNode(t, dir)
}

func openNode(t *testing.T, dir string) *Node {
	t.Helper()
	n, err := OpenForWriting(t.Context(), Options{Data: dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestWriteInOrder(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	packed := records(t, 1, 1500) // several windows
	next := 1
	sum, err := n.Write(t.Context(), inputs("ballot", packed), false, func(o Outcome) error {
		if o.Status != Stored || o.Line != next || o.Ack.Seq != uint64(next-1) || o.Kind != "ballot" {
			t.Errorf("outcome %d: %+v", next, o)
		}
		next++
		return nil
	})
	if err != nil || sum != (Summary{Stored: 1500}) {
		t.Fatal(sum, err)
	}
	sum, err = n.Write(t.Context(), inputs("ballot", packed), false, func(o Outcome) error {
		if want := (store.Ref{Origin: n.own, Seq: uint64(o.Line - 1)}); o.Status != Duplicate || o.Held != want {
			t.Errorf("again: %+v", o)
		}
		return nil
	})
	if err != nil || sum != (Summary{Duplicates: 1500}) {
		t.Error(sum, err)
	}
}

func TestWriteSkipsBad(t *testing.T) {
	t.Parallel()
	packed := records(t, 2, 100)
	packed[40] = []byte("nonsense")
	packed[70] = bytes.Replace(packed[70], []byte("None"), []byte("Some"), 1)
	packed[80] = packed[10]

	n := newNode(t)
	statuses := map[int]Status{}
	sum, err := n.Write(t.Context(), inputs("ballot", packed), false, func(o Outcome) error {
		statuses[o.Line] = o.Status
		return nil
	})
	if err != nil || sum != (Summary{Stored: 97, Duplicates: 1, Refused: 2}) {
		t.Error(sum, err)
	}
	if statuses[41] != Refused || statuses[71] != Refused || statuses[81] != Duplicate {
		t.Error(statuses)
	}

	n = newNode(t)
	sum, err = n.Write(t.Context(), inputs("ballot", packed), true, func(Outcome) error { return nil })
	if err != nil || sum != (Summary{Stored: 40, Refused: 1}) {
		t.Errorf("failing fast: %+v, %v", sum, err)
	}
	if got := n.Count("ballot"); got != 40 {
		t.Errorf("%d records are held after failing fast", got)
	}
}

// TestWriteEnds ends a write in all ways from outside: what was reported is stored.
func TestWriteEnds(t *testing.T) {
	t.Parallel()
	packed := records(t, 3, 300)
	boom := errors.New("boom")
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	broken := func(yield func(Input, error) bool) {
		for in, err := range inputs("ballot", packed) {
			if in.Line == 200 {
				err = boom
			}
			if !yield(in, err) {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		inputs iter.Seq2[Input, error]
		report func(cancel context.CancelFunc, o Outcome) error
		want   error
	}{
		"report fails": {inputs("ballot", packed), func(_ context.CancelFunc, o Outcome) error {
			if o.Line == 100 {
				return boom
			}
			return nil
		}, boom},
		"reading fails": {broken, func(context.CancelFunc, Outcome) error { return nil }, boom},
		"interrupted": {inputs("ballot", packed), func(cancel context.CancelFunc, o Outcome) error {
			if o.Line == 100 {
				cancel()
			}
			return nil
		}, context.Canceled},
		"interrupted while reading hangs": {func(yield func(Input, error) bool) {
			if yield(Input{Line: 1, Kind: "ballot", Text: packed[0]}, nil) {
				<-hang // as reading from a terminal does
			}
		}, func(cancel context.CancelFunc, _ Outcome) error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stored := 0
			sum, err := n.Write(ctx, c.inputs, false, func(o Outcome) error {
				if o.Status != Stored {
					t.Errorf("outcome %+v", o)
				}
				stored++
				return c.report(cancel, o)
			})
			if !errors.Is(err, c.want) || sum.Stored != stored {
				t.Errorf("%+v, %v after %d reports", sum, err, stored)
			}
			if got := n.Count("ballot"); got != uint64(stored) {
				t.Errorf("%d records are held, %d were reported", got, stored)
			}
		})
	}
}

func TestWriteOne(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	packed := records(t, 4, 1)[0]
	out, err := n.WriteOne(t.Context(), Input{Kind: "ballot", Text: packed})
	if err != nil || out.Status != Stored || out.Ack.Seq != 0 {
		t.Fatal(out, err)
	}
	var duplicate *store.DuplicateError
	if out, err = n.WriteOne(t.Context(), Input{Kind: "ballot", Text: packed}); out.Status != Duplicate || !errors.As(err, &duplicate) {
		t.Error(out, err)
	}
	var private *PrivateKindError
	if out, err = n.WriteOne(t.Context(), Input{Kind: "voter", Text: packed}); out.Status != Refused || !errors.As(err, &private) {
		t.Error(out, err)
	}
	if _, err = n.WriteOne(t.Context(), Input{Kind: "a b", Text: packed}); inputReason(err) != BadKind {
		t.Error(err)
	}
}

func inputReason(err error) InputReason {
	var e *InputError
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestInputForms(t *testing.T) {
	t.Parallel()
	packed := records(t, 5, 1)[0]
	r, err := record.Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	replicated, err := record.Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	replicated.Set(record.KeyReplicated, record.NewInt(2))
	object, err := replicated.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	line, err := ledger.AppendJSONLine(nil, &ledger.JSONLine{Kind: "vote", Record: r})
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.ContentID()
	if err != nil {
		t.Fatal(err)
	}
	claim := strings.Replace(string(line), `"record"`, `"content_id":"`+id.String()+`","record"`, 1)
	for _, c := range []struct{ text, kind, want string }{
		{string(packed), "ballot", "ballot"},
		{string(object), "ballot", "ballot"},
		{string(line), "", "vote"},
		{string(line), "vote", "vote"},
		{claim, "", "vote"},
	} {
		kind, read, err := (Input{Kind: c.kind, Text: []byte(c.text)}).read()
		if err != nil || kind != c.want || !bytes.Equal(read, packed) {
			t.Errorf("%.60s: kind %q, %v", c.text, kind, err)
		}
	}
	for _, c := range []struct {
		text, kind string
		want       InputReason
	}{
		{string(packed), "", KindMissing},
		{string(object), "", KindMissing},
		{string(object), "a/b", BadKind},
		{string(line), "ballot", KindMismatch},
		{`{"choice":"yes"}`, "ballot", PayloadOnly},
		{`{"choice":`, "ballot", BadLine},
		{`[1]`, "ballot", BadLine},
		{`choice`, "ballot", BadLine},
		{`{"kind":"vote","record":{},"x":1}`, "", BadLine},
		{strings.Replace(claim, id.String()[:4], "0000", 1), "", ContentMismatch},
	} {
		if _, _, err := (Input{Kind: c.kind, Text: []byte(c.text)}).read(); inputReason(err) != c.want {
			t.Errorf("%.60s: %v, want %s", c.text, err, c.want)
		}
	}
	header, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	if err := (Input{header: uuid.NewString()}).keptAs(header); inputReason(err) != HeaderMismatch {
		t.Errorf("under another header: %v", err)
	}
	if err := errors.Join((Input{header: header.String()}).keptAs(header), (Input{}).keptAs(header)); err != nil {
		t.Error(err)
	}
}

// TestWriteTellsAtOnce reads the next record only when it was told what became of the one before, as from somebody who
// waits for that: nothing may be kept back to go with others.
func TestWriteTellsAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	told := make(chan int, 1)
	inputs := func(yield func(Input, error) bool) {
		for i, packed := range records(t, 7, 3) {
			if !yield(Input{Line: i + 1, Kind: "vote", Text: packed}, nil) {
				return
			}
			if line := <-told; line != i+1 {
				t.Errorf("told of line %d after line %d", line, i+1)
			}
		}
	}
	sum, err := n.Write(t.Context(), inputs, false, func(o Outcome) error {
		told <- o.Line
		return o.Err
	})
	if err != nil || sum.Stored != 3 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestLinesBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", ledger.MaxJSONLine+1)
	text := "one\r\n\n  \n" + long + "\n" + long[:ledger.MaxJSONLine-1] + "\nlast"
	var got []string
	for in, err := range Lines(strings.NewReader(text), "k") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(in.Line, " ", len(in.Text), " ", in.Kind, " ", inputReason(in.Err)))
	}
	want := []string{"1 3 k ", "4 0 k line-too-long", fmt.Sprintf("5 %d k ", ledger.MaxJSONLine-1), "6 4 k "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	boom := errors.New("boom")
	last := error(nil)
	for _, err := range Lines(io.MultiReader(strings.NewReader("a\n"), errReader{boom}), "k") {
		last = err
	}
	if !errors.Is(last, boom) {
		t.Errorf("reading failed with %v", last)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// exported returns a node with records and its entry file.
func exported(t *testing.T, count int) (*Node, []byte) {
	t.Helper()
	n := newNode(t)
	if sum, err := n.Write(t.Context(), inputs("ballot", records(t, uint64(count), count)), false, func(Outcome) error { return nil }); err != nil || sum.Stored != count {
		t.Fatal(sum, err)
	}
	var file bytes.Buffer
	if done, err := n.ExportEntries(t.Context(), &file, nil); err != nil || done != uint64(count) {
		t.Fatal(done, err)
	}
	return n, file.Bytes()
}

// joined returns an empty node in the network of another.
func joined(t *testing.T, other *Node) *Node {
	t.Helper()
	dir := t.TempDir()
	if _, err := JoinNetwork(t.Context(), dir, other.Genesis()); err != nil {
		t.Fatal(err)
	}
	n, err := OpenForImport(t.Context(), Options{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestImportEntries(t *testing.T) {
	t.Parallel()
	const count = 1000 // four batches
	n, file := exported(t, count)
	network := n.Genesis().Network()
	m := joined(t, n)
	var last ImportProgress
	sum, err := m.ImportEntries(t.Context(), bytes.NewReader(file), func(p ImportProgress) { last = p })
	if err != nil || sum != (EntrySummary{Read: count, New: count}) {
		t.Fatal(sum, err)
	}
	if last.Entries != count || last.Offset != int64(len(file)) || last.Verified == 0 {
		t.Errorf("last progress %+v", last)
	}
	if m.Frontier().Digest(network) != n.Frontier().Digest(network) || m.Logs()[0].Verified != count {
		t.Errorf("logs %+v", m.Logs())
	}
	var again bytes.Buffer
	if _, err := m.ExportEntries(t.Context(), &again, nil); err != nil || !bytes.Equal(again.Bytes(), file) {
		t.Errorf("exported again: %v", err)
	}
	if sum, err := m.ImportEntries(t.Context(), bytes.NewReader(file), nil); err != nil || sum != (EntrySummary{Read: count, Held: count}) {
		t.Errorf("imported again: %+v, %v", sum, err)
	}
	if _, err := newNode(t).ImportEntries(t.Context(), bytes.NewReader(file), nil); !errors.Is(err, store.ErrOtherNetwork) {
		t.Errorf("in another network: %v", err)
	}
}

// TestImportHangs ends an import whose source gives no more: what was read before is taken.
func TestImportHangs(t *testing.T) {
	t.Parallel()
	n, file := exported(t, 600)
	m := joined(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	never := readerFunc(func([]byte) (int, error) {
		cancel()
		<-t.Context().Done()
		return 0, t.Context().Err()
	})
	sum, err := m.ImportEntries(ctx, io.MultiReader(bytes.NewReader(file[:len(file)-100]), never), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", sum, err)
	}
	if got := m.Frontier().Entries(); got != uint64(sum.New) {
		t.Errorf("%d entries are held, %+v said", got, sum)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestImportDamaged damages a file in many places: everything before the damage is taken, nothing behind it, and what
// was taken is whole.
func TestImportDamaged(t *testing.T) {
	t.Parallel()
	const count = 600
	n, file := exported(t, count)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 12 {
		at := random.IntN(len(file))
		damaged := bytes.Clone(file)
		if i%3 == 0 {
			damaged = damaged[:at]
		} else {
			damaged[at] ^= 1 << random.IntN(8)
		}
		m := joined(t, n)
		sum, err := m.ImportEntries(t.Context(), bytes.NewReader(damaged), nil)
		if err == nil {
			t.Errorf("byte %d: imported %+v", at, sum)
			continue
		}
		size := 0
		for e, err := range m.Chain(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			want, err := n.Get(t.Context(), store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq})
			if err != nil || want.Hash != e.Hash || !e.VerifySignature() {
				t.Errorf("byte %d: entry %d is not the exporter's", at, e.Header.Seq)
			}
			size++
		}
		if size != sum.New {
			t.Errorf("byte %d: %d entries are held, %+v said", at, size, sum)
		}
	}
}

// TestImportInvalidEntry puts an entry with a wrong signature into a file that is otherwise right.
func TestImportInvalidEntry(t *testing.T) {
	t.Parallel()
	n, _ := exported(t, 50)
	for _, at := range []uint64{0, 20, 49} {
		var file bytes.Buffer
		w, err := ledger.NewEntryFileWriter(&file, n.Genesis())
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range n.Chain(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Header.Seq == at {
				e.Record = bytes.Replace(bytes.Clone(e.Record), []byte("None"), []byte("Some"), 1)
			}
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		m := joined(t, n)
		sum, err := m.ImportEntries(t.Context(), &file, nil)
		var invalid *ledger.InvalidError
		if !errors.As(err, &invalid) || invalid.Seq != at || invalid.Reason != ledger.ReasonRecordHash || sum.New != int(at) {
			t.Errorf("entry %d: %+v, %v", at, sum, err)
		}
	}
}

func TestExportLines(t *testing.T) {
	t.Parallel()
	n, _ := exported(t, 20)
	if _, err := n.Write(t.Context(), inputs("other", records(t, 9, 3)), false, func(Outcome) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var all, one bytes.Buffer
	var last uint64
	if count, err := n.ExportLines(t.Context(), &all, "", func(done uint64) { last = done }); err != nil || count != 23 || last != 23 {
		t.Fatal(count, last, err)
	}
	if count, err := n.ExportLines(t.Context(), &one, "other", nil); err != nil || count != 3 {
		t.Fatal(count, err)
	}
	m := newNode(t)
	if sum, err := m.Write(t.Context(), Lines(&all, ""), false, func(Outcome) error { return nil }); err != nil || sum != (Summary{Stored: 23}) {
		t.Error(sum, err)
	}
	if sum, err := m.Write(t.Context(), Lines(&one, ""), false, func(Outcome) error { return nil }); err != nil || sum != (Summary{Duplicates: 3}) {
		t.Error(sum, err)
	}
	for e, err := range n.Chain(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.Parse(e.Record)
		if err != nil {
			t.Fatal(err)
		}
		id, err := r.ContentID()
		if err != nil {
			t.Fatal(err)
		}
		if refs, err := m.ByContent(t.Context(), "", id); err != nil || len(refs) != 1 {
			t.Errorf("content %v is held %d times, %v", id, len(refs), err)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	packed := records(t, 6, 10) // made a second apart
	for i, p := range slices.Backward(packed) {
		if _, err := n.WriteOne(t.Context(), Input{Kind: []string{"a", "b"}[i%2], Text: p}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(second int) time.Time { return time.Unix(1795310564+int64(second), 0) }
	for name, c := range map[string]struct {
		listing Listing
		want    []int // seconds of the records, in order
	}{
		"chain":            {Listing{}, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"chain, kind":      {Listing{Kind: "a"}, []int{8, 6, 4, 2, 0}},
		"chain, span":      {Listing{From: at(3), To: at(6)}, []int{5, 4, 3}},
		"time":             {Listing{Order: ByTime}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"time, kind":       {Listing{Order: ByTime, Kind: "b"}, []int{1, 3, 5, 7, 9}},
		"time, span":       {Listing{Order: ByTime, From: at(3), To: at(6)}, []int{3, 4, 5}},
		"time, long ago":   {Listing{Order: ByTime, To: time.Date(1400, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"time, far away":   {Listing{Order: ByTime, From: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"arrival":          {Listing{Order: ByArrival}, []int{8, 6, 4, 2, 0, 9, 7, 5, 3, 1}},
		"arrival, reverse": {Listing{Order: ByArrival, Kind: "b", Reverse: true}, []int{1, 3, 5, 7, 9}},
		"arrival, span":    {Listing{Order: ByArrival, Kind: "b", From: at(5)}, []int{9, 7, 5}},
		"no such kind":     {Listing{Order: ByTime, Kind: "c"}, nil},
	} {
		var got []int
		for e, err := range n.List(t.Context(), c.listing) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, int(record.HeaderTime(e.Header.RecordUUID).Unix()-1795310564))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for range n.List(t.Context(), c.listing) {
			break // leaving early must leave nothing behind
		}
	}
}

func TestParseMoment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-11-22":                "2026-11-22T00:00:00Z",
		"2026-11-22T18:00:00Z":      "2026-11-22T18:00:00Z",
		"2026-11-22T18:00:00+02:00": "2026-11-22T16:00:00Z",
	} {
		if got, err := ParseMoment(text, false); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	if got, err := ParseMoment("2026-12-31", true); err != nil || got.Format(time.RFC3339) != "2027-01-01T00:00:00Z" {
		t.Errorf("the end of a day is %v, %v", got, err)
	}
	for _, text := range []string{"", "now", "2026-13-01", "22.11.2026", "2026-11-22 18:00"} {
		if got, err := ParseMoment(text, false); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	packed := records(t, 7, 1)[0]
	out, err := n.WriteOne(t.Context(), Input{Kind: "ballot", Text: packed})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{out.Header.String(), out.ContentID.String(), strings.ToUpper(out.ContentID.String()), out.Ack.Ref.String()} {
		ref, err := ParseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		found, err := n.Find(t.Context(), ref, "")
		if err != nil || len(found) != 1 || found[0].Status != Held || found[0].Conflict || found[0].ContentID != out.ContentID {
			t.Errorf("%s: %+v, %v", text, found, err)
		}
		if _, err := n.Find(t.Context(), ref, "vote"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of another kind: %v", text, err)
		}
		if held, err := n.Have(t.Context(), ref, "ballot"); err != nil || len(held) != 1 {
			t.Errorf("%s: %v, %v", text, held, err)
		}
		if held, err := n.Have(t.Context(), ref, "vote"); err != nil || len(held) != 0 {
			t.Errorf("%s of another kind: %v, %v", text, held, err)
		}
	}
	for _, text := range []string{"", "x", out.Header.String()[:35], "{" + out.Header.String() + "}", out.ContentID.String()[1:], out.Ack.Origin.String(), out.Ack.Origin.String() + "/", "x/1", out.Ack.Origin.String() + "/-1"} {
		if ref, err := ParseReference(text); err == nil {
			t.Errorf("%q names %+v", text, ref)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	var missing *NoLedgerError
	if _, err := OpenForReading(t.Context(), Options{Data: t.TempDir()}); !errors.As(err, &missing) {
		t.Errorf("an empty directory: %v", err)
	}
	n := newNode(t)
	dir := t.TempDir()
	if _, err := JoinNetwork(t.Context(), dir, n.Genesis()); err != nil {
		t.Fatal(err)
	}
	var stranger *NotMemberError
	if _, err := OpenForWriting(t.Context(), Options{Data: dir}, nil); !errors.As(err, &stranger) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := JoinNetwork(t.Context(), dir, n.Genesis()); !errors.Is(err, store.ErrLedgerExists) {
		t.Errorf("joining twice: %v", err)
	}
	var genesis *GenesisError
	if _, _, err := FoundNetwork(t.Context(), t.TempDir(), ledger.GenesisDoc{Strength: -1}); !errors.As(err, &genesis) {
		t.Errorf("a bad genesis document: %v", err)
	}
}

func TestFindOriginProof(t *testing.T) {
	t.Parallel()
	g, err := ledger.NewGenesis(ledger.GenesisDoc{Format: ledger.GenesisFormat, Name: "open", Nonce: make([]byte, 16), Open: true, OriginBits: 10})
	if err != nil {
		t.Fatal(err)
	}
	var own ledger.Origin
	proof, err := FindOriginProof(t.Context(), g, own, nil)
	if err != nil || proof.Bits(g.Network(), own) < 10 {
		t.Errorf("%d zero bits, %v", proof.Bits(g.Network(), own), err)
	}
	g.OriginBits = 48
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindOriginProof(ctx, g, own, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestWritingNeedsANode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc  ledger.GenesisDoc
		asks bool
	}{
		"nobody else": {ledger.GenesisDoc{}, false},
		"another":     {ledger.GenesisDoc{Members: []ledger.Origin{ledgertest.Origin("alice")}}, true},
		"everyone":    {ledger.GenesisDoc{Open: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, _, err := FoundNetwork(t.Context(), dir, c.doc); err != nil {
				t.Fatal(err)
			}
			for _, alone := range []bool{false, true} {
				var log bytes.Buffer
				n, err := OpenForWriting(t.Context(), Options{Data: dir, Alone: alone, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
				if refused := errors.As(err, new(*NeedsNodeError)); refused != (c.asks && !alone) {
					t.Fatalf("alone %v: %v", alone, err)
				}
				if warned := strings.Contains(log.String(), "without asking others"); warned != (c.asks && alone) {
					t.Errorf("alone %v: it says %q", alone, &log)
				}
				if n == nil {
					continue
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
