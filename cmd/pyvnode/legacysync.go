package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/legacy/client"
	"pyvnode/legacy/replicate"
	"pyvnode/node"
)

// syncKinds are what is brought over when no kind is named: servers do not say which they have. Voters' names are not
// among them.
var syncKinds = []string{"vote", "ballot", "charity"}

// syncOptions are what legacy sync is asked for.
type syncOptions struct {
	source, target serverLogin
	kinds          []string
	from, to       string
	by             string
	dryRun         bool
	timeout        time.Duration
}

func newLegacySyncCmd(a *app) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync SOURCE TARGET",
		Short: "Bring the records that one server holds and another does not to the other",
		Long: `Walks over the records of the source and puts those that the target does not have there: "I have, you have". Either is
an original server or a node, as HOST:PORT. It may be interrupted and repeated; what the target has already counts as
held. Records are told apart by their headers.

It looks at every record, in one of two ways, and says which. By time it lists headers in windows that are made as short
as need be, and reads only what is missing. If that did not show as many records as the source says that it has, because
too many are of one moment or headers have no time, it goes over positions after that. By position it reads all records
of both sides, which costs original servers far less time and the line more.

Everything that is not brought over is printed, with the reason; with --dry-run, what would be. The exit code is 4 when
the target refuses a record, or has another one with its header, or when the source cannot give one.

Servers do not say which kinds they have: without --kind it is ` + strings.Join(syncKinds, ", ") + `. Others, such as voter, must be named; to a node
that keeps a kind private nothing of it is brought.

A record arrives with a count of Replicated one higher than at the source, and is brought however high it is.

Passwords and codes are never arguments: leave them out, and they are asked for.`,
		Example: `  pyvnode legacy sync --source-user admin --target-user anna old.example:6666 localhost:6666
  pyvnode legacy sync --source-user admin --source-password-file admin.txt \
      --target-user anna --target-password-file anna.txt --kind vote --from 2026-11-01 --dry-run old.example:6666 localhost:6666`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explainSync(a.legacySync(cmd.Context(), o, args[0], args[1]))
		},
	}
	flags := cmd.Flags()
	o.source.addFlags(flags, "source")
	o.target.addFlags(flags, "target")
	flags.StringSliceVar(&o.kinds, "kind", nil, "bring records of this kind; repeat for more (default "+strings.Join(syncKinds, ",")+")")
	flags.StringVar(&o.from, "from", "", "only records whose header's own time is from then on: a date, or a time such as 2026-11-22T08:00:00Z")
	flags.StringVar(&o.to, "to", "", "only records whose header's own time is before then; a date is included")
	flags.StringVar(&o.by, "by", string(replicate.SyncAuto), "how to find records: auto, time or position")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only print what is missing")
	flags.DurationVar(&o.timeout, "timeout", client.DefaultTimeout, "how long to wait for a server each time")
	return cmd
}

// plan checks the options and returns what they ask of every kind.
func (o *syncOptions) plan() (plan replicate.SyncOptions, err error) {
	plan = replicate.SyncOptions{By: replicate.SyncWay(o.by), DryRun: o.dryRun}
	piped := 0
	for _, l := range []serverLogin{o.source, o.target} {
		if l.user == "" {
			return plan, usageError("--"+l.flag("user")+" is missing: servers show and take records after login only", "see: pyvnode legacy sync --help")
		}
		for _, file := range []string{l.password, l.code} {
			if file == "-" {
				piped++
			}
		}
	}
	for _, kind := range o.kinds {
		if err := ledger.CheckKind(kind); err != nil {
			return plan, usageError(err.Error(), "")
		}
	}
	for _, moment := range []struct {
		flag, text string
		at         *time.Time
	}{{"from", o.from, &plan.From}, {"to", o.to, &plan.To}} {
		if moment.text == "" {
			continue
		}
		if *moment.at, err = node.ParseMoment(moment.text, moment.flag == "to"); err != nil {
			return plan, usageError(fmt.Sprintf("--%s: %v", moment.flag, err), "")
		}
	}
	switch {
	case piped > 1:
		return plan, usageError("standard input holds one thing only", "put passwords and codes into files")
	case !slices.Contains([]replicate.SyncWay{replicate.SyncAuto, replicate.SyncByTime, replicate.SyncByPosition}, plan.By):
		return plan, usageError(fmt.Sprintf("--by is %q; auto, time and position are allowed", o.by), "")
	case !plan.To.IsZero() && !plan.From.Before(plan.To):
		return plan, usageError("--from is not before --to", "")
	case o.timeout < time.Second:
		return plan, usageError("--timeout is less than a second", "")
	}
	return plan, nil
}

