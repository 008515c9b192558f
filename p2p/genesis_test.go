package p2p_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

func TestFetchGenesis(t *testing.T) {
	t.Parallel()
	doc := ledgertest.Doc("alice", "bob")
	for i := range 1000 { // so that it takes many packets
		doc.PrivateKinds = append(doc.PrivateKinds, "kind-"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)))
	}
	g := ledgertest.Genesis(t, doc)
	alice := p2ptest.Start(t, g, "alice", p2p.Options{})
	for range 2 * p2p.SyncStreams { // each leaves nothing behind that the next would have to wait for
		raw, err := p2p.FetchGenesis(t.Context(), alice.Info())
		if err != nil || !bytes.Equal(raw, g.Bytes()) {
			t.Fatalf("%d bytes, want %d: %v", len(raw), len(g.Bytes()), err)
		}
	}
	must(t, alice.Close())
	var unreachable *p2p.UnreachableError
	if _, err := p2p.FetchGenesis(t.Context(), alice.Info()); !errors.As(err, &unreachable) {
		t.Errorf("of a node that is gone: %v", err)
	}
}

// TestFetchGenesisFromLiars: whatever a peer sends instead, or does not, it is bounded and no
// document.
func TestFetchGenesisFromLiars(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for _, c := range []struct {
		name        string
		answer      func(s network.Stream) // nil: the protocol is not spoken
		patience    time.Duration
		unreachable bool
	}{
		{"another protocol", nil, time.Minute, true},
		{"silence", func(network.Stream) { <-never }, time.Second, true},
		{"a part, and silence", func(s network.Stream) { _, _ = s.Write([]byte("{")); <-never }, time.Second, true},
		{"an end in the middle", func(s network.Stream) { _, _ = s.Write([]byte("{")); _ = s.Reset() }, time.Minute, true},
		{"one byte too many", func(s network.Stream) { _, _ = s.Write(make([]byte, ledger.MaxGenesis+1)); _ = s.Close() }, time.Minute, false},
		{"no end", func(s network.Stream) { _, _ = io.Copy(s, forever{}) }, time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			liar := bareHost(t)
			if c.answer != nil {
				liar.SetStreamHandler(p2p.GenesisProtocolID, c.answer)
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.patience)
			defer cancel()
			raw, err := p2p.FetchGenesis(ctx, peer.AddrInfo{ID: liar.ID(), Addrs: liar.Addrs()})
			var unreachable *p2p.UnreachableError
			if err == nil || raw != nil || errors.As(err, &unreachable) != c.unreachable {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
}

// TestServeGenesisBounds: a peer that opens many streams gets no more at once than others, and
// cannot keep a node from closing.
func TestServeGenesisBounds(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	alice := p2ptest.Start(t, g, "alice", p2p.Options{})
	h := bareHost(t)
	must(t, h.Connect(t.Context(), alice.Info()))
	served := 0
	for range 8 * p2p.SyncStreams {
		s, err := h.NewStream(t.Context(), alice.Host().ID(), p2p.GenesisProtocolID)
		if err != nil {
			continue
		}
		_ = s.SetDeadline(time.Now().Add(10 * time.Second))
		if raw, err := io.ReadAll(s); err == nil && bytes.Equal(raw, g.Bytes()) { // and is never closed
			served++
		}
	}
	if served == 0 {
		t.Error("nobody was served")
	}
	raw, err := p2p.FetchGenesis(t.Context(), alice.Info())
	if err != nil || !bytes.Equal(raw, g.Bytes()) {
		t.Errorf("another: %v", err)
	}
	must(t, alice.Close())
}

type forever struct{}

func (forever) Read(b []byte) (int, error) { return len(b), nil }

func bareHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}
