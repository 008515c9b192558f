// Command pyvnode keeps a node's ledger. It makes and stores records; it shows, checks, exports and
// imports them; and it runs a node in its network. The manual is in docs/manual.md.
//
// This package is the command line only: it reads flags, asks, prints and shows progress. What the
// commands do is in package node. There is one file for each command, or for a few that belong
// together (put.go, audit.go, …). Commands for the original server and its clients are in the files
// that begin with legacy. The others serve all commands:
//
//	main.go                  the root command, and what all commands share
//	errors.go                errors as the user sees them, and exit codes
//	settings.go              which command takes which settings as flags
//	output.go, progress.go   what is printed, and how far long work is
//	text.go                  making text that others chose safe for a terminal
//	help.go                  help that fits the screen
//
// Results go to standard output, and sentences for people to standard error.
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"pyvnode/ledger/durable"
	"pyvnode/node"
)

func main() {
	collectGarbageAt(200) // audits make much that is short-lived; what lives long is little
	os.Exit(run())
}

// collectGarbageAt sets by how many percent the heap grows before garbage is collected, unless the user says so (GOGC).
func collectGarbageAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func run() int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		environ: os.Environ(),
	}
	a.config, _ = os.UserConfigDir() // without one there is no default file
	a.home, _ = os.UserHomeDir()     // without one the data directory must be named
	return a.run(ctx, os.Args[1:])
}

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	config, home   string // the user's directories

	// Set before a command runs, from flags and configuration.
	cfg    *node.Config
	log    *slog.Logger
	levels *node.Levels // of log
	quiet  bool
}

// run executes a command line and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRootCmd(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.fail(err, a.wantsJSON(args))
}

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "pyvnode",
		Short: "A public ledger that independent parties keep together",
		Long: `pyvnode keeps one node's copy of a public, append-only, hash-linked ledger: records that anyone can check and
nobody, this node included, can change unnoticed.

Start a node with "pyvnode run", store a record with "pyvnode put", and check everything with "pyvnode audit".`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		Args:              subcommandOnly,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd) },
	}
	root.SetFlagErrorFunc(flagError)
	setHelp(root)
	root.CompletionOptions.HiddenDefaultCmd = false
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration file (default "+node.EnvConfig+", else config.json in the user's configuration directory)")
	addSettings(flags, ofEveryCommand)
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no talk, only results and errors")
	root.AddCommand(
		newRunCmd(a), newStatusCmd(a), newPeersCmd(a), newLinksCmd(a), newLogLevelCmd(a),
		newInitCmd(a), newIdentityCmd(a), newNetworkCmd(a), newUserCmd(a), newJournalCmd(a),
		newMintCmd(a), newPutCmd(a),
		newGetCmd(a), newHaveCmd(a), newListCmd(a), newLogCmd(a), newFrontierCmd(a),
		newAuditCmd(a), newDiffCmd(a), newEvidenceCmd(a), newExportCmd(a), newImportCmd(a),
		newLegacyCmd(a),
		newConfigCmd(a), newVersionCmd(a), newManCmd(),
		newBenchCmd(a),
	)
	return root
}

