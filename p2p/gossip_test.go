package p2p_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
)

func TestRun(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice", "bob"))
	history := ledgertest.NewNetwork(t, g)
	var alice, bob []*ledger.Entry
	for range 70 {
		alice = append(alice, history.Put("alice"))
	}
	bob = append(bob, history.Put("bob"))
	one := p2p.Run(alice[0])
	long := append(binary.AppendUvarint(nil, uint64(alice[0].Len())|1<<20), one[2:]...)
	padded := append([]byte{one[0], one[1] | 0x80, 0}, one[2:]...)
	for _, c := range []struct {
		name    string
		message []byte
		entries int
		refusal string
	}{
		{"one", one, 1, ""},
		{"several", p2p.Run(alice[3:40]...), 37, ""},
		{"as many as there may be", p2p.Run(alice[:64]...), 64, ""},
		{"one more", p2p.Run(alice[:65]...), 0, "entry 64 of a run"},
		{"none", nil, 0, "no entry"},
		{"another log", p2p.Run(alice[0], bob[0]), 0, "does not follow"},
		{"a gap", p2p.Run(alice[0], alice[2]), 0, "does not follow"},
		{"backwards", p2p.Run(alice[1], alice[0]), 0, "does not follow"},
		{"twice", p2p.Run(alice[0], alice[0]), 0, "does not follow"},
		{"cut", one[:len(one)-1], 0, "entry 0 of a run"},
		{"more than there is", long, 0, "entry 0 of a run"},
		{"a length with a byte too many", padded, 0, "entry 0 of a run"},
		{"rest", append(slices.Clone(one), 0), 0, "entry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, err := p2p.ParseRun(c.message)
			if c.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), c.refusal) {
					t.Fatalf("%d entries, %v; want %q", len(run), err, c.refusal)
				}
				return
			}
			if err != nil || len(run) != c.entries || !bytes.Equal(p2p.Run(run...), c.message) {
				t.Fatalf("%d entries, %v; want %d", len(run), err, c.entries)
			}
		})
	}
}
