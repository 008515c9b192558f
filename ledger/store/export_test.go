package store

import "testing"

// SetMinFilter makes filters small for one test.
func SetMinFilter(t *testing.T, n uint64) {
	before := minFilter
	minFilter = n
	t.Cleanup(func() { minFilter = before })
}
