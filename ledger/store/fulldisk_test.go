package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// fullDisk is a disk on which some files cannot be made or written once it is full.
type fullDisk struct {
	full   atomic.Bool
	suffix string // of the files; all with ""
	kinds  []errorfs.OpKind
}

func (f *fullDisk) MaybeError(op errorfs.Op) error {
	if !f.full.Load() || !strings.Contains(filepath.Base(op.Path), f.suffix) {
		return nil
	}
	for _, kind := range f.kinds {
		if op.Kind == kind {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
	}
	return nil
}

func (f *fullDisk) String() string { return "(full disk)" }

// soon calls what must not hang; who waits for it reads a failed test instead of nothing.
func soon(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

// TestFullDisk fills the disk under a store at work, for each sort of file by itself, and for all. The store must stop writing by
// itself, say why, go on reading and close; and when there is room again everything that was acknowledged must be there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	writes := []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData}
	creates := []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpRename, errorfs.OpLink}
	for what, disk := range map[string]*fullDisk{
		"write the log":       {suffix: ".log", kinds: writes},
		"make a log":          {suffix: ".log", kinds: creates},
		"write a table":       {suffix: ".sst", kinds: writes},
		"make a table":        {suffix: ".sst", kinds: creates},
		"write the manifest":  {suffix: "MANIFEST", kinds: writes},
		"write the note":      {suffix: store.AcknowledgedFile, kinds: []errorfs.OpKind{errorfs.OpFileWriteAt}},
		"write anything":      {kinds: writes},
		"make or write a bit": {kinds: append(creates, writes...)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
			mem := vfs.NewCrashableMem()
			d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(mem, disk)})
			must(t, err)
			s, _, err := store.Open(t.Context(), d, g, store.Options{Key: ledgertest.Key("alice")})
			must(t, err)
			var acks []store.Ack
			put := func(n int) error {
				return soon(t, "append", func() error {
					ack, err := s.Append(context.Background(), ledgertest.Draft(t, g, "vote", n))
					if err == nil {
						acks = append(acks, ack)
					}
					return err
				})
			}
			for n := range 10 {
				must(t, put(n))
			}
			changed, unwatch := s.Watch()
			defer unwatch()
			disk.full.Store(true)
			for n := 10; err == nil && n < 60; n++ {
				err = put(n)
			}
			if err == nil { // a table is due
				go func() { _, _ = d.DB.AsyncFlush() }() // never returns where it has to make a log
				_ = soon(t, "stop", func() error { <-d.Stopped(); return nil })
				for n := 100; err == nil; n++ { // the store is about to learn of it
					err = put(n)
				}
			}
			if !errors.Is(err, store.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("on a full disk: %v", err)
			}
			if got := s.Failure(); !errors.Is(got, store.ErrFailed) || !errors.Is(got, syscall.ENOSPC) || strings.Contains(got.Error(), "\n") {
				t.Errorf("the store says %q", got)
			}
			<-changed
			before := len(acks)
			if err := put(5000); !errors.Is(err, store.ErrFailed) || len(acks) != before {
				t.Errorf("after that: %v", err)
			}
			for _, ack := range acks {
				if e, err := s.Get(t.Context(), ack.Ref); err != nil || e.Hash != ack.Hash {
					t.Fatalf("entry %v cannot be read: %v", ack.Ref, err)
				}
			}
			if err := soon(t, "close", s.Close); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("close: %v", err)
			}
			if err := soon(t, "close the database", d.Close); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("close the database: %v", err)
			}

			disk.full.Store(false) // there is room again
			after := kept(mem)
			full := &fullDisk{kinds: disk.kinds, suffix: disk.suffix}
			full.full.Store(true)
			err = soon(t, "open on a full disk", func() error { // which may go well, where no such file is due
				d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(after, full)})
				if err == nil {
					err = d.Close()
				}
				return err
			})
			if err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("open on a full disk: %v", err)
			}
			again, err := store.OpenPebble("db", store.PebbleOptions{FS: kept(after)}) // another process
			must(t, err)
			survived(t, what, again, g, acks, nil)
			left, err := again.Leftovers()
			if err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
			must(t, again.Close())
		})
	}
}

// TestFullDiskAtOpen opens a database with a write log to replay on a full disk, which Pebble tries for ever.
func TestFullDiskAtOpen(t *testing.T) {
	t.Parallel()
	fs, _, acked := written(t)
	for _, suffix := range []string{"", ".sst", ".log", "MANIFEST", "OPTIONS", ".dbtmp", "marker"} {
		disk := &fullDisk{suffix: suffix, kinds: []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite}}
		disk.full.Store(true)
		after := kept(fs)
		err := soon(t, "open", func() error {
			d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(after, disk)})
			if err == nil {
				err = d.Close()
			}
			return err
		})
		if err != nil && !errors.Is(err, syscall.ENOSPC) || err == nil && suffix == "" {
			t.Errorf("no room for %q: %v", suffix, err)
		}
		d, err := store.OpenPebble("db", store.PebbleOptions{FS: kept(after)}) // in another process
		must(t, err)
		if n := countKeys(t, d); n != acked {
			t.Errorf("no room for %q: %d of %d keys are left", suffix, n, acked)
		}
		must(t, d.Close())
	}
}

// TestDamagedTableStopsMerges damages a table that has to be merged: Pebble would try again at once, for ever.
func TestDamagedTableStopsMerges(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var reads atomic.Int64
	var bad atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
			reads.Add(1)
			return errDisk
		}
		return nil
	})
	d, err := store.OpenPebble("db", store.PebbleOptions{FS: errorfs.Wrap(mem, inject), CacheBytes: 1})
	must(t, err)
	bad.Store(true)
	for i := 0; d.Failure() == nil && i < 20; i++ { // tables over the same keys, which are merged by the eighth
		for j := range 4 {
			if err := tryKeys(t, d, 100*j, 100*(j+1), 100+i); err != nil && d.Failure() == nil {
				t.Fatal(err) // once it has stopped, it says so to whoever writes
			}
		}
		_ = soon(t, "flush", d.DB.Flush)
	}
	select {
	case <-d.Stopped():
	case <-time.After(time.Minute):
		t.Fatalf("nothing stopped it after %d reads", reads.Load())
	}
	if err := d.Failure(); err == nil || !strings.Contains(err.Error(), errDisk.Error()) { // Pebble keeps no more of it
		t.Errorf("stopped by %v", err)
	}
	if err := soon(t, "close", d.Close); err == nil {
		t.Error("closed in order")
	}
	after := reads.Load()
	time.Sleep(20 * time.Millisecond) // a loop would read thousands of times
	if more := reads.Load() - after; more > 100 {
		t.Errorf("%d reads after the failure", more)
	}
}

// TestLeftovers puts what a failed write leaves into a ledger's directory: that is no damage.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	must(t, store.CreateDir(t.Context(), dir, g))
	left := []string{"000900.sst", "temporary.000901.dbtmp"}
	for _, name := range left {
		must(t, os.WriteFile(filepath.Join(dir, store.LedgerDir, name), []byte("half a table"), 0o600))
	}
	report, err := audit.Directory(t.Context(), dir, audit.Options{})
	must(t, err)
	if !report.Clean() || fmt.Sprint(report.Leftovers) != fmt.Sprint(left) {
		t.Errorf("findings %v, leftovers %v", report.Findings, report.Leftovers)
	}
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	must(t, d.Close())
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(dir, store.LedgerDir, name)); err == nil {
			t.Errorf("%s is there after opening", name)
		}
	}
}
