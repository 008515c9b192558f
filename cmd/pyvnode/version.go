package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"pyvnode/ledger/store"
)

// build says which program this is.
type build struct {
	Version     string `json:"version"`
	Revision    string `json:"revision,omitempty"`
	Modified    bool   `json:"modified,omitempty"` // built from sources with changes that are not committed
	Go          string `json:"go"`
	Platform    string `json:"platform"`
	StoreFormat int    `json:"store_format"`
}

// version is set by the linker, see the Makefile; empty in a program that was built by other ways.
var version string

func thisBuild() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, StoreFormat: store.FormatVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(version, info.Main.Version, b.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: `  pyvnode version --format json`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if a.json() {
				return printJSON(a.stdout, b)
			}
			revision := b.Revision
			if revision == "" {
				revision = "unknown"
			}
			if b.Modified {
				revision += " (modified)"
			}
			return pairs(a.stdout,
				[2]string{"pyvnode", b.Version},
				[2]string{"revision", revision},
				[2]string{"go", b.Go + " " + b.Platform},
				[2]string{"store format", fmt.Sprint(b.StoreFormat)},
			)
		},
	}
}

func newManCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "man",
		Short:   "Write the manual pages of all commands",
		Example: `  pyvnode man --dir /usr/local/share/man/man1`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError("no directory given", "name it with --dir")
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "PYVNODE", Section: "1", Source: "pyvnode"}, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory for the pages; made where it is missing")
	return cmd
}
