package legacy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
)

// chainFile returns the chain file of 1,001 votes that the original server wrote.
func chainFile(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/dataroot.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "chain/vote/initial.pydb" || h.Name == "./chain/vote/initial.pydb" {
			raw, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
}

func read(raw []byte) (records []legacy.ChainRecord, damaged int, err error) {
	for r, err := range legacy.ReadChain(bytes.NewReader(raw)) {
		if err != nil && r.Key == "" {
			return records, damaged, err
		}
		if err != nil {
			damaged++
			continue
		}
		records = append(records, r)
	}
	return records, damaged, nil
}

// TestRealChain puts the 1,001 records that the original wrote into a ledger, reads them back, and audits.
func TestRealChain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	records, damaged, err := read(chainFile(t))
	if err != nil || damaged != 0 || len(records) != 1001 {
		t.Fatalf("%d records, %d damaged, %v", len(records), damaged, err)
	}
	doc := ledgertest.Doc("alice")
	doc.Strength = record.DefaultStrength
	g := ledgertest.Genesis(t, doc)
	d, err := store.OpenPebble(t.TempDir(), store.PebbleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	s, _, err := store.Open(ctx, d, g, store.Options{Key: ledgertest.Key("alice")})
	if err != nil {
		t.Fatal(err)
	}
	checker := ledger.Checker{Genesis: g}
	var pending []store.Pending
	for _, r := range records {
		normal, facts, err := record.Check(r.Packed, 4)
		if err != nil || facts.Header.String() != r.Key {
			t.Fatalf("record %s at %d: %v", r.Key, r.Offset, err)
		}
		draft, err := checker.Draft("vote", normal)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Submit(ctx, draft)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for i, p := range pending {
		result, err := p.Wait(ctx)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		e, err := s.Get(ctx, result.Appended[0].Ack.Ref)
		if err != nil {
			t.Fatal(err)
		}
		in, err := record.Parse(records[i].Packed)
		if err != nil {
			t.Fatal(err)
		}
		out, err := record.Parse(e.Record)
		if err != nil {
			t.Fatal(err)
		}
		inID, err1 := in.ContentID()
		outID, err2 := out.ContentID()
		if err := errors.Join(err1, err2); err != nil || inID != outID {
			t.Errorf("record %d came out as %v, went in as %v (%v)", i, outID, inID, err)
		}
		for key, value := range in.Dict().All() { // identical in content, field by field
			if got, ok := out.Dict().Get(key); !ok || !record.Equal(got, value) {
				t.Errorf("record %d: field %v came out as %v, went in as %v", i, key, got, value)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Datastore(ctx, d, g, audit.Options{})
	if err != nil || !report.Clean() || report.Records != 1001 {
		t.Errorf("audit: %+v, %v", report, err)
	}
}

func TestReadChainDamage(t *testing.T) {
	t.Parallel()
	raw := chainFile(t)[:4096]
	all, _, _ := read(raw)
	if _, _, err := read(raw); !errors.Is(err, legacy.ErrChainFile) {
		t.Errorf("cut short: %v", err)
	}
	end := all[len(all)-1]
	size := int(end.Offset) + 12 + len(end.Key) + 12 + len(end.Packed)
	raw = raw[:size]
	if got, damaged, err := read(raw); err != nil || damaged != 0 || len(got) != len(all) {
		t.Fatalf("cut between records: %d records, %d damaged, %v", len(got), damaged, err)
	}
	for i := range raw {
		flipped := slices.Clone(raw)
		flipped[i] ^= 0x20
		got, damaged, err := read(flipped)
		if i >= 14 && i < 32 { // padding of the file header
			continue
		}
		if err == nil && damaged == 0 && len(got) == len(all) {
			t.Errorf("byte %d flipped, and nobody notices", i)
		}
	}
	deleted := slices.Clone(raw)
	copy(deleted[32:], "RECX")
	if got, damaged, err := read(deleted); err != nil || damaged != 0 || len(got) != len(all)-1 {
		t.Errorf("first record deleted: %d of %d records, %d damaged, %v", len(got), len(all), damaged, err)
	}
	long := slices.Clone(raw)
	binary.LittleEndian.PutUint32(long[32+8:], 1<<31)
	if _, _, err := read(long); !errors.Is(err, legacy.ErrChainFile) {
		t.Errorf("huge length: %v", err)
	}
	padded := append(slices.Clone(raw[:32]), pad(all[0])...)
	if got, _, err := read(padded); err != nil || len(got) != 1 || !bytes.Equal(got[0].Packed, all[0].Packed) {
		t.Errorf("padded record: %v", err)
	}
}

// pad frames a record as the original does when it rewrites it in the place of a longer one.
func pad(r legacy.ChainRecord) []byte {
	frame := func(dst []byte, mark string, data []byte) []byte {
		dst = append(dst, mark...)
		dst = binary.LittleEndian.AppendUint32(dst, legacy.ChainHash(data))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(data)))
		return append(dst, data...)
	}
	return frame(frame(nil, "RECB", []byte(r.Key)), "RECS", append(slices.Clone(r.Packed), "      "...))
}

func FuzzReadChain(f *testing.F) {
	f.Add(chainFile(f)[:3000])
	f.Fuzz(func(t *testing.T, raw []byte) {
		for r, err := range legacy.ReadChain(bytes.NewReader(raw)) {
			if err == nil && int(r.Offset)+24+len(r.Key) > len(raw) {
				t.Errorf("record beyond the end of the file")
			}
		}
	})
}

// FuzzScanChain reads any chain file with any index. Frames follow each other to the end of the file, and a record stands
// where it is said to, with both its hashes right.
func FuzzScanChain(f *testing.F) {
	chain := chainFile(f)[:3000]
	index := []byte("PYIX\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff")
	index = append(index, make([]byte, 32-len(index))...)
	index = append(index, 32, 0, 0, 0, 1, 2, 3, 4, 0xab, 3, 0, 0, 1, 2, 3, 4)
	f.Add(chain, index)
	f.Add(chain[:1000], []byte{})
	f.Add(append(slices.Clone(chain[:500]), chain[32:]...), index)
	f.Fuzz(func(t *testing.T, chain, rawIndex []byte) {
		rows, _ := legacy.ReadChainIndex(rawIndex)
		_, _ = legacy.ReadChainIDs(rawIndex)
		size := int64(len(chain))
		at := min(32, size)
		for f, err := range legacy.ScanChain(bytes.NewReader(chain), size, func(at int64) bool {
			return slices.ContainsFunc(rows, func(r legacy.ChainIndexRow) bool { return int64(r.Offset) == at })
		}, nil) {
			switch {
			case err != nil:
				t.Fatal(err)
			case f.Offset == 0 && f.Err != nil && f.End <= 32:
				continue
			case f.Offset != at || f.End <= at || f.End > size:
				t.Fatalf("a frame from %d to %d behind byte %d of %d", f.Offset, f.End, at, size)
			case f.Err == nil:
				data := chain[f.Offset+24+int64(len(f.Key)) : f.End]
				frame := chain[f.Offset:]
				if !bytes.HasPrefix(data, f.Packed) || len(bytes.Trim(data[len(f.Packed):], " ")) > 0 ||
					binary.LittleEndian.Uint32(frame[4:]) != legacy.ChainHash(f.Key) ||
					binary.LittleEndian.Uint32(frame[16+len(f.Key):]) != legacy.ChainHash(data) {
					t.Errorf("a record that does not stand at byte %d", f.Offset)
				}
			}
			at = f.End
		}
		if at != size {
			t.Errorf("the scan ends at byte %d of %d", at, size)
		}
	})
}
