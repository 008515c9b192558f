package node

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// apiOver returns the local API of a node over a datastore, with a key that may write.
func apiOver(tb testing.TB, d store.Datastore, g *ledger.Genesis) *api {
	tb.Helper()
	key := ledgertest.Key("alice")
	s, recovery, err := store.Open(tb.Context(), d, g, store.Options{Key: key})
	if err != nil {
		tb.Fatal(err)
	}
	n := assemble(Options{}, s, key, recovery, s.Close)
	stub := &stubNetwork{Store: s, o: p2p.Options{Key: key}}
	n.submit = appendTo(stub.Submit)
	a := newAPI(n, stub, NewLevels(slog.LevelInfo), slog.New(slog.DiscardHandler))
	a.status = func() NodeStatus { return NodeStatus{Status: stub.Status()} }
	return a
}

// recorder is a client that has sent its request and keeps the answer.
type recorder struct {
	*httptest.ResponseRecorder
}

func (recorder) SetReadDeadline(time.Time) error  { return nil }
func (recorder) SetWriteDeadline(time.Time) error { return nil }

func (a *api) ask(tb testing.TB, method, target string, body []byte) recorder {
	q, err := http.NewRequestWithContext(tb.Context(), method, "http://node"+target, bytes.NewReader(body))
	if err != nil {
		tb.Skip("no client could send that")
	}
	w := recorder{httptest.NewRecorder()}
	a.server.Handler.ServeHTTP(w, q)
	return w
}

// lines reads a stream to its end, which must be there.
func lines[T any](t *testing.T, w recorder, end func(*T) bool) (all []*T) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	for dec := json.NewDecoder(w.Body); ; {
		line := new(T)
		if err := dec.Decode(line); err != nil {
			t.Fatalf("behind %d lines: %v", len(all), err)
		}
		all = append(all, line)
		if end(line) {
			if _, err := dec.Token(); err != io.EOF {
				t.Fatalf("behind the end: %v", err)
			}
			return all
		}
	}
}

// FuzzAPIRecords puts what is no more than bytes. Each line gets at most one answer, in order, and as many entries are
// there afterwards as were said to be stored.
func FuzzAPIRecords(f *testing.F) {
	g := ledgertest.Genesis(f, ledgertest.Doc("alice"))
	for n := range 3 {
		line, err := draftLine(ledgertest.Draft(f, g, "vote", n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(line, line...))
		f.Add(ledgertest.Record(f, n))
	}
	f.Add([]byte("\n\r\n{}\n[]\n{\"kind\":\"vote\"}\n{\"kind\":\"voter\",\"record\":{}}\npg \n\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := apiOver(t, store.NewMemory(), g)
		answers := lines(t, a.ask(t, http.MethodPost, "/v1/records", body), func(o *apiOutcome) bool { return o.End })
		stored, last := 0, 0
		for _, o := range answers[:len(answers)-1] {
			if o.Line <= last || o.Line > bytes.Count(body, []byte("\n"))+1 || (o.Status == Stored) != (o.Error == nil) {
				t.Fatalf("behind line %d: %+v", last, o)
			}
			last = o.Line
			if o.Status == Stored {
				stored++
			}
		}
		if held := a.node.Frontier().Entries(); held != uint64(stored) {
			t.Errorf("%d were stored, %d are held", stored, held)
		}
		must(t, a.node.Close())
	})
}

// FuzzAPIEntries imports what is no more than bytes. Whatever is taken of it, the ledger is sound.
func FuzzAPIEntries(f *testing.F) {
	g := ledgertest.Genesis(f, ledgertest.Doc("alice", "bob", "mallory"))
	n := ledgertest.NewNetwork(f, g)
	n.Random(1, 6, "bob", "mallory")
	mallory := n.Log("mallory")
	fork := [2]*ledger.Entry{ledgertest.Sign(f, g, "mallory", mallory, 100), ledgertest.Sign(f, g, "mallory", mallory, 101)}
	ev, err := proof.Fork(g, fork[0], fork[1])
	if err != nil {
		f.Fatal(err)
	}
	citing := ledgertest.Sign(f, g, "bob", n.Log("bob"), 102, fork[0].Citation())
	file := func(evidence [][]byte, entries ...*ledger.Entry) []byte {
		var file bytes.Buffer
		w, err := ledger.NewEntryFileWriter(&file, g)
		for _, raw := range evidence {
			err = w.WriteEvidence(raw)
		}
		for _, e := range entries {
			err = w.Write(e)
		}
		if err != nil || w.Close() != nil {
			f.Fatal(err)
		}
		return file.Bytes()
	}
	f.Add(file(nil, n.Entries...))
	f.Add(file([][]byte{ev.Bytes()}, append(n.Entries, fork[0], fork[1], citing)...))
	f.Add(file([][]byte{ev.Bytes()}))
	f.Add(file(nil, append(n.Entries, fork[0], fork[1])...))
	f.Add(bytes.Replace(file(nil), []byte("entries-2"), []byte("entries-1"), 1))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := store.NewMemory()
		a := apiOver(t, d, g)
		answers := lines(t, a.ask(t, http.MethodPost, "/v1/entries", body), func(i *apiImport) bool { return i.End })
		sum := answers[len(answers)-1].Summary
		must(t, a.node.Close())
		report, err := audit.Datastore(t.Context(), d, nil, audit.Options{Workers: 1})
		must(t, err)
		if report.Entries != uint64(sum.New) || len(report.Evidence) != min(1, sum.Evidence) {
			t.Errorf("%+v, and the ledger holds %d entries and %v", sum, report.Entries, report.Evidence)
		}
		if digest := a.node.Frontier().Digest(g.Network()); *report.Digest != digest {
			t.Errorf("the audit comes to another digest")
		}
		// A signature that is bad inside a range is found out behind; it is the only thing that may be wrong.
		for _, finding := range report.Findings {
			if finding.Reason != ledger.ReasonSignature || answers[len(answers)-1].Error == nil {
				t.Errorf("the audit finds: %v", finding)
			}
		}
	})
}

