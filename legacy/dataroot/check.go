package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
)

// Options configure a check.
type Options struct {
	Strength int           // that proofs must have, in zero hex digits
	Found    func(Finding) // is called with what is wrong, in the order of the files, within the bounds of [Capped]
	Unused   func(Finding) // is called with what nothing here reads, likewise; see [Root.Unused]
	Progress func(done uint64)
}

// Report says what a data directory holds.
type Report struct {
	Kinds    map[string]*KindReport `json:"kinds"`
	Users    int                    `json:"users"`
	Site     string                 `json:"site_id,omitempty"`
	Keys     int                    `json:"keys"`
	Hosts    []string               `json:"hosts"`
	Files    int                    `json:"files"` // of users
	Bytes    int64                  `json:"file_bytes"`
	Findings uint64                 `json:"findings"` // those that were only counted too
	Unused   uint64                 `json:"not_taken"`
	Duration time.Duration          `json:"-"`
	Millis   int64                  `json:"duration_ms"`
}

// KindReport says what the chain of a kind holds.
type KindReport struct {
	Counts
	Sound  uint64 `json:"sound"`  // whose hash, proof and link are right, of those that are shown
	Linked uint64 `json:"linked"` // of them, with a link
	Bytes  int64  `json:"bytes"`
}

// Check reads a data directory whole. An error is of reading or of the context; whatever is wrong with the directory is
// a finding.
func Check(ctx context.Context, r *Root, o Options) (*Report, error) {
	start := time.Now()
	c := &check{Options: o, root: r, report: &Report{Kinds: map[string]*KindReport{}, Hosts: []string{}}}
	if err := c.all(ctx); err != nil {
		return nil, err
	}
	rest(&c.capped, c.Found)
	rest(&c.cappedUnused, c.Options.Unused)
	c.report.Duration = time.Since(start)
	c.report.Millis = c.report.Duration.Milliseconds()
	return c.report, nil
}

type check struct {
	Options
	root   *Root
	report *Report
	done   uint64 // records

	capped, cappedUnused Capped
}

func (c *check) found(f Finding) {
	c.report.Findings++
	if c.capped.Tell(f.File) && c.Found != nil {
		c.Found(f)
	}
}

func (c *check) unused(f Finding) {
	c.report.Unused++
	if c.cappedUnused.Tell(f.File) && c.Options.Unused != nil {
		c.Options.Unused(f)
	}
}

func rest(of *Capped, tell func(Finding)) {
	if tell == nil {
		return
	}
	for _, f := range of.Rest() {
		tell(f)
	}
}

