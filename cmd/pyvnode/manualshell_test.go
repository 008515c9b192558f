//go:build unix

package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestManualRestore runs what the manual says of backups: the ledger that was restored is the one that was.
func TestManualRestore(t *testing.T) {
	t.Parallel()
	texts := shells(t, "docs/manual.md", "Backup and restoring")
	script := `export PYVNODE_DATA=$PWD/node
pyvnode init --strength 1
pyvnode put --kind ballot choice=yes
pyvnode frontier > before
` + strings.Join(texts, "") + `pyvnode frontier > after
cmp before after
pyvnode put --kind ballot choice=no
pyvnode log
`
	out, err := bash(t, t.TempDir(), []string{"PATH=" + binary(t) + ":/usr/bin:/bin"}, script)
	if err != nil || len(texts) != 2 || strings.Count(out, "as it must be") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestManualSeveral runs what the manual says of several nodes on one machine, on ports that are free.
func TestManualSeveral(t *testing.T) {
	t.Parallel()
	texts := shells(t, "docs/manual.md", "Several nodes on one machine")
	script := strings.Join(texts, "")
	for _, port := range []string{"4721", "4722"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		script = strings.ReplaceAll(script, port, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := bash(t, t.TempDir(), []string{"PATH=" + binary(t) + ":/usr/bin:/bin"}, script)
	if err != nil || len(texts) != 2 || !strings.Contains(out, "same\n") || !strings.Contains(out, " ballot\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
