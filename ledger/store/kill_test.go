package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// The environment that makes the test program a writer to be killed: a data directory and the number of the first
// record.
const (
	envKillDir   = "PYVNODE_TEST_KILL_DIR"
	envKillFirst = "PYVNODE_TEST_KILL_FIRST"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envKillDir); dir != "" {
		first, err := strconv.Atoi(os.Getenv(envKillFirst))
		if err == nil {
			err = writeUntilKilled(dir, first)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func killGenesis(t testing.TB) *ledger.Genesis {
	return ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
}

// writeUntilKilled lets 16 writers store records, and prints each that is acknowledged.
func writeUntilKilled(dir string, first int) error {
	ctx := context.Background()
	d, _, err := store.OpenDir(ctx, dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key("alice")}, MarkInterval: time.Millisecond})
	if err != nil {
		return err
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := range next {
				ack, err := d.Append(ctx, ledgertest.Draft(panicker{}, d.Genesis(), "vote", n))
				if err != nil {
					panic(err)
				}
				fmt.Printf("%d %d %v\n", n, ack.Seq, ack.Hash)
			}
		})
	}
	for n := first; ; n++ {
		next <- n
	}
}

// panicker is a testing.TB for a process that is no test.
type panicker struct{ testing.TB }

func (panicker) Helper()           {}
func (panicker) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// TestKill kills a process that writes under load with kill -9, at random moments, over and over on one directory.
// After each kill the directory is audited as it lies there, opened, and every record that was ever acknowledged is
// looked up.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("PYVNODE_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	g := killGenesis(t)
	must(t, store.CreateDir(t.Context(), dir, g))
	r := rand.New(rand.NewPCG(uint64(kills), 1))
	acked := map[uint64]ledger.Hash{} // by seq
	first, unacked := 0, 0
	for kill := range kills {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), envKillDir+"="+dir, envKillFirst+"="+strconv.Itoa(first))
		out, err := child.StdoutPipe()
		must(t, err)
		var complaints strings.Builder
		child.Stderr = &complaints
		must(t, child.Start())
		in := bufio.NewReader(out)
		before, after := len(acked), 1+r.IntN(300) // acknowledgements until the kill
		wait := time.Duration(r.IntN(2000)) * time.Microsecond
		for {
			line, err := in.ReadString('\n')
			if err == io.EOF {
				break // a last line without end was not wholly written
			}
			must(t, err)
			var n int
			var seq uint64
			var hash string
			if _, err := fmt.Sscanf(line, "%d %d %s", &n, &seq, &hash); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			h, err := ledger.ParseHash(hash)
			must(t, err)
			acked[seq] = h
			first = max(first, n+1)
			if len(acked)-before == after {
				go func() {
					time.Sleep(wait) // the moment is random on purpose
					_ = child.Process.Kill()
				}()
			}
		}
		if err := child.Wait(); err == nil || complaints.Len() > 0 {
			t.Fatalf("the writer ended by itself: %v %s", err, complaints.String())
		}
		first += 1000 // records that were stored and not acknowledged would be duplicates
		report, err := audit.Directory(t.Context(), dir, audit.Options{})
		must(t, err)
		if !report.Clean() {
			t.Fatalf("kill %d: %v", kill, report.Findings)
		}
		d, recovery, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key("alice")}})
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		if !recovery.Unclean || recovery.Checked == 0 || len(recovery.Mended) > 0 {
			t.Errorf("kill %d: %+v", kill, recovery)
		}
		for seq, hash := range acked {
			e, err := d.Get(t.Context(), store.Ref{Origin: ledgertest.Origin("alice"), Seq: seq})
			if err != nil || e.Hash != hash {
				t.Fatalf("kill %d: acknowledged entry %d is lost: %v", kill, seq, err)
			}
		}
		unacked = int(d.Frontier().Entries()) - len(acked)
		must(t, d.Close())
		if left, err := filepath.Glob(filepath.Join(dir, "*"+durable.Unfinished+"*")); err != nil || len(left) > 0 {
			t.Errorf("kill %d: files are left: %v", kill, left)
		}
	}
	t.Logf("%d kills, %d records acknowledged, all there; %d more were durable before they could be acknowledged", kills, len(acked), unacked)
}

// TestRollbackAfterKill: a ledger that is put back from an older copy after the process was killed does not open.
func TestRollbackAfterKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, killGenesis(t)))
	database, copied := filepath.Join(dir, store.LedgerDir), filepath.Join(t.TempDir(), "copy")
	marked := func() uint64 { // entries that the watermark tells of
		mark, err := store.ReadWatermark(dir)
		must(t, err)
		if mark == nil {
			return 0
		}
		return mark.Frontier.Entries()
	}
	// until lets a process write until the watermark tells of more entries, and kills it.
	until := func(first int, more uint64) {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), envKillDir+"="+dir, envKillFirst+"="+strconv.Itoa(first))
		must(t, child.Start())
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		for before := marked(); marked() < before+more; {
			select {
			case err := <-ended:
				t.Fatalf("the writer ended by itself: %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		must(t, child.Process.Kill())
		<-ended
	}
	until(0, 10)
	must(t, os.CopyFS(copied, os.DirFS(database)))
	d, recovery, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	held := d.Frontier().Entries()
	if !recovery.Unclean {
		t.Errorf("%+v", recovery)
	}
	must(t, d.Close())
	until(100000, held+10)
	must(t, os.RemoveAll(database))
	must(t, os.CopyFS(database, os.DirFS(copied)))
	for _, readOnly := range []bool{true, false} {
		d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: readOnly}})
		var rollback *store.RollbackError
		if !errors.As(err, &rollback) || rollback.Held.Seq < held {
			t.Errorf("opened, reading only %v: %v", readOnly, err)
		}
		if err == nil {
			must(t, d.Close())
		}
	}
	report, err := audit.Directory(t.Context(), dir, audit.Options{})
	must(t, err)
	if len(report.Findings) != 1 || report.Findings[0].Reason != audit.ReasonRollback {
		t.Errorf("audit: %v", report.Findings)
	}
}

// TestWatermarkFails: where the watermark cannot be written the ledger goes on, and says so.
func TestWatermarkFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, killGenesis(t)))
	var log syncBuffer
	d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{MarkInterval: time.Millisecond,
		Options: store.Options{Key: ledgertest.Key("alice"), Logger: slog.New(slog.NewTextHandler(&log, nil))}})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, store.WatermarkFile, "in the way"), 0o700))
	for n := 0; !strings.Contains(log.String(), "the watermark was not written"); n++ {
		if _, err := d.Append(t.Context(), ledgertest.Draft(t, d.Genesis(), "vote", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err == nil {
		t.Error("closed without a watermark")
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
