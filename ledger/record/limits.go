package record

// Every bound on untrusted input is here. They are part of what makes a
// record valid, so changing one changes which records a network accepts.
const (
	// MaxRecord is the largest record in normal form, in bytes. It leaves
	// room in a 64 KiB ledger entry for the entry's own header.
	MaxRecord = 60 << 10

	// MaxDepth is how deep lists, tuples and dicts may nest. A record's own
	// dict is the first level and its PayLoad the second.
	MaxDepth = 32

	// MaxIntDigits is the greatest number of decimal digits of an integer,
	// the sign not counted.
	MaxIntDigits = 1000

	// MaxJSON is the largest JSON text that [ParseJSON] and
	// [ParseJSONValue] read, in bytes. JSON may spell one character with
	// six bytes, so this is several times [MaxRecord].
	MaxJSON = 8 * MaxRecord

	// maxFloatText bounds the text of a packed float: the largest finite
	// double has 309 digits before the point, and six follow it.
	maxFloatText = len("-") + 309 + len(".") + 6

	// maxShown is how much of a value an error message quotes, in bytes.
	maxShown = 40
)

const (
	// DefaultStrength is the proof strength that original servers ask of
	// every record (docs/original-protocol.md §6): trailing zero hex digits.
	DefaultStrength = 4

	// MaxStrength is all digits of a SHA-256 in hex.
	MaxStrength = 64

	// NonceSize is the length of _PowRand as [Minter] writes it, in bytes.
	NonceSize = 12
)
