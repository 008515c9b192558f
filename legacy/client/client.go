// Package client is a client of the original protocol (docs/original-protocol.md). It talks to
// original servers, and to the adapter of a node.
//
// [Dial] makes a [Conn], on which commands are sent one after the other: [Conn.Call] returns any
// reply, and [Conn.Do] makes a [*RefusedError] of one that is not OK. [Conn.StartSession] turns the
// protocol's weak encryption on, and [Conn.Login] logs in. [Conn.Upload] and [Conn.Download], in
// files.go, move files.
//
// Servers may be hostile: replies are bounded, an exchange takes no longer than [Options] allow,
// and no error shows a password. When an exchange breaks off, the connection is closed, because
// nobody knows then what the server would send next.
package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"

	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// DefaultPort is where the original server listens (docs/original-protocol.md §5).
const DefaultPort = 6666

// DefaultTimeout is how long an exchange may take unless [Options] say otherwise. The original throttles: it may keep a
// new connection waiting for 3 s.
const DefaultTimeout = 30 * time.Second

// ErrReply is wrapped when a server's reply is not what the original protocol says it is.
var ErrReply = errors.New("not a reply of the original protocol")

// A RefusedError is a reply that is not OK.
type RefusedError struct {
	Command string       // its name only: the arguments may be secret
	Reply   record.Value // all of it, with the "ERR" in front
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the server refused %s: %s", e.Command, e.Text())
}

// Text is the reply in one line, without the "ERR" and no longer than a message should be.
func (e *RefusedError) Text() string { return replyText(e.Reply) }

