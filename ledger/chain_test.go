package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

func entriesByLog(n *ledgertest.Network) []iter.Seq2[*ledger.Entry, error] {
	byOrigin := map[ledger.Origin][]*ledger.Entry{}
	for _, e := range n.Entries {
		byOrigin[e.Header.Origin] = append(byOrigin[e.Header.Origin], e)
	}
	var logs []iter.Seq2[*ledger.Entry, error]
	for _, entries := range byOrigin { // in random order, which must not matter
		logs = append(logs, func(yield func(*ledger.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		})
	}
	return logs
}

// TestChainOrder checks that merging logs gives the order that sorting gives, and that causes come before effects.
func TestChainOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		parties := []string{"a", "b", "c", "d"}
		n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc(parties...)))
		n.Random(seed, 60, parties...)
		want := slices.Clone(n.Entries)
		slices.SortFunc(want, ledger.CompareCanonical)
		position := map[ledger.Hash]int{}
		var got []*ledger.Entry
		for e, err := range ledger.Chain(entriesByLog(n)...) {
			if err != nil {
				t.Fatal(err)
			}
			position[e.Hash] = len(got)
			got = append(got, e)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: merged order differs from sorted order", seed)
		}
		for i, e := range got {
			for _, c := range e.Header.Seen {
				if position[c.Hash] >= i {
					t.Errorf("entry %v comes before entry %v that it cites", e.Citation(), c)
				}
			}
			if e.Header.Seq > 0 && position[e.Header.Prev] >= i {
				t.Errorf("entry %v comes before its predecessor", e.Citation())
			}
		}
	}
}

func TestChainStopsEarlyAndOnError(t *testing.T) {
	t.Parallel()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("a", "b")))
	n.Random(1, 20, "a", "b")
	for range ledger.Chain(entriesByLog(n)...) {
		break // iter.Pull panics or leaks if this is not handled
	}
	broken := errors.New("disk on fire")
	logs := append(entriesByLog(n), func(yield func(*ledger.Entry, error) bool) { yield(nil, broken) })
	for _, err := range ledger.Chain(logs...) {
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want the error of the log", err)
		}
		break
	}
}

