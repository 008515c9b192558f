package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
)

// Options configure a check.
type Options struct {
	Strength int           // that proofs must have, in zero hex digits
	Found    func(Finding) // is called with everything that is wrong, in the order of the files
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
	Findings uint64                 `json:"findings"`
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
	c.report.Duration = time.Since(start)
	c.report.Millis = c.report.Duration.Milliseconds()
	return c.report, nil
}

type check struct {
	Options
	root   *Root
	report *Report
	done   uint64 // records
}

func (c *check) found(findings ...Finding) {
	for _, f := range findings {
		c.report.Findings++
		if c.Found != nil {
			c.Found(f)
		}
	}
}

func (c *check) all(ctx context.Context) error {
	kinds, findings := c.root.Kinds()
	c.found(findings...)
	for _, kind := range kinds {
		if err := c.kind(ctx, kind); err != nil {
			return err
		}
	}
	users, findings := c.root.Users()
	c.found(findings...)
	c.report.Users = len(users)

	id, findings := c.root.SiteID()
	c.found(findings...)
	if len(findings) == 0 {
		c.report.Site = id.String()
	}
	keys, findings := c.root.Keys()
	c.found(findings...)
	c.report.Keys = len(keys)

	hosts, findings, err := c.root.Hosts(ctx)
	c.found(findings...)
	if err != nil {
		return err
	}
	c.report.Hosts = append(c.report.Hosts, hosts...)

	strangers := map[string]bool{}
	for f, err := range c.root.Files(ctx, func(f Finding) { c.found(f) }) {
		if err != nil {
			return err
		}
		c.report.Files++
		c.report.Bytes += f.Size
		if !slices.ContainsFunc(users, func(u User) bool { return u.Name == f.User }) {
			strangers[f.User] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(strangers)) {
		c.found(Finding{File: payloadDir + "/" + name, Reason: NotAUsersDir, Detail: "files of somebody who is no user"})
	}
	return nil
}

// checked is a record on its way through the check.
type checked struct {
	Item
	facts record.Facts
	prev  string // _PrevHash
	link  string
	err   error
}

// kind checks the chain of a kind, and what is to be replicated of it.
func (c *check) kind(ctx context.Context, kind string) error {
	if err := ledger.CheckKind(kind); err != nil {
		c.found(Finding{File: chainDir + "/" + kind, Kind: kind, Reason: BadKind, Detail: err.Error()})
	}
	chain, findings := c.root.Chain(kind)
	c.found(findings...)
	if chain != nil {
		err := c.chain(ctx, chain)
		if err := errors.Join(err, chain.Close()); err != nil {
			return err
		}
	}
	for _, name := range []string{replicFile, stateFile} {
		if err := c.queue(ctx, chainPath(kind, name), kind); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) chain(ctx context.Context, chain *Chain) error {
	kind := &KindReport{Bytes: chain.Size}
	c.report.Kinds[chain.Kind] = kind
	index := chain.checkIndex(func(f Finding) { c.found(f) })
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
				c.found(Finding{File: chain.path, Kind: chain.Kind, Offset: &at, Header: one.Key, Reason: reason, Detail: detail})
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
	const many = 1024
	var batch []checked
	for item, err := range chain.Items(ctx) {
		if err != nil {
			return err
		}
		if batch = append(batch, checked{Item: item}); len(batch) == many {
			c.records(batch)
			settle(batch)
			batch = batch[:0]
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
	for frame, err := range legacy.ScanChain(f, size, nil) {
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
