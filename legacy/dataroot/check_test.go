package dataroot_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/wire"
)

const archive = "../testdata/dataroot.tar.gz"

var votes = dataroot.Source{Kind: "vote", File: "chain/vote/initial.pydb"}

// none is for what is not looked at.
func none(dataroot.Finding) {}

func check(t testing.TB, dir string) (*dataroot.Report, []dataroot.Finding) {
	t.Helper()
	r, err := dataroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var found []dataroot.Finding
	report, err := dataroot.Check(t.Context(), r, dataroot.Options{Strength: 4, Found: func(f dataroot.Finding) { found = append(found, f) }})
	if err != nil {
		t.Fatal(err)
	}
	if report.Findings != uint64(len(found)) {
		t.Errorf("%d findings counted, %d told", report.Findings, len(found))
	}
	return report, found
}

func TestCheckReal(t *testing.T) {
	t.Parallel()
	report, found := check(t, legacytest.DataRoot(t, archive))
	for _, f := range found {
		t.Errorf("finding: %v", f)
	}
	vote := report.Kinds["vote"]
	if vote == nil || len(report.Kinds) != 1 || vote.Shown != 1001 || vote.Sound != 1001 || vote.Deleted+vote.Older+vote.Damaged != 0 {
		t.Errorf("kinds: %+v", vote)
	}
	if report.Users != 1 || report.Keys != 1 || report.Files != 1 || report.Bytes != 90 || report.Site != "ffafe71d-1a1a-40f3-aea9-d28e3199474c" {
		t.Errorf("%+v", report)
	}
}

// original is the parts of a chain file that damage is done to.
type original struct {
	chain, index []byte
	starts       []int // of the records in the chain file
}

func (o *original) clone() *original {
	return &original{bytes.Clone(o.chain), bytes.Clone(o.index), o.starts}
}

// end is where a record ends.
func (o *original) end(i int) int {
	if i+1 < len(o.starts) {
		return o.starts[i+1]
	}
	return len(o.chain)
}

// smallRoot returns a data directory with the first records of the real one.
func smallRoot(t testing.TB, records int) (dir string, o *original) {
	t.Helper()
	dir = legacytest.DataRoot(t, archive)
	o = &original{}
	var err1, err2 error
	o.chain, err1 = os.ReadFile(chainFile(dir))
	o.index, err2 = os.ReadFile(indexFile(dir))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	rows, err := legacy.ReadChainIndex(o.index)
	if err != nil {
		t.Fatal(err)
	}
	o.chain, o.index = o.chain[:rows[records].Offset], o.index[:32+8*records]
	for _, row := range rows[:records] {
		o.starts = append(o.starts, int(row.Offset))
	}
	for _, name := range []string{"initial.hash.id", "replic.pydb", "replic.pidx"} {
		if err := os.Remove(filepath.Join(dir, "chain/vote", name)); err != nil {
			t.Fatal(err)
		}
	}
	o.write(t, dir)
	return dir, o
}

func chainFile(dir string) string { return filepath.Join(dir, "chain/vote", legacy.ChainFileName) }
func indexFile(dir string) string { return filepath.Join(dir, "chain/vote", legacy.ChainIndexName) }

