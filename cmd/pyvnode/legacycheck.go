package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/ledger/record"
	"pyvnode/legacy/dataroot"
)

func newLegacyCheckCmd(a *app) *cobra.Command {
	strength := record.DefaultStrength
	cmd := &cobra.Command{
		Use:   "check DATAROOT",
		Short: "Check a data directory of the original server, changing nothing",
		Long: `Reads a whole data directory of the original server (its default is ~/pyvserver) and checks every chain: the form of
its file and of every record in it, the indexes beside it, and of each record its header, hash, proof of work and link;
and the users, the site's ID, the key pairs, the list of servers to replicate to and the users' files.

Every finding is printed as soon as it is made, with the file, the place in it and, where it is known, the record's
header; then what there is that import does not take and why ("not taken", no finding), and what the directory holds. The
exit code is 4 when there is a finding. Records that were deleted, or replaced by a newer one with their header, are
counted and are no findings. Deleted records are not shown by the original either, older ones neither.

Of one file 1,000 findings are printed and 10,000 in all; how many more there are is said at the end.

It takes no part of a damaged record for whole. Stop the original server before: what it writes meanwhile looks like
damage.`,
		Example: `  pyvnode legacy check ~/pyvserver
  pyvnode --format json legacy check /srv/pyvserver`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strength < 0 || strength > record.MaxStrength {
				return usageError(fmt.Sprintf("--strength is %d; 0 to %d are allowed", strength, record.MaxStrength), "")
			}
			root, err := dataroot.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = root.Close() }()
			p := a.progress("checking", "records", 0)
			var report *dataroot.Report
			err = a.buffered(func(w io.Writer) (err error) {
				var printing error
				report, err = dataroot.Check(cmd.Context(), root, dataroot.Options{
					Strength: strength,
					Found: func(f dataroot.Finding) {
						if printing == nil {
							printing = a.printFinding(w, "finding", f)
						}
					},
					Unused: func(f dataroot.Finding) {
						if printing == nil {
							printing = a.printFinding(w, "not taken", f)
						}
					},
					Progress: p.set,
				})
				p.stop()
				if err == nil {
					err = printing
				}
				if err != nil {
					return err
				}
				return a.printCheck(w, args[0], report)
			})
			if err != nil {
				return err
			}
			if report.Findings > 0 {
				return &failure{Code: exitBad, Reason: "check-findings", Message: fmt.Sprintf("%s: %s", args[0], plural(report.Findings, "finding", "findings")),
					Hint: "keep a copy as it is; pyvnode legacy import takes what is sound"}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&strength, "strength", strength, "proof of work that every record must have, in zero hex digits")
	return cmd
}

// printFinding prints a finding as a line of its own, and says what it is.
func (a *app) printFinding(w io.Writer, what string, f dataroot.Finding) error {
	if a.json() {
		return printJSON(w, map[string]dataroot.Finding{strings.ReplaceAll(what, " ", "_"): f})
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", what, printable(strings.ReplaceAll(f.String(), "\n", "; ")))
	return err
}

func (a *app) printCheck(w io.Writer, path string, r *dataroot.Report) error {
	if a.json() {
		return printJSON(w, r)
	}
	rows := [][2]string{{"checked", path}}
	var records uint64
	for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
		k := r.Kinds[name]
		text := fmt.Sprintf("%s, %d sound", plural(k.Shown, "record", "records"), k.Sound)
		for _, part := range []struct {
			n    uint64
			what string
		}{{k.Linked, "linked"}, {k.Deleted, "deleted"}, {k.Older, "replaced by newer ones"}, {k.Damaged, "damaged places"}} {
			if part.n > 0 {
				text += fmt.Sprintf(", %d %s", part.n, part.what)
			}
		}
		rows = append(rows, [2]string{"kind " + printable(name), text})
		records += k.Shown + k.Older + k.Deleted
	}
	site := r.Site
	if site == "" {
		site = "-"
	}
	rows = append(rows,
		[2]string{"users", fmt.Sprint(r.Users)},
		[2]string{"site ID", site},
		[2]string{"key pairs", fmt.Sprint(r.Keys)},
		[2]string{"hosts", fmt.Sprint(len(r.Hosts))},
		[2]string{"users' files", fmt.Sprintf("%d, %d bytes", r.Files, r.Bytes)},
		[2]string{"time", fmt.Sprintf("%v, %.0f records per second", r.Duration.Round(time.Millisecond), float64(records)/max(r.Duration.Seconds(), 1e-6))},
	)
	if err := pairs(w, rows...); err != nil {
		return err
	}
	result := "nothing found: everything is as it must be"
	if r.Findings > 0 {
		result = plural(r.Findings, "finding", "findings")
	}
	_, err := fmt.Fprintln(w, result)
	return err
}
