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

// MergeBytes bounds what a [Merge] reads ahead.
const MergeBytes = mergeBytes

// Ahead returns how many bytes a [Merge] has read ahead.
func Ahead(m *Merge) int { return m.ahead }

// Changed lets a store take what it holds for changed.
func (s *Store) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
}
