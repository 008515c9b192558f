package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
)

// GenesisProtocolID is the protocol by which a node gives any other the genesis document of its
// network. The side that opens a stream sends nothing, and gets the document, to the end of the
// stream. It is public, and known by its hash.
const GenesisProtocolID = "/pyvnode/genesis/1"

// serveGenesis answers one stream of the genesis protocol.
func (n *Network) serveGenesis(s network.Stream) {
	leave, ok := n.enter(s)
	if !ok {
		return
	}
	defer leave()
	err := s.Scope().SetService("genesis")
	if err == nil {
		err = s.SetDeadline(time.Now().Add(ioTimeout))
	}
	if err == nil {
		_, err = s.Write(n.genesis.Bytes())
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		n.log.Debug("a genesis document was not taken", "peer", s.Conn().RemotePeer(), "error", err)
		_ = s.Reset()
	}
}

// FetchGenesis asks a node for the genesis document of its network, and waits for at most 20
// seconds. What comes has at most [ledger.MaxGenesis] bytes and is not checked: the caller compares
// its SHA-256 with what is known of the network, or believes the peer. The error is an
// [*UnreachableError], or says what the peer did wrong.
func FetchGenesis(ctx context.Context, from peer.AddrInfo) (raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	h, err := newClientHost()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := h.Connect(ctx, from); err != nil {
		return nil, &UnreachableError{from, err}
	}
	s, err := h.NewStream(network.WithNoDial(ctx, "connected"), from.ID, GenesisProtocolID)
	if err != nil {
		return nil, &UnreachableError{from, err}
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err = s.CloseWrite(); err == nil {
		raw, err = io.ReadAll(io.LimitReader(s, ledger.MaxGenesis+1))
	}
	switch {
	case ctx.Err() != nil:
		err = &UnreachableError{from, fmt.Errorf("it does not send the genesis document: %w", context.Cause(ctx))}
	case err != nil:
		err = &UnreachableError{from, err}
	case len(raw) > ledger.MaxGenesis:
		err = fmt.Errorf("%w: a genesis document of more than %d bytes", errFrame, ledger.MaxGenesis)
	}
	_ = s.Reset() // all that counts has come
	if err != nil {
		return nil, err
	}
	return raw, nil
}
