package store

// Watch returns a channel that receives after the ledger has changed. Changes while nobody receives are one. Stop ends it.
func (s *Store) Watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = map[chan struct{}]bool{}
	}
	s.watchers[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, c)
	}
}

// notify tells the watchers. The caller holds mu.
func (s *Store) notify() {
	for c := range s.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
