package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy/client"
	"pyvnode/legacy/wire"
	"pyvnode/node"
)

// clientOptions are how legacy client connects and logs in.
type clientOptions struct {
	serverLogin
	plain   bool
	timeout time.Duration
}

func newLegacyClientCmd(a *app) *cobra.Command {
	var o clientOptions
	cmd := &cobra.Command{
		Use:   "client HOST:PORT [COMMAND ARG…]",
		Short: "Talk to an original server, or to a node as its clients do",
		Long: `Connects to a server of the original protocol, starts a session, logs in if --user is given, and sends one command;
without a command it asks for one after the other, with history and completion, until quit or Ctrl-D. From a file or pipe
it takes one command per line, and the first that fails ends it.

"help" lists the server's commands, "help COMMAND" explains one. These are done here:

  put FILE [AS]      upload a file
  get NAME [TO]      download a file; TO must not exist yet, - is standard output
  rput KIND FILE     put records, one per line, as mint and export print them; - is standard input
  rget KIND HEADER…  print records as put and import read them; rabs KIND POSITION… likewise
  qr FILE            save the image of the second factor's secret

Passwords and codes are never arguments: leave them out, and they are asked for, or read from standard input, one per
line. They are sent in sessions only. A session's encryption is weak; use it on this machine or through a tunnel.`,
		Example: `  pyvnode legacy client localhost:6666
  pyvnode legacy client localhost:6666 --user anna --password-file anna.txt ls
  pyvnode legacy client localhost:6666 --user anna rput vote votes.ndjson
  pyvnode legacy client localhost:6666 --user anna -- rabs vote -1`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.plain && o.user != "":
				return usageError("--plain does not go with --user: a password is not sent in clear text", "leave out --plain")
			case o.user == "" && (o.password != "" || o.code != ""):
				return usageError("--password-file and --code-file need --user", helpHint(cmd))
			case o.password == "-" && (o.code == "-" || len(args) == 1):
				return usageError("standard input holds one thing only", "put the password into a file")
			case o.timeout < time.Second:
				return usageError("--timeout is less than a second", "")
			}
			return explainServer(a.legacyClient(cmd.Context(), o, args[0], args[1:]))
		},
	}
	flags := cmd.Flags()
	o.addFlags(flags, "")
	flags.BoolVar(&o.plain, "plain", false, "no session: everything in clear text, for debugging; without login")
	flags.DurationVar(&o.timeout, "timeout", client.DefaultTimeout, "how long to wait for the server each time")
	return cmd
}

// legacyClient is a connection and how it shows what comes.
type legacyClient struct {
	*app
	conn   *client.Conn
	stdin  *bufio.Reader // of who is no person
	editor *editor       // of a person; nil when there is no shell
	ended  bool          // by quit
}

func (a *app) legacyClient(ctx context.Context, o clientOptions, addr string, command []string) error {
	conn, err := client.Dial(ctx, addr, client.Options{Timeout: o.timeout})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was asked is answered by now
	c := &legacyClient{app: a, conn: conn, stdin: bufio.NewReader(a.stdin)}
	if !o.plain {
		if err := conn.StartSession(ctx); err != nil {
			return err
		}
	}
	if o.user != "" {
		if err := a.logIn(ctx, conn, c.stdin, o.serverLogin, true); err != nil {
			return err
		}
	}
	if len(command) > 0 {
		return c.do(ctx, command)
	}
	return c.shell(ctx)
}

// secrets says which commands end in secret arguments, and how many others come before.
var secrets = map[string]struct {
	others int
	names  []string
}{
	"pass":   {0, []string{"password"}},
	"twofa":  {0, []string{"code"}},
	"uini":   {1, []string{"password"}},
	"uadd":   {1, []string{"password"}},
	"aadd":   {1, []string{"password"}},
	"chpass": {1, []string{"old password", "new password"}},
}

// local are the commands that are done here, with their usage.
var local = map[string]string{
	"put":  "put FILE [AS] -- upload a file",
	"get":  "get NAME [TO] -- download a file; TO must not exist yet, - is standard output",
	"rput": "rput KIND FILE -- put records, one per line, as mint and export print them; - is standard input",
	"rget": "rget KIND HEADER… -- print records",
	"rabs": "rabs KIND POSITION… -- print records by their positions, from 0; -1 is the last",
	"qr":   "qr FILE -- save the image of the second factor's secret",
	"sess": "sess -- start a new session",
}

