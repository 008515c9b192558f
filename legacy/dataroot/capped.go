package dataroot

import (
	"fmt"
	"maps"
	"slices"
)

// What is told of a directory, so that one which was made to harm, or is one great ruin, does not bury what is read with what
// is not.
const (
	MaxTold    = 1_000  // findings of one file
	MaxToldAll = 10_000 // findings of a directory
)

// Capped says which findings are told one by one; the others are counted. The zero value is ready for use.
type Capped struct {
	told   int
	byFile map[string]*capped // of files of which findings were told
	others uint64             // findings of other files
}

type capped struct {
	told int
	more uint64
}

// Tell counts a finding of a file, and reports whether it is to be told.
func (c *Capped) Tell(file string) bool {
	f := c.byFile[file]
	switch {
	case f == nil && c.told == MaxToldAll:
		c.others++
		return false
	case f == nil:
		if c.byFile == nil {
			c.byFile = map[string]*capped{}
		}
		f = new(capped)
		c.byFile[file] = f
	case f.told == MaxTold || c.told == MaxToldAll:
		f.more++
		return false
	}
	f.told++
	c.told++
	return true
}

// Rest returns a finding for each file of which some were not told, and one for all other files. They are told besides.
func (c *Capped) Rest() (rest []Finding) {
	for _, file := range slices.Sorted(maps.Keys(c.byFile)) {
		if f := c.byFile[file]; f.more > 0 {
			rest = append(rest, Finding{File: file, Reason: TooMany, Detail: fmt.Sprintf("%d more in it, which are not listed", f.more)})
		}
	}
	if c.others > 0 {
		rest = append(rest, Finding{File: "all other files", Reason: TooMany, Detail: fmt.Sprintf("%d more in them, which are not listed", c.others)})
	}
	return rest
}
