package p2p

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// Client asks a node what it holds, without being a node: for audits against a peer and comparisons of two. Its methods
// must not be called concurrently.
type Client struct {
	host     host.Host
	to       peer.AddrInfo
	network  ledger.Hash
	frontier ledger.Frontier
}

// Dial connects to a node with an identity made for the occasion. The error is an [*UnreachableError], or wraps
// [store.ErrOtherNetwork].
func Dial(ctx context.Context, to peer.AddrInfo, g *ledger.Genesis) (*Client, error) {
	h, err := newClientHost()
	if err != nil {
		return nil, err
	}
	c := &Client{host: h, to: to, network: g.Network()}
	if err := h.Connect(ctx, to); err != nil {
		return nil, errors.Join(&UnreachableError{to, err}, h.Close())
	}
	if _, err := c.Frontier(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return c, nil
}

// newClientHost makes a host that dials and does not listen, with an identity made for the occasion.
func newClientHost() (host.Host, error) {
	return libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(quic.NewTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.UserAgent(userAgent))
}

// UnreachableError says that a peer could not be reached.
type UnreachableError struct {
	Peer peer.AddrInfo
	Err  error
}

func (e *UnreachableError) Error() string {
	at := e.Peer.ID.String()
	if addrs, err := peer.AddrInfoToP2pAddrs(&e.Peer); err == nil && len(addrs) > 0 {
		texts := make([]string, len(addrs))
		for i, a := range addrs {
			texts[i] = a.String()
		}
		at = strings.Join(texts, ", ")
	}
	return fmt.Sprintf("cannot reach %s: %s", at, oneLine(e.Err))
}

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

func (c *Client) open(ctx context.Context) (*session, func(error), error) {
	s, err := c.host.NewStream(network.WithNoDial(ctx, "connected"), c.to.ID, ProtocolID)
	if err != nil {
		return nil, nil, &UnreachableError{c.to, err}
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	session := &session{framer: newFramer(s), s: s}
	return session, func(err error) { stop(); session.close(err) }, nil
}

// Frontier returns what the node says it holds.
func (c *Client) Frontier(ctx context.Context) (f ledger.Frontier, err error) {
	s, end, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { end(err) }()
	own := have{network: c.network}
	_, c.frontier, err = s.frontier(&own, nil)
	if err != nil && !errors.Is(err, store.ErrOtherNetwork) {
		return nil, &UnreachableError{c.to, err}
	}
	return slices.Clone(c.frontier), err
}

// Entries yields the node's entries of one log, from one sequence number up to and without another. They are decoded, not
// checked.
func (c *Client) Entries(ctx context.Context, o ledger.Origin, from, to uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for seq := from; seq < to; {
			var failed error
			n := uint64(0)
			for e, err := range c.part(ctx, o, seq) {
				if err != nil {
					failed = err
					break
				}
				if e.Header.Origin != o || e.Header.Seq != seq+n {
					failed = fmt.Errorf("%w: not the entry that was asked for", errFrame)
					break
				}
				n++
				if !yield(e, nil) || seq+n == to {
					return
				}
			}
			if failed != nil {
				yield(nil, failed)
				return
			}
			if n == 0 {
				return
			}
			seq += n
		}
	}
}

// part pulls one log from a place on. The node is asked first which entry comes before, since a pull goes on behind a
// known one.
func (c *Client) part(ctx context.Context, o ledger.Origin, from uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		s, end, err := c.open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { end(errors.New("done")) }()
		start := logStart{origin: o, size: from, before: newest}
		if from > 0 {
			before, err := s.statement(o, from-1)
			if err != nil {
				yield(nil, err)
				return
			}
			if before == nil {
				return
			}
			start.head = before.Hash
		}
		kind, body, err := s.ask(framePull, start.append(nil))
		for ; ; kind, body, err = s.answer() {
			if err != nil {
				yield(nil, err)
				return
			}
			switch kind {
			case frameEntry:
				e, err := ledger.DecodeEntry(slices.Clone(body))
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(e, nil) {
					return
				}
			case frameBatch:
				if err := s.send(frameMore, nil); err != nil {
					yield(nil, err)
					return
				}
			case frameEnd, frameOther:
				return
			default:
				yield(nil, unexpected(kind))
				return
			}
		}
	}
}

// Evidence returns the node's evidence against an origin in its encoding, nil when it has none. It is not verified.
func (c *Client) Evidence(ctx context.Context, o ledger.Origin) (raw []byte, err error) {
	s, end, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { end(err) }()
	p := place{origin: o}
	kind, body, err := s.ask(frameEvidence, p.append(nil))
	if err != nil || kind != frameEvidence {
		return nil, err
	}
	return slices.Clone(body), nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.host.Close() }
