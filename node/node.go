package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"pyvnode/ledger"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/store"
	"pyvnode/node/authority"
	"pyvnode/p2p"
)

// NotMemberError says that the genesis document does not let this node write.
type NotMemberError struct {
	Origin  ledger.Origin
	Network string
}

func (e *NotMemberError) Error() string {
	return fmt.Sprintf("%v is not a member of network %q, so it cannot write there", e.Origin, e.Network)
}

// NeedsNodeError says that records are not signed without a node that runs: others can hold entries of the own log that
// this directory lacks, when it was copied or put back from a backup, and a node that runs asks them first.
type NeedsNodeError struct{ Network, Data string }

func (e *NeedsNodeError) Error() string {
	return fmt.Sprintf("others write in network %q too, so before anything is signed they must say how far this node's own log goes, and no node runs on %s to ask them",
		e.Network, e.Data)
}

// PrivateKindError says that records of a kind are never published in a network.
type PrivateKindError struct{ Kind, Network string }

func (e *PrivateKindError) Error() string {
	return fmt.Sprintf("records of kind %q are private in network %q and never published", e.Kind, e.Network)
}

// NoLedgerError says that a data directory holds no ledger.
type NoLedgerError struct{ Path string }

func (e *NoLedgerError) Error() string { return "there is no ledger in " + e.Path }

func missingLedger(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &NoLedgerError{Path: path}
	}
	return err
}

// GenesisError says that a genesis document cannot found a network.
type GenesisError struct{ Err error }

func (e *GenesisError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *GenesisError) Unwrap() error { return e.Err }

// Options say how to open a node.
type Options struct {
	Data       string // the data directory
	CacheBytes int64  // of the database; 0 means store.DefaultCacheBytes
	Alone      bool   // sign without asking others how far the own log goes
	Logger     *slog.Logger

	committed func(store.Commit) // called after each batch
}

// OptionsOf returns the options that a configuration makes.
func OptionsOf(c *Config, logger *slog.Logger) Options {
	return Options{Data: c.Data(), CacheBytes: c.CacheBytes(), Alone: c.boolean(SettingAlone), Logger: logger}
}

// Node is an open ledger with what is known of its owner.
type Node struct {
	*store.Store
	Writer
	Recovery *store.Recovery
	data     string // the data directory
	own      ledger.Origin
	hasKey   bool
	close    func() error
}

// Genesis returns the document that founds the node's network.
func (n *Node) Genesis() *ledger.Genesis { return n.genesis }

// Own returns the origin of the key in the data directory; ok is false when there is none, or none that can be used.
func (n *Node) Own() (o ledger.Origin, ok bool) { return n.own, n.hasKey }

// Close closes the ledger and unlocks its directory.
func (n *Node) Close() error { return n.close() }

// OpenForReading opens a node that changes nothing and creates no files. Where a node runs on the data directory, it
// reads a snapshot of what that node holds now.
func OpenForReading(ctx context.Context, o Options) (*Node, error) {
	n, err := openForReading(ctx, o)
	if errors.Is(err, durable.ErrLocked) {
		return openSnapshot(ctx, o, err)
	}
	return n, err
}

func openForReading(ctx context.Context, o Options) (*Node, error) {
	key, _ := ReadIdentity(o.Data) // only says which log is its own: those who read need no key
	return open(ctx, o, key, store.Options{ReadOnly: true})
}

// OpenForImport opens a node that takes entries of others, for which it needs no key.
func OpenForImport(ctx context.Context, o Options) (*Node, error) {
	return open(ctx, o, nil, store.Options{})
}

// OpenForWriting opens a node that adds records to its own log. Where the network asks a new log for proof of work, it
// is found first, with progress in hashes tried and hashes expected. The errors that are the caller's to handle are
// those of [ReadIdentity], [*NotMemberError] and, where somebody else may write and the options do not say Alone,
// [*NeedsNodeError].
func OpenForWriting(ctx context.Context, o Options, progress func(done uint64, expected float64)) (*Node, error) {
	g, err := OwnGenesis(o.Data)
	if err != nil {
		return nil, err
	}
	key, err := ReadIdentity(o.Data)
	if err != nil {
		return nil, err
	}
	own := ledger.OriginOf(key)
	if !g.MayWrite(own) {
		return nil, &NotMemberError{Origin: own, Network: g.Name}
	}
	asks := !g.OnlyWriter(own)
	if asks && !o.Alone {
		return nil, &NeedsNodeError{Network: g.Name, Data: o.Data}
	}
	n, err := openOwn(ctx, o, g, key, progress)
	if err == nil && asks {
		part(o.Logger, PartNode).Warn("signing without asking others for the own head: if this directory is a copy or from a backup, this forks the log")
	}
	return n, err
}

