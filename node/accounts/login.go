package accounts

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

// Authenticate checks a user's password. The errors that are the caller's to handle are [ErrNoUser], [ErrBadPassword],
// [ErrDisabled] if the password is right, [ErrAddress] of a replicator whatever the password, [*LimitedError] and
// [ErrBusy]. The first three take the same time.
func (a *Accounts) Authenticate(ctx context.Context, name, password string, from netip.Addr) (User, error) {
	for {
		compared, fresh, err := a.compare(ctx, name, password, from)
		if err != nil {
			return User{}, err
		}
		now, err := a.find(name)
		switch {
		case err != nil:
			return User{}, err
		case now.Password != compared: // changed meanwhile, or hashed anew by another login
			continue
		case now.Flags.Has(Disabled):
			return User{}, ErrDisabled
		}
		a.attempts.remember(now.Name, addressOf(from))
		if fresh != "" {
			a.rehash(ctx, now, fresh)
		}
		return now.user(), nil
	}
}

// compare waits for a turn and compares a password. If it is right, it returns the hash that it was compared with and, if
// that is outdated, a fresh one.
func (a *Accounts) compare(ctx context.Context, name, password string, from netip.Addr) (compared, fresh hash, err error) {
	_, counts, err := a.claimed(name, from)
	if err != nil {
		return "", "", err
	}
	if wait := a.attempts.wait(counts, addressOf(from), a.opts.Now()); wait > 0 { // who is over a limit need not wait for a turn
		return "", "", &LimitedError{wait}
	}
	if err := a.turns.take(ctx); err != nil {
		return "", "", err
	}
	defer a.turns.giveBack()
	u, counts, err := a.claimed(name, from)
	if err != nil {
		return "", "", err
	}
	giveBack, wait := a.attempts.password(counts, addressOf(from), a.opts.Now())
	if wait > 0 {
		return "", "", &LimitedError{wait}
	}
	if fresh, err = compare(u, password, from); err != nil {
		return "", "", err
	}
	giveBack()
	return u.Password, fresh, nil
}

// claimed returns the user whom somebody claims to be, nil where there is none of that name, and for whom a failure counts: not
// for a replicator, when it may not log in from there.
func (a *Accounts) claimed(name string, from netip.Addr) (u *account, counts string, err error) {
	u, err = a.find(name)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return nil, "", err
	}
	if u != nil && u.allows(from) {
		counts = u.Name
	}
	return u, counts, nil
}

// allows reports whether a user may log in from an address.
func (u *account) allows(from netip.Addr) bool {
	return !u.Flags.Has(Replicator) || slices.ContainsFunc(u.From, func(p netip.Prefix) bool { return p.Contains(from.Unmap().WithZone("")) })
}

// compare checks a password, with as much work where there is no user, or one with the original's cheap hash, as where
// there is one. If the password is right and its hash outdated it returns a fresh one.
func compare(u *account, password string, from netip.Addr) (fresh hash, err error) {
	switch {
	case u == nil && checkPassword(password) != nil:
		return "", ErrNoUser
	case u == nil:
		newHash(password)
		return "", ErrNoUser
	case !u.allows(from):
		return "", ErrAddress
	case checkPassword(password) != nil:
		return "", ErrBadPassword
	}
	p, err := parseHash(u.Password)
	if err != nil {
		return "", err
	}
	ok := p.matches(password)
	if p.legacy || ok && p.outdated() {
		fresh = newHash(password)
	}
	if !ok {
		return "", ErrBadPassword
	}
	return fresh, nil
}

var errChanged = errors.New("the password was changed meanwhile")

// rehash puts a fresh hash of the same password in place of an outdated one. The login is good without it.
func (a *Accounts) rehash(ctx context.Context, u *account, fresh hash) {
	err := a.change(ctx, u.Name, func(now *account) error {
		if now.Password != u.Password {
			return errChanged
		}
		now.Password = fresh
		return nil
	})
	if err != nil && !errors.Is(err, errChanged) {
		a.opts.Logger.Warn("a password could not be hashed anew; it will be at the next login", "user", u.Name, "error", err)
	}
}

// VerifyCode checks a code of a user's second factor and uses it up. It is for users whose password is right: nothing but
// the limit of codes holds up who guesses them. The errors that are the caller's to handle are [ErrNoUser],
// [ErrDisabled], [ErrNotEnrolled], [ErrBadCode] and [*LimitedError].
func (a *Accounts) VerifyCode(ctx context.Context, name, code string, from netip.Addr) error {
	u, err := a.find(name)
	if err != nil {
		return err
	}
	giveBack, wait := a.attempts.code(u.Name, addressOf(from), a.opts.Now())
	if wait > 0 {
		return &LimitedError{wait}
	}
	use := func(u *account) error {
		switch {
		case u.Flags.Has(Disabled):
			return ErrDisabled
		case u.Second == nil:
			return ErrNotEnrolled
		}
		step, err := u.Second.match(code, a.opts.Now())
		if err != nil {
			return err
		}
		u.Second = &secondFactor{Secret: u.Second.Secret, Shown: true, LastStep: step}
		return nil
	}
	copied := *u
	if err = use(&copied); err == nil { // so that a wrong code does not cost a lock
		err = a.change(ctx, u.Name, use)
	}
	if !errors.Is(err, ErrBadCode) {
		giveBack()
	}
	return err
}
