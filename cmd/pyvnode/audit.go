package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/store"
	"pyvnode/node"
)

func newAuditCmd(a *app) *cobra.Command {
	var noSignatures bool
	var against, network string
	cmd := &cobra.Command{
		Use:   "audit [PATH]",
		Short: "Check everything anew, trusting nothing",
		Long: `Checks every entry of a data directory (by default this node's), of an entry file or of a readable export from its
bytes: form, hashes, signatures, links, Merkle roots, heights, citations, and of each record its hash, proof of work
and link; in a data directory also every index. It changes nothing.

Every finding is printed. The exit code is 4 when there is one. --no-signatures leaves out the signatures, which are
most of the work. --against also compares with what a running node holds, as "pyvnode diff" does; the exit code is 5
when nothing is wrong here and the two differ.

Who may write, the genesis document says, and an entry file or a directory brings its own. An auditor has the network's
hash from somebody else than whoever sent the file: with --network another document is refused. Without, the network is
the one that the file says, and the audit says so.

Of a node that runs, a snapshot of its entries and indexes is audited, and not the files they are in.`,
		Example: `  pyvnode audit
  pyvnode audit backup.entries --network dcd60b6d335c759f...
  pyvnode audit --against /ip4/192.0.2.1/tcp/4711/p2p/12D3KooW...`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := a.cfg.Data()
			if len(args) == 1 {
				path = args[0]
			}
			if against != "" && peerOf(against) == nil {
				return usageError(fmt.Sprintf("--against %q is no address of a node", against), "want a multiaddr that ends in /p2p/PEERID")
			}
			want, err := a.checkNetwork(path, network)
			if err != nil {
				return err
			}
			p := a.progress("auditing", "entries", 0)
			report, err := a.audit(cmd, path, audit.Options{
				SkipSignatures: noSignatures,
				Workers:        a.cfg.Workers(),
				Progress: func(now audit.Progress) {
					if now.Total != p.total {
						p.expect(now.Total)
					}
					p.set(now.Done)
				},
			})
			p.stop()
			if err != nil {
				return err
			}
			if want != nil && report.Network != *want { // it was another file just now
				return wrongNetwork(path, report.Network, *want)
			}
			if err := a.printReport(path, want != nil, report); err != nil {
				return err
			}
			var differ error
			if against != "" {
				differ = a.diff(cmd.Context(), path, against, listedMissing)
			}
			if checkedNothing(report) && differ == nil {
				code := exitBad
				if info, err := os.Stat(path); err == nil && info.IsDir() {
					code = exitNotFound
				}
				return emptyError(code, path, "nothing was audited: there is not one entry or record in it")
			}
			if !report.Clean() {
				return &failure{Code: exitBad, Reason: "audit-findings", Message: fmt.Sprintf("%s: %s", path, plural(report.FindingsAll, "finding", "findings")),
					Hint: "keep a copy as it is; import the entries from another node or an export into a new data directory"}
			}
			return differ
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "hash that the genesis document must have")
	cmd.Flags().StringVar(&against, "against", "", "compare with the running node at this address")
	cmd.Flags().BoolVar(&noSignatures, "no-signatures", false, "do not check signatures")
	return cmd
}

// checkNetwork refuses a directory or an entry file whose genesis document has not the hash that was asked for.
func (a *app) checkNetwork(path, network string) (want *ledger.Hash, err error) {
	if network == "" {
		return nil, nil
	}
	if want, err = parseNetwork(network); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var g *ledger.Genesis
	if info.IsDir() {
		g, err = node.OwnGenesis(path)
	} else {
		var format node.InputFormat
		err = withFile(path, func(f *os.File) (err error) {
			format, err = node.DetectFormat(bufio.NewReader(f))
			return ofSource(path, err)
		})
		if err == nil && format != node.EntryFormat {
			return nil, usageError(fmt.Sprintf("--network does not go with %s, which does not say of which network it is", path), "an entry file does: pyvnode export --raw")
		}
		if err == nil {
			g, err = node.ReadGenesis(path)
		}
	}
	if err == nil && g.Network() != *want {
		err = wrongNetwork(path, g.Network(), *want)
	}
	return want, err
}

func wrongNetwork(path string, is, want ledger.Hash) error {
	return &node.WrongGenesisError{Where: "that of " + path, Is: is, Want: want}
}

// parseNetwork reads the value of a flag --network.
func parseNetwork(text string) (*ledger.Hash, error) {
	hash, err := ledger.ParseHash(strings.ToLower(text))
	if err != nil {
		return nil, usageError("--network: "+err.Error(), "\"pyvnode network show\" prints it on every node of the network")
	}
	return &hash, nil
}

