package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// BootstrapFile is the name of the list of peers in a data directory: {"peers": ["/ip4/192.0.2.1/tcp/4711/p2p/12D3KooW…"]}.
const BootstrapFile = "bootstrap.json"

// Bounds of a list of peers.
const (
	MaxPeersFile = 1 << 20 // bytes
	MaxPeers     = 1000    // addresses
)

type peersDoc struct {
	Peers []string `json:"peers"`
}

// ReadPeers reads a list of peers. The error is a [*ConfigError], or an error of the file system.
func ReadPeers(file string) ([]peer.AddrInfo, error) {
	raw, err := store.ReadBounded(file, MaxPeersFile)
	if err != nil {
		return nil, fmt.Errorf("peer list %s: %w", file, err)
	}
	fail := func(format string, args ...any) ([]peer.AddrInfo, error) {
		return nil, &ConfigError{Where: "peer list " + file, Detail: fmt.Sprintf(format, args...),
			Hint: `it is to look like {"peers": ["/ip4/192.0.2.1/tcp/4711/p2p/12D3KooW…"]}`}
	}
	raw = record.TrimMark(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var doc peersDoc
	if err := dec.Decode(&doc); err != nil {
		return fail("%s", record.ExplainJSON(raw, err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail("text after the JSON object")
	}
	peers, err := ParsePeers(doc.Peers)
	if err != nil {
		return fail("%v", err)
	}
	return peers, nil
}

// ParsePeers reads multiaddrs that end in /p2p/PEERID, at most [MaxPeers]. Those of one peer become one.
func ParsePeers(texts []string) ([]peer.AddrInfo, error) {
	if len(texts) > MaxPeers {
		return nil, fmt.Errorf("%d addresses are more than the limit of %d", len(texts), MaxPeers)
	}
	addrs := make([]multiaddr.Multiaddr, len(texts))
	for i, text := range texts {
		if err := checkPeer(text); err != nil {
			return nil, fmt.Errorf("%q is no multiaddr that ends in /p2p/PEERID: %w", shorten(text), err)
		}
		addrs[i], _ = multiaddr.NewMultiaddr(text) // checked
	}
	return peer.AddrInfosFromP2pAddrs(addrs...)
}

// AddPeers adds addresses to the list of peers of a data directory, which it makes where there is none. The error is a
// [*ConfigError], or an error of the file system.
func AddPeers(dir string, addrs ...string) error {
	file := filepath.Join(dir, BootstrapFile)
	var doc peersDoc
	if _, err := ReadPeers(file); err == nil {
		raw, err := store.ReadBounded(file, MaxPeersFile)
		if err == nil {
			err = json.Unmarshal(record.TrimMark(raw), &doc)
		}
		if err != nil {
			return fmt.Errorf("peer list %s: %w", file, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, addr := range addrs {
		if !slices.Contains(doc.Peers, addr) {
			doc.Peers = append(doc.Peers, addr)
		}
	}
	if _, err := ParsePeers(doc.Peers); err != nil {
		return &ConfigError{Where: "peers", Detail: err.Error()}
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return store.WriteFileAtomic(file, append(raw, '\n'), 0o644)
}
