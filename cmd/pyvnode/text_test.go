package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/node"
	"pyvnode/p2p"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":              "",
		"City election": "City election",
		"Núñez 選挙 выборы ไทย 🗳": "Núñez 選挙 выборы ไทย 🗳",
		"a\nb\r\nc\td":             `a\nb\r\nc\td`,
		"\x00\x07\x1b[2J\x7f":      `\u0000\u0007\u001b[2J\u007f`,
		"\u0085\u009b31m":          `\u0085\u009b31m`, // C1: next line, control sequence introducer
		"a\u2028b\u2029c":          `a\u2028b\u2029c`,
		"\u202egnp.\u2066x\u2069":  `\u202egnp.\u2066x\u2069`,
		"\u200e\u200f\u061c":       `\u200e\u200f\u061c`,
		"a\u200bb\u200c\u200dc":    `a\u200bb\u200c\u200dc`,
		"\ufeffa\u00adb\u2060":     `\ufeffa\u00adb\u2060`,
		"a\u00a0b\u3000c\u2003d":   `a\u00a0b\u3000c\u2003d`, // spaces that look like others, or like nothing
		"\u115f\u1160\u3164\uffa0": `\u115f\u1160\u3164\uffa0`,
		"\u2800a\ufe0f\u034f":      `\u2800a\ufe0f\u034f`,
		"\U000e0041\U000e0100":     `\udb40\udc41\udb40\udd00`,
		"\ue000\U000f0000":         `\ue000\udb80\udc00`, // for private use: every terminal shows something else
		"\xff\xc3\xa9\xc3":         `\xffé\xc3`,
		"\xed\xa0\x80":             `\xed\xa0\x80`,
		"\u0301a":                  `\u0301a`, // it would stand on what is not of this text
		" \u0301":                  ` \u0301`,
		"\n\u0301":                 `\n\u0301`,
		"e\u0301":                  "e\u0301",
	} {
		got := printable(text)
		if got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
		if again := printable(got); again != got {
			t.Errorf("%q is printed as %q the second time", got, again)
		}
	}
	pile := printable("a" + strings.Repeat("\u0300", 100))
	if n := strings.Count(pile, "\u0300"); n != maxMarks {
		t.Errorf("%d marks stand on one letter, want %d", n, maxMarks)
	}
}

// FuzzPrintable checks that nothing gets through, and that JSON stays the same JSON.
func FuzzPrintable(f *testing.F) {
	f.Add("a\nb\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := printable(text)
		for _, r := range got {
			if !unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) || hidden(r) {
				t.Fatalf("%q is printed as %q, with %U in it", text, got, r)
			}
		}
		if !utf8.ValidString(got) {
			t.Fatalf("%q is printed as %q", text, got)
		}
		for _, line := range wrap(got, 20) {
			if columnsOf(line) > 20 && strings.Contains(line, " ") {
				t.Fatalf("%q has a line of %d columns: %q", got, columnsOf(line), line)
			}
		}
		if joined := strings.Join(wrap(got, 20), " "); strings.ReplaceAll(joined, " ", "") != strings.ReplaceAll(got, " ", "") {
			t.Fatalf("%q is wrapped to %q", got, joined)
		}
		if !utf8.ValidString(text) {
			return
		}
		var b bytes.Buffer
		if err := printJSON(&b, text); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back != text {
			t.Fatalf("%q is printed as the JSON %s, which says %q, %v", text, b.Bytes(), back, err)
		}
	})
}

func TestColumnsOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "abc": 3, "é": 1, "e\u0301": 1, "選挙": 4, "ｱ": 1, "Ａ": 2, "🗳a": 2, "😀": 2} {
		if got := columnsOf(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 64)
	for _, c := range []struct {
		cells []string
		want  string
	}{
		{[]string{"a", "b", "c"}, "a         b         c\n"},
		{[]string{"選挙選挙選挙選挙", "b", "c"}, "選挙選挙選挙選挙\n          b         c\n"},
		{[]string{"選挙選挙", "b", "c"}, "選挙選挙  b         c\n"},
		{[]string{"e\u0301", "b", "c"}, "e\u0301         b         c\n"},
		{[]string{"a", long, "c"}, "a         " + long + "\n                    c\n"},
		{[]string{"a\nb", "\x1b", ""}, `a\nb      \u001b` + "\n"},
		{[]string{"a", "b", "some words " + long}, "a         b         some words\n    " + long + "\n"},
	} {
		var b strings.Builder
		if err := columns(&b, []int{8, 8, 0}, c.cells...); err != nil || b.String() != c.want {
			t.Errorf("%q are printed as %q, %v; want %q", c.cells, b.String(), err, c.want)
		}
	}
}

