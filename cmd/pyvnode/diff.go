package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/node"
	"pyvnode/p2p"
)

// listedMissing is how many missing entries diff lists unless asked for more.
const listedMissing = 20

func newDiffCmd(a *app) *cobra.Command {
	limit := listedMissing
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say whether two ledgers are the same, and where they first differ",
		Long: `Compares two ledgers of one network. A and B are each a data directory (also of a node that runs), an entry file, or a
running node by its address with /p2p/PEERID.

It says "same"; or "behind", when one lacks what the other holds and nothing contradicts; or "fork", when they hold
different entries for one place, which its origin has signed twice; or "disputed", when one holds evidence against an
origin that the other lacks. It says where each log first differs and which entries are missing on which side.

The exit code is 0 when they are the same, 5 when not, and 6 when a peer cannot be reached.`,
		Example: `  pyvnode diff ~/.pyvnode backup.entries
  pyvnode diff ~/.pyvnode /ip4/192.0.2.1/tcp/4711/p2p/12D3KooW...`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return a.diff(cmd.Context(), args[0], args[1], limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "list at most so many missing entries; all are counted")
	return cmd
}

func checkLimit(limit int) error {
	const most = 1_000_000
	if limit < 0 || limit > most {
		return usageError(fmt.Sprintf("--limit is %d; 0 to %d are allowed", limit, most), "")
	}
	return nil
}

// ledgerSide is one of two ledgers that are compared, with what must be closed afterwards.
type ledgerSide struct {
	node.Side
	name    string
	genesis *ledger.Genesis
	close   func() error
}

// diff compares two ledgers. Peers are dialled last, because it takes the genesis document of the other side to talk to
// them.
func (a *app) diff(ctx context.Context, nameA, nameB string, limit int) (err error) {
	var sides [2]*ledgerSide
	defer func() {
		for _, s := range sides {
			if s != nil {
				if closing := s.close(); err == nil {
					err = closing
				}
			}
		}
	}()
	names := [2]string{nameA, nameB}
	var g *ledger.Genesis
	for i, name := range names {
		if peerOf(name) == nil {
			if sides[i], err = a.openSide(ctx, name); err != nil {
				return err
			}
			g = sides[i].genesis
		}
	}
	for i, name := range names {
		if to := peerOf(name); to != nil {
			if g == nil {
				if g, err = node.OwnGenesis(a.cfg.Data()); err != nil {
					return err
				}
			}
			if sides[i], err = a.dialSide(ctx, *to, g); err != nil {
				return err
			}
			sides[i].name = name
		}
	}
	return a.compare(ctx, sides[0], sides[1], limit)
}

// peerOf returns whom a multiaddr with a peer ID names; nil for anything else, which is a path.
func peerOf(text string) *peer.AddrInfo {
	if !strings.Contains(text, "/p2p/") {
		return nil
	}
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return nil
	}
	return info
}

func (a *app) openSide(ctx context.Context, path string) (*ledgerSide, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		o := a.options()
		o.Data = path
		n, err := node.OpenForReading(ctx, o)
		if err != nil {
			return nil, err
		}
		return &ledgerSide{node.StoreSide(n.Store), path, n.Genesis(), n.Close}, nil
	}
	f, err := node.OpenEntryFile(ctx, path)
	if err != nil {
		return nil, err
	}
	return &ledgerSide{f, path, f.Genesis(), f.Close}, nil
}

func (a *app) dialSide(ctx context.Context, to peer.AddrInfo, g *ledger.Genesis) (*ledgerSide, error) {
	const patience = 30 * time.Second
	dialling, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := p2p.Dial(dialling, to, g)
	if err != nil {
		return nil, err
	}
	return &ledgerSide{c, to.ID.String(), g, c.Close}, nil
}

