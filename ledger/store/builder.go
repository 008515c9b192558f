package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store/raw"
)

// checked is an entry that is valid by itself, with all that can be made ready before the builder sees it.
type checked struct {
	*ledger.Entry
	facts      record.Facts
	contentKey string
	headerKey  string
	value      []byte // see [raw.Value]; without the position, and nil for an entry of this node
	hops       uint32 // of an entry of this node
}

func newChecked(e *ledger.Entry, facts record.Facts) *checked {
	return &checked{
		Entry:      e,
		facts:      facts,
		contentKey: raw.ContentKey(e.Header.Kind, facts.ContentID),
		headerKey:  raw.HeaderKey(e.Header.Kind, facts.Header),
		value:      raw.EncodeValue(e),
	}
}

// joined is an entry in a batch.
type joined struct {
	*checked
	place    raw.Place
	position uint64
}

// stored returns the value under the entry's key, in room if that suffices. It does not change the
// entry, because builder and committer both call it.
func (j *joined) stored(room []byte) []byte {
	if j.value != nil {
		return j.value
	}
	value := raw.AppendValue(room, j.Entry)
	raw.SetPosition(value, j.position)
	raw.SetHops(value, j.hops)
	return value
}

// size is the length of what stored returns, if that is to be made.
func (j *joined) size() int {
	if j.value != nil {
		return 0
	}
	return raw.ValuePrefix + j.Len()
}

// row returns one of the entry's rows, as [raw.Rows] has them.
func (j *joined) row(index int) raw.KeyValue {
	switch index {
	case 0:
		return raw.RowUnder(j.contentKey, j.place)
	case 1:
		return raw.RowUnder(j.headerKey, j.place)
	}
	return raw.KeyValue{Key: raw.PositionKey(j.Header.Kind, j.position), Value: j.place.Append(make([]byte, 0, raw.PlaceText))}
}

// batch is what one commit makes durable.
type batch struct {
	entries  []joined
	places   map[string][]raw.Place // by prefix of index rows, because they may be read back while the batch is under way
	firsts   []raw.Place            // holds the first of each of places
	logs     map[ledger.Origin]*raw.Head
	kinds    map[string]uint64
	requests []*request        // to be answered
	others   []raw.KeyValue    // evidence, and entries of other branches
	branches map[string][]byte // those entries, by key
	evidence []*proof.Evidence
	cites    []ledger.Citation // by entries
	floor    *ledger.Entry     // see floor.go; nil unless it is raised
	count    int
	bytes    int
}

// newBatch makes a batch that is going to hold about as many entries as another.
func newBatch(entries int) *batch {
	return &batch{
		entries: make([]joined, 0, entries), places: make(map[string][]raw.Place, 2*entries), firsts: make([]raw.Place, 0, 2*entries),
		logs: map[ledger.Origin]*raw.Head{}, kinds: map[string]uint64{}, branches: map[string][]byte{},
	}
}

// note notes the place of an entry under a prefix of index rows.
func (b *batch) note(prefix string, p raw.Place) {
	if before, ok := b.places[prefix]; ok {
		b.places[prefix] = append(before, p)
		return
	}
	n := len(b.firsts)
	b.firsts = append(b.firsts, p)
	b.places[prefix] = b.firsts[n : n+1 : n+1]
}

// builder turns requests into batches. It owns the state of all logs as it will be once everything built is durable.
// All fields belong to its goroutine.
type builder struct {
	s     *Store
	logs  map[ledger.Origin]*raw.Head
	under map[ledger.Origin]*raw.Head // in a rehearsal: the logs as they are
	byNum []ledger.Origin
	kinds map[string]uint64
	cur   *batch
	prev  *batch // handed to the committer last: perhaps not durable yet

	evidence map[ledger.Origin]*proof.Evidence
	floor    *ledger.Entry // see floor.go; nil if it is held

	citable map[ledger.Origin]uint64 // other logs with news since they were last cited: own size when last cited
	cited   map[ledger.Origin]uint64
	recent  map[raw.Place]ledger.Citation // of entries lately cited, to spare reading them again; bounded
	staged  map[raw.Place]ledger.Citation // in a rehearsal: of the entries that would have joined by now

	filter  *filter      // nil while it is being filled, or when that failed
	filled  chan *filter // from the goroutine that fills it
	filling bool
	unseen  []string // prefixes of index rows written since that began
}

const maxRecent = 4096

