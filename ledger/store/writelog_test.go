package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger/store"
)

// kept is a copy of files as a process leaves them that is killed: the system has all that was written.
func kept(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	raw, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return raw
}

func writeFile(t *testing.T, fs vfs.FS, name string, raw []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(bytes.Clone(raw)) // it may change what it is given
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

// newestLog returns the newest write log in db.
func newestLog(t *testing.T, fs vfs.FS) (newest string) {
	t.Helper()
	names, err := fs.List("db")
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			newest = max(newest, name)
		}
	}
	return "db/" + newest
}

func putKeys(t *testing.T, d store.Datastore, from, to, size int) {
	t.Helper()
	must(t, tryKeys(t, d, from, to, size))
}

func tryKeys(t *testing.T, d store.Datastore, from, to, size int) error {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(from), 7))
	b, err := d.Batch(t.Context())
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		value := make([]byte, size)
		for j := range value {
			value[j] = byte(r.Uint32())
		}
		if err := b.Put(t.Context(), ds.RawKey(fmt.Sprintf("/k/%06d", i)), value); err != nil {
			return err
		}
	}
	if err := b.Commit(t.Context()); err != nil {
		return err
	}
	return d.Sync(t.Context(), ds.RawKey("/"))
}

// countKeys checks that what is there has no gap, and returns how much it is.
func countKeys(t *testing.T, d store.Datastore) (n int) {
	t.Helper()
	for pair, err := range d.Scan(t.Context(), "/k/", "/k0") {
		must(t, err)
		if want := fmt.Sprintf("/k/%06d", n); string(pair.Key) != want {
			t.Fatalf("found %s, want %s: what is left is not what once was", pair.Key, want)
		}
		n++
	}
	return n
}

// written fills a database in memory as several writers would, and returns its files and the note that was kept before the last
// batch, which is large, was synced.
func written(t *testing.T) (fs *vfs.MemFS, before []byte, acked int) {
	fs = vfs.NewCrashableMem()
	d, err := store.OpenPebble("db", store.PebbleOptions{FS: fs})
	must(t, err)
	for i := range 60 {
		putKeys(t, d, 10*i, 10*(i+1), 80)
	}
	before = readFile(t, fs, "db/"+store.AcknowledgedFile)
	putKeys(t, d, 600, 760, 700)
	fs, acked = kept(fs), 760
	must(t, d.Close())
	return fs, before, acked
}

// TestDamagedWriteLog overwrites three bytes at many offsets of the newest write log of a database that was killed: what was
// acknowledged must never be missed without a word.
func TestDamagedWriteLog(t *testing.T) {
	t.Parallel()
	fs, _, acked := written(t)
	log := newestLog(t, fs)
	raw := readFile(t, fs, log)
	size := len(bytes.TrimRight(raw, "\x00"))
	if size < 150<<10 {
		t.Fatalf("the log has only %d bytes", size)
	}
	offsets := []int{0, 1, 4, 6, 7, 11, size - 3, size/2 + 1}
	for block := 0; block < size; block += 32 << 10 {
		offsets = append(offsets, max(block-3, 0), block, block+5)
	}
	r := rand.New(rand.NewPCG(3, 9))
	for range 60 {
		offsets = append(offsets, r.IntN(size-3))
	}
	for _, at := range offsets {
		damaged := bytes.Clone(raw)
		for i := range 3 {
			damaged[min(at+i, size-1)] ^= byte(1 + r.IntN(255))
		}
		after := kept(fs)
		writeFile(t, after, log, damaged)
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true})
		if err == nil {
			n := countKeys(t, d)
			must(t, d.Close())
			if n < acked { // padding between blocks may change unnoticed
				t.Errorf("damage at %d of %d: %d of %d acknowledged keys are left, and nothing is said", at, size, n, acked)
			}
			continue
		}
		var lost *store.LogDamageError
		if !errors.As(err, &lost) || lost.Offset > int64(at)+3 || lost.Path != log {
			t.Errorf("damage at %d of %d: %v", at, size, err)
		}
		d, err = store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true, ReadOnly: true})
		if err != nil {
			t.Errorf("damage at %d of %d, for reading: %v", at, size, err)
			continue
		}
		if n := countKeys(t, d); n > acked || len(d.Damage()) == 0 {
			t.Errorf("damage at %d of %d: %d keys can be read, damage %v", at, size, n, d.Damage())
		}
		must(t, d.Close())
	}
}

