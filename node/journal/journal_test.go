package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"pyvnode/ledger/durable"
)

var start = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newJournal returns a journal whose clock goes on by a second each time.
func newJournal(tb testing.TB, dir string) *Journal {
	tb.Helper()
	var mu sync.Mutex
	now := start
	j, err := Open(dir, func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	})
	must(tb, err)
	return j
}

// read returns what is read, and the lines that are no entries.
func read(tb testing.TB, j *Journal, q Query) (all []Entry, bad []int) {
	tb.Helper()
	for e, err := range j.Read(tb.Context(), q) {
		var line *LineError
		switch {
		case errors.As(err, &line):
			bad = append(bad, line.Line)
		case err != nil:
			tb.Fatal(err)
		default:
			all = append(all, e)
		}
	}
	return all, bad
}

func whats(all []Entry) (texts []string) {
	for _, e := range all {
		texts = append(texts, e.What)
	}
	return texts
}

// TestAppend: what is noted is read, as it is, oldest first; the file is its owner's alone; queries leave out what they say.
func TestAppend(t *testing.T) {
	t.Parallel()
	j := newJournal(t, t.TempDir())
	if all, bad := read(t, j, Query{}); len(all)+len(bad) != 0 {
		t.Fatalf("before the first: %v, %v", all, bad)
	}
	first := Entry{Way: Command, Who: "anna", What: "user role", On: "bob", Detail: "+desk", From: "192.0.2.7"}
	must(t, j.Do(t.Context(), first, func() error { return nil }))
	failed := errors.New("no such user")
	if err := j.Do(t.Context(), Entry{Way: Original, Who: "anna", What: "user delete", On: "eve"}, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("error %v, want that of what was done", err)
	}
	for n := range 5 {
		must(t, j.Append(t.Context(), Entry{Way: Itself, Who: "node", What: fmt.Sprint(n), Outcome: Done}))
	}
	all, bad := read(t, j, Query{})
	first.Time, first.Outcome = start.Add(time.Second), Done
	want := Entry{Time: start.Add(2 * time.Second), Way: Original, Who: "anna", What: "user delete", On: "eve", Outcome: Failed, Error: "no such user"}
	if diff := cmp.Diff([]Entry{first, want}, all[:2]); diff != "" || len(all) != 7 || len(bad) != 0 {
		t.Errorf("%d entries, %v bad: %s", len(all), bad, diff)
	}
	info, err := os.Stat(j.path())
	must(t, err)
	must(t, durable.CheckPrivate(j.path(), info))
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Limit: 3}, "2 3 4"},
		{Query{Limit: 7}, "user role|user delete|0 1 2 3 4"},
		{Query{Limit: 100}, "user role|user delete|0 1 2 3 4"},
		{Query{Since: start.Add(6 * time.Second)}, "3 4"},
		{Query{Since: start.Add(5 * time.Second), Limit: 2}, "3 4"},
		{Query{Since: start.Add(time.Hour)}, ""},
	} {
		all, _ := read(t, j, c.q)
		if got := strings.Join(whats(all), " "); got != strings.ReplaceAll(c.want, "|", " ") {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}

// TestTornLine cuts the file off after each of its bytes, as a crash may: what was whole stays, the rest is no entry, and what is
// noted after that is a line of its own.
func TestTornLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := newJournal(t, dir)
	must(t, j.Append(t.Context(), Entry{Way: Command, Who: "a", What: "one", Outcome: Done}))
	whole, err := os.ReadFile(j.path())
	must(t, err)
	must(t, j.Append(t.Context(), Entry{Way: Command, Who: "a", What: "two", Outcome: Done}))
	both, err := os.ReadFile(j.path())
	must(t, err)
	for n := len(whole); n < len(both); n++ {
		must(t, os.WriteFile(j.path(), both[:n], 0o600))
		all, bad := read(t, j, Query{})
		if got := fmt.Sprint(whats(all), bad); got != "[one] []" {
			t.Fatalf("cut off at %d: %s", n, got)
		}
		must(t, j.Append(t.Context(), Entry{Way: Command, Who: "a", What: "three", Outcome: Done}))
		all, bad = read(t, j, Query{})
		got, want := fmt.Sprint(whats(all), bad), "[one three] [2]"
		switch n {
		case len(whole): // nothing of it was left
			want = "[one three] []"
		case len(both) - 1: // all but its end was left
			want = "[one two three] []"
		}
		if got != want {
			t.Fatalf("cut off at %d, and more noted: %s, want %s", n, got, want)
		}
	}
}