func newBuilder(s *Store) *builder {
	b := &builder{
		s:        s,
		logs:     map[ledger.Origin]*raw.Head{},
		kinds:    maps.Clone(s.kinds),
		evidence: map[ledger.Origin]*proof.Evidence{},
		floor:    s.floor,
		cur:      newBatch(0),
		citable:  map[ledger.Origin]uint64{},
		cited:    map[ledger.Origin]uint64{},
		recent:   map[raw.Place]ledger.Citation{},
		filled:   make(chan *filter, 1),
	}
	for o, f := range s.frozen {
		b.evidence[o] = f.evidence
	}
	lately := map[ledger.Origin]ledger.Citation{}
	if own, ok := s.logs[s.origin]; ok { // this node's log says what it has cited
		size := own.Log.Size()
		for e, err := range s.Log(context.Background(), s.origin, size-min(size, tailEntries), size) {
			if err != nil {
				break // what is not known to be cited is cited again
			}
			for _, c := range e.Header.Seen {
				lately[c.Origin], b.cited[c.Origin] = c, e.Header.Seq+1
			}
		}
	}
	for _, h := range s.byNum {
		o := h.Log.Origin
		b.byNum = append(b.byNum, o)
		b.logs[o] = h
		if c, ok := lately[o]; !ok || c.Hash != h.Log.Head {
			b.noteNews(o)
		}
	}
	return b
}

// run serves requests until their channel is closed and empty.
func (b *builder) run() {
	defer close(b.s.batches)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	b.fill(ctx)
	for {
		var out chan *batch
		if len(b.cur.requests) > 0 {
			out = b.s.batches
		}
		in := b.s.reqs
		if b.cur.count >= maxBatchEntries || b.cur.bytes >= maxBatchBytes {
			in = nil
		}
		select {
		case r, open := <-in:
			if !open { // the store closes; what was queued before has been served
				if out != nil {
					out <- b.cur
				}
				return
			}
			b.serve(r)
		case out <- b.cur: // the committer is idle
			b.prev, b.cur = b.cur, newBatch(b.cur.count)
		case f := <-b.filled:
			b.takeFilter(f)
		}
	}
}

// fill starts filling the filter. Prefixes that are written from now on are remembered in unseen until it is there.
func (b *builder) fill(ctx context.Context) {
	var entries uint64
	for _, h := range b.logs {
		entries += h.Log.Size()
	}
	b.filling = true
	b.s.running.Go(func() {
		f, err := buildFilter(ctx, b.s.ds, entries)
		if err != nil && ctx.Err() == nil {
			b.s.opts.Logger.Error("the indexes cannot be read; writes go on and look every key up", "error", err)
		}
		b.filled <- f
	})
}

func (b *builder) takeFilter(f *filter) {
	if f != nil {
		for _, prefix := range b.unseen {
			f.add(prefix)
		}
	}
	b.filter, b.unseen, b.filling = f, nil, false
}

// serve works on a request. Every request is answered when the batch under way is durable. So is
// one that is refused or adds nothing, because what it was refused for, or duplicates, may be in
// that batch or the one before.
func (b *builder) serve(r *request) {
	switch {
	case r.drafts != nil:
		b.appendAll(r)
	case r.mark != nil:
		b.mark(r)
	case r.evidence != nil:
		b.accept(r)
	case r.signed != nil:
		r.err = b.raise(r.signed)
	default:
		r.err = b.ingest(r)
		var missing *MissingError
		if errors.As(r.err, &missing) {
			if err := b.noteReturned(r.entries); err != nil {
				r.err = err
			}
		}
	}
	b.cur.requests = append(b.cur.requests, r)
}

// appendAll adds records of this node.
func (b *builder) appendAll(r *request) {
	r.result.Appended = make([]Appended, len(r.drafts))
	for i := range r.drafts {
		ack, err := b.append(&r.drafts[i])
		r.result.Appended[i] = Appended{ack, err}
		if err == nil {
			r.result.Joined++
		} else if r.err == nil {
			r.err = err
		}
	}
}

