package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	ds "github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"

	"pyvnode/ledger/durable"
)

// PebbleOptions configure [OpenPebble]. The zero value is for normal use.
type PebbleOptions struct {
	// ReadOnly opens without changing a byte on disk. A log of writes left by a crash is read into memory.
	ReadOnly bool
	// MustExist refuses to make a database if there is none.
	MustExist bool
	// CacheBytes is the size of the block cache; 0 means 32 MiB.
	CacheBytes int64
	// FS replaces the operating system's files in fault tests.
	FS vfs.FS
	// Logger receives Pebble's own messages at debug level; nil discards them.
	Logger *slog.Logger

	locked bool // the caller has locked the directory
}

// Pebble is a [Datastore] on disk.
type Pebble struct {
	*pebbleds.Datastore
	cache  *pebble.Cache
	guard  *guard
	path   string
	damage []error
}

// Damage returns what a database that was opened for reading lacks, as [*LogDamageError] and [*durable.DamageError]. One that is
// opened for writing lacks nothing that is known.
func (p *Pebble) Damage() []error { return p.damage }

// Stopped implements [Stopper].
func (p *Pebble) Stopped() <-chan struct{} { return p.guard.stopped }

// Failure implements [Stopper].
func (p *Pebble) Failure() error { return p.guard.failure() }

// ErrNoDatabase says that there is no database in a directory that should have one.
var ErrNoDatabase = errors.New("the database is gone; what the ledger held is in its exports and with other parties")

// DefaultCacheBytes is the size of Pebble's block cache unless configured.
const DefaultCacheBytes = 32 << 20

// memTableBytes is how much is gathered in memory, and in the write log, before it becomes a table; at most two are. Less
// makes small tables that are merged more often: with half of it, ingest is a tenth slower.
const memTableBytes = 64 << 20

// OpenPebble opens or creates a Pebble database in a directory. For writing it locks the directory against other processes;
// for reading it changes nothing in it, and reads what it can: see [Pebble.Damage]. The errors that are the caller's to handle
// are [ErrNoDatabase], [*LogDamageError], [*durable.DamageError] and [*DamageError].
func OpenPebble(path string, o PebbleOptions) (*Pebble, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	g := newGuard(o.FS, o.ReadOnly, o.locked || o.ReadOnly)
	damage, err := g.checkLogs(path)
	if err != nil {
		return nil, err
	}
	cache := pebble.NewCache(o.CacheBytes)
	db, err := g.open(path, o, cache)
	for err != nil {
		lost := g.unreadable(path, err)
		if lost == nil {
			break
		}
		if damage = append(damage, lost); !o.ReadOnly {
			err = lost
			break
		}
		db, err = g.open(path, o, cache)
	}
	if err == nil && !o.ReadOnly {
		g.note, err = openNote(g.FS, path)
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}
	if err != nil {
		if g.failure() == nil { // otherwise Pebble may still be using it
			cache.Unref()
		}
		return nil, fmt.Errorf("open database %s: %w", path, openError(path, err))
	}
	d, err := pebbleds.NewDatastore(path, pebbleds.WithPebbleDB(db))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Pebble{Datastore: d, cache: cache, guard: g, path: path, damage: damage}, nil
}

