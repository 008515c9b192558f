package accounts

import (
	"cmp"
	"context"
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
		if err := do(&u); err != nil {
			return err
		}
		users[name] = &u
		return nil
	})
}

// Initialise makes the first user, an administrator who cannot be deleted. The errors that are the caller's to handle are
// [ErrHasInitial], when there is any user, [ErrUserName] and [ErrPassword].
func (a *Accounts) Initialise(ctx context.Context, name, password string) error {
	vacant := func(users map[string]*account) error {
		if len(users) > 0 {
			return ErrHasInitial
		}
		return nil
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
	fresh := make([]*account, 0, min(len(imported), MaxUsers))
	for _, i := range imported {
		name, err := NormalName(i.Name)
		if err != nil {
			return err
		}
		p, err := parseLegacy(string(i.Hash))
		if err == nil && i.Flags.Has(Replicator) {
			err = fmt.Errorf("%w: the original has no replicators", ErrFlags)
		}
		if err := cmp.Or(err, i.Flags.check(nil)); err != nil {
			return fmt.Errorf("user %q: %w", name, err)
		}
		fresh = append(fresh, &account{Name: name, Flags: i.Flags, Password: p.text()})
	}
	return a.file.change(ctx, func(users map[string]*account) error {
		initial := false
		for _, u := range users {
			initial = initial || u.Flags.Has(Initial)
		}
		for _, u := range fresh {
			if old := users[u.Name]; old != nil && old.Password == u.Password {
				return fmt.Errorf("user %q: %w", u.Name, ErrImported)
			} else if old != nil {
				return fmt.Errorf("user %q: %w", u.Name, ErrUserExists)
			}
			if u.Flags.Has(Initial) && initial {
				return fmt.Errorf("user %q: %w", u.Name, ErrHasInitial)
			}
			initial = initial || u.Flags.Has(Initial)
			users[u.Name] = u
		}
		return nil
	})
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

// Delete removes a user. The errors that are the caller's to handle are [ErrNoUser] and [ErrInitialUser].
func (a *Accounts) Delete(ctx context.Context, name string) error {
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
		delete(users, name)
		return nil
	})
	if err == nil {
		a.attempts.forget(name)
	}
	return err
}

// SetDisabled forbids a user to log in, or allows it again. The error that is the caller's to handle is [ErrNoUser]. It is
// for whoever serves a user who is logged in to look, with [Accounts.User], whether he still may.
func (a *Accounts) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return a.change(ctx, name, func(u *account) error {
		u.Flags &^= Disabled
		if disabled {
			u.Flags |= Disabled
		}
		return nil
	})
}

// SetPassword gives a user another password. The errors that are the caller's to handle are [ErrNoUser] and [ErrPassword].
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	if _, err := a.find(name); err != nil { // before the work of hashing
		return err
	}
	fresh, err := a.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.change(ctx, name, func(u *account) error {
		u.Password = fresh
		return nil
	})
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
