package store_test

import (
	"bytes"
	"errors"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/store"
)

// TestFloor: once somebody has shown an entry that this node's key signed, nothing is signed until it is held, also after a
// restart.
func TestFloor(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	history := ledgertest.NewNetwork(t, g)
	for range 10 {
		history.Put("alice")
	}
	d := store.NewMemory()
	s := open(t, d, g, "alice")
	_, err := s.Ingest(ctx, history.Entries[:4]...)
	must(t, err)
	for _, i := range []int{2, 9, 7} { // what is held, and what is older than the newest, change nothing
		must(t, s.NoteSigned(ctx, statement(t, history.Entries[i])))
	}
	refuses := func(s *store.Store) {
		t.Helper()
		var behind *store.BehindError
		if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 77)); !errors.As(err, &behind) || behind.Missing.Hash != history.Entries[9].Hash {
			t.Fatalf("append to a log that is not the newest: %v", err)
		}
		if own := s.OwnLog(); own.Missing == nil || own.Missing.Seq != 9 || own.Signed != 0 {
			t.Fatalf("own log: %+v", own)
		}
	}
	refuses(s)
	auditClean(t, d, g)
	must(t, s.Close())
	s = open(t, d, g, "alice")
	refuses(s)
	_, err = s.Ingest(ctx, history.Entries[4:8]...)
	must(t, err)
	refuses(s)
	_, err = s.Ingest(ctx, history.Entries[8:]...)
	must(t, err)
	ack, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 77))
	must(t, err)
	if own := s.OwnLog(); ack.Seq != 10 || own.Missing != nil || own.Signed != 1 || own.Returned != 6 {
		t.Errorf("appended %d; own log: %+v", ack.Seq, own)
	}
	must(t, s.Close())
	if own := open(t, d, g, "alice").OwnLog(); own.Missing != nil {
		t.Errorf("after a restart the floor is missing again: %+v", own)
	}
}

// statement returns an entry without its record.
func statement(t *testing.T, e *ledger.Entry) *ledger.Entry {
	t.Helper()
	st, err := ledger.DecodeStatement(bytes.Clone(e.RawHeader), e.Signature)
	must(t, err)
	return st
}

// TestFloorByEntries: an entry of this node's log that cannot join yet is a proof like others, whatever way it comes.
func TestFloorByEntries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	history := ledgertest.NewNetwork(t, g)
	for range 6 {
		history.Put("alice")
	}
	for name, ingest := range map[string]func(*store.Store) error{
		"by itself":  func(s *store.Store) error { _, err := s.Ingest(ctx, history.Entries[5]); return err },
		"in a range": func(s *store.Store) error { _, err := s.IngestRange(ctx, history.Entries[4:]); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, store.NewMemory(), g, "alice")
			var missing *store.MissingError
			if err := ingest(s); !errors.As(err, &missing) {
				t.Fatalf("an entry without those before it: %v", err)
			}
			var behind *store.BehindError
			if _, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 77)); !errors.As(err, &behind) || behind.Missing.Seq != 5 {
				t.Errorf("append: %v", err)
			}
		})
	}
}

// TestFloorRefuses: only what this node's key signed for this network keeps it from signing.
func TestFloorRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	doc := ledgertest.Doc("alice", "bob")
	doc.Name = "another network"
	other := ledgertest.NewNetwork(t, ledgertest.Genesis(t, doc))
	history := ledgertest.NewNetwork(t, g)
	history.Put("alice")
	history.Put("bob")
	forged := statement(t, history.Entries[0])
	forged.Signature[0] ^= 1
	s := open(t, store.NewMemory(), g, "alice")
	if err := s.NoteSigned(ctx, statement(t, other.Put("alice"))); !errors.Is(err, store.ErrOtherNetwork) {
		t.Errorf("an entry of another network: %v", err)
	}
	for what, e := range map[string]*ledger.Entry{"a forged signature": forged, "bob's": statement(t, history.Entries[1])} {
		if err := s.NoteSigned(ctx, e); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	ack, err := s.Append(ctx, ledgertest.Draft(t, g, "vote", 77))
	must(t, err)
	var fork *store.ForkError
	if err := s.NoteSigned(ctx, statement(t, history.Entries[0])); !errors.As(err, &fork) || fork.Held.Hash != ack.Hash {
		t.Errorf("another entry at a place that is held: %v", err)
	}
}

// TestFloorDamaged: a floor that cannot be read is damage, not the absence of one.
func TestFloorDamaged(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	history := ledgertest.NewNetwork(t, g)
	history.Put("alice")
	history.Put("alice")
	d := store.NewMemory()
	s := open(t, d, g, "alice")
	must(t, s.NoteSigned(t.Context(), statement(t, history.Entries[1])))
	must(t, s.Close())
	key := ds.RawKey("/floor")
	value, err := d.Get(t.Context(), key)
	must(t, err)
	for _, bad := range [][]byte{nil, value[:63], value[:len(value)-1], append([]byte{value[0] ^ 1}, value[1:]...)} {
		must(t, d.Put(t.Context(), key, bad))
		var damage *store.DamageError
		if _, _, err := store.Open(t.Context(), d, g, store.Options{Key: ledgertest.Key("alice")}); !errors.As(err, &damage) {
			t.Errorf("opened with a floor of %d bytes: %v", len(bad), err)
		}
		report, err := audit.Datastore(t.Context(), d, g, audit.Options{})
		must(t, err)
		if report.FindingsAll == 0 {
			t.Errorf("the audit finds nothing wrong with a floor of %d bytes", len(bad))
		}
	}
}