func (c *check) all(ctx context.Context) error {
	for _, s := range c.root.Sources(c.found) {
		if err := c.source(ctx, s); err != nil {
			return err
		}
	}
	users := map[string]bool{}
	for _, u := range c.root.Users(c.found) {
		users[u.Name] = true
	}
	c.report.Users = len(users)
	if id := c.root.SiteID(c.found); id != uuid.Nil {
		c.report.Site = id.String()
	}
	c.report.Keys = len(c.root.Keys(c.found))

	hosts, err := c.root.Hosts(ctx, c.found)
	if err != nil {
		return err
	}
	c.report.Hosts = append(c.report.Hosts, hosts...)

	strangers := map[string]bool{}
	for f, err := range c.root.Files(ctx, c.foundFile) {
		if err != nil {
			return err
		}
		c.report.Files++
		c.report.Bytes += f.Size
		if !users[f.User] {
			strangers[f.User] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(strangers)) {
		c.found(Finding{File: payloadDir + "/" + name, Reason: NotAUsersDir, Detail: "files of somebody who is no user"})
	}
	c.root.Unused(c.foundFile)
	return nil
}

// foundFile takes findings that may be no faults.
func (c *check) foundFile(f Finding) {
	if f.Reason == NotTaken {
		c.unused(f)
	} else {
		c.found(f)
	}
}

// checked is a record on its way through the check.
type checked struct {
	Item
	facts record.Facts
	prev  string // _PrevHash
	link  string
	err   error
}

// source checks a chain file, and what is to be replicated of it.
func (c *check) source(ctx context.Context, s Source) error {
	if err := ledger.CheckKind(s.Kind); err != nil {
		c.found(Finding{File: path.Dir(s.File), Kind: s.Kind, Reason: BadKind, Detail: err.Error()})
	}
	if chain := c.root.Chain(s, c.found); chain != nil {
		err := c.chain(ctx, chain)
		if errors.Is(err, ErrManyRecords) {
			c.found(Finding{File: s.File, Kind: s.Kind, Reason: TooMany, Detail: ErrManyRecords.Error()})
			err = nil
		}
		if err := errors.Join(err, chain.Close()); err != nil {
			return err
		}
	}
	if s.File != chainPath(s.Kind, legacy.ChainFileName) {
		return nil
	}
	for _, name := range []string{replicFile, stateFile} {
		if err := c.queue(ctx, chainPath(s.Kind, name), s.Kind); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) chain(ctx context.Context, chain *Chain) error {
	kind := c.report.Kinds[chain.Kind]
	if kind == nil {
		kind = new(KindReport)
		c.report.Kinds[chain.Kind] = kind
	}
	kind.Bytes += chain.Size
	index := chain.checkIndex(c.found)
	links := map[string]bool{}
	settle := func(batch []checked) {
		for i := range batch {
			one := &batch[i]
			c.done++
			kind.Count(one.Status)
			if one.Status == Broken {
				c.found(chain.Finding(one.Item))
			}
			index.frame(one.Item)
			if one.Status == Broken || one.Status == Deleted {
				continue
			}
			at := one.Offset
			report := func(reason Reason, detail string) {
				c.found(Finding{File: chain.File, Kind: chain.Kind, Offset: &at, Header: one.Key, Reason: reason, Detail: detail})
			}
			if one.err != nil {
				reason, detail := recordFinding(one.err)
				report(reason, detail)
				continue
			}
			if header := one.facts.Header.String(); header != one.Key {
				report(Mismatch, fmt.Sprintf("it was kept under this header and has the header %s", header))
				continue
			}
			if one.Status == Shown {
				kind.Sound++
			}
			if one.link == "" {
				continue
			}
			kind.Linked++
			if one.prev != "" && !links[one.prev] && len(links) > 0 {
				report(BrokenLink, "no record before it has the link that it names as its predecessor's")
			}
			links[one.link] = true
		}
		if c.Progress != nil {
			c.Progress(c.done)
		}
	}
	const many, large = 1024, 8 << 20 // records, bytes
	var batch []checked
	bytes := 0
	for item, err := range chain.Items(ctx) {
		if err != nil {
			return err
		}
		bytes += len(item.Packed)
		if batch = append(batch, checked{Item: item}); len(batch) == many || bytes > large {
			c.records(batch)
			settle(batch)
			batch, bytes = batch[:0], 0
		}
	}
	c.records(batch)
	settle(batch)
	index.end()
	return nil
}

// records checks records on all cores.
func (c *check) records(batch []checked) {
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var checker record.Checker
			for i := w; i < len(batch); i += workers {
				one := &batch[i]
				if one.Status == Shown || one.Status == Older {
					one.facts, one.prev, one.link, one.err = checkRecord(&checker, one.Packed, c.Strength)
				}
				one.Packed = nil
			}
		})
	}
	wg.Wait()
}

func checkRecord(checker *record.Checker, packed []byte, strength int) (facts record.Facts, prev, link string, err error) {
	r, err := record.Parse(packed)
	if err != nil {
		return facts, "", "", err
	}
	text := func(key string) string {
		v, _ := r.Get(key)
		t, _ := v.(record.Text)
		return string(t)
	}
	normal, err := r.Normal()
	if err != nil {
		return facts, "", "", err
	}
	facts, err = checker.Check(normal, strength)
	return facts, text(record.KeyPrevHash), text(record.KeyLink), err
}

// queue checks that the records of a file about replication are what was written. What is in them is not looked at: it
// is about deliveries, and no part of the chain.
func (c *check) queue(ctx context.Context, name, kind string) error {
	f, size, err := c.root.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.found(unreadable(name, err))
		return nil
	}
	defer func() { _ = f.Close() }()
	if size > legacy.MaxChainFile {
		c.found(Finding{File: name, Kind: kind, Reason: TooLarge, Detail: fmt.Sprintf("it has %d bytes; the original can use %d, and only those are read", size, int64(legacy.MaxChainFile))})
		size = legacy.MaxChainFile
	}
	for frame, err := range legacy.ScanChain(f, size, nil, c.root.effort) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if frame.Err == nil {
			continue
		}
		at, reason := frame.Offset, Damaged
		if at == 0 {
			reason = WrongHeader
		}
		c.found(Finding{File: name, Kind: kind, Offset: &at, Header: frame.Key, Reason: reason, Detail: frame.Err.Error()})
	}
	return nil
}
