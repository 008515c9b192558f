package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/term"

	"pyvnode/ledger/record"
	"pyvnode/legacy/client"
)

// maxLine is the greatest length of a line of commands from a file, in bytes.
const maxLine = 64 << 10

// idleSeconds is how long a server should wait for a person.
const idleSeconds = "3600"

// shell runs commands, line by line. On a terminal an error is shown, and the next line comes; elsewhere it ends the shell.
func (c *legacyClient) shell(ctx context.Context) error {
	if _, err := c.conn.Do(ctx, "tout", idleSeconds); err != nil && !errors.As(err, new(*client.RefusedError)) {
		return err
	}
	next, person := c.readLine, isTerminal(c.app.stdin)
	if person {
		names, err := c.commandNames(ctx)
		if err != nil {
			return err
		}
		c.talk("Connected. \"help\" lists the commands; quit or Ctrl-D ends.")
		c.editor = c.newEditor(ctx, names)
		next = c.editor.readLine
	}
	for !c.ended {
		line, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		words, err := splitWords(line)
		if err == nil && len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			err = explainServer(c.do(ctx, words))
		}
		if err == nil {
			continue
		}
		lost := explain(err).Code == exitUnreachable || ctx.Err() != nil
		if !person || lost {
			return err
		}
		c.fail(err, c.json())
	}
	return nil
}

// commandNames returns what the server and this program have for commands.
func (c *legacyClient) commandNames(ctx context.Context) ([]string, error) {
	names := slices.Collect(maps.Keys(local))
	reply, err := c.conn.Do(ctx, "help")
	if err != nil {
		return nil, err
	}
	for _, item := range client.Items(reply)[1:] {
		if name, ok := item.(record.Text); ok && !slices.Contains([]string{"fput", "fget", "file", "data", "fields"}, string(name)) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readLine reads a line from where there is no person. At the end of the input it returns io.EOF.
func (c *legacyClient) readLine() (string, error) {
	var line []byte
	for {
		part, err := c.stdin.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return "", usageError("a line on standard input is too long", "")
		case err == nil, err == io.EOF && len(line) > 0:
			return strings.TrimRight(string(line), "\r\n"), nil
		case err != bufio.ErrBufferFull:
			return "", err
		}
	}
}

// splitWords splits a line at white space. Quotes, ' or ", keep words together.
func splitWords(line string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		in    bool
		quote rune
	)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case quote == 0 && unicode.IsSpace(r):
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		return nil, usageError("a quote is not closed", "")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// editor reads lines from a person's terminal, with history and completion. What it shows goes to standard error, so that
// results can go elsewhere.
type editor struct {
	ctx   context.Context
	term  *term.Terminal
	fd    int
	names []string // of commands
}

func (c *legacyClient) newEditor(ctx context.Context, names []string) *editor {
	in := c.app.stdin.(*os.File)
	e := &editor{ctx: ctx, fd: int(in.Fd()), names: names}
	e.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, c.stderr}, "> ")
	e.term.AutoCompleteCallback = e.complete
	return e
}

// readLine returns io.EOF at Ctrl-D or Ctrl-C.
func (e *editor) readLine() (string, error) { return e.read(e.term.ReadLine) }

// readSecret reads a line that is not shown and does not become history.
func (e *editor) readSecret(prompt string) (string, error) {
	return e.read(func() (string, error) { return e.term.ReadPassword(prompt) })
}

// read calls a function that reads from the terminal, which is in the editor's mode only meanwhile.
func (e *editor) read(from func() (string, error)) (string, error) {
	if width, height, err := term.GetSize(e.fd); err == nil && width > 0 {
		_ = e.term.SetSize(width, height) // for the look of it
	}
	before, err := term.MakeRaw(e.fd)
	if err != nil {
		return "", err
	}
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // reading cannot be interrupted; the process ends without it
		line, err := from()
		answers <- answer{line, err}
	}()
	select {
	case got := <-answers:
		return got.line, errors.Join(got.err, term.Restore(e.fd, before))
	case <-e.ctx.Done():
		return "", errors.Join(e.ctx.Err(), term.Restore(e.fd, before))
	}
}

// complete is called for every key. Tab completes the name of a command, and the name of a file here behind put.
func (e *editor) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	before := line[:pos]
	at := strings.LastIndex(before, " ") + 1
	found := e.candidates(before[:at], before[at:])
	if len(found) == 0 {
		return line, pos, true
	}
	completed := commonPrefix(found)
	switch {
	case len(found) == 1 && !strings.HasSuffix(completed, string(filepath.Separator)):
		completed += " "
	case len(found) > 1 && completed == before[at:]:
		_, _ = e.term.Write([]byte(strings.Join(found, "  ") + "\n"))
	}
	return before[:at] + completed + line[pos:], at + len(completed), true
}

// candidates returns what a word may become, behind the words before it.
func (e *editor) candidates(before, word string) (found []string) {
	switch strings.TrimSpace(before) {
	case "", "help":
		for _, name := range e.names {
			if strings.HasPrefix(name, word) {
				found = append(found, name)
			}
		}
	case "put":
		dir, start := filepath.Split(word)
		entries, err := os.ReadDir(filepath.Clean("./" + dir))
		if filepath.IsAbs(dir) {
			entries, err = os.ReadDir(dir)
		}
		if err != nil {
			return nil
		}
		for _, entry := range entries {
			name := entry.Name()
			if !strings.HasPrefix(name, start) || start == "" && strings.HasPrefix(name, ".") || strings.ContainsFunc(name, unicode.IsSpace) {
				continue
			}
			if entry.IsDir() {
				name += string(filepath.Separator)
			}
			found = append(found, dir+name)
		}
	}
	return found
}

// commonPrefix returns the longest text that all begin with.
func commonPrefix(words []string) string {
	prefix := words[0]
	for _, word := range words[1:] {
		for !strings.HasPrefix(word, prefix) {
			runes := []rune(prefix)
			prefix = string(runes[:len(runes)-1])
		}
	}
	return prefix
}
