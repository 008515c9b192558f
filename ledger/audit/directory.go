package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/ledger/store/raw"
)

// Directory audits a data directory, which must not be open elsewhere. It changes nothing in it. An error says that the
// audit could not be made; whatever is wrong with the ledger is a finding.
func Directory(ctx context.Context, path string, o Options) (*Report, error) {
	start := time.Now()
	report := &Report{Source: "data directory"}
	if !durable.CanWrite(path) {
		report.Source += ", read-only"
	}
	defer func() { report.finish(start) }()
	g, err := store.ReadGenesisFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		report.where(filepath.Join(path, store.GenesisFile), ReasonFile, "%v", err)
	}
	db, closeDB, err := store.OpenDatabase(path, store.PebbleOptions{ReadOnly: true})
	if errors.Is(err, durable.ErrLocked) || errors.Is(err, os.ErrNotExist) && g == nil {
		return nil, err
	}
	if err != nil && (errors.As(err, new(*store.DamageError)) || errors.Is(err, store.ErrNoDatabase)) {
		report.where(filepath.Join(path, store.LedgerDir), ReasonUnreadable, "the database does not open: %v", err)
		return report, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeDB() }() // nothing was written
	for _, err := range db.Damage() {
		report.damaged(err)
	}
	if report.Leftovers, err = db.Leftovers(); err != nil {
		report.where(store.LedgerDir, ReasonUnreadable, "%v", err)
	}
	var damaged []Finding
	var reading sync.WaitGroup
	tablesCtx, stop := context.WithCancel(ctx)
	reading.Go(func() { damaged = tables(tablesCtx, db) })
	chain, err := datastore(ctx, db, g, o, report)
	if err != nil {
		stop()
	}
	reading.Wait()
	stop()
	if err != nil {
		return nil, err
	}
	for _, f := range damaged {
		report.add(f)
	}
	watermark(path, chain, report)
	return report, nil
}

// Datastore audits the ledger in a datastore. The genesis document may be nil; the datastore holds one.
func Datastore(ctx context.Context, d store.Datastore, g *ledger.Genesis, o Options) (*Report, error) {
	start := time.Now()
	report := &Report{Source: "datastore"}
	if _, err := datastore(ctx, d, g, o, report); err != nil {
		return nil, err
	}
	report.finish(start)
	return report, nil
}

// damaged reports what was passed over when the database was opened for reading.
func (r *Report) damaged(err error) {
	var log *store.LogDamageError
	var file *durable.DamageError
	switch {
	case errors.As(err, &log):
		r.where(filepath.Join(store.LedgerDir, filepath.Base(log.Path)), ReasonUnreadable, "%v", err)
	case errors.As(err, &file):
		r.where(filepath.Join(store.LedgerDir, filepath.Base(file.Path)), ReasonFile, "%v", err)
	default:
		r.where(store.LedgerDir, ReasonUnreadable, "%v", err)
	}
}

// tables checks every block of every table file against its checksum, also blocks that no key leads to.
func tables(ctx context.Context, db *store.Pebble) (damaged []Finding) {
	for file, err := range db.CheckTables(ctx) {
		damaged = append(damaged, Finding{Where: filepath.Join(store.LedgerDir, file), Reason: ReasonUnreadable, Detail: err.Error()})
	}
	return damaged
}

