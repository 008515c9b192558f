package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sayTo sends a text to a port and returns what comes back until the other side ends.
func sayTo(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, text) // what is not read to its end is found below
	_ = conn.(*net.TCPConn).CloseWrite()
	said, _ := io.ReadAll(conn)
	return string(said)
}

// eavesdropped is a connection of which all that is read is kept.
type eavesdropped struct {
	net.Conn
	heard *bytes.Buffer
}

func (l *eavesdropped) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.heard.Write(b[:n])
	return n, err
}

// impostor listens where a file says that a node does, answers to each connection, and keeps all that it is told. Its data
// directory has a genesis document and no node.
func impostor(t *testing.T, answer func(conn net.Conn)) (dir string, told func() []byte) {
	t.Helper()
	dir = founded(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			answer(&eavesdropped{conn, &heard})
			_, _ = io.Copy(&heard, conn)
			_ = conn.Close()
		}
	}()
	stop := func() {
		_ = l.Close()
		<-done
	}
	t.Cleanup(stop)
	raw, err := json.Marshal(endpoint{Network: "tcp", Address: l.Addr().String(), Token: "the token of a node that was killed"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, APIFile), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() []byte { stop(); return heard.Bytes() }
}

// TestStaleAPIFile has another program listen at the port of a node that was killed. It gets neither the token nor a record,
// whatever it answers, but a challenge; and no node runs.
func TestStaleAPIFile(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(net.Conn){
		"silence that ends": func(conn net.Conn) { _ = conn.Close() },
		"HTTP": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"+strings.Repeat("\n", 100))
		},
		"noise": func(conn net.Conn) { _, _ = conn.Write(make([]byte, 4096)) },
		"its own challenge": func(conn net.Conn) {
			_, _ = io.CopyN(conn, conn, challengeSize)
			_, _ = conn.Write(make([]byte, challengeSize))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, told := impostor(t, answer)
			var none *NotRunningError
			if _, err := Dial(t.Context(), dir); !errors.As(err, &none) || !errors.Is(err, ErrNotTheNode) {
				t.Errorf("%v", err)
			}
			// A client that had found the node tells no more when it is gone.
			where, err := findAPI(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := where.dial(t.Context()); !errors.Is(err, ErrNotTheNode) {
				t.Errorf("%v", err)
			}
			if heard := told(); len(heard) > 2*challengeSize || bytes.Contains(heard, []byte("token")) {
				t.Errorf("it was told %q", heard)
			}
		})
	}
}

// TestProofs needs the token on both sides, and each proof is of one side and one connection.
func TestProofs(t *testing.T) {
	t.Parallel()
	proofs := map[string]bool{}
	for _, token := range []string{"a", "b"} {
		for _, side := range []string{"node", "client"} {
			for _, c := range [][2]byte{{1, 2}, {2, 1}, {1, 1}} {
				proofs[string(tokenProof(token, side, bytes.Repeat(c[:1], challengeSize), bytes.Repeat(c[1:], challengeSize)))] = true
			}
		}
	}
	if len(proofs) != 12 {
		t.Errorf("%d different proofs of 12", len(proofs))
	}
	for _, c := range []struct{ node, client string }{{"right", "right"}, {"right", "wrong"}, {"wrong", "right"}} {
		client, server := net.Pipe()
		node := &provingConn{Conn: server, token: c.node}
		read := make(chan string, 1)
		go func() {
			said, _ := io.ReadAll(node)
			read <- string(said)
		}()
		err := proveAsClient(t.Context(), client, c.client)
		if err == nil {
			_, err = io.WriteString(client, "hello")
		}
		_ = client.Close()
		if good := c.node == c.client; (err == nil) != good || (<-read == "hello") != good {
			t.Errorf("%+v: %v", c, err)
		}
		_ = server.Close()
	}
}

// TestProofIsWaitedForInVain ends when the caller does not want to wait any longer.
func TestProofIsWaitedForInVain(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.ReadFull(server, make([]byte, challengeSize))
		cancel()
	}()
	if err := proveAsClient(ctx, client, "x"); err == nil {
		t.Error("nobody proved anything")
	}
}

// TestDamagedAPIFile names what is wrong, and connects nowhere else than to this machine.
func TestDamagedAPIFile(t *testing.T) {
	t.Parallel()
	dir := founded(t)
	for _, raw := range []string{
		`{`, `{}`, `{"network":"tcp","address":"127.0.0.1:1"}`, `{"network":"tcp","address":"192.0.2.1:80","token":"x"}`,
		`{"network":"tcp","address":"localhost:80","token":"x"}`, `{"network":"unix","address":"/tmp/other.sock","token":"x"}`,
	} {
		writeFile(t, dir, APIFile, raw)
		if _, err := Dial(t.Context(), dir); err == nil || !strings.Contains(errors.Unwrap(err).Error(), "damaged") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
