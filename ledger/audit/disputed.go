package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"pyvnode/ledger"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/ledger/store/raw"
)

// Evidence freezes the log of the accused, and what stands at or after the freeze is disputed. For
// disputed entries the rules are those by which a store takes them. In the log as it is held they
// are as sound as all others, but for signatures: the accused may have signed a later entry over
// one that nobody signed, which is then the evidence. On other branches, what an entry names must
// be held, exactly and with the right height. What more it says counts for nothing. An entry file
// holds disputed entries only as far as undisputed ones lead to them. All of them are checked like
// those of other branches.

// Evidence is a piece of evidence that a ledger holds, verified by the audit.
type Evidence struct {
	Origin ledger.Origin `json:"origin"` // the accused
	Seq    uint64        `json:"seq"`    // the first disputed entry
	Kind   string        `json:"kind"`
	ID     ledger.Hash   `json:"id"`
	What   string        `json:"what"` // what the accused did, in words without the subject
}

// freeze is the place at which a log is frozen. If the evidence is damaged, the place is not known.
// Then all of the log counts as disputed, so that the damage is reported once and not for every
// entry.
type freeze struct {
	seq      uint64
	evidence *proof.Evidence // nil if it is damaged
}

// node is an entry as one of those that others name.
type node struct {
	ledger.Citation // the height is zero if it is not known
	prev            ledger.Hash
	seen            []ledger.Citation // of those in the log as it is held: only disputed entries
}

// branch is an entry of another branch.
type branch struct {
	node
	where  string // its key, or its place in a file
	entry  bool   // it could be read
	signed bool   // only found out if no evidence covers it: a citation names it with its signature, good or bad
}

func (c *chain) disputed(o ledger.Origin, seq uint64) bool {
	f := c.frozen[o]
	return f != nil && seq >= f.seq
}

// cites notes citations of disputed entries, which the frontier depends on.
func (c *chain) cites(by store.Ref, seen []ledger.Citation) {
	if len(c.frozen) == 0 {
		return
	}
	for _, s := range seen {
		switch {
		case !c.disputed(s.Origin, s.Seq):
		case c.disputed(by.Origin, by.Seq):
			c.onward[by] = append(c.onward[by], s)
		default:
			c.led[s.Hash] = s
		}
	}
}

// exact returns the entry with a hash at a place, in the log as it is held or on another branch. Lost says that there is
// one that cannot be read, and may be it.
func (c *chain) exact(want ledger.Citation) (n *node, lost bool) {
	if b := c.branches[want.Hash]; b != nil && b.Origin == want.Origin && b.Seq == want.Seq {
		return &b.node, false
	}
	l := c.logs[want.Origin]
	if l == nil {
		return nil, want.Seq < c.expected[want.Origin]
	}
	switch is := l.refs.at(want.Seq); {
	case is == nil:
		return nil, want.Seq < max(l.next, c.expected[want.Origin])
	case is.hash.IsZero():
		return nil, true
	case is.hash != want.Hash:
		return nil, false
	default:
		n := &node{Citation: want, seen: c.onward[store.Ref{Origin: want.Origin, Seq: want.Seq}]}
		n.Height = is.height
		if want.Seq > 0 {
			if before := l.refs.at(want.Seq - 1); before != nil {
				n.prev = before.hash
			}
		}
		return n, false
	}
}

// reached returns the disputed entries that undisputed ones lead to, by hash; newest are those that no other of them names
// as predecessor. It does not use [ledger.Follow], by which stores work the same out: an audit that shared it would share
// its faults.
func (c *chain) reached() map[ledger.Hash]*reached {
	all := map[ledger.Hash]*reached{}
	followed := map[ledger.Hash]bool{}
	for todo := slices.Collect(maps.Values(c.led)); len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if all[at.Hash] != nil || !c.disputed(at.Origin, at.Seq) {
			continue
		}
		n, _ := c.exact(at)
		if n == nil {
			continue // reported by the entry that names it
		}
		all[at.Hash] = &reached{Citation: n.Citation}
		todo = append(todo, n.seen...)
		if at.Seq > 0 {
			followed[n.prev] = true
			todo = append(todo, ledger.Citation{Origin: at.Origin, Seq: at.Seq - 1, Hash: n.prev})
		}
	}
	for hash, is := range all {
		is.newest = !followed[hash]
	}
	return all
}

type reached struct {
	ledger.Citation
	newest bool
}

// rows returns the frontier of what was read.
func (c *chain) rows() ledger.Frontier {
	var f ledger.Frontier
	for _, l := range c.order {
		if z := c.frozen[l.Origin]; l.any && (z == nil || z.evidence == nil) {
			f = append(f, ledger.Row{Citation: l.newest})
		}
	}
	cited := map[ledger.Origin][]ledger.Hash{}
	for hash, is := range c.reached() {
		if is.newest {
			cited[is.Origin] = append(cited[is.Origin], hash)
		}
	}
	for o, z := range c.frozen {
		if z.evidence == nil {
			continue
		}
		row := ledger.Row{Citation: ledger.Citation{Origin: o}, Frozen: &ledger.Freeze{Seq: z.seq, Evidence: z.evidence.ID(), Cited: ledger.CitedHash(cited[o])}}
		if l := c.logs[o]; l != nil && !l.undisputed.Hash.IsZero() {
			row.Citation = l.undisputed
		}
		if c.genesis.Covers(&row) {
			f = append(f, row)
		}
	}
	f.Sort()
	return f
}

