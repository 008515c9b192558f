package legacy

import (
	"context"
	"net"
	"net/netip"
	"time"

	"pyvnode/ledger/record"
)

// Names of files and bounds that tests look at.
const (
	HostsFile        = hostsFile
	ImageFile        = imageFile
	KeyDir           = privateDir
	SiteFile         = siteFile
	PayloadDir       = payloadDir
	PartDir          = partDir
	ThrottleBurst    = throttleBurst
	ThrottleDelay    = throttleDelay
	MaxImage         = maxImage
	MaxHosts         = maxHosts
	MaxFailures      = maxFailures
	ThrottleCapacity = throttleAddresses
)

var (
	Resolve       = resolve
	Unescape      = unescape
	ErrNoAccess   = errNoAccess
	ParseRequest  = parseRequest
	NewThrottle   = newThrottle
	Neighbourhood = neighbourhood
)

// Delay is throttle.delay.
func (t *throttle) Delay(from netip.Prefix, now time.Time) bool { return t.delay(from, now) > 0 }

// Size returns how many addresses a throttle remembers.
func (t *throttle) Size() int { return len(t.recent) }

// NewServer makes a server that does not listen.
var NewServer = newServer

// Serve takes a connection that a test made.
func (s *Server) Serve(conn net.Conn) { s.serve(conn) }

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Commands returns the names of all commands.
func Commands() (names []string) {
	for _, c := range commands {
		names = append(names, c.name)
	}
	return names
}

// Session is a session without a connection.
type Session struct{ *session }

// NewSession makes a session of a client at an address.
func (s *Server) NewSession(from netip.Addr) Session { return Session{s.newSession(s.nextID(), from)} }

// Do answers one message, without the transfer that may follow it.
func (s Session) Do(ctx context.Context, message record.Value) (answer record.Value, end bool) {
	r := s.handle(ctx, message)
	if r.finally != nil {
		r.finally()
	}
	return r.value, r.end
}

// State returns how far the session has come, and who is logged in.
func (s Session) State() (state int, user User) { return int(s.state), s.account }

// End is what the end of a connection does.
func (s Session) End() { s.forget() }

// Checking reports whether an `rcheck` is under way.
func (s *Server) Checking() bool { return len(s.checking) > 0 }
