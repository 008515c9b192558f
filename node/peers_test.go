package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	somePeer  = "12D3KooWEb52VjsPvi88XTgyGom73btVELYtU7MHcp5XPmefWLJ3"
	otherPeer = "12D3KooWApzkKwnNMN7XnLzwjzJW252bAmV5EyPmt7N1CzjZQLwF"
)

func TestReadPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := "/ip4/127.0.0.1/tcp/1/p2p/"+somePeer, "/ip4/127.0.0.1/udp/1/quic-v1/p2p/"+somePeer
	if err := AddPeers(dir, a, "/ip4/127.0.0.1/tcp/2/p2p/"+otherPeer, b); err != nil {
		t.Fatal(err)
	}
	peers, err := ReadPeers(filepath.Join(dir, BootstrapFile))
	if err != nil || len(peers) != 2 {
		t.Fatal(peers, err)
	}
	for _, p := range peers {
		if p.ID.String() == somePeer && len(p.Addrs) != 2 {
			t.Errorf("addresses of one peer: %v", p.Addrs)
		}
	}
	if peers, err := ReadPeers("../bootstrap.json"); err != nil || len(peers) != 0 {
		t.Errorf("the default list: %v, %v", peers, err)
	}
	var bad *ConfigError
	for name, text := range map[string]string{
		"unknown": `{"peers": [], "x": 1}`, "not JSON": `peers`, "two": `{} {}`, "nothing": ``, "a number": `{"peers": [1]}`,
		"no ID":     `{"peers": ["/ip4/127.0.0.1/tcp/1"]}`,
		"no addr":   `{"peers": ["` + somePeer + `"]}`,
		"very many": `{"peers": ["` + a + strings.Repeat(`", "`+a, MaxPeers) + `"]}`,
	} {
		if _, err := ReadPeers(writeFile(t, dir, name, text)); !errors.As(err, &bad) || bad.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadPeers(writeFile(t, dir, "large", strings.Repeat(" ", MaxPeersFile+1))); err == nil {
		t.Error("a file of any size is read")
	}
	if _, err := ReadPeers(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := AddPeers(dir, somePeer); !errors.As(err, &bad) {
		t.Errorf("writing what cannot be read: %v", err)
	}
}
