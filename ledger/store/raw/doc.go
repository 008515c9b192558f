// Package raw is how a ledger lies in a datastore: its keys, its values, and what stands there. A
// store writes by it, and an audit reads by it. A scan trusts nothing: damage is a value that it
// yields, and does not end it.
//
// # Keys
//
// Only the genesis document, the entries, the evidence and the floor say something of their own.
// Everything else follows from these. Package audit works it out and compares.
//
//	/meta                       format version and network
//	/genesis                    the genesis document
//	/floor                      the newest entry that this node's key is known to have signed: signature and header
//	/log/<origin>               number given to the log here, its size, head, height, Merkle peaks, verified prefix
//	/kind/<kind>                how many records of the kind are held
//	/e/<log>/<seq>              local position within the kind, hops, entry
//	/v/<origin>                 the piece of evidence against the origin
//	/frozen/<origin>            seq and ID of that evidence
//	/b/<origin>/<seq>/<hash>    a disputed entry of another branch than that under /e/
//	/c/<content ID>/<kind>/<place>   all entries with that content and kind: one record
//	/h/<kind>/<time><uuid>/<place>   all entries with that kind and record header, by the time in the UUID
//	/p/<kind>/<position>        place of the record that arrived as the position-th of its kind
//
// Numbers and hashes in keys are fixed-width hex, so that keys sort as their values do. A place is
// the number of a log and a sequence number.
//
// # Files
//
//	keys.go     keys, places and the rows of an entry
//	values.go   the values under them
//	scan.go     everything that stands under a kind of key, one by one
//	reader.go   what a ledger is read from
package raw