func datastore(ctx context.Context, d store.Datastore, file *ledger.Genesis, o Options, report *Report) (*chain, error) {
	g, err := store.ReadGenesis(ctx, d)
	switch {
	case err != nil && file == nil:
		report.where("/genesis", ReasonUnreadable, "%v", err)
		return nil, nil
	case err != nil:
		report.where("/genesis", ReasonUnreadable, "%v", err)
		g = file
	case file != nil && file.Network() != g.Network():
		report.where(store.GenesisFile, ledger.ReasonNetwork, "the file is of network %s, the ledger of %s", file.Network().Beside(g.Network()), g.Network().Beside(file.Network()))
	}
	report.Network, report.Name = g.Network(), g.Name

	heads, total := readHeads(ctx, d, report)
	a := &directory{d: d, heads: heads, report: report, seed: maphash.MakeSeed(), o: o, g: g}

	// The indexes are read while the entries are checked.
	var actual struct {
		sum, rows uint64
		repeated  []store.Ref
		err       error
	}
	var reading sync.WaitGroup
	indexCtx, stop := context.WithCancel(ctx)
	defer reading.Wait()
	defer stop()
	reading.Go(func() { actual.sum, actual.rows, actual.repeated, actual.err = a.readIndexes(indexCtx) })

	chain := newChain(g, report, !o.SkipSignatures)
	a.readEvidence(ctx, chain)
	for _, h := range heads {
		chain.expected[h.Log.Origin] = h.Log.Size()
	}
	a.readBranches(ctx, chain)
	progress := progressOf(o, total)
	var wanted, wantedRows uint64
	positions := map[string]uint64{}
	whole := true
	err = checkAll(ctx, a.entries(ctx), o, g, &a.seed, func(it *item) {
		chain.accept(it)
		if it.hasRows {
			wanted += it.rows
			wantedRows += 3
			kind := it.entry.Header.Kind
			positions[kind] = max(positions[kind], it.position+1)
		} else {
			whole = false
		}
		progress(report.Entries)
	})
	if err != nil {
		return nil, err
	}
	report.Frontier = chain.finish()
	a.checkBranches(ctx, chain)
	a.checkHeads(chain)
	a.checkCounts(ctx, positions, whole)
	reading.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	report.IndexRows = actual.rows
	for _, ref := range actual.repeated {
		report.at(ref.Origin, ref.Seq, ledger.ReasonRepeated, "an earlier entry of this log has the same kind and content")
	}
	if actual.err != nil || actual.sum != wanted || actual.rows != wantedRows {
		if actual.err != nil {
			report.where("indexes", ReasonUnreadable, "%v", actual.err)
		}
		before := report.FindingsAll
		if err := a.compareIndexes(ctx); err != nil {
			return nil, err
		}
		if report.FindingsAll == before && whole { // must not be; but a difference is never passed over
			report.where("indexes", ReasonIndex, "%d rows, which are not the %d that the entries make", actual.rows, wantedRows)
		}
	}
	if f, ok, err := raw.ReadFloor(ctx, d); err != nil {
		report.where("keys", ReasonUnreadable, "%v", err)
	} else if ok && f.Err != nil {
		report.where(f.Key, ReasonUnreadable, "%v", f.Err)
	}
	for key, err := range raw.ScanUnknown(ctx, d) {
		if err != nil {
			report.where("keys", ReasonUnreadable, "%v", err)
			break
		}
		report.where(fmt.Sprintf("%q", key), ReasonSurplus, "no version of pyvnode writes such a key")
	}
	return chain, ctx.Err()
}

// directory is an audit of a datastore under way.
type directory struct {
	d      store.Datastore
	g      *ledger.Genesis
	heads  map[uint32]raw.HeadRow
	report *Report
	seed   maphash.Seed
	o      Options
}

func readHeads(ctx context.Context, d store.Datastore, report *Report) (heads map[uint32]raw.HeadRow, total uint64) {
	heads = map[uint32]raw.HeadRow{}
	for h, err := range raw.ScanHeads(ctx, d) {
		if err != nil {
			report.where("/log", ReasonUnreadable, "%v", err)
			break
		}
		if h.Err != nil {
			report.where(h.Key, ReasonHead, "%v", h.Err)
			continue
		}
		if other, ok := heads[h.Number]; ok {
			report.where(h.Key, ReasonHead, "has the same number %d as %s", h.Number, other.Key)
			continue
		}
		heads[h.Number] = h
		total += h.Log.Size()
	}
	return heads, total
}

// entries yields all entries of the datastore, and in the place of each that the storage cannot read, its error.
func (a *directory) entries(ctx context.Context) iter.Seq2[unchecked, error] {
	return func(yield func(unchecked, error) bool) {
		var log uint32
		var seq uint64
		for {
			var failed error
			for e, err := range raw.ScanEntries(ctx, a.d, log, seq) {
				if err != nil {
					failed = err
					break
				}
				if e.Bytes == nil && e.Err != nil && e.Log == 0 && e.Seq == 0 { // a key that names no entry
					if !yield(unchecked{err: e.Err, where: "/e"}, nil) {
						return
					}
					continue
				}
				if !yield(a.unchecked(e), nil) {
					return
				}
				log, seq = e.Log, e.Seq+1
			}
			if failed == nil {
				return
			}
			if err := ctx.Err(); err != nil {
				yield(unchecked{}, err)
				return
			}
			// Go on entry by entry until one can be read again, and scan on after it.
			for found, absent := false, 0; !found; {
				if head := a.heads[log]; seq >= head.Log.Size() || absent > maxAbsent {
					next, ok := a.nextLog(log)
					if !ok {
						yield(unchecked{err: fmt.Errorf("%w: %w", errStorage, failed), where: "/e"}, nil)
						return
					}
					log, seq, absent = next, 0, 0
					continue
				}
				e, err := raw.GetEntry(ctx, a.d, log, seq)
				if ctx.Err() != nil {
					yield(unchecked{}, ctx.Err())
					return
				}
				if errors.Is(err, ds.ErrNotFound) {
					seq++
					absent++
					continue
				}
				if found = err == nil; !found {
					e.Log, e.Seq, e.Err = log, seq, fmt.Errorf("%w: %w", errStorage, err)
				}
				if !yield(a.unchecked(e), nil) {
					return
				}
				seq++
			}
		}
	}
}