// checkScreen refuses lines that are too long and could be broken, and all that a terminal would obey.
func checkScreen(output string) error {
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		if n := columnsOf(line); n > screen && strings.Contains(strings.TrimSpace(line), " ") {
			return fmt.Errorf("a line of %d columns: %q", n, line)
		}
		if printable(line) != line {
			return fmt.Errorf("a terminal does not show this line as it is: %q", line)
		}
	}
	return nil
}

// TestScreen prints tables with the longest values there can be, all of them of others' choice where they can be.
func TestScreen(t *testing.T) {
	t.Parallel()
	const evil = "Wahl\n2026 \x1b[2J\u202e選挙選挙選挙選挙 \u2028 e\u0301e\u0301 \xff a name of many words that goes on and on until it is longer than a line"
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	id, err := peer.Decode("12D3KooWApzkKwnNMN7XnLzwjzJW252bAmV5EyPmt7N1CzjZQLwF")
	if err != nil {
		t.Fatal(err)
	}
	addr := "/dns4/" + strings.Repeat("a", 60) + "/tcp/65535/p2p/" + id.String()
	a := &app{cfg: textConfig(t)}
	var b bytes.Buffer
	peers := []p2p.PeerStatus{
		{ID: id, Addr: addr, Direction: "outbound", Since: now.Add(-100000 * time.Hour), Protected: true, Agent: evil, Latency: time.Hour,
			Digest: new(ledger.Hash), Entries: math.MaxUint64, LastError: evil},
		{ID: id, Protected: true, LastError: evil},
	}
	links := []p2p.LinkStatus{{ID: id, Sent: math.MaxUint64, Pending: math.MaxUint64, NextTry: now, LastError: evil}}
	status := &node.NodeStatus{
		Status: p2p.Status{
			ID: id, Listen: []string{addr, addr}, Peers: math.MaxInt, Agreeing: math.MaxInt - 1, Entries: math.MaxUint64, Logs: math.MaxInt,
			Frozen: math.MaxInt, Parked: math.MaxInt, ParkedBytes: math.MaxInt, Syncing: &p2p.Progress{Peer: id, Done: math.MaxUint64, Total: math.MaxUint64},
			Unverified: math.MaxUint64, Signing: p2p.SigningWaiting, SigningWhy: "waiting for " + evil,
		},
		Name: evil, Version: evil, Data: "/" + strings.Repeat("d", 100), API: "/" + strings.Repeat("d", 100) + "/api.sock", Legacy: "127.0.0.1:6666",
		Metrics: "http://127.0.0.1:9471/metrics", Process: math.MaxInt32, Recovery: &store.Recovery{Unclean: true, Checked: math.MaxInt},
	}
	if err := a.printPeers(&b, peers, now); err != nil {
		t.Fatal(err)
	}
	if err := a.printLinks(&b, links); err != nil {
		t.Fatal(err)
	}
	if err := pairs(&b, statusRows(status, now)...); err != nil {
		t.Fatal(err)
	}
	if err := printFrontier(&b, ledger.Frontier{{Citation: ledger.Citation{Seq: math.MaxUint64, Height: math.MaxUint64}}}); err != nil {
		t.Fatal(err)
	}
	if err := checkScreen(b.String()); err != nil {
		t.Errorf("%v; in\n%s", err, b.String())
	}
	if !strings.Contains(b.String(), " waiting for Wahl") || strings.Contains(b.String(), "waiting: waiting") {
		t.Errorf("a word twice:\n%s", b.String())
	}

	b.Reset()
	a.stdout, a.stderr = &b, &b
	a.talk("There is %s.", evil)
	a.fail(fmt.Errorf("peer says: %s", evil), false)
	slog.New(slog.NewTextHandler(printableWriter{&b}, nil)).Warn(evil, "name", "\u3164"+evil, evil, "a\u0301")
	if n := strings.Count(b.String(), "\n"); n != 3 {
		t.Errorf("three lines are %d lines:\n%s", n, b.String())
	}
	if got := b.String(); printableLines(got) != got {
		t.Errorf("a terminal does not show this as it is: %q", got)
	}
}

// textConfig returns the default configuration.
func textConfig(t *testing.T) *node.Config {
	t.Helper()
	cfg, err := node.LoadConfig(node.Sources{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestHelpScreen checks the help of every command.
func TestHelpScreen(t *testing.T) {
	t.Parallel()
	root := newRootCmd(&app{})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		var b strings.Builder
		cmd.SetOut(&b)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "Usage:\n  pyvnode") {
			t.Errorf("%s: no usage in its help", cmd.CommandPath())
		}
		if err := checkScreen(strings.ReplaceAll(b.String(), "\t", "    ")); err != nil {
			t.Errorf("%s: %v", cmd.CommandPath(), err)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}
