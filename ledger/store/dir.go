package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/durable"
	"pyvnode/ledger/store/raw"
)

// Names inside a data directory.
const (
	// GenesisFile is the genesis document, as other parties of the network have it too.
	GenesisFile = "genesis.json"
	// LedgerDir holds the Pebble database.
	LedgerDir = "ledger"
	// WatermarkFile holds the frontier at the last orderly close, or, after a crash, a few seconds before it. The ledger
	// only grows, so one that lacks any of it has lost entries, however sound it looks otherwise: damaged beyond notice,
	// or put back from an older copy.
	WatermarkFile = "watermark.json"
)

// DefaultMarkInterval is for how long a change may stay out of the watermark unless configured.
const DefaultMarkInterval = 5 * time.Second

// RollbackError says that the ledger lacks what it held when its watermark was written.
type RollbackError struct {
	Path     string
	Held     ledger.Citation // what the watermark says was held
	Evidence ledger.Hash     // if that is evidence, its ID: it freezes the log at Held.Seq
	Detail   string          // what is there instead
}

func (e *RollbackError) Error() string {
	held := fmt.Sprintf("entry %d of %v", e.Held.Seq, e.Held.Origin)
	if !e.Evidence.IsZero() {
		held = fmt.Sprintf("evidence %v, which freezes the log of %v at entry %d", e.Evidence, e.Held.Origin, e.Held.Seq)
	}
	return fmt.Sprintf("the ledger went back: it held %s, and now %s (see %s)", held, e.Detail, filepath.Join(e.Path, WatermarkFile))
}

// DirOptions configure [OpenDir].
type DirOptions struct {
	Options
	CacheBytes   int64         // see PebbleOptions
	MarkInterval time.Duration // for how long a change may stay out of the watermark; 0 means [DefaultMarkInterval]
}

// Dir is a store in a data directory, locked against other processes.
type Dir struct {
	*Store
	path    string
	closeDB func() error
	stop    chan struct{} // closed by Close
	marking sync.WaitGroup
	closing sync.Once
	closed  error
}

// CreateDir makes a data directory with an empty ledger for a network. The genesis document is written last, so a
// directory that has one is whole, and one without is made anew, unless it holds entries.
func CreateDir(ctx context.Context, path string, g *ledger.Genesis) error {
	if err := durable.MkdirAll(path); err != nil {
		return err
	}
	unlock, err := durable.LockDir(path, false) // against a second CreateDir
	if err != nil {
		return lockError(path, err)
	}
	defer func() {
		_ = os.Remove(filepath.Join(path, durable.LockFile))
		_ = unlock()
	}()
	if err := CheckVacant(ctx, path); err != nil {
		return err
	}
	if err := durable.RemoveUnfinished(path, GenesisFile); err != nil {
		return err
	}
	file, dir, building := filepath.Join(path, GenesisFile), filepath.Join(path, LedgerDir), filepath.Join(path, LedgerDir+".new")
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(building)); err != nil {
		return err
	}
	if err := os.Mkdir(building, 0o700); err != nil {
		return err
	}
	db, err := OpenPebble(building, PebbleOptions{locked: true})
	if err != nil {
		return err
	}
	s, _, err := Open(ctx, db, g, Options{})
	if err == nil {
		err = s.Close()
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(building, dir); err != nil {
		return err
	}
	return durable.WriteFile(file, g.Bytes(), 0o644)
}

// lockError says why a data directory cannot be locked.
func lockError(path string, err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%s: the data directory is %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// ErrLedgerExists says that a directory holds a ledger already.
var ErrLedgerExists = errors.New("there is a ledger already")

// CheckVacant returns nil when [CreateDir] may make a ledger in a directory: it holds none, or what an interrupted
// CreateDir left. Otherwise the error wraps [ErrLedgerExists] or says what cannot be read.
func CheckVacant(ctx context.Context, path string) error {
	genesis, dir := filepath.Join(path, GenesisFile), filepath.Join(path, LedgerDir)
	if _, err := os.Lstat(genesis); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", genesis, cmp.Or(err, ErrLedgerExists))
	}
	if _, err := os.Lstat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	db, closeDB, err := OpenDatabase(path, PebbleOptions{ReadOnly: true, MustExist: true})
	if errors.Is(err, ErrNoDatabase) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s is there without %s and cannot be read; move it away if it holds nothing you need: %w", dir, GenesisFile, err)
	}
	for _, err = range raw.ScanEntries(ctx, db, 0, 0) {
		if err == nil {
			err = fmt.Errorf("%s: %w, without %s; put the genesis document of its network back", dir, ErrLedgerExists, GenesisFile)
		}
		break
	}
	return errors.Join(err, closeDB())
}