// freeze takes a piece of evidence that was parsed. If it proves nothing, that is a finding.
func (c *chain) freeze(where string, ev *proof.Evidence, g *ledger.Genesis) {
	o := ev.Origin()
	is := c.frozen[o]
	if err := ev.Verify(g); err != nil {
		c.report.where(where, ReasonEvidence, "%v", err)
		if is == nil {
			c.frozen[o] = &freeze{}
		}
		return
	}
	if is == nil || is.evidence == nil || ev.Compare(is.evidence) < 0 {
		c.frozen[o] = &freeze{ev.Seq(), ev}
	}
}

// evidence returns the evidence that counts, by origin.
func (c *chain) evidence() []Evidence {
	list := []Evidence{}
	for _, o := range slices.SortedFunc(maps.Keys(c.frozen), ledger.Origin.Compare) {
		if ev := c.frozen[o].evidence; ev != nil {
			list = append(list, Evidence{ev.Origin(), ev.Seq(), ev.Kind().String(), ev.ID(), ev.Reason()})
		}
	}
	return list
}

// readEvidence finds out which logs are frozen.
func (a *directory) readEvidence(ctx context.Context, c *chain) {
	for raw, err := range raw.ScanEvidence(ctx, a.d) {
		switch {
		case err != nil:
			a.report.where("/v", ReasonUnreadable, "%v", err)
			return
		case raw.Err == nil:
			c.freeze(raw.Key, raw.Evidence, a.g)
		default:
			a.report.where(raw.Key, ReasonEvidence, "%v", raw.Err)
			if raw.Origin != (ledger.Origin{}) {
				c.frozen[raw.Origin] = &freeze{}
			}
		}
	}
	a.checkFrozen(ctx, c)
}

// checkFrozen compares the evidence with the rows that say which pieces there must be. If one is
// lost, its place is still known.
func (a *directory) checkFrozen(ctx context.Context, c *chain) {
	listed := map[ledger.Origin]bool{}
	for raw, err := range raw.ScanFrozen(ctx, a.d) {
		if err != nil {
			a.report.where("/frozen", ReasonUnreadable, "%v", err)
			return
		}
		listed[raw.Origin] = true
		switch is := c.frozen[raw.Origin]; {
		case raw.Err != nil:
			a.report.where(raw.Key, ReasonIndex, "%v", raw.Err)
		case is == nil:
			a.report.where(raw.Key, ReasonMissing, "evidence %v froze the log of %v at entry %d, and is not there", raw.ID, raw.Origin, raw.Seq)
			c.frozen[raw.Origin] = &freeze{seq: raw.Seq}
		case is.evidence == nil: // damaged, which is reported where it stands
		case raw.Lacks(is.evidence):
			a.report.where(raw.Key, ReasonMissing, "evidence %v froze the log of %v at entry %d, and in its place stands %v",
				raw.ID, raw.Origin, raw.Seq, is.evidence.ID())
		case raw.ID != is.evidence.ID() || raw.Seq != is.seq:
			a.report.where(raw.Key, ReasonIndex, "names evidence %v, held is %v", raw.ID, is.evidence.ID())
		}
	}
	for o, is := range c.frozen {
		if is.evidence != nil && !listed[o] {
			a.report.where(raw.FrozenKey(o), ReasonMissing, "there is evidence against this origin, and nothing that says so")
		}
	}
}

// addBranch notes an entry of another branch.
func (c *chain) addBranch(b *branch) {
	c.branches[b.Hash] = b
	c.apart = append(c.apart, b)
}

// acceptDisputed takes a disputed entry of an entry file.
func (c *chain) acceptDisputed(it *item) {
	r, h := c.report, &it.entry.Header
	b := &branch{where: it.where, entry: true}
	b.Citation, b.prev, b.seen = it.entry.Citation(), h.Prev, slices.Clone(h.Seen) // the entry is used again
	if c.branches[b.Hash] != nil {
		b.report(r, ReasonSurplus, "the same entry comes again")
		return
	}
	c.addBranch(b)
	bad := slices.DeleteFunc(it.invalid, isSignature)
	for _, err := range bad {
		b.report(r, unreadable(err), "%v", err)
	}
	if len(bad) == 0 {
		r.Records++
	}
}

// checkDisputed checks what the disputed entries of an entry file name, and that undisputed ones lead to them.
func (c *chain) checkDisputed() {
	led := c.reached()
	for _, b := range c.apart {
		c.report.Disputed++
		c.checkBranch(b)
		if led[b.Hash] == nil {
			b.report(c.report, ReasonSurplus, "it is disputed, and no undisputed entry leads to it")
		}
	}
}

