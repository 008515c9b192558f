// Package storetest checks that a datastore keeps the contract of [store.Datastore], and that a
// store on it keeps its promises. [Run] is the one suite for every back end.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// Run checks the datastores that open returns: each call an empty one, closed by the suite.
func Run(t *testing.T, open func(t *testing.T) store.Datastore) {
	tests := map[string]func(*testing.T, store.Datastore){
		"GetPutDelete":   getPutDelete,
		"Batch":          batch,
		"Scan":           scan,
		"ScanIsSnapshot": scanIsSnapshot,
		"Concurrent":     concurrent,
		"Ledger":         keepsLedger,
		"ReadOnly":       readOnly,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			defer func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			test(t, d)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func getPutDelete(t *testing.T, d store.Datastore) {
	ctx, key := t.Context(), ds.RawKey("/a/key")
	if _, err := d.Get(ctx, key); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("Get of an absent key: %v", err)
	}
	value := []byte("value")
	must(t, d.Put(ctx, key, value))
	value[0] = 'x' // the datastore must have its own copy
	got, err := d.Get(ctx, key)
	if err != nil || string(got) != "value" {
		t.Errorf("Get: %q, %v", got, err)
	}
	got[0] = 'y'
	if again, err := d.Get(ctx, key); err != nil || string(again) != "value" {
		t.Errorf("Get after the caller changed what it got: %q, %v", again, err)
	}
	if has, err := d.Has(ctx, key); err != nil || !has {
		t.Errorf("Has: %v, %v", has, err)
	}
	if n, err := d.GetSize(ctx, key); err != nil || n != 5 {
		t.Errorf("GetSize: %d, %v", n, err)
	}
	must(t, d.Delete(ctx, key))
	must(t, d.Delete(ctx, key))
	if has, err := d.Has(ctx, key); err != nil || has {
		t.Errorf("Has after Delete: %v, %v", has, err)
	}
}

func batch(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	must(t, d.Put(ctx, ds.RawKey("/gone"), []byte("1")))
	b, err := d.Batch(ctx)
	must(t, err)
	for i := range 100 {
		must(t, b.Put(ctx, ds.RawKey(fmt.Sprintf("/b/%03d", i)), []byte{byte(i)}))
	}
	must(t, b.Delete(ctx, ds.RawKey("/gone")))
	if has, err := d.Has(ctx, ds.RawKey("/b/000")); err != nil || has {
		t.Errorf("a key is there before Commit: %v, %v", has, err)
	}
	must(t, b.Commit(ctx))
	must(t, d.Sync(ctx, ds.RawKey("/")))
	for i := range 100 {
		if v, err := d.Get(ctx, ds.RawKey(fmt.Sprintf("/b/%03d", i))); err != nil || !bytes.Equal(v, []byte{byte(i)}) {
			t.Fatalf("key %d: %v, %v", i, v, err)
		}
	}
	if has, err := d.Has(ctx, ds.RawKey("/gone")); err != nil || has {
		t.Errorf("a key is there after it was deleted: %v, %v", has, err)
	}
}

func keys(t *testing.T, d store.Datastore, lower, upper string) (keys []string) {
	for pair, err := range d.Scan(t.Context(), lower, upper) {
		must(t, err)
		keys = append(keys, string(pair.Key))
		if string(pair.Value) != "v"+string(pair.Key) {
			t.Errorf("value of %s is %q", pair.Key, pair.Value)
		}
	}
	return keys
}

func scan(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	for _, key := range []string{"/b/2", "/a", "/b/10", "/b/1", "/b", "/c/\x00x", "/b0"} {
		must(t, d.Put(ctx, ds.RawKey(key), []byte("v"+key)))
	}
	cases := []struct {
		lower, upper string
		want         []string
	}{
		{"/b/", "/b0", []string{"/b/1", "/b/10", "/b/2"}},
		{"/b/10", "/b/2", []string{"/b/10"}},
		{"/", "0", []string{"/a", "/b", "/b/1", "/b/10", "/b/2", "/b0", "/c/\x00x"}},
		{"/d", "/e", nil},
		{"/b/2", "/b/1", nil},
	}
	for _, c := range cases {
		if got := keys(t, d, c.lower, c.upper); !slices.Equal(got, c.want) {
			t.Errorf("Scan(%q, %q) = %q, want %q", c.lower, c.upper, got, c.want)
		}
	}
	for range d.Scan(ctx, "/", "0") {
		break // must release what it holds, or Close fails
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	var err error
	for _, err = range d.Scan(cancelled, "/", "0") {
		break
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Scan with a cancelled context: %v", err)
	}
}

func scanIsSnapshot(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	for _, key := range []string{"/1", "/2", "/3"} {
		must(t, d.Put(ctx, ds.RawKey(key), []byte("v"+key)))
	}
	var got []string
	for pair, err := range d.Scan(ctx, "/", "0") {
		must(t, err)
		got = append(got, string(pair.Key))
		must(t, d.Put(ctx, ds.RawKey("/4"), []byte("v/4")))
		must(t, d.Delete(ctx, ds.RawKey("/3")))
	}
	if want := []string{"/1", "/2", "/3"}; !slices.Equal(got, want) {
		t.Errorf("scan saw %q, want %q", got, want)
	}
}

func concurrent(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				b, err := d.Batch(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				key := ds.RawKey(fmt.Sprintf("/w/%d/%d", w, i))
				if err := errors.Join(b.Put(ctx, key, []byte("v"+key.String())), b.Commit(ctx)); err != nil {
					t.Error(err)
				}
				if _, err := d.Get(ctx, key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(keys(t, d, "/w/", "/w0")); got != 400 {
		t.Errorf("%d keys, want 400", got)
	}
}

// keepsLedger runs a small history of three parties through a store, closes and opens it again, and audits it.
func keepsLedger(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol")))
	n.Random(1, 100, "bob", "carol")
	var want ledger.Frontier
	for round := range 2 {
		s, r, err := store.Open(ctx, d, n.Genesis, store.Options{Key: ledgertest.Key("alice")})
		must(t, err)
		if round == 1 && (r.Created || r.Entries != 110 || len(r.Mended) > 0 || r.Checked == 0) {
			t.Errorf("opened again: %+v", *r)
		}
		if round == 0 {
			result, err := s.IngestRange(ctx, n.Entries[:60])
			if err != nil || result.Joined != 60 {
				t.Fatalf("range: %+v, %v", result, err)
			}
			result, err = s.Ingest(ctx, n.Entries[50:]...)
			if err != nil || result.Joined != 40 || result.Held != 10 {
				t.Fatalf("entries: %+v, %v", result, err)
			}
			for i := range 10 {
				_, err := s.Append(ctx, ledgertest.Draft(t, n.Genesis, "vote", 1000+i))
				must(t, err)
			}
			must(t, s.VerifySignatures(ctx, nil))
			for _, log := range s.Logs() {
				if log.Verified != log.Seq+1 {
					t.Errorf("%d of %d signatures of %v verified", log.Verified, log.Seq+1, log.Origin)
				}
			}
			want = s.Frontier()
		}
		if got := s.Frontier(); !slices.Equal(got, want) {
			t.Errorf("frontier is %v, want %v", got, want)
		}
		var last *ledger.Entry
		count := 0
		for e, err := range s.Chain(ctx) {
			must(t, err)
			if last != nil && ledger.CompareCanonical(last, e) >= 0 {
				t.Fatalf("chain goes from %v to %v", last.Citation(), e.Citation())
			}
			last = e
			count++
		}
		if count != 110 || s.Count("vote") != 110 {
			t.Errorf("chain has %d entries, kind vote %d, want 110", count, s.Count("vote"))
		}
		must(t, s.Close())
		if _, err := s.Append(ctx, ledgertest.Draft(t, n.Genesis, "vote", 5000)); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Append after Close: %v", err)
		}
	}
	report, err := audit.Datastore(ctx, d, nil, audit.Options{})
	must(t, err)
	if !report.Clean() || report.Entries != 110 || report.IndexRows != 330 || report.Signatures != 110 {
		t.Errorf("audit: %+v", report)
	}
	if report.Digest == nil || *report.Digest != want.Digest(n.Genesis.Network()) {
		t.Errorf("audit finds digest %v, the store had %v", report.Digest, want.Digest(n.Genesis.Network()))
	}
}

func readOnly(t *testing.T, d store.Datastore) {
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	s, _, err := store.Open(ctx, d, g, store.Options{Key: ledgertest.Key("alice"), ReadOnly: true})
	must(t, err)
	if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 1)); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
	must(t, s.Close())
	for pair, err := range d.Scan(ctx, "/", "0") {
		must(t, err)
		t.Errorf("a store opened for reading wrote %s", pair.Key)
	}
	s, _, err = store.Open(ctx, d, g, store.Options{})
	must(t, err)
	if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 1)); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Append without a key: %v", err)
	}
	must(t, s.Close())
	other := ledgertest.Doc("alice")
	other.Name = "other"
	if _, _, err := store.Open(ctx, d, ledgertest.Genesis(t, other), store.Options{}); !errors.Is(err, store.ErrOtherNetwork) {
		t.Errorf("Open for another network: %v", err)
	}
}
