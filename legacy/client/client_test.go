package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/client"
	"pyvnode/legacy/wire"
)

const password = "correct horse battery staple"

// server is the other end of one connection. It does what a test's script says.
type server struct {
	testing.TB
	conn  net.Conn
	codec wire.Codec
	key   wire.SessionKey
}

// serve starts a server that runs the script with the first connection that comes, and returns its address. The test
// waits for the script to end.
func serve(t *testing.T, script func(*server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		script(&server{TB: t, conn: conn})
	}()
	t.Cleanup(func() {
		<-done
		_ = l.Close()
	})
	return l.Addr().String()
}

// dial connects to a server that greets and then runs the script.
func dial(t *testing.T, script func(*server)) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), serve(t, func(s *server) {
		s.reply("OK", "pyvserv 1.2.0 ready", "7")
		script(s)
	}), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func list(items []any) record.List {
	out := make(record.List, len(items))
	for i, item := range items {
		switch item := item.(type) {
		case record.Value:
			out[i] = item
		case string:
			out[i] = record.Text(item)
		case int:
			out[i] = record.NewInt(int64(item))
		}
	}
	return out
}

func (s *server) reply(items ...any) {
	payload, err := s.codec.EncodeReply(s.key, list(items))
	if err != nil {
		s.Error(err)
	}
	s.frame(payload)
}

func (s *server) frame(payload []byte) {
	if err := wire.WriteFrame(s.conn, payload); err != nil {
		s.Error(err)
	}
}

// next returns what the client sends next, nil when it is no more.
func (s *server) next() record.Value {
	payload, err := wire.ReadFrame(s.conn, nil)
	if err != nil {
		return nil
	}
	request, err := s.codec.DecodeRequest(s.key, payload)
	if err != nil {
		s.Error(err)
	}
	return request
}

// want checks what the client sends next.
func (s *server) want(items ...any) {
	if got := s.next(); !record.Equal(got, list(items)) {
		s.Errorf("the client sent %v, want %v", got, items)
	}
}

// ended checks that the client sends no more.
func (s *server) ended() {
	if got := s.next(); got != nil {
		s.Errorf("the client sent %v", got)
	}
}

// session answers akey and sess as the original does.
func (s *server) session(k *wire.PrivateKey) {
	s.want("akey")
	public := k.Public().Text()
	s.reply("OK", hash(public), public)
	args, ok := s.next().(record.List)
	if !ok || len(args) != 4 || args[0] != record.Value(record.Text("sess")) {
		s.Errorf("not a sess: %v", args)
		return
	}
	encrypted := string(args[3].(record.Text))
	plain, err := k.Decrypt(encrypted)
	if err != nil {
		s.Error(err)
	}
	key, err := wire.ParseSessionKey(plain)
	if err != nil {
		s.Error(err)
	}
	if len(key) != 172 || string(args[1].(record.Text)) != hash(string(key)) || string(args[2].(record.Text)) != hash(encrypted) {
		s.Errorf("a key of %d characters, or wrong hashes", len(key))
	}
	s.reply("OK", "Session estabilished.")
	s.key = key
}

