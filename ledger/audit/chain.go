package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"runtime"
	"slices"
	"sync"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/ledger/store/raw"
)

// unchecked is an entry as its source has it.
type unchecked struct {
	bytes    []byte
	err      error // why it cannot be read
	where    string
	placed   bool // log, seq and position come from a key in a directory, rather than from the entry
	log      uint32
	origin   ledger.Origin // of the log, when known from elsewhere
	seq      uint64
	position uint64
}

// item is an entry with all that can be said of it by itself.
type item struct {
	unchecked
	entry   *ledger.Entry // nil when it does not decode
	facts   record.Facts
	invalid []error // every way in which it is bad by itself
	rows    uint64  // sum of the fingerprints of its index rows
	hasRows bool
}

// chunk is a run of items on its way through the workers.
type chunk struct {
	items []item
	buf   []byte
	done  chan struct{}
	err   error // of the source, after the items
}

const chunkItems = 256

// checkAll sends entries of a source through the workers and gives them to accept in their order.
func checkAll(ctx context.Context, source iter.Seq2[unchecked, error], o Options, g *ledger.Genesis, seed *maphash.Seed, accept func(*item)) error {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	work := make(chan *chunk)
	ordered := make(chan *chunk, 4*workers)
	free := make(chan *chunk, 4*workers+workers+2)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel() // first, or the goroutines that are waited for would never end
	for range workers {
		running.Go(func() {
			w := worker{checker: ledger.Checker{Genesis: g}, seed: seed}
			for c := range work {
				for i := range c.items {
					w.check(&c.items[i])
				}
				if !o.SkipSignatures {
					w.checkSignatures(c.items)
				}
				close(c.done)
			}
		})
	}
	running.Go(func() {
		defer close(ordered)
		defer close(work)
		send := func(c *chunk) bool {
			c.done = make(chan struct{})
			select {
			case ordered <- c:
			case <-ctx.Done():
				return false
			}
			work <- c
			return true
		}
		next := func() *chunk {
			select {
			case c := <-free:
				c.items, c.buf = c.items[:0], c.buf[:0]
				return c
			default:
				return &chunk{items: make([]item, 0, chunkItems)}
			}
		}
		c := next()
		for r, err := range source {
			if err != nil {
				c.err = err
				break
			}
			c.add(r)
			if len(c.items) == chunkItems {
				if !send(c) {
					return
				}
				c = next()
			}
		}
		send(c)
	})
	for c := range ordered {
		<-c.done
		for i := range c.items {
			accept(&c.items[i])
		}
		if c.err != nil {
			cancel()
			for c := range ordered { // let the reader and the workers come to their end
				<-c.done
			}
			return c.err
		}
		if err := ctx.Err(); err != nil {
			for c := range ordered {
				<-c.done
			}
			return err
		}
		select {
		case free <- c:
		default:
		}
	}
	return ctx.Err()
}

// add copies an entry, whose bytes are only lent, into the chunk.
func (c *chunk) add(r unchecked) {
	if cap(c.buf)-len(c.buf) < len(r.bytes) {
		c.buf = make([]byte, 0, max(512<<10, len(r.bytes))) // earlier items keep the old one alive
	}
	at := len(c.buf)
	c.buf = append(c.buf, r.bytes...)
	r.bytes = c.buf[at:len(c.buf):len(c.buf)]
	if len(c.items) < cap(c.items) {
		c.items = c.items[:len(c.items)+1]
		it := &c.items[len(c.items)-1]
		*it = item{unchecked: r, entry: it.entry, invalid: it.invalid[:0]}
		return
	}
	c.items = append(c.items, item{unchecked: r})
}

// worker checks items by themselves.
type worker struct {
	checker ledger.Checker
	decoder ledger.Decoder
	seed    *maphash.Seed
	scratch []byte
	entries []*ledger.Entry
	owners  []*item // of entries
}

