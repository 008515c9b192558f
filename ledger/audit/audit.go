// Package audit re-derives a whole ledger from its bytes and compares. It trusts no verdict that
// was stored and nothing that an index says.
//
// [Directory] audits a data directory, [Datastore] what is in a datastore, [EntryFile] an entry
// file and [JSONLines] a readable export. Each returns a [Report] with its findings. Headers,
// hashes, signatures, predecessors, Merkle roots, sequence numbers, heights and citations are
// checked anew, and so are the normal form, hash, proof of work and link of each record. Every
// index row must follow from an entry, and every entry must have its rows. Evidence is verified.
// From evidence and entries follows which logs are frozen, at which entry, and which disputed
// entries belong to the ledger all the same.
//
// An audit only reads. It reports every damaged position with what is wrong there, and goes on
// after it. If an entry cannot be read, its successor says which hash it must have had, so that one
// damaged entry does not accuse those after it.
//
// # Files
//
//	audit.go       options, reports and findings
//	directory.go   data directories and datastores: entries, heads, indexes, watermark
//	chain.go       the logs, entry by entry
//	disputed.go    evidence, frozen logs and other branches, worked out independently of the store
//	files.go       entry files and readable exports
package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pyvnode/ledger"
)

// Options configure an audit. The zero value checks everything on all cores.
type Options struct {
	// SkipSignatures leaves the signatures out, which are most of the work. Links and roots still show every change to
	// an entry that a later entry commits to.
	SkipSignatures bool
	// Workers is how many goroutines check entries; 0 means one for each core.
	Workers int
	// Progress is called now and then, from one goroutine.
	Progress func(Progress)
}

// Progress says how far an audit is.
type Progress struct {
	Done  uint64 // entries
	Total uint64 // 0 when not known beforehand
}

// MaxFindings is how many findings a report lists. The others are counted.
const MaxFindings = 1000

// Report is the outcome of an audit.
type Report struct {
	Source      string          `json:"source"`              // data directory, entries or records
	Network     ledger.Hash     `json:"network"`             // zero if the source does not say
	Name        string          `json:"name,omitempty"`      // of the network
	Entries     uint64          `json:"entries"`             // that were read
	Records     uint64          `json:"records"`             // that are sound
	Signatures  uint64          `json:"signatures"`          // that were checked
	IndexRows   uint64          `json:"index_rows"`          // that were compared
	Evidence    []Evidence      `json:"evidence"`            // that holds, by origin
	Disputed    uint64          `json:"disputed"`            // entries at or after the place at which their log is frozen
	Frontier    ledger.Frontier `json:"frontier"`            // as entries and evidence make it
	Digest      *ledger.Hash    `json:"digest,omitempty"`    // of the frontier
	Leftovers   []string        `json:"leftovers,omitempty"` // files that writing began and did not finish; no part of the ledger
	Findings    []Finding       `json:"findings"`            // in order of place; at most [MaxFindings]
	FindingsAll uint64          `json:"findings_all"`        // how many there are
	Duration    time.Duration   `json:"-"`
	Millis      int64           `json:"duration_ms"`
}

// Clean reports whether nothing was found.
func (r *Report) Clean() bool { return r.FindingsAll == 0 }

// Finding is one thing that is not as it must be.
type Finding struct {
	Origin *ledger.Origin `json:"origin,omitempty"` // with Seq: which entry
	Seq    uint64         `json:"seq"`              // left out of the JSON if there is no origin
	Where  string         `json:"where,omitempty"`  // key, file, byte or line, if it is not about an entry
	Reason ledger.Reason  `json:"reason"`
	Detail string         `json:"detail"`
}

// MarshalJSON writes Seq if and only if the finding is about an entry, of which 0 is one.
func (f Finding) MarshalJSON() ([]byte, error) {
	type plain Finding // without this method
	form := struct {
		Origin *ledger.Origin `json:"origin,omitempty"`
		Seq    *uint64        `json:"seq,omitempty"`
		plain
	}{Origin: f.Origin, plain: plain(f)}
	if f.Origin != nil {
		form.Seq = &f.Seq
	}
	return json.Marshal(form)
}

func (f Finding) String() string {
	switch {
	case f.Origin != nil && f.Where != "":
		return fmt.Sprintf("entry %d of %v (%s): %s: %s", f.Seq, f.Origin, f.Where, f.Reason, f.Detail)
	case f.Origin != nil:
		return fmt.Sprintf("entry %d of %v: %s: %s", f.Seq, f.Origin, f.Reason, f.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", f.Where, f.Reason, f.Detail)
}

// Reasons that an audit adds to those of entries and records.
const (
	ReasonUnreadable ledger.Reason = "unreadable"     // bytes that the storage itself reports as damaged
	ReasonMissing    ledger.Reason = "missing"        // something that must be there
	ReasonSurplus    ledger.Reason = "surplus"        // something that must not be there
	ReasonIndex      ledger.Reason = "index-mismatch" // an index that does not follow from the entries
	ReasonHead       ledger.Reason = "head-mismatch"  // a stored head that does not follow from the entries
	ReasonHash       ledger.Reason = "hash-mismatch"  // an entry that is not what its successor names
	ReasonFile       ledger.Reason = "damaged-file"
	ReasonRollback   ledger.Reason = "rollback"     // less than the watermark says was held
	ReasonEvidence   ledger.Reason = "bad-evidence" // what stands in the place of evidence and proves nothing
	ReasonFork       ledger.Reason = "fork"         // two signed entries for one place, and no evidence of it
)

func (r *Report) add(f Finding) {
	r.FindingsAll++
	if len(r.Findings) < MaxFindings {
		r.Findings = append(r.Findings, f)
	}
}

func (r *Report) at(o ledger.Origin, seq uint64, reason ledger.Reason, format string, args ...any) {
	r.add(Finding{Origin: &o, Seq: seq, Reason: reason, Detail: fmt.Sprintf(format, args...)})
}

func (r *Report) where(where string, reason ledger.Reason, format string, args ...any) {
	r.add(Finding{Where: where, Reason: reason, Detail: fmt.Sprintf(format, args...)})
}

// naturally compares texts, and numbers in them by their value: line 2 stands before line 10.
func naturally(a, b string) int {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	for a != "" && b != "" {
		if !digit(a[0]) || !digit(b[0]) {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		number := func(text string) (value, rest string) {
			n := 0
			for n < len(text) && digit(text[n]) {
				n++
			}
			return strings.TrimLeft(text[:n], "0"), text[n:]
		}
		numberA, restA := number(a)
		numberB, restB := number(b)
		if c := cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB)); c != 0 {
			return c
		}
		a, b = restA, restB
	}
	return cmp.Compare(len(a), len(b))
}

// finish puts the findings in order and fills in what follows from the rest.
func (r *Report) finish(start time.Time) {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		switch {
		case a.Origin == nil && b.Origin == nil:
			return naturally(a.Where, b.Where)
		case a.Origin == nil:
			return -1
		case b.Origin == nil:
			return 1
		}
		return cmp.Or(a.Origin.Compare(*b.Origin), cmp.Compare(a.Seq, b.Seq))
	})
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Evidence == nil {
		r.Evidence = []Evidence{}
	}
	if r.Frontier == nil {
		r.Frontier = ledger.Frontier{}
	}
	r.Frontier.Sort()
	if !r.Network.IsZero() {
		digest := r.Frontier.Digest(r.Network)
		r.Digest = &digest
	}
	r.Duration = time.Since(start)
	r.Millis = r.Duration.Milliseconds()
}