// openOwn opens a node with its key, which may or may not write.
func openOwn(ctx context.Context, o Options, g *ledger.Genesis, key ed25519.PrivateKey, progress func(done uint64, expected float64)) (*Node, error) {
	opts := store.Options{Key: key}
	if g.Open && g.OriginBits > 0 {
		var err error
		if opts.OriginProof, err = originProof(ctx, o, g, ledger.OriginOf(key), progress); err != nil {
			return nil, err
		}
	}
	return open(ctx, o, key, opts)
}

func open(ctx context.Context, o Options, key ed25519.PrivateKey, opts store.Options) (*Node, error) {
	opts.Logger, opts.Committed = part(o.Logger, PartStore), o.committed
	d, recovery, err := store.OpenDir(ctx, o.Data, store.DirOptions{Options: opts, CacheBytes: o.CacheBytes})
	if err != nil {
		return nil, missingLedger(o.Data, err)
	}
	return assemble(o, d.Store, key, recovery, d.Close), nil
}

func assemble(o Options, s *store.Store, key ed25519.PrivateKey, recovery *store.Recovery, closing func() error) *Node {
	n := &Node{Store: s, Recovery: recovery, data: o.Data, hasKey: key != nil, close: closing}
	n.Writer = Writer{genesis: s.Genesis(), submit: appendTo(s.Submit), by: authority.Operator()}
	if key != nil {
		n.own = ledger.OriginOf(key)
	}
	return n
}

// part returns the logger of a part of the node.
func part(l *slog.Logger, name string) *slog.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return l.With(PartKey, name)
}

// originProof returns the proof of work for a log that has no entry yet; nil for one that has.
func originProof(ctx context.Context, o Options, g *ledger.Genesis, own ledger.Origin, progress func(uint64, float64)) (*ledger.OriginProof, error) {
	n, err := openForReading(ctx, o)
	if err != nil {
		return nil, err
	}
	_, err = n.Get(ctx, store.Ref{Origin: own})
	if closing := n.Close(); closing != nil {
		return nil, closing
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	proof, err := FindOriginProof(ctx, g, own, progress)
	if err != nil {
		return nil, err
	}
	return &proof, nil
}

// FindOriginProof searches on all cores for the proof of work that a network asks of a new origin.
func FindOriginProof(ctx context.Context, g *ledger.Genesis, own ledger.Origin, progress func(done uint64, expected float64)) (ledger.OriginProof, error) {
	const claim = 1 << 14 // hashes at a time: a few milliseconds
	expected := math.Pow(2, float64(g.OriginBits))
	var next atomic.Uint64
	var wg sync.WaitGroup
	found := make(chan ledger.OriginProof, 1)
	search, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for search.Err() == nil {
				from := (next.Add(1) - 1) * claim
				if proof, ok := ledger.FindOriginProof(g.Network(), own, g.OriginBits, from, claim); ok {
					select {
					case found <- proof:
					default: // another core was first
					}
					return
				}
			}
		})
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case proof := <-found:
			return proof, nil
		case <-ctx.Done():
			return ledger.OriginProof{}, fmt.Errorf("searching the proof of work for a new log: %w", context.Cause(ctx))
		case <-tick.C:
			if progress != nil {
				progress(next.Load()*claim, expected)
			}
		}
	}
}

