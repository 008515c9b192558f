package p2p_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// TestAloneWarns: signing without asking others is worth a warning where there are others who may know more.
func TestAloneWarns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		members []string
		alone   bool
		signs   p2p.SigningState
		warns   bool
	}{
		{"the only writer", []string{"alice"}, false, p2p.SigningReady, false},
		{"the only writer, alone", []string{"alice"}, true, p2p.SigningReady, false},
		{"one of two", []string{"alice", "bob"}, false, p2p.SigningWaiting, false},
		{"one of two, alone", []string{"alice", "bob"}, true, p2p.SigningReady, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder // read when the node is closed
			handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})
			n := p2ptest.Start(t, ledgertest.Genesis(t, ledgertest.Doc(c.members...)), "alice", p2p.Options{Alone: c.alone, Logger: slog.New(handler)})
			if is := n.Status().Signing; is != c.signs {
				t.Errorf("it is %s, want %s", is, c.signs)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			lines := slices.Collect(strings.Lines(log.String()))
			if warned := slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "forks the log") }); warned != c.warns {
				t.Errorf("logged: %q", lines)
			}
		})
	}
}

// TestFrozenBesides: evidence against the own log ends signing also when it comes by other ways than the network, as from a
// file.
func TestFrozenBesides(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	alice := p2ptest.Start(t, g, "alice", p2p.Options{Alone: true})
	alice.Put(t, 1)
	mine, err := alice.Store.Get(t.Context(), store.Ref{Origin: ledgertest.Origin("alice")})
	must(t, err)
	other := mine.Header
	other.Time++
	ev, err := proof.Fork(g, mine.Entry, ledger.Sign(ledgertest.Key("alice"), other, mine.Record))
	must(t, err)
	_, err = alice.Store.AddEvidence(t.Context(), ev)
	must(t, err)
	if s := alice.Status(); s.Signing != p2p.SigningStopped || !strings.Contains(s.SigningWhy, "go on with a new identity") {
		t.Errorf("status: %s: %s", s.Signing, s.SigningWhy)
	}
	var notReady *p2p.NotReadyError
	if _, err := alice.Append(t.Context(), ledgertest.Draft(t, g, "vote", 2)); !errors.As(err, &notReady) || notReady.State != p2p.SigningStopped {
		t.Errorf("signing on a frozen log: %v", err)
	}
}