// maxAbsent is how many entries in a row may be absent after a damaged block before the rest of a
// log is given up. It is needed because a damaged head can name any size.
const maxAbsent = 1 << 16

// nextLog returns the number of the next log that has a head.
func (a *directory) nextLog(log uint32) (next uint32, ok bool) {
	for number := range a.heads {
		if number > log && (!ok || number < next) {
			next, ok = number, true
		}
	}
	return next, ok
}

func (a *directory) unchecked(e raw.Entry) unchecked {
	r := unchecked{bytes: e.Bytes, err: e.Err, where: raw.EntryKey(raw.Place{Log: e.Log, Seq: e.Seq}), placed: true, log: e.Log, seq: e.Seq, position: e.Position}
	if h, ok := a.heads[e.Log]; ok {
		r.origin = h.Log.Origin
	} else if entry, err := ledger.DecodeEntry(e.Bytes); err == nil { // its head is damaged; the entry knows
		r.origin = entry.Header.Origin
	}
	return r
}

// checkHeads compares the stored heads with what the entries make them.
func (a *directory) checkHeads(c *chain) {
	r := a.report
	for _, h := range a.heads {
		l := c.logs[h.Log.Origin]
		if l == nil {
			if h.Log.Size() > 0 {
				r.where(h.Key, ReasonMissing, "the log should have %d entries and has none", h.Log.Size())
			}
			continue
		}
		switch tree, ok := l.tree(); {
		case l.next < h.Log.Size():
			r.at(h.Log.Origin, l.next, ReasonMissing, "the log should have %d entries and ends here", h.Log.Size())
		case l.next > h.Log.Size():
			r.at(h.Log.Origin, h.Log.Size(), ReasonSurplus, "the log should end here and goes on to %d", l.next-1)
		case l.newest.Hash != h.Log.Head:
			r.where(h.Key, ReasonHead, "says the newest entry has hash %s, it has %s", h.Log.Head.Beside(l.newest.Hash), l.newest.Hash.Beside(h.Log.Head))
		case l.newest.Height != h.Log.Height:
			r.where(h.Key, ReasonHead, "says the newest entry has height %d, it has %d", h.Log.Height, l.newest.Height)
		case ok && tree.Root() != h.Log.Tree.Root():
			r.where(h.Key, ReasonHead, "says the root is %s, the entries have %s", h.Log.Tree.Root().Beside(tree.Root()), tree.Root().Beside(h.Log.Tree.Root()))
		}
	}
	for _, l := range c.order {
		if _, ok := c.expected[l.Origin]; !ok {
			r.where(raw.LogKey(l.Origin), ReasonMissing, "there are entries of this log and no head")
		}
	}
}

// checkCounts compares the stored counts of kinds with the positions of the entries.
func (a *directory) checkCounts(ctx context.Context, positions map[string]uint64, whole bool) {
	seen := map[string]bool{}
	for kind, count := range raw.ScanKinds(ctx, a.d) {
		n, err := count()
		switch {
		case err != nil:
			a.report.where(raw.KindKey(kind), ReasonUnreadable, "%v", err)
		case n != positions[kind] && (whole || n < positions[kind]): // entries that cannot be read may have been the last
			a.report.where(raw.KindKey(kind), ReasonIndex, "counts %d records, there are %d", n, positions[kind])
		}
		seen[kind] = true
	}
	for kind, n := range positions {
		if !seen[kind] {
			a.report.where(raw.KindKey(kind), ReasonMissing, "no count, there are %d records", n)
		}
	}
}

