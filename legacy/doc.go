// Package legacy speaks with the programs of the original server, PyvServer, so that its users can
// move over. Section numbers are those of docs/original-protocol.md. The original's files are read
// by packages chainfile and dataroot. Package replicate sends records to other servers, package
// client is a client, and package wire is what passes over a connection.
//
// # The server
//
// [Start] serves the original's clients, unchanged, over a node's [Ledger] and [Accounts]. A
// connection has a session: its key, its user, how far the user has come (0, 5 with the password, 6
// with the second factor), and a directory. Each message is a command. The table in commands.go
// says for each what it is called, what must come before it, which arguments it has and which users
// may use it. Help, the checks and the way to the handler all come from there. A handler takes a
// session and arguments and returns a reply, and leaves the connection alone. If a command sends
// more than a reply, as uploads and downloads do, the reply says so.
//
// The replies are the original's, word for word, with its spelling and its mixture of lists and
// tuples. If the original misbehaves, this server does better, and the tests in deviations_test.go
// have the list.
//
// Records come back in the order of fields in which original clients write them, so that a client
// gets the bytes that it sent, though the ledger keeps records in normal form. Replicated is how
// often the record was sent on before it came here.
//
// # Files of the adapter
//
// The server's directory is laid out like the original's: payload/<user> for the users' files, keys
// and private for the key pool, pyservid.init for the ID of the site. All access to a user's files
// goes through an [os.Root], so neither paths nor symbolic links lead out. A file appears under its
// name when it is complete and on disk.
//
// # What it is not
//
// The protocol's encryption is weak (see package wire). The server listens on loopback unless told
// otherwise, and says so in its log.
//
// # Source files
//
//	server.go                    starting, listening, closing
//	connection.go, session.go    a connection, and what is remembered of it between commands
//	commands.go                  the table of commands
//	login.go, users.go           logging in; managing users
//	records.go                   commands about records
//	files.go, transfer.go        commands about files; uploads and downloads
//	hosts.go                     the list of hosts to replicate to
//	request.go, reply.go         commands and replies as values
//	ledger.go, accounts.go       what the server needs of a node
//	home.go, paths.go            users' directories, and the way to a file in them
//	keypool.go, site.go          key pairs; what else is kept between runs
//	adopt.go                     taking over what an original server had
//	limits.go, throttle.go       bounds on what clients can make the server do
//	visitors.go                  what is logged of clients
package legacy
