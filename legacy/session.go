package legacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"path"
	"strconv"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// state is how far a session has come (docs/original-protocol.md §5).
type state int

const (
	stateInitial  state = 0
	statePassword state = 5
	stateProven   state = 6
)

// session is what the server remembers of a connection between two commands. It belongs to the connection's goroutine.
type session struct {
	server *Server
	log    *slog.Logger
	id     string // of the connection
	from   netip.Addr

	key     wire.SessionKey // "" until `sess`
	offered *wire.PrivateKey
	timeout time.Duration
	chunk   int // length of the frames of a download

	state     state
	candidate string // the name that `user` gave
	account   User   // from statePassword on
	failures  int    // of `pass` and `twofa`, over the whole connection

	home *home  // the user's directory, open while it is in use
	cwd  string // in it; "." at the top
	part *part  // the upload that `file` began

	// watch is for commands that take long: it returns a context that ends when the client is gone.
	watch func(context.Context) (watched context.Context, stop context.CancelFunc)
}

func (s *Server) newSession(id string, from netip.Addr) *session {
	return &session{
		server: s, log: s.log.With("connection", id, "from", from), id: id, from: from,
		timeout: s.options.Timeout, chunk: defaultChunk, cwd: ".", watch: context.WithCancel,
	}
}

// forget logs the session out. An upload that was under way is gone.
func (s *session) forget() {
	s.abandonUpload()
	if s.home != nil {
		s.home.release()
		s.home = nil
	}
	s.state, s.account, s.candidate, s.cwd = stateInitial, User{}, "", "."
}

const internalError = "internal error, see the server's log"

// internal answers for an error that is the operator's to know.
func (s *session) internal(what string, err error) reply {
	s.log.Error("a command failed", "part", what, "error", err)
	return failed(internalError)
}

func (s *session) ver(context.Context, request) reply    { return ok(Version, s.server.site.id, s.id) }
func (s *session) siteID(context.Context, request) reply { return ok(s.server.site.id, s.id) }
func (s *session) hello(context.Context, request) reply {
	return ok("Hello", s.server.site.id, s.id)
}

func (s *session) quit(context.Context, request) reply {
	r := ok("Bye", s.id)
	r.end = true
	return r
}

func (s *session) dmode(context.Context, request) reply {
	if s.server.options.Production {
		return ok("0")
	}
	return ok("1")
}

// tout shows or sets the time that the connection may be idle. The reply is a list inside a tuple.
func (s *session) tout(_ context.Context, in request) reply {
	answer := func(words ...any) reply { return reply{value: record.Tuple{list("OK", words...)}} }
	if !in.has(0) {
		return answer("Current timeout", strconv.Itoa(int(s.timeout/time.Second)))
	}
	n, isInteger := integer(in.args[0])
	if !isInteger {
		return answer("Timeout value must be an integer", in.args[0])
	}
	if limit := int64(maxTimeout / time.Second); n < 1 || n > limit {
		return refuse("Timeout must be between 1 and "+strconv.FormatInt(limit, 10)+" seconds.", strconv.FormatInt(n, 10))
	}
	s.timeout = time.Duration(n) * time.Second
	return answer("Timeout set to ", strconv.FormatInt(n, 10))
}

// throt shows the throttle, and administrators set it.
func (s *session) throt(_ context.Context, in request) reply {
	words := map[bool]string{true: "ON", false: "OFF"}
	if !in.has(0) {
		return ok("Throttle is", words[s.server.throttle.on()])
	}
	if !s.account.Is(Administrator) {
		return refuse("Only admin can control throttle")
	}
	on, isSwitch := map[string]bool{"on": true, "ON": true, "off": false, "OFF": false}[in.text(0)]
	if !isSwitch {
		return refuse("Must specify 'on' or 'off'", in.name)
	}
	s.server.throttle.set(on)
	s.log.Info("throttle", "on", on, "user", s.account.Name)
	return ok("Throttle turned " + words[on])
}

// akey hands out a public key, under which the client encrypts a session key (docs/original-protocol.md §4).
func (s *session) akey(context.Context, request) reply {
	s.offered = s.server.site.keys.Pick()
	public := s.offered.Public().Text()
	return ok(hexSum(public), public)
}

// sess takes the session key, which the client has encrypted under the key that it was offered last. The reply is still
// under the old one.
func (s *session) sess(_ context.Context, in request) reply {
	if !in.has(2) {
		return refuse("Not enough arguments for session.")
	}
	keySum, sum, message := in.text(0), in.text(1), in.text(2)
	if hexSum(message) != sum {
		return refuse("session key damaged on transport.")
	}
	if s.offered == nil { // the client knows one from another connection
		s.offered = s.server.site.keys.Pick()
	}
	plain, err := s.offered.Decrypt(message)
	if err != nil || hexSum(string(plain)) != keySum {
		return refuse("session key damaged on decoding.")
	}
	key, err := wire.ParseSessionKey(plain)
	if err != nil {
		return refuse("not a usable session key.")
	}
	r := ok("Session estabilished.")
	r.key = key
	return r
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// buff sets the length of the frames of downloads. The reply names the default, whatever is set, as in the original.
func (s *session) buff(_ context.Context, in request) reply {
	n, isInteger := integer(in.args[0])
	if !isInteger {
		return failed("the size of a buffer is a number")
	}
	if n >= 1 && n <= maxChunk {
		s.chunk = min(int(n), wire.MaxFrame)
	}
	return ok("Buffer set to:", defaultChunk)
}

func (s *session) pwd(context.Context, request) reply { return ok(path.Join("/", s.cwd)) }
