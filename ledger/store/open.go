package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
)

// tailEntries is how many of the newest entries of each log are checked against their links and indexes at every
// opening. A crash can touch no others: older batches were durable before the last ones began.
const tailEntries = 64

// Recovery says what opening a store found and did.
type Recovery struct {
	Created  bool          `json:"created"`  // the datastore was empty
	Unclean  bool          `json:"unclean"`  // the last run did not end with Close; only data directories can tell
	Logs     int           `json:"logs"`     // how many logs are held
	Entries  uint64        `json:"entries"`  // in all logs
	Checked  int           `json:"checked"`  // newest entries that were checked with their indexes
	Mended   []string      `json:"mended"`   // what a write that was cut short had left, and was completed
	Duration time.Duration `json:"duration"` // of it all
	// Lacks says what is damaged and was passed over, as is done for reading; each a sentence.
	Lacks []string `json:"lacks,omitempty"`
	// ReadOnly says that nobody could have written to the data directory.
	ReadOnly bool `json:"read_only,omitempty"`
}

// DamageError says that what is stored cannot be what was written. The store does not open; a full audit tells the
// extent, and other nodes have the entries.
type DamageError struct {
	Key    string
	Detail string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the ledger is damaged at %s: %s", e.Key, e.Detail)
}

func damage(key, format string, args ...any) error {
	return &DamageError{Key: key, Detail: fmt.Sprintf(format, args...)}
}

// meta is the value under /meta.
type meta struct {
	Format  int         `json:"format"`
	Network ledger.Hash `json:"network"`
}

// ErrOtherNetwork says that the datastore holds the ledger of another network.
var ErrOtherNetwork = errors.New("the ledger is of another network")

// ReadGenesis returns the genesis document of the ledger in a datastore, or [ErrNotFound] when it is empty.
func ReadGenesis(ctx context.Context, d Datastore) (*ledger.Genesis, error) {
	raw, err := d.Get(ctx, dsKey(keyMeta))
	if errors.Is(err, ds.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyMeta, err)
	}
	var m meta
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, damage(keyMeta, "%v", err)
	}
	if m.Format != FormatVersion {
		return nil, fmt.Errorf("the ledger is stored in format %d; this version of pyvnode reads format %d", m.Format, FormatVersion)
	}
	raw, err = d.Get(ctx, dsKey(keyGenesis))
	if err != nil {
		return nil, damage(keyGenesis, "%v", err)
	}
	g, err := ledger.ParseGenesis(raw)
	if err != nil {
		return nil, damage(keyGenesis, "%v", err)
	}
	if g.Network() != m.Network {
		return nil, damage(keyGenesis, "hashes to %s, the ledger is of network %s", g.Network().Beside(m.Network), m.Network.Beside(g.Network()))
	}
	return g, nil
}

// Open opens the ledger in a datastore, or starts one when it is empty. It checks the newest entries of every log and
// completes what a crash cut short; the [Recovery] says what it did. The store must be closed before the datastore.
func Open(ctx context.Context, d Datastore, g *ledger.Genesis, opts Options) (*Store, *Recovery, error) {
	start := time.Now()
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		ds:      d,
		genesis: g,
		opts:    opts,
		reqs:    make(chan *request, MaxQueue),
		batches: make(chan *batch),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		logs:    map[ledger.Origin]*head{},
		kinds:   map[string]uint64{},
	}
	if opts.Key != nil {
		signer, err := ledger.NewSigner(opts.Key)
		if err != nil {
			return nil, nil, err
		}
		s.signer, s.origin = signer, ledger.OriginOf(opts.Key)
		if !g.MayWrite(s.origin) {
			opts.Logger.Warn("this node may not write", "origin", s.origin, "network", g.Name)
			s.opts.Key = nil
		}
	}
	r := new(Recovery)
	if err := s.load(ctx, r); err != nil {
		return nil, nil, err
	}
	r.Logs = len(s.byNum)
	for _, h := range s.byNum {
		r.Entries += h.log.Size()
	}
	r.Duration = time.Since(start)
	if !opts.ReadOnly {
		b := newBuilder(s)
		s.freezer = newFreezer(s)
		s.running.Go(s.freezer.run)
		s.running.Go(b.run)
		s.running.Go(s.commitAll)
		if d, ok := d.(Stopper); ok {
			s.running.Go(func() { s.watchDatastore(d) })
		}
	}
	return s, r, nil
}

