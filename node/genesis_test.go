package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p"
	p2pnetwork "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

// TestJoinFromPeer lets a node found a network, and another join it by no more than an address and a hash; then both run,
// and hold the same.
func TestJoinFromPeer(t *testing.T) {
	t.Parallel()
	run := func(dir string) *Running {
		config, err := LoadConfig(Sources{Flags: map[string]string{
			SettingData: dir, SettingListen: "/ip4/127.0.0.1/tcp/0", SettingMDNS: "false", SettingDHT: "false", SettingLegacyListen: LegacyOff,
		}})
		must(t, err)
		o, err := RunOptionsOf(config, nil, nil)
		must(t, err)
		r, err := Run(t.Context(), o)
		must(t, err)
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	first := run(founded(t))
	_, err := first.node.Write(t.Context(), inputs("ballot", records(t, 20, 3)), false, func(Outcome) error { return nil })
	must(t, err)
	address := first.Status().Listen[0]
	from, err := ParsePeers([]string{address})
	must(t, err)
	network := first.Status().Network

	other := ledger.Hash{1}
	var wrong *WrongGenesisError
	if _, err := FetchGenesis(t.Context(), from[0], &other); !errors.As(err, &wrong) || wrong.Is != network || wrong.Want != other {
		t.Errorf("another network: %v", err)
	}
	if _, err := FetchGenesis(t.Context(), from[0], new(ledger.Hash)); !errors.As(err, &wrong) {
		t.Errorf("the hash of nothing: %v", err)
	}
	g, err := FetchGenesis(t.Context(), from[0], &network)
	must(t, err)
	if again, err := FetchGenesis(t.Context(), from[0], nil); err != nil || !bytes.Equal(again.Bytes(), g.Bytes()) {
		t.Errorf("believing the peer: %v", err)
	}
	dir := filepath.Join(shortTemp(t), "second")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, AddPeers(dir, "/ip4/127.0.0.1/tcp/1/p2p/"+otherPeer)) // was there before, and stays
	_, err = JoinNetwork(t.Context(), dir, g, address)
	must(t, err)
	if list, err := ReadPeers(filepath.Join(dir, BootstrapFile)); err != nil || len(list) != 2 {
		t.Errorf("peers: %v, %v", list, err)
	}
	written, err := os.ReadFile(filepath.Join(dir, store.GenesisFile))
	if err != nil || !bytes.Equal(written, first.node.Genesis().Bytes()) {
		t.Errorf("the document is not the same: %v", err)
	}
	second := run(dir)
	changed, stop := second.node.Watch()
	defer stop()
	for second.Status().Digest != first.Status().Digest {
		<-changed
	}
	must(t, second.Close())
	must(t, first.Close())
}

// TestFetchGenesisGarbage: what is no document is refused also where the peer is believed, and where its hash is right.
func TestFetchGenesisGarbage(t *testing.T) {
	t.Parallel()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	garbage := []byte(`{"pyvnode_genesis": 1}`)
	h.SetStreamHandler(p2p.GenesisProtocolID, func(s p2pnetwork.Stream) {
		_, _ = s.Write(garbage)
		_ = s.Close()
	})
	hash := ledger.Hash(sha256.Sum256(garbage))
	for _, network := range []*ledger.Hash{nil, &hash} {
		var fetched *FetchedGenesisError
		if _, err := FetchGenesis(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}, network); !errors.As(err, &fetched) {
			t.Errorf("%v: %v", network, err)
		}
	}
	h.SetStreamHandler(p2p.GenesisProtocolID, func(s p2pnetwork.Stream) {
		_, _ = s.Write(make([]byte, ledger.MaxGenesis+1))
		_ = s.Close()
	})
	var fetched *FetchedGenesisError
	if _, err := FetchGenesis(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}, nil); !errors.As(err, &fetched) {
		t.Errorf("too long: %v", err)
	}
}