func (o *original) write(t testing.TB, dir string) {
	t.Helper()
	err := os.WriteFile(chainFile(dir), o.chain, 0o600)
	if o.index != nil {
		err = errors.Join(err, os.WriteFile(indexFile(dir), o.index, 0o600))
	} else {
		err = errors.Join(err, os.Remove(indexFile(dir)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shown returns the packed records that a chain file shows.
func shown(t testing.TB, dir string) (packed []string) {
	t.Helper()
	r, err := dataroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	c := r.Chain(votes, none)
	if c == nil {
		return nil
	}
	defer func() { _ = c.Close() }()
	for i, err := range c.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if i.Status == dataroot.Shown {
			packed = append(packed, string(i.Packed))
		}
	}
	return packed
}

// refresh writes the hash of a record's data anew.
func (o *original) refresh(i int) {
	data := o.starts[i] + 12 + 36
	binary.LittleEndian.PutUint32(o.chain[data+4:], legacy.ChainHash(o.chain[data+12:o.end(i)]))
}

// TestDamage says of every kind of damage what is found and what is still shown.
func TestDamage(t *testing.T) {
	t.Parallel()
	const all = 8
	for _, test := range []struct {
		name   string
		damage func(o *original)
		want   []string // in the findings, in order
		shown  int
		sound  int
	}{
		{"none", func(*original) {}, nil, all, all},
		{"no index", func(o *original) { o.index = nil }, []string{"initial.pidx: missing"}, all, all},
		{"empty index", func(o *original) { o.index = []byte{} }, []string{"initial.pidx: wrong-header"}, all, all},
		{"index cut short", func(o *original) { o.index = o.index[:len(o.index)-3] }, []string{"middle of row 7", "is not in it"}, all, all},
		{"index of another file", func(o *original) { o.index[32] ^= 1 }, []string{"not in it", "byte 33, where no record begins"}, all, all},
		{"index with a wrong hash", func(o *original) { o.index[36] ^= 1 }, []string{"it has hash"}, all, all},
		{"index in another order", func(o *original) {
			row := bytes.Clone(o.index[32:40])
			copy(o.index[32:], o.index[40:48])
			copy(o.index[40:], row)
		}, []string{"not in the order"}, all, all},
		{"row too many", func(o *original) { o.index = append(o.index, o.index[32:40]...) }, []string{"not in the order", "byte 32, where no record begins"}, all, all},
		{"wrong header", func(o *original) { copy(o.chain, "PXDB") }, []string{"byte 0: wrong-header"}, all, all},
		{"empty file", func(o *original) { o.chain = nil; o.index = o.index[:32] }, []string{"byte 0: wrong-header"}, 0, 0},
		{"only a header", func(o *original) { o.chain = o.chain[:32]; o.index = o.index[:32] }, nil, 0, 0},
		{"cut short", func(o *original) { o.chain = o.chain[:len(o.chain)-1] }, []string{"damaged-record: damaged chain file: cut short"}, all - 1, all - 1},
		{"cut between records", func(o *original) { o.chain = o.chain[:o.starts[7]] }, []string{"where no record begins"}, all - 1, all - 1},
		{"surplus bytes", func(o *original) { o.chain = append(o.chain, "RECB is not enough"...) }, []string{"damaged-record"}, all, all},
		{"deleted", func(o *original) { copy(o.chain[o.starts[2]:], "RECX") }, nil, all - 1, all - 1},
		{"mark gone", func(o *original) { copy(o.chain[o.starts[2]:], "xxxx") }, []string{`stands "xxxx"`}, all - 1, all - 1},
		{"mark gone without an index", func(o *original) { copy(o.chain[o.starts[2]:], "xxxx"); o.index = nil }, []string{"missing", `stands "xxxx"`}, all - 1, all - 1},
		{"two marks gone", func(o *original) { copy(o.chain[o.starts[2]:], "xxxx"); copy(o.chain[o.starts[3]:], "xxxx") },
			[]string{`stands "xxxx"`, "the index names a record here"}, all - 2, all - 2},
		{"the one between two marks that are gone", func(o *original) { copy(o.chain[o.starts[2]:], "xxxx"); copy(o.chain[o.starts[4]:], "xxxx") },
			[]string{`stands "xxxx"`, `stands "xxxx"`}, all - 2, all - 2},
		{"key changed", func(o *original) { o.chain[o.starts[2]+12] ^= 1 }, []string{"the hash is"}, all - 1, all - 1},
		{"data changed", func(o *original) { o.chain[o.starts[2]+200] ^= 1 }, []string{"the hash is"}, all - 1, all - 1},
		{"content changed, hash made anew", func(o *original) {
			at := o.starts[2] + bytes.Index(o.chain[o.starts[2]:], []byte("'Voter "))
			o.chain[at+7] = 'x'
			o.refresh(2)
		}, []string{"hash-mismatch"}, all, all - 1},
		{"proof changed", func(o *original) {
			at := o.starts[2] + bytes.Index(o.chain[o.starts[2]:], []byte("_PowRand' b16 '"))
			o.chain[at+15] ^= 1
			o.refresh(2)
		}, []string{"proof-mismatch"}, all, all - 1},
		{"kept under another header", func(o *original) {
			key := o.chain[o.starts[2]+12 : o.starts[2]+48]
			key[0] ^= 1
			binary.LittleEndian.PutUint32(o.chain[o.starts[2]+4:], legacy.ChainHash(key))
		}, []string{"it has hash", "header-mismatch"}, all, all - 1},
		{"not packed", func(o *original) {
			copy(o.chain[o.starts[2]+60:], "hello")
			o.refresh(2)
		}, []string{"malformed-packing"}, all, all - 1},
		{"huge length", func(o *original) { binary.LittleEndian.PutUint32(o.chain[o.starts[2]+56:], 1<<31) },
			[]string{"more than the limit"}, all - 1, all - 1},
		{"a length that swallows the next record", func(o *original) {
			binary.LittleEndian.PutUint32(o.chain[o.starts[2]+56:], uint32(o.end(3)-o.starts[2]-60))
		}, []string{"the hash is"}, all - 1, all - 1},
		{"rewritten", func(o *original) { // a newer one with the same key
			o.index = append(o.index, o.index[32+16:32+24]...)
			binary.LittleEndian.PutUint32(o.index[len(o.index)-8:], uint32(len(o.chain)))
			o.chain = append(o.chain, o.chain[o.starts[2]:o.end(2)]...)
		}, nil, all, all},
		{"rewritten, and the newer one is damaged", func(o *original) {
			o.index = append(o.index, o.index[32+16:32+24]...)
			binary.LittleEndian.PutUint32(o.index[len(o.index)-8:], uint32(len(o.chain)))
			o.chain = append(o.chain, o.chain[o.starts[2]:o.end(2)]...)
			o.chain[len(o.chain)-3] ^= 1
		}, []string{"the hash is"}, all - 1, all - 1}, // what was replaced is not shown again
		{"rewritten in its place", func(o *original) { // shorter, and padded with spaces
			data := o.chain[o.starts[2]+60 : o.end(2)]
			shorter := o.chain[o.starts[1]+60 : o.end(1)]
			if len(shorter) > len(data) {
				panic("longer")
			}
			copy(data, append(bytes.Clone(shorter), bytes.Repeat([]byte(" "), len(data)-len(shorter))...))
			copy(o.chain[o.starts[2]+12:], o.chain[o.starts[1]+12:o.starts[1]+48])
			binary.LittleEndian.PutUint32(o.chain[o.starts[2]+4:], legacy.ChainHash(o.chain[o.starts[1]+12:o.starts[1]+48]))
			copy(o.index[32+20:], o.index[32+12:32+16])
			o.refresh(2)
		}, nil, all - 1, all - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir, o := smallRoot(t, all)
			whole := shown(t, dir)
			test.damage(o)
			o.write(t, dir)
			report, found := check(t, dir)
			vote := report.Kinds["vote"]
			if vote.Shown != uint64(test.shown) || vote.Sound != uint64(test.sound) {
				t.Errorf("%d shown, %d sound; want %d, %d", vote.Shown, vote.Sound, test.shown, test.sound)
			}
			var texts []string
			for _, f := range found {
				texts = append(texts, f.String())
			}
			if len(texts) != len(test.want) {
				t.Errorf("%d findings, want %d:\n%s", len(texts), len(test.want), strings.Join(texts, "\n"))
			}
			for i := range min(len(texts), len(test.want)) {
				if !strings.Contains(texts[i], test.want[i]) {
					t.Errorf("finding %q, want %q", texts[i], test.want[i])
				}
			}
			if test.shown == test.sound {
				for _, packed := range shown(t, dir) {
					if !slices.Contains(whole, packed) {
						t.Errorf("shown is what was never written: %.60q", packed)
					}
				}
			}
		})
	}
}

// TestBitFlips flips every bit of a chain file and of its index, and cuts it everywhere: it is always found, and nothing
// that was not there is shown.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	dir, o := smallRoot(t, 3)
	whole := shown(t, dir)
	try := func(what string, changed *original, lost int) {
		changed.write(t, dir)
		report, found := check(t, dir)
		if len(found) == 0 {
			t.Errorf("%s: nobody notices", what)
		}
		now := shown(t, dir)
		if len(now) < len(whole)-lost {
			t.Errorf("%s: %d records are left of %d: %v", what, len(now), len(whole), found)
		}
		for _, packed := range now {
			if !slices.Contains(whole, packed) {
				t.Errorf("%s: shown is what was never written: %.60q", what, packed)
			}
		}
		if report.Kinds["vote"].Shown != uint64(len(now)) {
			t.Errorf("%s: %d shown, %d said", what, len(now), report.Kinds["vote"].Shown)
		}
	}
	step := 1
	if testing.Short() {
		step = 37
	}
	for i := 0; i < len(o.chain); i += step {
		if i >= 14 && i < 32 { // padding
			continue
		}
		changed := o.clone()
		changed.chain[i] ^= 1 << (i % 8)
		if changed.index = o.index; i%2 == 0 {
			changed.index = o.index[:32] // of no help
		}
		try(fmt.Sprintf("bit %d of byte %d", i%8, i), changed, 1)
	}
	for i := 32; i < len(o.index); i++ {
		changed := o.clone()
		changed.index[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("bit %d of byte %d of the index", i%8, i), changed, 0)
	}
	for i := 0; i < len(o.chain); i += 13 * step {
		changed := o.clone()
		changed.chain = changed.chain[:i]
		try(fmt.Sprintf("cut at %d", i), changed, 3)
	}
}

// TestHiddenFrames puts what looks like a record into the data of another one, and damages that one: it stays hidden.
func TestHiddenFrames(t *testing.T) {
	t.Parallel()
	inner := new(bytes.Buffer)
	w := legacy.NewChainWriter(inner, nil, nil)
	if err := errors.Join(w.Add("never written", []byte("pg s4 'evil' ")), w.Flush()); err != nil {
		t.Fatal(err)
	}
	hidden := append([]byte("pg s1 'a' ' text "), inner.Bytes()[32:]...)
	hidden = append(hidden, "more text' "...)
	outer := new(bytes.Buffer)
	w = legacy.NewChainWriter(outer, nil, nil)
	if err := errors.Join(w.Add("first", hidden), w.Add("second", hidden), w.Flush()); err != nil {
		t.Fatal(err)
	}
	for i := 32; i < outer.Len(); i++ {
		raw := bytes.Clone(outer.Bytes())
		raw[i] ^= 4
		for f, err := range legacy.ScanChain(bytes.NewReader(raw), int64(len(raw)), nil, nil) {
			if err != nil || f.Key == "never written" {
				t.Fatalf("byte %d: %q, %v", i, f.Key, err)
			}
		}
	}
}

func TestOtherFiles(t *testing.T) {
	t.Parallel()
	const key = "39326b0240a73132"
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const hash = "ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe23409638ff15"
	for _, test := range []struct {
		name string
		do   func(*testing.T, string)
		want []string
	}{
		{"no users", remove(".pyvserv"), []string{".pyvserv/passwd.secret: missing", "payload/admin: no-such-user"}},
		{"users", write(".pyvserv/passwd.secret", strings.Join([]string{
			"admin,3," + hash, "two words,0," + hash, "a%20b%2c%27%22%%,2," + hash, "admin,0," + hash, "x,8," + hash, "y,0,abc", "z,0", ",0," + hash,
			"second,1," + hash, "bad%,0," + hash, "bad%4z,0," + hash, "\xff,0," + hash, "last,4," + hash}, "\n")),
			[]string{"line 4: user \"admin\" stands there twice", "line 5", "line 6", "line 7: 2 fields", "line 8", "line 9", "line 10", "line 11", "line 12"}},
		{"no site ID", remove("pyservid.init"), []string{"pyservid.init: missing"}},
		{"bad site ID", write("pyservid.init", "# nothing\n\nhello\n"), []string{"pyservid.init: bad-site-id"}},
		{"no private key", remove("private"), []string{"private/" + key + ".pem: missing"}},
		{"no public key", remove("keys"), []string{"keys/" + key + ".pub: missing"}},
		{"bad private key", write("private/"+key+".pem", "hello"), []string{"private/" + key + ".pem: bad-key"}},
		{"bad public key", write("keys/"+key+".pub", "hello"), []string{"keys/" + key + ".pub: bad-key"}},
		{"key of another name", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "private", key+".pem"), filepath.Join(dir, "private", "00.pem")); err != nil {
				t.Fatal(err)
			}
		}, []string{key + ".pem: missing", "00.pub: missing"}},
		{"two halves of different keys", func(t *testing.T, dir string) {
			k, err := wire.GenerateKey(crand.Reader, 256)
			if err != nil {
				t.Fatal(err)
			}
			write("keys/"+key+".pub", k.Public().Text())(t, dir)
		}, []string{key + ".pub: bad-key: it is the key "}},
		{"bad hosts", write("ihosts.pydb", "hello"), []string{"ihosts.pydb byte 0: wrong-header"}},
		{"damaged queue", write("chain/vote/rstate.pydb", "hello"), []string{"rstate.pydb byte 0: wrong-header"}},
		{"bad kind", write("chain/a b/initial.pydb", ""), []string{"bad-kind", "initial.pidx: missing", "wrong-header"}},
		{"a file among the kinds", write("chain/note", "hello"), nil},
		{"a user's file elsewhere", write("payload/loose", "hello"), []string{"payload/loose: bad-file"}},
		{"a stranger's file", write("payload/nobody/file", "hello"), []string{"payload/nobody: no-such-user"}},
		{"a link out", func(t *testing.T, dir string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "payload/admin/link")); err != nil {
				t.Skip(err)
			}
		}, []string{"payload/admin/link: bad-file"}},
		{"a chain that leads out", func(t *testing.T, dir string) {
			path := chainFile(dir)
			outside := filepath.Join(t.TempDir(), "chain")
			if err := os.Rename(path, outside); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, path); err != nil {
				t.Skip(err)
			}
		}, []string{"initial.pydb: bad-file"}},
		{"a directory as chain", func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(chainFile(dir)), os.Mkdir(chainFile(dir), 0o700)); err != nil {
				t.Fatal(err)
			}
		}, []string{"initial.pydb: bad-file: it is no regular file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := legacytest.DataRoot(t, archive)
			test.do(t, dir)
			_, found := check(t, dir)
			var texts []string
			for _, f := range found {
				texts = append(texts, f.String())
				if strings.Contains(f.String(), hash) {
					t.Errorf("a password is quoted: %v", f)
				}
			}
			if len(texts) != len(test.want) {
				t.Errorf("%d findings, want %d:\n%s", len(texts), len(test.want), strings.Join(texts, "\n"))
			}
			for i := range min(len(texts), len(test.want)) {
				if !strings.Contains(texts[i], test.want[i]) {
					t.Errorf("finding %q, want %q", texts[i], test.want[i])
				}
			}
		})
	}
}

