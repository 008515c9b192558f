package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/node/accounts"
)

// SetAsideDir is the directory, in that of what original clients have on the server, of records that must not be
// published: a chain file <kind>.pydb for each private kind, for its owner alone.
const SetAsideDir = "set-aside"

// LegacyImport says how to take over a data directory of the original server.
type LegacyImport struct {
	Root  *dataroot.Root
	Kinds []string // only these, and records only; empty means everything

	Dir   string             // the adapter's
	Users *accounts.Accounts // to be added to
	// Running says that a node serves the adapter's directory: what it keeps in memory is left out then.
	Running bool

	// Problem is called with what is not taken over, and why, within the bounds of [dataroot.Capped]: what is over them is
	// counted, and told at the end. Progress is called with the records that are settled. Both are called from one goroutine.
	Problem  func(LegacyProblem) error
	Progress func(records uint64)
	// Unused, unless nil, is called as Problem is, with what there is that is not to be taken over: see [dataroot.Root.Unused].
	Unused func(dataroot.Finding) error
}

// LegacyProblem is something of a data directory that is not taken over.
type LegacyProblem struct {
	Finding dataroot.Finding // where; without reason and detail where Err says them
	Status  Status           // Conflict, Refused or Failed, or LeftOut
	Err     error
}

// LeftOut is the status of what is sound and is not taken over, because something else is in its place or it belongs to
// something that is not taken over.
const LeftOut Status = "left-out"

// Taken counts what became of things of one sort.
type Taken struct {
	New     int `json:"new"`
	Same    int `json:"same"` // were here before
	LeftOut int `json:"left_out"`
}

// LegacyKind says what became of a chain.
type LegacyKind struct {
	Deleted  uint64 `json:"deleted"`
	Older    uint64 `json:"older"`   // replaced by newer ones, and left out
	Damaged  uint64 `json:"damaged"` // places; those that cannot be read and others
	Private  bool   `json:"private"`
	SetAside string `json:"set_aside,omitempty"` // of a private kind: the file
	Summary         // of the others; of a private kind those that were set aside count as stored
}

// LegacySummary says what became of a data directory.
type LegacySummary struct {
	Kinds map[string]*LegacyKind `json:"kinds"`
	Users Taken                  `json:"users"`
	Site  Taken                  `json:"site_id"`
	Keys  Taken                  `json:"key_pairs"`
	Hosts Taken                  `json:"hosts"`
	Files Taken                  `json:"files"`
}

// Total adds up the records of all kinds; damaged places count as refused.
func (s *LegacySummary) Total() (sum Summary) {
	for _, k := range s.Kinds {
		sum.Add(k.Summary)
	}
	return sum
}

// legacyImport is one under way.
type legacyImport struct {
	LegacyImport
	w    *Writer
	sum  *LegacySummary
	done uint64

	capped, cappedUnused dataroot.Capped
	told                 error // the first of Problem and Unused
}

// problem tells what is not taken over. Its error is the first that Problem ever returned.
func (i *legacyImport) problem(p LegacyProblem) error {
	if i.told == nil && i.capped.Tell(p.Finding.File) {
		i.told = i.Problem(p)
	}
	return i.told
}

// found tells what cannot be read, or is not. Its error comes from [legacyImport.problem] the next time.
func (i *legacyImport) found(f dataroot.Finding) {
	switch {
	case f.Reason != dataroot.NotTaken:
		_ = i.problem(LegacyProblem{Finding: f, Status: Refused})
	case i.told == nil && i.Unused != nil && i.cappedUnused.Tell(f.File):
		i.told = i.Unused(f)
	}
}

// ImportLegacy takes over a data directory of the original server, which it only reads: users with their passwords, site
// ID, key pairs, replication hosts and users' files into this node's own directories, records into its log. Nothing that
// is there is replaced, so it can be repeated, and goes on where it was interrupted; what it reported stays. Records of
// private kinds are never published, but set aside. The summary is of what was done also when there is an error, which
// is that of the store, of reading, of Problem or of ctx.
func (n *Writer) ImportLegacy(ctx context.Context, o LegacyImport) (*LegacySummary, error) {
	i := &legacyImport{LegacyImport: o, w: n, sum: &LegacySummary{Kinds: map[string]*LegacyKind{}}}
	if len(o.Kinds) == 0 {
		if err := i.site(ctx); err != nil {
			return i.sum, err
		}
	}
	for _, s := range o.Root.Sources(i.found) {
		if !i.wants(s.Kind) {
			continue
		}
		if err := i.source(ctx, s); err != nil {
			return i.sum, fmt.Errorf("%s: %w", s.File, err)
		}
	}
	if len(o.Kinds) == 0 {
		o.Root.Unused(i.found)
	}
	for _, f := range i.capped.Rest() {
		if i.told == nil {
			i.told = i.Problem(LegacyProblem{Finding: f, Status: LeftOut})
		}
	}
	for _, f := range i.cappedUnused.Rest() {
		if i.told == nil {
			i.told = i.Unused(f)
		}
	}
	return i.sum, i.told
}