// open calls Pebble.
func (g *guard) open(path string, o PebbleOptions, cache *pebble.Cache) (db *pebble.DB, err error) {
	opts := pebbleOptions()
	opts.FS = g
	opts.ReadOnly = o.ReadOnly
	opts.ErrorIfNotExists = o.MustExist
	opts.Cache = cache
	opts.Logger = pebbleLogger{o.Logger, g}
	// Pebble's own answer to a damaged file is to end the process. Here the reader gets the error, and says which entry
	// it was after. A merge that cannot read its tables stops the writing: see guard.
	opts.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			o.Logger.Error("a database file is damaged", "file", info.Path, "error", info.Details)
		},
		CompactionEnd: func(info pebble.CompactionInfo) {
			if info.Err != nil && !errors.Is(info.Err, pebble.ErrCancelledCompaction) {
				g.fail(fmt.Errorf("merge tables: %w", info.Err))
			}
		},
	}
	// Pebble's default also looks ten times a second whether more merges than before may go on at once. Here it is always one.
	opts.Experimental.CompactionScheduler = merges{pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest(), g}
	g.opened = nil
	opened := make(chan *pebble.DB, 1)
	err = g.do(func() error {
		db, err := pebble.Open(path, opts)
		opened <- db
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-opened, nil
}

// merges lets Pebble merge tables as long as that does not fail: it would try the same again at once, for ever.
type merges struct {
	pebble.CompactionScheduler
	g *guard
}

// Register implements [pebble.CompactionScheduler].
func (m merges) Register(goroutines int, db pebble.DBForCompaction) {
	m.CompactionScheduler.Register(goroutines, mergedDB{db, m.g})
}

type mergedDB struct {
	pebble.DBForCompaction
	g *guard
}

// GetAllowedWithoutPermission implements [pebble.DBForCompaction].
func (d mergedDB) GetAllowedWithoutPermission() int {
	if d.g.failure() != nil {
		return 0
	}
	return d.DBForCompaction.GetAllowedWithoutPermission()
}

// checkLogs looks for damage that Pebble would take for the end of the newest write log, and lets
// it see that log only as far as it is intact. Otherwise it would try every bit of a torn chunk,
// which takes seconds.
func (g *guard) checkLogs(path string) (damage []error, err error) {
	mark, err := readMark(g.FS, path)
	if errors.As(err, new(*durable.DamageError)) && g.readOnly {
		damage, err = append(damage, err), nil
	}
	if err != nil {
		return nil, err
	}
	newest, end, err := checkNewestLog(g.FS, path, mark)
	if errors.Is(err, fs.ErrNotExist) {
		return damage, nil // there is no database yet, and Pebble says so if one must be
	}
	if newest != "" {
		g.show(newest, end)
	}
	if errors.As(err, new(*LogDamageError)) && g.readOnly {
		damage, err = append(damage, err), nil
	}
	return damage, err
}

// show lets Pebble see a write log up to an offset in bytes.
func (g *guard) show(log string, size int64) {
	if g.cut == nil {
		g.cut = map[string]int64{}
	}
	g.cut[log] = size
}

// unreadable returns what is wrong with the write log that could not be replayed, nil if the error
// is about something else. The log is shown up to there from now on, and later ones not at all:
// what is left is what the ledger once was.
func (g *guard) unreadable(path string, err error) *LogDamageError {
	if !pebble.IsCorruptionError(err) || len(g.opened) == 0 {
		return nil
	}
	log := g.opened[len(g.opened)-1]     // Pebble opens them in order
	if _, before := g.cut[log]; before { // also the newest, of which all that is shown is intact
		return nil
	}
	file := g.PathJoin(path, log)
	end, _, err := readLogFile(g.FS, file)
	if err != nil {
		return nil
	}
	all, err := writeLogs(g.FS, path)
	if err != nil {
		return nil
	}
	g.show(log, end)
	g.hidden = all[slices.Index(all, log)+1:]
	return &LogDamageError{Path: file, Offset: end}
}

// openError tells damage from a disk that cannot be used and from a caller's mistake.
func openError(path string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return ErrNoDatabase
	case errors.As(err, new(*LogDamageError)), errors.As(err, new(*durable.DamageError)):
		return err
	case errors.As(err, &errno) && errno != syscall.ENOENT:
		return err
	}
	return &DamageError{Key: path, Detail: err.Error()}
}

// DiskStats says how a database does. Sizes are in bytes; counts are since it was opened.
type DiskStats struct {
	Size              uint64 // of all files
	WALSize           uint64 // of the write log, which is part of that
	Compactions       uint64 // merges of tables that are done
	CompactionDebt    uint64 // what merges still have to rewrite, estimated
	ReadAmplification int    // in how many places the reading of a key may have to look
	CacheSize         uint64 // of the blocks in memory
	CacheHits         uint64
	CacheMisses       uint64
}

// Stats returns how the database does.
func (p *Pebble) Stats() DiskStats {
	m := p.DB.Metrics()
	wal := max(m.WAL.PhysicalSize, m.WAL.Size) // Pebble does not count the file that it writes among the files
	return DiskStats{
		Size:              m.DiskSpaceUsage() - m.WAL.PhysicalSize + wal,
		WALSize:           wal,
		Compactions:       uint64(m.Compact.Count),
		CompactionDebt:    m.Compact.EstimatedDebt,
		ReadAmplification: m.ReadAmp(),
		CacheSize:         uint64(m.BlockCache.Size),
		CacheHits:         uint64(m.BlockCache.Hits),
		CacheMisses:       uint64(m.BlockCache.Misses),
	}
}

// DiskStats returns how the database under the store does; ok is false if the datastore is in
// memory.
func (s *Store) DiskStats() (stats DiskStats, ok bool) {
	d, ok := s.ds.(interface{ Stats() DiskStats })
	if ok {
		stats = d.Stats()
	}
	return stats, ok
}

func pebbleOptions() *pebble.Options {
	opts := &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTableBytes,
		MaxOpenFiles:       512,
		LBaseMaxBytes:      256 << 20,
		// Twice the usual number of tables wait to be merged: ingest spends a twentieth less.
		L0CompactionThreshold: 8,
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 16 << 10 // a dozen entries: scans cost half of what Pebble's 4 KiB make them cost
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	return opts
}

// CheckTables checks every block of every table of the database against its checksum, and yields the names and errors of files
// that fail. Files that it does not count among its tables are no part of it: see [Pebble.Leftovers].
func (p *Pebble) CheckTables(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		live, err := p.tables()
		if err != nil {
			yield(p.path, err)
			return
		}
		opts := pebbleOptions()
		opts.EnsureDefaults()
		for _, file := range slices.Sorted(maps.Keys(live)) {
			if ctx.Err() != nil {
				return
			}
			if err := checkTable(ctx, filepath.Join(p.path, file), opts.MakeReaderOptions()); err != nil && !yield(file, err) {
				return
			}
		}
	}
}

