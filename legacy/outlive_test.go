package legacy_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

// TestSessionsEnd is a session of a user as he was when he logged in: not after another password, second factor or flags, nor
// of somebody who has his name since. Only whoever changes his own password goes on.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	const out = "['ERR', 'Out of Sequence command issued', 'pwd']"
	for name, change := range map[string]func(t *testing.T, w *world, admin, bob *legacytest.Peer){
		"password by an administrator": func(t *testing.T, _ *world, admin, _ *legacytest.Peer) {
			wantOK(t, admin.Call(t, "chpass", "bob", "", "new"))
		},
		"password by himself": func(t *testing.T, _ *world, _, bob *legacytest.Peer) {
			wantOK(t, bob.Call(t, "chpass", "bob", "pw", "new"))
			wantReply(t, bob.Call(t, "pwd"), "['OK', '/']")
		},
		"second factor": func(_ *testing.T, w *world, _, _ *legacytest.Peer) { w.accounts.Enrol("bob", "123456") },
		"disabled and enabled": func(t *testing.T, _ *world, admin, _ *legacytest.Peer) {
			wantOK(t, admin.Call(t, "uena", "bob", "disable"))
			wantOK(t, admin.Call(t, "uena", "bob", "enable"))
		},
		"deleted and made anew": func(t *testing.T, _ *world, admin, _ *legacytest.Peer) {
			wantOK(t, admin.Call(t, "udel", "bob"))
			wantOK(t, admin.Call(t, "uadd", "bob", "a new person"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			admin, bob, thief := w.login(t, "admin"), w.login(t, "bob"), w.login(t, "bob")
			wantOK(t, thief.Call(t, "file", "f"))
			change(t, w, admin, bob)
			wantReply(t, thief.Call(t, "pwd"), out)
			w.nothingLeft(t)
			wantReply(t, admin.Call(t, "pwd"), "['OK', '/']")
		})
	}
}

// TestUploadEndsWithItsUser leaves nothing of a file whose user was changed before its end.
func TestUploadEndsWithItsUser(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin, thief := w.login(t, "admin"), w.login(t, "bob")
	wantOK(t, thief.Call(t, "fput", "f"))
	must(t, thief.Send(record.Bytes("content")))
	wantOK(t, admin.Call(t, "udel", "bob"))
	wantOK(t, admin.Call(t, "uadd", "bob", "pw"))
	must(t, thief.Send(record.Bytes("")))
	reply, err := thief.Receive()
	must(t, err)
	wantError(t, reply, "Upload abandoned, the user was changed meanwhile.")
	wantReply(t, thief.Call(t, "pwd"), "['ERR', 'Out of Sequence command issued', 'pwd']")
	wantReply(t, w.login(t, "bob").Call(t, "ls"), "['OK']")
	w.nothingLeft(t)
}

// TestOldPasswordChangesNothing has a session that began before another password cannot set one more.
func TestOldPasswordChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before, err := w.accounts.User(t.Context(), "admin")
	must(t, err)
	must(t, w.accounts.SetPassword(t.Context(), "admin", "new"))
	if _, err := w.accounts.ChangePassword(t.Context(), before, "third"); err != legacy.ErrNoUser {
		t.Errorf("%v", err)
	}
}

// TestUiniOff leaves the first user to the operator, for clients on this machine too.
func TestUiniOff(t *testing.T) {
	t.Parallel()
	w := &world{ledger: legacytest.NewLedger(t), accounts: legacytest.NewAccounts(), dir: t.TempDir()}
	w.serve(t, func(o *legacy.Options) { o.UiniOff = true })
	wantError(t, w.dial(t).Call(t, "uini", "root", "pw"), "by the operator")
	users, err := w.accounts.Users(t.Context())
	must(t, err)
	if len(users) > 0 {
		t.Errorf("%v", users)
	}
}

// journal is a log in memory.
type journal struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.String()
}

// logged is a way to start a server with a log.
func logged(j *journal) func(*legacy.Options) {
	return func(o *legacy.Options) { o.Logger = slog.New(slog.NewTextHandler(j, nil)) }
}

// TestVisitsAreLogged says who came, failed and went, and never a password or a code.
func TestVisitsAreLogged(t *testing.T) {
	t.Parallel()
	var j journal
	w := start(t, logged(&j))
	w.accounts.Enrol("bob", "424242")
	w.accounts.Limit = func(name string) error {
		if name == "limited" {
			return &legacy.LimitedError{}
		}
		return nil
	}
	p := w.dial(t)
	p.StartSession(t)
	wantOK(t, p.Call(t, "user", "eve\nlevel=INFO msg=login user=\x1b[31madmin"))
	wantError(t, p.Call(t, "pass", "geheim-1"), "No such user")
	wantOK(t, p.Call(t, "user", "limited"))
	wantError(t, p.Call(t, "pass", "geheim-2"), "Too many")
	p.Login(t, "bob", "pw")
	wantError(t, p.Call(t, "twofa", "131313"), "Invalid") // the third failure
	eventually(t, func() bool { return strings.Contains(j.String(), "too many failed attempts") })
	p = w.login(t, "bob")
	wantOK(t, p.Call(t, "twofa", "424242"))
	wantOK(t, p.Call(t, "chpass", "bob", "pw", "geheim-3"))
	wantOK(t, p.Call(t, "logout"))
	p.Login(t, "bob", "geheim-3")
	wantOK(t, p.Call(t, "quit"))
	said := ""
	eventually(t, func() bool { said = j.String(); return strings.Contains(said, "quit") })
	for _, want := range []string{
		`msg="client connected" connection=1 from=127.0.0.1`,
		`msg="login failed" connection=1 from=127.0.0.1 user="eve\nlevel=INFO msg=login user=\x1b[31madmin" reason="no such user"`,
		`msg="login limited" connection=1 from=127.0.0.1 user=limited`,
		`msg="second factor failed" connection=1 from=127.0.0.1 user=bob`,
		`msg="client left" connection=1 from=127.0.0.1 user=bob reason="too many failed attempts"`,
		`msg=login connection=2 from=127.0.0.1 user=bob`,
		`msg="second factor" connection=2 from=127.0.0.1 user=bob`,
		`msg="password changed" connection=2 from=127.0.0.1 user=bob`,
		`msg=logout connection=2 from=127.0.0.1 user=bob`,
		`msg="client left" connection=2 from=127.0.0.1 user=bob reason="it quit"`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s", want)
		}
	}
	for _, secret := range []string{"geheim", "131313", "424242", "\x1b", "user=admin"} {
		if strings.Contains(said, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// TestStrangersDoNotFillTheLog bounds what comes of those who are not logged in, each sort of line by itself.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	var j journal
	w := start(t, logged(&j))
	const many = 1000
	for range many {
		s := w.NewSession(mustAddr(t, "192.0.2.1"))
		s.Do(t.Context(), legacytest.Request("user", strings.Repeat("x", 200)))
		s.Do(t.Context(), legacytest.Request("pass", "guess"))
	}
	if n := strings.Count(j.String(), "login failed"); n < 100 || n > 200 {
		t.Errorf("%d lines about %d failures", n, many)
	}
	if strings.Contains(j.String(), strings.Repeat("x", 65)) {
		t.Error("a long name is logged whole")
	}
	p := w.login(t, "bob") // is logged all the same
	wantOK(t, p.Call(t, "quit"))
	if !strings.Contains(j.String(), "msg=login connection") {
		t.Error("a login is not logged")
	}
}
