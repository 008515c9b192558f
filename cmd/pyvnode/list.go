package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/node"
)

// listed is an entry as list prints it.
type listed struct {
	Kind       string        `json:"kind"`
	Header     uuid.UUID     `json:"header"`
	RecordTime string        `json:"record_time,omitempty"` // in the record's header
	Origin     ledger.Origin `json:"origin"`
	Seq        uint64        `json:"seq"`
	Hash       ledger.Hash   `json:"hash"`
	Height     uint64        `json:"height"`
	Time       string        `json:"time,omitempty"` // of the entry
}

func newListCmd(a *app) *cobra.Command {
	var (
		kind, from, to, by, file string
		limit                    int
		reverse                  bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List records",
		Long: `Lists records one per line: by chain in canonical order, which respects cause and effect and is the same on every
node that holds the same; by time in the order of the times in the records' headers, as their makers' clocks said;
by arrival in the order in which they came to this node, each kind by itself.

Times are 2026-11-22 or 2026-11-22T18:00:00Z. --from is inclusive, --to exclusive; a date as --to includes that day,
in UTC.`,
		Example: `  pyvnode list --kind ballot --by time --from 2026-11-22 --to 2026-11-22
  pyvnode list --by arrival --reverse --limit 10
  pyvnode list --file backup.entries --kind vote`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l := node.Listing{Kind: kind, Order: node.Order(by), Reverse: reverse}
			if err := checkListing(&l, from, to, limit); err != nil {
				return err
			}
			return a.readingFile(cmd.Context(), file, func(n *node.Node) error {
				return a.buffered(func(w io.Writer) error {
					count := 0
					for e, err := range n.List(cmd.Context(), l) {
						if err != nil {
							return err
						}
						if err := a.printListed(w, count, e); err != nil {
							return err
						}
						if count++; limit > 0 && count == limit {
							break
						}
					}
					if count == 0 && !a.json() {
						return printLine(w, "none")
					}
					return nil
				})
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", "", "only records of this kind")
	flags.StringVar(&from, "from", "", "only records made at this time or later")
	flags.StringVar(&to, "to", "", "only records made before this time")
	flags.StringVar(&by, "by", string(node.ByChain), "order: chain, time or arrival")
	flags.IntVar(&limit, "limit", 0, "at most so many; 0 means all")
	addEntriesFlag(flags, &file)
	flags.BoolVar(&reverse, "reverse", false, "the latest first; with --by arrival only")
	return cmd
}

func checkListing(l *node.Listing, from, to string, limit int) error {
	if l.Kind != "" {
		if err := ledger.CheckKind(l.Kind); err != nil {
			return usageError("--kind: "+err.Error(), "")
		}
	}
	switch l.Order {
	case node.ByChain, node.ByTime, node.ByArrival:
	default:
		return usageError(fmt.Sprintf("--by %q is not an order: want chain, time or arrival", l.Order), "")
	}
	if l.Reverse && l.Order != node.ByArrival {
		return usageError("--reverse goes with --by arrival only", "")
	}
	if limit < 0 {
		return usageError(fmt.Sprintf("--limit is %d; want 0 or more", limit), "")
	}
	var err error
	if from != "" {
		if l.From, err = node.ParseMoment(from, false); err != nil {
			return usageError("--from: "+err.Error(), "")
		}
	}
	if to != "" {
		if l.To, err = node.ParseMoment(to, true); err != nil {
			return usageError("--to: "+err.Error(), "")
		}
	}
	if from != "" && to != "" && l.To.Before(l.From) {
		return usageError(fmt.Sprintf("--from %s is after --to %s", from, to), "")
	}
	return nil
}

func (a *app) printListed(w io.Writer, i int, e *ledger.Entry) error {
	h := &e.Header
	made := record.HeaderTime(h.RecordUUID)
	if a.json() {
		return printJSON(w, listed{
			Kind: h.Kind, Header: h.RecordUUID, RecordTime: jsonTime(made), Origin: h.Origin, Seq: h.Seq,
			Hash: e.Hash, Height: h.Height, Time: jsonTime(ledger.EntryTime(h)),
		})
	}
	widths := []int{19, 36, 8, 0}
	if i == 0 {
		if err := columns(w, widths, "MADE (UTC)", "HEADER", "ORIGIN", "KIND"); err != nil {
			return err
		}
	}
	return columns(w, widths, shortUTC(made), h.RecordUUID.String(), h.Origin.Short(), h.Kind)
}

func newFrontierCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "frontier",
		Short: "Say exactly what this node holds",
		Long: `Prints the newest entry of every log that is held, and one digest over all of them. Of a frozen log that is the
newest entry before the freeze; the evidence, and what undisputed entries cite of the rest, follow. Two nodes with the
same digest hold the same entries and evidence, to the byte.`,
		Example: `  pyvnode frontier`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.reading(cmd.Context(), func(n *node.Node) error {
				f := n.Frontier()
				network := n.Genesis().Network()
				if a.json() {
					return printJSON(a.stdout, struct {
						Network ledger.Hash     `json:"network"`
						Digest  ledger.Hash     `json:"digest"`
						Entries uint64          `json:"entries"`
						Logs    ledger.Frontier `json:"logs"`
					}{network, f.Digest(network), f.Entries(), append(ledger.Frontier{}, f...)})
				}
				return a.buffered(func(w io.Writer) error {
					if err := errors.Join(printFrontier(w, f), printFreezes(w, f)); err != nil {
						return err
					}
					return pairs(w,
						[2]string{"network", fmt.Sprintf("%s (%s)", n.Genesis().Name, network)},
						[2]string{"entries", fmt.Sprint(f.Entries())},
						[2]string{"digest", f.Digest(network).String()})
				})
			})
		},
	}
}

// printFrontier prints the rows of a frontier.
func printFrontier(w io.Writer, f ledger.Frontier) error {
	widths := []int{peerIDColumns, 12, 0}
	for i, row := range f {
		if i == 0 {
			if err := columns(w, widths, "ORIGIN", "SEQ", "HEIGHT"); err != nil {
				return err
			}
		}
		cells, hash := []string{row.Origin.String(), fmt.Sprint(row.Seq), fmt.Sprint(row.Height)}, row.Hash.String()
		if row.Size() == 0 { // frozen from its first entry on
			cells, hash = []string{row.Origin.String(), "none"}, ""
		}
		err := columns(w, widths, cells...)
		if err == nil && hash != "" {
			err = indented(w, hash)
		}
		if err != nil {
			return err
		}
	}
	if len(f) > 0 {
		_, err := io.WriteString(w, "\n")
		return err
	}
	return nil
}

// printFreezes prints what the digest covers of frozen logs beside their rows: from which entry on they are disputed, by
// which evidence, and a hash of what undisputed entries cite of the rest.
func printFreezes(w io.Writer, f ledger.Frontier) error {
	for _, row := range f {
		if row.Frozen == nil {
			continue
		}
		cited := "none"
		if !row.Frozen.Cited.IsZero() {
			cited = row.Frozen.Cited.String()
		}
		if err := pairs(w,
			[2]string{"frozen", row.Origin.String()},
			[2]string{"from entry", fmt.Sprint(row.Frozen.Seq)},
			[2]string{"evidence", row.Frozen.Evidence.String()},
			[2]string{"cited", cited}); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return nil
}
