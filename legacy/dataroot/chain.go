package dataroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
)

// A Chain is a chain file, open for reading.
type Chain struct {
	Source
	Size int64 // of the chain file in bytes

	indexPath, idsPath string
	effort             *legacy.Effort

	file  *os.File
	index []legacy.ChainIndexRow // as it stands there
	named []uint32               // offsets in the index, in order
	ids   []uint32
	older map[int64]bool // places of records that a newer one with their key replaces
}

// Counts says what a chain file holds. They do not overlap.
type Counts struct {
	Shown   uint64 `json:"records"` // that the original shows
	Deleted uint64 `json:"deleted"`
	Older   uint64 `json:"older"`   // replaced by a newer one with the same header
	Damaged uint64 `json:"damaged"` // places
}

// Status says what a frame of a chain file is.
type Status int

// What a frame is.
const (
	Shown   Status = iota // the newest record with its key
	Older                 // a record that a newer one replaces
	Deleted               // a record that was marked as deleted
	Broken                // no record, or not the one that was written; see the frame's Err
)

// Item is a frame of a chain file, and what it is.
type Item struct {
	legacy.ChainFrame
	Status Status
}

// Chain opens a chain file. When that cannot be read the chain is nil, and a finding says why. Damage to the indexes beside
// it is a finding, too: they can be made anew.
func (r *Root) Chain(s Source, found func(Finding)) *Chain {
	c := &Chain{Source: s, effort: r.effort, indexPath: strings.TrimSuffix(s.File, path.Ext(s.File)) + path.Ext(legacy.ChainIndexName)}
	if s.File == chainPath(s.Kind, legacy.ChainFileName) {
		c.idsPath = chainPath(s.Kind, legacy.ChainIDsName)
	}
	var err error
	if c.file, c.Size, err = r.open(s.File); err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // a kind that nobody has put anything of yet
			found(unreadable(s.File, err))
		}
		return nil
	}
	if c.Size > legacy.MaxChainFile {
		found(Finding{File: s.File, Kind: s.Kind, Reason: TooLarge, Detail: fmt.Sprintf("it has %d bytes; the original can use %d, and only those are read", c.Size, int64(legacy.MaxChainFile))})
		c.Size = legacy.MaxChainFile
	}
	// An index has as many rows as the chain file has records; some more are read to be reported.
	limit := 8*min(c.Size/leastRecord, maxRecords) + 64<<10
	raw, err := r.read(c.indexPath, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found(missing(c.indexPath, "the index is not there; the original makes it anew when it opens the chain, unless a record is deleted"))
	case err != nil:
		found(unreadable(c.indexPath, err))
	default:
		if c.index, err = legacy.ReadChainIndex(raw); err != nil {
			found(Finding{File: c.indexPath, Reason: WrongHeader, Detail: err.Error()})
		}
	}
	for _, row := range c.index {
		c.named = append(c.named, row.Offset)
	}
	slices.Sort(c.named)
	if c.idsPath == "" {
		return c
	}
	raw, err = r.read(c.idsPath, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it is made when the first record is looked up
	case err != nil:
		found(unreadable(c.idsPath, err))
	default:
		if c.ids, err = legacy.ReadChainIDs(raw); err != nil {
			found(Finding{File: c.idsPath, Reason: WrongHeader, Detail: err.Error()})
		}
	}
	return c
}

// Close closes the chain file.
func (c *Chain) Close() error { return c.file.Close() }

// scan yields the frames of the chain file, from a place on at which one begins.
func (c *Chain) scan(from int64) iter.Seq2[legacy.ChainFrame, error] {
	named := func(at int64) bool { return c.namedIn(at, at+1) > 0 }
	if from == 0 {
		return legacy.ScanChain(c.file, c.Size, named, c.effort)
	}
	return legacy.ScanChainFrom(c.file, c.Size, named, c.effort, from)
}

// prepare finds out which records are the newest with their keys. A damaged record replaces older ones, too, when its key
// is sound: what it replaced is not what was there last.
func (c *Chain) prepare(ctx context.Context) error {
	if c.older != nil {
		return nil
	}
	k, err := c.keysOf(ctx, runtime.GOMAXPROCS(0))
	if err == nil && len(k.newest) > maxRecords {
		err = fmt.Errorf("%s: %w", c.File, ErrManyRecords)
	}
	if err == nil {
		c.older = k.older
	}
	return err
}

