// Package accounts keeps the users of a node: who may log in, with which password and second
// factor, and how often a login may be tried.
//
// # The file
//
// All users are in one file, [File], in the node's data directory: JSON, one user a line, readable
// by the node's owner only. What is secret in it (hashes of passwords, secrets of second factors)
// is protected by that file mode and nothing else; a file that others can read is refused. Any
// number of processes may use it at once, the command line beside a node that runs: every change
// locks [LockFile], reads the file anew, changes it and puts it back whole and durable. A process
// that reads looks first whether the file is still the one it read. Writing takes time in
// proportion to the number of users; logging in does not.
//
// # Names
//
// A name is up to 64 characters of any script, in Unicode's normalisation form C, so that it is the
// same name on whatever keyboard it was typed. Capital and small letters differ, as they do for the
// original server. Control characters, '/', '\', invisible characters but the joiners that some
// scripts need, and the names "." and ".." are refused.
//
// # Roles
//
// A user has a set of [Roles]: what he may do in the name of the party that runs the node. They are
// not levels; none implies another, and most users have none. The flags of the original protocol
// stay what they are, and two of them are roles: an administrator has the role admin, a replicator
// the role replicator. Which role may write which record is said in one place, package authority. A
// change of roles ends the user's sessions.
//
// # Passwords
//
// A password is kept as an argon2id hash (RFC 9106) in the PHC string format, with the parameters
// that it was made with. A user taken over from the original server keeps that server's salted
// SHA-256 (docs/original-protocol.md §9) until the next successful login, which hashes anew; so
// does a login whose hash was made with other parameters than today's. Few passwords are hashed at
// once ([MaxHashing]) and few wait ([MaxWaiting]), so that logins by the thousand take time, not
// memory. An unknown user costs as much time as a wrong password: the original protocol tells the
// two apart in words ("No such user."), but other ways to log in need not.
//
// # Second factor
//
// A user who is enrolled has a secret of his own, which his telephone turns into a code of six
// digits every 30 seconds (TOTP, RFC 6238). A code counts in its step, the one before and the one
// after, and no code twice: the last step that was used is in the file before a code is accepted.
//
// # Guessing
//
// Failed attempts are limited by address (an IPv4 address, an IPv6 /64) and by user; see
// [LimitedError]. A stranger must not be able to lock a user out by failing in his name. So
// attempts from an address from which that user has logged in since the node started count by
// themselves ([AttemptBurst] for the pair of user and address), whatever others do from elsewhere.
// What is left to a stranger with many addresses is to hold up a user who comes from a new address,
// for as long as the stranger keeps failing; and one who shares an address with a user can hold up
// that user there, since nothing tells the two apart. Nothing that an attacker can do takes a limit
// off him: a success gives back only what that attempt itself took, and a table that is full
// forgets the one that has failed least.
//
// # Files
//
//	accounts.go                 the users, and what can be done with them
//	file.go                     the file and its lock
//	login.go                    password and code checked, within the limits
//	password.go                 hashes of passwords
//	secondfactor.go             secrets and codes
//	attempts.go                 limits of failed attempts
//	user.go, roles.go           what a user is, and may do
//	errors.go, limits.go        errors by which callers decide, and bounds
package accounts
