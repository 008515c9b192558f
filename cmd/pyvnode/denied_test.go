//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pyvnode/ledger"
	"pyvnode/node"
)

// TestStatusOfAnother asks for the status of a node that another user runs: it is denied, which is not the same as "no node
// runs".
func TestStatusOfAnother(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "n") // a short path, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if _, _, err := node.FoundNetwork(t.Context(), data, ledger.GenesisDoc{Strength: 1}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(data, node.APISocket))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	program := filepath.Join(dir, "pyvnode") // where another user can run it
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Another process copies it: one that other tests start meanwhile would have it open for writing too.
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, mode := range map[string]os.FileMode{"directory": 0o000, "socket": 0o711} {
		if err := errors.Join(os.Chmod(filepath.Join(data, node.APISocket), 0o000), os.Chmod(data, mode)); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{{"status"}, {"peers"}, {"links"}, {"loglevel"}} {
			cmd := exec.Command(program, append(command, "--data", data, "--format", "json")...)
			cmd.Dir, cmd.Env = "/", []string{"HOME=/nonexistent"}
			if os.Getuid() == 0 { // nothing is denied to root
				const nobody = 65534
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitDenied || !strings.Contains(string(out), `"reason":"permission"`) {
				t.Errorf("%s of a %s that is another user's: %v\n%s", command, name, err, out)
			}
		}
		if err := os.Chmod(data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}
