package p2ptest

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
)

// Sim is a network of simulated links between real QUIC hosts. It is to be used inside
// [testing/synctest], in which its time is the bubble's.
type Sim struct {
	tb      testing.TB
	net     *simnet.Simnet
	counter counter

	mu      sync.Mutex
	rand    *rand.Rand
	packets uint64                     // that were sent
	loss    float64                    // of all packets, 0 to 1
	sides   map[string]int             // by IP address; packets between different sides are lost
	name    map[string]string          // of hosts, by IP address
	addr    map[string]net.IP          // of hosts, by name: a host that starts again has the address it had
	walled  map[string]map[string]bool // of hosts behind a firewall, by IP address: to which addresses they have sent
}

// counter counts what streams send. libp2p's own counter has a goroutine for all of the process,
// which fake time does not allow.
type counter struct {
	metrics.Reporter
	sent atomic.Int64
}

func (c *counter) LogSentMessage(n int64)                           { c.sent.Add(n) }
func (c *counter) LogRecvMessage(int64)                             {}
func (c *counter) LogSentMessageStream(int64, protocol.ID, peer.ID) {}
func (c *counter) LogRecvMessageStream(int64, protocol.ID, peer.ID) {}

const (
	simLatency = 20 * time.Millisecond
	// simLost is the latency of packets that are lost: by then nobody waits for them.
	simLost = 240 * time.Hour
)

// NewSim starts a network without hosts.
func NewSim(tb testing.TB, seed uint64) *Sim {
	s := &Sim{tb: tb, rand: rand.New(rand.NewPCG(seed, 1)), sides: map[string]int{}, name: map[string]string{}, addr: map[string]net.IP{},
		walled: map[string]map[string]bool{}}
	s.net = &simnet.Simnet{LatencyFunc: s.latency}
	s.net.Start()
	return s
}

// Close stops the links. Hosts are to be closed before.
func (s *Sim) Close() { s.net.Close() }

func (s *Sim) latency(p *simnet.Packet) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets++
	from, to := p.From.(*net.UDPAddr).IP.String(), p.To.(*net.UDPAddr).IP.String()
	if sent := s.walled[from]; sent != nil {
		sent[to] = true
	}
	if sent := s.walled[to]; sent != nil && !sent[from] {
		return simLost
	}
	if s.sides[from] != s.sides[to] || s.rand.Float64() < s.loss {
		return simLost
	}
	return simLatency/2 + time.Duration(s.rand.Int64N(int64(simLatency)))
}

// Sent returns how many UDP packets all hosts have sent, and how many bytes in streams.
func (s *Sim) Sent() (packets uint64, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets, s.counter.sent.Load()
}

// Loss sets which part of all packets is lost.
func (s *Sim) Loss(part float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss = part
}

// Split puts hosts on sides; those it does not name are on side 0. Nil heals.
func (s *Sim) Split(sides map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sides)
	for ip, name := range s.name {
		s.sides[ip] = sides[name]
	}
}

// Wall puts a host behind a firewall that lets in only what comes from an address to which the host
// has sent before.
func (s *Sim) Wall(name string) {
	s.listen(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walled[s.addr[name].String()] = map[string]bool{}
}

// Info returns how a party's host is reached, whether it is up or not.
func (s *Sim) Info(name string) peer.AddrInfo {
	return peer.AddrInfo{ID: ledgertest.Origin(name).PeerID(), Addrs: []ma.Multiaddr{ma.StringCast(s.listen(name))}}
}

func (s *Sim) listen(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip := s.addr[name]
	if ip == nil {
		ip = simnet.IntToPublicIPv4(len(s.addr))
		s.addr[name], s.name[ip.String()] = ip, name
	}
	return fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", ip)
}

// Host makes a host with a key on a link of its own. More options come after those of all.
func (s *Sim) Host(name string, key ed25519.PrivateKey, more ...libp2p.Option) host.Host {
	s.tb.Helper()
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		s.tb.Fatal(err)
	}
	const mbps = 100 * simlibp2p.OneMbps
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Identity(k),
		libp2p.ListenAddrStrings(s.listen(name)),
		simlibp2p.QUICSimnet(s.net, simnet.NodeBiDiLinkSettings{
			Downlink: simnet.LinkSettings{BitsPerSecond: mbps},
			Uplink:   simnet.LinkSettings{BitsPerSecond: mbps},
		}),
		libp2p.DisableIdentifyAddressDiscovery(), // it stalls fake time
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.BandwidthReporter(&s.counter),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}, more...)...)
	if err != nil {
		s.tb.Fatal(err)
	}
	return h
}

// Start starts a node of a party on a link of its own.
func (s *Sim) Start(g *ledger.Genesis, name string, o p2p.Options) *Node {
	s.tb.Helper()
	o.Host = s.Host(name, ledgertest.Key(name))
	return Start(s.tb, g, name, o)
}
