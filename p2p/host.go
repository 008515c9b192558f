package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// userAgent is what a node says it is.
const userAgent = "pyvnode"

// newHost makes a libp2p host that speaks QUIC and TCP, and nothing else.
func newHost(o *Options) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(o.Key)
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	listen, err := parseAddrs(o.Listen)
	if err != nil {
		return nil, err
	}
	manager, err := connmgr.NewConnManager(connLow, connHigh)
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.ListenAddrs(listen...),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.ConnectionManager(manager),
		libp2p.UserAgent(userAgent),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankAddrs)),
	}
	if o.Gater != nil {
		opts = append(opts, libp2p.ConnectionGater(o.Gater))
	}
	if o.Metrics != nil {
		opts = append(opts, libp2p.PrometheusRegisterer(o.Metrics))
	} else {
		opts = append(opts, libp2p.DisableMetrics())
	}
	made := make(chan host.Host, 1)
	if loopbackOnly(listen) {
		opts = append(opts, libp2p.DisableRelay())
	} else {
		opts = append(opts, libp2p.NATPortMap(), libp2p.EnableNATService(), libp2p.EnableAutoNATv2())
		opts = append(opts, behindNAT(made)...)
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", o.Listen, err)
	}
	made <- h
	return h, nil
}

// behindNAT lets nodes that nobody can dial take part. Nodes that can be dialled relay for those
// that cannot. The latter make a reservation with up to two of their peers, are dialled through
// them, and then both sides try for a direct connection at once. What goes through a relay is
// little and short: nodes do not compare frontiers over it.
//
// The host that is made with the options is to be sent to made, which has room for it.
func behindNAT(made chan host.Host) []libp2p.Option {
	peers := func(ctx context.Context, count int) <-chan peer.AddrInfo {
		found := make(chan peer.AddrInfo)
		go func() {
			defer close(found)
			var h host.Host
			select {
			case h = <-made:
				made <- h
			case <-ctx.Done():
				return
			}
			for i, id := range h.Network().Peers() {
				if i == count {
					return
				}
				select {
				case found <- h.Peerstore().PeerInfo(id):
				case <-ctx.Done():
					return
				}
			}
		}()
		return found
	}
	return []libp2p.Option{
		libp2p.EnableRelay(),
		libp2p.EnableRelayService(),
		libp2p.EnableAutoRelayWithPeerSource(peers, autorelay.WithMinCandidates(1), autorelay.WithNumRelays(relays),
			autorelay.WithBootDelay(relayDelay), autorelay.WithBackoff(searchMax)),
		libp2p.EnableHolePunching(),
	}
}

// rankAddrs dials as libp2p does by default, but within one machine TCP first: QUIC costs three
// times as much processor time there and gains nothing.
func rankAddrs(addrs []ma.Multiaddr) []network.AddrDelay {
	if !loopbackOnly(addrs) {
		return swarm.DefaultDialRanker(addrs)
	}
	ranked := make([]network.AddrDelay, len(addrs))
	for i, a := range addrs {
		ranked[i].Addr = a
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			ranked[i].Delay = 250 * time.Millisecond
		}
	}
	return ranked
}

func parseAddrs(texts []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, len(texts))
	for i, text := range texts {
		var err error
		if addrs[i], err = ma.NewMultiaddr(text); err != nil {
			return nil, fmt.Errorf("listen address %q: %w", text, err)
		}
	}
	return addrs, nil
}

func loopbackOnly(addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		if !manet.IsIPLoopback(a) {
			return false
		}
	}
	return true
}
