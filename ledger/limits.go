package ledger

import "pyvnode/ledger/record"

// Every bound on untrusted input of the core is in this file. Bounds marked "rule" are part of validity and the same
// for every node of every network; a genesis document may narrow some of them.
const (
	// MaxRecord is the greatest length of a record in bytes. Rule.
	MaxRecord = record.MaxRecord
	// MaxEntry is the greatest length in bytes of an encoded entry: header, signature and record. Rule.
	MaxEntry = 64 << 10
	// MaxItem is the greatest length in bytes of an item of an entry file. The longest is a piece
	// of evidence, which may hold two entries: see proof.MaxEvidence.
	MaxItem = 2*MaxEntry + 8<<10
	// MaxSeen is how many heads of other logs one header may cite. Rule.
	MaxSeen = 16
	// MaxKind is the greatest length of a kind in bytes. Rule.
	MaxKind = 64
	// MaxSeq bounds sequence numbers, and MaxHeight heights. Both are far beyond use, and low
	// enough that sums never overflow. Rule.
	MaxSeq    = 1 << 48
	MaxHeight = 1 << 56
	// MaxMembers bounds the members and cosigners a genesis document lists. Rule.
	MaxMembers = 1024
	// MaxGenesis is the greatest length of a genesis document in bytes. Rule.
	MaxGenesis = 256 << 10
	// MaxName is the greatest length of a network's name in bytes. Rule.
	MaxName = 128
	// MaxStrength is the greatest proof strength, in zero hex digits, that a genesis document may ask of a record:
	// 16^10 attempts are hours on any machine. Rule.
	MaxStrength = 10
	// MaxOriginBits is the greatest proof of work, in zero bits, that an open network may ask of a new origin. Rule.
	MaxOriginBits = 48
	// MaxHops bounds how often a record may be sent on over replication links. Rule.
	MaxHops = 16
)
