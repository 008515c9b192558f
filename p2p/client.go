package p2p

import (
	"context"
	"errors"
	"iter"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
)

// Client asks a node what it holds, without being a node: for audits against a peer and comparisons of two.
type Client struct{}

// Dial connects to a node with an identity made for the occasion. The error is an [*UnreachableError], or says that the
// node is of another network.
func Dial(ctx context.Context, to peer.AddrInfo, g *ledger.Genesis) (*Client, error) {
	return nil, errors.New("not yet")
}

// UnreachableError says that a peer could not be reached.
type UnreachableError struct {
	Peer peer.AddrInfo
	Err  error
}

func (e *UnreachableError) Error() string { return "cannot reach " + e.Peer.ID.String() + ": " + e.Err.Error() }

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Frontier returns what the node says it holds.
func (c *Client) Frontier(ctx context.Context) (ledger.Frontier, error) { return nil, nil }

// Entries yields the node's entries of one log, from a sequence number on. They are decoded, not checked.
func (c *Client) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return nil
}

// Close ends the connection.
func (c *Client) Close() error { return nil }