// FoundNetwork starts a network: the document gets its format and a nonce, and, unless the network is open, this node as a
// member. The data directory gets a key where it has none, and an empty ledger.
func FoundNetwork(ctx context.Context, dir string, doc ledger.GenesisDoc) (*ledger.Genesis, ledger.Origin, error) {
	return initialise(ctx, dir, func(own ledger.Origin) (*ledger.Genesis, error) {
		doc.Format = ledger.GenesisFormat
		doc.Nonce = make([]byte, 16)
		if _, err := rand.Read(doc.Nonce); err != nil {
			return nil, err
		}
		if doc.Name == "" {
			doc.Name = "network-" + own.Short()
		}
		if !doc.Open {
			members := []ledger.Origin{own}
			for _, m := range doc.Members {
				if m != own {
					members = append(members, m)
				}
			}
			doc.Members = members
		}
		g, err := ledger.NewGenesis(doc)
		if err != nil {
			return nil, &GenesisError{err}
		}
		return g, nil
	})
}

// JoinNetwork makes an empty ledger for a network that exists. Addresses of its nodes are added to the list of peers.
func JoinNetwork(ctx context.Context, dir string, g *ledger.Genesis, peers ...string) (ledger.Origin, error) {
	_, own, err := initialise(ctx, dir, func(ledger.Origin) (*ledger.Genesis, error) {
		if len(peers) == 0 {
			return g, nil
		}
		return g, AddPeers(dir, peers...) // before the genesis document, which makes the directory a whole one
	})
	return own, err
}

// WrongGenesisError says that a genesis document is of another network than the one that was wanted.
type WrongGenesisError struct {
	Where    string // the document, for people
	Is, Want ledger.Hash
}

func (e *WrongGenesisError) Error() string {
	return fmt.Sprintf("%s is the genesis document of network %v, wanted is %v", e.Where, e.Is, e.Want)
}

// FetchedGenesisError says that what a node sent is no genesis document.
type FetchedGenesisError struct {
	From peer.AddrInfo
	Err  error
}

func (e *FetchedGenesisError) Error() string {
	return fmt.Sprintf("%v sends no genesis document: %v", e.From.ID, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *FetchedGenesisError) Unwrap() error { return e.Err }

// FetchGenesis asks a node that runs for the genesis document of its network. It must be that of a network; nil means that the
// peer is believed. The error is a [*p2p.UnreachableError], a [*WrongGenesisError] or a [*FetchedGenesisError].
func FetchGenesis(ctx context.Context, from peer.AddrInfo, network *ledger.Hash) (*ledger.Genesis, error) {
	raw, err := p2p.FetchGenesis(ctx, from)
	if errors.As(err, new(*p2p.UnreachableError)) {
		return nil, err
	}
	if is := ledger.Hash(sha256.Sum256(raw)); err == nil && network != nil && is != *network {
		return nil, &WrongGenesisError{Where: "what " + from.ID.String() + " sends", Is: is, Want: *network}
	}
	var g *ledger.Genesis
	if err == nil {
		g, err = ledger.ParseGenesis(raw)
	}
	if err != nil {
		return nil, &FetchedGenesisError{from, err}
	}
	return g, nil
}

func initialise(ctx context.Context, dir string, genesis func(ledger.Origin) (*ledger.Genesis, error)) (*ledger.Genesis, ledger.Origin, error) {
	var own ledger.Origin
	if err := store.CheckVacant(ctx, dir); err != nil {
		return nil, own, err
	}
	key, _, err := CreateIdentity(dir, rand.Reader)
	if err != nil {
		return nil, own, err
	}
	own = ledger.OriginOf(key)
	g, err := genesis(own)
	if err != nil {
		return nil, own, err
	}
	if err := store.CreateDir(ctx, dir, g); err != nil {
		return nil, own, err
	}
	return g, own, nil
}

// OwnGenesis reads the genesis document of a data directory. Without one the error is a [*NoLedgerError].
func OwnGenesis(dir string) (*ledger.Genesis, error) {
	g, err := store.ReadGenesisFile(dir)
	return g, missingLedger(dir, err)
}

// ReadGenesis reads a genesis document from a file: the document itself, or an entry file, which begins with it.
func ReadGenesis(file string) (*ledger.Genesis, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 64)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if ledger.IsEntryFile(start[:n]) {
		r, err := ledger.NewEntryFileReader(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return r.Genesis(), nil
	}
	raw, err := io.ReadAll(io.LimitReader(f, ledger.MaxGenesis+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	g, err := ledger.ParseGenesis(raw)
	if err != nil {
		return nil, &GenesisError{fmt.Errorf("%s: %w", file, err)}
	}
	return g, nil
}
