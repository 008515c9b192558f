package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/node/accounts"
	"pyvnode/p2p"
)

// RememberedFile is the file of a data directory in which addresses of peers are remembered between runs.
const RememberedFile = "peers.json"

// RunOptions say how to run a node.
type RunOptions struct {
	Options
	Version string // of the program, for status
	// Network is what the node's part in its network is to be. Run sets Store, Key, Alone, PeersFile, Logger and Metrics.
	Network p2p.Options
	// Legacy says how to serve the original protocol; nil does not. Run sets Logger.
	Legacy *legacy.Options
	// Replication is how the node logs in to original servers that it sends records to.
	Replication Replication
	Metrics     string  // address on which Prometheus finds metrics; empty for none
	Levels      *Levels // of the logger; nil where they cannot be changed
	// Progress is called while the proof of work of a new log is searched.
	Progress func(done uint64, expected float64)

	join func(context.Context, p2p.Options) (network, error) // in place of p2p.New, in tests
}

// RunOptionsOf returns the options that a configuration makes. It reads the list of peers.
func RunOptionsOf(c *Config, logger *slog.Logger, levels *Levels) (RunOptions, error) {
	o := RunOptions{
		Options:     OptionsOf(c, logger),
		Levels:      levels,
		Metrics:     c.text(SettingMetrics),
		Legacy:      legacyOptions(c),
		Replication: Replication{User: c.text(SettingLegacyUser), PasswordFile: c.text(SettingLegacyPassword)},
		Network: p2p.Options{
			Listen:        c.value(SettingListen).List(),
			MDNS:          c.boolean(SettingMDNS),
			DHT:           c.boolean(SettingDHT),
			Confirmations: c.integer(SettingConfirmations),
		},
	}
	var err error
	if o.Network.Links, err = ParsePeers(c.value(SettingLinks).List()); err != nil {
		return o, &ConfigError{Where: SettingLinks, Detail: err.Error()}
	}
	o.Network.Peers, err = readPeerSetting(c)
	return o, err
}

