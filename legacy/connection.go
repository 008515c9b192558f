package legacy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// connection carries the messages of a session.
type connection struct {
	server  *Server
	conn    net.Conn
	in      *bufio.Reader
	small   [smallFrame]byte
	codec   wire.Codec
	session *session

	mu      sync.Mutex
	stopped bool // read deadlines are no longer set
}

func (s *Server) newConnection(conn net.Conn, from netip.Addr) *connection {
	c := &connection{server: s, conn: conn, session: s.newSession(s.nextID(), from)}
	c.session.watch = c.watch
	return c
}

// Reasons for the end of a connection.
var (
	errIdle    = errors.New("idle for too long")
	errStopped = errors.New("the server stops")
	errEnd     = errors.New("it quit")
	errFailed  = errors.New("too many failed attempts")
	errZero    = errors.New("it sent an empty frame")
	errClosed  = errors.New("it closed the connection")
)

// errMessage wraps the errors of frames that hold no message.
var errMessage = errors.New("undecodable message")

// refuse sends a reason instead of the greeting. It does not wait: a new connection takes a few bytes at once.
func (c *connection) refuse(reason string) {
	_ = c.send(list("ERR", reason))
	_ = c.conn.Close()
}

// serve greets and answers until the connection ends.
func (c *connection) serve() {
	defer func() { _ = c.conn.Close() }()
	defer c.session.forget()
	c.session.stranger(slog.LevelInfo, connected)
	c.in = bufio.NewReaderSize(c.conn, smallFrame)
	err := c.send(list("OK", "pyvserv "+Version+" ready", c.session.id))
	for err == nil {
		err = c.turn()
	}
	switch {
	case errors.Is(err, errIdle):
		if c.send(list("ERR", "Timeout occured, disconnecting.")) == nil {
			c.linger()
		}
	case errors.Is(err, errEnd), errors.Is(err, errFailed):
		c.linger()
	}
	c.session.leaves(err.Error())
}

// turn answers one message.
func (c *connection) turn() error {
	message, err := c.receive()
	if errors.Is(err, errMessage) {
		return c.send(list("ERR", "cannot unwrap / decode data."))
	}
	if err != nil {
		return err
	}
	if message == nil {
		return errZero // outside of a transfer
	}
	r := c.session.handle(c.server.ctx, message)
	if r.finally != nil {
		defer r.finally()
	}
	if err := c.send(r.value); err != nil {
		return err
	}
	if r.key != "" {
		c.session.key = r.key
	}
	if r.then != nil {
		if err := r.then(c); err != nil {
			return err
		}
	}
	if r.end {
		if err := c.send(list("ERR", "Disconnected.")); err != nil {
			return err
		}
		if c.session.failures >= maxFailures {
			return errFailed
		}
		return errEnd
	}
	return nil
}

// receive waits for a frame and decodes it; nil stands for a frame of length 0. A frame that holds no message is an
// [errMessage], and the connection can go on; other errors end it.
func (c *connection) receive() (record.Value, error) {
	if err := c.readBefore(c.session.timeout); err != nil {
		return nil, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, c.readError(err)
	}
	if err := c.readBefore(min(frameTimeout, c.session.timeout)); err != nil {
		return nil, err
	}
	payload, err := wire.ReadFrame(c.in, c.small[:])
	if err != nil {
		return nil, c.readError(err)
	}
	if len(payload) == 0 {
		return nil, nil
	}
	c.server.coding <- struct{}{}
	defer func() { <-c.server.coding }()
	message, err := c.codec.DecodeRequest(c.session.key, payload)
	if err != nil {
		return nil, errors.Join(errMessage, err)
	}
	return message, nil
}

// readBefore sets the deadline for what is read next.
func (c *connection) readBefore(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return errStopped
	}
	return c.conn.SetReadDeadline(time.Now().Add(timeout))
}

// stopReading ends a read that waits, and all later ones.
func (c *connection) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

func (c *connection) readError(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return errStopped
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errIdle
	case err == io.EOF:
		return errClosed
	}
	return err
}

// send encodes a reply and writes it. One that is too long for a frame becomes an error for the client.
func (c *connection) send(value record.Value) error {
	payload, err := c.encode(value)
	if errors.Is(err, wire.ErrTooLong) {
		payload, err = c.encode(tooLong().value)
	}
	if err != nil { // a value that cannot be packed; a mistake in this package or in what it was given
		c.session.log.Error("a reply cannot be encoded", "error", err)
		if payload, err = c.encode(failed(internalError).value); err != nil {
			return err
		}
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return wire.WriteFrame(c.conn, payload)
}

func (c *connection) encode(value record.Value) ([]byte, error) {
	c.server.coding <- struct{}{}
	defer func() { <-c.server.coding }()
	return c.codec.EncodeReply(c.session.key, value)
}

// tooLong is the answer instead of one that does not fit a frame.
func tooLong() reply {
	return failed("the reply would be longer than " + strconv.Itoa(wire.MaxFrame) + " bytes; ask for less at once")
}

// linger lets the other side read the last reply: a connection that is closed with something unread is cut, and with it
// what is under way to the other side.
func (c *connection) linger() {
	if half, canHalf := c.conn.(interface{ CloseWrite() error }); canHalf {
		if half.CloseWrite() != nil {
			return
		}
	}
	if c.readBefore(lingerTimeout) == nil {
		_, _ = io.CopyN(io.Discard, c.conn, lingerBytes)
	}
}

// watch returns a context that ends when the other side is gone or the server stops. Nothing else may read from the
// connection until stop is called.
func (c *connection) watch(ctx context.Context) (watched context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if c.readBefore(maxTimeout) != nil {
		cancel()
		return ctx, cancel
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := c.in.Peek(1); err != nil {
			cancel()
		}
	}()
	return ctx, func() {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // the next read sets its own
		<-ended
		cancel()
	}
}
