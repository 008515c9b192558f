package p2p

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
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
	if loopbackOnly(listen) {
		opts = append(opts, libp2p.DisableRelay())
	} else {
		opts = append(opts, libp2p.EnableHolePunching(), libp2p.NATPortMap(), libp2p.EnableAutoNATv2())
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", o.Listen, err)
	}
	return h, nil
}

// rankAddrs dials as libp2p does by default, but within one machine TCP first: QUIC costs three times as much processor
// time there and gains nothing.
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