func (s *Store) load(ctx context.Context, r *Recovery) error {
	held, err := ReadGenesis(ctx, s.ds)
	if errors.Is(err, ErrNotFound) {
		for pair, err := range s.ds.Scan(ctx, "/", "0") {
			if err != nil {
				return err
			}
			return damage(string(pair.Key), "there are keys but no %s", keyMeta)
		}
		r.Created = true
		if s.opts.ReadOnly {
			return nil
		}
		raw, err := json.Marshal(meta{Format: FormatVersion, Network: s.genesis.Network()})
		if err != nil {
			return err
		}
		return writeBatch(s.ds, []keyValue{{keyMeta, raw}, {keyGenesis, s.genesis.Bytes()}})
	}
	if err != nil {
		return err
	}
	if held.Network() != s.genesis.Network() {
		return fmt.Errorf("%w: it holds %q (%s), wanted is %q (%s)", ErrOtherNetwork,
			held.Name, held.Network().Beside(s.genesis.Network()), s.genesis.Name, s.genesis.Network().Beside(held.Network()))
	}
	for pair, err := range s.ds.Scan(ctx, prefixKind, after(prefixKind)) {
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(pair.Value), 10, 64)
		if err != nil {
			return damage(string(pair.Key), "%v", err)
		}
		s.kinds[string(pair.Key[len(prefixKind):])] = n
	}
	byNum := map[uint32]*head{}
	for pair, err := range s.ds.Scan(ctx, prefixLog, after(prefixLog)) {
		if err != nil {
			return err
		}
		h, err := parseHead(pair.Key, pair.Value)
		if err != nil {
			return damage(string(pair.Key), "%v", err)
		}
		if byNum[h.number] != nil {
			return damage(string(pair.Key), "log number %d is taken", h.number)
		}
		byNum[h.number], s.logs[h.log.Origin] = h, h
	}
	for n := range uint32(len(byNum)) {
		h := byNum[n]
		if h == nil {
			return damage(prefixLog, "no log has number %d of %d", n, len(byNum))
		}
		s.byNum = append(s.byNum, h)
	}
	if err := s.adopt(ctx, r); err != nil {
		return err
	}
	for n, h := range s.byNum {
		mended, err := s.recover(ctx, h, r)
		if err != nil {
			return err
		}
		s.byNum[n], s.logs[h.log.Origin] = mended, mended
	}
	if err := s.loadFloor(ctx); err != nil {
		return err
	}
	return s.loadEvidence(ctx, r)
}

