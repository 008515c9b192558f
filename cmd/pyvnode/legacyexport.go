package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"pyvnode/legacy/dataroot"
	"pyvnode/node"
	"pyvnode/node/accounts"
)

func newLegacyExportCmd(a *app) *cobra.Command {
	var setAside bool
	cmd := &cobra.Command{
		Use:   "export DIRECTORY",
		Short: "Write a data directory that the original server opens",
		Long: `Writes a new data directory of the original server: all records that this node holds, of every kind, in the order of
their arrival here, with their indexes; the site's ID, key pairs, replication hosts and users' files; and the users whose
passwords the original can check, those that were imported and have not logged in since. How many others are left out is
said, and who. The directory appears whole or not at all; there must be nothing under its name, or an empty directory.

The result can be used with: pyvserv -r /ABSOLUTE/DIRECTORY. Text outside code page 437, which the original refuses, is in
it as it is here.`,
		Example: `  pyvnode legacy export /srv/pyvserver`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), func(n *node.Node) error {
				return a.accounts(func(users *accounts.Accounts) error {
					return a.legacyExport(cmd.Context(), n, args[0], node.LegacyExport{Dir: a.cfg.LegacyDir(), Users: users, SetAside: setAside})
				})
			})
		},
	}
	addSettings(cmd.Flags(), func(s node.Setting) bool { return s.Name == node.SettingLegacyDir })
	cmd.Flags().BoolVar(&setAside, "set-aside", false, "with the records of private kinds that import set aside")
	return cmd
}

func (a *app) legacyExport(ctx context.Context, n *node.Node, dir string, o node.LegacyExport) (err error) {
	b, err := dataroot.Create(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Abort()) }() // does nothing after Commit
	var total uint64
	for _, kind := range n.Kinds() {
		total += n.Count(kind)
	}
	p := a.progress("exporting", "records", total)
	o.Progress = p.set
	return a.buffered(func(w io.Writer) error {
		o.Problem = func(f dataroot.Finding) error {
			if a.json() {
				return printJSON(w, map[string]dataroot.Finding{"problem": f})
			}
			_, err := fmt.Fprintf(w, "left out: %s\n", printable(f.String()))
			return err
		}
		sum, err := n.ExportLegacy(ctx, b, o)
		p.stop()
		if err == nil {
			err = b.Commit()
		}
		if err != nil {
			return err
		}
		return a.printLegacyExported(w, dir, sum)
	})
}

func (a *app) printLegacyExported(w io.Writer, dir string, sum *node.LegacyExported) error {
	if a.json() {
		return printJSON(w, struct {
			Directory string `json:"directory"`
			*node.LegacyExported
		}{dir, sum})
	}
	rows := [][2]string{{"written", dir}}
	for _, kind := range slices.Sorted(maps.Keys(sum.Kinds)) {
		rows = append(rows, [2]string{"kind " + kind, plural(sum.Kinds[kind], "record", "records")})
	}
	users := fmt.Sprint(sum.Users)
	if sum.Rehashed > 0 {
		users += fmt.Sprintf(", %d left out: their passwords are hashed as the original cannot", sum.Rehashed)
	}
	site := "none: the original makes one"
	if sum.Site {
		site = "as here"
	}
	return pairs(w, append(rows,
		[2]string{"users", users},
		[2]string{"site ID", site},
		[2]string{"key pairs", fmt.Sprint(sum.Keys)},
		[2]string{"hosts", fmt.Sprint(sum.Hosts)},
		[2]string{"users' files", fmt.Sprint(sum.Files)})...)
}
