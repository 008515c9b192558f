package legacy

import (
	"time"

	"pyvnode/legacy/wire"
)

// Limits bound what clients together can make a server hold and do. A zero field means the default.
type Limits struct {
	// Connections is how many there may be at once, and PerAddress how many of them from one address.
	Connections int // 4096
	PerAddress  int // 1024
	// Delayed is how many connections may wait for their greeting at once because of the throttle; more are refused.
	Delayed int // 256
	// Transfers is how many up- and downloads may go on at once, and UserTransfers how many of one user.
	Transfers     int // 64
	UserTransfers int // 8
	// FileSize is the greatest length of a user's file in bytes, Quota that of all of a user's files together, uploads
	// under way included, and Files how many files and directories a user may have.
	FileSize int64 // 1 GiB
	Quota    int64 // 4 GiB
	Files    int   // 10,000
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Connections, 4096)
	setDefault(&l.PerAddress, 1024)
	setDefault(&l.Delayed, 256)
	setDefault(&l.Transfers, 64)
	setDefault(&l.UserTransfers, 8)
	setDefault(&l.FileSize, 1<<30)
	setDefault(&l.Quota, 4<<30)
	setDefault(&l.Files, 10_000)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Bounds that are not configured.
const (
	// maxTimeout is the longest idle time that `tout` can ask for.
	maxTimeout = time.Hour
	// frameTimeout is how long a frame may take to arrive once it has begun, and writeTimeout how long the other side may
	// take to accept what is written at once: a frame, or 32 KiB of a download.
	frameTimeout = 20 * time.Second
	writeTimeout = 20 * time.Second
	// lingerTimeout and lingerBytes bound the wait for the other side to read the last reply before the connection is cut.
	lingerTimeout = time.Second
	lingerBytes   = 64 << 10

	// More than throttleBurst connections from an address within throttleWindow wait throttleDelay for their greeting
	// (docs/original-protocol.md §5).
	throttleBurst  = 5
	throttleWindow = 5 * time.Second
	throttleDelay  = 3 * time.Second
	// throttleAddresses is how many addresses the throttle remembers.
	throttleAddresses = 4096

	// maxFailures is how many failed attempts at a password or code end the connection.
	maxFailures = 3
	// maxName is the greatest length of a user's name in bytes, as a client gives it.
	maxName = 256

	// smallFrame is the size of the buffer that an idle connection keeps, in bytes.
	smallFrame = 512
	// maxCoding is how many messages may be decoded or encoded at once; each can take some MiB.
	maxCoding = 16

	// maxListed is how many headers `rlist` returns.
	maxListed = 100
	// maxReplyRecords bounds the packed records of one reply in bytes, before they are compressed.
	maxReplyRecords = wire.MaxText * 3 / 4 // in base64 they are a third longer
	// maxFailedPositions is how many positions of bad records `rcheck` names.
	maxFailedPositions = 1000

	// maxHosts is how many hosts to replicate to there may be, and maxHost the greatest length of one in bytes.
	maxHosts = 64
	maxHost  = 270
	// maxImage is the greatest length of the site's QR image in bytes; the reply that shows it must fit a frame.
	maxImage = 20 << 10
	// maxSiteFile bounds the files that the server keeps for itself, in bytes.
	maxSiteFile = 64 << 10

	// defaultChunk is the length of the frames of a download unless `buff` sets another, and maxChunk the greatest that it
	// takes.
	defaultChunk = 4096
	maxChunk     = 61440
	// maxDiscarded is how much of an upload that has failed is still read, for the client to see the reply.
	maxDiscarded = 64 << 20

	// maxPath and maxPathPart are the greatest lengths of a path and of a name in it, in bytes.
	maxPath     = 1024
	maxPathPart = 200
)