// do runs one command.
func (c *legacyClient) do(ctx context.Context, command []string) error {
	name, args := command[0], command[1:]
	usage := func(least, most int) error {
		if len(args) < least || len(args) > most {
			return usageError("usage: "+local[name], "")
		}
		return nil
	}
	switch name {
	case "fput":
		name = "put"
	case "fget":
		name = "get"
	case "file", "data":
		return usageError(name+" is for programs", "upload with: put FILE [AS]")
	}
	if needed, ok := secrets[name]; ok {
		return c.doSecret(ctx, name, args, needed.others, needed.names)
	}
	switch name {
	case "put":
		return ifNone(usage(1, 2), func() error { return c.put(ctx, args[0], last(args)) })
	case "get":
		return ifNone(usage(1, 2), func() error { return c.get(ctx, args[0], last(args)) })
	case "rput":
		return ifNone(usage(2, 2), func() error { return c.rput(ctx, args[0], args[1]) })
	case "rget", "rabs":
		return ifNone(usage(2, 1<<10), func() error { return c.records(ctx, name, args) })
	case "qr":
		return ifNone(usage(1, 1), func() error { return c.qr(ctx, args[0]) })
	case "sess":
		if err := c.conn.StartSession(ctx); err != nil {
			return err
		}
		return c.say(name, "started a new session")
	case "help":
		if len(args) == 1 && local[args[0]] != "" {
			return c.say(name, local[args[0]])
		}
	case "tout":
		if len(args) == 0 {
			break
		}
		if _, err := strconv.Atoi(args[0]); err != nil {
			return usageError(fmt.Sprintf("%q is no number of seconds", args[0]), "")
		}
	}
	sent := []any{name}
	for i, arg := range args {
		var value any = arg
		if (name == "rlist" || name == "rcount") && i > 0 {
			moment, err := unixTime(arg, i == 2)
			if err != nil {
				return err
			}
			value = moment
		}
		sent = append(sent, value)
	}
	reply, err := c.conn.Do(ctx, sent...)
	if err != nil {
		return err
	}
	c.ended = name == "quit" || name == "exit"
	return c.show(name, reply)
}

func ifNone(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

func last(args []string) string { return args[len(args)-1] }

// unixTime reads a number of seconds since 1970, or a time as "pyvnode list" takes it.
func unixTime(text string, end bool) (float64, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return seconds, nil
	}
	t, err := node.ParseMoment(text, end)
	if err != nil {
		return 0, usageError(fmt.Sprintf("%q is no time: %v", text, err), "give seconds since 1970, or a time such as 2026-11-22 or 2026-11-22T08:00:00Z")
	}
	return float64(t.UnixMilli()) / 1000, nil
}

// doSecret runs a command with secret arguments, which it asks for.
func (c *legacyClient) doSecret(ctx context.Context, name string, args []string, others int, secrets []string) error {
	if !c.conn.Encrypted() {
		return usageError(name+" is not sent in clear text", "leave out --plain")
	}
	if len(args) != others {
		return usageError(fmt.Sprintf("%s takes %s, and then asks for the %s, which is never an argument", name, plural(others, "argument", "arguments"), strings.Join(secrets, " and the ")), "")
	}
	sent := []any{name}
	for _, arg := range args {
		sent = append(sent, arg)
	}
	for _, what := range secrets {
		secret, err := c.askOrRead(ctx, what)
		if err != nil {
			return err
		}
		sent = append(sent, client.Secret(secret))
	}
	reply, err := c.conn.Do(ctx, sent...)
	if err != nil {
		return err
	}
	return c.show(name, reply)
}

// askOrRead asks for a secret on the terminal, or takes the next line.
func (c *legacyClient) askOrRead(ctx context.Context, what string) (string, error) {
	switch {
	case c.editor != nil:
		return c.editor.readSecret(what + ": ")
	case isTerminal(c.app.stdin):
		return c.ask(ctx, what+": ")
	}
	line, err := c.readLine()
	if err == io.EOF {
		return "", usageError("no "+what+" on standard input", "give it there, as a line by itself")
	}
	return line, err
}

// say prints a sentence as the answer to a command.
func (c *legacyClient) say(name, text string) error {
	return c.show(name, record.List{record.Text("OK"), record.Text(text)})
}

// show prints a reply that is OK: its items on one line, those of lists on a line each.
func (c *legacyClient) show(name string, reply record.Value) error {
	if c.json() {
		raw, err := record.AppendJSON(nil, reply)
		if err != nil {
			return err
		}
		return printJSON(c.stdout, struct {
			Command string          `json:"command"`
			Reply   json.RawMessage `json:"reply"`
		}{name, raw})
	}
	items := client.Items(reply)[1:]
	if name == "stat" && len(items) == len(statNames) {
		return c.showStat(items)
	}
	separate := slices.Contains([]string{"ls", "dir", "lsd", "ulist"}, name) || name == "help" && len(items) > 1
	var b strings.Builder
	for i, item := range items {
		inner := client.Items(item)
		switch {
		case inner != nil:
			for _, item := range inner {
				b.WriteString(printable(record.PythonStr(item)) + "\n")
			}
		case separate || i == len(items)-1:
			b.WriteString(printable(record.PythonStr(item)) + "\n")
		default:
			b.WriteString(printable(record.PythonStr(item)) + " ")
		}
	}
	_, err := io.WriteString(c.stdout, b.String())
	return err
}

