package legacy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Accounts are the users of a node.
type Accounts interface {
	// Authenticate checks a password given from an address. The errors are [ErrNoUser], [ErrBadPassword], [ErrDisabled],
	// [ErrAddress] and *[LimitedError].
	Authenticate(ctx context.Context, name, password string, from netip.Addr) (User, error)
	// Initialise makes the first user, an administrator. The errors are [ErrHasInitial], whatever name and password are,
	// [ErrUserName] and [ErrPassword]; empty ones are refused.
	Initialise(ctx context.Context, name, password string) error
	// Add makes a user. The errors are [ErrUserExists], [ErrUserName] and [ErrPassword].
	Add(ctx context.Context, name, password string, flags Flags) error
	// Delete removes a user. The errors are [ErrNoUser], [ErrInitialUser] and [ErrLastAdministrator].
	Delete(ctx context.Context, name string) error
	// SetDisabled locks a user out, or lets one in again. The errors are [ErrNoUser], [ErrInitialUser] and
	// [ErrLastAdministrator].
	SetDisabled(ctx context.Context, name string, disabled bool) error
	// SetPassword changes a password. The errors are [ErrNoUser] and [ErrPassword].
	SetPassword(ctx context.Context, name, password string) error
	// ChangePassword is SetPassword by a user who is logged in, on himself, and returns him as he
	// is then. If he is of another generation by now, the error is [ErrNoUser].
	ChangePassword(ctx context.Context, u User, password string) (User, error)
	// User returns a user, or [ErrNoUser]. It is asked before every command, so it answers from memory.
	User(ctx context.Context, name string) (User, error)
	// Users returns all users in the order of their names.
	Users(ctx context.Context) ([]User, error)
	// VerifyCode checks a code of the second factor. The errors are [ErrBadCode], [ErrNotEnrolled] and *[LimitedError].
	VerifyCode(ctx context.Context, name, code string, from netip.Addr) error
	// QRImage returns the user's secret for the second factor as a PNG image. The errors are [ErrNotEnrolled] and, unless
	// the user has just proved to have it, [ErrAlreadyShown].
	QRImage(ctx context.Context, name string, verified bool) ([]byte, error)
}

// Flags say what a user is. The first three have the original's bits (docs/original-protocol.md §5).
type Flags uint8

const (
	// Initial is the user that `uini` made, who cannot be deleted.
	Initial Flags = 1 << iota
	// Administrator manages users and the server.
	Administrator
	// Disabled is locked out.
	Disabled
	// Replicator is another server that pushes records: it can use the record commands only, from addresses listed for
	// it, and has no second factor.
	Replicator
)

// User is a user of a node.
type User struct {
	Name     string
	Flags    Flags
	Enrolled bool // has a second factor
	// Generation is another number whenever the user's password, second factor or flags were changed, or the user was deleted
	// and made anew. A session ends with its generation.
	Generation uint64
}

// Is reports whether a user has one of the flags.
func (u User) Is(f Flags) bool { return u.Flags&f != 0 }

// Errors of [Accounts].
var (
	ErrNoUser      = errors.New("no such user")
	ErrBadPassword = errors.New("wrong password")
	ErrDisabled    = errors.New("the user is disabled")
	ErrAddress     = errors.New("the user may not log in from this address")
	ErrHasInitial  = errors.New("there are users already")
	ErrUserExists  = errors.New("there is such a user already")
	ErrUserName    = errors.New("not a name for a user")
	ErrPassword    = errors.New("not a usable password")
	ErrInitialUser = errors.New("the initial user stays")
	ErrBadCode     = errors.New("wrong code")

	ErrLastAdministrator = errors.New("the only administrator stays")
	ErrNotEnrolled       = errors.New("the user has no second factor")
	ErrAlreadyShown      = errors.New("the secret was shown before")
)

// LimitedError says that there were too many failed attempts.
type LimitedError struct {
	Wait time.Duration // before the next attempt is looked at
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many failed attempts; wait %s", e.Wait.Round(time.Second))
}
