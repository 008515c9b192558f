//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
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

// TestReadmeLayout checks that the layout lists every directory that holds a package, and nothing else. Packages for
// tests, whose names end in "test", may be left out, and so may what is in scripts.
func TestReadmeLayout(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	var above []string // the directories that a line of the layout is in
	for line := range strings.Lines(string(raw)) {
		text, indented := strings.CutPrefix(line, "    ")
		name, _, _ := strings.Cut(strings.TrimLeft(text, " "), " ")
		if !indented || !strings.HasSuffix(name, "/") {
			continue
		}
		depth := (len(text) - len(strings.TrimLeft(text, " "))) / 2
		if depth > len(above) {
			t.Fatalf("%q stands too far to the right", line)
		}
		above = append(above[:depth], name)
		dir := path.Join(above...)
		listed[dir] = true
		if info, err := os.Stat(filepath.Join("../..", dir)); err != nil || !info.IsDir() {
			t.Errorf("the layout lists %s, which is no directory", dir)
		}
	}
	err = fs.WalkDir(os.DirFS("../.."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir := path.Dir(file)
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "scripts" || d.Name() == ".git") {
			return fs.SkipDir
		}
		source := strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go")
		if source && !strings.HasSuffix(dir, "test") && !listed[dir] {
			t.Errorf("the layout lacks %s", dir)
			listed[dir] = true // once is enough
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLinks checks that what the documents link to inside the repository is there, headings included.
func TestLinks(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]*)#?([^)\s]*)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := 0
	for _, document := range append(documents, "../../README.md", "../../CONTRIBUTING.md") {
		for _, match := range link.FindAllStringSubmatch(read(document), -1) {
			target, anchor := match[1], match[2]
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			found++
			file := document
			if target != "" {
				file = filepath.Join(filepath.Dir(document), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", document, target)
				continue
			}
			if anchor == "" {
				continue
			}
			there := false
			for _, h := range heading.FindAllStringSubmatch(read(file), -1) {
				slug := dropped.ReplaceAllString(strings.ToLower(h[1]), "")
				there = there || strings.ReplaceAll(slug, " ", "-") == anchor
			}
			if !there {
				t.Errorf("%s links to %s#%s, which is no heading there", document, target, anchor)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d links were found", found)
	}
}

// TestDecisions checks that each decision ends with a file or directory, and that this is there.
func TestDecisions(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/decisions.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions := strings.Split(string(raw), "\n* **")[1:]
	if len(decisions) == 0 {
		t.Fatal("docs/decisions.md has no decisions")
	}
	for _, decision := range decisions {
		decision, _, _ = strings.Cut(decision, "\n\n") // the next heading
		title, _, _ := strings.Cut(decision, "**")
		decision = strings.TrimSuffix(decision, "\n")
		last := decision[strings.LastIndex(decision, "\n")+1:]
		name := strings.Trim(last, " `")
		if _, err := os.Stat(filepath.Join("../..", name)); err != nil || name == "" {
			t.Errorf("the decision %q ends with %q, which is no file", title, last)
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
		shown := 0
		for _, b := range blocks(t, "README.md", "Run") {
			if b.language != "text" {
				continue
			}
			for line := range strings.Lines(b.text) {
				shown++
				want, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "…") // what differs from run to run
				if !strings.Contains(out, "\n"+want) {
					t.Errorf("README.md shows %q, which the demo does not print:\n%s", want, out)
				}
			}
		}
		if shown == 0 {
			t.Error("README.md shows nothing of the demo")
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
