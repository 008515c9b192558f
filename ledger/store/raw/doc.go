// Package raw is how a ledger lies in a datastore: its keys, its values, and what stands there. A store
// writes by it, and an audit reads by it. Whoever scans here trusts nothing: damage is a value, not the
// end.
//
// # Keys
//
// All but the genesis document, entries, evidence and the floor follows from these. Package audit works it
// out and compares.
//
//	/meta                       format version and network
//	/genesis                    the genesis document
//	/floor                      the newest entry that this node's key is known to have signed: signature and header
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
package raw