func hash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func newKey(t *testing.T, bits int) *wire.PrivateKey {
	t.Helper()
	k, err := wire.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDial(t *testing.T) {
	t.Parallel()
	c := dial(t, (*server).ended)
	if got := record.PythonStr(c.Greeting); got != "['OK', 'pyvserv 1.2.0 ready', '7']" {
		t.Error(got)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), "hello"); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}

	var refused *client.RefusedError
	if _, err := client.Dial(t.Context(), serve(t, func(s *server) {
		s.reply("ERR", "too many connections")
		s.ended()
	}), client.Options{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "greeting: too many connections") {
		t.Error(err)
	}
	if _, err := client.Dial(t.Context(), serve(t, func(s *server) {
		s.frame([]byte("SSH-2.0-OpenSSH"))
		s.ended()
	}), client.Options{}); !errors.Is(err, wire.ErrMessage) {
		t.Error(err)
	}
	if _, err := client.Dial(t.Context(), serve(t, func(*server) {}), client.Options{}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestDialAddress(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"example.org":      "example.org:6666",
		"192.0.2.1":        "192.0.2.1:6666",
		"::1":              "[::1]:6666",
		"[::1]":            "[::1]:6666",
		"example.org:7777": "example.org:7777",
		"[::1]:7777":       "[::1]:7777",
	} {
		nobody := errors.New("nobody there")
		_, err := client.Dial(t.Context(), addr, client.Options{Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
			if network != "tcp" || addr != want {
				t.Errorf("%s %s, want %s", network, addr, want)
			}
			return nil, nobody
		}})
		if !errors.Is(err, nobody) || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	dict := new(record.Dict).Set(record.Text("k"), record.Float(2))
	c := dial(t, func(s *server) {
		s.want("cmd", "投票", record.Bytes("\x00\xff"), 7, 8, record.Float(1.5), record.List{record.Text("a"), record.Text("bc")}, dict)
		s.reply("OK", 3, "records")
		s.want("nosuch")
		s.reply("ERR", "Invalid command issued", "nosuch")
		s.want("tuple")
		payload, err := s.codec.EncodeReply("", record.Tuple{record.Text("OK")})
		if err != nil {
			t.Error(err)
		}
		s.frame(payload)
		s.want("bad")
		s.reply("ERR", "\x1b[2Jx\ny "+strings.Repeat("z", 1000))
		s.ended()
	})
	ctx := t.Context()
	reply, err := c.Call(ctx, "cmd", "投票", []byte("\x00\xff"), 7, int64(8), 1.5, []string{"a", "bc"}, dict)
	if err != nil || record.PythonStr(reply) != "['OK', 3, 'records']" {
		t.Error(reply, err)
	}

	// None of these gets as far as the server.
	for name, args := range map[string][]any{
		"no name":        nil,
		"unknown type":   {"cmd", true},
		"not UTF-8":      {"pass", password + "\xff"},
		"does not fit":   {"pass", password + strings.Repeat("x", 1<<20)},
		"a list of that": {"pass", []string{password + "\xff"}},
		"a name of that": {password + "\xff"},
	} {
		if _, err := c.Call(ctx, args...); err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: %v", name, err)
		}
	}

	var refused *client.RefusedError
	reply, err = c.Call(ctx, "nosuch")
	if err != nil || client.Refusal("nosuch", reply) == nil {
		t.Error(reply, err)
	}
	if _, err := c.Do(ctx, "tuple"); err != nil {
		t.Error(err)
	}
	_, err = c.Do(ctx, "bad")
	if !errors.As(err, &refused) || refused.Command != "bad" || len(client.Items(refused.Reply)) != 2 {
		t.Error(err)
	} else if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 300 {
		t.Errorf("%q", text)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestIrregularReplies has the two commands whose replies do not begin with OK or ERR, and a server that sends a secret
// back.
func TestIrregularReplies(t *testing.T) {
	t.Parallel()
	c := dial(t, func(s *server) {
		for _, reply := range [][]any{{"anna", "OK"}, {}, {"ERR", "only admin"}, {list([]any{"OK", "Current timeout", "20"})}, {list([]any{"ERR", "bad"})}} {
			s.next()
			s.reply(reply...)
		}
		s.want("chpass", "anna", password, "hunter2")
		s.reply("ERR", "not "+password+" to hunter2", "chpass")
		s.ended()
	})
	for _, step := range []struct{ command, want string }{
		{"ulist", "['OK', 'anna', 'OK']"}, {"ulist", "['OK']"}, {"ulist", ""}, {"tout", "['OK', 'Current timeout', '20']"}, {"tout", ""},
	} {
		reply, err := c.Do(t.Context(), step.command)
		if (err != nil) != (step.want == "") || err == nil && record.PythonStr(reply) != step.want {
			t.Errorf("%s: %v, %v, want %s", step.command, reply, err, step.want)
		}
	}
	reply, err := c.Do(t.Context(), "chpass", "anna", client.Secret(password), client.Secret("hunter2"))
	if reply != nil || err == nil || err.Error() != "the server refused chpass: not (hidden) to (hidden) chpass" {
		t.Error(reply, err)
	}
	_ = c.Close()
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, reply := range []record.Value{nil, record.Text("OK"), record.List{}, record.List{record.List{}}, record.List{record.Bytes("OK")}, record.Tuple{record.Text("ERR")}} {
		if err := client.Refusal("x", reply); err == nil || err.Error() == "" {
			t.Errorf("%v counts as OK", reply)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{256, 384, 521} {
		k := newKey(t, bits)
		c := dial(t, func(s *server) {
			s.session(k)
			s.want("hello")
			s.reply("OK", "Hello")
			first := s.key
			s.session(k) // once more, inside the first
			if s.key == first {
				t.Error("the same key twice")
			}
			s.want("hello")
			s.reply("OK", "Hello again")
		})
		if c.Encrypted() {
			t.Error("encrypted too early")
		}
		for _, want := range []string{"['OK', 'Hello']", "['OK', 'Hello again']"} {
			if err := c.StartSession(t.Context()); err != nil || !c.Encrypted() {
				t.Fatal(err)
			}
			if reply, err := c.Do(t.Context(), "hello"); err != nil || record.PythonStr(reply) != want {
				t.Error(reply, err)
			}
		}
	}
}

func TestSessionRefused(t *testing.T) {
	t.Parallel()
	k := newKey(t, 256)
	public := k.Public().Text()
	for name, script := range map[string]func(*server){
		"no key":       func(s *server) { s.reply("ERR", "no keys") },
		"no hash":      func(s *server) { s.reply("OK") },
		"a wrong hash": func(s *server) { s.reply("OK", hash("x"), public) },
		"no key text":  func(s *server) { s.reply("OK", hash("x"), "x") },
		"a wrong type": func(s *server) { s.reply("OK", hash(public), record.Bytes(public)) },
		"sess refused": func(s *server) {
			s.reply("OK", hash(public), public)
			s.next()
			s.reply("ERR", "Cannot decode session key.")
		},
	} {
		c := dial(t, func(s *server) {
			s.want("akey")
			script(s)
			s.want("hello")
			s.reply("OK")
		})
		if err := c.StartSession(t.Context()); err == nil || c.Encrypted() {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Do(t.Context(), "hello"); err != nil { // still in clear text
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	c := dial(t, func(s *server) {
		s.want("user", "nobody")
		s.reply("ERR", "no such user")
		s.want("user", "anna")
		s.reply("OK", "Enter pass for anna")
		s.want("pass", password)
		s.reply("ERR", "Bad password: "+password)
		s.want("user", "anna")
		s.reply("OK", "Enter pass for anna")
		s.want("pass", password)
		s.reply("OK", "Authenticated.")
		s.want("user", "anna")
		s.reply("OK", "Enter pass for anna")
		s.want("pass", password)
		s.frame([]byte(password))
	})
	ctx := t.Context()
	var refused *client.RefusedError
	if err := c.Login(ctx, "nobody", password); !errors.As(err, &refused) || refused.Command != "user" {
		t.Error(err)
	}
	if err := c.Login(ctx, "anna", password); !errors.As(err, &refused) || refused.Command != "pass" ||
		strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "horse") || !strings.Contains(err.Error(), "Bad password") {
		t.Error(err)
	}
	if err := c.Login(ctx, "anna", password); err != nil {
		t.Error(err)
	}
	if err := c.Login(ctx, "anna", password); !errors.Is(err, wire.ErrMessage) || strings.Contains(err.Error(), "horse") {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("tired of waiting")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := dial(t, func(s *server) {
		s.want("hello")
		s.reply("OK")
		s.want("slow")
		cancel(cause)
		s.ended()
	})
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := c.Call(ended, "never sent"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.Do(ctx, "hello"); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(ctx, "slow"); !errors.Is(err, cause) {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), "hello"); !errors.Is(err, net.ErrClosed) || !errors.Is(err, cause) {
		t.Error(err)
	}
}

func TestCloseDuringCall(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	c := dial(t, func(s *server) {
		s.want("slow")
		close(asked)
		s.ended()
	})
	go func() {
		<-asked
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Call(t.Context(), "slow"); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestTimeout has a server that says nothing, in fake time.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		start := time.Now()
		_, err := client.Dial(t.Context(), "x", client.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return here, nil }})
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != client.DefaultTimeout {
			t.Error(took, err)
		}
		if n, err := there.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Error("the connection is not closed")
		}
	})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	data := make([]byte, 100_000)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	k := newKey(t, 256)
	for _, size := range []int{0, 1, 16 << 10, len(data)} {
		c := dial(t, func(s *server) {
			s.session(k)
			s.want("fput", "file")
			s.reply("OK", "Send file", "file")
			var got []byte
			for {
				part, ok := s.next().(record.Bytes)
				if !ok {
					t.Error("not bytes")
					return
				}
				if len(part) == 0 {
					break
				}
				got = append(got, part...)
			}
			if !bytes.Equal(got, data[:size]) {
				t.Errorf("%d bytes, want %d", len(got), size)
			}
			s.reply("OK", "Server received file.", "file")
			s.want("fput", "forbidden")
			s.reply("ERR", "Not permitted.")
			s.ended()
		})
		if err := c.StartSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Upload(t.Context(), "file", iotest.HalfReader(bytes.NewReader(data[:size]))); err != nil {
			t.Error(err)
		}
		var refused *client.RefusedError
		if err := c.Upload(t.Context(), "forbidden", bytes.NewReader(data)); !errors.As(err, &refused) {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestUploadBroken has a reader that fails: the server must not take what it got for the whole file.
func TestUploadBroken(t *testing.T) {
	t.Parallel()
	c := dial(t, func(s *server) {
		s.want("fput", "file")
		s.reply("OK", "Send file", "file")
		for {
			part, ok := s.next().(record.Bytes)
			if !ok {
				return
			}
			if len(part) == 0 {
				t.Error("the end was sent")
			}
		}
	})
	broken := errors.New("broken disk")
	err := c.Upload(t.Context(), "file", io.MultiReader(strings.NewReader(strings.Repeat("x", 20_000)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), "hello"); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// send sends a file as the original does: in frames of one stream.
func (s *server) send(data []byte) {
	for stream := s.key.Stream(); len(data) > 0; {
		part := bytes.Clone(data[:min(4096, len(data))])
		data = data[len(part):]
		stream.XORKeyStream(part, part)
		s.frame(part)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	data := make([]byte, 50_000)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	k := newKey(t, 256)
	c := dial(t, func(s *server) {
		s.session(k)
		for _, size := range []int{0, 1, 4096, len(data)} {
			s.want("fget", "file")
			s.reply("OK", fmt.Sprint(size), "file")
			s.send(data[:size])
			s.frame(nil)
			s.reply("OK", "Server sent file", "file")
		}
		s.want("fget", "nosuch")
		s.reply("ERR", "File does not exist.", "nosuch")
		s.want("hello")
		s.reply("OK", "Hello")
	})
	if _, err := c.Download(t.Context(), "file", io.Discard); !errors.Is(err, client.ErrClearText) {
		t.Error(err)
	}
	if err := c.StartSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 4096, len(data)} {
		var got bytes.Buffer
		n, err := c.Download(t.Context(), "file", &got)
		if err != nil || n != int64(size) || !bytes.Equal(got.Bytes(), data[:size]) {
			t.Errorf("%d bytes of %d, %v", n, size, err)
		}
	}
	var refused *client.RefusedError
	if n, err := c.Download(t.Context(), "nosuch", io.Discard); n != 0 || !errors.As(err, &refused) {
		t.Error(n, err)
	}
	if _, err := c.Do(t.Context(), "hello"); err != nil {
		t.Error(err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestDownloadBroken(t *testing.T) {
	t.Parallel()
	k := newKey(t, 256)
	data := bytes.Repeat([]byte("x"), 10_000)
	full := errors.New("disk full")
	for name, test := range map[string]struct {
		script func(*server)
		w      io.Writer
		want   error
	}{
		"no size":  {func(s *server) { s.reply("OK") }, io.Discard, client.ErrReply},
		"bad size": {func(s *server) { s.reply("OK", "-1", "file") }, io.Discard, client.ErrReply},
		"shorter": {func(s *server) {
			s.reply("OK", "10000", "file")
			s.send(data[:9000])
			s.frame(nil)
		}, io.Discard, client.ErrReply},
		"longer": {func(s *server) {
			s.reply("OK", "9000", "file")
			s.send(data)
		}, io.Discard, client.ErrReply},
		"cut off": {func(s *server) {
			s.reply("OK", "10000", "file")
			s.send(data[:9000])
			_ = s.conn.Close()
		}, io.Discard, io.EOF},
		"a full disk": {func(s *server) {
			s.reply("OK", "100", "file")
			s.send(data[:100])
		}, failingWriter{full}, full},
		"no reply behind": {func(s *server) {
			s.reply("OK", "0", "file")
			s.frame(nil)
			s.frame(nil)
		}, io.Discard, wire.ErrMessage},
	} {
		c := dial(t, func(s *server) {
			s.session(k)
			s.want("fget", "file")
			test.script(s)
			s.ended()
		})
		if err := c.StartSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Download(t.Context(), "file", test.w); !errors.Is(err, test.want) || n > 10_000 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if _, err := c.Call(t.Context(), "hello"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkHello is one hello of one client, both sides in this process.
func BenchmarkHello(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		b.Run(fmt.Sprint("encrypted=", encrypted), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			k, err := wire.GenerateKey(rand.Reader, 256)
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s := &server{TB: b, conn: conn}
				s.reply("OK", "ready", "7")
				if encrypted {
					s.session(k)
				}
				for s.next() != nil {
					s.reply("OK", "Hello", "f3c79512-52a4-11ef-8d2b-d9957d7a2b41", "7")
				}
			}()
			c, err := client.Dial(b.Context(), l.Addr().String(), client.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if encrypted {
				if err := c.StartSession(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Do(b.Context(), "hello"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
