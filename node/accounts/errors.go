package accounts

import (
	"errors"
	"fmt"
	"time"
)

// Errors by which callers decide what to do. None of them, nor any other error of this package, says a password, a code or
// a secret.
var (
	// ErrNoUser says that there is no user of that name.
	ErrNoUser = errors.New("no such user")
	// ErrBadPassword says that the password is not the user's.
	ErrBadPassword = errors.New("wrong password")
	// ErrDisabled says that the user may not log in for now.
	ErrDisabled = errors.New("this user is disabled")
	// ErrAddress says that a replicator may not log in from where the attempt came.
	ErrAddress = errors.New("this user may not log in from this address")
	// ErrHasInitial says that an initial user can be made only when there is no user.
	ErrHasInitial = errors.New("there are users already")
	// ErrInitialUser says that the initial user cannot be deleted.
	ErrInitialUser = errors.New("the initial user cannot be deleted")
	// ErrLastAdministrator says that nobody would be left to administer.
	ErrLastAdministrator = errors.New("this is the only administrator")
	// ErrUserExists says that a name is taken.
	ErrUserExists = errors.New("there is a user of that name already")
	// ErrImported is an ErrUserExists: the user was imported before, with the same password.
	ErrImported = fmt.Errorf("%w, imported before", ErrUserExists)
	// ErrUserName says that a name cannot be a user's.
	ErrUserName = errors.New("not a user name")
	// ErrPassword says that a password is empty or too long.
	ErrPassword = fmt.Errorf("a password has 1 to %d bytes", MaxPassword)
	// ErrFlags says that flags, or address prefixes, do not go together.
	ErrFlags = errors.New("no such kind of user")
	// ErrTooMany says that there is no room for more users.
	ErrTooMany = errors.New("there are too many users")
	// ErrBadCode says that a code is wrong, too old, or was used before.
	ErrBadCode = errors.New("wrong code, or used before")
	// ErrNotEnrolled says that a user has no second factor.
	ErrNotEnrolled = errors.New("this user has no second factor")
	// ErrNoSecondFactor says that a replicator can have no second factor.
	ErrNoSecondFactor = errors.New("a replicator has no second factor")
	// ErrAlreadyShown says that the image of a user's second factor was shown once, and is not shown again to somebody who
	// has not given a code.
	ErrAlreadyShown = errors.New("the image was shown already")
	// ErrBusy says that too many wait to have a password hashed.
	ErrBusy = errors.New("too many log in at once")
)

// LimitedError says that there were too many failed attempts, and when the next may be made.
type LimitedError struct {
	RetryAfter time.Duration // more than 0
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many failed attempts; try again in %v", max(time.Second, e.RetryAfter.Round(time.Second)))
}

// FileError says that the file is not as this package writes it. It never quotes the file.
type FileError struct {
	Path   string
	Detail string
}

func (e *FileError) Error() string { return fmt.Sprintf("%s cannot be used: %s", e.Path, e.Detail) }
