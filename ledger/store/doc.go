// Package store keeps a node's ledger on a go-datastore: Pebble on disk, a map in memory.
//
// A [Store] holds the logs of all origins, the evidence against some of them, and indexes that
// follow from both. This node's records go in by [Store.Append], which signs them. Entries of other
// nodes go in by [Store.Ingest] and its kin, which check them. How keys and values look is the
// matter of package raw.
//
// # What is promised
//
// A call that returns without error is durable: it survives kill -9 and power loss. All waiting
// writers share one atomic batch and one fsync (group commit), so durability costs each of them
// little under load. A write whose outcome is not known (a failed fsync) closes the store for
// writing: what is on disk is found out by opening it again, never guessed. Submitting a record
// again is always safe, because the same record is recognised.
//
// # One writer
//
// One goroutine, the builder, owns the state of all logs as they will be after the writes under
// way: it signs, links and checks. A second one, the committer, makes batches durable and then
// shows them to readers. While one batch is written the next is being built. A third one, the
// freezer, works out beside them what new evidence changes.
//
// # Files
//
//	store.go       the store, and writing records and entries to it
//	builder.go     requests become batches; filter.go spares it most reads
//	pipeline.go    ranges of foreign entries, several batches at once
//	committer.go   batches become durable and visible
//	open.go        opening, and completing what a crash cut short
//	read.go        entries, by place, content, header and arrival; merge.go puts logs in order
//	records.go     records, each counted once
//	held.go        what the store holds at one moment; difference.go compares two moments
//	watch.go       waiting for changes
//	floor.go       what this node's key has signed, and whether it may sign
//	evidence.go    evidence, and the logs that it freezes; branches.go and freeze.go go on from there
//	freezer.go     moving a freeze, with the help of citeindex.go
//	dir.go         a store in a data directory, and its watermark
//	datastore.go   what a store is kept in; snapshot.go is that at one moment
//	pebble.go      the datastore on disk; guard.go and writelog.go find its failures and its damage
package store