func readPeerSetting(c *Config) ([]peer.AddrInfo, error) {
	if file := c.text(SettingPeers); file != "" {
		return ReadPeers(file)
	}
	peers, err := ReadPeers(filepath.Join(c.Data(), BootstrapFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return peers, err
}

// network is what a running node needs of [p2p.Network].
type network interface {
	Submit(ctx context.Context, drafts ...*ledger.Draft) (store.Pending, error)
	Status() p2p.Status
	Peers() []p2p.PeerStatus
	Links() []p2p.LinkStatus
	Close() error
}

func join(ctx context.Context, o p2p.Options) (network, error) {
	n, err := p2p.New(ctx, o)
	if err != nil {
		return nil, err // not a nil *p2p.Network, which would not be a nil network
	}
	return n, nil
}

// Running is a node at work: its ledger is open and locked, it is part of its network, and serves the local API.
type Running struct {
	o           RunOptions
	node        *Node
	net         network
	api         *api
	where       endpoint // of the API
	metrics     *metricsServer
	legacy      *legacy.Server
	replication *legacy.Replication
	users       *accounts.Accounts
	started     time.Time
	log         *slog.Logger

	serving sync.WaitGroup
	failed  chan error // what ended a listener before its time
	close   sync.Once
	closed  error
}

// Run starts a node and returns when it listens everywhere. The node runs until [Running.Close], whatever becomes of the
// context. The errors that are the caller's to handle are [*NoLedgerError], those of [ReadIdentity] and
// [store.ErrLocked]. A node that may not write serves what it holds.
func Run(ctx context.Context, o RunOptions) (*Running, error) {
	if o.join == nil {
		o.join = join
	}
	if o.Levels == nil {
		o.Levels = NewLevels(slog.LevelInfo)
	}
	r := &Running{o: o, started: time.Now(), log: part(o.Logger, PartNode), failed: make(chan error, 2)}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	data := r.o.Data
	g, err := OwnGenesis(data)
	if err != nil {
		return err
	}
	key, err := ReadIdentity(data)
	if err != nil {
		return err
	}
	var registry *prometheus.Registry
	if r.o.Metrics != "" {
		registry = newRegistry()
		r.o.committed = countCommits(registry)
	}
	if r.node, err = openOwn(ctx, r.o.Options, g, key, r.o.Progress); err != nil {
		return err
	}
	if err := store.RemoveUnfinished(data, RememberedFile); err != nil {
		r.log.Warn("what a process that was killed left cannot be removed", "error", err)
	}
	if r.node.Recovery.Unclean {
		r.log.Warn("the last run did not end in order; the newest entries were checked and are sound", "checked", r.node.Recovery.Checked)
	}
	for _, what := range r.node.Recovery.Mended {
		r.log.Warn("mended after a crash", "what", what)
	}

	o := r.o.Network
	o.Store, o.Key, o.Logger = r.node.Store, key, part(r.o.Logger, PartP2P)
	o.Alone, o.PeersFile = r.o.Alone, filepath.Join(data, RememberedFile)
	own := r.node.own.PeerID()
	notOwn := func(p peer.AddrInfo) bool { return p.ID == own } // one list of peers serves every node
	o.Peers, o.Links = slices.DeleteFunc(slices.Clone(o.Peers), notOwn), slices.DeleteFunc(slices.Clone(o.Links), notOwn)
	if registry != nil {
		registry.MustRegister(&ledgerCollector{store: r.node.Store, changed: time.Now()}, diskCollector{r.node.Store})
		o.Metrics = registry
	}
	if err := checkFree(ctx, o.Listen); err != nil {
		return err
	}
	if err := checkAlone(ctx, own, slices.Concat(r.o.Network.Peers, r.o.Network.Links)); err != nil {
		return err
	}
	if r.net, err = r.o.join(ctx, o); err != nil {
		return listening(SettingListen, fmt.Errorf("join the network: %w", err))
	}
	r.node.submit = appendTo(r.net.Submit)
	if registry != nil {
		registry.MustRegister(networkCollector{r.networkStatus})
	}

	r.api = newAPI(r.node, r.net, r.o.Levels, part(r.o.Logger, PartAPI))
	r.api.status, r.api.replication = r.Status, r.ReplicationStatus
	if registry != nil {
		if r.metrics, err = listenMetrics(r.o.Metrics, registry); err != nil {
			return listening(SettingMetrics, err)
		}
		r.api.count = countRequests(registry)
		r.serve(r.metrics.serve)
	}
	l, where, err := listenAPI(data)
	if err != nil {
		return fmt.Errorf("local API: %w", err)
	}
	r.where = where
	if err := r.serveLegacy(ctx); err != nil {
		_ = l.Close()
		return listening(SettingLegacyListen, err)
	}
	r.serve(func() error { return r.api.serve(l) })
	r.log.Info("node runs", "id", own, "network", g.Name, "entries", r.node.Recovery.Entries, "api", where.Address)
	return nil
}

// ListenError says that a node cannot listen where a setting says.
type ListenError struct {
	Setting string // its name
	Err     error
}

func (e *ListenError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *ListenError) Unwrap() error { return e.Err }

// listening makes an error that says why nothing listens one that names the setting; others it leaves as they are.
func listening(setting string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" || strings.Contains(err.Error(), "address already in use") { // libp2p does not wrap it
		return &ListenError{setting, err}
	}
	return err
}

// SameKeyError says that another node runs with this node's key.
type SameKeyError struct{ At peer.AddrInfo }

func (e *SameKeyError) Error() string {
	return fmt.Sprintf("a node with this node's key runs already, at %s", e.At.Addrs)
}

// ownPatience is how long it is waited for an answer at this node's own addresses.
const ownPatience = 3 * time.Second

// checkAlone refuses to run beside another node with the same key: each would sign a history of its own. Before this node
// listens, whoever answers at one of its own addresses and proves to hold the key is another one. The addresses are those
// in the lists of peers, which serve every node; where this node is not in them, its peers notice when both have signed.
func checkAlone(ctx context.Context, own peer.ID, configured []peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, ownPatience)
	defer cancel()
	for _, p := range configured {
		if p.ID == own && p2p.Answers(ctx, p) {
			return &SameKeyError{p}
		}
	}
	return nil
}