func (i *legacyImport) wants(kind string) bool {
	return len(i.Kinds) == 0 || slices.Contains(i.Kinds, kind)
}

// take counts what became of a thing, and reports it where it was left out.
func (i *legacyImport) take(sum *Taken, file string, taken bool, err error) error {
	switch {
	case err != nil:
		sum.LeftOut++
		return i.problem(LegacyProblem{Finding: dataroot.Finding{File: file}, Status: LeftOut, Err: err})
	case taken:
		sum.New++
	default:
		sum.Same++
	}
	return nil
}

// errRunning says why something is left out that a running server keeps in memory.
var errRunning = errors.New("the node is running and has its own in memory; stop it and import again")

// site takes over everything but records.
func (i *legacyImport) site(ctx context.Context) error {
	if err := i.users(ctx); err != nil {
		return err
	}
	a, err := legacy.NewAdopter(i.Dir)
	if err != nil {
		return err
	}
	defer a.Close()

	if id := i.Root.SiteID(i.found); id != uuid.Nil {
		taken, err := false, errRunning
		if !i.Running {
			taken, err = a.SiteID(id)
		}
		if err := i.take(&i.sum.Site, "pyservid.init", taken, err); err != nil {
			return err
		}
	}
	for _, k := range i.Root.Keys(i.found) {
		taken, err := a.Key(k.Name, k.Private)
		if err := i.take(&i.sum.Keys, "private/"+k.Name, taken, err); err != nil {
			return err
		}
	}
	hosts, err := i.Root.Hosts(ctx, i.found)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		taken, err := false, errRunning
		if !i.Running {
			taken, err = a.Host(host)
		}
		if err := i.take(&i.sum.Hosts, "ihosts.pydb "+host, taken, err); err != nil {
			return err
		}
	}
	return i.files(ctx, a)
}

func (i *legacyImport) users(ctx context.Context) error {
	var all []accounts.Imported
	for _, u := range i.Root.Users(i.found) {
		all = append(all, accounts.Imported{Name: u.Name, Flags: accounts.Flags(u.Flags), Hash: accounts.LegacyHash(u.Password)})
	}
	if len(all) == 0 {
		return nil
	}
	each, err := i.Users.ImportEach(ctx, all)
	if err != nil {
		return err
	}
	for n, u := range all {
		err := each[n]
		taken := err == nil
		if errors.Is(err, accounts.ErrImported) {
			err = nil
		}
		if err := i.take(&i.sum.Users, ".pyvserv/passwd.secret "+u.Name, taken, err); err != nil {
			return err
		}
	}
	return nil
}

func (i *legacyImport) files(ctx context.Context, a *legacy.Adopter) error {
	for f, err := range i.Root.Files(ctx, i.found) {
		if err != nil {
			return err
		}
		taken, err := adoptFile(a, f)
		if err := i.take(&i.sum.Files, f.Path(), taken, err); err != nil {
			return err
		}
	}
	return i.told
}

func adoptFile(a *legacy.Adopter, f dataroot.UserFile) (bool, error) {
	name, err := accounts.NormalName(f.User) // the form in which the adapter knows users
	if err != nil {
		return false, err
	}
	if err := a.Fits(f.Size); err != nil {
		return false, err
	}
	content, err := f.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = content.Close() }()
	return a.File(name, f.Name, content)
}

// source takes over a chain file. Of a kind there may be two: one of the server and one of the desktop programs.
func (i *legacyImport) source(ctx context.Context, s dataroot.Source) (err error) {
	chain := i.Root.Chain(s, i.found)
	if i.told != nil || chain == nil {
		return i.told
	}
	defer func() { err = errors.Join(err, chain.Close()) }()
	kind := s.Kind
	name := kind
	if s.Private && !i.w.genesis.IsPrivate(kind) {
		name = s.File // beside what is published of that kind
	}
	sum := i.sum.Kinds[name]
	if sum == nil {
		sum = new(LegacyKind)
		i.sum.Kinds[name] = sum
	}
	defer func() {
		if errors.Is(err, dataroot.ErrManyRecords) {
			err = i.problem(LegacyProblem{Finding: dataroot.Finding{File: s.File, Kind: kind, Reason: dataroot.TooMany, Detail: dataroot.ErrManyRecords.Error()}, Status: Refused})
		}
	}()
	if s.Private || i.w.genesis.IsPrivate(kind) {
		sum.Private = true
		return i.setAside(ctx, chain, sum)
	}
	wrong := ledger.CheckKind(kind) // which every record is refused for
	counts := new(chainCounts)
	written, err := i.w.Write(ctx, i.inputs(ctx, chain, counts), false, func(o Outcome) error {
		i.settled()
		if o.Status == Stored || o.Status == Duplicate {
			return nil
		}
		at := o.Offset
		p := LegacyProblem{Finding: dataroot.Finding{File: s.File, Kind: kind, Offset: &at, Header: o.Key}, Status: o.Status, Err: o.Err}
		if wrong != nil {
			p.Err = &InputError{Reason: BadKind, Detail: wrong.Error()}
		}
		return i.problem(p)
	})
	sum.Add(written)
	sum.Deleted += counts.deleted.Load()
	sum.Older += counts.older.Load()
	sum.Damaged += counts.damaged.Load()
	return err
}

