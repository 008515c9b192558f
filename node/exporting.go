package node

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
)

// ExportEntries writes an entry file of all that the frontier covers: evidence, and entries in canonical order, of which
// it returns the number. Progress is called after each.
func (n *Node) ExportEntries(ctx context.Context, w io.Writer, progress func(done uint64)) (uint64, error) {
	f, err := ledger.NewEntryFileWriter(w, n.Genesis())
	if err != nil {
		return 0, err
	}
	for _, ev := range n.Evidence() {
		if err := f.WriteEvidence(ev.Bytes()); err != nil {
			return 0, fmt.Errorf("export: %w", err)
		}
	}
	var done uint64
	for e, err := range n.Chain(ctx) {
		if err == nil {
			err = f.Write(e)
		}
		if err != nil {
			return done, fmt.Errorf("export: %w", err)
		}
		done++
		if progress != nil {
			progress(done)
		}
	}
	return done, f.Close()
}

// ExportLines writes a line for every entry that [Node.ExportEntries] would write, in the same order, see [ledger.JSONLine], and
// returns their number. A kind
// that is not empty leaves out all others. Progress is called after each entry, written or not.
func (n *Node) ExportLines(ctx context.Context, w io.Writer, kind string, progress func(done uint64)) (uint64, error) {
	out := bufio.NewWriterSize(w, 256<<10)
	var line []byte
	var done, written uint64
	for e, err := range n.Chain(ctx) {
		if err != nil {
			return written, fmt.Errorf("export: %w", err)
		}
		if kind == "" || e.Header.Kind == kind {
			l, err := ledger.NewJSONLine(e)
			if err == nil {
				l.Disputed = n.Disputed(store.Ref{Origin: e.Header.Origin, Seq: e.Header.Seq})
				line, err = ledger.AppendJSONLine(line[:0], l)
			}
			if err == nil {
				_, err = out.Write(line)
			}
			if err != nil {
				return written, fmt.Errorf("export: %w", err)
			}
			written++
		}
		done++
		if progress != nil {
			progress(done)
		}
	}
	return written, out.Flush()
}
