package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// killed returns a data directory whose writer was killed right after it had acknowledged a number of records.
func killed(t *testing.T, acks int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	must(t, store.CreateDir(t.Context(), dir, killGenesis(t)))
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), envKillDir+"="+dir, envKillFirst+"=0")
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	in := bufio.NewReader(out)
	for range acks {
		_, err := in.ReadString('\n')
		must(t, err)
	}
	must(t, child.Process.Kill())
	_ = child.Wait() // it was killed
	return dir
}

func newestLogOf(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, store.LedgerDir, "*.log"))
	must(t, err)
	newest := ""
	for _, log := range logs {
		newest = max(newest, log)
	}
	return newest
}

// TestDamageAfterKill overwrites three bytes in the middle of the newest write log of a writer that was killed. Nothing may be
// written in the places of what is lost.
func TestDamageAfterKill(t *testing.T) {
	t.Parallel()
	dir := killed(t, 200)
	log := newestLogOf(t, dir)
	raw, err := os.ReadFile(log)
	must(t, err)
	copy(raw[len(bytes.TrimRight(raw, "\x00"))/2:], "xyz")
	must(t, os.WriteFile(log, raw, 0o600))
	var lost *store.LogDamageError
	_, _, err = store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key("alice")}})
	if !errors.As(err, &lost) || lost.Path != log {
		t.Fatalf("for writing: %v", err)
	}
	report, err := audit.Directory(t.Context(), dir, audit.Options{})
	must(t, err)
	if !strings.Contains(fmt.Sprint(report.Findings), filepath.Base(log)) {
		t.Errorf("the audit finds %v", report.Findings)
	}
	d, r, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
	must(t, err)
	if len(r.Lacks) == 0 || r.Entries == 0 || r.Entries >= 200 {
		t.Errorf("for reading: %+v", r)
	}
	must(t, d.Close())
}

type fileState struct {
	info fs.FileInfo
	raw  []byte
}

func stateOf(t *testing.T, dir string) map[string]fileState {
	t.Helper()
	all := map[string]fileState{}
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		state := fileState{info: info}
		if info.Mode().IsRegular() {
			state.raw, err = os.ReadFile(path)
		}
		all[path] = state
		return err
	}))
	return all
}

func sameState(t *testing.T, before, after map[string]fileState) {
	t.Helper()
	for path, was := range before {
		is, ok := after[path]
		if !ok || is.info.Mode() != was.info.Mode() || is.info.Size() != was.info.Size() || !is.info.ModTime().Equal(was.info.ModTime()) || !bytes.Equal(is.raw, was.raw) {
			t.Errorf("%s was changed, or is gone", path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s is new", path)
		}
	}
}

// TestReadingChangesNothing reads a ledger whose writer was killed, twice at once, with and without the file that is locked, and
// audits it.
func TestReadingChangesNothing(t *testing.T) {
	t.Parallel()
	dir := killed(t, 50)
	for _, lock := range []bool{true, false} {
		if !lock {
			must(t, os.Remove(filepath.Join(dir, store.LedgerDir, "LOCK")))
		}
		before := stateOf(t, dir)
		first, r, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
		must(t, err)
		second, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
		must(t, err)
		if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{}); !errors.Is(err, durable.ErrLocked) {
			t.Errorf("writing while others read: %v", err)
		}
		n := 0
		for _, err := range second.Chain(t.Context()) {
			must(t, err)
			n++
		}
		if n < 50 || uint64(n) != r.Entries {
			t.Errorf("%d entries, %+v", n, r)
		}
		must(t, first.Close())
		must(t, second.Close())
		report, err := audit.Directory(t.Context(), dir, audit.Options{})
		must(t, err)
		if !report.Clean() {
			t.Errorf("findings %v", report.Findings)
		}
		sameState(t, before, stateOf(t, dir))
	}
	writer, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{})
	must(t, err)
	if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("reading while somebody writes: %v", err)
	}
	must(t, writer.Close())
}

// TestDamagedSmallFiles damages each small file of a data directory in turn. Nothing is written then, and everything is read.
func TestDamagedSmallFiles(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	files := []string{store.WatermarkFile, store.GenesisFile, filepath.Join(store.LedgerDir, store.AcknowledgedFile)}
	ways := map[string]func([]byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"cut":              func(raw []byte) []byte { return raw[:len(raw)/2] },
		"garbage":          func(raw []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(raw)) },
		"zeros":            func(raw []byte) []byte { return make([]byte, len(raw)) },
		"another line end": func(raw []byte) []byte { return append(raw, '\n') },
	}
	for _, file := range files {
		for way, damage := range ways {
			dir := t.TempDir()
			must(t, store.CreateDir(t.Context(), dir, g))
			d, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{Key: ledgertest.Key("alice")}})
			must(t, err)
			_, err = d.Append(t.Context(), ledgertest.Draft(t, g, "vote", 1))
			must(t, errors.Join(err, d.Close()))
			path := filepath.Join(dir, file)
			raw, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, damage(raw), 0o600))

			var damaged *durable.DamageError
			if _, _, err := store.OpenDir(t.Context(), dir, store.DirOptions{}); !errors.As(err, &damaged) || damaged.Path != path {
				t.Errorf("%s, %s: for writing: %v", file, way, err)
			}
			d, r, err := store.OpenDir(t.Context(), dir, store.DirOptions{Options: store.Options{ReadOnly: true}})
			if err != nil {
				t.Errorf("%s, %s: for reading: %v", file, way, err)
				continue
			}
			if r.Entries != 1 || len(r.Lacks) != 1 || !strings.Contains(r.Lacks[0], path) || d.Genesis().Network() != g.Network() {
				t.Errorf("%s, %s: for reading: %+v", file, way, r)
			}
			must(t, d.Close())
			report, err := audit.Directory(t.Context(), dir, audit.Options{})
			must(t, err)
			if report.Clean() {
				t.Errorf("%s, %s: the audit finds nothing", file, way)
			}
		}
	}
}

// TestWatermarkOfManyLogs: a watermark is never longer than one that is read again. Of a ledger with more logs it tells of
// the first.
func TestWatermarkOfManyLogs(t *testing.T) {
	t.Parallel()
	var f ledger.Frontier
	for i := range 100 {
		f = append(f, ledger.Row{
			Citation: ledger.Citation{Origin: ledgertest.Origin(fmt.Sprint(i)), Seq: ledger.MaxSeq - 1, Height: ledger.MaxHeight, Hash: ledger.Hash{1}},
			Frozen:   &ledger.Freeze{Seq: ledger.MaxSeq, Evidence: ledger.Hash{2}, Cited: ledger.Hash{3}},
		})
	}
	f.Sort()
	for _, most := range []int{99, 100, 101} {
		raw, err := store.WatermarkOf(ledger.Hash{7}, f, most)
		must(t, err)
		if len(raw) > 200+most*store.MarkedRow {
			t.Errorf("%d rows take %d bytes", most, len(raw))
		}
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, store.WatermarkFile), raw, 0o600))
		mark, err := store.ReadWatermark(dir)
		must(t, err)
		if len(mark.Frontier) != min(most, len(f)) {
			t.Errorf("of %d logs it tells of %d, want %d", len(f), len(mark.Frontier), min(most, len(f)))
		}
	}
}
