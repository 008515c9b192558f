package store

import "testing"

// SetFirstLayer makes the filter's first layer small for one test.
func SetFirstLayer(t *testing.T, n uint64) {
	before := firstLayer
	firstLayer = n
	t.Cleanup(func() { firstLayer = before })
}

// Unfinished stands in the names of files that are being written.
const Unfinished = unfinished
