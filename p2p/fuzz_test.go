package p2p

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// Everything that reads what a peer sent, or what an earlier run left, takes any bytes without panic and within its bounds,
// and what it takes it writes again as it was. The corpora under testdata/fuzz hold messages as nodes send them.

// pipe reads from one place and writes to another.
type pipe struct {
	io.Reader
	io.Writer
}

func FuzzFrames(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := newFramer(pipe{bytes.NewReader(stream), io.Discard})
		var again bytes.Buffer
		out := newFramer(pipe{nil, &again})
		type frame struct {
			kind frameKind
			body []byte
		}
		var frames []frame
		for {
			kind, body, err := in.read()
			if err != nil {
				break
			}
			if 1+len(body) > maxFrame {
				t.Fatalf("a frame of %d bytes", 1+len(body))
			}
			frames = append(frames, frame{kind, bytes.Clone(body)})
			if err := out.write(kind, body); err != nil {
				t.Fatal(err)
			}
		}
		if cap(in.in) > maxFrame {
			t.Errorf("%d bytes were set aside", cap(in.in))
		}
		if err := out.flush(); err != nil {
			t.Fatal(err)
		}
		for in := newFramer(pipe{&again, io.Discard}); len(frames) > 0; frames = frames[1:] {
			kind, body, err := in.read()
			if err != nil || kind != frames[0].kind || !bytes.Equal(body, frames[0].body) {
				t.Fatalf("frame %d of %d bytes comes again as %d of %d bytes (%v)", frames[0].kind, len(frames[0].body), kind, len(body), err)
			}
		}
	})
}

func FuzzHave(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := parseHave(body)
		if err != nil {
			return
		}
		again, err := parseHave(h.append(nil))
		if err != nil || again.network != h.network || again.digest != h.digest || again.entries != h.entries ||
			(again.known == nil) != (h.known == nil) || h.known != nil && *again.known != *h.known {
			t.Errorf("%+v comes again as %+v (%v)", h, again, err)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxFrame {
			return
		}
		r, err := parseRows(body)
		if err != nil {
			return
		}
		var sent bytes.Buffer
		out := newFramer(pipe{nil, &sent})
		if err := errors.Join(out.writeRows(r.rows, r.changes), out.flush()); err != nil {
			t.Fatal(err)
		}
		var again []ledger.Row
		for in := newFramer(pipe{&sent, io.Discard}); ; {
			kind, body, err := in.read()
			if err != nil || kind != frameRows {
				t.Fatalf("kind %d: %v", kind, err)
			}
			part, err := parseRows(body)
			if err != nil || part.changes != r.changes {
				t.Fatalf("%+v: %v", part, err)
			}
			again = append(again, part.rows...)
			if part.last {
				break
			}
		}
		if !slices.EqualFunc(again, r.rows, func(a, b ledger.Row) bool { return sameRow(&a, &b) }) {
			t.Errorf("%+v come again as %+v", r.rows, again)
		}
	})
}

func FuzzPull(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		starts, err := parsePull(body)
		if err != nil {
			return
		}
		var again []byte
		for i := range starts {
			again = starts[i].append(again)
		}
		if len(starts) > maxPullLogs || !bytes.Equal(again, body) {
			t.Errorf("%d logs from %x come again as %x", len(starts), body, again)
		}
	})
}

func FuzzRanges(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		ranges, err := parseRanges(body)
		if err == nil && (len(ranges) == 0 || len(ranges) > maxRanges || !bytes.Equal(appendRanges(nil, ranges), body)) {
			t.Errorf("%d ranges from %x come again as %x", len(ranges), body, appendRanges(nil, ranges))
		}
	})
}

func FuzzOutline(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		chunks, last, err := parseOutline(body)
		if err != nil || !last || len(body) > rowsFrame {
			return
		}
		var sent bytes.Buffer
		out := newFramer(pipe{nil, &sent})
		if err := errors.Join(out.writeOutline(chunks), out.flush()); err != nil {
			t.Fatal(err)
		}
		kind, again, err := newFramer(pipe{&sent, io.Discard}).read()
		if err != nil || kind != frameOutline || !bytes.Equal(again, body) {
			t.Errorf("%x comes again as %x (%v)", body, again, err)
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := parsePlace(body); err == nil && !bytes.Equal(p.append(nil), body) {
			t.Errorf("%x comes again as %x", body, p.append(nil))
		}
	})
}

func FuzzBranchQuery(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseBranchQuery(body)
		if err == nil && (!bytes.Equal(q.append(nil), body) || q.count == 0 || q.count > store.RangeEntries) {
			t.Errorf("%x comes again as %x", body, q.append(nil))
		}
	})
}

func FuzzStatement(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseStatement(body)
		if err != nil {
			return
		}
		_ = e.VerifySignature()
		again, err := parseStatement(appendStatement(nil, e))
		if err != nil || again.Hash != e.Hash || again.Signature != e.Signature {
			t.Errorf("%v comes again as %v (%v)", e.Hash, again, err)
		}
	})
}

func FuzzRun(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		run, err := parseRun(message)
		if err != nil {
			return
		}
		if again := Run(run...); len(run) == 0 || len(run) > maxRun || !bytes.Equal(again, message) {
			t.Errorf("%d entries from %x come again as %x", len(run), message, again)
		}
	})
}

func FuzzPeersFile(f *testing.F) {
	file := filepath.Join(f.TempDir(), "peers.json")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		n := &Network{o: Options{PeersFile: file}}
		peers, err := n.recall()
		if len(peers) > rememberedPeers || err == nil && len(raw) > maxPeersFile {
			t.Errorf("%d peers of %d bytes (%v)", len(peers), len(raw), err)
		}
		for _, p := range peers {
			_ = p.String()
		}
	})
}
