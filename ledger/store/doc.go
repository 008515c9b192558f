// Package store keeps a node's ledger on a go-datastore: Pebble on disk, a map in memory.
//
// # What is promised
//
// A call that returns without error is durable: it survives kill -9 and power loss. All waiting writers share one atomic
// batch and one fsync (group commit), so durability costs each of them little under load. A write whose outcome is not
// known (a failed fsync) closes the store for writing: what is on disk is found out by opening it again, never guessed.
// Submitting a record again is always safe, because the same record is recognised.
//
// How keys and values look is the matter of package raw.
//
// # One writer
//
// One goroutine, the builder, owns the state of all logs as they will be after the writes under way: it signs, links
// and checks. A second one, the committer, makes batches durable and then shows them to readers. While one batch is
// written the next is being built.
package store
