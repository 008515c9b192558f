package accounts

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Flags say what a user is. The first three are the original's bits (docs/original-protocol.md §5).
type Flags uint8

// The flags of a user.
const (
	Initial       Flags = 1 // the first user, made over the network; cannot be deleted
	Administrator Flags = 2
	Disabled      Flags = 4 // may not log in
	// Replicator is a restricted account for servers that push records here: it logs in from listed addresses only, and has
	// no second factor.
	Replicator Flags = 8

	allFlags = Initial | Administrator | Disabled | Replicator
)

// Has reports whether all of some flags are set.
func (f Flags) Has(flags Flags) bool { return f&flags == flags }

// String returns the names of the flags with commas between them, "user" for none.
func (f Flags) String() string {
	var names []string
	for i, name := range []string{"initial", "administrator", "disabled", "replicator"} {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	if f&^allFlags != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(f&^allFlags)))
	}
	if len(names) == 0 {
		return "user"
	}
	return strings.Join(names, ",")
}

// check refuses flags that do not go together.
func (f Flags) check(from []netip.Prefix) error {
	switch {
	case f&^allFlags != 0:
		return fmt.Errorf("%w: flags %d", ErrFlags, f)
	case f.Has(Replicator) && f&(Initial|Administrator) != 0:
		return fmt.Errorf("%w: a replicator is neither the initial user nor an administrator", ErrFlags)
	case f.Has(Replicator) && len(from) == 0:
		return fmt.Errorf("%w: a replicator needs the addresses from which it may log in", ErrFlags)
	case !f.Has(Replicator) && len(from) > 0:
		return fmt.Errorf("%w: only replicators are bound to addresses", ErrFlags)
	case len(from) > MaxPrefixes:
		return fmt.Errorf("%w: more than %d address prefixes", ErrFlags, MaxPrefixes)
	}
	for _, p := range from {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("%w: %v is no address prefix such as 192.0.2.0/24 or 2001:db8::/32", ErrFlags, p)
		}
	}
	return nil
}

// User is what others get to know of a user.
type User struct {
	Name     string
	Flags    Flags
	Enrolled bool           // has a second factor
	From     []netip.Prefix // of a replicator: where it may log in from
	// Generation is another number whenever the password, the second factor or the flags were changed, or the user was
	// deleted and made anew. Whoever serves a user who logged in compares it before each thing that is done for him.
	Generation uint64
}

// NormalName returns the one form of a user's name, or an error that wraps [ErrUserName] and says what is wrong with it.
func NormalName(name string) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%w: %s", ErrUserName, fmt.Sprintf(format, args...))
	}
	if len(name) > 4*utf8.UTFMax*MaxName { // before normalising costs anything; longer ones do not get short enough
		return refuse("longer than %d characters", MaxName)
	}
	if !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError) {
		return refuse("it is not UTF-8")
	}
	name = norm.NFC.String(name)
	switch {
	case name == "":
		return refuse("it is empty")
	case name == "." || name == "..":
		return refuse("%q", name)
	case utf8.RuneCountInString(name) > MaxName:
		return refuse("longer than %d characters", MaxName)
	case strings.TrimSpace(name) != name:
		return refuse("%q begins or ends with a space", name)
	}
	for _, r := range name {
		if r == '/' || r == '\\' || !unicode.IsPrint(r) && r != zwnj && r != zwj {
			return refuse("%q may not be in it", r)
		}
	}
	return name, nil
}

// Joiners are invisible, but Persian and Indic words are written with them.
const (
	zwnj = '\u200c'
	zwj  = '\u200d'
)

// account is a user as the file has him. Once in a table it is never changed, but replaced.
type account struct {
	Name     string         `json:"name"`
	Flags    Flags          `json:"flags"`
	Password hash           `json:"password"`
	From     []netip.Prefix `json:"from,omitempty"`
	Second   *secondFactor  `json:"second_factor,omitempty"`
	// Generation is that of [User]; 0 of a user whom an earlier version made.
	Generation uint64 `json:"generation,omitempty"`
}

func (u *account) user() User {
	return User{Name: u.Name, Flags: u.Flags, Enrolled: u.Second != nil, From: slices.Clone(u.From), Generation: u.Generation}
}

// renew ends what a user began as who he was until now. The number is random, so that it is another one also where a user is
// made anew, or the file is put back from a backup; below 2^53, so that any program that edits the file keeps it exactly.
func (u *account) renew() {
	before := u.Generation
	for u.Generation == before {
		var raw [8]byte
		_, _ = rand.Read(raw[:]) // never fails
		u.Generation = 1 + binary.BigEndian.Uint64(raw[:])>>11
	}
}

// administers reports whether the user can log in and administer.
func (u *account) administers() bool { return u.Flags.Has(Administrator) && !u.Flags.Has(Disabled) }

// check refuses an account that no version of this package writes.
func (u *account) check() error {
	if name, err := NormalName(u.Name); err != nil || name != u.Name {
		return fmt.Errorf("%q is no user name in its normal form", u.Name)
	}
	if err := u.Flags.check(u.From); err != nil {
		return fmt.Errorf("user %q: %w", u.Name, err)
	}
	if _, err := parseHash(u.Password); err != nil {
		return fmt.Errorf("user %q: %w", u.Name, err)
	}
	if u.Second == nil {
		return nil
	}
	if u.Flags.Has(Replicator) {
		return fmt.Errorf("user %q: %w", u.Name, ErrNoSecondFactor)
	}
	if _, err := u.Second.bytes(); err != nil {
		return fmt.Errorf("user %q: %w", u.Name, err)
	}
	return nil
}