// checkFree refuses addresses on which another program listens. libp2p would share the port of another libp2p program,
// and each would get some of the other's connections, or be content with half of the addresses.
func checkFree(ctx context.Context, addrs []string) error {
	var lc net.ListenConfig
	for _, text := range addrs {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("listen on %q: %w", text, err)
		}
		kind, host, err := manet.DialArgs(addr)
		if err != nil {
			continue // nothing that the system's listeners know: libp2p decides
		}
		var probe io.Closer
		if strings.HasPrefix(kind, "udp") {
			probe, err = lc.ListenPacket(ctx, kind, host)
		} else {
			probe, err = lc.Listen(ctx, kind, host)
		}
		if err != nil {
			return &ListenError{SettingListen, fmt.Errorf("listen on %s: %w", text, err)}
		}
		if err := probe.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Running) serve(serve func() error) {
	r.serving.Go(func() {
		if err := serve(); err != nil {
			r.log.Error("a listener failed", "error", err)
			r.failed <- err
		}
	})
}

// networkStatus returns how the node's part in its network is. Who could sign cannot where nothing can be stored.
func (r *Running) networkStatus() p2p.Status {
	s := r.net.Status()
	if err := r.node.Failure(); err != nil && s.Signing != p2p.SigningNever && s.Signing != p2p.SigningStopped {
		s.Signing, s.SigningWhy = p2p.SigningWaiting, err.Error()+"; "+restartHint
	}
	return s
}

// restartHint says what to do about a ledger that stopped writing.
const restartHint = "see to the disk, then start the node again"

// Status returns a snapshot.
func (r *Running) Status() NodeStatus {
	g := r.node.Genesis()
	data, err := filepath.Abs(r.o.Data)
	if err != nil {
		data = r.o.Data
	}
	s := NodeStatus{
		Status: r.networkStatus(), Name: g.Name, Network: g.Network(), Version: r.o.Version, Process: os.Getpid(),
		Data: data, API: r.where.Address, Started: r.started.UTC(), Recovery: r.node.Recovery,
	}
	if err := r.node.Failure(); err != nil {
		s.Stopped = err.Error()
	}
	if r.where.Network == "unix" {
		s.API = filepath.Join(data, APISocket)
	}
	if r.metrics != nil {
		s.Metrics = r.metrics.url()
	}
	if r.legacy != nil {
		s.Legacy = r.legacy.Addr().String()
	}
	return s
}

// Wait returns when the context ends, or with the error of a listener that failed.
func (r *Running) Wait(ctx context.Context) error {
	select {
	case err := <-r.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Close stops the node in order: requests under way are finished, the network is left, and the ledger is closed and
// unlocked. When it returns, nothing of the node runs any more.
func (r *Running) Close() error {
	r.close.Do(func() {
		var errs []error
		if r.replication != nil {
			errs = append(errs, r.replication.Close())
		}
		if r.legacy != nil {
			errs = append(errs, r.legacy.Close())
		}
		if r.api != nil {
			errs = append(errs, r.api.shutdown())
		}
		if r.metrics != nil {
			errs = append(errs, r.metrics.shutdown())
		}
		r.serving.Wait()
		if r.net != nil {
			errs = append(errs, r.net.Close())
		}
		if r.users != nil {
			errs = append(errs, r.users.Close())
		}
		if r.node != nil {
			errs = append(errs, r.node.Close())
		}
		r.closed = errors.Join(errs...)
	})
	return r.closed
}