// chainCounts counts what was read, which may still go on when an import is given up.
type chainCounts struct{ deleted, older, damaged atomic.Uint64 }

func (i *legacyImport) settled() {
	if i.done++; i.Progress != nil {
		i.Progress(i.done)
	}
}

// inputs yields what is shown of a chain, and what is damaged in it as inputs with an error.
func (i *legacyImport) inputs(ctx context.Context, chain *dataroot.Chain, counts *chainCounts) iter.Seq2[Input, error] {
	return func(yield func(Input, error) bool) {
		n := 0
		for item, err := range chain.Items(ctx) {
			if err != nil {
				yield(Input{}, err)
				return
			}
			n++
			in := Input{Line: n, Kind: chain.Kind, Text: item.Packed, header: item.Key, offset: item.Offset}
			switch item.Status {
			case dataroot.Deleted:
				counts.deleted.Add(1)
				continue
			case dataroot.Older:
				counts.older.Add(1)
				continue
			case dataroot.Broken:
				counts.damaged.Add(1)
				in.Err = damagedError(chain, item)
			}
			if in.header == "" && in.Err == nil {
				in.Err = &InputError{Reason: HeaderMismatch, Detail: "it was kept under no header"}
			}
			if !yield(in, nil) {
				return
			}
		}
	}
}

func damagedError(chain *dataroot.Chain, item dataroot.Item) error {
	f := chain.Finding(item)
	return &InputError{Reason: InputReason(f.Reason), Detail: f.Detail}
}

// setAside keeps what is shown of a private kind in a file of its own, beside what is there from before. The file is
// replaced whole or not at all.
func (i *legacyImport) setAside(ctx context.Context, chain *dataroot.Chain, sum *LegacyKind) (err error) {
	if err := ledger.CheckKind(chain.Kind); err != nil {
		return err // no genesis document names such a kind
	}
	dir := filepath.Join(i.Dir, SetAsideDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sum.SetAside = filepath.Join(dir, chain.Kind+".pydb")
	f, err := CreateAtomic(sum.SetAside)
	if err != nil {
		return err
	}
	f.Private = true
	defer func() { err = errors.Join(err, f.Abort()) }() // does nothing after Commit
	out := legacy.NewChainWriter(f, nil, nil)
	held := map[string]record.ContentID{}
	if err := keepSetAside(sum.SetAside, out, held); err != nil {
		return err
	}
	var checker record.Checker
	strength := i.w.genesis.StrengthOf(chain.Kind)
	for item, err := range chain.Items(ctx) {
		if err != nil {
			return err
		}
		status, bad := Stored, error(nil)
		var id record.ContentID
		switch item.Status {
		case dataroot.Deleted:
			sum.Deleted++
			continue
		case dataroot.Older:
			sum.Older++
			continue
		case dataroot.Broken:
			sum.Damaged++
			status, bad = Refused, damagedError(chain, item)
		default:
			_, facts, err := checker.Normalise(item.Packed, strength)
			if err == nil {
				err = Input{header: item.Key}.keptAs(facts.Header)
			}
			if err != nil {
				status, bad = Refused, err
			}
			id = facts.ContentID
		}
		if status == Stored {
			before, known := held[item.Key]
			switch {
			case known && before == id:
				status = Duplicate
			case known:
				status, bad = Conflict, fmt.Errorf("%s has another record with this header", sum.SetAside)
			default:
				if err := out.Add(item.Key, item.Packed); err != nil {
					return err
				}
				held[item.Key] = id
			}
		}
		sum.count(status)
		i.settled()
		if bad != nil {
			at := item.Offset
			if err := i.problem(LegacyProblem{Finding: dataroot.Finding{File: chain.File, Kind: chain.Kind, Offset: &at, Header: item.Key}, Status: status, Err: bad}); err != nil {
				return err
			}
		}
	}
	if sum.Stored == 0 {
		return nil
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	return store.SyncDir(i.Dir)
}

// keepSetAside copies what was set aside before, and notes it by header.
func keepSetAside(path string, out *legacy.ChainWriter, held map[string]record.ContentID) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for r, err := range legacy.ReadChain(f) {
		if err != nil {
			return fmt.Errorf("%s: %w; move it away, and import again", path, err)
		}
		parsed, err := record.Parse(r.Packed)
		if err != nil {
			return fmt.Errorf("%s: %w; move it away, and import again", path, err)
		}
		if held[r.Key], err = parsed.ContentID(); err != nil {
			return err
		}
		if err := out.Add(r.Key, r.Packed); err != nil {
			return err
		}
	}
	return nil
}
