package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// logEvery is how often long work without a terminal says how far it is.
const logEvery = 5 * time.Second

// progress shows how far long work is: as a bar on a terminal, otherwise as a line in the log every few seconds. Its
// methods are for one goroutine.
type progress struct {
	a     *app
	what  string
	unit  string
	total uint64                   // 0 when not known
	bar   *progressbar.ProgressBar // nil without a terminal
	shown bool
	start time.Time
	last  time.Time
}

func (a *app) progress(what, unit string, total uint64) *progress {
	now := time.Now()
	p := &progress{a: a, what: what, unit: unit, total: total, start: now, last: now}
	if !a.quiet && isTerminal(a.stderr) {
		p.bar = newBar(a.stderr, what, unit, total) // measures from here on, and shows nothing yet
	}
	return p
}

// expect sets how much there is to do.
func (p *progress) expect(total uint64) {
	if p.total = total; p.bar != nil {
		p.bar.ChangeMax64(int64(total))
	}
}

// set says how much is done. Work that is over at once shows nothing.
func (p *progress) set(done uint64) {
	const patience = 200 * time.Millisecond
	now := time.Now()
	switch {
	case p.a.quiet || now.Sub(p.start) < patience:
	case p.bar != nil:
		p.shown = true
		if p.total > 0 {
			done = min(done, p.total) // an expectation may be exceeded
		}
		_ = p.bar.Set64(int64(done)) // a bar that cannot be drawn is no reason to stop
	case now.Sub(p.last) >= logEvery:
		p.last = now
		p.a.log.Info(p.what, "done", done, "total", p.total, "unit", p.unit, "elapsed", now.Sub(p.start).Round(time.Second))
	}
}

// stop takes the bar away.
func (p *progress) stop() {
	if p.shown {
		_ = p.bar.Clear()
	}
	p.bar, p.shown = nil, false
}

func newBar(w io.Writer, what, unit string, total uint64) *progressbar.ProgressBar {
	limit := int64(total)
	if limit == 0 {
		limit = -1 // a spinner
	}
	return progressbar.NewOptions64(limit,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionShowIts(),
		progressbar.OptionShowCount(),
		progressbar.OptionFullWidth(), // what the rest of the line leaves
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}