// OpenDatabase locks the ledger in a data directory and opens its database without reading the
// ledger: for audits. For reading, the lock is shared with others who read, and nothing in the
// directory changes. If the lock's file cannot even be opened, there is no lock. The returned
// function closes and unlocks.
func OpenDatabase(path string, o PebbleOptions) (*Pebble, func() error, error) {
	dir := filepath.Join(path, LedgerDir)
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("no ledger in %s: %w", path, err)
	}
	unlock, err := durable.LockDir(dir, o.ReadOnly)
	if err != nil {
		return nil, nil, lockError(path, err)
	}
	o.locked = true
	db, err := OpenPebble(dir, o)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return db, func() error {
		err := db.Close()
		if failed := unlock(); failed != nil {
			err = errors.Join(err, failed)
		}
		return err
	}, nil
}

// OpenDir opens the store in a data directory made by [CreateDir]. For writing everything must be as it was left. For reading
// it opens what can be read, and [Recovery.Lacks] says what is not as it was. What is damaged is a [*durable.DamageError],
// [*LogDamageError] or [*DamageError].
func OpenDir(ctx context.Context, path string, o DirOptions) (*Dir, *Recovery, error) {
	var lacks []string
	pass := func(err error) error { // passes over what need not be whole for reading
		if err == nil || !o.ReadOnly || !errors.As(err, new(*durable.DamageError)) {
			return err
		}
		lacks = append(lacks, err.Error())
		return nil
	}
	g, err := ReadGenesisFile(path)
	if err := pass(err); err != nil {
		return nil, nil, err
	}
	db, closeDB, err := OpenDatabase(path, PebbleOptions{ReadOnly: o.ReadOnly, MustExist: true, CacheBytes: o.CacheBytes, Logger: o.Logger})
	if err != nil {
		return nil, nil, err
	}
	whole := len(db.Damage()) == 0
	for _, err := range db.Damage() {
		lacks = append(lacks, err.Error())
	}
	held, err := ReadGenesis(ctx, db)
	if err == nil {
		if err = pass(sameGenesis(path, g, held)); err == nil {
			g = cmp.Or(held, g)
		}
	} else if errors.Is(err, ErrNotFound) && g != nil {
		err = nil // there is none yet
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeDB())
	}
	mark, err := ReadWatermark(path)
	if err := pass(err); err != nil {
		return nil, nil, errors.Join(err, closeDB())
	}
	s, r, err := Open(ctx, db, g, o.Options)
	if err != nil {
		return nil, nil, errors.Join(err, closeDB())
	}
	if mark != nil {
		err := mark.check(ctx, path, s)
		if errors.As(err, new(*RollbackError)) && !whole { // which is what it is about
			err = nil
		}
		if err != nil {
			return nil, nil, errors.Join(err, s.Close(), closeDB())
		}
	}
	if !o.ReadOnly {
		if err := durable.RemoveUnfinished(path, WatermarkFile); err != nil {
			s.opts.Logger.Warn("what a process that was killed left cannot be removed", "error", err)
		}
	}
	r.Lacks = lacks
	r.ReadOnly = o.ReadOnly && !durable.CanWrite(path)
	r.Unclean = r.Entries > 0 && (mark == nil || mark.Open || mark.Digest != s.Frontier().Digest(g.Network()))
	d := &Dir{Store: s, path: path, closeDB: closeDB, stop: make(chan struct{})}
	if !o.ReadOnly {
		d.marking.Go(func() { d.keepWatermark(cmp.Or(o.MarkInterval, DefaultMarkInterval)) })
	}
	return d, r, nil
}

// sameGenesis compares the genesis document in its file, nil if that is damaged, with the one that
// the ledger holds. A document that was edited is a [*durable.DamageError], as even one more line
// end makes another network of it.
func sameGenesis(path string, file, held *ledger.Genesis) error {
	if file == nil || file.Network() == held.Network() || !bytes.Equal(file.Nonce, held.Nonce) {
		return nil // opening the ledger finds the third
	}
	return &durable.DamageError{Path: filepath.Join(path, GenesisFile),
		Detail: fmt.Sprintf("it was changed, and its hash is %v now; that of the document with which the ledger was founded is %v", file.Network(), held.Network())}
}

// Close closes the store, writes the watermark and unlocks the directory. Called again it returns the same.
func (d *Dir) Close() error {
	d.closing.Do(func() {
		failed := d.Store.Close()
		close(d.stop)
		d.marking.Wait()
		err := failed
		if err == nil && !d.opts.ReadOnly {
			err = d.writeWatermark(false)
		}
		closing := d.closeDB()
		if failed != nil && errors.Is(failed, closing) { // the same again
			closing = nil
		}
		d.closed = errors.Join(err, closing)
	})
	return d.closed
}