// checkedNothing reports whether an audit found nothing because there was nothing.
func checkedNothing(r *audit.Report) bool { return r.Clean() && r.Entries == 0 && len(r.Evidence) == 0 }

func (a *app) audit(cmd *cobra.Command, path string, o audit.Options) (*audit.Report, error) {
	ctx := cmd.Context()
	info, err := os.Stat(path)
	if path == a.cfg.Data() && errors.Is(err, fs.ErrNotExist) {
		err = &node.NoLedgerError{Path: path}
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return a.auditDirectory(ctx, path, o)
	}
	var report *audit.Report
	err = withFile(path, func(f *os.File) error {
		in := bufio.NewReaderSize(f, 256<<10)
		format, err := node.DetectFormat(in)
		if err != nil {
			return ofSource(path, err)
		}
		switch format {
		case node.EntryFormat:
			report, err = audit.EntryFile(ctx, in, o)
		case node.LineFormat:
			report, err = audit.JSONLines(ctx, in, o)
		default:
			err = usageError(path+" is a chain file of the original server, which has no signatures to audit", "import it: pyvnode import FILE")
		}
		return err
	})
	return report, err
}

// auditDirectory audits a data directory, or a snapshot of the node that runs on it.
func (a *app) auditDirectory(ctx context.Context, path string, o audit.Options) (*audit.Report, error) {
	report, err := audit.Directory(ctx, path, o)
	if !errors.Is(err, store.ErrLocked) {
		return report, err
	}
	c, dialling := node.Dial(ctx, path)
	if dialling != nil {
		return nil, err
	}
	defer c.Close()
	g, err := node.OwnGenesis(path)
	if err != nil {
		return nil, err
	}
	snapshot, err := c.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	a.talk("A node runs on %s: what it holds now is audited; the files are not looked at until it stops.", path)
	report, err = audit.Datastore(ctx, store.ReadOnly(snapshot), g, o)
	if closing := snapshot.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, err
	}
	report.Source = "running node"
	return report, nil
}

// auditResult says in one line what an audit showed, and no more than it did.
func auditResult(r *audit.Report) string {
	switch {
	case !r.Clean():
		return plural(r.FindingsAll, "finding", "findings")
	case checkedNothing(r):
		return "nothing checked: there are no entries"
	case r.Source == "records":
		return "nothing found: every record is sound; who published it, a readable export does not prove"
	case r.Signatures == 0:
		return "nothing found; signatures were not checked"
	}
	return "nothing found: everything is as it must be"
}

func (a *app) printReport(path string, networkAsked bool, r *audit.Report) error {
	if a.json() {
		return printJSON(a.stdout, r)
	}
	return a.buffered(func(w io.Writer) error {
		rate := float64(r.Entries) / max(r.Duration.Seconds(), 1e-6)
		rows := [][2]string{{"audited", path}, {"source", r.Source}}
		if r.Name != "" {
			rows = append(rows, [2]string{"network", fmt.Sprintf("%s (%s)", r.Name, r.Network)})
			whence := "as it says itself; --network checks it"
			if networkAsked {
				whence = "as --network asks"
			}
			rows = append(rows, [2]string{"", whence})
		}
		rows = append(rows,
			[2]string{"entries", fmt.Sprint(r.Entries)},
			[2]string{"records", fmt.Sprintf("%d sound", r.Records)},
			[2]string{"signatures", fmt.Sprintf("%d checked", r.Signatures)},
			[2]string{"index rows", fmt.Sprintf("%d compared", r.IndexRows)},
		)
		if len(r.Evidence) > 0 {
			rows = append(rows, [2]string{"disputed", plural(r.Disputed, "entry", "entries")})
		}
		if r.Digest != nil {
			rows = append(rows, [2]string{"digest", r.Digest.String()})
		}
		rows = append(rows, [2]string{"time", fmt.Sprintf("%v, entries per second: %.0f", r.Duration.Round(time.Millisecond), rate)})
		if err := pairs(w, rows...); err != nil {
			return err
		}
		if err := printDisputes(w, r); err != nil {
			return err
		}
		for _, f := range r.Findings {
			if err := printLine(w, "finding: %v", f); err != nil {
				return err
			}
		}
		if more := r.FindingsAll - uint64(len(r.Findings)); more > 0 {
			if err := printLine(w, "and %d more", more); err != nil {
				return err
			}
		}
		return printLine(w, "%s", auditResult(r))
	})
}
