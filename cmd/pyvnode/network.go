package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/node"
)

func newNetworkCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Found, show or join a network",
		Args:  subcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNetworkCreateCmd(a), newNetworkShowCmd(a), newNetworkJoinCmd(a))
	return cmd
}

// founding is what the flags say of a network that is to be founded.
type founding struct {
	doc     ledger.GenesisDoc
	members []string
}

// foundingFlags are the names of the flags that founding.addFlags adds.
var foundingFlags = []string{"name", "open", "origin-bits", "member", "strength", "private-kind"}

func (f *founding) addFlags(flags *pflag.FlagSet) {
	f.doc = defaultGenesis()
	flags.StringVar(&f.doc.Name, "name", "", "name of the new network, for people")
	flags.BoolVar(&f.doc.Open, "open", false, "everyone may write in the new network")
	flags.IntVar(&f.doc.OriginBits, "origin-bits", 0, "proof of work of each node of an open network, in zero bits")
	flags.StringArrayVar(&f.members, "member", nil, "peer ID of another node that may write; repeat for more")
	flags.IntVar(&f.doc.Strength, "strength", f.doc.Strength, "proof of work of each record, in zero hex digits")
	flags.StringArrayVar(&f.doc.PrivateKinds, "private-kind", f.doc.PrivateKinds, "kind of records that must never be published; repeat for more")
}

// found makes the data directory of a new network.
func (a *app) found(cmd *cobra.Command, f *founding) error {
	if f.doc.Open && len(f.members) > 0 {
		return usageError("--member does not go with --open: in an open network everyone may write", helpHint(cmd))
	}
	for _, m := range f.members {
		o, err := ledger.ParseOrigin(m)
		if err != nil {
			return usageError(fmt.Sprintf("--member: %v", err), "the other node's peer ID is what its \"pyvnode identity\" prints")
		}
		f.doc.Members = append(f.doc.Members, o)
	}
	g, own, err := node.FoundNetwork(cmd.Context(), a.cfg.Data(), f.doc)
	if err != nil {
		return err
	}
	return a.printInitialised(g, own)
}

// joining says which network is to be joined, and how its genesis document is had.
type joining struct {
	file    string // that holds it, or
	from    string // address of a node that sends it
	network string // hash of the document, in hex; empty where it is not known
	trust   bool   // the node is believed without
	peers   []string
}

// join makes the data directory of a network that exists.
func (a *app) join(cmd *cobra.Command, j joining) error {
	if j.from != "" {
		j.peers = append([]string{j.from}, j.peers...)
	}
	if _, err := node.ParsePeers(j.peers); err != nil {
		return usageError(err.Error(), "a running node prints its addresses, and so does its \"pyvnode status\"")
	}
	var network *ledger.Hash
	if j.network != "" {
		var err error
		if network, err = parseNetwork(j.network); err != nil {
			return err
		}
	}
	var g *ledger.Genesis
	var err error
	switch {
	case j.from == "":
		if g, err = node.ReadGenesis(j.file); err == nil && network != nil && g.Network() != *network {
			err = &node.WrongGenesisError{Where: j.file, Is: g.Network(), Want: *network}
		}
	case network == nil && !j.trust:
		return usageError("which network the node at --from is in, only its word would say",
			"give the network's hash with --network, as somebody you trust reads it out from \"pyvnode network show\"; or believe the node, with --trust-peer")
	default:
		g, err = node.FetchGenesis(cmd.Context(), *peerOf(j.from), network)
	}
	if err != nil {
		return err
	}
	own, err := node.JoinNetwork(cmd.Context(), a.cfg.Data(), g, j.peers...)
	if err != nil {
		return err
	}
	if j.from != "" && network == nil {
		a.talk("That this is the network, the node at %s says. Compare the hash with others of the network, by another way.", j.from)
	}
	return a.printInitialised(g, own)
}

func newNetworkCreateCmd(a *app) *cobra.Command {
	var f founding
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Found a network",
		Long: `Makes the data directory with this node's key, the genesis document of a new network in which this node and every
--member may write, and an empty ledger. A key that is there is used; a ledger that is there is never touched.`,
		Example: `  pyvnode network create --name "City election 2026" --member 12D3KooW... --member 12D3KooW...`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.found(cmd, &f) },
	}
	f.addFlags(cmd.Flags())
	return cmd
}