// statNames are what stat replies with (docs/original-protocol.md §7).
var statNames = []string{"name", "mode", "inode", "device", "links", "user", "group", "size", "accessed", "modified", "changed"}

func (c *legacyClient) showStat(items []record.Value) error {
	var rows [][2]string
	for i, name := range statNames {
		text := record.PythonStr(items[i])
		number, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || i == 0:
		case name == "mode":
			text = fmt.Sprintf("%o", number)
		case i >= 8:
			text = utc(time.Unix(number, 0))
		}
		rows = append(rows, [2]string{name, printable(text)})
	}
	return pairs(c.stdout, rows...)
}

// counted counts the bytes that go through it.
type counted struct {
	io.Reader
	io.Writer
	n uint64
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += uint64(n)
	c.p.set(c.n)
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += uint64(n)
	c.p.set(c.n)
	return n, err
}

// put uploads a file; without a name of its own there, as is the file named the same.
func (c *legacyClient) put(ctx context.Context, file, as string) error {
	if as == file {
		as = filepath.Base(file)
	}
	return withFile(file, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return usageError(file+" is no file", "only files can be uploaded")
		}
		p := c.progress("uploading "+printable(as), "bytes", uint64(info.Size()))
		defer p.stop()
		in := &counted{Reader: f, p: p}
		if err := c.conn.Upload(ctx, as, in); err != nil {
			return err
		}
		p.stop()
		return c.moved("put", "uploaded", as, in.n)
	})
}

// get downloads a file. It appears under its name when it is complete.
func (c *legacyClient) get(ctx context.Context, name, to string) error {
	if to == name {
		to = filepath.Base(filepath.FromSlash(name))
	}
	p := c.progress("downloading "+printable(name), "bytes", 0)
	defer p.stop()
	if to == "-" {
		_, err := c.conn.Download(ctx, name, c.stdout)
		return err
	}
	if err := free(to); err != nil {
		return err
	}
	f, err := node.CreateAtomic(to)
	if err != nil {
		return err
	}
	defer func() { _ = f.Abort() }()
	out := &counted{Writer: f, p: p}
	if _, err := c.conn.Download(ctx, name, out); err != nil {
		return err
	}
	p.stop()
	if err := f.Commit(); err != nil {
		return err
	}
	return c.moved("get", "downloaded", to, out.n)
}

// free makes an error of a file that exists.
func free(file string) error {
	if _, err := os.Lstat(file); err == nil {
		return &failure{Code: exitFailure, Reason: "file-exists", Message: file + " exists", Hint: "it is not overwritten; name another one behind the file's name"}
	}
	return nil
}

func (c *legacyClient) moved(command, done, file string, size uint64) error {
	if c.json() {
		return printJSON(c.stdout, struct {
			Command string `json:"command"`
			File    string `json:"file"`
			Bytes   uint64 `json:"bytes"`
		}{command, file, size})
	}
	_, err := fmt.Fprintf(c.stdout, "%s %s, %s\n", done, printable(file), plural(size, "byte", "bytes"))
	return err
}

// rput puts the records in a file, one per line. The first that the server does not take ends it, but for those that it
// has already.
func (c *legacyClient) rput(ctx context.Context, kind, file string) error {
	if err := ledger.CheckKind(kind); err != nil {
		return usageError(err.Error(), "")
	}
	put := func(in io.Reader) error {
		for input, err := range node.Lines(in, kind) {
			if err != nil {
				return err
			}
			_, r, err := input.Record()
			if err != nil {
				return fmt.Errorf("line %d: %w", input.Line, err)
			}
			if err := c.rputOne(ctx, kind, r); err != nil {
				return err
			}
		}
		return nil
	}
	if file == "-" {
		return put(c.stdin)
	}
	return withFile(file, func(f *os.File) error { return put(f) })
}

