package legacy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Server speaks the original protocol with original clients, over a node's ledger and accounts.
//
// The protocol's encryption keeps out the merely curious: every message of a session is encrypted with the same key
// stream, and nothing authenticates it. So the server listens on loopback unless told otherwise.
type Server struct {
	options  Options
	ledger   Ledger
	accounts Accounts
	log      *slog.Logger

	site      *site
	homes     *homes
	throttle  *throttle
	visits    visits
	listener  net.Listener
	checking  chan struct{} // holds the one `rcheck` that goes on
	transfers chan struct{} // hold up- and downloads that go on
	coding    chan struct{} // hold messages that are being decoded or encoded

	stopping chan struct{}   // closed when Close begins
	ctx      context.Context // ends when commands must
	cancel   context.CancelFunc
	lastID   atomic.Uint64
	done     sync.WaitGroup

	mu      sync.Mutex
	closing bool
	open    map[*connection]struct{}
	from    map[netip.Prefix]int // open connections
	delayed int                  // of them, those that wait for their greeting
}

// closeGrace is how long [Server.Close] lets commands under way come to their end.
const closeGrace = 5 * time.Second

// Start opens the data root, listens, and serves until Close. The errors are those of the file
// system and of listening. They tell what to do if that is not plain.
func Start(ctx context.Context, o Options, ledger Ledger, accounts Accounts) (*Server, error) {
	s, err := newServer(o, ledger, accounts)
	if err != nil {
		return nil, err
	}
	o = s.options
	s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", o.Address)
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("the server of the original protocol cannot listen on %s (is another one running?): %w", o.Address, err)
	}
	s.announce()
	s.done.Go(s.accept)
	return s, nil
}

// newServer makes a server that does not listen.
func newServer(o Options, ledger Ledger, accounts Accounts) (*Server, error) {
	o = o.withDefaults()
	if o.Dir == "" {
		return nil, errors.New("the server of the original protocol needs a directory for its files")
	}
	site, err := openSite(o.Dir)
	if err != nil {
		return nil, err
	}
	homes, err := openHomes(filepath.Join(o.Dir, payloadDir), o.Limits)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, ledger: ledger, accounts: accounts, log: o.Logger,
		site: site, homes: homes, throttle: newThrottle(!o.ThrottleOff),
		checking: make(chan struct{}, 1), transfers: make(chan struct{}, o.Limits.Transfers), coding: make(chan struct{}, maxCoding),
		stopping: make(chan struct{}), open: map[*connection]struct{}{}, from: map[netip.Prefix]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// announce tells the operator what this server is not safe against.
func (s *Server) announce() {
	s.log.Info("serving the original protocol", "address", s.Addr().String(), "version", Version, "site", s.site.id)
	s.log.Warn("the encryption of the original protocol is weak: one key stream for all messages of a session, and nothing that tells when they were changed")
	if a, isTCP := s.Addr().(*net.TCPAddr); isTCP && !a.IP.IsLoopback() {
		s.log.Warn("other machines can reach the server of the original protocol; let it listen on loopback and clients come through a tunnel", "address", a.String())
	}
	if !s.options.Production {
		s.log.Warn("development mode: rput and rcheck ask for no second factor")
	}
}

// Addr returns the address on which the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Hosts returns the hosts that administrators want records to be sent on to.
func (s *Server) Hosts() []string { return s.site.hosts() }

// Close stops accepting, ends idle connections at once and others when their command is done, or after some seconds, and
// returns when nothing of the server runs any more.
func (s *Server) Close() error {
	var err error
	if s.listener != nil {
		err = s.listener.Close()
	}
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.stopping)
	}
	for c := range s.open {
		c.stopReading()
	}
	s.mu.Unlock()
	grace := time.AfterFunc(closeGrace, func() {
		s.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.open {
			_ = c.conn.Close()
		}
	})
	s.done.Wait()
	grace.Stop()
	s.cancel()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, or a client that was gone before we looked. What is open goes on.
			s.log.Warn("a connection could not be accepted", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.stopping:
				return
			}
			continue
		}
		s.serve(conn)
	}
}

// serve takes a connection, or refuses it with a reason, and returns at once.
func (s *Server) serve(conn net.Conn) {
	c := s.newConnection(conn, remoteAddr(conn))
	wait, refusal := s.admit(c)
	if refusal != "" {
		c.session.stranger(slog.LevelWarn, refused, "reason", refusal)
		c.refuse(refusal)
		return
	}
	s.done.Go(func() {
		defer s.leave(c)
		if wait > 0 && !s.pause(wait) {
			_ = conn.Close()
			return
		}
		c.serve()
	})
}

func remoteAddr(conn net.Conn) netip.Addr {
	if a, isTCP := conn.RemoteAddr().(*net.TCPAddr); isTCP {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// admit counts a connection, and says how long its greeting has to wait, or why there is none.
func (s *Server) admit(c *connection) (wait time.Duration, refusal string) {
	from := neighbourhood(c.session.from)
	wait = s.throttle.delay(from, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := s.options.Limits
	switch {
	case s.closing:
		return 0, "The server is stopping."
	case len(s.open) >= limits.Connections:
		return 0, "Too many connections, try again later."
	case s.from[from] >= limits.PerAddress:
		return 0, "Too many connections from your address, close some first."
	case wait > 0 && s.delayed >= limits.Delayed:
		return 0, "Too many connections at once, try again later."
	}
	s.open[c] = struct{}{}
	s.from[from]++
	if wait > 0 {
		s.delayed++
	}
	return wait, ""
}

// pause waits before a greeting; false means that the server stops.
func (s *Server) pause(wait time.Duration) bool {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.delayed--
	}()
	select {
	case <-time.After(wait):
		return true
	case <-s.stopping:
		return false
	}
}

func (s *Server) leave(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	from := neighbourhood(c.session.from)
	if s.from[from]--; s.from[from] <= 0 {
		delete(s.from, from)
	}
}

func (s *Server) nextID() string { return strconv.FormatUint(s.lastID.Add(1), 10) }
