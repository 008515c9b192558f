package legacytest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"pyvnode/legacy"
)

// Accounts is a [legacy.Accounts] in memory.
type Accounts struct {
	// Limit, unless nil, may refuse an attempt at a password or code before it is looked at.
	Limit func(name string) error
	// Last is the one administrator who must stay; empty for none.
	Last string

	mu    sync.Mutex
	users map[string]*account
	last  uint64 // generation
}

type account struct {
	legacy.User
	password string
	code     string
	shown    bool
	from     netip.Addr // if valid, the one address to log in from
}

// NewAccounts returns accounts without a user.
func NewAccounts() *Accounts { return &Accounts{users: map[string]*account{}} }

// Enrol gives a user a second factor with one code that is valid for ever.
func (a *Accounts) Enrol(name, code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users[name].code, a.users[name].Enrolled = code, true
	a.renew(a.users[name])
}

// Restrict lets a user log in from one address only.
func (a *Accounts) Restrict(name string, from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users[name].from = from
}

func (a *Accounts) user(name string) (*account, error) {
	u := a.users[name]
	if u == nil {
		return nil, legacy.ErrNoUser
	}
	return u, nil
}

// renew gives a user another generation.
func (a *Accounts) renew(u *account) {
	a.last++
	u.Generation = a.last
}

func (a *Accounts) limit(name string) error {
	if a.Limit == nil {
		return nil
	}
	return a.Limit(name)
}

// Authenticate implements [legacy.Accounts].
func (a *Accounts) Authenticate(_ context.Context, name, password string, from netip.Addr) (legacy.User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.limit(name); err != nil {
		return legacy.User{}, err
	}
	u, err := a.user(name)
	switch {
	case err != nil:
		return legacy.User{}, err
	case u.password != password:
		return legacy.User{}, legacy.ErrBadPassword
	case u.Is(legacy.Disabled):
		return legacy.User{}, legacy.ErrDisabled
	case u.from.IsValid() && u.from != from:
		return legacy.User{}, legacy.ErrAddress
	}
	return u.User, nil
}

// Initialise implements [legacy.Accounts].
func (a *Accounts) Initialise(ctx context.Context, name, password string) error {
	a.mu.Lock()
	n := len(a.users)
	a.mu.Unlock()
	if n > 0 {
		return legacy.ErrHasInitial
	}
	return a.Add(ctx, name, password, legacy.Initial|legacy.Administrator)
}

// Add implements [legacy.Accounts].
func (a *Accounts) Add(_ context.Context, name, password string, flags legacy.Flags) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case name == "" || strings.ContainsRune(name, 0) || len(name) > 200:
		return legacy.ErrUserName
	case password == "" || len(password) > 1000:
		return legacy.ErrPassword
	case a.users[name] != nil:
		return legacy.ErrUserExists
	}
	a.users[name] = &account{User: legacy.User{Name: name, Flags: flags}, password: password}
	a.renew(a.users[name])
	return nil
}

// Delete implements [legacy.Accounts].
func (a *Accounts) Delete(_ context.Context, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(name)
	if err == nil && u.Is(legacy.Initial) {
		err = legacy.ErrInitialUser
	}
	if err == nil && name == a.Last {
		err = legacy.ErrLastAdministrator
	}
	if err == nil {
		delete(a.users, name)
	}
	return err
}

// SetDisabled implements [legacy.Accounts].
func (a *Accounts) SetDisabled(_ context.Context, name string, disabled bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(name)
	if err != nil {
		return err
	}
	if u.Is(legacy.Initial) && disabled {
		return legacy.ErrInitialUser
	}
	if name == a.Last && disabled {
		return legacy.ErrLastAdministrator
	}
	u.Flags &^= legacy.Disabled
	if disabled {
		u.Flags |= legacy.Disabled
	}
	a.renew(u)
	return nil
}

// SetPassword implements [legacy.Accounts].
func (a *Accounts) SetPassword(_ context.Context, name, password string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(name)
	if err == nil {
		u.password = password
		a.renew(u)
	}
	return err
}

// ChangePassword implements [legacy.Accounts].
func (a *Accounts) ChangePassword(_ context.Context, who legacy.User, password string) (legacy.User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(who.Name)
	if err == nil && u.Generation != who.Generation {
		err = legacy.ErrNoUser
	}
	if err != nil {
		return legacy.User{}, err
	}
	u.password = password
	a.renew(u)
	return u.User, nil
}

// User implements [legacy.Accounts].
func (a *Accounts) User(_ context.Context, name string) (legacy.User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(name)
	if err != nil {
		return legacy.User{}, err
	}
	return u.User, nil
}

// Users implements [legacy.Accounts].
func (a *Accounts) Users(context.Context) ([]legacy.User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var users []legacy.User
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		users = append(users, a.users[name].User)
	}
	return users, nil
}

// VerifyCode implements [legacy.Accounts].
func (a *Accounts) VerifyCode(_ context.Context, name, code string, _ netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.limit(name); err != nil {
		return err
	}
	u, err := a.user(name)
	switch {
	case err != nil:
		return err
	case !u.Enrolled:
		return legacy.ErrNotEnrolled
	case u.code != code:
		return legacy.ErrBadCode
	}
	return nil
}

// QRImage implements [legacy.Accounts].
func (a *Accounts) QRImage(_ context.Context, name string, verified bool) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.user(name)
	switch {
	case err != nil:
		return nil, err
	case !u.Enrolled:
		return nil, legacy.ErrNotEnrolled
	case u.shown && !verified:
		return nil, legacy.ErrAlreadyShown
	}
	u.shown = true
	return []byte("image of the secret of " + name), nil
}
