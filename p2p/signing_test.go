package p2p_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger/ledgertest"
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
