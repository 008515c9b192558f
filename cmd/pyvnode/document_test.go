//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a piece of a document between two fences.
type block struct {
	language string // behind the first fence
	text     string
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// blocks returns the pieces between fences of a document, or of one of its sections.
func blocks(t *testing.T, document, section string) (all []block) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../..", document))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if section != "" {
		var found bool
		if _, text, found = strings.Cut(text, "\n## "+section+"\n"); !found {
			t.Fatalf("%s has no section %q", document, section)
		}
		text, _, _ = strings.Cut(text, "\n## ")
	}
	for _, match := range fenced.FindAllStringSubmatch(text, -1) {
		all = append(all, block{match[1], match[2]})
	}
	return all
}

// shells returns the shell blocks of a section of a document.
func shells(t *testing.T, document, section string) (texts []string) {
	t.Helper()
	for _, b := range blocks(t, document, section) {
		if b.language == "sh" {
			texts = append(texts, b.text)
		}
	}
	return texts
}

// binary puts this test program under the name pyvnode into a directory; see TestMain.
func binary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "pyvnode")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bash runs a script, and ends all that it leaves running.
func bash(t *testing.T, dir string, env []string, script string) (string, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output")) // a pipe would wait for what is left running
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), append([]string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end
	failed := cmd.Run()
	_ = end() // fails when nothing is left
	said, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(said), failed
}

// lacks says which line of those that a document promises is not in an output, in their order; "" when none. In a line … is
// any text, and a line of … only is any number of lines.
func lacks(output, promised string) string {
	lines := strings.Split(output, "\n")
	for line := range strings.Lines(promised) {
		line = strings.TrimSpace(line)
		if line == "" || line == "…" {
			continue
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "$")
		for {
			if len(lines) == 0 {
				return line
			}
			said := strings.TrimSpace(lines[0])
			lines = lines[1:]
			if pattern.MatchString(said) {
				break
			}
		}
	}
	return ""
}

func TestLacks(t *testing.T) {
	t.Parallel()
	const output = "one\ntwo 2\nthree\n"
	for promised, want := range map[string]string{
		"": "", "one\nthree\n": "", "one\n…\nthree\n": "", "two …\n": "", "…2\n": "",
		"three\none\n": "one", "one\none\n": "one", "two\n": "two", "wo 2\n": "wo 2", "four\n": "four", "two . \n": "two .",
	} {
		if got := lacks(output, promised); got != want {
			t.Errorf("%q: %q is missing, want %q", promised, got, want)
		}
	}
}

// walk runs the shell blocks of a document one after the other in one shell, and checks that each says what the block of
// text behind it promises. In the document's text some words are replaced.
func walk(t *testing.T, document string, env []string, replace *strings.Replacer) {
	t.Helper()
	var script strings.Builder
	script.WriteString("unset \"${!PYVNODE_@}\"\n") // settings of whoever runs the test
	type step struct{ commands, promised string }
	var steps []step
	for _, b := range blocks(t, document, "") {
		text := replace.Replace(b.text)
		switch {
		case b.language == "sh":
			fmt.Fprintf(&script, "echo '=== block %d'\n%s", len(steps), text)
			steps = append(steps, step{commands: text})
		case b.language == "text" && len(steps) > 0 && steps[len(steps)-1].promised == "":
			steps[len(steps)-1].promised = text
		default:
			t.Fatalf("a block of %q that is neither commands nor what they say:\n%s", b.language, text)
		}
	}
	work := t.TempDir()
	out, err := bash(t, work, append(env, "TMPDIR="+work), script.String())
	_, rest, _ := strings.Cut(out, "=== block 0\n")
	for i, s := range steps {
		var said string
		said, rest, _ = strings.Cut(rest, fmt.Sprintf("=== block %d\n", i+1))
		switch missing := lacks(said, s.promised); {
		case s.promised == "" && i > 0:
			t.Errorf("nothing is promised of\n%s", s.commands)
		case missing != "":
			t.Errorf("%q is missing in what these commands say:\n%s\n--- they say:\n%s", missing, s.commands, said)
		}
		if rest == "" {
			break
		}
	}
	if err != nil {
		t.Errorf("%v; all that was said:\n%s", err, out)
	}
}