func newNetworkJoinCmd(a *app) *cobra.Command {
	var j joining
	cmd := &cobra.Command{
		Use:   "join {FILE | --from ADDR} [PEER …]",
		Short: "Join a network that exists",
		Long: `Makes the data directory for a network: the one of the genesis document in FILE, which may also be an entry file; or,
with --from, the one of a node that runs, which sends the document.

The document says who may write, so it must be the right one. With --network it is refused unless it has this hash, 64
hex digits, which "pyvnode network show" prints on every node: have it read out to you by somebody you trust. A node of
which you know no more than the address could send any document; --trust-peer believes it.

Each PEER is the address of a node of that network, as it says when it starts. With the one of --from they are added to
the list of peers to which this node connects when it runs.`,
		Example: `  pyvnode network join genesis.json /ip4/192.0.2.1/tcp/4711/p2p/12D3KooW...
  pyvnode network join --from /ip4/192.0.2.1/tcp/4711/p2p/12D3KooW... --network dcd60b6d335c759f...`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case j.from == "" && len(args) == 0:
				return usageError("neither a genesis document nor a node that has it is named", helpHint(cmd))
			case j.from == "" && j.trust:
				return usageError("--trust-peer goes with --from only", helpHint(cmd))
			case j.network != "" && j.trust:
				return usageError("--trust-peer does not go with --network: the hash says which document is right", helpHint(cmd))
			case j.from == "":
				j.file, j.peers = args[0], args[1:]
			default:
				j.peers = args
			}
			return a.join(cmd, j)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&j.from, "from", "", "address of a node that sends the genesis document")
	flags.StringVar(&j.network, "network", "", "hash that the genesis document must have")
	flags.BoolVar(&j.trust, "trust-peer", false, "believe the node of --from")
	return cmd
}

func newNetworkShowCmd(a *app) *cobra.Command {
	var document bool
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show what the network's genesis document says",
		Long: `Shows the genesis document of this node's network, or of FILE: a genesis document or an entry file. The hash is the
network's identity: two nodes are in one network when it is the same.

With --document it prints the document itself, as the ledger of this node holds it: for a genesis.json that was damaged.`,
		Example: `  pyvnode network show
  pyvnode network show --document > genesis.json`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if document && len(args) > 0 {
				return usageError("--document prints that of this node, and not that of a file", helpHint(cmd))
			}
			if document {
				return a.reading(cmd.Context(), func(n *node.Node) error {
					_, err := a.stdout.Write(n.Genesis().Bytes())
					return err
				})
			}
			file := filepath.Join(a.cfg.Data(), store.GenesisFile)
			var g *ledger.Genesis
			var err error
			if len(args) > 0 {
				file = args[0]
				g, err = node.ReadGenesis(file)
			} else {
				g, err = node.OwnGenesis(a.cfg.Data())
			}
			if err != nil {
				return err
			}
			return a.printGenesis(g, file)
		},
	}
	cmd.Flags().BoolVar(&document, "document", false, "print the document as the ledger holds it")
	return cmd
}

func (a *app) printGenesis(g *ledger.Genesis, file string) error {
	own, hasKey := ledger.Origin{}, false
	if key, err := node.ReadIdentity(a.cfg.Data()); err == nil && a.cfg.Data() != "" {
		own, hasKey = ledger.OriginOf(key), true
	}
	if a.json() {
		return printJSON(a.stdout, struct {
			Network ledger.Hash `json:"network"`
			File    string      `json:"file"`
			Member  bool        `json:"member"` // this node may write
			ledger.GenesisDoc
		}{g.Network(), file, hasKey && g.MayWrite(own), g.GenesisDoc})
	}
	return a.buffered(func(w io.Writer) error {
		rows := [][2]string{
			{"network", g.Network().String()},
			{"name", g.Name},
			{"file", file},
			{"strength", strengthText(g)},
		}
		for _, kind := range g.PrivateKinds {
			rows = append(rows, [2]string{"private kind", kind})
		}
		if g.Open {
			rows = append(rows, [2]string{"writers", "everyone, for a proof of work of " + plural(g.OriginBits, "zero bit", "zero bits")})
		}
		for _, m := range g.Members {
			text := m.String()
			if hasKey && m == own {
				text += " (this node)"
			}
			rows = append(rows, [2]string{"member", text})
		}
		return pairs(w, rows...)
	})
}

func strengthText(g *ledger.Genesis) string {
	return plural(g.Strength, "zero hex digit", "zero hex digits")
}