// append adds a record of this node.
func (b *builder) append(d *draft) (Ack, error) {
	s := b.s
	if ev := b.evidence[s.origin]; ev != nil {
		return Ack{}, &FrozenError{Entry: ledger.Citation{Origin: s.origin, Seq: b.logs[s.origin].Size()}, Evidence: ev}
	}
	if err := b.behind(); err != nil {
		return Ack{}, err
	}
	if ref, ok, err := b.counted(d.contentKey, d); err != nil {
		return Ack{}, err
	} else if ok {
		return Ack{}, &DuplicateError{ref}
	}
	if ref, ok, err := b.counted(d.headerKey, d); err != nil {
		return Ack{}, err
	} else if ok {
		return Ack{}, &ConflictError{ref}
	}
	log := &ledger.Log{Origin: s.origin}
	if h, ok := b.logs[s.origin]; ok {
		log = &h.Log
	}
	e, err := log.Sign(s.genesis, s.signer, d.Draft, b.citations(log.Size()), s.opts.Now().UnixMilli(), s.opts.OriginProof)
	if err != nil {
		return Ack{}, err
	}
	s.own.signed.Add(1)
	position := b.add(&checked{Entry: e, facts: d.Facts, contentKey: d.contentKey, headerKey: d.headerKey, hops: min(d.Hops, ledger.MaxHops)}, true)
	return Ack{Ref: Ref{s.origin, e.Header.Seq}, Hash: e.Hash, Height: e.Header.Height, Position: position}, nil
}

// ingest adds foreign entries.
func (b *builder) ingest(r *request) error {
	join := b.join
	if r.whole {
		held, err := b.rehearse(r.entries)
		if err != nil {
			return err
		}
		join = func(e *checked) (bool, error) { return held[e], nil }
	}
	for _, e := range r.entries {
		if ev, disputed := b.frozenAt(e.Header.Origin, e.Header.Seq); disputed {
			if err := b.ingestDisputed(r, e, ev); err != nil {
				return err
			}
			continue
		}
		held, err := join(e)
		if err != nil {
			return err
		}
		if held {
			r.result.Held++
			continue
		}
		b.add(e, r.verified)
		if e.Header.Origin == b.s.origin {
			b.s.own.returned.Add(1)
		}
		r.result.Joined++
	}
	return nil
}

// rehearse finds out whether all entries would join, before any of them is taken, and which are held already.
func (b *builder) rehearse(entries []*checked) (held map[*checked]bool, err error) {
	held = map[*checked]bool{}
	trial := &builder{s: b.s, logs: map[ledger.Origin]*raw.Head{}, under: b.logs, byNum: b.byNum, cur: b.cur, prev: b.prev,
		recent: b.recent, staged: map[raw.Place]ledger.Citation{}, filter: b.filter, evidence: b.evidence}
	records := map[ledger.Origin]map[string]bool{} // by content key
	fresh := uint32(len(b.byNum))
	for _, e := range entries {
		if ev, disputed := b.frozenAt(e.Header.Origin, e.Header.Seq); disputed {
			if _, held, err := trial.exact(e.Header.Origin, e.Header.Seq, e.Hash); err != nil || !held {
				return nil, cmp.Or(err, error(&FrozenError{Entry: e.Citation(), Evidence: ev}))
			}
			continue
		}
		is, err := trial.join(e)
		if err != nil {
			return nil, err
		}
		if is {
			held[e] = true
			continue
		}
		o := e.Header.Origin
		if records[o] == nil {
			records[o] = map[string]bool{}
			if h, ok := b.logs[o]; ok {
				trial.logs[o] = &raw.Head{Number: h.Number, Log: *h.Log.Clone()}
			} else {
				trial.logs[o] = &raw.Head{Number: fresh, Log: ledger.Log{Origin: o}}
				fresh++
			}
		}
		if records[o][e.contentKey] {
			return nil, repeated(e)
		}
		records[o][e.contentKey] = true
		h := trial.logs[o]
		h.Log.Advance(e.Entry)
		trial.staged[raw.Place{Log: h.Number, Seq: e.Header.Seq}] = e.Citation()
	}
	return held, nil
}

func repeated(e *checked) error {
	return &ledger.InvalidError{Origin: e.Header.Origin, Seq: e.Header.Seq, Reason: ledger.ReasonRepeated,
		Detail: fmt.Sprintf("the log holds content %v of kind %s already", e.facts.ContentID, e.Header.Kind)}
}