func TestNotADataRoot(t *testing.T) {
	t.Parallel()
	var not *dataroot.NotDataRootError
	if _, err := dataroot.Open(t.TempDir()); !errors.As(err, &not) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := dataroot.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestCheckStops(t *testing.T) {
	t.Parallel()
	r, err := dataroot.Open(legacytest.DataRoot(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dataroot.Check(ctx, r, dataroot.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// FuzzCheck checks a directory with any chain file, index, users and site ID.
func FuzzCheck(f *testing.F) {
	_, o := smallRoot(f, 2)
	f.Add(o.chain, o.index, []byte("admin,3,ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe23409638ff15\n"), []byte("# x\nffafe71d-1a1a-40f3-aea9-d28e3199474c\n"))
	f.Add(o.chain[:700], o.index[:36], []byte("a%20b,0,"), []byte{})
	f.Fuzz(func(t *testing.T, chain, index, users, site []byte) {
		dir := t.TempDir()
		for name, raw := range map[string][]byte{"chain/vote/initial.pydb": chain, "chain/vote/initial.pidx": index, "chain/vote/initial.hash.id": index,
			"ihosts.pydb": chain, ".pyvserv/passwd.secret": users, "pyservid.init": site} {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, raw, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		check(t, dir)
	})
}

// TestParts: reading a chain file in parts finds the same as reading it whole, whatever is damaged and whatever the index
// says about where records begin.
func TestParts(t *testing.T) {
	t.Parallel()
	dir, o := smallRoot(t, 20)
	random := rand.New(rand.NewPCG(3, 4))
	replaced := 0
	for n := range 300 {
		changed := o.clone()
		rows := changed.index[32:]
		for range random.IntN(6) { // a record stands once more further on, where the index knows it or not
			i := random.IntN(len(o.starts))
			record := bytes.Clone(o.chain[o.starts[i]:o.end(i)])
			at := len(changed.chain)
			if random.IntN(2) == 0 {
				binary.LittleEndian.PutUint32(rows[8*random.IntN(len(rows)/8):], uint32(at))
			}
			changed.chain = append(changed.chain, record...)
		}
		for range random.IntN(4) {
			at := 32 + random.IntN(len(changed.chain)-32)
			switch random.IntN(3) {
			case 0:
				changed.chain[at] ^= 1 << random.IntN(8)
			case 1:
				changed.chain = slices.Delete(changed.chain, at, min(at+1+random.IntN(2000), len(changed.chain)))
			case 2: // the index names any place
				binary.LittleEndian.PutUint32(rows[8*random.IntN(len(rows)/8):], random.Uint32N(uint32(2*len(changed.chain))))
			}
			if len(changed.chain) < 100 {
				break
			}
		}
		changed.write(t, dir)
		r, err := dataroot.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c := r.Chain(votes, none)
		whole, err := c.Older(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		replaced += len(whole)
		for _, parts := range []int{2, 3, 7} {
			if got, err := c.Older(t.Context(), parts); err != nil || !maps.Equal(got, whole) {
				t.Errorf("chain %d in %d parts: %v, %v; whole: %v", n, parts, got, err, whole)
			}
		}
		if err := errors.Join(c.Close(), r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if replaced < 100 {
		t.Errorf("only %d records are replaced: the test tests little", replaced)
	}
}

// TestRandomDamage does several kinds of damage at once.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	dir, o := smallRoot(t, 20)
	whole := shown(t, dir)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		changed := o.clone()
		for range 1 + random.IntN(5) {
			at := 32 + random.IntN(len(changed.chain)-32)
			switch random.IntN(4) {
			case 0:
				changed.chain[at] ^= 1 << random.IntN(8)
			case 1: // bytes are missing
				changed.chain = slices.Delete(changed.chain, at, min(at+1+random.IntN(2000), len(changed.chain)))
			case 2: // bytes are repeated
				n := min(1+random.IntN(2000), len(changed.chain)-at)
				changed.chain = slices.Insert(changed.chain, at, bytes.Clone(changed.chain[at:at+n])...)
			case 3:
				changed.index[random.IntN(len(changed.index))] ^= 1 << random.IntN(8)
			}
			if len(changed.chain) < 100 {
				break
			}
		}
		changed.write(t, dir)
		if _, found := check(t, dir); len(found) == 0 && !slices.Equal(whole, shown(t, dir)) {
			t.Error("nobody notices")
		}
		for _, packed := range shown(t, dir) {
			if !slices.Contains(whole, packed) {
				t.Errorf("shown is what was never written: %.60q", packed)
			}
		}
	}
}