// ErrManyRecords says that a chain file holds so many records that they are not told apart. None of them is yielded.
var ErrManyRecords = fmt.Errorf("it holds more than %d records, more than any chain file of the original", maxRecords)

// keys says which records of a part of the chain file are the newest with their keys.
type keys struct {
	newest map[string]int64 // offset by key
	older  map[int64]bool   // those that they replace
	end    int64            // of the last frame in the part
}

// keysOf reads the chain file in parts, side by side: the index says where records begin. What a frame is depends on
// nothing but where it begins, so a part is good when the one before ends where it begins, and is read again, from that
// end on, when not.
func (c *Chain) keysOf(ctx context.Context, parts int) (keys, error) {
	bounds := []int64{0}
	for i := 1; i < parts; i++ {
		if at := len(c.named) * i / parts; at < len(c.named) && int64(c.named[at]) > bounds[len(bounds)-1] {
			bounds = append(bounds, int64(c.named[at]))
		}
	}
	bounds = append(bounds, c.Size)
	found, errs := make([]keys, len(bounds)-1), make([]error, len(bounds)-1)
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() { found[i], errs[i] = c.keysBetween(ctx, bounds[i], bounds[i+1]) })
	}
	wg.Wait()
	all := found[0]
	for i, err := range errs {
		if err != nil {
			return all, err
		}
		if i == 0 {
			continue
		}
		if all.end != bounds[i] {
			if found[i], err = c.keysBetween(ctx, all.end, bounds[i+1]); err != nil {
				return all, err
			}
		}
		all.follow(found[i])
	}
	return all, nil
}

// keysBetween reads the frames that begin in a part of the chain file, at the beginning of which one does.
func (c *Chain) keysBetween(ctx context.Context, from, to int64) (keys, error) {
	const few = 1 << 16 // an index that lies must not take memory
	k := keys{newest: make(map[string]int64, min(few, c.namedIn(from, to))), older: map[int64]bool{}, end: from}
	if from >= to {
		return k, nil
	}
	for f, err := range c.scan(from) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return k, fmt.Errorf("%s: %w", c.File, err)
		}
		if !f.Deleted && f.Key != "" {
			if k.note(f.Key, f.Offset); len(k.newest)+len(k.older) > maxRecords {
				return k, fmt.Errorf("%s: %w", c.File, ErrManyRecords)
			}
		}
		if k.end = f.End; k.end >= to {
			break
		}
	}
	return k, nil
}

func (k *keys) note(key string, offset int64) {
	if before, known := k.newest[key]; known {
		k.older[before] = true
	}
	k.newest[key] = offset
}

// follow adds what is in the next part.
func (k *keys) follow(next keys) {
	for key, offset := range next.newest {
		k.note(key, offset)
	}
	maps.Copy(k.older, next.older)
	k.end = next.end
}