// readIndexes sums up the fingerprints of all index rows and finds records that stand in one log twice. Fingerprints
// are keyed by a secret of this run, so that nobody can prepare rows whose sum comes out right.
func (a *directory) readIndexes(ctx context.Context) (sum, rows uint64, repeated []store.Ref, err error) {
	var scratch []byte
	for _, index := range []raw.Index{raw.ContentIndex, raw.HeaderIndex, raw.PositionIndex} {
		var lastKey []byte
		logs := map[uint32]bool{}
		for row, err := range raw.ScanRows(ctx, a.d, index) {
			if err != nil && row.Key == nil {
				return sum, rows, repeated, err
			}
			rows++
			if err != nil {
				continue // its fingerprint is missing, so the sums differ and the rows are compared one by one
			}
			scratch = row.Append(scratch[:0])
			sum += maphash.Bytes(a.seed, scratch)
			if index != raw.ContentIndex {
				continue
			}
			prefix := row.Key[:bytes.LastIndexByte(row.Key[:len(row.Key)-13], '/')] // all but the place
			if !bytes.Equal(lastKey, prefix) {
				lastKey = append(lastKey[:0], prefix...)
				clear(logs)
			}
			if logs[row.Log] {
				repeated = append(repeated, store.Ref{Origin: a.heads[row.Log].Log.Origin, Seq: row.Seq})
			}
			logs[row.Log] = true
		}
	}
	return sum, rows, repeated, nil
}

// compareIndexes finds which rows are wrong, one by one, after the sums differed.
func (a *directory) compareIndexes(ctx context.Context) error {
	r := a.report
	checker := ledger.Checker{Genesis: a.g}
	describe := func(e raw.Entry) (*ledger.Entry, record.Facts, error) {
		if e.Err != nil {
			return nil, record.Facts{}, e.Err
		}
		entry, err := ledger.DecodeEntry(e.Bytes)
		if err != nil {
			return nil, record.Facts{}, err
		}
		facts, err := checker.Check(entry)
		return entry, facts, err
	}
	for one, err := range a.entries(ctx) {
		if err != nil {
			return err
		}
		entry, facts, err := describe(raw.Entry{Bytes: one.bytes, Err: one.err})
		if err != nil {
			continue // reported where entries are checked
		}
		for _, row := range raw.RowsOf(one.log, one.seq, entry.Header.Kind, one.position, facts) {
			if ok, err := raw.HasRow(ctx, a.d, string(row.Key), row.Value); err != nil {
				r.add(Finding{Origin: &one.origin, Seq: one.seq, Where: string(row.Key), Reason: ReasonUnreadable, Detail: err.Error()})
			} else if !ok {
				r.add(Finding{Origin: &one.origin, Seq: one.seq, Where: string(row.Key), Reason: ReasonIndex, Detail: "the index does not lead to this entry"})
			}
		}
	}
	for _, index := range []raw.Index{raw.ContentIndex, raw.HeaderIndex, raw.PositionIndex} {
		for row, err := range raw.ScanRows(ctx, a.d, index) {
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.where(string(row.Key), ReasonUnreadable, "%v", err)
				continue
			}
			e, err := raw.GetEntry(ctx, a.d, row.Log, row.Seq)
			if errors.Is(err, ds.ErrNotFound) {
				r.where(string(row.Key), ReasonSurplus, "leads to entry %d of log %d, which is not there", row.Seq, row.Log)
				continue
			}
			if err != nil {
				continue // reported where entries are read
			}
			entry, facts, err := describe(e)
			if err != nil {
				continue
			}
			wanted := false
			for _, w := range raw.RowsOf(e.Log, e.Seq, entry.Header.Kind, e.Position, facts) {
				wanted = wanted || bytes.Equal(w.Key, row.Key) && bytes.Equal(w.Value, row.Value)
			}
			if !wanted {
				origin := entry.Header.Origin
				r.add(Finding{Origin: &origin, Seq: e.Seq, Where: string(row.Key), Reason: ReasonSurplus, Detail: "the index leads to this entry, which does not belong there"})
			}
		}
	}
	return nil
}

// watermark checks that the ledger still holds what it held when its watermark was written.
func watermark(path string, c *chain, report *Report) {
	mark, err := store.ReadWatermark(path)
	if err != nil {
		report.where(store.WatermarkFile, ReasonFile, "%v", err)
		return
	}
	if mark == nil || c == nil {
		return
	}
	if mark.Network != report.Network {
		report.where(store.WatermarkFile, ledger.ReasonNetwork, "is of network %s", mark.Network.Short())
		return
	}
	for _, row := range mark.Frontier {
		l := c.logs[row.Origin]
		switch {
		case row.Size() == 0: // frozen from its first entry on
		case l == nil || row.Seq >= l.next:
			report.at(row.Origin, row.Seq, ReasonRollback, "it was held when "+store.WatermarkFile+" was written, and is not there")
		default:
			if is := l.refs.at(row.Seq); is != nil && !is.hash.IsZero() && is.hash != row.Hash {
				report.at(row.Origin, row.Seq, ReasonRollback, "it was %s when "+store.WatermarkFile+" was written, and is %s",
					row.Hash.Beside(is.hash), is.hash.Beside(row.Hash))
			}
		}
		if row.Frozen != nil {
			frozenMark(&row, c, report)
		}
	}
}