// configure reads the configuration before a command runs.
func (a *app) configure(cmd *cobra.Command) error {
	for c := cmd; c != nil; c = c.Parent() {
		switch c.Name() {
		case "man", "completion", "help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			return nil // these must work whatever the configuration says
		}
	}
	src := node.Sources{Environ: a.environ, Flags: givenSettings(cmd), ConfigDir: a.config, Home: a.home}
	src.File, _ = cmd.Flags().GetString("config")
	cfg, err := node.LoadConfig(src)
	if err != nil {
		return err
	}
	if err := cfg.DataError(); err != nil && needsData(cmd) {
		return err
	}
	a.cfg = cfg
	a.levels = node.NewLevels(cfg.LogLevel())
	if err := a.levels.Set(cfg.LogLevels()...); err != nil {
		return err
	}
	a.log = slog.New(a.levels.Handler(slog.NewTextHandler(printableWriter{a.stderr}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if n := cfg.Workers(); n > 0 {
		runtime.GOMAXPROCS(n)
	}
	return nil
}

// needsData reports whether a command works with the data directory, as it is called.
func needsData(cmd *cobra.Command) bool {
	args := cmd.Flags().NArg()
	given := func(flag string) bool {
		f := cmd.Flags().Lookup(flag)
		return f != nil && f.Changed
	}
	switch _, name, _ := strings.Cut(cmd.CommandPath(), " "); name {
	case "", "mint", "version", "bench", "config", "config show", "legacy", "legacy client", "legacy check", "legacy sync", "network", "evidence", "user":
		return false
	case "audit":
		return args == 0
	case "network show":
		return args == 0
	case "list", "log", "get", "have":
		return !given("file")
	case "evidence verify":
		return !given("genesis")
	}
	return true
}

// options returns how to open this node.
func (a *app) options() node.Options { return node.OptionsOf(a.cfg, a.log) }

// reading opens the ledger for a command that changes nothing, and closes it afterwards.
func (a *app) reading(ctx context.Context, do func(*node.Node) error) error {
	n, err := node.OpenForReading(ctx, a.options())
	return a.with(n, err, do)
}

// readingFile is reading of an entry file, where one is named.
func (a *app) readingFile(ctx context.Context, file string, do func(*node.Node) error) error {
	if file == "" {
		return a.reading(ctx, do)
	}
	p := a.progress("reading the file", "entries", 0)
	n, err := node.OpenEntries(ctx, file, a.options(), func(now node.ImportProgress) { p.set(uint64(now.Entries)) })
	p.stop()
	return a.with(n, err, do)
}

// addEntriesFlag adds the flag with which a command reads an entry file in place of the ledger.
func addEntriesFlag(flags *pflag.FlagSet, file *string) {
	flags.StringVar(file, "file", "", "read this entry file, after every check, and not the ledger of the data directory")
}

// writing opens the ledger for a command that adds records of this node, or goes through the node that runs.
func (a *app) writing(ctx context.Context, do func(*node.Writer) error) error {
	p := a.progress("searching this node's proof of work", "hashes", 0)
	n, err := node.OpenForWriting(ctx, a.options(), func(done uint64, expected float64) {
		p.expect(uint64(expected))
		p.set(done)
	})
	p.stop()
	if errors.Is(err, durable.ErrLocked) || errors.As(err, new(*node.NeedsNodeError)) {
		return a.through(ctx, err, func(c *node.Client) error {
			w, err := c.Writer(ctx)
			if err != nil {
				return err
			}
			err = do(&w.Writer)
			return errors.Join(err, w.Close())
		})
	}
	return a.with(n, err, func(n *node.Node) error { return do(&n.Writer) })
}

// importer takes entries of others.
type importer interface {
	ImportEntries(ctx context.Context, in io.Reader, progress func(node.ImportProgress)) (node.EntrySummary, error)
}

// importing opens the ledger for a command that takes entries of others, or goes through the node that runs.
func (a *app) importing(ctx context.Context, do func(importer) error) error {
	n, err := node.OpenForImport(ctx, a.options())
	if errors.Is(err, durable.ErrLocked) {
		return a.through(ctx, err, func(c *node.Client) error { return do(c) })
	}
	return a.with(n, err, func(n *node.Node) error { return do(n) })
}

// through calls do with the node that runs on the data directory; without is the error when none does.
func (a *app) through(ctx context.Context, without error, do func(*node.Client) error) error {
	err := a.running(ctx, do)
	if errors.As(err, new(*node.NotRunningError)) {
		return without
	}
	return err
}

// running calls do with the node that runs on the data directory.
func (a *app) running(ctx context.Context, do func(*node.Client) error) error {
	c, err := node.Dial(ctx, a.cfg.Data())
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

func (a *app) with(n *node.Node, err error, do func(*node.Node) error) error {
	if err != nil {
		return err
	}
	if r := n.Recovery; r.Unclean && !a.quiet {
		a.log.Warn("the last run did not end in order; the newest entries of every log and their indexes were checked and are sound",
			"logs", r.Logs, "entries", r.Entries, "checked", r.Checked)
	}
	for _, what := range n.Recovery.Lacks {
		a.log.Warn("what can be read is read", "but", what)
	}
	if n.Recovery.ReadOnly {
		a.talk("%s cannot be written to: it is read as it is.", a.cfg.Data())
	}
	for _, what := range n.Recovery.Mended {
		a.log.Warn("mended after a crash", "what", what)
	}
	err = do(n)
	if closing := n.Close(); err == nil {
		err = closing
	}
	return err
}

// isTerminal reports whether a stream is a person's terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