// TestForeignText: whatever somebody asked for stays in its field, on its line, within its bound, and prints.
func TestForeignText(t *testing.T) {
	t.Parallel()
	j := newJournal(t, t.TempDir())
	texts := []string{"\n", "\x00\x1b[2J", `","what":"user delete`, "\u202e\u2028\u2029\u0085\u009b", "\xff\xfe\xff", "na\u200cme", "é 票", "\U000e0001\U0001f600"}
	for _, text := range texts {
		texts = append(texts, strings.Repeat(text, 5000))
	}
	for _, text := range texts {
		must(t, j.Note(t.Context(), Entry{Way: Way(text), Who: text, From: text, What: "x" + text, On: text, Detail: text}, errors.New(text)))
	}
	raw, err := os.ReadFile(j.path())
	must(t, err)
	if n := bytes.Count(raw, []byte("\n")); n != len(texts) {
		t.Fatalf("%d lines of %d entries", n, len(texts))
	}
	for line := range bytes.Lines(raw) {
		if len(line) > MaxLine || !utf8.Valid(line) {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
		for _, r := range strings.TrimSuffix(string(line), "\n") {
			if !unicode.IsPrint(r) {
				t.Errorf("%U in %q", r, line)
			}
		}
	}
	all, bad := read(t, j, Query{})
	if len(bad) != 0 || len(all) != len(texts) {
		t.Fatalf("%d entries, bad %v", len(all), bad)
	}
	for i, text := range texts[:len(texts)/2] {
		if want := strings.ToValidUTF8(text, "\ufffd"); all[i].On != want || all[i].What != "x"+want || all[i].Error != want {
			t.Errorf("%q is read as %+v", text, all[i])
		}
	}
	for i, text := range texts[len(texts)/2:] {
		got, cut := strings.CutSuffix(all[len(texts)/2+i].On, "…")
		if !cut || !strings.HasPrefix(strings.ToValidUTF8(text, "\ufffd"), got) || len(got) < 20 && utf8.ValidString(text) {
			t.Errorf("a long text %.20q is cut to %q", text, got)
		}
	}
}

// TestDamagedLines: lines that are none, or far too long, are told and passed over, in little memory.
func TestDamagedLines(t *testing.T) {
	t.Parallel()
	j := newJournal(t, t.TempDir())
	must(t, j.Append(t.Context(), Entry{Way: Command, Who: "a", What: "one", Outcome: Done}))
	good, err := os.ReadFile(j.path())
	must(t, err)
	junk := bytes.Join([][]byte{good, []byte("{}\n"), bytes.Repeat([]byte{0}, 1<<20), []byte("\nnull\n[1]\n"), good, bytes.Repeat([]byte("x"), MaxLine), []byte("\n"), good,
		[]byte(`{"time":"2026-11-28T08:00:00Z"`)}, nil)
	must(t, os.WriteFile(j.path(), junk, 0o600))
	all, bad := read(t, j, Query{})
	if got := fmt.Sprint(whats(all), bad); got != "[one one one] [2 3 4 5 7]" {
		t.Error(got)
	}
}

// TestRefused: what others can read, or is no file, is not written to, and nothing is done that cannot be noted.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path string) error{
		"others can read it": func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"a directory":        func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":             func(path string) error { return os.Symlink("elsewhere", path) },
	} {
		j := newJournal(t, t.TempDir())
		must(t, make(j.path()))
		if name == "others can read it" {
			must(t, os.Chmod(j.path(), 0o644))
		}
		did := false
		err := j.Do(t.Context(), Entry{Way: Command, Who: "a", What: "user add"}, func() error { did = true; return nil })
		var not *NotNotedError
		if !errors.As(err, &not) || not.Done || did {
			t.Errorf("%s: %v, done %v", name, err, did)
		}
	}
	// What was done and cannot be noted any more is said to have been done.
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(dir, 0o700))
	j := newJournal(t, dir)
	err := j.Do(t.Context(), Entry{Way: Command, Who: "a", What: "user add"}, func() error { return os.RemoveAll(dir) })
	var not *NotNotedError
	if !errors.As(err, &not) || !not.Done {
		t.Errorf("error %v", err)
	}
}

// TestGoneAway: what was done is noted although whoever asked for it has gone.
func TestGoneAway(t *testing.T) {
	t.Parallel()
	j := newJournal(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	must(t, j.Do(ctx, Entry{Way: Original, Who: "a", What: "one"}, func() error { cancel(); return nil }))
	if all, _ := read(t, j, Query{}); len(all) != 1 {
		t.Errorf("%v", all)
	}
}

// TestProcesses: several processes append at once, and every line is whole.
func TestProcesses(t *testing.T) {
	t.Parallel()
	const processes, each = 4, 25
	if dir := os.Getenv("JOURNAL_TEST_DIR"); dir != "" {
		j := newJournal(t, dir)
		for n := range each {
			must(t, j.Append(t.Context(), Entry{Way: Command, Who: os.Getenv("JOURNAL_TEST_WHO"), What: fmt.Sprint(n), Outcome: Done, Detail: strings.Repeat("x", 1000)}))
		}
		return
	}
	dir := t.TempDir()
	var wait sync.WaitGroup
	for p := range processes {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcesses$")
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_DIR="+dir, fmt.Sprintf("JOURNAL_TEST_WHO=%d", p))
		wait.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wait.Wait()
	all, bad := read(t, newJournal(t, dir), Query{})
	next := map[string]int{}
	for _, e := range all {
		if e.What != fmt.Sprint(next[e.Who]) {
			t.Errorf("%s noted %s, want %d", e.Who, e.What, next[e.Who])
		}
		next[e.Who]++
	}
	if len(all) != processes*each || len(bad) != 0 {
		t.Errorf("%d entries, bad %v", len(all), bad)
	}
}

// FuzzEntry: any texts make one line that is read as one entry.
func FuzzEntry(f *testing.F) {
	f.Add("anna", "user add", "bob\n")
	f.Fuzz(func(t *testing.T, who, what, detail string) {
		line, err := encode(Entry{Time: start, Who: who, What: what, On: what, Detail: detail, Error: detail, Outcome: Done})
		if err != nil || len(line) > MaxLine || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%q, %v", line, err)
		}
		var e Entry
		must(t, json.Unmarshal(line, &e))
	})
}
