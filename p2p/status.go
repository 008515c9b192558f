package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
)

// PeerStatus is what a node knows of a neighbour it is connected to, or of a configured peer that
// is not connected. Of the latter Since is zero, and only ID, Addr and LastError are set.
type PeerStatus struct {
	ID        peer.ID       `json:"id"`
	Addr      string        `json:"addr"`       // multiaddr of the oldest connection, else as configured
	Direction string        `json:"direction"`  // "inbound" or "outbound"
	Since     time.Time     `json:"since"`      // when it connected
	Protected bool          `json:"protected"`  // configured: kept whatever the limits say
	Syncs     bool          `json:"syncs"`      // speaks the sync protocol of this network
	Agent     string        `json:"agent"`      // what it says it is; not to be trusted
	Latency   time.Duration `json:"latency_ns"` // smoothed round trip; 0 when not known
	Digest    *ledger.Hash  `json:"digest"`     // of its frontier, as it last said; nil before
	Entries   uint64        `json:"entries"`    // in that frontier, as it said
	Agrees    bool          `json:"agrees"`     // that digest is this node's own now
	LastHeard time.Time     `json:"last_heard"` // when the digest came
	LastError string        `json:"last_error"` // of the last exchange, if it failed
}

// LinkStatus is the state of a replication link: a configured peer to which entries are pushed.
type LinkStatus struct {
	ID        peer.ID   `json:"id"`
	Connected bool      `json:"connected"`
	Sent      uint64    `json:"sent"`       // entries acknowledged since this node started
	Pending   uint64    `json:"pending"`    // entries held here that it has not acknowledged
	NextTry   time.Time `json:"next_try"`   // when it is dialled again; zero while connected
	LastError string    `json:"last_error"` // why it is not connected, or what it refused last
}

// SigningState says whether a node may sign entries of its own yet.
type SigningState string

// The states of the own-head check.
const (
	SigningReady SigningState = "ready"
	// Waiting for enough members or configured peers to say what they hold of this node's own log.
	SigningWaiting SigningState = "waiting"
	// Others hold more of its own log than is here. It is being fetched.
	SigningBehind SigningState = "behind"
	// Its own log has been forked: somebody else signs with this node's key.
	SigningStopped SigningState = "stopped"
	// Not a member, or no key.
	SigningNever SigningState = "no-rights"
)

// Status is a snapshot of a node's part in its network.
type Status struct {
	ID          peer.ID      `json:"id"`
	Listen      []string     `json:"listen"`   // multiaddrs with peer ID, as others dial them
	Peers       int          `json:"peers"`    // that are connected
	Absent      int          `json:"absent"`   // configured peers that are not
	Agreeing    int          `json:"agreeing"` // peers whose last digest is this node's own now
	Digest      ledger.Hash  `json:"digest"`
	Entries     uint64       `json:"entries"`
	Logs        int          `json:"logs"`
	Frozen      int          `json:"frozen"`
	Parked      int          `json:"parked"` // entries that wait for what they name
	ParkedBytes int          `json:"parked_bytes"`
	Syncing     *Progress    `json:"syncing,omitempty"` // nil while there is nothing to fetch
	Unverified  uint64       `json:"unverified"`        // signatures still to be checked
	Signing     SigningState `json:"signing"`
	SigningWhy  string       `json:"signing_why"`    // for people: what is waited for, or what to do
	Twin        peer.ID      `json:"twin,omitempty"` // a peer that hears another node with this node's key; empty if none says so
	Received    Received     `json:"received"`
}

// Progress says how far catching up is.
type Progress struct {
	Peer  peer.ID `json:"peer"`
	Done  uint64  `json:"done"`  // entries fetched
	Total uint64  `json:"total"` // that were missing when it began
}
