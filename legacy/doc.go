// Package legacy speaks with the programs of the original server, PyvServer, and reads its files, so that its users and
// their data can move over. Section numbers are those of docs/original-protocol.md.
//
// # The server
//
// [Start] serves the original's clients, unchanged, over a node's [Ledger] and [Accounts]. A connection has a session: its
// key, its user, how far the user has come (0, 5 with the password, 6 with the second factor), and a directory. Each
// message is a command. The table in commands.go says for each what it is called, what must come before it, which
// arguments it has and who may use it; help, the checks and the way to the handler all come from there. A handler takes a
// session and arguments and returns a reply, and leaves the connection alone; what sends more than a reply, an upload or
// download, is said in the reply.
//
// The replies are the original's, word for word, with its spelling and its mixture of lists and tuples. Where the original
// misbehaves this server does better, and the tests in deviations_test.go have the list.
//
// Records come back in the order of fields in which original clients write them, so that a client gets the bytes that it
// sent, though the ledger keeps records in normal form. Replicated is how often the record was sent on before it came
// here.
//
// # Replication
//
// [StartReplication] sends a ledger's records to original servers, and fetches theirs: what original replicators push comes
// through the server as from any client, but they lose much. [Sync] compares any two servers when somebody asks for it.
//
// # Files
//
// The server's directory is laid out like the original's: payload/<user> for the users' files, keys and private for the
// key pool, pyservid.init for the ID of the site. All access to a user's files goes through an [os.Root], so neither paths
// nor symbolic links lead out. A file appears under its name when it is complete and on disk.
//
// # What it is not
//
// The protocol's encryption is weak (see package wire). The server listens on loopback unless told otherwise, and says so
// in its log.
package legacy