// entryFile returns an entry file; what stands for evidence in it is for package proof to judge.
func entryFile(t testing.TB, n *ledgertest.Network, evidence ...string) []byte {
	var buf bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&buf, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range evidence {
		if err := w.WriteEvidence([]byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range n.Entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// entryFile1 returns an entry file of version 1, which nobody writes any more.
func entryFile1(n *ledgertest.Network) []byte {
	raw := []byte("pyvnode-entries-1\n")
	frame := func(data []byte) { raw = append(binary.AppendUvarint(raw, uint64(len(data))), data...) }
	frame(n.Genesis.Bytes())
	for _, e := range n.Entries {
		frame(e.Append(nil))
	}
	raw = binary.BigEndian.AppendUint64(append(raw, 0), uint64(len(n.Entries)))
	sum := sha256.Sum256(raw)
	return append(raw, sum[:]...)
}

type fileItem struct {
	kind ledger.ItemKind
	raw  string
}

func readEntryFile(raw []byte) (items []fileItem, err error) {
	r, err := ledger.NewEntryFileReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for {
		kind, b, err := r.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		items = append(items, fileItem{kind, string(b)})
	}
}

func TestEntryFile(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	evidence := []string{"", "who lied", strings.Repeat("e", ledger.MaxItem)}
	var entries, all []fileItem
	for _, e := range n.Entries {
		entries = append(entries, fileItem{ledger.EntryItem, string(e.Append(nil))})
	}
	for _, ev := range evidence {
		all = append(all, fileItem{ledger.EvidenceItem, ev})
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want []fileItem
	}{
		{"version 1", entryFile1(n), entries},
		{"without evidence", entryFile(t, n), entries},
		{"with evidence", entryFile(t, n, evidence[:2]...), slices.Concat(all[:2], entries)},
		{"with much evidence", entryFile(t, n, evidence...), slices.Concat(all, entries)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			raw := c.raw
			if got, err := readEntryFile(raw); err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("read %d items: %v", len(got), err)
			}
			if !ledger.IsEntryFile(raw) {
				t.Error("it is not recognised")
			}
			step := 1 + len(raw)/20000*100 // of a long file, a few hundred places
			for i := 0; i < len(raw); i += step {
				if _, err := readEntryFile(raw[:i]); !errors.Is(err, ledger.ErrEntryFile) {
					t.Fatalf("cut at byte %d of %d: %v", i, len(raw), err)
				}
				flipped := bytes.Clone(raw)
				flipped[i] ^= 0x10
				if _, err := readEntryFile(flipped); !errors.Is(err, ledger.ErrEntryFile) {
					t.Fatalf("byte %d of %d flipped: %v", i, len(raw), err)
				}
			}
			if _, err := readEntryFile(append(bytes.Clone(raw), '\n')); !errors.Is(err, ledger.ErrEntryFile) {
				t.Errorf("byte added at the end: %v", err)
			}
		})
	}
}

// TestEntryFileForm: what a file must not hold, though its SHA-256 is right.
func TestEntryFileForm(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	file := func(items ...fileItem) []byte {
		raw := []byte("pyvnode-entries-2\n")
		frame := func(data string) { raw = append(binary.AppendUvarint(raw, uint64(len(data))), data...) }
		frame(string(n.Genesis.Bytes()))
		for _, item := range items {
			frame(string([]byte{byte(item.kind)}) + item.raw)
		}
		raw = binary.BigEndian.AppendUint64(append(raw, 0), uint64(len(items)))
		sum := sha256.Sum256(raw)
		return append(raw, sum[:]...)
	}
	entry := fileItem{ledger.EntryItem, string(n.Entries[0].Append(nil))}
	evidence := fileItem{ledger.EvidenceItem, "who lied"}
	if _, err := readEntryFile(file(evidence, entry)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what  string
		items []fileItem
	}{
		{"evidence behind entries", []fileItem{entry, evidence}},
		{"unknown kind 0", []fileItem{{0, "what"}}},
		{"unknown kind 3", []fileItem{entry, {3, "what"}}},
		{"over the limit", []fileItem{{ledger.EvidenceItem, strings.Repeat("e", ledger.MaxItem+1)}}},
		{"an entry of 65537 bytes", []fileItem{{ledger.EntryItem, strings.Repeat("e", ledger.MaxEntry+1)}}},
	} {
		if _, err := readEntryFile(file(c.items...)); !errors.Is(err, ledger.ErrEntryFile) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	w, err := ledger.NewEntryFileWriter(io.Discard, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.WriteEvidence(nil), w.Write(n.Entries[0])); err != nil {
		t.Fatal(err)
	}
	if w.WriteEvidence(nil) == nil {
		t.Error("evidence was written behind an entry")
	}
}

func FuzzEntryFile(f *testing.F) {
	f.Add(entryFile(f, goldenNetwork(f), "", "who lied"))
	f.Add(entryFile1(goldenNetwork(f)))
	f.Add([]byte("pyvnode-entries-1\n\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		items, err := readEntryFile(raw)
		if err != nil && !errors.Is(err, ledger.ErrEntryFile) {
			t.Errorf("error does not wrap ErrEntryFile: %v", err)
		}
		for _, item := range items {
			_, _ = ledger.DecodeEntry([]byte(item.raw))
		}
	})
}

func TestFrontierDigest(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	f := ledger.Frontier{{Citation: n.Entries[2].Citation()}, {Citation: n.Entries[1].Citation()}}
	f.Sort()
	f[1].Frozen = &ledger.Freeze{Seq: f[1].Size(), Evidence: ledger.Hash{1}, Cited: ledger.Hash{2}}
	if err := f.Check(); err != nil {
		t.Error(err)
	}
	digest := f.Digest(n.Genesis.Network())
	changes := []func(f ledger.Frontier) ledger.Frontier{
		func(f ledger.Frontier) ledger.Frontier { return f[:1] },
		func(f ledger.Frontier) ledger.Frontier { f[0].Seq++; return f },
		func(f ledger.Frontier) ledger.Frontier { f[0].Height++; return f },
		func(f ledger.Frontier) ledger.Frontier { f[1].Hash[31] ^= 1; return f },
		func(f ledger.Frontier) ledger.Frontier { f[1].Origin[0] ^= 1; return f },
		func(f ledger.Frontier) ledger.Frontier { f[1].Frozen = nil; return f },
		func(f ledger.Frontier) ledger.Frontier {
			f[1].Frozen = &ledger.Freeze{Seq: f[1].Size() + 1, Evidence: ledger.Hash{1}, Cited: ledger.Hash{2}}
			return f
		},
		func(f ledger.Frontier) ledger.Frontier {
			f[1].Frozen = &ledger.Freeze{Seq: f[1].Size(), Evidence: ledger.Hash{2}, Cited: ledger.Hash{2}}
			return f
		},
		func(f ledger.Frontier) ledger.Frontier {
			f[1].Frozen = &ledger.Freeze{Seq: f[1].Size(), Evidence: ledger.Hash{1}}
			return f
		},
	}
	for i, change := range changes {
		if got := change(slices.Clone(f)).Digest(n.Genesis.Network()); got == digest {
			t.Errorf("change %d leaves the digest as it was", i)
		}
	}
	if f.Digest(ledger.Hash{}) == digest {
		t.Error("the digest does not depend on the network")
	}
	if f[0], f[1] = f[1], f[0]; f.Check() == nil {
		t.Error("rows out of order pass")
	}
	if row, ok := f.Row(ledgertest.Origin("mallory")); ok {
		t.Errorf("found a row for a log that is not there: %v", row)
	}
}

// TestCitedHash: the hash of what is cited of a disputed log is as docs/formats.md says, in whatever order it comes.
func TestCitedHash(t *testing.T) {
	t.Parallel()
	if got := ledger.CitedHash(nil); !got.IsZero() {
		t.Errorf("of nothing: %v", got)
	}
	a, b := ledger.Hash{1}, ledger.Hash{2}
	want := ledger.Hash(sha256.Sum256(slices.Concat([]byte("pyvnode/cited/1\n"), a[:], b[:])))
	for _, of := range [][]ledger.Hash{{a, b}, {b, a}} {
		if got := ledger.CitedHash(of); got != want {
			t.Errorf("of %v: %v instead of %v", of, got, want)
		}
	}
	if one := ledger.CitedHash([]ledger.Hash{a}); one == want || one.IsZero() {
		t.Errorf("of one: %v", one)
	}
}
