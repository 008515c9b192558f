//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pyvnode/legacy/legacytest"
)

// TestMovingOver follows docs/moving-over.md, every command of it, and checks that each says what is written there.
//
// The original server is the one in the directory that PYVSERV_BIN names (scripts/interop does), else one that stands in
// for it: testdata/original.
func TestMovingOver(t *testing.T) {
	t.Parallel()
	original := os.Getenv("PYVSERV_BIN")
	if original == "" {
		var err error
		if original, err = filepath.Abs("testdata/original"); err != nil {
			t.Fatal(err)
		}
	}
	// Without these it is no plan.
	commands := strings.Join(shells(t, "docs/moving-over.md", ""), "")
	for _, command := range []string{
		"legacy check", "network create", "network join", "user add admin --replicator", "run", "ihost add", "legacy replication", "legacy import",
		"legacy sync", "legacy sync --dry-run", "user enrol", "--legacy-mode production", "legacy export", "diff", "audit", "pyvserv", "pyvreplic",
	} {
		if !strings.Contains(commands, command) {
			t.Errorf("docs/moving-over.md does without %q", command)
		}
	}
	// What an organisation has: votes, and voters, who are nobody's business.
	home := t.TempDir()
	root := filepath.Join(home, "pyvserver")
	if err := os.CopyFS(root, os.DirFS(legacytest.DataRoot(t, "../../legacy/testdata/dataroot.tar.gz"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(root, "chain/voter"), os.DirFS(filepath.Join(root, "chain/vote"))); err != nil {
		t.Fatal(err)
	}
	// A user who is no administrator, and logs in nowhere, has a password that both servers know.
	passwords := filepath.Join(root, ".pyvserv/passwd.secret")
	f, err := os.OpenFile(passwords, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("anna,0,b8ad6d7b5789c5bad9ccc4a4e1c18597789e86e1ee4ebb6bf27fc56a4bbcb9be1a2b3c4d\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, port := range []string{"6666", "6667", "6668", "4711", "4712"} {
		ports = append(ports, port, freePort(t))
	}
	path := strings.Join([]string{binary(t), original, os.Getenv("PATH")}, string(os.PathListSeparator))
	walk(t, "docs/moving-over.md", []string{"HOME=" + home, "PATH=" + path}, strings.NewReplacer(ports...))
}

// freePort returns a port of this machine on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
