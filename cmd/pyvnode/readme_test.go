//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeTour runs every command of the tour, in one shell, as a reader would.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	blocks := shells(t, "README.md", "Two-minute tour")
	if len(blocks) < 5 {
		t.Fatalf("the tour has only %d blocks", len(blocks))
	}
	first := "make build\nexport PATH=\"$PWD/bin:$PATH\""
	if !strings.HasPrefix(blocks[0], first) {
		t.Fatalf("the tour does not begin with %q", first)
	}
	blocks[0] = strings.TrimPrefix(blocks[0], "make build\n") // make test must not depend on make build
	work := t.TempDir()
	if err := os.Symlink(binary(t), filepath.Join(work, "bin")); err != nil {
		t.Fatal(err)
	}
	out, err := bash(t, work, []string{"TMPDIR=" + work}, strings.Join(blocks, ""))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Ana Núñez", "charity", "nothing found", "entries  2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the tour does not show %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "digest"); n < 3 {
		t.Fatalf("the tour shows %d digests", n)
	}
	digests := map[string]bool{}
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "digest "); ok {
			digests[strings.TrimSpace(rest)] = true
		}
	}
	if len(digests) != 1 {
		t.Errorf("the two parties hold different ledgers: %v", digests)
	}
}

// TestReadmeCommands checks that the two commands are what the Makefile and the gate know.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for section, command := range map[string]string{"Run": "make demo", "Test": "make test"} {
		blocks := shells(t, "README.md", section)
		if len(blocks) != 1 || strings.TrimSpace(blocks[0]) != command {
			t.Errorf("section %q says %q, want %q", section, blocks, command)
		}
		if !strings.Contains(string(makefile), "\n"+strings.TrimPrefix(command, "make ")+":") {
			t.Errorf("the Makefile has no target for %q", command)
		}
	}
}

// TestDemo runs the demo, and then breaks one step after the other and wants it to fail there.
func TestDemo(t *testing.T) {
	t.Parallel()
	pyvnode := filepath.Join(binary(t), "pyvnode")
	run := func(t *testing.T, breakAt string) (string, error) {
		// The link is called pyvnode, and so must argv[0] be: the demo resolves links.
		script := fmt.Sprintf("exec ../../scripts/demo %q %q", pyvnode, t.TempDir())
		patience := "60"
		if breakAt != "" {
			patience = "15" // what is broken does not come about
		}
		return bash(t, ".", []string{"DEMO_BREAK=" + breakAt, "DEMO_PATIENCE=" + patience}, script)
	}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, "")
		if err != nil || !strings.Contains(out, "All of it held: three nodes, 1026 undisputed entries") {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	for step, number := range map[string]string{
		"records": "3", "refused": "4", "import": "5", "apart": "6", "rejoin": "7", "fork": "8", "flip": "10",
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, step)
			if err == nil || !strings.Contains(out, "FAILED") {
				t.Errorf("it is broken, and the demo goes through:\n%s", out)
			}
			at := ""
			for line := range strings.Lines(out) {
				if n, rest, ok := strings.Cut(line, ". "); ok && rest != "" && strings.Trim(n, "0123456789") == "" {
					at = n
				}
			}
			if at != number {
				t.Errorf("it is broken, and the demo fails at %q instead of %q:\n%s", at, number, out)
			}
		})
	}
}
