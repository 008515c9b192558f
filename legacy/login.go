package legacy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pyvnode/ledger/record"
)

// uini makes the first user. Only somebody at this machine can.
func (s *session) uini(ctx context.Context, in request) reply {
	name, password := in.text(0), in.text(1)
	switch {
	case s.server.options.UiniOff:
		return refuse("The initial user is made by the operator of this server.", in.name)
	case !s.from.IsLoopback():
		return refuse("The initial user can be made from the server's own machine only.", in.name)
	}
	err := s.server.accounts.Initialise(ctx, name, password)
	switch {
	case errors.Is(err, ErrHasInitial):
		return refuse("Already has initial user", in.name)
	case name == "" || password == "":
		return refuse("Must specify user name and pass.", in.name)
	case err != nil:
		return s.accountError(err, in, name)
	}
	s.log.Info("initial user made", "user", name)
	return ok("Added initial user", name)
}

func (s *session) user(_ context.Context, in request) reply {
	if s.state != stateInitial {
		return refuse("Already logged in")
	}
	name := in.text(0)
	if len(name) > maxName {
		return refuse("User name too long.", in.name)
	}
	s.candidate = name
	return ok("Send pass for", name)
}

// pass logs in as the user that was named. The third failure of `pass` and `twofa` together ends the connection.
func (s *session) pass(ctx context.Context, in request) reply {
	if !in.has(0) {
		return s.failure(refuse("Must specify pass.", in.name))
	}
	password, isText := in.args[0].(record.Text)
	if !isText {
		return s.failure(failed("a password is text"))
	}
	if s.candidate == "" {
		return s.failure(refuse("No such user.", ""))
	}
	account, err := s.server.accounts.Authenticate(ctx, s.candidate, string(password), s.from)
	var limited *LimitedError
	switch {
	case err == nil:
		s.state, s.account, s.candidate = statePassword, account, ""
		s.log.Info("login", "user", account.Name)
		return ok("Authenticated.", account.Name)
	case errors.As(err, &limited):
		s.limited(s.candidate, limited)
		return s.failure(refuse("Too many failed attempts, try again later.", in.name))
	}
	s.stranger(slog.LevelWarn, failedLogin, "user", shown(s.candidate), "reason", err)
	switch {
	case errors.Is(err, ErrNoUser):
		return s.failure(refuse("No such user.", s.candidate))
	case errors.Is(err, ErrBadPassword):
		return s.failure(refuse("Bad User or Bad Pass", in.name))
	case errors.Is(err, ErrDisabled):
		return s.failure(refuse("this user is temporarily disabled", password))
	case errors.Is(err, ErrAddress):
		return s.failure(refuse("This user may not log in from this address.", in.name))
	}
	return s.failure(s.internal("accounts", err))
}

// limited logs that somebody was not even heard, after too many failures.
func (s *session) limited(user string, err *LimitedError) {
	s.stranger(slog.LevelWarn, lockedOut, "user", shown(user), "wait", err.Wait.Round(time.Second))
}

// failure counts a failed attempt.
func (s *session) failure(r reply) reply {
	s.failures++
	r.end = s.failures >= maxFailures
	return r
}

func (s *session) logout(context.Context, request) reply {
	name := s.account.Name
	s.log.Info("logout", "user", name)
	s.forget()
	return ok("Logged out.", name)
}

// twofa shows that the user has the second factor. Nothing but a valid code raises the state.
func (s *session) twofa(ctx context.Context, in request) reply {
	code, isText := in.args[0].(record.Text)
	if n, isInt := in.args[0].(record.Int); isInt {
		code, isText = record.Text(n.String()), true
	}
	if !isText {
		return s.failure(refuse("Invalid 2FA code"))
	}
	err := s.server.accounts.VerifyCode(ctx, s.account.Name, string(code), s.from)
	var limited *LimitedError
	switch {
	case err == nil:
		s.state = stateProven
		s.log.Info("second factor", "user", s.account.Name)
		return ok("Code Auth OK")
	case errors.Is(err, ErrBadCode), errors.Is(err, ErrNotEnrolled):
		s.log.Warn("second factor failed", "user", s.account.Name, "reason", err)
		return s.failure(refuse("Invalid 2FA code"))
	case errors.As(err, &limited):
		s.limited(s.account.Name, limited)
		return s.failure(refuse("Too many failed attempts, try again later.", in.name))
	}
	return s.failure(s.internal("accounts", err))
}

// qr shows the user's secret as an image: once after enrolment, and later to a user who has proved
// to have it. A user who has not enrolled sees the image of the site, which an administrator can
// set.
func (s *session) qr(ctx context.Context, in request) reply {
	if in.has(0) {
		return s.setQR(in)
	}
	if s.state >= statePassword {
		image, err := s.server.accounts.QRImage(ctx, s.account.Name, s.state >= stateProven)
		switch {
		case err == nil:
			return ok(image)
		case errors.Is(err, ErrAlreadyShown):
			return refuse("The image was shown before; it is shown again after twofa.", in.name)
		case !errors.Is(err, ErrNotEnrolled):
			return s.internal("accounts", err)
		}
	}
	if image := s.server.site.image(); len(image) > 0 {
		return ok(image)
	}
	return refuse("No QR image on server")
}

func (s *session) setQR(in request) reply {
	if s.state < statePassword || !s.account.Is(Administrator) {
		return refuse("Only admin can upload QR image", s.id)
	}
	image, isBytes := in.args[0].(record.Bytes)
	switch {
	case !isBytes:
		return failed("an image is bytes")
	case len(image) > maxImage:
		return refuse("The image is too large.", in.name)
	}
	if err := s.server.site.setImage(image); err != nil {
		return s.internal("QR image", err)
	}
	return ok("Written new QR image", len(image))
}
