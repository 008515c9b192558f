package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Options configure [Open].
type Options struct {
	// Issuer is what authenticator applications show beside a user's name; "pyvnode" when empty. It is cut to 32 characters.
	Issuer string
	// Now is the time that codes and limits go by; nil means time.Now.
	Now func() time.Time
	// Logger receives what is no caller's business; nil discards it.
	Logger *slog.Logger
}

// Accounts are the users in a data directory. Its methods may be called concurrently, also by other processes. What
// returns without error is durable. Besides the errors that each method names there are those of the disk,
// [*FileError], [*store.PermissionError], [store.ErrLocked] when others hold the file too long, and the context's.
type Accounts struct {
	opts     Options
	file     *file
	turns    *turns
	attempts *attempts
}

// Open returns the users in a data directory; without a file there are none yet.
func Open(dir string, o Options) (*Accounts, error) {
	o.Issuer = cmp.Or(o.Issuer, "pyvnode")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f, err := newFile(dir)
	if err != nil {
		return nil, err
	}
	if _, err := f.current(); err != nil {
		return nil, err
	}
	return &Accounts{opts: o, file: f, turns: newTurns(), attempts: newAttempts()}, nil
}

// Close lets go of the file.
func (a *Accounts) Close() error { return a.file.close() }

// Format implements [fmt.Formatter]: users' secrets are not for printing.
func (a *Accounts) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "accounts in %s", a.file.dir) }

// LogValue implements [slog.LogValuer].
func (a *Accounts) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// User returns a user, or [ErrNoUser].
func (a *Accounts) User(_ context.Context, name string) (User, error) {
	u, err := a.find(name)
	if err != nil {
		return User{}, err
	}
	return u.user(), nil
}

// Users returns all users in the order of their names.
func (a *Accounts) Users(context.Context) ([]User, error) {
	t, err := a.file.current()
	if err != nil {
		return nil, err
	}
	users := make([]User, len(t.names))
	for i, name := range t.names {
		users[i] = t.users[name].user()
	}
	return users, nil
}

// find returns a user as the file has him.
func (a *Accounts) find(name string) (*account, error) {
	t, err := a.file.current()
	if err != nil {
		return nil, err
	}
	if name, err = NormalName(name); err != nil {
		return nil, ErrNoUser
	}
	u, ok := t.users[name]
	if !ok {
		return nil, ErrNoUser
	}
	return u, nil
}

// change replaces a user by what do makes of a copy of him.
func (a *Accounts) change(ctx context.Context, name string, do func(u *account) error) error {
	return a.changeAmong(ctx, name, func(_ map[string]*account, u *account) error { return do(u) })
}

// changeAmong is change with a look at all users.
func (a *Accounts) changeAmong(ctx context.Context, name string, do func(users map[string]*account, u *account) error) error {
	name, err := NormalName(name)
	if err != nil {
		return ErrNoUser
	}
	return a.file.change(ctx, func(users map[string]*account) error {
		old, ok := users[name]
		if !ok {
			return ErrNoUser
		}
		u := *old
		if err := do(users, &u); err != nil {
			return err
		}
		users[name] = &u
		return nil
	})
}

// Initialise makes the first user, an administrator who cannot be deleted. The errors that are the caller's to handle are
// [ErrHasInitial], when there is any user, whatever the arguments, [ErrUserName] and [ErrPassword].
func (a *Accounts) Initialise(ctx context.Context, name, password string) error {
	vacant := func(users map[string]*account) error {
		if len(users) > 0 {
			return ErrHasInitial
		}
		return nil
	}
	t, err := a.file.current()
	if err != nil {
		return err
	}
	if err := vacant(t.users); err != nil {
		return err
	}
	return a.add(ctx, &account{Name: name, Flags: Initial | Administrator}, password, vacant)
}

// Add makes a user. The errors that are the caller's to handle are [ErrUserExists], [ErrUserName], [ErrPassword], [ErrFlags]
// and [ErrTooMany].
func (a *Accounts) Add(ctx context.Context, name, password string, flags Flags) error {
	if flags.Has(Initial) {
		return fmt.Errorf("%w: the initial user is the first", ErrFlags)
	}
	return a.add(ctx, &account{Name: name, Flags: flags}, password, nil)
}

// AddReplicator makes a restricted account for a server that pushes records here and may log in from addresses with these
// prefixes only. Errors are as of [Accounts.Add].
func (a *Accounts) AddReplicator(ctx context.Context, name, password string, from []netip.Prefix) error {
	return a.add(ctx, &account{Name: name, Flags: Replicator, From: slices.Clone(from)}, password, nil)
}