// join checks an entry against the logs: whether it is held, follows its log's head, and cites what is held.
func (b *builder) join(e *checked) (held bool, err error) {
	h, known := b.head(e.Header.Origin)
	if !known {
		h = &raw.Head{Log: ledger.Log{Origin: e.Header.Origin}}
	}
	switch size := h.Log.Size(); {
	case e.Header.Seq < size:
		other, err := b.citation(h, e.Header.Seq)
		if err != nil {
			return false, err
		}
		if other.Hash == e.Hash {
			return true, nil
		}
		if err := e.CheckSignature(); err != nil { // in a range it need not have been checked
			return false, err
		}
		first, err := b.entry(raw.Place{Log: h.Number, Seq: e.Header.Seq})
		if err != nil {
			return false, err
		}
		return false, &ForkError{Held: first, Other: e.Entry}
	case e.Header.Seq > size:
		return false, &MissingError{Entry: e.Citation(), Missing: []ledger.Citation{{Origin: e.Header.Origin, Seq: e.Header.Seq - 1, Hash: e.Header.Prev}}}
	}
	missing, err := b.missing(e)
	if err != nil {
		return false, err
	}
	if len(missing) > 0 {
		return false, &MissingError{Entry: e.Citation(), Missing: missing}
	}
	if err := h.Log.Check(&e.Header); err != nil {
		return false, err
	}
	if !known {
		return false, nil
	}
	places, err := b.places(e.contentKey)
	if err != nil {
		return false, err
	}
	for _, p := range places {
		if p.Log == h.Number {
			return false, repeated(e)
		}
	}
	return false, nil
}

// head returns the head of a log.
func (b *builder) head(o ledger.Origin) (*raw.Head, bool) {
	h, ok := b.logs[o]
	if !ok {
		h, ok = b.under[o]
	}
	return h, ok
}

// add writes an entry that joins into the batch under way.
func (b *builder) add(e *checked, verified bool) (position uint64) {
	h := b.logForWriting(e.Header.Origin)
	p := raw.Place{Log: h.Number, Seq: e.Header.Seq}
	kind := e.Header.Kind
	position = b.kinds[kind]
	for _, prefix := range [...]string{e.contentKey, e.headerKey} {
		b.cur.note(prefix, p)
		if b.filter != nil {
			b.filter.add(prefix)
		} else if b.filling {
			b.unseen = append(b.unseen, prefix)
		}
	}
	if e.value != nil {
		raw.SetPosition(e.value, position)
	}
	b.cur.entries = append(b.cur.entries, joined{e, p, position})
	b.cur.count++
	b.cur.bytes += raw.ValuePrefix + e.Len()

	b.kinds[kind]++
	b.cur.kinds[kind] = b.kinds[kind]
	if verified && h.Verified == h.Log.Size() {
		h.Verified++
	}
	h.Log.Advance(e.Entry)
	b.cur.cites = append(b.cur.cites, e.Header.Seen...)
	if e.Header.Origin != b.s.origin {
		b.noteNews(e.Header.Origin)
	}
	return position
}

// mark notes how far signatures were checked.
func (b *builder) mark(r *request) {
	for o, to := range r.mark {
		if h := b.logForWriting(o); h.Verified < to && to <= h.Log.Size() {
			h.Verified = to
		}
	}
}

// logForWriting returns the head of a log that the batch under way may change.
func (b *builder) logForWriting(o ledger.Origin) *raw.Head {
	if h, ok := b.cur.logs[o]; ok {
		return h
	}
	next := &raw.Head{Number: uint32(len(b.byNum)), Log: ledger.Log{Origin: o}}
	if h, ok := b.logs[o]; ok {
		*next = *h
		next.Log.Tree = h.Log.Tree.Clone()
	} else {
		b.byNum = append(b.byNum, o)
	}
	b.logs[o], b.cur.logs[o] = next, next
	return next
}

// places returns the places of the entries under a prefix of index rows, batches under way
// included.
func (b *builder) places(prefix string) ([]raw.Place, error) {
	var places []raw.Place
	if b.filter == nil || b.filter.mayHold(prefix) {
		var err error
		if places, err = scanPlaces(context.Background(), b.s.ds, prefix); err != nil {
			return nil, err
		}
	}
	for _, batch := range []*batch{b.prev, b.cur} {
		if batch == nil {
			continue
		}
		for _, p := range batch.places[prefix] {
			if !slices.Contains(places, p) { // what the committer has just written is in both
				places = append(places, p)
			}
		}
	}
	return places, nil
}

// scanPlaces reads the places under a prefix of index rows.
func scanPlaces(ctx context.Context, d Datastore, prefix string) ([]raw.Place, error) {
	var places []raw.Place
	for pair, err := range d.Scan(ctx, prefix, raw.After(prefix)) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", prefix, err)
		}
		p, err := raw.ParsePlace(pair.Key[max(len(prefix), len(pair.Key)-raw.PlaceText):]) // a kind may stand in between
		if err != nil {
			return nil, damage(string(pair.Key), "%v", err)
		}
		places = append(places, p)
	}
	return places, nil
}

