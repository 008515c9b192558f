package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
)

// EntryFile audits an entry file. Damage to the file ends the reading and is a finding; what stands before it is audited
// all the same. An error is of the reader or the context.
func EntryFile(ctx context.Context, r io.Reader, o Options) (*Report, error) {
	start := time.Now()
	report := &Report{Source: "entries"}
	file, err := ledger.NewEntryFileReader(r)
	if errors.Is(err, ledger.ErrEntryFile) {
		report.where("byte 0", ReasonFile, "%v", err)
		report.finish(start)
		return report, nil
	}
	if err != nil {
		return nil, err
	}
	g := file.Genesis()
	report.Network, report.Name = g.Network(), g.Name
	chain := newChain(g, report, !o.SkipSignatures)
	chain.file = true
	first, err := chain.readEvidence(file, g)
	if err == nil {
		progress := progressOf(o, 0)
		err = checkAll(ctx, entriesOf(file, first), o, g, nil, func(it *item) {
			chain.accept(it)
			progress(report.Entries)
		})
	}
	if errors.Is(err, ledger.ErrEntryFile) {
		report.where(fmt.Sprintf("byte %d", file.Offset()), ReasonFile, "%v", err)
		err = nil
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	report.Frontier = chain.finish()
	chain.checkDisputed()
	report.finish(start)
	return report, nil
}

// readEvidence reads the evidence that a file begins with and finds out which logs are frozen. It
// returns the first entry after the evidence, or the error of the file, which is [io.EOF] if there
// is no entry.
func (c *chain) readEvidence(file *ledger.EntryFileReader, g *ledger.Genesis) (unchecked, error) {
	for {
		where := fmt.Sprintf("byte %d", file.Offset())
		kind, item, err := file.Next()
		if err != nil || kind == ledger.EntryItem {
			return unchecked{bytes: item, where: where}, err
		}
		ev, err := proof.ParseEvidence(item)
		if err != nil {
			c.report.where(where, ReasonEvidence, "%v", err)
			continue
		}
		if err := c.inOrder.Evidence(ev.Origin()); err != nil {
			c.report.where(where, ReasonFile, "%v", err)
		}
		c.freeze(where, ev, g)
	}
}

// entriesOf yields an entry that was read, and those after it.
func entriesOf(file *ledger.EntryFileReader, first unchecked) iter.Seq2[unchecked, error] {
	return func(yield func(unchecked, error) bool) {
		for ok := yield(first, nil); ok; {
			at := file.Offset()
			_, b, err := file.Next() // no evidence stands after an entry
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(unchecked{}, err)
				return
			}
			ok = yield(unchecked{bytes: b, where: fmt.Sprintf("byte %d", at)}, nil)
		}
	}
}

// JSONLines audits the records of a readable export: normal form, hash, proof, link and content ID. Such an export
// carries neither signatures nor a genesis document, so what it proves is that each record is sound, not who published
// it nor that its proof of work is as strong as its network asks.
func JSONLines(ctx context.Context, r io.Reader, o Options) (*Report, error) {
	start := time.Now()
	report := &Report{Source: "records"}
	in := bufio.NewReaderSize(r, ledger.MaxJSONLine)
	progress := progressOf(o, 0)
	var checker record.Checker
	for line := 1; ; line++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text, err := in.ReadSlice('\n')
		where := fmt.Sprintf("line %d", line)
		if errors.Is(err, bufio.ErrBufferFull) {
			report.Entries++
			report.where(where, ReasonFile, "longer than %d bytes", ledger.MaxJSONLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			if err == nil {
				continue
			}
			if err == io.EOF {
				break
			}
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if len(bytes.TrimSpace(record.TrimMark(text))) > 0 { // imports pass over empty lines too
			if err == io.EOF {
				report.where(where, ReasonFile, "cut short: the last line has no end")
			}
			report.Entries++
			auditLine(report, &checker, where, text)
			progress(report.Entries)
		}
		if err == io.EOF {
			break
		}
	}
	report.finish(start)
	return report, nil
}

func auditLine(report *Report, checker *record.Checker, where string, text []byte) {
	line, err := ledger.ParseJSONLine(text)
	if err != nil {
		report.where(where, ledger.ReasonEncoding, "%v", err)
		return
	}
	normal, err := line.Record.Normal()
	if err != nil {
		report.where(where, ledger.ReasonEncoding, "%v", err)
		return
	}
	facts, err := checker.Check(normal, 0)
	var bad *record.Error
	switch {
	case errors.As(err, &bad):
		report.where(where, ledger.Reason(bad.Reason), "%s", bad.Detail)
	case err != nil:
		report.where(where, ledger.ReasonEncoding, "%v", err)
	case line.ContentID != nil && *line.ContentID != facts.ContentID:
		report.where(where, ledger.ReasonRecordHash, "the line says content %v, the record has %v", *line.ContentID, facts.ContentID)
	default:
		report.Records++
	}
}
