package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/node"
)

// initialised is what init prints.
type initialised struct {
	Data     string          `json:"data"`
	Origin   ledger.Origin   `json:"origin"`
	Name     string          `json:"name"`
	Network  ledger.Hash     `json:"network"`
	Member   bool            `json:"member"` // this node may write
	Open     bool            `json:"open"`
	Members  []ledger.Origin `json:"members,omitempty"`
	Strength int             `json:"strength"`
	Files    []string        `json:"files"`
}

func newInitCmd(a *app) *cobra.Command {
	var f founding
	var genesis string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a data directory: a key, a network's genesis document and an empty ledger",
		Long: `Makes the data directory with this node's key, a genesis document and an empty ledger.

Without --genesis it founds a new network, as "pyvnode network create" does. With --genesis it joins the network of
that document, or of an entry file, which carries the document, as "pyvnode network join" does. A key that is there is
used; a ledger that is there is never touched.`,
		Example: `  pyvnode init --name "City election 2026"
  pyvnode init --name "City election 2026" --member 12D3KooW... --member 12D3KooW...
  pyvnode init --genesis genesis.json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if genesis == "" {
				return a.found(cmd, &f)
			}
			for _, name := range foundingFlags {
				if cmd.Flags().Changed(name) {
					return usageError(fmt.Sprintf("--%s does not go with --genesis: that document says everything", name), helpHint(cmd))
				}
			}
			return a.join(cmd, joining{file: genesis})
		},
	}
	cmd.Flags().StringVar(&genesis, "genesis", "", "join the network of this genesis document or entry file")
	f.addFlags(cmd.Flags())
	return cmd
}

func (a *app) printInitialised(g *ledger.Genesis, own ledger.Origin) error {
	dir := a.cfg.Data()
	out := initialised{
		Data: dir, Origin: own, Name: g.Name, Network: g.Network(), Member: g.MayWrite(own),
		Open: g.Open, Members: g.Members, Strength: g.Strength,
	}
	for _, name := range []string{node.IdentityFile, store.GenesisFile, store.LedgerDir} {
		out.Files = append(out.Files, filepath.Join(dir, name))
	}
	if a.json() {
		return printJSON(a.stdout, out)
	}
	writers := plural(len(g.Members), "member", "members")
	switch {
	case g.Open:
		writers = "everyone"
	case len(g.Members) == 1 && out.Member:
		writers = "this node only"
	}
	err := pairs(a.stdout,
		[2]string{"origin", own.String()},
		[2]string{"network", fmt.Sprintf("%s (%s)", g.Name, g.Network())},
		[2]string{"writers", writers},
		[2]string{"strength", strengthText(g)},
		[2]string{"key", out.Files[0] + " (keep a copy in a safe place, show it to nobody)"},
		[2]string{"genesis", out.Files[1] + " (give it to everybody who is to join)"},
		[2]string{"ledger", out.Files[2]},
	)
	switch {
	case g.OnlyWriter(own):
		a.talk("Next: pyvnode put --kind KIND key=value …, and pyvnode run to share it")
	case out.Member:
		a.talk("Next: pyvnode run, and then pyvnode put --kind KIND key=value …")
	default:
		a.talk("This node may read and check, not write: the genesis document does not list it.")
		a.talk("Next: pyvnode run, or pyvnode import FILE")
	}
	return err
}

func newIdentityCmd(a *app) *cobra.Command {
	var create bool
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "Print this node's peer ID",
		Long: `Prints the peer ID of the key in the data directory: the name by which other nodes know this one, and by which a
genesis document lists it as a member. With --create a key is made where there is none, so that a node can be listed
in a genesis document before it joins the network.`,
		Example: `  pyvnode identity --create`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			key, err := node.ReadIdentity(a.cfg.Data())
			created := false
			if create && errors.Is(err, node.ErrNoIdentity) {
				key, created, err = node.CreateIdentity(a.cfg.Data(), rand.Reader)
			}
			if err != nil {
				return err
			}
			own, file := ledger.OriginOf(key), filepath.Join(a.cfg.Data(), node.IdentityFile)
			if a.json() {
				return printJSON(a.stdout, struct {
					Origin  ledger.Origin `json:"origin"`
					File    string        `json:"file"`
					Created bool          `json:"created"`
				}{own, file, created})
			}
			if created {
				a.talk("made %s; keep a copy in a safe place, show it to nobody", file)
			}
			_, err = io.WriteString(a.stdout, own.String()+"\n")
			return err
		},
	}
	cmd.Flags().BoolVar(&create, "create", false, "make a key where there is none")
	return cmd
}
