package store

import (
	"testing"

	"pyvnode/ledger"
)

// SetFirstLayer makes the filter's first layer small for one test.
func SetFirstLayer(t *testing.T, n uint64) {
	before := firstLayer
	firstLayer = n
	t.Cleanup(func() { firstLayer = before })
}

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

// WatermarkOf returns what is written as the watermark of a frontier, with rows for at most so many logs.
func WatermarkOf(network ledger.Hash, f ledger.Frontier, most int) ([]byte, error) {
	return newWatermark(network, f, false, most).encode()
}

// MarkedRow is the most bytes that a row takes in a watermark.
const MarkedRow = maxWatermark / maxMarked
