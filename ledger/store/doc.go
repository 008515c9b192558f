// Package store keeps a node's ledger on a go-datastore: Pebble on disk, a map in memory.
//
// # What is promised
//
// A call that returns without error is durable: it survives kill -9 and power loss. All waiting writers share one atomic
// batch and one fsync (group commit), so durability costs each of them little under load. A write whose outcome is not
// known (a failed fsync) closes the store for writing: what is on disk is found out by opening it again, never guessed.
// Submitting a record again is always safe, because the same record is recognised.
//
// # Keys
//
// Everything but entries and evidence can be derived from these; package audit does, and compares.
//
//	/meta                       format version and network
//	/genesis                    the genesis document
//	/log/<origin>               number given to the log here, its size, head, height, Merkle peaks, verified prefix
//	/kind/<kind>                how many records of the kind are held
//	/e/<log>/<seq>              local position within the kind, hops, entry
//	/v/<origin>                 evidence against the origin
//	/frozen/<origin>            seq and ID of that evidence
//	/b/<origin>/<seq>/<hash>    a disputed entry of another branch than that under /e/
//	/c/<content ID>/<kind>/<place>   all entries with that content and kind: one record
//	/h/<kind>/<time><uuid>/<place>   all entries with that kind and record header, by the time in the UUID
//	/p/<kind>/<position>        place of the record that arrived as the position-th of its kind
//
// Numbers and hashes in keys are fixed-width hex, so that keys sort as their values do. A place is the number of a log
// and a sequence number.
//
// # One writer
//
// One goroutine, the builder, owns the state of all logs as they will be after the writes under way: it signs, links
// and checks. A second one, the committer, makes batches durable and then shows them to readers. While one batch is
// written the next is being built.
package store