// adopt finds logs whose first entries were written and whose heads were not.
func (s *Store) adopt(ctx context.Context, r *Recovery) error {
	for {
		p := place{log: uint32(len(s.byNum))}
		key := entryKey(p)
		value, err := s.ds.Get(ctx, dsKey(key))
		if errors.Is(err, ds.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		e, err := decodeStored(key, value)
		if err != nil {
			return err
		}
		if s.logs[e.Header.Origin] != nil {
			return damage(key, "belongs to %v, whose log has number %d", e.Header.Origin, s.logs[e.Header.Origin].number)
		}
		h := &head{number: p.log, log: ledger.Log{Origin: e.Header.Origin}}
		s.byNum, s.logs[h.log.Origin] = append(s.byNum, h), h
		r.Mended = append(r.Mended, fmt.Sprintf("log of %v was written but not listed", h.log.Origin))
	}
}

// recover checks the newest entries of a log, completes indexes that a torn write left out, and takes in entries that
// lie beyond the head: they were signed and written, only their head was not.
func (s *Store) recover(ctx context.Context, h *head, r *Recovery) (*head, error) {
	var mend []keyValue
	next := head{number: h.number, verified: h.verified, log: *h.log.Clone()}
	checker := ledger.Checker{Genesis: s.genesis}
	prefix := logPrefix(h.number)
	from := h.log.Size() - min(h.log.Size(), tailEntries)
	seq := from
	var prev ledger.Hash
	for pair, err := range s.ds.Scan(ctx, entryKey(place{h.number, from}), after(prefix)) {
		if err != nil {
			return nil, err
		}
		key := string(pair.Key)
		if key != entryKey(place{h.number, seq}) {
			return nil, damage(entryKey(place{h.number, seq}), "entry %d of %v is missing", seq, h.log.Origin)
		}
		st, err := parseStored(bytes.Clone(pair.Value))
		if err != nil {
			return nil, damage(key, "%v", err)
		}
		e, err := ledger.DecodeEntry(st.raw)
		if err != nil {
			return nil, damage(key, "%v", err)
		}
		facts, err := checker.Check(e)
		if err != nil {
			return nil, damage(key, "%v", err)
		}
		beyond := seq >= h.log.Size()
		switch {
		case e.Header.Seq != seq || e.Header.Origin != h.log.Origin:
			return nil, damage(key, "holds entry %d of %v", e.Header.Seq, e.Header.Origin)
		case seq > from && e.Header.Prev != prev:
			return nil, damage(key, "names predecessor %s, which is %s", e.Header.Prev.Beside(prev), prev.Beside(e.Header.Prev))
		case beyond:
			if err := next.log.Check(&e.Header); err != nil {
				return nil, damage(key, "%v", err)
			}
			if err := e.CheckSignature(); err != nil {
				return nil, damage(key, "%v", err)
			}
			next.log.Advance(e)
			r.Mended = append(r.Mended, fmt.Sprintf("entry %d of %v was written but not counted", seq, h.log.Origin))
		case seq+1 == h.log.Size() && e.Hash != h.log.Head:
			return nil, damage(key, "has hash %s, the head of the log is %s", e.Hash.Beside(h.log.Head), h.log.Head.Beside(e.Hash))
		case seq+1 == h.log.Size() && e.Header.Height != h.log.Height:
			return nil, damage(key, "has height %d, the head of the log %d", e.Header.Height, h.log.Height)
		}
		for _, row := range rows(place{h.number, seq}, e.Header.Kind, st.position, facts) {
			there, err := hasRow(ctx, s.ds, row)
			if err != nil {
				return nil, err
			}
			if !there {
				mend = append(mend, row)
				r.Mended = append(r.Mended, fmt.Sprintf("index %s of entry %d of %v", row.key, seq, h.log.Origin))
			}
		}
		if n := s.kinds[e.Header.Kind]; st.position >= n {
			s.kinds[e.Header.Kind] = st.position + 1
			mend = append(mend, keyValue{prefixKind + e.Header.Kind, strconv.AppendUint(nil, st.position+1, 10)})
		}
		prev = e.Hash
		seq++
		r.Checked++
	}
	if seq < h.log.Size() {
		return nil, damage(entryKey(place{h.number, seq}), "entry %d of %v is missing, the log has %d", seq, h.log.Origin, h.log.Size())
	}
	if next.log.Size() != h.log.Size() {
		mend = append(mend, keyValue{logKey(h.log.Origin), next.append(nil)})
	}
	if len(mend) > 0 && !s.opts.ReadOnly {
		if err := writeBatch(s.ds, mend); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

func hasRow(ctx context.Context, d Datastore, row keyValue) (bool, error) {
	value, err := d.Get(ctx, dsKey(row.key))
	if errors.Is(err, ds.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", row.key, err)
	}
	return bytes.Equal(value, row.value), nil
}
