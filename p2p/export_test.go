package p2p

import (
	"io"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// What follows lets tests say on the wire what no node says.

// Bounds that attackers try.
const (
	MaxFrame      = maxFrame
	ParkedEntries = parkedEntries
	ParkedBytes   = parkedBytes
	SyncStreams   = peerStreams
	LinkStreams   = linkStreams
	FewRows       = fewRows
	RowBytes      = rowBytes
	QuestionRate  = questionRate
	QuestionBurst = questionBurst
)

// Kinds of frames.
const (
	FrameHave      = byte(frameHave)
	FrameRows      = byte(frameRows)
	FramePull      = byte(framePull)
	FrameEntry     = byte(frameEntry)
	FrameBatch     = byte(frameBatch)
	FrameEnd       = byte(frameEnd)
	FrameMore      = byte(frameMore)
	FrameStatement = byte(frameStatement)
	FrameBranch    = byte(frameBranch)
	FrameEvidence  = byte(frameEvidence)
	FrameNone      = byte(frameNone)
	FrameError     = byte(frameError)
	FrameOutline   = byte(frameOutline)
	FrameFrom      = byte(frameFrom)
	FrameRange     = byte(frameRange)
	FramePush      = byte(framePush)
)

// BehindNAT are the options of hosts that are beyond loopback.
var BehindNAT = behindNAT

// Frames reads and writes frames.
type Frames struct{ f *framer }

// NewFrames frames a stream.
func NewFrames(rw io.ReadWriter) Frames { return Frames{newFramer(rw)} }

// Send writes a frame at once.
func (f Frames) Send(kind byte, body []byte) error { return f.f.send(frameKind(kind), body) }

// Read returns the next frame.
func (f Frames) Read() (byte, []byte, error) {
	kind, body, err := f.f.read()
	return byte(kind), body, err
}

// SendRows sends a frontier.
func (f Frames) SendRows(rows ledger.Frontier) error {
	if err := f.f.writeRows(rows, false); err != nil {
		return err
	}
	return f.f.flush()
}

// Run is a gossip message of entries.
func Run(entries ...*ledger.Entry) (message []byte) {
	for _, e := range entries {
		message = appendRun(message, e)
	}
	return message
}

// ParseRun reads a gossip message of entries.
var ParseRun = parseRun

// HaveBody says what a node holds.
func HaveBody(network, digest ledger.Hash, entries uint64) []byte {
	h := have{network: network, digest: digest, entries: entries}
	return h.append(nil)
}

// PullBody asks for what is behind a place of a log, a number of times.
func PullBody(o ledger.Origin, size uint64, head ledger.Hash, times int) (body []byte) {
	s := logStart{origin: o, size: size, head: head, before: newest}
	for range times {
		body = s.append(body)
	}
	return body
}

// StatementBody is a signed header.
func StatementBody(e *ledger.Entry) []byte { return appendStatement(nil, e) }

// Park parks an entry until another is held, as it is parked when that was missed.
func (n *Network) Park(e *ledger.Entry, missing ledger.Citation) error {
	prepared, err := n.store.Prepare([]*ledger.Entry{e}, store.EverySignature)
	if err == nil {
		n.park(&arrival{run: []*ledger.Entry{e}, prepared: prepared, came: &n.received.links}, missing)
	}
	return err
}
