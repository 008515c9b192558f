package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"pyvnode/node"
)

func newBenchCmd(a *app) *cobra.Command {
	var o node.BenchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine and what the ledger makes of it",
		Long: `Measures the machine's own limits (signatures, hashes, fsync) and, beside each and in the same run, minting, durable
puts, bulk ingest, audit, opening and lookups. It works on made-up records in a temporary directory under --dir, and
touches no ledger of yours. 1,000,000 entries take a few minutes and about 5 GB of disk.`,
		Example: "  pyvnode bench --entries 1000000",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := a.stdout
			text := a.cfg.Format() != "json"
			if text {
				if err := columns(out, benchColumns, "WHAT", "FIGURE", "UNIT"); err != nil {
					return err
				}
			}
			o.Stage = func(stage string) {
				if !a.quiet {
					a.log.Info(stage)
				}
			}
			o.Result = func(r node.BenchResult) {
				if !text {
					line, _ := json.Marshal(r) // a struct of numbers and texts
					fmt.Fprintf(out, "%s\n", line)
					return
				}
				printBenchResult(out, r)
			}
			o.Probe = probeInProcess
			return node.Bench(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Entries, "entries", 100_000, "size of the large ledger")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "where to work; the default is the system's directory for temporary files")
	cmd.AddCommand(&cobra.Command{
		Use:    "probe DIRECTORY",
		Hidden: true, // bench calls it in a process of its own, so that memory is measured fresh
		Args:   arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := node.BenchProbe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return json.NewEncoder(a.stdout).Encode(p)
		},
	})
	return cmd
}

func printBenchResult(out interface{ Write([]byte) (int, error) }, r node.BenchResult) {
	figure := fmt.Sprintf("%.0f", r.Value)
	if r.Value < 100 {
		figure = fmt.Sprintf("%.3f", r.Value)
	}
	var beside []string
	if r.Limit != "" {
		beside = append(beside, fmt.Sprintf("%.2f of: %s", r.Ratio, r.Limit))
	}
	if r.Target != 0 {
		sign, met := "≥", "met"
		if r.AtMost {
			sign = "≤"
		}
		if !r.Met() {
			met = "MISSED"
		}
		beside = append(beside, fmt.Sprintf("target %s %g, %s", sign, r.Target, met))
	}
	err := columns(out, benchColumns, r.Name, figure, r.Unit)
	for _, line := range append(beside, r.Comment) {
		if line != "" {
			err = errors.Join(err, indented(out, line))
		}
	}
	_ = err // the measuring goes on
}

var benchColumns = []int{50, 10, 0}

func probeInProcess(ctx context.Context, dir string) (p node.ProbeResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return p, err
	}
	out, err := exec.CommandContext(ctx, self, "bench", "probe", dir).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return p, err
	}
	return p, json.Unmarshal(out, &p)
}