// TestLostWriteLog takes the newest write log away, or its end, at a place where it could have ended.
func TestLostWriteLog(t *testing.T) {
	t.Parallel()
	fs, _, acked := written(t)
	log := newestLog(t, fs)
	raw := readFile(t, fs, log)
	size := len(bytes.TrimRight(raw, "\x00"))
	for _, left := range []int{-1, 0, 100, 32 << 10, size - 1} {
		after := kept(fs)
		if left < 0 {
			must(t, after.Remove(log))
		} else {
			writeFile(t, after, log, raw[:left])
		}
		var lost *store.LogDamageError
		if _, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true}); !errors.As(err, &lost) {
			t.Errorf("%d of %d bytes are left: %v", left, size, err)
		}
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true, ReadOnly: true})
		must(t, err)
		if n := countKeys(t, d); n > acked || len(d.Damage()) == 0 {
			t.Errorf("%d of %d bytes are left: %d keys can be read, damage %v", left, size, n, d.Damage())
		}
		must(t, d.Close())
	}
}

// TestTornWriteLog lets a power cut tear the end of a log that was never synced, at many offsets and in every way: that is no
// damage, and all that was acknowledged is there.
func TestTornWriteLog(t *testing.T) {
	t.Parallel()
	fs, before, _ := written(t)
	log := newestLog(t, fs)
	raw := readFile(t, fs, log)
	size := len(bytes.TrimRight(raw, "\x00"))
	var number, synced int
	_, err := fmt.Sscanf(string(before), "%d %d", &number, &synced)
	must(t, err)
	if size-synced < 100<<10 {
		t.Fatalf("only %d bytes were not synced", size-synced)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for trial := range 60 {
		at := synced + r.IntN(size-synced)
		torn := bytes.Clone(raw[:size])
		switch trial % 4 {
		case 0: // the file ends
			torn = torn[:at]
		case 1: // the rest is what was preallocated
			clear(torn[at:])
		case 2: // a page did not reach the disk, and later ones did
			clear(torn[at:min(at+4096, size)])
		case 3: // what stood there before
			for i := at; i < min(at+512, size); i++ {
				torn[i] = byte(r.Uint32())
			}
		}
		after := kept(fs)
		writeFile(t, after, log, torn)
		writeFile(t, after, "db/"+store.AcknowledgedFile, before)
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true})
		if err != nil {
			t.Errorf("torn at %d of %d, way %d: %v", at, size, trial%4, err)
			continue
		}
		if n := countKeys(t, d); n != 600 && n != 760 {
			t.Errorf("torn at %d of %d, way %d: %d keys", at, size, trial%4, n)
		}
		must(t, d.Close())
	}
}

// TestDamagedNote damages the file that says what was acknowledged.
func TestDamagedNote(t *testing.T) {
	t.Parallel()
	fs, before, acked := written(t)
	for what, raw := range map[string][]byte{
		"empty": nil, "cut": before[:20], "garbage": []byte("garbage"), "more": append(bytes.Clone(before), '\n'),
		"another size": bytes.Replace(before, []byte(" 0"), []byte(" 1"), 1),
	} {
		after := kept(fs)
		writeFile(t, after, "db/"+store.AcknowledgedFile, raw)
		var file *store.FileDamageError
		if _, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true}); !errors.As(err, &file) {
			t.Errorf("%s: %v", what, err)
		}
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: after, MustExist: true, ReadOnly: true})
		must(t, err)
		if n := countKeys(t, d); n != acked || len(d.Damage()) != 1 {
			t.Errorf("%s: %d keys can be read, damage %v", what, n, d.Damage())
		}
		must(t, d.Close())
	}
}

// TestDamagedOlderLog damages a write log that has a newer one after it, and is not in tables yet.
func TestDamagedOlderLog(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	var two *vfs.MemFS // as it is when the first table is begun
	begun := make(chan struct{})
	once := sync.OnceFunc(func() {
		two = kept(fs)
		close(begun)
	})
	watch := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			once()
		}
		return nil
	})
	d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(fs, watch)})
	must(t, err)
	const acked = 100
	for i := 0; i < acked; i += 10 {
		putKeys(t, d, i, i+10, 1000)
	}
	_, err = d.DB.AsyncFlush()
	must(t, err)
	<-begun
	must(t, d.Close())
	var logs []string
	names, err := two.List("db")
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs = append(logs, name)
		}
	}
	if slices.Sort(logs); len(logs) < 2 {
		t.Fatalf("logs %v", logs)
	}
	older := "db/" + logs[0]
	raw := readFile(t, two, older)
	copy(raw[len(raw)/3:], "xyz")
	writeFile(t, two, older, raw)
	var lost *store.LogDamageError
	if _, err := store.OpenPebble("db", store.PebbleOptions{FS: two, MustExist: true}); !errors.As(err, &lost) || lost.Path != older {
		t.Errorf("for writing: %v", err)
	}
	d, err = store.OpenPebble("db", store.PebbleOptions{FS: two, MustExist: true, ReadOnly: true})
	must(t, err)
	if n := countKeys(t, d); n < 10 || n >= acked || len(d.Damage()) != 1 {
		t.Errorf("%d of %d keys can be read, damage %v", n, acked, d.Damage())
	}
	must(t, d.Close())
}
