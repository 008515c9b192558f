package p2p

import (
	"context"
	"errors"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// Network is a node's part in its network.
type Network struct{}

// New joins a network and returns when the node listens.
func New(ctx context.Context, o Options) (*Network, error) { return nil, errors.New("not yet") }

// Close leaves the network and returns when nothing of it runs any more. The store stays open.
func (n *Network) Close() error { return nil }

// Append puts a record into the own log, once the own-head check allows it: [*NotReadyError] says why it does not.
// Other errors are those of [store.Store.Append].
func (n *Network) Append(ctx context.Context, d *ledger.Draft) (store.Ack, error) {
	return store.Ack{}, nil
}

// MaySign returns nil, or a [*NotReadyError].
func (n *Network) MaySign() error { return nil }

// NotReadyError says why a node does not sign yet, and what to do.
type NotReadyError struct {
	State SigningState
	Why   string
}

func (e *NotReadyError) Error() string { return "this node does not sign: " + e.Why }

// Status returns a snapshot.
func (n *Network) Status() Status { return Status{} }

// Peers returns all neighbours, configured ones first.
func (n *Network) Peers() []PeerStatus { return nil }

// Links returns all replication links.
func (n *Network) Links() []LinkStatus { return nil }