func (w *worker) check(it *item) {
	if it.err != nil {
		it.entry = nil
		return
	}
	if it.entry == nil {
		it.entry = new(ledger.Entry)
	}
	if err := w.decoder.Decode(it.entry, it.bytes); err != nil {
		it.err, it.entry = err, nil
		return
	}
	if h := &it.entry.Header; it.placed && (h.Origin != it.origin || h.Seq != it.seq) {
		it.err = &ledger.InvalidError{Origin: it.origin, Seq: it.seq, Reason: ledger.ReasonSeq,
			Detail: fmt.Sprintf("in its place stands entry %d of %v", h.Seq, h.Origin)}
		it.entry = nil
		return
	}
	var err error
	if it.facts, err = w.checker.Check(it.entry); err != nil {
		it.invalid = append(it.invalid, err)
	} else if w.seed != nil && it.placed {
		it.rows, it.hasRows = w.fingerprint(it), true
	}
}

// checkSignatures checks those of all items that decode.
func (w *worker) checkSignatures(items []item) {
	w.entries, w.owners = w.entries[:0], w.owners[:0]
	for i := range items {
		if it := &items[i]; it.entry != nil {
			w.entries, w.owners = append(w.entries, it.entry), append(w.owners, it)
		}
	}
	for i, err := range ledger.CheckSignatures(w.entries) {
		if err != nil {
			w.owners[i].invalid = append(w.owners[i].invalid, err)
		}
	}
}

func (w *worker) fingerprint(it *item) uint64 {
	var ends [3]int
	w.scratch, ends = raw.AppendRows(w.scratch[:0], it.log, it.seq, it.entry.Header.Kind, it.position, it.facts)
	var sum uint64
	from := 0
	for _, end := range ends {
		sum += maphash.Bytes(*w.seed, w.scratch[from:end])
		from = end
	}
	return sum
}

// chain follows the logs entry by entry.
type chain struct {
	genesis *ledger.Genesis
	report  *Report
	logs    map[ledger.Origin]*logState
	order   []*logState
	cited   []citing
	checked bool // signatures were
	// The source is an entry file. It has no index that tells repeated content, and none of its disputed entries stands in
	// a log as somebody holds it: all are like those of other branches.
	file    bool
	inOrder ledger.EntryFileOrder
	// expected is how long each log should be, if something says so. What is missing below is
	// reported as such.
	expected map[ledger.Origin]uint64

	frozen   map[ledger.Origin]*freeze
	branches map[ledger.Hash]*branch
	apart    []*branch                       // the same in the order in which they were read
	led      map[ledger.Hash]ledger.Citation // disputed entries that undisputed ones cite
	onward   map[store.Ref][]ledger.Citation // those that disputed entries of logs as they are held cite
}

func newChain(g *ledger.Genesis, report *Report, checked bool) *chain {
	return &chain{
		genesis: g,
		report:  report, checked: checked,
		logs: map[ledger.Origin]*logState{}, expected: map[ledger.Origin]uint64{}, frozen: map[ledger.Origin]*freeze{},
		branches: map[ledger.Hash]*branch{}, led: map[ledger.Hash]ledger.Citation{}, onward: map[store.Ref][]ledger.Citation{},
	}
}

// logState is what is known of a log while it is followed.
type logState struct {
	ledger.Log             // entries 0…last−1, and Head and Height of the newest
	next       uint64      // the sequence number that comes next
	leaf       ledger.Hash // of entry next−1, when leafKnown; not in the tree yet
	leafKnown  bool
	heightOK   bool
	treeLost   bool // some earlier leaf cannot be known, so roots cannot be checked
	refs       refs
	sound      bool                // the newest entry is, its signature included
	records    map[identity]uint64 // where they stand first
	newest     ledger.Citation
	any        bool
	undisputed ledger.Citation // the newest that is
}

// identity is what makes two entries the same record.
type identity struct {
	kind    string
	content record.ContentID
}

// ref is what a citation must agree with. A zero height stands for an entry that could not be read.
type ref struct {
	hash   ledger.Hash
	height uint64
}

// refs holds the refs of a log: runs of entries that were read one after the other. What is missing costs nothing,
// however much a damaged sequence number leaves out.
type refs []refRun

type refRun struct {
	base uint64
	refs []ref
}

func (r *refs) add(seq uint64, is ref) {
	if n := len(*r); n == 0 || (*r)[n-1].base+uint64(len((*r)[n-1].refs)) != seq {
		*r = append(*r, refRun{base: seq})
	}
	last := &(*r)[len(*r)-1]
	last.refs = append(last.refs, is)
}

