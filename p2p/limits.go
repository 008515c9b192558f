package p2p

import (
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
)

// Every bound on what peers can make a node hold, send or do is in this file. None is part of
// validity: what is over a limit here is ignored or fetched later, never called invalid.
//
// What the worst set of peers can cost is the product of these bounds. A node keeps 48 connections
// ([connHigh]) besides configured peers, and serves 256 streams ([allStreams]). At the same moment
// they can hold, in MiB of memory:
//
//	 68  frames that are read or written, on 256 streams, 0.27 each
//	 64  rows that nobody reads, on 192 streams, 0.33 each ([pageRows])
//	 60  pulls that nobody reads: one a neighbour and [servedPulls], 1.1 each ([store.Merge])
//	 64  how far these pulls are in each log ([servedLogs])
//	 72  entries on links, 96 streams, three times [linkBytes] each
//	 80  what peers say they hold: an outline, a page and the rows remembered of each, 1.7
//	 40  a pull from one peer: 20 batches of 1 MiB, encoded and decoded
//	100  disputed entries that are found out about for [slowPlaces] peers, 25 each ([maxPast])
//	128  parked entries, encoded and decoded ([parkedAllBytes])
//	192  gossip messages in six queues ([queueLength])
//	320  gossip messages that peers do not take: what is let in ([allRate]) in the 30 s until
//	     GossipSub gives them up
//
// That is 1.2 GiB. TestWorstPeers reaches the part of it that streams hold. Processor: questions
// half a core ([questionRate] of 48 peers), what gossip and links bring one core ([allRate]),
// comparisons one core ([compareShare]), this node's own frontier and parked entries an eighth each
// ([viewShare]). Disk: 10 MiB a second by gossip and links; by pulls, as much as the origins that
// may write have signed: only they can fill a disk. Time: forty peers that stall cost an honest
// one, of which nothing is known yet, a second each, once ([crowdPatience]); after that they come
// last.
const (
	// MaxMessage is the greatest length of a gossip message in bytes.
	MaxMessage = 128 << 10
	// maxRun is how many entries go into one gossip message.
	maxRun = 64
	// maxFrame is the greatest length of a frame of the sync protocol in bytes, its kind included.
	maxFrame = max(ledger.MaxEntry, proof.MaxEvidence) + 1<<10
	// rowsFrame is how many bytes of frontier rows go into one frame.
	rowsFrame = 48 << 10
	// fewRows is the greatest number of rows of a frontier that is sent whole. A longer one is sent
	// as an outline, and the other side asks for the rows of some ranges of origins.
	fewRows = 1024
	// rememberedRows is the greatest number of rows of a peer's frontier that a node remembers. Of
	// a frontier that is remembered, the peer sends only what has changed.
	rememberedRows = 8192
	// An outline has a digest for each chunk of chunkRows rows. If that would be more than
	// maxChunks chunks, each has more rows. So a ledger may have any number of logs.
	chunkRows, maxChunks = 128, 4096
	// pageRows is how many rows one answer has of the ranges that were asked for, of which there
	// are up to maxRanges.
	pageRows, maxRanges = 2048, 1024
	// clientRows is how many frontier rows an audit of a peer takes, and rowBytes is more than one
	// takes in a frame.
	clientRows = 1 << 20
	rowBytes   = 256
	// maxPullLogs is how many logs one frame of a pull can name; all its frames together may name
	// any number, of which the other side keeps those that it can send something of.
	maxPullLogs = 1024
	// maxOthers is how many logs are bisected after one comparison.
	maxOthers = 64
	// unansweredEvidence is how many pieces of evidence a peer may claim in a comparison and not
	// have.
	unansweredEvidence = 16
	// servedLogs is how many logs all the pulls that a node answers at once can be of, together, 64
	// bytes each. servedPulls is how many pulls of peers that are no neighbours it answers at once.
	// Of each neighbour it answers one.
	servedLogs, servedPulls = 1 << 20, 4
	// pullCredit is how many batches of entries a node sends before it waits to be asked for more.
	pullCredit = 4
	// maxPast is how many disputed entries are found before some are fetched, and how many more are
	// known to be cited. pastLooks is how many citations are followed or looked up for that.
	maxPast, pastLooks = 1 << 15, 1 << 20
	// peerStreams is how many streams of one protocol a peer can have open to a node at once: a
	// comparison, and beside it the own-head check, a link that begins, or disputed entries that a
	// pull needs.
	peerStreams = 4
	// linkStreams is the same for links. linkBytes is how many bytes of entries on each are on
	// their way into the ledger.
	linkStreams, linkBytes = 2, 256 << 10
	// allStreams is how many streams all peers together can have open to a node, configured ones
	// aside.
	allStreams = 256
	// snapshots and snapshotRows bound the earlier frontiers that a node can name changes since.
	snapshots    = 64
	snapshotRows = 1 << 16

	// Parked entries wait for what they name, in each log and in all.
	parkedEntries    = 1024
	parkedBytes      = 8 << 20
	parkedAllEntries = 1 << 16
	parkedAllBytes   = 64 << 20

	// parkedAge is for how long an entry stays parked when there is no room for others.
	parkedAge = time.Minute

	// queueLength is how many gossip messages wait to be checked, to be stored, or to be sent to
	// one peer. More are dropped, and fetched by sync.
	queueLength = 256

	// Token buckets: entries by gossip and links each second, and how many at once. entryBytes
	// bytes count as one more.
	entryBytes              = 512
	originRate, originBurst = 5000, 10000
	peerRate, peerBurst     = 10000, 20000
	allRate, allBurst       = 20000, 40000
	// Questions of one peer on the sync protocol: of the cheapest.
	questionRate, questionBurst = 200, 400
	// Evidence from others against one origin, a second and at once: after that, one a minute.
	evidenceRate, evidenceBurst = 1.0 / 60, 16
	// limitedNames is how many origins and peers have token buckets at once, and how many peers are
	// remembered as dropped.
	limitedNames = 4096

	// logBurst is how many lines about strangers a node writes to its log at once; after that, one
	// in each [logInterval].
	logBurst = 10
	// connLow and connHigh are between how many connections a node keeps, configured peers aside.
	connLow, connHigh = 24, 48
	// rememberedPeers is how many peers are remembered between runs, with up to rememberedAddrs
	// addresses each.
	rememberedPeers, rememberedAddrs = 64, 8
	// relays is through how many peers a node behind NAT can be reached.
	relays = 2
	// configuredOutbound is how many configured peers are dialled at once and kept.
	configuredOutbound = 64
)

