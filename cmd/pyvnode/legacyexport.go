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
	var setAside, administratorsOnly bool
	var admin string
	var password passwordSource
	cmd := &cobra.Command{
		Use:   "export DIRECTORY",
		Short: "Write a data directory that the original server opens",
		Long: `Writes a new data directory of the original server: all records that this node holds, of every kind, in the order of
their arrival here, with their indexes; the site's ID, key pairs, replication hosts and users' files; and the users whose
passwords the original can check, those that were imported and have not logged in since. How many others are left out is
said, and who. The directory appears whole or not at all; there must be nothing under its name, or an empty directory.

The original lets its first client make the first user only where there is none. So with users of whom none is an
administrator nobody could ever administer it. That is refused, before anything is written: --admin makes an administrator
there, with a password from a file or asked for; --administrators-only leaves all other users out, and where no
administrator is left the first client makes one (uini).

The result can be used with: pyvserv -r /ABSOLUTE/DIRECTORY. Text outside code page 437, which the original refuses, is in
it as it is here.`,
		Example: `  pyvnode legacy export /srv/pyvserver
  pyvnode legacy export --admin admin --password-file admin.txt /srv/pyvserver`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if admin == "" && password.file != "" {
				return usageError("--password-file goes with --admin", helpHint(cmd))
			}
			o := node.LegacyExport{Dir: a.cfg.LegacyDir(), SetAside: setAside, AdministratorsOnly: administratorsOnly}
			if cmd.Flags().Changed("admin") {
				name, err := accounts.NormalName(admin)
				if err != nil {
					return err
				}
				secret, err := password.read(cmd.Context(), a)
				if err != nil {
					return err
				}
				if secret == "" {
					return accounts.ErrPassword
				}
				o.Admin = node.LegacyAdmin{Name: name, Password: secret}
			}
			return a.reading(cmd.Context(), func(n *node.Node) error {
				return a.accounts(func(users *accounts.Accounts) error {
					o.Users = users
					return a.legacyExport(cmd.Context(), n, args[0], o)
				})
			})
		},
	}
	addSettings(cmd.Flags(), func(s node.Setting) bool { return s.Name == node.SettingLegacyDir })
	cmd.Flags().StringVar(&admin, "admin", "", "make this administrator there, or make an administrator of the user of that name")
	cmd.Flags().BoolVar(&administratorsOnly, "administrators-only", false, "leave out users who are no administrators")
	password.addFlag(cmd.Flags())
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
	if sum.UsersLeftOut > 0 {
		users += fmt.Sprintf(", %d left out", sum.UsersLeftOut)
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
