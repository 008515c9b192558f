package legacytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// patience is how long a peer waits for a frame before the test fails.
const patience = 30 * time.Second

// Peer is the other side of a connection, frame by frame, for tests: it says what it is told to, also what no client
// would say.
type Peer struct {
	net.Conn
	Greeting record.Value
	Key      wire.SessionKey

	codec wire.Codec
}

// Dial connects to a server and reads its greeting.
func Dial(tb testing.TB, address string) *Peer {
	tb.Helper()
	p, err := TryDial(address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// TryDial is Dial for those who count on failures.
func TryDial(address string) (*Peer, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return Greet(conn)
}

// Greet reads the greeting from a connection.
func Greet(conn net.Conn) (*Peer, error) {
	p := &Peer{Conn: conn}
	var err error
	if p.Greeting, err = p.Receive(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("greeting: %w", err)
	}
	return p, nil
}

// Frame reads the payload of a frame.
func (p *Peer) Frame() ([]byte, error) {
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return wire.ReadFrame(p.Conn, nil)
}

// Receive reads a reply.
func (p *Peer) Receive() (record.Value, error) {
	payload, err := p.Frame()
	if err != nil {
		return nil, err
	}
	return p.codec.DecodeReply(p.Key, payload)
}

// Raw writes bytes as they are.
func (p *Peer) Raw(data []byte) error {
	if err := p.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := p.Write(data)
	return err
}

// Send writes a message.
func (p *Peer) Send(message record.Value) error {
	payload, err := p.codec.EncodeRequestValue(p.Key, message)
	if err != nil {
		return err
	}
	if err := p.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return wire.WriteFrame(p.Conn, payload)
}

// Request makes a command of Go values.
func Request(words ...any) record.List {
	l := record.List{}
	for _, w := range words {
		switch w := w.(type) {
		case record.Value:
			l = append(l, w)
		case string:
			l = append(l, record.Text(w))
		case int:
			l = append(l, record.NewInt(int64(w)))
		case float64:
			l = append(l, record.Float(w))
		case []byte:
			l = append(l, record.Bytes(w))
		default:
			panic(fmt.Sprintf("no value of the protocol: %T", w))
		}
	}
	return l
}

// TryCall sends a command and reads the reply.
func (p *Peer) TryCall(words ...any) (record.Value, error) {
	if err := p.Send(Request(words...)); err != nil {
		return nil, err
	}
	return p.Receive()
}

// Call is TryCall for those who count on a reply.
func (p *Peer) Call(tb testing.TB, words ...any) record.Value {
	tb.Helper()
	reply, err := p.TryCall(words...)
	if err != nil {
		tb.Fatalf("%v: %v", words, err)
	}
	return reply
}

// StartSession exchanges a session key and returns the reply to `sess`.
func (p *Peer) StartSession(tb testing.TB) record.Value {
	tb.Helper()
	reply, err := p.TryStartSession()
	if err != nil {
		tb.Fatal(err)
	}
	return reply
}

// TryStartSession is StartSession with an error.
func (p *Peer) TryStartSession() (record.Value, error) {
	offer, err := p.TryCall("akey")
	if err != nil {
		return nil, err
	}
	text, _ := Items(offer)[2].(record.Text)
	if want := hexSum(string(text)); Items(offer)[1] != record.Text(want) {
		return nil, fmt.Errorf("the sum of the public key is %s, not %s", Items(offer)[1], want)
	}
	public, err := wire.ParsePublicKey(string(text))
	if err != nil {
		return nil, err
	}
	key, err := wire.NewSessionKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	message, err := public.Encrypt(rand.Reader, []byte(key))
	if err != nil {
		return nil, err
	}
	reply, err := p.TryCall("sess", hexSum(string(key)), hexSum(message), message)
	if err == nil && IsOK(reply) {
		p.Key = key
	}
	return reply, err
}

// Login logs in.
func (p *Peer) Login(tb testing.TB, user, password string) {
	tb.Helper()
	p.Call(tb, "user", user)
	if reply := p.Call(tb, "pass", password); !IsOK(reply) {
		tb.Fatalf("login of %s: %s", user, Show(reply))
	}
}

// Upload sends a file and returns the last reply.
func (p *Peer) Upload(tb testing.TB, name string, content []byte) record.Value {
	tb.Helper()
	if reply := p.Call(tb, "fput", name); !IsOK(reply) {
		return reply
	}
	for piece := range slices.Chunk(content, 4096) {
		if err := p.Send(record.Bytes(piece)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := p.Send(record.Bytes{}); err != nil {
		tb.Fatal(err)
	}
	reply, err := p.Receive()
	if err != nil {
		tb.Fatal(err)
	}
	return reply
}

// Download gets a file and returns the last reply.
func (p *Peer) Download(tb testing.TB, name string) (content []byte, reply record.Value) {
	tb.Helper()
	if reply := p.Call(tb, "fget", name); !IsOK(reply) {
		return nil, reply
	}
	var out bytes.Buffer
	for stream := p.Key.Stream(); ; {
		piece, err := p.Frame()
		if err != nil {
			tb.Fatal(err)
		}
		if len(piece) == 0 {
			break
		}
		stream.XORKeyStream(piece, piece)
		out.Write(piece)
	}
	reply, err := p.Receive()
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes(), reply
}

// Ended returns nil when the server has closed the connection, with nothing left to read.
func (p *Peer) Ended() error {
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	rest, err := io.ReadAll(p.Conn)
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes instead of the end", len(rest))
	}
	if ne, isNet := err.(net.Error); isNet && ne.Timeout() {
		return err
	}
	return nil // the end, or a cut
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
