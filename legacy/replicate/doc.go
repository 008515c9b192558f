// Package replicate moves records between servers of the original protocol. Section numbers are
// those of docs/original-protocol.md.
//
// [Start] sends a ledger's records to original servers for as long as it runs, and fetches theirs
// (replication.go, fetch.go). What original replicators push comes through the server of package
// legacy, as from any client, but they lose much: so this package fetches besides.
//
// [Sync] copies what one server lacks from another, once, when somebody asks for it (sync.go,
// syncside.go). Neither side needs to be a node.
package replicate
