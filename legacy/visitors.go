package legacy

import (
	"context"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"
)

// What is logged of clients: that one connects, logs in, fails to, and leaves, with the address
// and, once there is one, the user. A password or code is never logged. Names that strangers gave
// are cut, and quoted by the log's handler.
//
// A stranger can come and fail as often as he likes. So of what needs no login each sort of line is
// logged visitBurst times at once and then once in visitPeriod; the next line says how many were
// left out. Lines of users who are logged in are all written: each cost a password.
const (
	connected   = "client connected"
	refused     = "client refused"
	left        = "client left"
	failedLogin = "login failed"
	lockedOut   = "login limited"
)

const (
	visitBurst  = 100
	visitPeriod = time.Second
	maxShown    = 64 // characters of a name that somebody gave
)

// visits says which lines about strangers are logged.
type visits struct {
	mu     sync.Mutex
	bySort map[string]*visit
}

type visit struct {
	full    time.Time // when the bucket will be full again
	leftOut int       // lines since the last that was logged
}

// take reports whether a line may be logged, and how many before it were not.
func (v *visits) take(sort string, now time.Time) (leftOut int, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bySort == nil {
		v.bySort = map[string]*visit{}
	}
	b := v.bySort[sort]
	if b == nil {
		b = new(visit)
		v.bySort[sort] = b
	}
	if b.full.Before(now) {
		b.full = now
	}
	if b.full.Sub(now) > (visitBurst-1)*visitPeriod {
		b.leftOut++
		return 0, false
	}
	b.full = b.full.Add(visitPeriod)
	leftOut, b.leftOut = b.leftOut, 0
	return leftOut, true
}

// stranger logs a line about somebody who is not logged in. The sort is one of the constants above: there must be few.
func (s *session) stranger(level slog.Level, sort string, args ...any) {
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	leftOut, ok := s.server.visits.take(sort, time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	s.log.Log(context.Background(), level, sort, args...)
}

// shown is a name as somebody gave it, short enough for a line.
func shown(name string) string {
	if utf8.RuneCountInString(name) <= maxShown {
		return name
	}
	return string([]rune(name)[:maxShown-1]) + "…"
}

// leaves logs the end of a connection.
func (s *session) leaves(reason string) {
	if s.state >= statePassword {
		s.log.Info(left, "user", s.account.Name, "reason", reason)
		return
	}
	s.stranger(slog.LevelInfo, left, "reason", reason)
}
