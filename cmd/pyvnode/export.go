package main

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/node"
)

func newExportCmd(a *app) *cobra.Command {
	var (
		raw, force   bool
		output, kind string
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the ledger to a file",
		Long: `Writes all records in canonical order, one JSON object per line, for people and programs. With --raw it writes an
entry file instead: the genesis document, evidence and all signed entries, from which another node can rebuild this
ledger to the byte, and an auditor can check it without trusting anybody.

The file appears under its name whole or not at all. One that is there already is left as it is, unless --force says to
replace it.`,
		Example: `  pyvnode export --output ledger.ndjson
  pyvnode export --raw --output backup.entries`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case raw && kind != "":
				return usageError("--kind does not go with --raw: a part of a log cannot be checked", "leave out --raw to export records of one kind")
			case raw && output == "" && isTerminal(a.stdout):
				return usageError("an entry file is binary and would spoil the terminal", "name a file with --output")
			}
			if kind != "" {
				if err := ledger.CheckKind(kind); err != nil {
					return usageError("--kind: "+err.Error(), "")
				}
			}
			return a.reading(cmd.Context(), func(n *node.Node) error {
				if output == "" {
					_, err := a.export(cmd.Context(), n, a.rawOut(), raw, kind)
					return err
				}
				return a.exportFile(cmd.Context(), n, output, force, raw, kind)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&raw, "raw", false, "write an entry file, which carries all signatures")
	flags.StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	flags.BoolVar(&force, "force", false, "replace a file that is there")
	flags.StringVar(&kind, "kind", "", "only records of this kind")
	return cmd
}

func (a *app) exportFile(ctx context.Context, n *node.Node, output string, force, raw bool, kind string) error {
	f, err := createOutput(output, force)
	if err != nil {
		return err
	}
	defer func() { _ = f.Abort() }() // does nothing after Commit
	count, err := a.export(ctx, n, f, raw, kind)
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(a.stdout, struct {
			File    string `json:"file"`
			Entries uint64 `json:"entries"`
		}{output, count})
	}
	return printLine(a.stdout, "%s in %s", plural(count, "entry", "entries"), output)
}

// createOutput starts a file that a flag names. One that is there is replaced only by force.
func createOutput(path string, force bool) (*node.AtomicFile, error) {
	create := node.CreateNew
	if force {
		create = node.CreateAtomic
	}
	f, err := create(path)
	if errors.Is(err, fs.ErrExist) {
		return nil, fileExists(path)
	}
	return f, err
}

func fileExists(path string) error {
	return &failure{Code: exitFailure, Reason: "file-exists", Message: path + " is there already, and was left as it is",
		Hint: "name another file, or replace this one with --force"}
}

func (a *app) export(ctx context.Context, n *node.Node, w io.Writer, raw bool, kind string) (uint64, error) {
	p := a.progress("exporting", "entries", n.Frontier().Entries())
	defer p.stop()
	if raw {
		return n.ExportEntries(ctx, w, p.set)
	}
	return n.ExportLines(ctx, w, kind, p.set)
}