// at returns the ref of an entry, nil when none was read.
func (r refs) at(seq uint64) *ref {
	i, found := slices.BinarySearchFunc(r, seq, func(run refRun, seq uint64) int { return cmp.Compare(run.base, seq) })
	if !found {
		i--
	}
	if i < 0 || seq-r[i].base >= uint64(len(r[i].refs)) {
		return nil
	}
	return &r[i].refs[seq-r[i].base]
}

// citing is a citation that was read before what it names.
type citing struct {
	by  store.Ref
	seq ledger.Citation
}

func (c *chain) log(o ledger.Origin) *logState {
	l := c.logs[o]
	if l == nil {
		l = &logState{Log: ledger.Log{Origin: o}}
		if c.file {
			l.records = map[identity]uint64{}
		}
		c.logs[o] = l
		c.order = append(c.order, l)
	}
	return l
}

func (c *chain) accept(it *item) {
	r := c.report
	r.Entries++
	origin, seq := it.origin, it.seq
	if it.entry == nil {
		if !it.placed {
			r.where(it.where, unreadable(it.err), "%v", it.err)
			return
		}
		l := c.log(origin)
		c.gap(l, seq)
		r.add(Finding{Origin: &origin, Seq: seq, Where: it.where, Reason: unreadable(it.err), Detail: it.err.Error()})
		c.step(l)
		l.leafKnown, l.heightOK, l.next, l.sound = false, false, seq+1, false
		l.refs.add(seq, ref{})
		return
	}
	e, h := it.entry, &it.entry.Header
	if !it.placed {
		origin, seq = h.Origin, h.Seq
	}
	if c.file {
		if err := c.inOrder.Entry(e); err != nil {
			r.where(it.where, ReasonFile, "%v", err)
		}
	}
	if seq >= ledger.MaxSeq {
		r.at(origin, seq, ledger.ReasonBounds, "no log is that long")
		return
	}
	if c.file && c.disputed(origin, seq) && c.frozen[origin].evidence != nil {
		c.acceptDisputed(it)
		return
	}
	l := c.logs[origin]
	if !it.placed && (l == nil && seq > 0 || l != nil && seq != l.next) && isForged(it.invalid) {
		// Nobody signed it, and it is not at the place that it names. So it says nothing about any
		// log.
		r.where(it.where, ledger.ReasonSignature, "an entry that says it is %d of %v, which did not sign it", seq, origin)
		return
	}
	l = c.log(origin)
	if seq < l.next {
		switch is := l.refs.at(seq); {
		case is == nil:
			r.at(origin, seq, ReasonSurplus, "comes behind later entries (%s)", it.where)
		case is.hash == e.Hash:
			r.at(origin, seq, ReasonSurplus, "the same entry comes again (%s)", it.where)
		default:
			r.at(origin, seq, ReasonSurplus, "a second, different entry %s for this position (%s)", e.Hash.Short(), it.where)
		}
		return
	}
	c.gap(l, seq)
	l.sound = c.checked && len(it.invalid) == 0
	disputed := c.disputed(origin, seq)
	if disputed {
		r.Disputed++
		it.invalid = slices.DeleteFunc(it.invalid, isSignature)
	}
	for _, err := range it.invalid {
		var bad *ledger.InvalidError
		if errors.As(err, &bad) {
			r.at(origin, seq, bad.Reason, "%s", bad.Detail)
		} else {
			r.at(origin, seq, ledger.ReasonEncoding, "%v", err)
		}
	}
	if len(it.invalid) == 0 {
		r.Records++
	}
	if c.checked && !disputed {
		r.Signatures++
	}
	c.link(l, seq, h)
	if l.heightOK || seq == 0 {
		prev := l.Height
		if seq == 0 {
			prev = 0
		}
		if want := ledger.NextHeight(prev, h.Seen); h.Height != want {
			r.at(origin, seq, ledger.ReasonHeight, "states %d, its predecessor and citations make it %d", h.Height, want)
		}
	}
	c.cites(store.Ref{Origin: origin, Seq: seq}, h.Seen)
	for _, cited := range h.Seen {
		by := citing{store.Ref{Origin: origin, Seq: seq}, cited}
		if other := c.logs[cited.Origin]; other != nil && cited.Seq+1 < other.next {
			c.checkCitation(by)
		} else {
			c.cited = append(c.cited, by)
		}
	}
	if l.records != nil && len(it.invalid) == 0 {
		is := identity{h.Kind, it.facts.ContentID}
		if first, ok := l.records[is]; ok {
			r.at(origin, seq, ledger.ReasonRepeated, "entry %d of this log has the same kind and content", first)
		} else {
			l.records[is] = seq
		}
	}
	l.leaf, l.leafKnown, l.heightOK, l.next = e.Hash, true, true, seq+1
	l.Height = h.Height
	l.refs.add(seq, ref{e.Hash, h.Height})
	l.newest, l.any = e.Citation(), true
	if !disputed {
		l.undisputed = l.newest
	}
}

