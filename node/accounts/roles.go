package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Roles are the set of what a user may do in the name of the party that runs the node. None of them implies another: whoever
// keeps the users may not, for that, run elections. A user without any may still write what carries no authority.
type Roles uint8

// The roles. [Admin] and [Pusher] are the flags [Administrator] and [Replicator], which the original protocol knows; the file
// says them there, and the others beside them.
const (
	Admin     Roles = 1 << iota // keeps the users and the server
	Officer                     // runs elections: ballots, the roll, opening and closing
	Desk                        // casts for voters who come to a desk
	Treasurer                   // keeps books
	Pusher                      // "replicator": a server that pushes records here

	noRoles     Roles = 0
	allRoles          = Admin | Officer | Desk | Treasurer | Pusher
	grantable         = Officer | Desk | Treasurer // what [User.Granted] may hold
	flaggedRole       = Admin | Pusher
)

var roleNames = []string{"admin", "officer", "desk", "treasurer", "replicator"}

// RoleNames returns the names of all roles.
func RoleNames() []string { return append([]string(nil), roleNames...) }

// ParseRole returns the role of a name, or an error that wraps [ErrRoles].
func ParseRole(name string) (Roles, error) {
	for i, known := range roleNames {
		if name == known {
			return 1 << i, nil
		}
	}
	return noRoles, fmt.Errorf("%w: there is no role %q", ErrRoles, clipName(name))
}

// clipName keeps an error short, whatever was asked.
func clipName(name string) string {
	if r := []rune(name); len(r) > MaxName {
		return string(r[:MaxName]) + "…"
	}
	return name
}

// Has reports whether all of some roles are in the set.
func (r Roles) Has(roles Roles) bool { return r&roles == roles }

// Any reports whether at least one of some roles is in the set.
func (r Roles) Any(roles Roles) bool { return r&roles != 0 }

// Names returns the names of the roles, in a fixed order; none is an empty list.
func (r Roles) Names() []string {
	names := []string{}
	for i, name := range roleNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names with commas between them, "none" for none.
func (r Roles) String() string {
	if r&allRoles == 0 {
		return "none"
	}
	return strings.Join(r.Names(), ",")
}

// MarshalJSON implements [json.Marshaler]: a list of names.
func (r Roles) MarshalJSON() ([]byte, error) { return json.Marshal(r.Names()) }

// UnmarshalJSON implements [json.Unmarshaler]: a list of names, each once.
func (r *Roles) UnmarshalJSON(raw []byte) error {
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return err
	}
	var roles Roles
	for _, name := range names {
		role, err := ParseRole(name)
		if err != nil {
			return err
		}
		if roles.Has(role) {
			return fmt.Errorf("%w: %q twice", ErrRoles, name)
		}
		roles |= role
	}
	*r = roles
	return nil
}

// Roles returns all roles of the user: those that his flags are, and those that he was granted.
func (u User) Roles() Roles {
	roles := u.Granted
	if u.Flags.Has(Administrator) {
		roles |= Admin
	}
	if u.Flags.Has(Replicator) {
		roles |= Pusher
	}
	return roles
}

// ChangeRoles gives roles to a user and takes others away, and returns him as he is then. It ends what the user began, unless
// he had all of the one and none of the other before. The errors that are the caller's to handle are [ErrNoUser] and
// [ErrRoles]. An account is made as a replicator, bound to addresses, and stays one: that role is neither given nor taken.
func (a *Accounts) ChangeRoles(ctx context.Context, name string, give, take Roles) (changed User, err error) {
	switch {
	case give&take != 0:
		return User{}, fmt.Errorf("%w: %v is both given and taken", ErrRoles, give&take)
	case (give|take)&^allRoles != 0:
		return User{}, fmt.Errorf("%w: roles %#x", ErrRoles, uint8(give|take))
	}
	err = a.change(ctx, name, func(u *account) error {
		before := u.user().Roles()
		after := before&^take | give
		if (before^after)&Pusher != 0 {
			return fmt.Errorf("%w: a replicator is bound to addresses from the start, and stays one", ErrRoles)
		}
		if after == before {
			changed = u.user()
			return nil
		}
		u.Granted = after & grantable
		u.Flags &^= Administrator
		if after.Has(Admin) {
			u.Flags |= Administrator
		}
		if err := u.checkRoles(); err != nil {
			return err
		}
		u.renew()
		changed = u.user()
		return nil
	})
	return changed, err
}

// checkRoles refuses roles that do not go together.
func (u *account) checkRoles() error {
	if u.Flags.Has(Replicator) && u.Flags.Has(Administrator) {
		return fmt.Errorf("%w: a replicator is no administrator", ErrRoles)
	}
	if u.Granted&^grantable != 0 {
		return fmt.Errorf("%w: %v is a flag", ErrRoles, u.Granted&flaggedRole)
	}
	return nil
}