func (a *Accounts) add(ctx context.Context, u *account, password string, allowed func(map[string]*account) error) (err error) {
	if u.Name, err = NormalName(u.Name); err != nil {
		return err
	}
	if err := cmp.Or(u.Flags.check(u.From), checkPassword(password)); err != nil {
		return err
	}
	free := func(users map[string]*account) error {
		if allowed != nil {
			if err := allowed(users); err != nil {
				return err
			}
		}
		if users[u.Name] != nil {
			return ErrUserExists
		}
		return nil
	}
	t, err := a.file.current()
	if err != nil {
		return err
	}
	if err := free(t.users); err != nil { // before the work of hashing
		return err
	}
	if u.Password, err = a.hash(ctx, password); err != nil {
		return err
	}
	return a.file.change(ctx, func(users map[string]*account) error {
		if err := free(users); err != nil {
			return err
		}
		u.renew()
		users[u.Name] = u
		return nil
	})
}

// hash hashes a password when it is its turn.
func (a *Accounts) hash(ctx context.Context, password string) (hash, error) {
	if err := a.turns.take(ctx); err != nil {
		return "", err
	}
	defer a.turns.giveBack()
	return newHash(password), nil
}

// Imported is a user of the original server, as its passwd.secret has him (docs/original-protocol.md §9).
type Imported struct {
	Name  string // with the file's escapes undone
	Flags Flags  // Initial, Administrator and Disabled
	Hash  LegacyHash
}

// LegacyHash is what the original keeps of a password: sha256hex(password + salt) + salt, 72 characters. It prints as nothing.
type LegacyHash string

// Format implements [fmt.Formatter].
func (LegacyHash) Format(f fmt.State, _ rune) { redact(f) }

// LogValue implements [slog.LogValuer].
func (LegacyHash) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements [encoding.TextMarshaler], for JSON.
func (LegacyHash) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Import adds users of the original server, all or none. Their passwords are hashed anew when they next log in. The errors
// that are the caller's to handle are [ErrImported], [ErrUserExists], [ErrHasInitial], [ErrUserName], [ErrFlags] and [ErrTooMany]; each
// says which user it is about.
func (a *Accounts) Import(ctx context.Context, imported []Imported) error {
	return a.file.change(ctx, func(users map[string]*account) error {
		return errors.Join(importInto(users, imported)...)
	})
}

// ImportEach is Import of those who can be imported. It returns an error for each of the others, in the place of the user, and
// changes the file once, however many they are.
func (a *Accounts) ImportEach(ctx context.Context, imported []Imported) (each []error, err error) {
	err = a.file.change(ctx, func(users map[string]*account) error {
		before := len(users)
		if each = importInto(users, imported); len(users) == before {
			return errNothingNew
		}
		return nil
	})
	if errors.Is(err, errNothingNew) {
		err = nil
	}
	return each, err
}

var errNothingNew = errors.New("nothing to write")

// importInto adds users who can be added, and returns an error for each of the others, nil in the place of those.
func importInto(users map[string]*account, imported []Imported) []error {
	initial := false
	for _, u := range users {
		initial = initial || u.Flags.Has(Initial)
	}
	each := make([]error, len(imported))
	for n, i := range imported {
		u, err := i.account()
		if err == nil {
			switch old := users[u.Name]; {
			case old != nil && old.Password == u.Password:
				err = ErrImported
			case old != nil:
				err = ErrUserExists
			case u.Flags.Has(Initial) && initial:
				err = ErrHasInitial
			case len(users) >= MaxUsers:
				err = ErrTooMany
			}
			if err != nil {
				err = fmt.Errorf("user %q: %w", u.Name, err)
			}
		}
		if err != nil {
			each[n] = err
			continue
		}
		initial = initial || u.Flags.Has(Initial)
		users[u.Name] = u
	}
	return each
}

// account returns a user as the file has him.
func (i Imported) account() (*account, error) {
	name, err := NormalName(i.Name)
	if err != nil {
		return nil, err
	}
	p, err := parseLegacy(string(i.Hash))
	if err == nil && i.Flags.Has(Replicator) {
		err = fmt.Errorf("%w: the original has no replicators", ErrFlags)
	}
	if err := cmp.Or(err, i.Flags.check(nil)); err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	u := &account{Name: name, Flags: i.Flags, Password: p.text()}
	u.renew()
	return u, nil
}

// Export returns the users whose passwords the original server can check, those that were imported and have not logged in
// since, and the names of the others.
func (a *Accounts) Export(context.Context) (users []Imported, others []string, err error) {
	t, err := a.file.current()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range t.names {
		u := t.users[name]
		p, err := parseHash(u.Password)
		if err != nil {
			return nil, nil, fmt.Errorf("user %q: %w", name, err)
		}
		if !p.legacy {
			others = append(others, name)
			continue
		}
		users = append(users, Imported{Name: name, Flags: u.Flags, Hash: LegacyHash(fmt.Sprintf("%x%s", p.key, p.salt))})
	}
	return users, others, nil
}

