package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pyvnode/legacy/dataroot"
	"pyvnode/node"
	"pyvnode/node/accounts"
)

// legacyProblem is something that import does not take over, as it is printed.
type legacyProblem struct {
	Status node.Status `json:"status"`
	dataroot.Finding
}

func newLegacyImportCmd(a *app) *cobra.Command {
	var only []string
	cmd := &cobra.Command{
		Use:   "import DATAROOT",
		Short: "Take over a data directory of the original server",
		Long: `Takes over a whole data directory of the original server, which it only reads: the records of every kind go into this
node's own log, as with "pyvnode put"; users with their passwords, the site's ID, key pairs, replication hosts and the
users' files go into this node's own directories. Passwords are hashed anew when their users next log in.

Nothing that is here is replaced: what is here already counts as duplicate, and where something else is in its place it
is left out and named. So it can be interrupted and repeated. Records of kinds that the genesis document names private
are never published; they are set aside in ` + node.SetAsideDir + `/KIND.pydb under the directory for original clients.

Of what the original's desktop programs keep there, ballots (ballots.pydb) are records of kind "ballot", and voters
(voters.pydb) are set aside, whatever the genesis document says.

What is not taken over is printed, with place, reason and, where it is known, the record's header; then a summary. Of one
file 1,000 are printed and 10,000 in all; how many more there are is said. The exit code is 4 when records are damaged or
refused.

Stop the original server before. Where a node runs on the data directory, records go through it; it keeps its site ID
and its hosts, and sees new key pairs when it is started again.`,
		Example: `  pyvnode legacy import ~/pyvserver
  pyvnode legacy import --only vote,ballot /srv/pyvserver`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, err := dataroot.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = root.Close() }()
			var kinds []string
			for _, s := range root.Sources(func(dataroot.Finding) {}) { // what is wrong with them is said later
				if !slices.Contains(kinds, s.Kind) {
					kinds = append(kinds, s.Kind)
				}
			}
			for _, kind := range only {
				if !slices.Contains(kinds, kind) {
					return usageError(fmt.Sprintf("--only: there is no kind %q in %s", kind, args[0]), "there are: "+strings.Join(kinds, ", "))
				}
			}
			return a.writing(cmd.Context(), func(w *node.Writer) error {
				return a.accounts(func(users *accounts.Accounts) error {
					return a.legacyImport(cmd.Context(), w, node.LegacyImport{Root: root, Kinds: only, Users: users, Dir: a.cfg.LegacyDir(),
						Running: a.running(cmd.Context(), func(*node.Client) error { return nil }) == nil})
				})
			})
		},
	}
	addSettings(cmd.Flags(), func(s node.Setting) bool { return ofWriting(s) || s.Name == node.SettingLegacyDir })
	cmd.Flags().StringSliceVar(&only, "only", nil, "only the records of these kinds, with commas between them, and nothing else")
	return cmd
}

func (a *app) legacyImport(ctx context.Context, w *node.Writer, o node.LegacyImport) error {
	collectGarbageAt(400) // a tenth of the processor for some 100 MiB
	p := a.progress("importing", "records", 0)
	o.Progress = p.set
	var sum *node.LegacySummary
	err := a.buffered(func(out io.Writer) (err error) {
		o.Problem = func(problem node.LegacyProblem) error { return a.printLegacyProblem(out, problem) }
		o.Unused = func(f dataroot.Finding) error { return a.printFinding(out, "not taken", f) }
		sum, err = w.ImportLegacy(ctx, o)
		p.stop()
		return errors.Join(err, a.printLegacySummary(out, sum))
	})
	if err != nil {
		return err
	}
	return summaryError(sum.Total())
}

func (a *app) printLegacyProblem(w io.Writer, p node.LegacyProblem) error {
	f := p.Finding
	switch {
	case p.Err != nil && p.Status == node.LeftOut:
		f.Reason, f.Detail = dataroot.Reason(node.LeftOut), p.Err.Error()
	case p.Err != nil:
		f.Reason = dataroot.Reason(explain(p.Err).Reason)
		f.Detail = strings.TrimPrefix(why(p.Err), string(f.Reason)+": ")
	}
	if a.json() {
		return printJSON(w, map[string]legacyProblem{"problem": {p.Status, f}})
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", p.Status, printable(strings.ReplaceAll(f.String(), "\n", "; ")))
	return err
}

func (a *app) printLegacySummary(w io.Writer, sum *node.LegacySummary) error {
	if a.json() {
		return printJSON(w, sum)
	}
	var rows [][2]string
	for _, kind := range slices.Sorted(maps.Keys(sum.Kinds)) {
		k := sum.Kinds[kind]
		text := summaryText(k.Summary)
		if k.Private {
			text = fmt.Sprintf("private: %s, none published", strings.Replace(text, "stored", "set aside", 1))
		}
		for _, part := range []struct {
			n    uint64
			what string
		}{{k.Damaged, "of them damaged"}, {k.Deleted, "deleted before"}, {k.Older, "replaced by newer ones before"}} {
			if part.n > 0 {
				text += fmt.Sprintf(", %d %s", part.n, part.what)
			}
		}
		if k.SetAside != "" {
			text += ": " + k.SetAside
		}
		rows = append(rows, [2]string{"kind " + printable(kind), text})
	}
	for _, part := range []struct {
		name string
		n    node.Taken
	}{{"users", sum.Users}, {"site ID", sum.Site}, {"key pairs", sum.Keys}, {"hosts", sum.Hosts}, {"users' files", sum.Files}} {
		text := fmt.Sprintf("%d new, %d here already", part.n.New, part.n.Same)
		if part.n.LeftOut > 0 {
			text += fmt.Sprintf(", %d left out", part.n.LeftOut)
		}
		rows = append(rows, [2]string{part.name, text})
	}
	return pairs(w, rows...)
}
