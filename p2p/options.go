package p2p

import (
	"crypto/ed25519"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"pyvnode/ledger/store"
)

// Options configure [New].
type Options struct {
	Store *store.Store
	// Key is the node's identity, and what the store signs with if it may write.
	Key ed25519.PrivateKey
	// Listen are multiaddrs such as /ip4/127.0.0.1/udp/0/quic-v1 and /ip4/127.0.0.1/tcp/0. When all
	// are loopback, mDNS, DHT, relay and hole punching stay off.
	Listen []string
	// Peers are configured peers, from the peer list: dialled at start and again whenever they are
	// gone, and protected.
	Peers []peer.AddrInfo
	// Links are peers to push entries to, with hop counts. They are configured peers too.
	Links []peer.AddrInfo
	// PeersFile is the file in which addresses of peers are remembered between runs; empty
	// remembers none.
	PeersFile string
	// MDNS finds nodes on the local network, DHT finds them through others.
	MDNS, DHT bool
	// Alone signs without asking others first for the newest entry of this node's own log.
	Alone bool
	// Confirmations is how many members or configured peers must have said what they hold of this
	// node's own log before the first signature; 0 means 1.
	Confirmations int
	Logger        *slog.Logger
	// Metrics registers what is counted; nil counts for nobody.
	Metrics prometheus.Registerer
	// DropTime is for how long a peer that sent what no honest node sends may not come back; 0
	// means a minute.
	DropTime time.Duration
	// Gater decides who may connect; nil lets everybody.
	Gater connmgr.ConnectionGater
	// Host replaces the host that New would make, in tests. It is closed with the network.
	Host host.Host
}