const (
	// gatherDelay is for how long this node's entries are gathered into one gossip message after
	// another was sent.
	gatherDelay = 10 * time.Millisecond
	// settleTime is how long a node waits, after enough peers have confirmed what it holds of its
	// own log, for others to show something newer. For peers that are connected and silent it waits
	// up to settleMost, looking every settleStep.
	settleTime, settleStep, settleMost = 3 * time.Second, time.Second, 10 * time.Second
	// twinTime is for how long a second node with one key is spoken of after it was last heard.
	twinTime = time.Minute
	// haveInterval is how often neighbours compare digests when nothing changes.
	haveInterval = 10 * time.Second
	// changeDelay is how long changes are gathered before neighbours hear of them.
	changeDelay = 200 * time.Millisecond
	// compareDelay is the least time between two comparisons with a neighbour.
	compareDelay = 500 * time.Millisecond
	// viewShare bounds how often a node works out what it holds, and looks at what is parked: it
	// waits that many times as long as the last time took.
	viewShare = 8
	// compareShare bounds how often a node compares with one peer: it waits that many times as long
	// as the work of the last comparison took.
	compareShare = connHigh
	// pullDelay is how long a node waits for gossip to bring what a neighbour has more, if that is
	// at most fewEntries entries.
	pullDelay  = 300 * time.Millisecond
	fewEntries = 512
	// pullTurn is how long one peer is pulled from before the next that has something has its turn.
	pullTurn = 30 * time.Second
	// slowTurn is the same if what the peer has cites disputed entries. Up to slowPlaces peers are
	// asked for those at once.
	slowTurn, slowPlaces = time.Minute, 4
	// rowsTime is how long a peer may take to say what it holds.
	rowsTime = 2 * time.Minute
	// fruitlessMin is how long a peer is left alone after a turn of which nothing came. It is twice
	// as long after each more such turn, up to fruitlessMax.
	fruitlessMin, fruitlessMax = 2 * time.Second, 10 * time.Minute
	// mostOwed bounds what counts against a peer that made this node wait.
	mostOwed = 10 * time.Minute
	// pullPatience is how long a peer that is pulled from may bring nothing. All in all it may take
	// longer only if it brings pullPace bytes in each such time, which is less than any line in use
	// brings.
	pullPatience  = 5 * time.Second
	crowdPatience = time.Second // while others wait
	pullPace      = 32 << 10
	// startsEachSecond is how many logs that are held in part a peer looks up in a second, before
	// it can answer a pull.
	startsEachSecond = 10_000
	// answerWorth is how many bytes an answer about a branch counts besides its own, for the way
	// there and back.
	answerWorth = 2 << 10
	// ioTimeout is how long a peer may take to answer, or to take what it asked for.
	ioTimeout = 20 * time.Second
	// relayDelay is how long a node waits for more candidates before it asks one to relay.
	relayDelay = 20 * time.Second
	// searchMin and searchMax are the wait between two searches of the DHT: short at first, until
	// the nodes it finds are reached.
	searchMin, searchMax = 5 * time.Second, 5 * time.Minute
	logInterval          = time.Minute
	// dropTime is how long a dropped peer may not come back, unless the options say otherwise.
	dropTime = time.Minute
	// retryMin and retryMax bound the wait before a configured peer is dialled again.
	retryMin, retryMax = 500 * time.Millisecond, time.Minute
)
