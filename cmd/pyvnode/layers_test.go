package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestLayers keeps the direction of imports: cmd → node → {p2p, legacy} → ledger, and p2p and legacy do not know each
// other. The core of the ledger, and the record format, do no I/O over a network and know no libp2p host.
// Packages that keep files beside the ledger do not know its database.
func TestLayers(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}: {{join .Deps \" \"}}", "pyvnode/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	layer := func(path string) string {
		rest, ok := strings.CutPrefix(path, "pyvnode/")
		if !ok {
			return ""
		}
		top, _, _ := strings.Cut(rest, "/")
		return top
	}
	allowed := map[string][]string{
		"cmd":    {"cmd", "node", "p2p", "legacy", "ledger"},
		"node":   {"node", "p2p", "legacy", "ledger"},
		"p2p":    {"p2p", "ledger"},
		"legacy": {"legacy", "ledger"},
		"ledger": {"ledger"},
	}
	// pure packages may not reach these; what they are given from outside comes as arguments.
	pure := []string{"pyvnode/ledger", "pyvnode/ledger/record", "pyvnode/ledger/proof"}
	// Files are no reason to know the ledger's database: packages that only keep files do so by ledger/durable.
	keepFiles := func(path string) bool {
		return path == "pyvnode/ledger/durable" || path == "pyvnode/node/accounts" || layer(path) == "legacy" && path != "pyvnode/legacy/legacytest"
	}
	database := []string{"pyvnode/ledger/store", "github.com/cockroachdb/pebble/v2"}
	// What knows the original's files needs no server of it.
	formats := []string{"pyvnode/legacy/chainfile", "pyvnode/legacy/dataroot"}
	barred := []string{"net/http", "github.com/libp2p/go-libp2p", "github.com/cockroachdb/pebble/v2", "github.com/ipfs/go-datastore", "log/slog", "os/exec"}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, deps, _ := strings.Cut(strings.TrimSpace(line), ": ")
		from := layer(path)
		if from == "scripts" { // they import nothing of ours
			from = "ledger"
		}
		if _, ok := allowed[from]; !ok {
			t.Errorf("%s is in no layer", path)
			continue
		}
		seen++
		for _, dep := range strings.Fields(deps) {
			if to := layer(dep); to != "" && !slices.Contains(allowed[from], to) {
				t.Errorf("%s imports %s", path, dep)
			}
			if slices.Contains(pure, path) && slices.Contains(barred, dep) {
				t.Errorf("%s, which is pure, imports %s", path, dep)
			}
			if slices.Contains(formats, path) && slices.Contains([]string{"pyvnode/legacy", "pyvnode/legacy/client"}, dep) {
				t.Errorf("%s, which knows files and no server, imports %s", path, dep)
			}
			if keepFiles(path) && slices.Contains(database, dep) {
				t.Errorf("%s, which only keeps files, imports %s", path, dep)
			}
			if path == "pyvnode/ledger/durable" && layer(dep) != "" {
				t.Errorf("%s, which everybody may use, imports %s", path, dep)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d packages were looked at", seen)
	}
}