// Leftovers returns the names of files that writing began and did not finish, as on a full disk. They are no part of the
// ledger, and go when the database is next opened for writing.
func (p *Pebble) Leftovers() ([]string, error) {
	live, err := p.tables()
	if err != nil {
		return nil, err
	}
	names, err := p.guard.FS.List(p.path)
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool {
		return live[name] || !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".dbtmp") && !strings.Contains(name, durable.Unfinished)
	}), err
}

// tables returns the names of the files that are tables of the database now.
func (p *Pebble) tables() (map[string]bool, error) {
	levels, err := p.DB.SSTables()
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, level := range levels {
		for _, table := range level {
			live[fmt.Sprintf("%06d.sst", uint64(table.BackingSSTNum))] = true
		}
	}
	return live, nil
}

func checkTable(ctx context.Context, path string, opts sstable.ReaderOptions) (err error) {
	defer func() { // a damaged footer or index can lead the reader astray
		if p := recover(); p != nil {
			err = fmt.Errorf("the table cannot be followed: %v", p)
		}
	}()
	f, err := vfs.Default.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, opts)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// Batch returns a batch whose memory is used again: most batches of a busy ledger are larger than what Pebble keeps.
func (p *Pebble) Batch(context.Context) (ds.Batch, error) {
	return &pebbleBatch{p.DB.NewBatch(pebble.WithMaxRetainedSizeBytes(maxRetained)), p.guard}, nil
}

// maxRetained is the greatest size of a batch in bytes whose memory is kept for the next.
const maxRetained = 2 * maxBatchBytes

type pebbleBatch struct {
	b *pebble.Batch
	g *guard
}

func (b *pebbleBatch) Put(_ context.Context, key ds.Key, value []byte) error {
	return b.b.Set(key.Bytes(), value, nil)
}

func (b *pebbleBatch) Delete(_ context.Context, key ds.Key) error {
	return b.b.Delete(key.Bytes(), nil)
}

// Commit makes the batch visible and durable, in one call of Pebble: each costs a goroutine of its own, see guard.
func (b *pebbleBatch) Commit(context.Context) error {
	return b.g.do(func() error { return errors.Join(b.b.Commit(pebble.Sync), b.b.Close()) })
}

// Sync implements [Datastore]. What is written is durable already.
func (p *Pebble) Sync(context.Context, ds.Key) error { return p.guard.failure() }

// Put implements [Datastore], as does Delete.
func (p *Pebble) Put(_ context.Context, key ds.Key, value []byte) error {
	return p.guard.do(func() error { return p.DB.Set(key.Bytes(), value, pebble.Sync) })
}

// Delete implements [Datastore].
func (p *Pebble) Delete(_ context.Context, key ds.Key) error {
	return p.guard.do(func() error { return p.DB.Delete(key.Bytes(), pebble.Sync) })
}

// Close flushes what is in memory and closes the database. After a failure it leaves it as it is, and returns the failure.
func (p *Pebble) Close() error {
	if err := p.guard.do(p.Datastore.Close); p.guard.failure() != nil {
		return err // Pebble may still be using the cache
	}
	p.cache.Unref()
	if p.guard.note != nil {
		return p.guard.note.f.Close()
	}
	return nil
}

// Scan implements [Datastore].
func (p *Pebble) Scan(ctx context.Context, lower, upper string) iter.Seq2[Pair, error] {
	return scanPebble(ctx, p.DB, lower, upper)
}

func scanPebble(ctx context.Context, r pebble.Reader, lower, upper string) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		it, err := r.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte(lower), UpperBound: []byte(upper)})
		if err != nil {
			yield(Pair{}, err)
			return
		}
		defer func() { _ = it.Close() }() // its errors have been yielded
		for ok := it.First(); ok; ok = it.Next() {
			if err := ctx.Err(); err != nil {
				yield(Pair{}, err)
				return
			}
			value, err := it.ValueAndErr()
			if err != nil {
				yield(Pair{}, err)
				return
			}
			if !yield(Pair{Key: it.Key(), Value: value}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(Pair{}, err)
		}
	}
}

// pebbleLogger passes Pebble's messages on. A fatal one means that the database cannot go on without risking what it holds.
// It is a failure like others: see guard.
type pebbleLogger struct {
	*slog.Logger
	g *guard
}

func (l pebbleLogger) Infof(format string, args ...any)  { l.Debug(fmt.Sprintf(format, args...)) }
func (l pebbleLogger) Errorf(format string, args ...any) { l.Debug(fmt.Sprintf(format, args...)) }
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.g.fail(fmt.Errorf("the database cannot go on: "+format, args...))
	park()
}
