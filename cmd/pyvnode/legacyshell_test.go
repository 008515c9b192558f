package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                    nil,
		" \t ":                nil,
		"ls":                  {"ls"},
		"  put a.txt\t b ":    {"put", "a.txt", "b"},
		`put "a b" 'it "is"'`: {"put", "a b", `it "is"`},
		`a"b c"d ''`:          {"ab cd", ""},
		`rget vote 投票 \ \\`:   {"rget", "vote", "投票", `\`, `\\`},
	} {
		if got, err := splitWords(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`"`, `put 'a b`, `a "b' c`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + string(filepath.Separator)
	for _, name := range []string{"vote.txt", "votes.txt", ".hidden", "投票", "投手"} {
		if err := os.WriteFile(dir+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"sub", 0o700); err != nil {
		t.Fatal(err)
	}
	e := &editor{names: []string{"help", "put", "pwd", "rsize"}}
	for line, want := range map[string]string{
		"rs":               "rsize ",
		"help pw":          "help pwd ",
		"nosuch":           "nosuch",
		"rsize v":          "rsize v",
		"put " + dir + "v": "put " + dir + "vote",
		"put " + dir + "s": "put " + dir + "sub" + string(filepath.Separator),
		"put " + dir + ".": "put " + dir + ".hidden ",
	} {
		got, pos, ok := e.complete(line, len(line), '\t')
		if !ok || got != want || pos != len(want) {
			t.Errorf("%q became %q at %d, want %q", line, got, pos, want)
		}
	}
	if got, pos, _ := e.complete("rs vote", 2, '\t'); got != "rsize  vote" || pos != 6 {
		t.Errorf("%q at %d", got, pos)
	}
	if _, _, ok := e.complete("rs", 2, 's'); ok {
		t.Error("completes at a letter")
	}
	if got := commonPrefix([]string{"投票", "投手"}); got != "投" {
		t.Errorf("%q", got)
	}
}