// keepWatermark writes the watermark after changes, so that a ledger that is put back from an older copy after a crash is
// noticed too. What it writes is durable in the ledger before. Of a large frontier it takes no more than a twentieth of
// the time.
func (d *Dir) keepWatermark(interval time.Duration) {
	changed, stop := d.Watch()
	defer stop()
	for wait := interval; ; {
		select {
		case <-changed:
		case <-d.stop:
			return
		}
		select {
		case <-time.After(wait):
		case <-d.stop:
			return
		}
		start := time.Now()
		if err := d.writeWatermark(true); err != nil {
			d.opts.Logger.Warn("the watermark was not written; should the ledger be put back from an older copy, this may go unnoticed", "error", err)
		}
		wait = max(interval, 20*time.Since(start))
	}
}

// writeWatermark notes that the ledger must never again hold less than it does now.
func (d *Dir) writeWatermark(open bool) error {
	raw, err := newWatermark(d.genesis.Network(), d.Held().Frontier, open, maxMarked).encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(d.path, WatermarkFile), raw, 0o644)
}

// newWatermark returns the watermark of a frontier, of its first rows if it has more than most.
func newWatermark(network ledger.Hash, f ledger.Frontier, open bool, most int) *Watermark {
	f = f[:min(len(f), most)]
	return &Watermark{Network: network, Digest: f.Digest(network), Frontier: f, Open: open}
}

// Watermark is the content of [WatermarkFile].
type Watermark struct {
	Network  ledger.Hash     `json:"network"`
	Digest   ledger.Hash     `json:"digest"` // of the frontier; tells a damaged file
	Frontier ledger.Frontier `json:"frontier"`
	Open     bool            `json:"open,omitempty"` // the ledger was open when this was written
}

func (w *Watermark) encode() ([]byte, error) {
	raw, err := json.MarshalIndent(w, "", "  ")
	return append(raw, '\n'), err
}

// ReadWatermark reads a data directory's watermark; nil when there is none. A damaged one is a [*durable.DamageError].
func ReadWatermark(path string) (*Watermark, error) {
	file := filepath.Join(path, WatermarkFile)
	raw, err := durable.ReadFile(file, maxWatermark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	damaged := func(detail string) error { return &durable.DamageError{Path: file, Detail: detail} }
	var w Watermark
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, damaged(err.Error())
	}
	if err := w.Frontier.Check(); err != nil {
		return nil, damaged(err.Error())
	}
	if w.Frontier.Digest(w.Network) != w.Digest {
		return nil, damaged("its digest does not match its rows")
	}
	if again, err := w.encode(); err != nil || !bytes.Equal(again, raw) { // JSON can say the same in many ways; we in one
		return nil, damaged("it is not as pyvnode writes it")
	}
	return &w, nil
}

func (w *Watermark) check(ctx context.Context, path string, s *Store) error {
	if w.Network != s.genesis.Network() {
		return fmt.Errorf("%s: %w", filepath.Join(path, WatermarkFile), ErrOtherNetwork)
	}
	lost := func(held ledger.Citation, detail string) error {
		return &RollbackError{Path: path, Held: held, Detail: detail}
	}
	for _, row := range w.Frontier {
		if row.Size() > 0 { // otherwise frozen from its first entry on
			e, err := s.Get(ctx, Ref{row.Origin, row.Seq})
			switch {
			case errors.Is(err, ErrNotFound):
				return lost(row.Citation, "it does not")
			case err != nil:
				return err
			case e.Hash != row.Hash:
				return lost(row.Citation, "that entry is another one")
			}
		}
		if row.Frozen == nil {
			continue
		}
		is := raw.Frozen{Origin: row.Origin, Seq: row.Frozen.Seq, ID: row.Frozen.Evidence}
		if is.Lacks(s.EvidenceOf(row.Origin)) {
			return &RollbackError{Path: path, Held: ledger.Citation{Origin: row.Origin, Seq: is.Seq}, Evidence: is.ID, Detail: "it does not"}
		}
	}
	return nil
}

// ReadGenesisFile reads the genesis document of a data directory. One that is none is a [*durable.DamageError].
func ReadGenesisFile(path string) (*ledger.Genesis, error) {
	file := filepath.Join(path, GenesisFile)
	raw, err := durable.ReadFile(file, ledger.MaxGenesis)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no ledger in %s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	g, err := ledger.ParseGenesis(raw)
	if err != nil {
		return nil, &durable.DamageError{Path: file, Detail: err.Error()}
	}
	return g, nil
}

// maxMarked is how many logs a watermark tells of: two million. Of a ledger with more it tells of the first, since a longer
// file could be written and not be read again. maxWatermark bounds its length: 512 bytes, more than a frozen log takes, for
// each.
const (
	maxMarked    = maxWatermark / 512
	maxWatermark = 1 << 30
)
