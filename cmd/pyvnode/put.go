package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/node"
)

// putResult is what became of one record, as put prints it.
type putResult struct {
	Status    node.Status       `json:"status"`
	File      string            `json:"file,omitempty"`
	Line      int               `json:"line,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Header    *uuid.UUID        `json:"header,omitempty"`
	ContentID *record.ContentID `json:"content_id,omitempty"`
	Origin    *ledger.Origin    `json:"origin,omitempty"`
	Seq       *uint64           `json:"seq,omitempty"`
	Hash      *ledger.Hash      `json:"hash,omitempty"`
	Height    uint64            `json:"height,omitempty"`
	Position  *uint64           `json:"position,omitempty"` // among the records of its kind here
	Held      string            `json:"held,omitempty"`     // place of the record that is in the way
	Error     *failure          `json:"error,omitempty"`
	why       string            // for people
}

func newPutCmd(a *app) *cobra.Command {
	var (
		kind, payload string
		files         []string
		stdin         bool
		failFast      bool
	)
	cmd := &cobra.Command{
		Use:   "put --kind KIND {KEY=VALUE … | --payload JSON} | put [--kind KIND] {--file FILE … | --stdin}",
		Short: "Store records in this node's log",
		Long: `Stores records in this node's own log. With key=value arguments or --payload it makes one record and stores it; see
"pyvnode mint" for the values. With --file or --stdin it stores records that exist, one per line: lines of "pyvnode
mint" or "pyvnode export", record objects, or packed text; the last two need --kind.

A record is reported as stored once it would survive a power cut. The same record again is a duplicate and changes
nothing. A line that cannot be stored does not stop the others unless --fail-fast is given.

In a network in which others write too, a node must run on the data directory ("pyvnode run"): it asks others how far
this node's log goes before it signs. --alone stores without it, and forks the log unless this directory is the only and
newest copy.`,
		Example: `  pyvnode put --kind ballot choice=yes
  pyvnode put --file gifts.ndjson
  pyvnode mint --kind ballot choice=no | pyvnode put --stdin`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind != "" {
				if err := ledger.CheckKind(kind); err != nil {
					return usageError("--kind: "+err.Error(), "")
				}
			}
			if len(files) == 0 && !stdin {
				return a.putOne(cmd, kind, args, payload)
			}
			if len(args) > 0 || cmd.Flags().Changed("payload") || len(files) > 0 && stdin {
				return usageError("give one of: key=value arguments, --payload, --file, --stdin", helpHint(cmd))
			}
			return a.writing(cmd.Context(), func(w *node.Writer) error {
				return a.putFiles(cmd.Context(), w, kind, files, failFast)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", "", "kind of the records")
	flags.StringVar(&payload, "payload", "", "make one record of this JSON object and store it")
	flags.StringArrayVar(&files, "file", nil, "store the records in this file; repeat for more")
	flags.BoolVar(&stdin, "stdin", false, "store the records on standard input")
	addSettings(flags, ofWriting)
	flags.BoolVar(&failFast, "fail-fast", false, "stop at the first record that cannot be stored")
	return cmd
}

func (a *app) putOne(cmd *cobra.Command, kind string, args []string, payload string) error {
	dict, err := readPayload(cmd, args, payload)
	if err != nil {
		return err
	}
	if kind == "" {
		return usageError("no kind given", "name the kind of the record with --kind")
	}
	ctx := cmd.Context()
	return a.writing(ctx, func(w *node.Writer) error {
		if err := w.CheckWritable(kind); err != nil {
			return err
		}
		r, err := a.mint(ctx, dict, w.Genesis().StrengthOf(kind))
		if err != nil {
			return err
		}
		normal, err := r.Normal()
		if err != nil {
			return err
		}
		out, err := w.WriteOne(ctx, node.Input{Kind: kind, Text: normal})
		if err != nil {
			return err
		}
		return a.printPut(a.stdout, "", out)
	})
}

// putFiles stores the records of files, or of standard input when there are none.
func (a *app) putFiles(ctx context.Context, w *node.Writer, kind string, files []string, failFast bool) error {
	if kind != "" {
		if err := w.CheckWritable(kind); err != nil {
			return err
		}
	}
	var all node.Summary
	var empty []string
	put := func(name string, in io.Reader) error {
		p := a.progress("storing", "records", 0)
		defer p.stop()
		var done uint64
		sum, err := w.Write(ctx, node.Lines(in, kind), failFast, func(out node.Outcome) error {
			done++
			p.set(done)
			return a.printPut(a.stdout, name, out)
		})
		all.Add(sum)
		if err == nil && sum.Total() == 0 {
			empty = append(empty, cmp.Or(name, standardInput))
		}
		return ofSource(cmp.Or(name, standardInput), err)
	}
	var err error
	if len(files) == 0 {
		err = put("", a.stdin)
	}
	for _, name := range files {
		if err == nil && (!failFast || all.Bad() == 0) {
			err = withFile(name, func(f *os.File) error { return put(name, f) })
		}
	}
	a.talk("%s", summaryText(all))
	if err != nil {
		return err
	}
	if err := summaryError(all); err != nil || len(empty) == 0 {
		return err
	}
	return emptyError(exitBad, strings.Join(empty, ", "), "nothing was stored from it: there is not one record in it")
}

// ofSource names the file that is not what it should be, and nothing else.
func ofSource(name string, err error) error {
	var bad *node.InputError
	if errors.As(err, &bad) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

func withFile(name string, do func(*os.File) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return do(f)
}

func summaryText(s node.Summary) string {
	text := fmt.Sprintf("%d stored, %s", s.Stored, plural(s.Duplicates, "duplicate", "duplicates"))
	for _, part := range []struct {
		n         int
		one, many string
	}{{s.Conflicts, "header conflict", "header conflicts"}, {s.Refused, "refused", "refused"}, {s.Failed, "failed", "failed"}} {
		if part.n > 0 {
			text += ", " + plural(part.n, part.one, part.many)
		}
	}
	return text
}

// summaryError is the error of a run in which some records were not stored; nil when all were, or were held already.
func summaryError(s node.Summary) error {
	bad := s.Bad()
	switch {
	case s.Refused > 0:
		return &failure{Code: exitBad, Reason: "records-refused", Message: fmt.Sprintf("not stored: %d of %s, of those %d for their content", bad, plural(s.Total(), "record", "records"), s.Refused),
			Hint: "the output says for each line why; the others are stored"}
	case bad > 0:
		return &failure{Code: exitFailure, Reason: "records-not-stored", Message: fmt.Sprintf("not stored: %d of %s", bad, plural(s.Total(), "record", "records")),
			Hint: "the output says for each line why; the others are stored"}
	}
	return nil
}

// printPut prints one outcome at once, so that a program that feeds records can follow.
func (a *app) printPut(w io.Writer, file string, out node.Outcome) error {
	if a.json() {
		return printJSON(w, putResultOf(file, out))
	}
	where := ""
	if out.Line > 0 {
		where = fmt.Sprintf("line %d", out.Line)
		if file != "" {
			where = file + " " + where
		}
	}
	switch out.Status {
	case node.Stored:
		return printLine(w, "stored %v %v", out.Header, out.Ack.Ref)
	case node.Duplicate:
		return printLine(w, "duplicate %v of %v", out.Header, out.Held)
	case node.Conflict:
		return printLine(w, "conflict %s: %v is held with other content as %v", where, out.Header, out.Held)
	}
	return printLine(w, "%s %s: %s", out.Status, where, why(out.Err))
}

// why returns reason and detail of an error about one record, without repeating either.
func why(err error) string {
	f := explain(err)
	var bad *record.Error
	if errors.As(err, &bad) {
		return f.Reason + ": " + bad.Detail
	}
	return f.Reason + ": " + f.Message
}

func putResultOf(file string, out node.Outcome) putResult {
	r := putResult{Status: out.Status, File: file, Line: out.Line, Kind: out.Kind}
	if out.Header != (uuid.UUID{}) {
		r.Header, r.ContentID = &out.Header, &out.ContentID
	}
	switch out.Status {
	case node.Stored:
		r.Origin, r.Seq, r.Hash = &out.Ack.Origin, &out.Ack.Seq, &out.Ack.Hash
		r.Height, r.Position = out.Ack.Height, &out.Ack.Position
	case node.Duplicate:
		r.Held = out.Held.String()
	case node.Conflict:
		r.Held = out.Held.String()
		r.Error, r.why = explain(out.Err), why(out.Err)
	default:
		r.Error, r.why = explain(out.Err), why(out.Err)
	}
	return r
}