// Items yields everything that stands in the chain file, in its order. The error is one of reading or of the context,
// and the last.
func (c *Chain) Items(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if err := c.prepare(ctx); err != nil {
			yield(Item{}, err)
			return
		}
		for f, err := range c.scan(0) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(Item{}, fmt.Errorf("%s: %w", c.File, err))
				return
			}
			item := Item{ChainFrame: f}
			if len(f.Packed) <= 2*record.MaxRecord {
				item.Packed = bytes.Clone(f.Packed)
			} else { // and not kept: others may be under way
				item.Packed, item.Err = nil, fmt.Errorf("%w: %d bytes, more than any record has", legacy.ErrChainFile, len(f.Packed))
			}
			f.Err = item.Err
			switch {
			case f.Err != nil:
				item.Status = Broken
			case f.Deleted:
				item.Status = Deleted
			case c.older[f.Offset]:
				item.Status = Older
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// Count adds an item.
func (n *Counts) Count(status Status) {
	switch status {
	case Shown:
		n.Shown++
	case Older:
		n.Older++
	case Deleted:
		n.Deleted++
	case Broken:
		n.Damaged++
	}
}

// Finding returns what is wrong with a broken item.
func (c *Chain) Finding(i Item) Finding {
	reason := Damaged
	if i.Offset == 0 {
		reason = WrongHeader
	}
	at := i.Offset
	detail := fmt.Sprintf("%v (bytes %d to %d)", i.Err, at, i.End)
	if n := c.namedIn(at+1, i.End); n > 0 {
		detail += fmt.Sprintf("; the index names %d more in it", n)
	}
	if i.Deleted {
		detail += "; it was deleted"
	}
	return Finding{File: c.File, Kind: c.Kind, Offset: &at, Header: i.Key, Reason: reason, Detail: detail}
}

// namedIn returns how many records the index names in a part of the file.
func (c *Chain) namedIn(from, to int64) int {
	first := func(at int64) int {
		return sort.Search(len(c.named), func(i int) bool { return int64(c.named[i]) >= at })
	}
	return first(to) - first(from)
}

// indexCheck compares the indexes with what stands in the chain file, frame by frame.
type indexCheck struct {
	chain *Chain
	found func(Finding)
	rows  []legacy.ChainIndexRow // by offset
	next  int                    // of rows
	n     int                    // records so far
}

func (c *Chain) checkIndex(found func(Finding)) *indexCheck {
	x := &indexCheck{chain: c, found: found, rows: c.index}
	byOffset := func(a, b legacy.ChainIndexRow) int { return int(int64(a.Offset) - int64(b.Offset)) }
	if !slices.IsSortedFunc(x.rows, byOffset) {
		x.report("its rows are not in the order of the records")
		x.rows = slices.SortedFunc(slices.Values(x.rows), byOffset)
	}
	return x
}

func (x *indexCheck) report(format string, args ...any) {
	x.found(Finding{File: x.chain.indexPath, Kind: x.chain.Kind, Reason: Index, Detail: fmt.Sprintf(format, args...)})
}

// frame compares what stands at one place.
func (x *indexCheck) frame(i Item) {
	if x.chain.index == nil {
		x.id(i)
		return
	}
	for ; x.next < len(x.rows) && int64(x.rows[x.next].Offset) < i.Offset; x.next++ {
		x.report("it names byte %d, where no record begins", x.rows[x.next].Offset)
	}
	named := x.next < len(x.rows) && int64(x.rows[x.next].Offset) == i.Offset
	if named {
		if row := x.rows[x.next]; i.Key != "" && row.Hash != legacy.ChainHash(i.Key) {
			x.report("at byte %d it has hash %08x, the record has %08x", row.Offset, row.Hash, legacy.ChainHash(i.Key))
		}
		x.next++
	} else if i.Err == nil {
		x.report("the record at byte %d is not in it", i.Offset)
	}
	// Rows inside damage are of records that cannot be read any more.
	for ; i.Err != nil && x.next < len(x.rows) && int64(x.rows[x.next].Offset) < i.End; x.next++ {
		at := int64(x.rows[x.next].Offset)
		x.found(Finding{File: x.chain.File, Kind: x.chain.Kind, Offset: &at, Reason: Damaged, Detail: "the index names a record here, which cannot be read"})
	}
	x.id(i)
}

// id compares the list of hashes, which begins to fit nothing behind the first damage.
func (x *indexCheck) id(i Item) {
	if x.n < 0 || i.Err != nil {
		x.n = -1
		return
	}
	if x.n < len(x.chain.ids) {
		id := x.chain.ids[x.n]
		if id != legacy.ChainHash(i.Key) && !(i.Deleted && id == legacy.ChainHash("")) {
			x.found(Finding{File: x.chain.idsPath, Kind: x.chain.Kind, Reason: Index,
				Detail: fmt.Sprintf("row %d has hash %08x, the record at byte %d has %08x", x.n, id, i.Offset, legacy.ChainHash(i.Key))})
		}
	}
	x.n++
}

// end reports what is left over.
func (x *indexCheck) end() {
	for ; x.next < len(x.rows); x.next++ {
		x.report("it names byte %d, where no record begins", x.rows[x.next].Offset)
	}
	if x.n >= 0 && len(x.chain.ids) > x.n {
		x.found(Finding{File: x.chain.idsPath, Kind: x.chain.Kind, Reason: Index,
			Detail: fmt.Sprintf("it has %d rows, the chain %d records", len(x.chain.ids), x.n)})
	}
}