// compare prints how two ledgers differ; the error says that they do.
func (a *app) compare(ctx context.Context, x, y *ledgerSide, limit int) error {
	if x.genesis.Network() != y.genesis.Network() {
		return fmt.Errorf("%w: %s is of %q (%s), %s of %q (%s)", store.ErrOtherNetwork,
			x.name, x.genesis.Name, x.genesis.Network().Beside(y.genesis.Network()), y.name, y.genesis.Name, y.genesis.Network().Beside(x.genesis.Network()))
	}
	c, err := node.Compare(ctx, x.genesis.Network(), x, y, limit)
	if err != nil {
		return err
	}
	if a.json() {
		err = printJSON(a.stdout, c)
	} else {
		err = a.buffered(func(w io.Writer) error { return printComparison(w, c, x.name, y.name) })
	}
	if err != nil {
		return err
	}
	if c.Verdict == node.Same && c.A.Entries == 0 && c.A.Logs == 0 {
		return emptyError(exitNotFound, x.name+" and "+y.name, "nothing was compared: neither holds an entry")
	}
	return disagreement(c)
}

// disagreement is the error of two ledgers that differ; nil when they are the same.
func disagreement(c *node.Comparison) error {
	f := &failure{Code: exitDisagree, Reason: string(c.Verdict)}
	logs := plural(uint64(c.Differ), "log", "logs")
	switch c.Verdict {
	case node.Same:
		return nil
	case node.Behind:
		f.Message = fmt.Sprintf("not the same: A lacks %d and B lacks %s, in %s; nothing contradicts", c.A.Lacks, plural(c.B.Lacks, "entry", "entries"), logs)
		f.Hint = "nodes that are connected catch up by themselves; pyvnode export --raw and import carry entries by hand"
	case node.Disputed:
		f.Message = fmt.Sprintf("not the same: one holds evidence that the other lacks, about %s", logs)
		f.Hint = "nodes that are connected exchange evidence by themselves"
	default:
		f.Message = "not the same: an origin has signed two different entries for one place"
		f.Hint = "keep both ledgers as they are: the two entries together prove it"
	}
	return f
}

func printComparison(w io.Writer, c *node.Comparison, nameA, nameB string) error {
	side := func(letter, name string, s node.SideSummary) [][2]string {
		return [][2]string{
			{letter, name},
			{"", fmt.Sprintf("%s in %s, digest %s", plural(s.Entries, "entry", "entries"), plural(uint64(s.Logs), "log", "logs"), s.Digest)},
		}
	}
	if err := pairs(w, append(side("A", nameA, c.A), side("B", nameB, c.B)...)...); err != nil {
		return err
	}
	print := func(format string, args ...any) error {
		return printLine(w, format, args...)
	}
	var errs []error
	for _, l := range c.Logs {
		errs = append(errs, print("log of %v: %s", l.Origin, logText(&l)))
	}
	if more := c.Differ - len(c.Logs); more > 0 {
		errs = append(errs, print("and %s", plural(more, "more log", "more logs")))
	}
	for _, m := range c.Missing {
		errs = append(errs, print("missing on %s: %s %v %v/%d", strings.ToUpper(m.On), m.Kind, m.Header, m.Origin, m.Seq))
	}
	if more := c.A.Lacks + c.B.Lacks - uint64(len(c.Missing)); more > 0 {
		errs = append(errs, print("and %d more missing", more))
	}
	return errors.Join(append(errs, print("%s", c.Verdict))...)
}

// logText says how two copies of a log differ.
func logText(l *node.LogComparison) string {
	short, long, ahead := l.A, l.B, "B"
	if l.A > l.B {
		short, long, ahead = l.B, l.A, "A"
	}
	switch l.Verdict {
	case node.Forked:
		return fmt.Sprintf("fork: the first %d are the same, then entry %d is %s on A and %s on B; A has %d, B has %d",
			l.Common, l.Common, l.HashA, l.HashB, l.A, l.B)
	case node.Disputed:
		text := "disputed"
		for _, f := range []struct {
			who    string
			freeze *ledger.Freeze
		}{{"A", l.FrozenA}, {"B", l.FrozenB}} {
			if f.freeze != nil {
				text += fmt.Sprintf("; on %s from entry %d on, by evidence %s", f.who, f.freeze.Seq, f.freeze.Evidence.Short())
			}
		}
		return text
	}
	return fmt.Sprintf("the same up to %d, then %s has %d more", short, ahead, long-short)
}