// FuzzAPIRequest makes requests that are no streams, of any method, target and body. A request that is none of this API
// is refused as the client's fault, and values that are returned are those of the keys.
func FuzzAPIRequest(f *testing.F) {
	g := ledgertest.Genesis(f, ledgertest.Doc("alice"))
	d, err := store.OpenPebble("db", store.PebbleOptions{FS: vfs.NewMem()})
	if err != nil {
		f.Fatal(err)
	}
	a := apiOver(f, d, g)
	for i := range 5 {
		if _, err := a.node.Append(f.Context(), ledgertest.Draft(f, g, "vote", i)); err != nil {
			f.Fatal(err)
		}
	}
	snapshot, err := a.node.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := snapshot.Close(); err != nil {
			f.Error(err)
		}
		if err := a.node.Close(); err != nil {
			f.Error(err)
		}
		if err := d.Close(); err != nil {
			f.Error(err)
		}
	})
	a.snapshots["s"] = &heldSnapshot{Snapshot: snapshot}
	hex := hexKey
	f.Add("GET", "/v1/snapshots/s/value?key="+hex("/meta"), []byte(nil))
	f.Add("GET", "/v1/snapshots/s/value?key="+hex("/nothing"), []byte(nil))
	f.Add("GET", "/v1/snapshots/none/value?key=2f", []byte(nil))
	f.Add("GET", "/v1/snapshots/s/pairs?lower="+hex("/e/")+"&upper="+hex("/e0")+"&bytes=100", []byte(nil))
	f.Add("GET", "/v1/snapshots/s/pairs?lower=ff&upper=00&bytes=1048576", []byte(nil))
	f.Add("GET", "/v1/snapshots/s/pairs?lower=%zz&upper=&bytes=-1", []byte(nil))
	f.Add("POST", "/v1/snapshots/s/values", appendText(appendText(nil, []byte("/meta")), []byte("/nothing")))
	f.Add("POST", "/v1/snapshots/s/values", appendText(nil, []byte("x/")))
	f.Add("POST", "/v1/snapshots/s/values", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add("PUT", "/v1/levels", []byte(`["p2p=debug"]`))
	f.Add("PUT", "/v1/levels", []byte(`["loud"]`))
	f.Add("GET", "/v1/status", []byte(nil))
	f.Add("DELETE", "/../v1//peers;x", []byte(nil))
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		if method == http.MethodPost && !strings.HasSuffix(target, "values") {
			t.Skip("a stream")
		}
		w := a.ask(t, method, target, body)
		switch w.Code {
		case http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed,
			http.StatusMovedPermanently, http.StatusTemporaryRedirect: // the last two for targets that are not clean
		default:
			t.Fatalf("answered %d: %s", w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			return
		}
		answer := w.Body.Bytes()
		switch {
		case strings.Contains(target, "/pairs"):
			for len(answer) > 0 {
				var pair store.Pair
				var err error
				if pair, answer, err = cutPair(answer); err != nil {
					t.Fatal(err)
				}
				if want, err := snapshot.Get(t.Context(), ds.RawKey(string(pair.Key))); err != nil || !bytes.Equal(want, pair.Value) {
					t.Errorf("under %q stands %x, want %x, %v", pair.Key, pair.Value, want, err)
				}
			}
		case strings.Contains(target, "/values"):
			for len(body) > 0 && len(answer) > 0 {
				var key, value []byte
				var err error
				if key, body, err = cutText(body); err == nil {
					value, answer, err = cutValue(answer)
				}
				if err != nil {
					t.Fatal(err)
				}
				if want, _ := snapshot.Get(t.Context(), ds.RawKey(string(key))); !bytes.Equal(want, value) {
					t.Errorf("under %q stands %x, want %x", key, value, want)
				}
			}
			if len(body)+len(answer) > 0 {
				t.Errorf("%d bytes of keys and %d of values are left", len(body), len(answer))
			}
		}
	})
}
