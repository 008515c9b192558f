// Package replicate moves records between servers of the original protocol. [Start] sends a ledger's records to original
// servers for as long as it runs, and fetches theirs: what original replicators push comes through the server of package
// legacy as from any client, but they lose much. [Sync] compares any two servers when somebody asks for it.
// Section numbers are those of docs/original-protocol.md.
package replicate