// Options of a connection. The zero value will do.
type Options struct {
	// Timeout is how long dialling and each exchange may take; of a file transfer, each frame. 0 is [DefaultTimeout].
	Timeout time.Duration
	// Dial opens the connection. nil is TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Conn is a connection to a server. It is for one goroutine at a time; only Close may be called from any.
//
// When an exchange breaks off, because its context ends or for any other reason, the connection is closed, since what the
// server would send next is then not known; further calls return an error that wraps [net.ErrClosed].
type Conn struct {
	addr    string
	timeout time.Duration
	conn    net.Conn
	in      *bufio.Reader
	buf     []byte // of frames
	codec   wire.Codec
	key     wire.SessionKey
	broken  error // what ended the connection

	// Greeting is the first reply of the server: OK, its version, the ID of the connection.
	Greeting record.Value
}

// Dial connects to a server and reads its greeting. An address without a port gets [DefaultPort].
func Dial(ctx context.Context, addr string, opts Options) (*Conn, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), fmt.Sprint(DefaultPort))
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	dialing, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	conn, err := opts.Dial(dialing, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("original server %s: %w", addr, err)
	}
	c := &Conn{addr: addr, timeout: opts.Timeout, conn: conn, in: bufio.NewReader(conn)}
	err = c.exchange(ctx, func() error {
		c.Greeting, err = c.readReply()
		return err
	})
	if err == nil {
		err = Refusal("greeting", c.Greeting)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close ends the connection without a word. It may be called more than once, and during another call, which then fails.
func (c *Conn) Close() error {
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Encrypted reports whether the connection has a session key.
func (c *Conn) Encrypted() bool { return c.key != "" }

// exchange runs do, which talks to the server, and closes the connection when that fails or ctx ends.
func (c *Conn) exchange(ctx context.Context, do func() error) error {
	if c.broken != nil {
		return c.broken
	}
	if err := c.extend(ctx); err != nil {
		return c.wrap(err) // nothing was sent, so the connection stays as it is
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() }) // ends what waits on the connection
	err := do()
	if !stop() {
		c.broken = c.wrap(fmt.Errorf("%w: %w", net.ErrClosed, context.Cause(ctx)))
		if err != nil {
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		return nil
	}
	err = c.wrap(err)
	if c.broken == nil {
		c.broken = fmt.Errorf("%w after: %w", net.ErrClosed, err)
		_ = c.conn.Close() // the first error counts
	}
	return err
}

func (c *Conn) wrap(err error) error { return fmt.Errorf("original server %s: %w", c.addr, err) }

// extend gives the server its time anew.
func (c *Conn) extend(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.conn.SetDeadline(time.Now().Add(c.timeout))
}

func (c *Conn) readFrame() ([]byte, error) {
	payload, err := wire.ReadFrame(c.in, c.buf)
	if err == io.EOF {
		err = fmt.Errorf("the server closed the connection: %w", err)
	}
	if err != nil {
		return nil, err
	}
	c.buf = payload[:0]
	return payload, nil
}

func (c *Conn) readReply() (record.Value, error) {
	payload, err := c.readFrame()
	if err != nil {
		return nil, err
	}
	return c.codec.DecodeReply(c.key, payload)
}

func (c *Conn) writeRequest(request record.Value) error {
	payload, err := c.codec.EncodeRequestValue(c.key, request)
	if err != nil {
		return err
	}
	return wire.WriteFrame(c.conn, payload)
}

// A Secret is a text argument, such as a password, that no error of Do shows, not even when the server sends it back, as
// the original does.
type Secret string

// Call sends a command, its name first, and returns the reply, a List or a Tuple, whatever it says; [Refusal] makes an
// error of one that is not OK. An argument is a [record.Value], or a string, [Secret], []byte, int, int64, float64 or
// []string, which become Text, Text, Bytes, Int, Float and a List of Text. Text that is not valid UTF-8, and what does not fit a frame,
// gets an error and is not sent. No error shows an argument, since it may be a password.
//
// Commands that move files have more than one reply: see Upload and Download.
func (c *Conn) Call(ctx context.Context, args ...any) (record.Value, error) {
	command, err := values(args)
	if err != nil {
		return nil, err
	}
	payload, err := c.codec.EncodeRequest(c.key, command)
	if bad := (*record.Error)(nil); errors.As(err, &bad) {
		err = fmt.Errorf("an argument cannot be sent: %s", bad.Reason) // its detail would show the argument
	}
	if err != nil {
		return nil, fmt.Errorf("command %s: %w", commandName(command), err)
	}
	var reply record.Value
	err = c.exchange(ctx, func() error {
		if err := wire.WriteFrame(c.conn, payload); err != nil {
			return err
		}
		reply, err = c.readReply()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("command %s: %w", commandName(command), err)
	}
	return reply, nil
}

// Do is Call, with an error for a reply that is not OK, and no reply then. The two commands whose replies have a form of
// their own in the original get one that begins with OK too: ulist has the bare names, and tout has its reply inside
// another.
func (c *Conn) Do(ctx context.Context, args ...any) (record.Value, error) {
	reply, err := c.Call(ctx, args...)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprint(args[0])
	switch items := Items(reply); {
	case name == "ulist" && (len(items) == 0 || items[0] != record.Value(record.Text("ERR"))):
		reply = append(record.List{record.Text("OK")}, items...)
	case name == "tout" && len(items) == 1 && Items(items[0]) != nil:
		reply = items[0]
	}
	if err := Refusal(name, reply); err != nil {
		return nil, hide(err, args)
	}
	return reply, nil
}

// values turns the arguments of Call into what is sent.
func values(args []any) (record.List, error) {
	if len(args) == 0 {
		return nil, errors.New("a command without a name")
	}
	out := make(record.List, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case record.Value:
			out[i] = arg
		case string:
			out[i] = record.Text(arg)
		case Secret:
			out[i] = record.Text(arg)
		case []byte:
			out[i] = record.Bytes(arg)
		case int:
			out[i] = record.NewInt(int64(arg))
		case int64:
			out[i] = record.NewInt(arg)
		case float64:
			out[i] = record.Float(arg)
		case []string:
			list := make(record.List, len(arg))
			for j, text := range arg {
				list[j] = record.Text(text)
			}
			out[i] = list
		default:
			return nil, fmt.Errorf("argument %d of a command has the type %T, which the original protocol does not know", i, arg)
		}
	}
	return out, nil
}

// commandName returns the name of a command for errors, and never an argument of it.
func commandName(command record.List) string {
	if name, ok := command[0].(record.Text); ok && len(name) <= 20 {
		return string(name)
	}
	return "without a name"
}

// Refusal returns nil when a reply begins with OK, and otherwise a [*RefusedError].
func Refusal(command string, reply record.Value) error {
	if items := Items(reply); len(items) > 0 && items[0] == record.Value(record.Text("OK")) {
		return nil
	}
	return &RefusedError{Command: command, Reply: reply}
}

// Items returns what is in a reply, which is a List or, rarely, a Tuple.
func Items(reply record.Value) []record.Value {
	switch reply := reply.(type) {
	case record.List:
		return reply
	case record.Tuple:
		return reply
	}
	return nil
}

// text returns item i of a reply when it is text.
func text(reply record.Value, i int) (string, bool) {
	items := Items(reply)
	if i >= len(items) {
		return "", false
	}
	text, ok := items[i].(record.Text)
	return string(text), ok
}

// maxShownReply is how much of a reply an error shows, in characters.
const maxShownReply = 200

// replyText joins the items of a reply for an error message, without what a terminal would obey rather than show.
func replyText(reply record.Value) string {
	var text []rune
	for i, item := range Items(reply) {
		if i == 0 && item == record.Value(record.Text("ERR")) {
			continue
		}
		if len(text) > 0 {
			text = append(text, ' ')
		}
		for _, r := range record.PythonStr(item) {
			if !unicode.IsPrint(r) {
				r = unicode.ReplacementChar
			}
			if text = append(text, r); len(text) > maxShownReply {
				return string(text) + "…"
			}
		}
	}
	return string(text)
}

// StartSession gives the connection a session key of its own making; both sides encrypt from the next command on. It may
// be repeated. What this protects against is little: see the package wire.
func (c *Conn) StartSession(ctx context.Context) error {
	reply, err := c.Do(ctx, "akey")
	if err != nil {
		return err
	}
	hash, _ := text(reply, 1)
	public, ok := text(reply, 2)
	if !ok || hash != digest(public) {
		return c.wrap(fmt.Errorf("%w: the hash of its key is wrong", ErrReply))
	}
	server, err := wire.ParsePublicKey(public)
	if err != nil {
		return c.wrap(err)
	}
	key, err := wire.NewSessionKey(rand.Reader)
	if err != nil {
		return err
	}
	encrypted, err := server.Encrypt(rand.Reader, []byte(key))
	if err != nil {
		return err
	}
	if _, err := c.Do(ctx, "sess", digest(string(key)), digest(encrypted), encrypted); err != nil {
		return err
	}
	c.key = key
	return nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Login sends user and pass. The password is in no error. After the third refusal on a connection the server closes it.
func (c *Conn) Login(ctx context.Context, user, password string) error {
	if _, err := c.Do(ctx, "user", user); err != nil {
		return err
	}
	_, err := c.Do(ctx, "pass", Secret(password))
	return err
}

// hide takes secret arguments out of the reply in a RefusedError, in case the server sent them back.
func hide(err error, args []any) error {
	refused, ok := err.(*RefusedError)
	if !ok {
		return err
	}
	for _, arg := range args {
		secret, ok := arg.(Secret)
		if !ok || secret == "" {
			continue
		}
		var items record.List
		for _, item := range Items(refused.Reply) {
			if text, ok := item.(record.Text); ok {
				item = record.Text(strings.ReplaceAll(string(text), string(secret), "(hidden)"))
			}
			items = append(items, item)
		}
		refused.Reply = items
	}
	return refused
}