func (a *app) legacySync(ctx context.Context, o syncOptions, source, target string) error {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	stdin := bufio.NewReader(a.stdin)
	from, err := a.syncSide(ctx, stdin, source, o.source, o.timeout, false)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := a.syncSide(ctx, stdin, target, o.target, o.timeout, !o.dryRun)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	kinds := o.kinds
	if len(kinds) == 0 {
		kinds = syncKinds
	}
	return a.buffered(func(w io.Writer) error {
		var problems []error
		found := false
		for _, kind := range kinds {
			plan.Kind = kind
			err := a.syncKind(ctx, w, from, to, plan)
			found = found || !errors.Is(err, replicate.ErrNoKind)
			switch {
			case errors.Is(err, replicate.ErrNoKind) && len(o.kinds) == 0:
			case errors.Is(err, replicate.ErrNoKind), errors.Is(err, replicate.ErrPrivate), errors.As(err, new(*failure)):
				problems = append(problems, err) // the other kinds can be brought all the same
			case err != nil:
				return err
			}
		}
		if !found && len(problems) == 0 {
			a.talk("The source has no records of the kinds %s; name others with --kind.", strings.Join(kinds, ", "))
		}
		return errors.Join(problems...)
	})
}

// syncSide connects and logs in.
func (a *app) syncSide(ctx context.Context, stdin *bufio.Reader, addr string, l serverLogin, timeout time.Duration, askCode bool) (*client.Conn, error) {
	conn, err := client.Dial(ctx, addr, client.Options{Timeout: timeout})
	if err != nil {
		return nil, err
	}
	if err = conn.StartSession(ctx); err == nil {
		err = a.logIn(ctx, conn, stdin, l, askCode)
	}
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, err
	}
	return conn, nil
}

// syncKind brings records of one kind. Where some could not be brought the error is a [*failure].
func (a *app) syncKind(ctx context.Context, w io.Writer, source, target replicate.Caller, plan replicate.SyncOptions) error {
	p := a.progress("comparing "+plan.Kind, "records", 0)
	defer p.stop()
	plan.Progress = func(done, total uint64) {
		p.expect(total)
		p.set(done)
	}
	plan.Report = func(r replicate.SyncRecord) error { return a.printSyncRecord(w, r) }
	sum, err := replicate.Sync(ctx, source, target, plan)
	p.stop()
	if errors.Is(err, replicate.ErrNoKind) {
		return err
	}
	if err := a.printSyncSummary(w, sum, plan.DryRun); err != nil {
		return err
	}
	if bad := sum.Conflicts + sum.Refused + sum.Unreadable; err == nil && bad > 0 {
		return &failure{Code: exitBad, Reason: "not-all-brought", Message: fmt.Sprintf("%s of kind %s could not be brought", plural(bad, "record", "records"), plan.Kind),
			Hint: "the list above says why; the others are there"}
	}
	return err
}

func (a *app) printSyncRecord(w io.Writer, r replicate.SyncRecord) error {
	if a.json() {
		return printJSON(w, r)
	}
	name := r.Header
	if r.At != nil {
		name = fmt.Sprintf("at position %d", *r.At)
	}
	text := fmt.Sprintf("%s %s %s", r.Status, r.Kind, name)
	if r.Because != "" {
		text += ": " + r.Because
	}
	_, err := fmt.Fprintln(w, printable(strings.ReplaceAll(text, "\n", "; ")))
	return err
}

func (a *app) printSyncSummary(w io.Writer, sum replicate.SyncSummary, dryRun bool) error {
	if a.json() {
		return printJSON(w, map[string]replicate.SyncSummary{"summary": sum})
	}
	text := fmt.Sprintf("%s: looked at %d of %d by %s", sum.Kind, sum.Seen, sum.Source, sum.By)
	if sum.Why != "" {
		text += " (" + sum.Why + ")"
	}
	text += fmt.Sprintf(": %d held, %d stored", sum.Held, sum.Stored)
	if dryRun {
		text = fmt.Sprintf("%s, %d missing", strings.TrimSuffix(text, fmt.Sprintf(", %d stored", sum.Stored)), sum.Missing)
	}
	for _, part := range []struct {
		n    uint64
		what string
	}{{sum.Conflicts, "conflicts"}, {sum.Refused, "refused"}, {sum.Unreadable, "unreadable"}, {sum.Gone, "positions without a record"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	if !sum.Complete {
		text += "; not complete"
	}
	_, err := fmt.Fprintln(w, printable(text))
	return err
}

// explainSync says what can be wrong between two servers.
func explainSync(err error) error {
	set := func(code int, reason, hint string) error {
		return &failure{Code: code, Reason: reason, Message: err.Error(), Hint: hint}
	}
	switch {
	case errors.Is(err, replicate.ErrNoKind):
		return set(exitNotFound, "not-found", "check the kind's name; a server knows a kind once there is a record of it")
	case errors.Is(err, replicate.ErrNotProven):
		return set(exitDenied, "code-needed", "give the code of the second factor: --target-code-file FILE; or log in as a node's account for replicators")
	case errors.Is(err, replicate.ErrPrivate):
		return set(exitDenied, "private-kind", "one record of it was offered and refused, and no more; leave out this kind")
	case errors.Is(err, replicate.ErrTooMany):
		return set(exitFailure, "too-many-records", "bring them in parts: --from and --to")
	}
	return explainServer(err)
}
