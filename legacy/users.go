package legacy

import (
	"context"
	"errors"
	"strings"

	"pyvnode/ledger/record"
)

func (s *session) uadd(ctx context.Context, in request) reply {
	return s.add(ctx, in, 0, "Added user.")
}
func (s *session) aadd(ctx context.Context, in request) reply {
	return s.add(ctx, in, Administrator, "Added admin.")
}

func (s *session) add(ctx context.Context, in request, flags Flags, done string) reply {
	name, password := in.text(0), in.text(1)
	if name == "" || password == "" {
		return refuse("Must specify user name and pass.", in.name)
	}
	if err := s.server.accounts.Add(ctx, name, password, flags); err != nil {
		return s.accountError(err, in, name)
	}
	s.log.Info("user made", "user", name, "flags", flags, "by", s.account.Name)
	return ok(done, name)
}

func (s *session) udel(ctx context.Context, in request) reply {
	name := in.text(0)
	err := s.server.accounts.Delete(ctx, name)
	switch {
	case errors.Is(err, ErrNoUser):
		return refuse("No such user", name)
	case errors.Is(err, ErrInitialUser):
		return refuse("Cannot delete uini user", name)
	case errors.Is(err, ErrLastAdministrator):
		return refuse("Cannot delete the only administrator", name)
	case err != nil:
		return s.accountError(err, in, name)
	}
	s.log.Info("user deleted", "user", name, "by", s.account.Name)
	return ok("deleted user", name)
}

// uena lets a user in or locks one out. All its replies but one are tuples.
func (s *session) uena(ctx context.Context, in request) reply {
	if !in.has(1) {
		return refuse("Must specify user name and flag.", in.name).asTuple()
	}
	name := in.text(0)
	word, disable := "enabled", false
	switch in.text(1) {
	case "enable":
	case "disable":
		word, disable = "disabled", true
	default:
		return refuse("Must specify 'enable' or 'disable'", in.name)
	}
	err := s.server.accounts.SetDisabled(ctx, name, disable)
	switch {
	case errors.Is(err, ErrNoUser):
		return refuse("No such user", name).asTuple()
	case errors.Is(err, ErrInitialUser):
		return refuse("Cannot disable uini user", name).asTuple()
	case errors.Is(err, ErrLastAdministrator):
		return refuse("Cannot disable the only administrator", name).asTuple()
	case err != nil:
		return s.accountError(err, in, name)
	}
	s.log.Info("user "+word, "user", name, "by", s.account.Name)
	return ok(name, word).asTuple()
}

// userNames writes names as the original lists them, which is as it keeps them in its file
// (docs/original-protocol.md §9).
var userNames = strings.NewReplacer("%", "%%", " ", "%20", ",", "%2c", "'", "%27", `"`, "%22")

// ulist lists users; as users, those who are nothing more. Its reply is the bare list of names.
func (s *session) ulist(ctx context.Context, in request) reply {
	if !in.has(0) {
		return refuse("Must specify user / admin flag", in.name).asTuple()
	}
	wanted, isList := map[string]func(User) bool{
		"user":       func(u User) bool { return u.Flags == 0 },
		"admin":      func(u User) bool { return u.Is(Administrator) },
		"initial":    func(u User) bool { return u.Is(Initial) },
		"disabled":   func(u User) bool { return u.Is(Disabled) },
		"replicator": func(u User) bool { return u.Is(Replicator) },
	}[in.text(0)]
	if !isList {
		return refuse("Must specify 'user' or 'admin' or 'disabled' or 'initial'", in.name)
	}
	users, err := s.server.accounts.Users(ctx)
	if err != nil {
		return s.internal("accounts", err)
	}
	names := record.List{}
	for _, u := range users {
		if wanted(u) {
			names = append(names, record.Text(userNames.Replace(u.Name)))
		}
	}
	return reply{value: names}
}

// chpass changes a password. A user who knows the old one may change his own, an administrator any.
func (s *session) chpass(ctx context.Context, in request) reply {
	name, old, password := in.text(0), in.text(1), in.text(2)
	if !s.account.Is(Administrator) {
		if name != s.account.Name {
			return refuse("Non admins can only change their own password.", in.name)
		}
		_, err := s.server.accounts.Authenticate(ctx, name, old, s.from)
		var limited *LimitedError
		switch {
		case errors.Is(err, ErrBadPassword):
			s.log.Warn("password not changed", "user", name, "reason", err)
			return refuse("Old pass must match", in.name)
		case errors.As(err, &limited):
			s.limited(name, limited)
			return refuse("Too many failed attempts, try again later.", in.name)
		case err != nil:
			return s.accountError(err, in, name)
		}
	}
	if password == "" {
		return refuse("Must specify new_pass.", in.name)
	}
	err := s.setPassword(ctx, name, password)
	if errors.Is(err, ErrNoUser) {
		return refuse("No such user.", name)
	}
	if err != nil {
		return s.accountError(err, in, name)
	}
	s.log.Info("password changed", "user", name, "by", s.account.Name)
	return ok("Pass changed", name)
}

// setPassword changes a password. All sessions that the user has end with it, but not the one in which he changed it himself.
func (s *session) setPassword(ctx context.Context, name, password string) error {
	if name != s.account.Name {
		return s.server.accounts.SetPassword(ctx, name, password)
	}
	account, err := s.server.accounts.ChangePassword(ctx, s.account, password)
	if err == nil {
		s.account = account
	}
	return err
}

// accountError answers for the errors that accounts of every kind of change can have.
func (s *session) accountError(err error, in request, name string) reply {
	switch {
	case errors.Is(err, ErrUserExists):
		return refuse("Can not add, Duplicate User ", name)
	case errors.Is(err, ErrNoUser):
		return refuse("No such user", name)
	case errors.Is(err, ErrUserName):
		return refuse("This cannot be the name of a user.", name)
	case errors.Is(err, ErrPassword):
		return refuse("This cannot be a password.", in.name)
	}
	return s.internal("accounts", err)
}
