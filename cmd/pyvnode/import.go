package main

import (
	"bufio"
	"context"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"pyvnode/node"
)

// maxRefusals is how many refused lines a summary lists; the others are counted.
const maxRefusals = 1000

// imported is the summary that import prints.
type imported struct {
	Format     node.InputFormat `json:"format"`
	New        int              `json:"new"`
	Duplicates int              `json:"duplicates"`
	Conflicts  int              `json:"conflicts"`
	Refused    int              `json:"refused"`
	Failed     int              `json:"failed"`
	Evidence   int              `json:"evidence,omitempty"` // new pieces
	Uncited    int              `json:"uncited,omitempty"`  // disputed entries that were left out
	Problems   []putResult      `json:"problems"`           // at most maxRefusals
}

func newImportCmd(a *app) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in entries or records from a file",
		Long: `Finds out what a file holds and takes it in; "-" is standard input.

An entry file (of "pyvnode export --raw") keeps its authors: its entries go into the logs of those who signed them,
after every check, and its evidence freezes the logs of those who lied, so that the ledger becomes the same as theirs.
Its network must be this node's.

Records, one per line as "pyvnode export" writes them, go into this node's own log, as with "pyvnode put". Lines that
do not say their kind need --kind. So do chain files of the original server (chain/KIND/initial.pydb), whose records
are stored in the same way.`,
		Example: `  pyvnode import backup.entries
  pyvnode import ledger.ndjson
  pyvnode import --kind vote dataroot/chain/vote/initial.pydb`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" {
				return a.importFrom(cmd.Context(), a.stdin, standardInput, 0, kind)
			}
			return withFile(args[0], func(f *os.File) error {
				var size uint64
				if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
					size = uint64(info.Size())
				}
				return a.importFrom(cmd.Context(), f, args[0], size, kind)
			})
		},
	}
	addSettings(cmd.Flags(), ofWriting)
	cmd.Flags().StringVar(&kind, "kind", "", "kind of records that do not say theirs")
	return cmd
}

// standardInput is what standard input is called to people.
const standardInput = "standard input"

// importFrom imports from a stream, of size bytes where that is known. Its name is for people.
func (a *app) importFrom(ctx context.Context, r io.Reader, name string, size uint64, kind string) error {
	in := bufio.NewReaderSize(r, 256<<10)
	format, err := node.DetectFormat(in)
	if err != nil {
		return ofSource(name, err)
	}
	switch format {
	case node.EntryFormat:
		if kind != "" {
			return usageError("--kind does not go with an entry file: its entries say their kinds", "")
		}
		return a.importing(ctx, func(i importer) error { return a.importEntries(ctx, i, name, in, size) })
	case node.ChainFormat:
		return a.importChain(ctx, r, name, kind)
	}
	return a.writing(ctx, func(w *node.Writer) error { return a.importRecords(ctx, w, name, format, kind, node.Lines(in, kind)) })
}

// importChain imports a chain file, which is read twice: the newest of several records with one key counts.
func (a *app) importChain(ctx context.Context, r io.Reader, name, kind string) error {
	f, ok := r.(io.ReadSeeker)
	if ok {
		_, err := f.Seek(0, io.SeekStart)
		ok = err == nil // a pipe has the method and cannot
	}
	if !ok {
		return usageError("a chain file of the original server cannot come from standard input: it is read twice", "give the name of the file")
	}
	if kind == "" {
		return usageError("a chain file of the original server does not say the kind of its records", "give it with --kind; it is the name of the folder that the file is in")
	}
	index, err := node.IndexChain(ctx, f)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if n := index.Older(); n > 0 {
		a.talk("left out, as the original does: %s with a newer one of the same header", plural(n, "record", "records"))
	}
	return a.writing(ctx, func(w *node.Writer) error {
		return a.importRecords(ctx, w, name, node.ChainFormat, kind, index.Inputs(f, kind))
	})
}

func (a *app) importEntries(ctx context.Context, to importer, name string, in io.Reader, size uint64) error {
	p := a.progress("importing", "bytes", size)
	verifying := false
	sum, err := to.ImportEntries(ctx, in, func(now node.ImportProgress) {
		if now.Verified > 0 && !verifying {
			verifying = true
			p.stop()
			p = a.progress("checking signatures", "entries", uint64(now.Entries))
		}
		if verifying {
			p.set(now.Verified)
		} else {
			p.set(uint64(now.Offset))
		}
	})
	p.stop()
	out := imported{Format: node.EntryFormat, New: sum.New, Duplicates: sum.Held, Evidence: sum.Evidence, Uncited: sum.Uncited, Problems: []putResult{}}
	if sum.Evidence > 0 {
		a.talk("evidence against %s is new, and freezes the log of each: see pyvnode evidence list", plural(sum.Evidence, "origin", "origins"))
	}
	if sum.Uncited > 0 {
		a.talk("left out: %s that no undisputed entry leads to", plural(sum.Uncited, "disputed entry", "disputed entries"))
	}
	if err != nil {
		if f := explain(err); f.Code == exitBad {
			out.Refused = 1
			out.Problems = append(out.Problems, putResult{Status: node.Refused, Error: f})
		}
	}
	if printing := a.printImported(out); err == nil {
		err = printing
	}
	if err == nil && sum.Read == 0 && sum.Proofs == 0 {
		err = emptyError(exitBad, name, "nothing was imported: there is not one entry in it")
	}
	return err
}

func (a *app) importRecords(ctx context.Context, w *node.Writer, name string, format node.InputFormat, kind string, inputs iter.Seq2[node.Input, error]) error {
	if kind != "" {
		if err := w.CheckWritable(kind); err != nil {
			return err
		}
	}
	p := a.progress("importing", "records", 0)
	out := imported{Format: format, Problems: []putResult{}}
	var done uint64
	sum, err := w.Write(ctx, inputs, false, func(o node.Outcome) error {
		done++
		p.set(done)
		if o.Status != node.Stored && o.Status != node.Duplicate && len(out.Problems) < maxRefusals {
			out.Problems = append(out.Problems, putResultOf("", o))
		}
		return nil
	})
	p.stop()
	out.New, out.Duplicates, out.Conflicts, out.Refused, out.Failed = sum.Stored, sum.Duplicates, sum.Conflicts, sum.Refused, sum.Failed
	if printing := a.printImported(out); printing != nil {
		return printing
	}
	if err != nil {
		return err
	}
	if sum.Total() == 0 {
		return emptyError(exitBad, name, "nothing was imported: there is not one record in it")
	}
	return summaryError(sum)
}

func (a *app) printImported(out imported) error {
	if a.json() {
		return printJSON(a.stdout, out)
	}
	unit := "line"
	if out.Format == node.ChainFormat {
		unit = "record"
	}
	return a.buffered(func(w io.Writer) error {
		for _, p := range out.Problems {
			if p.Line == 0 {
				continue // the error itself says it
			}
			if err := printLine(w, "%s %s %d: %s", p.Status, unit, p.Line, p.why); err != nil {
				return err
			}
		}
		if bad := out.Conflicts + out.Refused + out.Failed; bad > len(out.Problems) {
			if err := printLine(w, "and %d more", bad-len(out.Problems)); err != nil {
				return err
			}
		}
		return printLine(w, "%d new, %s, %s, %d refused, %d failed",
			out.New, plural(out.Duplicates, "duplicate", "duplicates"), plural(out.Conflicts, "conflict", "conflicts"), out.Refused, out.Failed)
	})
}
