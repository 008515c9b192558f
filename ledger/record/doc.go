// Package record reads, checks and makes the records of the ledger.
//
// # Where the format comes from
//
// A record is what a user submits: a vote, a donation, an account. Its format is that of the
// original Python server, whose clients keep working: any of them can check any record, and what
// they submit is stored as it is. So this package has three things of Python in it that a format
// made today would not have. Text is packed by the original's own packer, numbers and nested values
// are hashed as Python's str() writes them, and some hashes are over code page 437. What the
// comments call the original protocol is what that server and its clients do; section numbers (§2
// is the packer, §6 are records) are those of docs/original-protocol.md.
//
// # Packing
//
// The packer writes a sequence of values as readable text ([AppendPack], [Unpack];
// docs/original-protocol.md §2). The dict {'k': 'v'} is
//
//	pg s1 'd' d55 'pg s1 'a' a38 'pg s1 't' t21 'pg s2 'cc' c1 k c1 v ' ' '
//
// Nothing is escaped: lengths delimit, and they count characters, not bytes. A [Value] has exactly
// one packing, and Unpack takes no other, with one exception that it names. So equal bytes mean
// equal values and the other way round, which is what makes it possible to identify a record by a
// hash. A float travels with six decimals.
//
// # Records
//
// A record is a dict with the keys that [Record] lists. Three hashes are in it, each over other
// parts:
//
//	_Hash   the values, packed           is the content what it was?
//	_Proof  the content and _PowRand,    did making it cost something?
//	        as Python's str()
//	_Link   the whole, packed, with      does it follow that other record?
//	        another record's _Link
//
// None of them is a signature. They say that a record is in one piece, not who made it or whether
// it is the only one: for that, a record is an entry in the signed log of a node. The proof of work
// is friction against flooding: its last [DefaultStrength] hex digits or more must be zero, and a
// [Minter] tries nonces until they are.
//
// A record that was sent on by original servers arrives with its keys in any order and a count in
// Replicated. [Record.Normal] is the one form that is stored; a [Checker] takes only that, and so
// two nodes hold the same bytes for the same record. The [ContentID] names what a record says,
// without the parts that may change while it says the same: the count, the link and the proof.
//
// # What is promised
//
// Whether a record is valid depends on its bytes and on the strength asked for, on nothing else:
// not on the clock, the machine or the version of Go. The limits in this package, its table of
// printable characters and its Python rules are therefore frozen. No input makes this package
// panic, and none that is within the limits takes more than some milliseconds.
//
// If the original would refuse a record for its own bugs, this package does not: text in any script
// is welcome. In four things it is stricter. It does not guess at damaged packing. It refuses a
// dict that holds a key twice, and a header that is a UUID in another than the usual spelling.
// _PowRand must be bytes. A _Link must be right.
//
// # JSON
//
// For people, and for programs without Python's types, values and records also have a JSON form
// that loses nothing ([AppendJSON], [ParseJSON]).
//
// # Files
//
//	record.go                       records and their keys; new.go makes one
//	check.go                        whether a record is valid
//	hash.go, mint.go                the hashes, and the proof of work
//	pack.go, unpack.go, value.go    the packer, and the values it packs
//	pystr.go, printable_table.go    numbers and texts as Python writes them
//	cp437.go                        code page 437
//	json.go                         the JSON form
//	source.go                       telling people what is wrong with a text that they wrote
//	errors.go, limits.go            reasons of refusals, and bounds
package record