func isForged(invalid []error) bool { return slices.ContainsFunc(invalid, isSignature) }

func isSignature(err error) bool {
	var bad *ledger.InvalidError
	return errors.As(err, &bad) && bad.Reason == ledger.ReasonSignature
}

// unreadable tells bytes that the storage lost from bytes that are no entry, or not the one that belongs there.
func unreadable(err error) ledger.Reason {
	var invalid *ledger.InvalidError
	if errors.As(err, &invalid) {
		return invalid.Reason
	}
	if errors.Is(err, errStorage) {
		return ReasonUnreadable
	}
	return ledger.ReasonEncoding
}

// errStorage marks what the storage itself reports as damaged.
var errStorage = errors.New("the storage reports damage")

// gap reports entries that are not there.
func (c *chain) gap(l *logState, seq uint64) {
	switch missing := seq - l.next; {
	case seq <= l.next:
		return
	case missing == 1:
		c.report.at(l.Origin, l.next, ReasonMissing, "the entry is not there")
	default:
		c.report.at(l.Origin, l.next, ReasonMissing, "entries %d to %d are not there", l.next, seq-1)
	}
	c.step(l)
	if seq-l.next > 1 {
		l.treeLost = true
	}
	l.leafKnown, l.heightOK, l.next = false, false, seq
}

// step puts the pending leaf into the tree, when it is known.
func (c *chain) step(l *logState) {
	if l.next == 0 || l.treeLost {
		return
	}
	if !l.leafKnown {
		l.treeLost = true
		return
	}
	l.Tree.Append(l.leaf)
	l.leafKnown = false
}

// link checks predecessor and root. If they disagree with what was read before, the root tells
// which of the two entries changed: it commits to the hash that the predecessor had when this entry
// was signed.
func (c *chain) link(l *logState, seq uint64, h *ledger.Header) {
	r := c.report
	if seq == 0 {
		if !h.Prev.IsZero() {
			r.at(l.Origin, seq, ledger.ReasonPrev, "the first entry names a predecessor, %s", h.Prev.Short())
		}
		if h.Root != ledger.EmptyRoot {
			r.at(l.Origin, seq, ledger.ReasonRoot, "states %s, the root of nothing is %s", h.Root.Beside(ledger.EmptyRoot), ledger.EmptyRoot.Beside(h.Root))
		}
		return
	}
	rootWith := func(leaf ledger.Hash) (ledger.Tree, bool) {
		t := l.Tree.Clone()
		t.Append(leaf)
		return t, t.Root() == h.Root
	}
	switch {
	case l.leafKnown && l.leaf == h.Prev:
		if l.treeLost {
			return
		}
		l.Tree.Append(l.leaf)
		if root := l.Tree.Root(); root != h.Root {
			r.at(l.Origin, seq, ledger.ReasonRoot, "states %s, the entries before it have %s", h.Root.Beside(root), root.Beside(h.Root))
		}
	case l.leafKnown && l.treeLost:
		r.at(l.Origin, seq, ledger.ReasonPrev, "names %s as predecessor, which has hash %s", h.Prev.Beside(l.leaf), l.leaf.Beside(h.Prev))
	case l.leafKnown:
		if t, ok := rootWith(h.Prev); ok {
			r.at(l.Origin, seq-1, ReasonHash, "it has hash %s; the next entry and its root name %s", l.leaf.Beside(h.Prev), h.Prev.Beside(l.leaf))
			l.Tree = t
			l.heightOK = false // what the changed entry says of its height is worth nothing either
			*l.refs.at(seq - 1) = ref{hash: h.Prev}
			return
		}
		t, ok := rootWith(l.leaf)
		r.at(l.Origin, seq, ledger.ReasonPrev, "names %s as predecessor, which has hash %s", h.Prev.Beside(l.leaf), l.leaf.Beside(h.Prev))
		if !ok {
			r.at(l.Origin, seq, ledger.ReasonRoot, "states %s, the entries before it have %s", h.Root.Beside(t.Root()), t.Root().Beside(h.Root))
		}
		l.Tree = t
	case !l.treeLost: // the predecessor cannot be read or is missing; this entry says what it hashed to
		t, ok := rootWith(h.Prev)
		if !ok {
			r.at(l.Origin, seq, ledger.ReasonRoot, "states %s, which is not what its predecessors make it; roots behind it cannot be checked", h.Root.Short())
			l.treeLost = true
			return
		}
		l.Tree = t
		if is := l.refs.at(seq - 1); is != nil {
			is.hash = h.Prev
		}
	}
}

