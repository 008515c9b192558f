// Package ledger is the pure core of pyvnode: what an entry is, when it is valid, how logs grow,
// and in which order everybody reads them.
//
// # Parties and logs
//
// A network is a set of nodes run by parties who need not trust each other. Every node that accepts
// records is an origin, identified by its libp2p peer ID (an Ed25519 key). An origin keeps exactly
// one log: entries with sequence numbers 0, 1, 2, …, each naming the hash of the one before, all
// signed by the origin. The chain is all logs of a network together. A [Genesis] document founds
// the network and fixes its rules; its hash is the network's identity.
//
// # Entries
//
// An [Entry] is a signed [Header] and the bytes of one record (package record). The header is
// protobuf wire format in one canonical encoding: ascending field numbers, shortest varints,
// integers of value zero left out. Bytes that do not decode and re-encode to themselves are
// invalid, so one entry has one byte string. The signature covers the header with a domain prefix.
// The record travels beside it and is bound by its hash and length, so that a signed statement can
// be shown as evidence without the record.
//
// The entry hash is the RFC 6962 leaf hash of header ‖ signature. The same hash links an entry to
// the one before (Header.Prev) and is the leaf of the log's Merkle tree. The root over all earlier
// entries stands in Header.Root: so every signed header is also a signed tree head of everything
// before it.
//
// # How logs vouch for each other
//
// Header.Seen cites heads of other logs. Header.Height is exactly one more than the greatest height
// among the predecessor and all citations. To rewrite an entry, a liar must therefore rewrite every
// log that has seen it. An entry joins the chain when its predecessor and all it cites are held and
// its height is right.
//
// # What validity depends on
//
// Validity is a function of the bytes, the causal past and the [Genesis] document, never of clocks
// or of local limits, so that all honest nodes agree. [Checker.Check] checks what bytes and genesis
// alone decide. [Log.Check] checks an entry against its predecessor. Citations are checked by the
// packages that hold the logs (store and audit). The first provably invalid entry ends its log.
//
// The canonical order (height, origin, seq, hash) respects causality and is the same on every node
// with the same entries. It is for reading. It gives no party priority, because a latecomer can
// appear early in it.
//
// # Disputes
//
// An origin that signed statements which cannot all be true is convicted by evidence (package
// proof). Its log is frozen at the first entry in question, and the entries from there on are
// disputed. A [Frontier] says what a node holds: one [Row] for each log, and of a frozen log also
// the first disputed entry. Its digest covers entries and evidence, so equal digests mean equal
// ledgers.
//
// # No I/O
//
// Nothing here opens a file or a socket, starts a goroutine or reads a clock. Time, randomness and
// bytes come in as arguments.
//
// # Files
//
//	entry.go       headers, citations and entries, and their encoding
//	log.go         when an entry is valid, and the next entry of a log
//	genesis.go     the genesis document and what it allows
//	origin.go      keys as names of logs
//	signature.go   signing, and checking one signature or many
//	hash.go        hashes and Merkle trees
//	statement.go   entries without their records
//	chain.go       the canonical order
//	frontier.go    what a node holds, and its digest
//	disputed.go    which disputed entries the undisputed ones lead to
//	entryfile.go   entry files: a ledger in one file
//	jsonlines.go   readable exports
//	limits.go      every bound on untrusted input
package ledger
