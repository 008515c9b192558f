package p2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	drouting "github.com/libp2p/go-libp2p/p2p/discovery/routing"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// discover finds peers: those configured, which are dialled until they are there and whenever they are gone; those
// remembered from earlier runs; and, beyond loopback, those on the local network and those others know.
func (n *Network) discover() error {
	for i, p := range n.o.Peers {
		if p.ID != n.host.ID() && i < configuredOutbound {
			n.running.Go(func() { n.keep(p) })
		}
	}
	remembered, err := n.recall()
	if err != nil {
		n.log.Warn("remembered peers cannot be read; going on without", "file", n.o.PeersFile, "error", err)
	}
	for _, p := range remembered {
		if !n.configure[p.ID] {
			n.running.Go(func() { _ = n.dial(p) })
		}
	}
	if loopbackOnly(n.host.Addrs()) {
		return nil
	}
	name := "pyvnode-" + n.genesis.Network().Short()
	if n.o.MDNS {
		service := mdns.NewMdnsService(n.host, name, found(n.nearby))
		if err := service.Start(); err != nil {
			n.log.Warn("the local network cannot be searched for nodes", "error", err)
		} else {
			n.running.Go(func() {
				<-n.ctx.Done()
				_ = service.Close()
			})
		}
	}
	if n.o.DHT {
		n.running.Go(func() {
			if err := n.search(name); err != nil && n.ctx.Err() == nil {
				n.log.Warn("nodes cannot be searched through others", "error", err)
			}
		})
	}
	return nil
}

// found takes the peers that mDNS finds.
type found func(peer.AddrInfo)

// HandlePeerFound implements [mdns.Notifee].
func (f found) HandlePeerFound(p peer.AddrInfo) { f(p) }

// nearby dials a peer that the local network has, unless the node is closing.
func (n *Network) nearby(p peer.AddrInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() == nil {
		n.running.Go(func() { _ = n.dial(p) })
	}
}

// search announces this node in a DHT of the network's nodes, and dials those it finds there.
func (n *Network) search(name string) error {
	d, err := dht.New(n.host, dht.Mode(dht.ModeAutoServer), dht.ProtocolPrefix("/pyvnode"), dht.BootstrapPeers(n.o.Peers...))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Bootstrap(n.ctx); err != nil {
		return err
	}
	routing := drouting.NewRoutingDiscovery(d)
	wait := searchMin
	for {
		_, err := routing.Advertise(n.ctx, name)
		if err != nil {
			n.log.Debug("not announced", "error", err)
		}
		others, missed := 0, 0
		found, err := routing.FindPeers(n.ctx, name)
		if err == nil {
			for p := range found {
				if p.ID == n.host.ID() {
					continue
				}
				if others++; len(n.host.Network().Peers()) < connLow && !n.dial(p) {
					missed++
				}
			}
		}
		if others > 0 && missed == 0 {
			wait = searchMax
		}
		select {
		case <-time.After(wait + rand.N(wait/5)):
			wait = min(2*wait, searchMax)
		case <-n.ctx.Done():
			return nil
		}
	}
}

// dial connects to a peer, unless it is there, and reports whether it then is.
func (n *Network) dial(p peer.AddrInfo) bool {
	if p.ID == n.host.ID() {
		return false
	}
	ctx, cancel := context.WithTimeout(n.ctx, ioTimeout)
	defer cancel()
	err := n.host.Connect(ctx, p)
	if err != nil && n.ctx.Err() == nil {
		n.log.Debug("a peer was not reached", "peer", p.ID, "error", err)
	}
	return err == nil
}

// keep dials a configured peer, and again whenever the connection is gone, waiting longer each time it fails.
func (n *Network) keep(p peer.AddrInfo) {
	n.host.Peerstore().AddAddrs(p.ID, p.Addrs, peerstore.PermanentAddrTTL)
	gone := make(chan struct{}, 1)
	notify := &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
		if c.RemotePeer() == p.ID {
			select {
			case gone <- struct{}{}:
			default:
			}
		}
	}}
	n.host.Network().Notify(notify)
	defer n.host.Network().StopNotify(notify)
	wait := retryMin
	for {
		n.mu.Lock()
		out := n.outFor(p.ID)
		n.mu.Unlock()
		select {
		case <-time.After(out):
		case <-n.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(n.ctx, ioTimeout)
		err := n.host.Connect(ctx, p)
		cancel()
		if n.ctx.Err() != nil {
			return
		}
		first := n.reach.note(p.ID, err)
		if err == nil {
			wait = retryMin
			select {
			case <-gone:
			case <-n.ctx.Done():
				return
			}
			if n.host.Network().Connectedness(p.ID) == network.Connected {
				continue // one of several connections
			}
		} else {
			level := slog.LevelDebug
			if first {
				level = slog.LevelWarn
			}
			n.log.Log(n.ctx, level, "a configured peer was not reached, and is tried again and again", "peer", p.ID, "error", oneLine(err), "next", wait)
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-n.ctx.Done():
			return
		}
		wait = min(2*wait, retryMax)
	}
}

// rememberedFile is the content of the file of remembered peers.
type rememberedFile struct {
	Peers []peer.AddrInfo `json:"peers"`
}

// remember writes the addresses of peers that were connected lately.
func (n *Network) remember() {
	if n.o.PeersFile == "" {
		return
	}
	var file rememberedFile
	for _, id := range n.host.Network().Peers() {
		b := n.neighbour(id)
		if b == nil {
			continue
		}
		if digest, _ := b.said(); digest == nil {
			continue // not of this network
		}
		if p := n.host.Peerstore().PeerInfo(id); len(p.Addrs) > 0 && len(file.Peers) < rememberedPeers {
			p.Addrs = p.Addrs[:min(len(p.Addrs), rememberedAddrs)]
			file.Peers = append(file.Peers, p)
		}
	}
	if len(file.Peers) == 0 {
		return // what an earlier run knew is better than nothing
	}
	slices.SortFunc(file.Peers, func(a, b peer.AddrInfo) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	raw, err := json.MarshalIndent(file, "", "  ")
	if err == nil {
		err = store.WriteFileAtomic(n.o.PeersFile, append(raw, '\n'), 0o600)
	}
	if err != nil {
		n.log.Warn("peers were not remembered", "file", n.o.PeersFile, "error", err)
	}
}

// maxPeersFile is the greatest length of the file of remembered peers in bytes.
const maxPeersFile = 256 << 10

func (n *Network) recall() ([]peer.AddrInfo, error) {
	if n.o.PeersFile == "" {
		return nil, nil
	}
	f, err := os.Open(n.o.PeersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxPeersFile+1))
	if err != nil {
		return nil, err
	}
	var file rememberedFile
	if len(raw) > maxPeersFile {
		return nil, fmt.Errorf("larger than %d bytes", maxPeersFile)
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, errors.New(record.ExplainJSON(raw, err))
	}
	return file.Peers[:min(len(file.Peers), rememberedPeers)], nil
}
