// Package dataroot reads, checks and writes whole data directories of the original server,
// PyvServer (docs/original-protocol.md §9):
//
//	chain/<kind>/initial.pydb      the records of a kind; beside it initial.pidx and initial.hash.id, indexes of it,
//	                               and replic.pydb, rstate.pydb, what is still to be replicated
//	.pyvserv/passwd.secret         users
//	keys/<id>.pub, private/<id>.pem  key pairs
//	pyservid.init                  the site's ID
//	ihosts.pydb                    the servers to replicate to
//	payload/<user>/                users' files
//
// [Open] opens a directory for reading, [Check] reports what it holds and what is wrong with it,
// and a [Builder] writes a new one.
//
// Reading changes nothing, and trusts nothing: directories may be damaged in any way, or made to
// harm. Nothing outside the directory is reached, whatever symbolic links there are in it. What
// cannot be read is a [Finding] with its place and reason. The rest is read all the same, and
// nothing is made up.
//
// # Files
//
//	root.go                        the directory, and findings
//	contents.go                    what is in it
//	chain.go                       the records of a kind
//	users.go, site.go, files.go    users; ID, keys and hosts; users' files
//	check.go                       a report on all of it
//	capped.go, limits.go           bounds on findings, and on what is read
//	write.go                       a new directory
package dataroot
