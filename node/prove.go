package node

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// On a port of the loopback interface anybody on the machine may listen once a node has ended, and whatever names the port
// still, as a file that a node left behind when it was killed. So at the beginning of each connection both sides prove that they
// know the token of that file, without saying it, and the node goes first. Until it has, the client sends nothing but a random
// challenge:
//
//	client → node    challenge, 32 bytes
//	node → client    challenge of its own, 32 bytes, and HMAC-SHA-256(token, "pyvnode node" ‖ both challenges)
//	client → node    HMAC-SHA-256(token, "pyvnode client" ‖ both challenges)
//
// A token is of one run of a node, so nobody can have another node answer for him.

const (
	challengeSize = 32
	// proveTimeout is how long either side waits for the other's part.
	proveTimeout = 5 * time.Second
)

// ErrNotTheNode says that what listens where a node said that it would does not know the node's token.
var ErrNotTheNode = errors.New("another program listens where the node did")

func tokenProof(token, side string, client, node []byte) []byte {
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write([]byte("pyvnode " + side)) // never fails
	_, _ = mac.Write(client)
	_, _ = mac.Write(node)
	return mac.Sum(nil)
}

func challenge() []byte {
	b := make([]byte, challengeSize)
	_, _ = rand.Read(b) // never fails
	return b
}

// proveAsClient finds out that the other side is the node, and shows it that this one may talk to it.
func proveAsClient(ctx context.Context, conn net.Conn, token string) error {
	deadline := time.Now().Add(proveTimeout)
	if d, has := ctx.Deadline(); has && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ours := challenge()
	if _, err := conn.Write(ours); err != nil {
		return fmt.Errorf("%w: %w", ErrNotTheNode, err)
	}
	var answer [challengeSize + sha256.Size]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrNotTheNode, err)
	}
	theirs, proof := answer[:challengeSize], answer[challengeSize:]
	if !hmac.Equal(proof, tokenProof(token, "node", ours, theirs)) {
		return ErrNotTheNode
	}
	if _, err := conn.Write(tokenProof(token, "client", ours, theirs)); err != nil {
		return err
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return conn.SetDeadline(time.Time{})
}

// provingListener accepts connections on which both sides prove that they know a token before anything else is read.
type provingListener struct {
	net.Listener
	token string
}

func (l provingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &provingConn{Conn: conn, token: l.token}, nil
}

// provingConn does the node's part with the first read, so that a client that says nothing holds up nobody else. The deadline
// is that of the read.
type provingConn struct {
	net.Conn
	token string

	once sync.Once
	err  error
}

func (c *provingConn) Read(b []byte) (int, error) {
	c.once.Do(func() { c.err = c.prove() })
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}

func (c *provingConn) prove() error {
	theirs := make([]byte, challengeSize)
	if _, err := io.ReadFull(c.Conn, theirs); err != nil {
		return err
	}
	ours := challenge()
	if _, err := c.Conn.Write(bytes.Join([][]byte{ours, tokenProof(c.token, "node", theirs, ours)}, nil)); err != nil {
		return err
	}
	var proof [sha256.Size]byte
	if _, err := io.ReadFull(c.Conn, proof[:]); err != nil {
		return err
	}
	if !hmac.Equal(proof[:], tokenProof(c.token, "client", theirs, ours)) {
		return &net.OpError{Op: "read", Net: "tcp", Err: errors.New("a program that does not know the token")} // to which HTTP answers nothing
	}
	return nil
}