// Rule is a condition for taking a user's rights away, which returns why not.
type Rule func(users map[string]*account, u *account) error

// KeepAdministrator is the rule for whoever acts over a network: the last administrator who may log in stays. The operator can
// always make another, and needs no such rule.
func KeepAdministrator(users map[string]*account, u *account) error {
	if !u.administers() {
		return nil
	}
	for _, other := range users {
		if other.Name != u.Name && other.administers() {
			return nil
		}
	}
	return ErrLastAdministrator
}

// Delete removes a user, unless a rule is against it. The errors that are the caller's to handle are [ErrNoUser],
// [ErrInitialUser] and those of the rules.
func (a *Accounts) Delete(ctx context.Context, name string, rules ...Rule) error {
	name, err := NormalName(name)
	if err != nil {
		return ErrNoUser
	}
	err = a.file.change(ctx, func(users map[string]*account) error {
		u, ok := users[name]
		switch {
		case !ok:
			return ErrNoUser
		case u.Flags.Has(Initial):
			return ErrInitialUser
		}
		for _, rule := range rules {
			if err := rule(users, u); err != nil {
				return err
			}
		}
		delete(users, name)
		return nil
	})
	if err == nil {
		a.attempts.forget(name)
	}
	return err
}

// SetDisabled forbids a user to log in, unless a rule is against it, or allows it again. The errors that are the caller's to
// handle are [ErrNoUser] and those of the rules. It is for whoever serves a user who is logged in to look, with
// [Accounts.User], whether he still may.
func (a *Accounts) SetDisabled(ctx context.Context, name string, disabled bool, rules ...Rule) error {
	return a.changeAmong(ctx, name, func(users map[string]*account, u *account) error {
		flags := u.Flags &^ Disabled
		if disabled {
			flags |= Disabled
			for _, rule := range rules {
				if err := rule(users, u); err != nil {
					return err
				}
			}
		}
		if flags != u.Flags {
			u.Flags = flags
			u.renew()
		}
		return nil
	})
}

// SetPassword gives a user another password. The errors that are the caller's to handle are [ErrNoUser] and [ErrPassword].
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	_, err := a.setPassword(ctx, name, password, func(*account) bool { return true })
	return err
}

// ChangePassword is SetPassword by a user who is logged in, on himself. It returns him as he is then, so that what serves him
// can go on. Where he was changed since he logged in the error is [ErrNoUser]: it is not he any more.
func (a *Accounts) ChangePassword(ctx context.Context, u User, password string) (User, error) {
	return a.setPassword(ctx, u.Name, password, func(now *account) bool { return now.Generation == u.Generation })
}

func (a *Accounts) setPassword(ctx context.Context, name, password string, same func(*account) bool) (changed User, err error) {
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	if _, err := a.find(name); err != nil { // before the work of hashing
		return User{}, err
	}
	fresh, err := a.hash(ctx, password)
	if err != nil {
		return User{}, err
	}
	err = a.change(ctx, name, func(u *account) error {
		if !same(u) {
			return ErrNoUser
		}
		u.Password = fresh
		u.renew()
		changed = u.user()
		return nil
	})
	return changed, err
}

// Enrol makes a second factor for a user, in place of the one that he may have, which is worth nothing from then on. The
// errors that are the caller's to handle are [ErrNoUser] and [ErrNoSecondFactor].
func (a *Accounts) Enrol(ctx context.Context, name string) (*Enrolment, error) {
	var e *Enrolment
	err := a.change(ctx, name, func(u *account) (err error) {
		if u.Flags.Has(Replicator) {
			return ErrNoSecondFactor
		}
		u.Second = &secondFactor{Secret: newSecret()}
		u.renew()
		e, err = newEnrolment(a.opts.Issuer, u.Name, u.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// QRImage returns the QR code of a user's second factor as a PNG image: once to a user who has given his password, and
// after that, or once he has given a code, only to a verified one. The errors that are the caller's to handle are
// [ErrNoUser], [ErrNotEnrolled] and [ErrAlreadyShown].
func (a *Accounts) QRImage(ctx context.Context, name string, verified bool) ([]byte, error) {
	image := func(u *account) ([]byte, error) {
		if u.Second == nil {
			return nil, ErrNotEnrolled
		}
		if u.Second.Shown && !verified {
			return nil, ErrAlreadyShown
		}
		e, err := newEnrolment(a.opts.Issuer, u.Name, u.Second)
		if err != nil {
			return nil, err
		}
		return e.PNG()
	}
	u, err := a.find(name)
	if err != nil {
		return nil, err
	}
	out, err := image(u)
	if err != nil || verified {
		return out, err
	}
	err = a.change(ctx, name, func(u *account) (err error) { // of several at once, one gets it
		if out, err = image(u); err != nil {
			return err
		}
		second := *u.Second
		second.Shown = true
		u.Second = &second
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