func (c *legacyClient) rputOne(ctx context.Context, kind string, r *record.Record) error {
	header, err := r.Header()
	if err != nil {
		return err
	}
	if _, ok := r.Get(record.KeyReplicated); !ok {
		r.Set(record.KeyReplicated, record.NewInt(0)) // the original counts from there
	}
	status := node.Stored
	_, err = c.conn.Do(ctx, "rput", kind, r.Dict())
	if duplicate(err) {
		status, err = node.Duplicate, nil
	}
	if err != nil {
		return fmt.Errorf("record %v: %w", header, err)
	}
	if c.json() {
		return printJSON(c.stdout, struct {
			Status node.Status `json:"status"`
			Kind   string      `json:"kind"`
			Header string      `json:"header"`
		}{status, kind, header.String()})
	}
	_, err = fmt.Fprintf(c.stdout, "%s %v\n", status, header)
	return err
}

// duplicate reports whether a server says that it has a record already, and not another one with the same header. The
// original does not tell the two apart.
func duplicate(err error) bool {
	var refused *client.RefusedError
	return errors.As(err, &refused) && strings.Contains(refused.Error(), "Duplicate block")
}

// records prints records as lines, after checking them.
func (c *legacyClient) records(ctx context.Context, name string, args []string) error {
	kind := args[0]
	if err := ledger.CheckKind(kind); err != nil {
		return usageError(err.Error(), "")
	}
	sent := []any{name, kind}
	if name == "rget" {
		sent = append(sent, args[1:])
	} else {
		for _, position := range args[1:] {
			sent = append(sent, position)
		}
	}
	reply, err := c.conn.Do(ctx, sent...)
	if err != nil {
		return err
	}
	items := client.Items(reply)
	if len(items) < 4 {
		return fmt.Errorf("%w: %s without records", client.ErrReply, name)
	}
	return c.buffered(func(w io.Writer) error {
		for _, item := range client.Items(items[3]) {
			pair := client.Items(item)
			if len(pair) != 2 {
				return fmt.Errorf("%w: a record of %d parts", client.ErrReply, len(pair))
			}
			packed, ok := pair[1].(record.Bytes)
			if !ok {
				return fmt.Errorf("%w: a record that is not bytes", client.ErrReply)
			}
			r, err := record.Parse([]byte(packed))
			if err != nil {
				return err
			}
			if _, _, err := record.Check([]byte(packed), 0); err != nil {
				return err
			}
			line, err := ledger.AppendJSONLine(nil, &ledger.JSONLine{Kind: kind, Record: r})
			if err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
}

// qr saves the image that shows the secret of the second factor, for its owner's eyes.
func (c *legacyClient) qr(ctx context.Context, file string) error {
	if err := free(file); err != nil {
		return err
	}
	reply, err := c.conn.Do(ctx, "qr")
	if err != nil {
		return err
	}
	items := client.Items(reply)
	if len(items) < 2 {
		return fmt.Errorf("%w: qr without an image", client.ErrReply)
	}
	image, ok := items[1].(record.Bytes)
	if !ok {
		return fmt.Errorf("%w: an image that is not bytes", client.ErrReply)
	}
	if err := store.WriteFileAtomic(file, []byte(image), 0o600); err != nil {
		return err
	}
	return c.moved("qr", "saved", file, uint64(len(image)))
}

// explainServer says what can be wrong with a server of the original protocol.
func explainServer(err error) error {
	var refused *client.RefusedError
	set := func(code int, reason, hint string) error {
		return &failure{Code: code, Reason: reason, Message: err.Error(), Hint: hint}
	}
	if errors.As(err, &refused) {
		text := strings.ToLower(refused.Error())
		says := func(words ...string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
		}
		switch {
		case says("out of sequence"):
			return set(exitDenied, "login-needed", "log in with --user NAME; in production mode, give the code of the second factor too: --code-file FILE")
		case refused.Command == "pass" || refused.Command == "user" || refused.Command == "twofa":
			return set(exitDenied, "login-refused", "")
		case says("only admin", "no access", "cannot use this command"):
			return set(exitDenied, "not-allowed", "")
		case says("not found", "no such", "does not exist"):
			return set(exitNotFound, "not-found", "")
		case says("duplicate header"):
			return set(exitFailure, "header-conflict", "the server holds another record with this header: rget KIND HEADER")
		}
		return set(exitFailure, "refused", "")
	}
	switch {
	case err == nil, errors.As(err, new(*failure)), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, client.ErrClearText):
		return set(exitUsage, "usage", "leave out --plain")
	case errors.Is(err, client.ErrReply), errors.Is(err, wire.ErrMessage), errors.Is(err, wire.ErrKey):
		return set(exitBad, "not-a-server", "check the address: no server of the original protocol answers there, or what it said was changed on the way")
	case errors.As(err, new(*net.OpError)), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return set(exitUnreachable, "unreachable", "check the address, and that the server runs and has not ended an idle connection")
	}
	return err
}
