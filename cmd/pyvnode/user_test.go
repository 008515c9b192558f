package main

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"pyvnode/node/accounts"
)

// logsIn NAME PASSWORD [ADDRESS] checks that a user of the node in home/.pyvnode can log in, or with ! that he cannot.
func logsIn(ts *testscript.TestScript, not bool, args []string) {
	users, err := accounts.Open(filepath.Join(ts.Getenv("HOME"), ".pyvnode"), accounts.Options{})
	ts.Check(err)
	defer func() { ts.Check(users.Close()) }()
	from := netip.MustParseAddr("127.0.0.1")
	if len(args) > 2 {
		from = netip.MustParseAddr(args[2])
	}
	if _, err := users.Authenticate(context.Background(), args[0], args[1], from); (err != nil) != not {
		ts.Fatalf("log in %q: %v", args[0], err)
	}
}

// TestQRText reads the modules back from the text.
func TestQRText(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 21} {
		modules := make([][]bool, size)
		for y := range modules {
			modules[y] = make([]bool, size)
			for x := range modules[y] {
				modules[y][x] = (3*y+5*x)%7 < 3
			}
		}
		lines := strings.Split(strings.TrimSuffix(qrText(modules), "\n"), "\n")
		if len(lines) != (size+8+1)/2 {
			t.Fatalf("%d lines for %d modules", len(lines), size)
		}
		for i, line := range lines {
			text, ok := strings.CutPrefix(line, "\x1b[30;107m")
			text, ok2 := strings.CutSuffix(text, "\x1b[0m")
			if !ok || !ok2 || utf8.RuneCountInString(text) != size+8 {
				t.Fatalf("line %d: %q", i, line)
			}
			for j, r := range []rune(text) {
				for k, dark := range map[int]bool{0: r == '█' || r == '▀', 1: r == '█' || r == '▄'} {
					x, y := j-4, 2*i+k-4
					want := x >= 0 && y >= 0 && x < size && y < size && modules[y][x]
					if dark != want {
						t.Fatalf("module %d, %d of %d is wrong", x, y, size)
					}
				}
			}
		}
	}
}
