package ledger_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
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

func entryFile(t testing.TB, n *ledgertest.Network) []byte {
	var buf bytes.Buffer
	w, err := ledger.NewEntryFileWriter(&buf, n.Genesis)
	if err != nil {
		t.Fatal(err)
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

func readEntryFile(raw []byte) (entries [][]byte, err error) {
	r, err := ledger.NewEntryFileReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, bytes.Clone(b))
	}
}

func TestEntryFile(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	raw := entryFile(t, n)
	got, err := readEntryFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range n.Entries {
		if !bytes.Equal(got[i], e.Append(nil)) {
			t.Errorf("entry %d differs", i)
		}
	}
	for cut := range raw {
		if _, err := readEntryFile(raw[:cut]); !errors.Is(err, ledger.ErrEntryFile) {
			t.Fatalf("cut at byte %d of %d: %v", cut, len(raw), err)
		}
	}
	for i := range raw {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 0x10
		if _, err := readEntryFile(flipped); !errors.Is(err, ledger.ErrEntryFile) {
			t.Fatalf("byte %d of %d flipped: %v", i, len(raw), err)
		}
	}
	if _, err := readEntryFile(append(bytes.Clone(raw), '\n')); !errors.Is(err, ledger.ErrEntryFile) {
		t.Errorf("byte added at the end: %v", err)
	}
}

func FuzzEntryFile(f *testing.F) {
	f.Add(entryFile(f, goldenNetwork(f)))
	f.Add([]byte("pyvnode-entries-1\n\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := readEntryFile(raw)
		if err != nil && !errors.Is(err, ledger.ErrEntryFile) {
			t.Errorf("error does not wrap ErrEntryFile: %v", err)
		}
		for _, e := range entries {
			_, _ = ledger.DecodeEntry(e)
		}
	})
}

func TestFrontierDigest(t *testing.T) {
	t.Parallel()
	n := goldenNetwork(t)
	f := ledger.Frontier{{Citation: n.Entries[2].Citation()}, {Citation: n.Entries[1].Citation()}}
	f.Sort()
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