// counted returns the first place under an index key of a draft whose entry keeps the draft out of
// this node's log. See [Store.Append] for which do.
func (b *builder) counted(key string, d *draft) (Ref, bool, error) {
	places, err := b.places(key)
	if err != nil {
		return Ref{}, false, err
	}
	othersCount := !partial(d.Kind) || d.Hops > 1
	for _, p := range places {
		if int(p.Log) >= len(b.byNum) {
			return Ref{}, false, fmt.Errorf("%s names log %d, which is not here", key, p.Log)
		}
		o := b.byNum[p.Log]
		_, disputed := b.frozenAt(o, p.Seq)
		if o == b.s.origin || othersCount && b.s.genesis.Names(o) && !disputed {
			return Ref{o, p.Seq}, true, nil
		}
	}
	return Ref{}, false, nil
}

// partial reports whether records of a kind count only in the log of the party that took them.
func partial(kind string) bool { return kind == "ballot" || kind == "vote" }

// citation returns what an entry below a log's size is cited by.
func (b *builder) citation(h *raw.Head, seq uint64) (ledger.Citation, error) {
	if seq+1 == h.Log.Size() {
		return ledger.Citation{Origin: h.Log.Origin, Seq: seq, Hash: h.Log.Head, Height: h.Log.Height}, nil
	}
	p := raw.Place{Log: h.Number, Seq: seq}
	if c, ok := b.recent[p]; ok {
		return c, nil
	}
	if c, ok := b.staged[p]; ok {
		return c, nil
	}
	e, err := b.entry(p)
	if err != nil {
		return ledger.Citation{}, err
	}
	b.remember(p, e.Citation())
	return e.Citation(), nil
}

// entry reads an entry that is durable or in a batch under way.
func (b *builder) entry(p raw.Place) (*ledger.Entry, error) {
	key := raw.EntryKey(p)
	value, err := b.entryValue(p)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	st, err := raw.ParseValue(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	e, err := ledger.DecodeEntry(st.Entry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return e, nil
}

func (b *builder) entryValue(p raw.Place) ([]byte, error) {
	for _, batch := range []*batch{b.cur, b.prev} {
		if batch == nil {
			continue
		}
		for i := range batch.entries {
			if batch.entries[i].place == p {
				return batch.entries[i].stored(nil), nil
			}
		}
	}
	return b.s.ds.Get(context.Background(), raw.Key(raw.EntryKey(p)))
}

func (b *builder) remember(p raw.Place, c ledger.Citation) {
	if len(b.recent) >= maxRecent {
		clear(b.recent)
	}
	b.recent[p] = c
}

// noteNews puts a log among those to cite next.
func (b *builder) noteNews(o ledger.Origin) {
	if o != b.s.origin && b.evidence[o] == nil {
		b.citable[o] = b.cited[o]
	}
}

// citations chooses up to [ledger.MaxSeen] heads that are durable here and have not been cited: members first, then
// those cited longest ago.
func (b *builder) citations(ownSize uint64) []ledger.Citation {
	if len(b.citable) == 0 {
		return nil
	}
	order := slices.SortedFunc(maps.Keys(b.citable), func(x, y ledger.Origin) int {
		return cmp.Or(
			boolToInt(b.s.genesis.Names(y))-boolToInt(b.s.genesis.Names(x)),
			cmp.Compare(b.citable[x], b.citable[y]),
			x.Compare(y),
		)
	})
	var seen []ledger.Citation
	b.s.mu.RLock()
	defer b.s.mu.RUnlock()
	for _, o := range order {
		h, ok := b.s.logs[o]
		if !ok || h.Log.Size() == 0 || h.Verified < h.Log.Size() {
			continue // not durable yet, or not sure to stay
		}
		if f := b.s.frozen[o]; f.undisputed(h.Log.Size()) < h.Log.Size() {
			delete(b.citable, o)
			continue
		}
		seen = append(seen, ledger.Citation{Origin: o, Seq: h.Log.Size() - 1, Hash: h.Log.Head, Height: h.Log.Height})
		b.cited[o] = ownSize + 1
		if b.logs[o].Log.Size() == h.Log.Size() {
			delete(b.citable, o)
		}
		if len(seen) == ledger.MaxSeen {
			break
		}
	}
	return seen
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