// readBranches reads the entries of other branches and checks each by itself.
func (a *directory) readBranches(ctx context.Context, c *chain) {
	r, checker := a.report, ledger.Checker{Genesis: a.g}
	for raw, err := range raw.ScanBranches(ctx, a.d) {
		if err != nil {
			r.where("/b", ReasonUnreadable, "%v", err)
			return
		}
		r.Entries++
		b := &branch{where: raw.Key, entry: raw.Err == nil}
		b.Origin, b.Seq, b.Hash = raw.Origin, raw.Seq, raw.Hash
		if raw.Err != nil {
			if r.where(raw.Key, unreadable(raw.Err), "%v", raw.Err); raw.Hash.IsZero() {
				continue
			}
		} else {
			b.Height, b.prev = raw.Entry.Header.Height, raw.Entry.Header.Prev
			b.seen = slices.Clone(raw.Entry.Header.Seen)
			if _, err := checker.Check(raw.Entry); err != nil {
				b.report(r, unreadable(err), "%v", err)
			} else {
				r.Records++
			}
			if !c.disputed(b.Origin, b.Seq) {
				b.signed = raw.Entry.VerifySignature()
			}
		}
		c.addBranch(b)
	}
}

func (b *branch) report(r *Report, reason ledger.Reason, format string, args ...any) {
	r.add(Finding{Origin: &b.Origin, Seq: b.Seq, Where: b.where, Reason: reason, Detail: fmt.Sprintf(format, args...)})
}

// checkBranches checks what the entries of other branches name, when all that is held is known.
func (a *directory) checkBranches(ctx context.Context, c *chain) {
	signed := map[store.Ref]int{}
	for _, b := range c.apart {
		if b.signed {
			signed[store.Ref{Origin: b.Origin, Seq: b.Seq}]++
		}
	}
	for _, b := range c.apart {
		if c.disputed(b.Origin, b.Seq) {
			a.report.Disputed++
		}
		var main *ref
		if l := c.logs[b.Origin]; l != nil {
			main = l.refs.at(b.Seq)
		}
		switch {
		case main != nil && main.hash == b.Hash:
			b.report(a.report, ReasonSurplus, "the log itself has this entry")
		case c.disputed(b.Origin, b.Seq):
		case b.signed && (signed[store.Ref{Origin: b.Origin, Seq: b.Seq}] > 1 || a.signed(ctx, b.Origin, b.Seq)):
			b.report(a.report, ReasonFork, "the origin signed another entry for this place, and there is no evidence that freezes its log here")
		default:
			b.report(a.report, ReasonSurplus, "an entry of another branch, and there is no evidence that freezes the log here")
		}
		if b.entry {
			c.checkBranch(b)
		}
	}
}

// signed reports whether the entry at a place of the log as it is held has a good signature.
func (a *directory) signed(ctx context.Context, o ledger.Origin, seq uint64) bool {
	for number, h := range a.heads {
		if h.Log.Origin != o {
			continue
		}
		raw, err := raw.GetEntry(ctx, a.d, number, seq)
		if err != nil || raw.Err != nil {
			return false
		}
		e, err := ledger.DecodeEntry(raw.Bytes)
		return err == nil && e.VerifySignature()
	}
	return false
}

func (c *chain) checkBranch(b *branch) {
	r := c.report
	height, known := uint64(0), true
	if b.Seq > 0 {
		switch before, lost := c.exact(ledger.Citation{Origin: b.Origin, Seq: b.Seq - 1, Hash: b.prev}); {
		case before != nil:
			height, known = before.Height, before.Height > 0
		case lost:
			known = false
		default:
			known = false
			b.report(r, ledger.ReasonPrev, "names %s as predecessor, which is not held", b.prev.Short())
		}
	}
	for _, s := range b.seen {
		switch n, lost := c.exact(s); {
		case n == nil && !lost:
			b.report(r, ledger.ReasonCitation, "cites entry %d of %v as %s, which is not held", s.Seq, s.Origin, s.Hash.Short())
		case n != nil && n.Height != 0 && n.Height != s.Height:
			b.report(r, ledger.ReasonCitation, "cites entry %d of %v with height %d, which has %d", s.Seq, s.Origin, s.Height, n.Height)
		}
	}
	if want := ledger.NextHeight(height, b.seen); known && b.Height != want {
		b.report(r, ledger.ReasonHeight, "states %d, its predecessor and citations make it %d", b.Height, want)
	}
}

// frozenMark checks that a piece of evidence is still there. Another piece may have taken its
// place, if it is less.
func frozenMark(row *ledger.Row, c *chain, report *Report) {
	was, is := row.Frozen, c.frozen[row.Origin]
	if is == nil || is.evidence != nil && cmp.Or(cmp.Compare(is.seq, was.Seq), is.evidence.ID().Compare(was.Evidence)) > 0 {
		report.at(row.Origin, was.Seq, ReasonRollback, "evidence %s froze the log here when "+store.WatermarkFile+" was written, and is not there", was.Evidence.Short())
	}
}
