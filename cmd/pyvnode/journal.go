package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/node"
	"pyvnode/node/journal"
)

// noted does something in the party's name and notes it, in a data directory that holds a ledger.
func (a *app) noted(ctx context.Context, what, on, detail string, do func() error) error {
	if _, err := node.OwnGenesis(a.cfg.Data()); err != nil {
		return err
	}
	j, err := journal.Open(a.cfg.Data(), nil)
	if err != nil {
		return err
	}
	return j.Do(ctx, journal.Entry{Way: journal.Command, Who: systemUser(), What: what, On: on, Detail: detail}, do)
}

// systemUser returns the name of the user of the operating system.
func systemUser() string {
	u, err := user.Current()
	switch {
	case err != nil:
		return "operator"
	case u.Username == "":
		return "user " + u.Uid
	}
	return u.Username
}

func newJournalCmd(a *app) *cobra.Command {
	var since string
	var limit int
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Show what was done in this party's name",
		Long: `Shows what operators, and administrators who are clients of the original protocol, did on this node: who did what when,
to what, and how it ended; the oldest first. It is this node's own, and no other node sees it. Secrets are never in it.`,
		Example: `  pyvnode journal --limit 20
  pyvnode journal --since 2026-11-28`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := journal.Query{Limit: limit}
			if limit < 0 {
				return usageError(fmt.Sprintf("--limit is %d; want 0 or more", limit), "")
			}
			if since != "" {
				var err error
				if q.Since, err = node.ParseMoment(since, false); err != nil {
					return usageError(fmt.Sprintf("--since: %v", err), "")
				}
			}
			j, err := journal.Open(a.cfg.Data(), nil)
			if err != nil {
				return err
			}
			return a.buffered(func(w io.Writer) error {
				for e, err := range j.Read(cmd.Context(), q) {
					var line *journal.LineError
					switch {
					case errors.As(err, &line):
						a.log.Warn("a line of the journal was passed over", "why", line)
					case err != nil:
						return err
					default:
						if err := a.printNoted(w, e); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only what ended from then on: a date, or a time such as 2026-11-28T08:00:00Z")
	cmd.Flags().IntVar(&limit, "limit", 0, "only the newest so many; 0 means all")
	return cmd
}

func (a *app) printNoted(w io.Writer, e journal.Entry) error {
	if a.json() {
		return printJSON(w, e)
	}
	text := fmt.Sprintf("%s  %s (%s): %s", e.Time.UTC().Format(time.DateTime), e.Who, e.Way, e.What)
	if e.On != "" {
		text += fmt.Sprintf(" %q", e.On)
	}
	if e.Detail != "" {
		text += ", " + e.Detail
	}
	if e.Outcome != journal.Done {
		text += "; " + e.Outcome + ": " + e.Error
	}
	return printLine(w, "%s", text)
}
