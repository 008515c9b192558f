package accounts

import "time"

// Bounds on what a file may hold and on what may be asked at once.
const (
	// MaxUsers is the greatest number of users.
	MaxUsers = 100_000
	// MaxFile is the greatest length of the file in bytes: 640 for each of MaxUsers.
	MaxFile = 64 << 20
	// MaxName is the greatest length of a user's name in characters.
	MaxName = 64
	// MaxPassword is the greatest length of a password in bytes. The least is 1: the original's users have short ones.
	MaxPassword = 1024
	// MaxPrefixes is the greatest number of address prefixes from which a replicator may log in.
	MaxPrefixes = 64

	// MaxHashing is how many passwords are hashed at once. Each takes 19 MiB while it lasts.
	MaxHashing = 2
	// MaxWaiting is how many more may wait for that; one more is refused with [ErrBusy]. A wait costs a few KiB.
	MaxWaiting = 4096
)

// Limits of failed attempts. A limit begins after a burst of failures and then allows one more attempt each time that its
// period has passed.
const (
	// AddressBurst and AddressPeriod limit what one address may fail in all, whoever it says it is.
	AddressBurst  = 20
	AddressPeriod = 3 * time.Second
	// AttemptBurst and AttemptPeriod limit wrong passwords for one user: from all addresses from which he has not logged in
	// together, and from each of those from which he has.
	AttemptBurst  = 15
	AttemptPeriod = 30 * time.Second
	// CodeBurst and CodePeriod limit wrong codes for one user. Whoever tries codes knows the password already, so this
	// limit locks nobody out by a stranger's doing, and can be strict: three of a million codes are good at a time.
	CodeBurst  = 10
	CodePeriod = 5 * time.Minute

	// maxLimited is how many addresses, users and so on each table of limits remembers; see [limiter].
	maxLimited = 1 << 14
	// maxKnown is how many addresses are remembered as a user's own.
	maxKnown = 4
)
