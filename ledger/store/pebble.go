package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	ds "github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"
)

// PebbleOptions configure [OpenPebble]. The zero value is for normal use.
type PebbleOptions struct {
	// ReadOnly opens without changing a byte on disk. A log of writes left by a crash is read into memory.
	ReadOnly bool
	// MustExist refuses to make a database where there is none.
	MustExist bool
	// CacheBytes is the size of the block cache; 0 means 32 MiB.
	CacheBytes int64
	// FS replaces the operating system's files in fault tests.
	FS vfs.FS
	// Logger receives Pebble's own messages at debug level; nil discards them.
	Logger *slog.Logger

	lock *pebble.Lock // of the directory, when the caller has it
}

// Pebble is a [Datastore] on disk.
type Pebble struct {
	*pebbleds.Datastore
	cache *pebble.Cache
}

// ErrNoDatabase says that there is no database where there should be one.
var ErrNoDatabase = errors.New("the database is gone; what the ledger held is in its exports and with other parties")

// DefaultCacheBytes is the size of Pebble's block cache unless configured.
const DefaultCacheBytes = 32 << 20

// memTableBytes is how much is gathered in memory, and in the write log, before it becomes a table; at most two are. Less
// makes small tables that are merged more often: with half of it, ingest is a tenth slower.
const memTableBytes = 64 << 20

// OpenPebble opens or creates a Pebble database in a directory. It locks the directory against other
// processes.
func OpenPebble(path string, o PebbleOptions) (*Pebble, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cache := pebble.NewCache(o.CacheBytes)
	opts := pebbleOptions()
	opts.FS = o.FS
	opts.ReadOnly = o.ReadOnly
	opts.ErrorIfNotExists = o.MustExist
	opts.Cache = cache
	opts.Logger = pebbleLogger{o.Logger}
	opts.Lock = o.lock
	// Pebble's own answer to a damaged file is to end the process. Here the reader gets the error, and says which entry
	// it was after.
	opts.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			o.Logger.Error("a database file is damaged", "file", info.Path, "error", info.Details)
		},
	}
	db, err := pebble.Open(path, opts)
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		err = ErrNoDatabase
	}
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	d, err := pebbleds.NewDatastore(path, pebbleds.WithPebbleDB(db))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Pebble{Datastore: d, cache: cache}, nil
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

// DiskStats returns how the database under the store does; ok is false where it is in memory.
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

// CheckTables checks every block of every table file in a database directory against its checksum, and yields the
// names and errors of files that fail.
func CheckTables(ctx context.Context, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		files, err := os.ReadDir(dir)
		if err != nil {
			yield(dir, err)
			return
		}
		opts := pebbleOptions()
		opts.EnsureDefaults()
		for _, file := range files {
			if ctx.Err() != nil || !strings.HasSuffix(file.Name(), ".sst") {
				continue
			}
			if err := checkTable(ctx, filepath.Join(dir, file.Name()), opts.MakeReaderOptions()); err != nil && !yield(file.Name(), err) {
				return
			}
		}
	}
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
	return &pebbleBatch{p.DB.NewBatch(pebble.WithMaxRetainedSizeBytes(maxRetained))}, nil
}

// maxRetained is the greatest size of a batch in bytes whose memory is kept for the next.
const maxRetained = 2 * maxBatchBytes

type pebbleBatch struct{ b *pebble.Batch }

func (b *pebbleBatch) Put(_ context.Context, key ds.Key, value []byte) error {
	return b.b.Set(key.Bytes(), value, nil)
}

func (b *pebbleBatch) Delete(_ context.Context, key ds.Key) error {
	return b.b.Delete(key.Bytes(), nil)
}

// Commit makes the batch visible; [Pebble.Sync] makes it durable.
func (b *pebbleBatch) Commit(context.Context) error {
	return errors.Join(b.b.Commit(pebble.NoSync), b.b.Close())
}

// Close flushes what is in memory and closes the database.
func (p *Pebble) Close() error {
	err := p.Datastore.Close()
	p.cache.Unref()
	return err
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

// pebbleLogger passes Pebble's messages on. A fatal one means that the database cannot go on without risking what it
// holds (a failed write to its log or manifest); stopping the process and recovering at the next start is the only safe
// way, and a panic is the stop that leaves a trace and that tests can catch.
type pebbleLogger struct{ *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any)  { l.Debug(fmt.Sprintf(format, args...)) }
func (l pebbleLogger) Errorf(format string, args ...any) { l.Debug(fmt.Sprintf(format, args...)) }
func (l pebbleLogger) Fatalf(format string, args ...any) {
	panic(&FatalError{Message: fmt.Sprintf(format, args...)})
}

// FatalError is the panic value when the database under the store cannot go on.
type FatalError struct{ Message string }

func (e *FatalError) Error() string { return "database cannot go on: " + e.Message }
