package store_test

import (
	"errors"
	"slices"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// TestSnapshot opens the ledger of a snapshot while its store goes on writing.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Datastore{
		"memory": func(*testing.T) store.Datastore { return store.NewMemory() },
		"pebble": func(t *testing.T) store.Datastore {
			d, err := store.OpenPebble(t.TempDir(), store.PebbleOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, g := t.Context(), ledgertest.Genesis(t, ledgertest.Doc("alice"))
			d := open(t)
			defer func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			s, _, err := store.Open(ctx, d, g, store.Options{Key: ledgertest.Key("alice")})
			if err != nil {
				t.Fatal(err)
			}
			put := func(n int) {
				if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", n)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 10 {
				put(i)
			}
			snapshot, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := s.Frontier()
			for i := range 10 {
				put(100 + i)
			}
			old, _, err := store.Open(ctx, store.ReadOnly(snapshot), g, store.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := old.Frontier(); !slices.EqualFunc(got, want, func(a, b ledger.Row) bool { return a.Citation == b.Citation }) {
				t.Errorf("the snapshot has %v, want %v", got, want)
			}
			count := 0
			for _, err := range old.Chain(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				count++
			}
			if count != 10 || s.Frontier().Entries() != 20 {
				t.Errorf("%d entries in the snapshot, %d in the store", count, s.Frontier().Entries())
			}
			if _, err := snapshot.Get(ctx, ds.RawKey("/absent")); !errors.Is(err, ds.ErrNotFound) {
				t.Errorf("an absent key: %v", err)
			}
			ro := store.ReadOnly(snapshot)
			if has, err := ro.Has(ctx, ds.RawKey("/meta")); err != nil || !has {
				t.Errorf("Has: %v, %v", has, err)
			}
			if err := ro.Put(ctx, ds.RawKey("/x"), nil); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("Put: %v", err)
			}
			if err := errors.Join(old.Close(), snapshot.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}
