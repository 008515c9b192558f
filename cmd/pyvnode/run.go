package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/node"
)

func newRunCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a node: keep a ledger together with others",
		Long: `Runs a node until it is told to stop (Ctrl-C, SIGTERM). While it runs, the other commands work through it.

Where there is no ledger, it first makes a key and a network of its own, in which this node may write. It listens on
this machine only, unless --listen says more. Clients of the original server find it where they are used to, on port
6666 of this machine; their protocol's encryption is weak, so let other machines reach that port only through a tunnel
(--legacy-listen; "off" turns it off). To be part of a network that exists, join it first: pyvnode network join.

When it listens it prints one line to standard output, "ready", with its addresses.`,
		Example: `  pyvnode run
  pyvnode run --listen /ip4/0.0.0.0/udp/4711/quic-v1 --listen /ip4/0.0.0.0/tcp/4711`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runNode(cmd.Context()) },
	}
	addSettings(cmd.Flags(), ofRun)
	return cmd
}

func (a *app) runNode(ctx context.Context) error {
	o, err := node.RunOptionsOf(a.cfg, a.log, a.levels)
	if err != nil {
		return err
	}
	p := a.progress("searching this node's proof of work", "hashes", 0)
	o.Version = thisBuild().Version
	o.Progress = func(done uint64, expected float64) {
		p.expect(uint64(expected))
		p.set(done)
	}
	r, err := node.Run(ctx, o)
	founded := false
	if errors.As(err, new(*node.NoLedgerError)) && len(o.Network.Peers) == 0 && len(o.Network.Links) == 0 { // with peers, it is to join theirs
		if _, _, err := node.FoundNetwork(ctx, a.cfg.Data(), defaultGenesis()); err != nil {
			return err
		}
		founded = true
		r, err = node.Run(ctx, o)
	}
	p.stop()
	if err != nil {
		return err
	}
	err = a.printReady(r.Status(), founded)
	if err == nil {
		err = r.Wait(ctx)
	}
	a.talk("stopping")
	return errors.Join(err, r.Close())
}

// defaultGenesis is what a network is like unless more is said.
func defaultGenesis() ledger.GenesisDoc {
	return ledger.GenesisDoc{Strength: ledger.DefaultStrength, PrivateKinds: []string{"voter"}, MaxHops: 1}
}

// printReady says that the node listens: to programs on standard output, to people on standard error.
func (a *app) printReady(s node.NodeStatus, founded bool) error {
	if founded {
		a.talk("There was no ledger in %s: made a key and the network %q, in which this node may write.", s.Data, s.Name)
	}
	rows := [][2]string{{"node", s.ID.String()}, {"network", fmt.Sprintf("%s (%s)", s.Name, s.Network)}}
	rows = append(rows, statusAddresses(s)...)
	if !a.quiet {
		_ = pairs(a.stderr, rows...) // nobody depends on it
	}
	if s.SigningWhy != "" {
		a.talk("It does not write yet: %s", s.SigningWhy)
	}
	a.talk("Next, in another terminal: pyvnode put --kind KIND key=value …, or pyvnode status. Ctrl-C stops.")
	if a.json() {
		return printJSON(a.stdout, s)
	}
	_, err := fmt.Fprintf(a.stdout, "ready %s %s\n", s.ID, strings.Join(s.Listen, " "))
	return err
}

func statusAddresses(s node.NodeStatus) (rows [][2]string) {
	for _, addr := range s.Listen {
		rows = append(rows, [2]string{"listens", addr})
	}
	rows = append(rows, [2]string{"api", s.API})
	if s.Legacy != "" {
		rows = append(rows, [2]string{"originals", s.Legacy + ", for original clients"})
	}
	if s.Metrics != "" {
		rows = append(rows, [2]string{"metrics", s.Metrics})
	}
	return append(rows, [2]string{"data", s.Data})
}
