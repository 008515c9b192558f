package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/store"
)

// TestEvidenceScripts runs scripts on a data directory, data, in which mallory's log is frozen at entry 1, and on one of
// another network, other.
func TestEvidenceScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/evidence",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", "")
			env.Setenv("MALLORY", ledgertest.Origin("mallory").String())
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			other := ledgertest.Doc("alice", "mallory")
			other.Name = "another network"
			return errors.Join(
				forkedDir(t, filepath.Join(env.WorkDir, "data")),
				store.CreateDir(context.Background(), filepath.Join(env.WorkDir, "other"), ledgertest.Genesis(t, other)),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "field": field, "flip": flip, "fits": fits},
	})
}

// forkedDir makes a data directory in which alice has cited one branch of mallory's log, and the other is known.
func forkedDir(t *testing.T, dir string) error {
	ctx := context.Background()
	n := ledgertest.NewNetwork(t, ledgertest.Genesis(t, ledgertest.Doc("alice", "mallory")))
	n.Put("mallory")
	log := n.Log("mallory")
	n.Put("mallory")
	n.Put("alice", "mallory")
	other, err := log.Sign(n.Genesis, ledgertest.Key("mallory"), ledgertest.Draft(t, n.Genesis, "vote", 99), nil, 0, nil)
	if err != nil {
		return err
	}
	ev, err := proof.Fork(n.Genesis, other, n.Entries[1])
	if err != nil {
		return err
	}
	if err := store.CreateDir(ctx, dir, n.Genesis); err != nil {
		return err
	}
	s, _, err := store.OpenDir(ctx, dir, store.DirOptions{})
	if err != nil {
		return err
	}
	_, err = s.Ingest(ctx, n.Entries...)
	_, added := s.AddEvidence(ctx, ev)
	_, branch := s.IngestDisputed(ctx, []*ledger.Entry{other}...)
	return errors.Join(err, added, branch, s.Close())
}