// checkCitation checks what one entry says of another log. They may disagree about the newest entry
// of that log, for which no successor vouches. If its signature is not known to be good either, the
// citation is the witness, and the cited entry is what changed.
func (c *chain) checkCitation(by citing) {
	r, want := c.report, by.seq
	wrongHeight := func(has uint64) {
		r.at(by.by.Origin, by.by.Seq, ledger.ReasonCitation, "cites entry %d of %v with height %d, which has %d",
			want.Seq, want.Origin, want.Height, has)
	}
	if b := c.branches[want.Hash]; b != nil && b.Origin == want.Origin && b.Seq == want.Seq {
		if b.Height != 0 && b.Height != want.Height {
			wrongHeight(b.Height)
		}
		return
	}
	other := c.logs[want.Origin]
	if other == nil || want.Seq >= other.next {
		if want.Seq >= c.expected[want.Origin] {
			r.at(by.by.Origin, by.by.Seq, ledger.ReasonCitation, "cites entry %d of %v, which is not held", want.Seq, want.Origin)
		}
		return
	}
	is := other.refs.at(want.Seq)
	if is == nil {
		return // its absence is reported where it belongs
	}
	switch newest := want.Seq+1 == other.next; {
	case is.hash.IsZero():
		// it could not be read, which is reported where it stands
	case is.hash != want.Hash && newest && !other.sound:
		r.at(want.Origin, want.Seq, ReasonHash, "it has hash %s; entry %d of %v cites it as %s",
			is.hash.Beside(want.Hash), by.by.Seq, by.by.Origin, want.Hash.Beside(is.hash))
	case is.hash != want.Hash:
		r.at(by.by.Origin, by.by.Seq, ledger.ReasonCitation, "cites entry %d of %v as %s, which has hash %s",
			want.Seq, want.Origin, want.Hash.Beside(is.hash), is.hash.Beside(want.Hash))
	case is.height != 0 && is.height != want.Height:
		wrongHeight(is.height)
	}
}

// finish checks the citations that had to wait, and returns the frontier of what was read.
func (c *chain) finish() ledger.Frontier {
	for _, by := range c.cited {
		c.checkCitation(by)
	}
	c.report.Evidence = c.evidence()
	return c.rows()
}

// tree returns the Merkle tree over all entries of a log that was read, if it could be followed.
func (l *logState) tree() (ledger.Tree, bool) {
	if l.treeLost || !l.leafKnown {
		return ledger.Tree{}, false
	}
	t := l.Tree.Clone()
	t.Append(l.leaf)
	return t, true
}

func progressOf(o Options, total uint64) func(done uint64) {
	if o.Progress == nil {
		return func(uint64) {}
	}
	return func(done uint64) {
		if done%4096 == 0 {
			o.Progress(Progress{Done: done, Total: total})
		}
	}
}
