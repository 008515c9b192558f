package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// TestRecords compares the view of records, of which several entries may be one, with a list of all entries in their order
// of arrival: copies by other nodes, other contents under one header, other kinds, questions at any moment, and reopening.
func TestRecords(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob", "carol"))
	drafts := map[string][]*ledger.Draft{}
	for i := range 40 {
		drafts["vote"] = append(drafts["vote"], ledgertest.Draft(t, g, "vote", i))
		drafts["charity"] = append(drafts["charity"], ledgertest.Draft(t, g, "charity", 1000+i))
	}
	for i := range 10 { // under headers that others have too
		drafts["vote"] = append(drafts["vote"], sameHeader(t, g, "vote", i, "changed"))
	}
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		d := store.NewMemory()
		s := open(t, d, g, "alice")
		defer func() { _ = s.Close() }()
		history := ledgertest.NewNetwork(t, g)
		type held struct {
			id      uuid.UUID
			time    uint64
			content record.ContentID
		}
		arrived := map[string][]held{}
		put := map[string]bool{}
		check := func(rt *rapid.T) {
			for kind := range drafts {
				want := arrived[kind]
				count, err := s.RecordCount(ctx, kind)
				if err != nil || count != uint64(len(want)) {
					rt.Fatalf("%d records of kind %s, %v; want %d", count, kind, err, len(want))
				}
				for i, h := range want {
					ref, err := s.RecordAt(ctx, kind, uint64(i))
					must(t, err)
					e, err := s.Get(ctx, ref)
					must(t, err)
					if got := draftOf(t, g, e.Entry).Facts.ContentID; e.Header.RecordUUID != h.id || got != h.content {
						rt.Fatalf("record %d of kind %s is %v, %v; want %v, %v", i, kind, e.Header.RecordUUID, got, h.id, h.content)
					}
					named, err := s.Named(ctx, kind, h.id)
					must(t, err)
					number := slices.IndexFunc(want, func(o held) bool { return o.id == h.id })
					first := want[number]
					if got := draftOf(t, g, named.Entry).Facts.ContentID; got != first.content {
						rt.Fatalf("header %v of kind %s names %v, first was %v", h.id, kind, got, first.content)
					}
					if n, err := s.RecordNumber(ctx, kind, h.id); err != nil || n != uint64(number) {
						rt.Fatalf("record %d of kind %s is said to be number %d, %v; want %d", i, kind, n, err, number)
					}
				}
				if _, err := s.RecordAt(ctx, kind, count); !errors.Is(err, store.ErrNotFound) {
					rt.Fatalf("behind the last record: %v", err)
				}
				if _, err := s.RecordNumber(ctx, kind, uuid.Nil); !errors.Is(err, store.ErrNotFound) {
					rt.Fatalf("of no record: %v", err)
				}
				span := store.TimeSpan{}
				if len(want) > 0 {
					span.From = rapid.SampledFrom(want).Draw(rt, "from").time
					if span.To = rapid.SampledFrom(want).Draw(rt, "to").time; rapid.Bool().Draw(rt, "open") {
						span.To = 0
					}
				}
				var in []uuid.UUID
				for _, h := range slices.Backward(want) {
					if h.time >= span.From && (span.To == 0 || h.time < span.To) {
						in = append(in, h.id)
					}
				}
				n, err := s.RecordsIn(ctx, kind, span)
				if err != nil || n != uint64(len(in)) {
					rt.Fatalf("%d records of kind %s in %v, %v; want %d", n, kind, span, err, len(in))
				}
				for _, limit := range []int{len(in), max(len(in)-1, 0)} {
					latest, more, err := s.Latest(ctx, kind, span, limit)
					must(t, err)
					if tooMany := limit < len(in); more != tooMany || !tooMany && !slices.Equal(latest, in) {
						rt.Fatalf("latest of kind %s in %v up to %d: %v, more %v; want %v", kind, span, limit, latest, more, in)
					}
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {},
			"put": func(rt *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(rt, "many") {
					kind := rapid.SampledFrom([]string{"vote", "charity"}).Draw(rt, "kind")
					d := rapid.SampledFrom(drafts[kind]).Draw(rt, "draft")
					party := rapid.SampledFrom([]string{"bob", "carol"}).Draw(rt, "party")
					if name := fmt.Sprint(party, kind, d.Facts.ContentID); put[name] {
						continue // twice in one log is invalid
					} else {
						put[name] = true
					}
					_, err := s.Ingest(ctx, history.PutDraft(party, d))
					must(t, err)
					is := held{d.Facts.Header, uint64(d.Facts.Header.Time()), d.Facts.ContentID}
					if !slices.Contains(arrived[kind], is) {
						arrived[kind] = append(arrived[kind], is)
					}
				}
			},
			"ask": check,
			"reopen": func(*rapid.T) {
				must(t, s.Close())
				s = open(t, d, g, "alice")
			},
		})
		check(rt)
	})
}

// TestRecordsManyBehind: what is far behind is read anew, by everybody who asks at once, while entries go on arriving.
func TestRecordsManyBehind(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	s := open(t, store.NewMemory(), g, "alice")
	defer func() { _ = s.Close() }()
	const many = 3000
	var times []uint64
	var wg sync.WaitGroup
	for i := range many {
		d := ledgertest.Draft(t, g, "vote", (i*7919)%many) // in no order
		_, err := s.Append(t.Context(), d)
		must(t, err)
		times = append(times, uint64(d.Facts.Header.Time()))
		if i%1000 == 500 {
			for range 4 {
				wg.Go(func() {
					if n, err := s.RecordCount(t.Context(), "vote"); err != nil || n < uint64(i) {
						t.Errorf("%d records, %v", n, err)
					}
				})
			}
		}
	}
	wg.Wait()
	slices.SortFunc(times, cmp.Compare)
	for _, at := range []int{0, 1, many / 2, many - 1} {
		n, err := s.RecordsIn(t.Context(), "vote", store.TimeSpan{From: times[at]})
		if err != nil || n != uint64(many-at) {
			t.Errorf("%d records from the %d-th on, %v", n, at, err)
		}
	}
	if n, err := s.RecordCount(t.Context(), "nothing"); n != 0 || err != nil {
		t.Errorf("%d records of a kind that is not there, %v", n, err)
	}
}
