// Package dataroot reads, checks and writes whole data directories of the original server, PyvServer
// (docs/original-protocol.md §9):
//
//	chain/<kind>/initial.pydb      the records of a kind; beside it initial.pidx and initial.hash.id, indexes of it,
//	                               and replic.pydb, rstate.pydb, what is still to be replicated
//	.pyvserv/passwd.secret         users
//	keys/<id>.pub, private/<id>.pem  key pairs
//	pyservid.init                  the site's ID
//	ihosts.pydb                    the servers to replicate to
//	payload/<user>/                users' files
//
// Reading changes nothing, and trusts nothing: directories may be damaged in any way, or made to harm. Nothing outside
// the directory is reached, whatever symbolic links there are in it. What cannot be read is a [Finding] with its place
// and reason; the rest is read all the same, and nothing is made up.
package dataroot
