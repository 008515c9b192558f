package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
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
	d, _, err := store.OpenDir(ctx, dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key("alice")}})
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
	}
	t.Logf("%d kills, %d records acknowledged, all there; %d more were durable before they could be acknowledged", kills, len(acked), unacked)
}
