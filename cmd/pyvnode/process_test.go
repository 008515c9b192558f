package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a test waits for another process before it gives up.
const patience = time.Minute

// process is a node that a script runs in the background.
type process struct {
	cmd   *exec.Cmd
	ended chan error
}

// processes are those of a script, by name.
type processes struct {
	mu    sync.Mutex
	named map[string]*process
}

type processesKey struct{}

func processesOf(ts *testscript.TestScript) *processes { return ts.Value(processesKey{}).(*processes) }

func (p *processes) get(ts *testscript.TestScript, name string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.named[name]
	if one == nil {
		ts.Fatalf("no process %q", name)
	}
	return one
}

// startnode NAME ARG … runs "pyvnode ARG … --format json" in the background until its first line, and sets NAME_ID,
// NAME_ADDR (a TCP address), NAME_LISTEN (without the ID), NAME_API, NAME_METRICS and NAME_LOG (the file with its standard error). It listens on free
// ports.
func startNode(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	log := ts.MkAbs(name + ".log")
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer func() { _ = stderr.Close() }() // the process has its own
	listen := []string{"--format", "json", "--listen", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1"}
	cmd := exec.Command("pyvnode", append(args[1:], listen...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stderr = stderr
	for _, v := range []string{"PATH", "HOME", "USERPROFILE", "XDG_CONFIG_HOME", "GORACE", "TMPDIR"} {
		cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	all := processesOf(ts)
	all.mu.Lock()
	all.named[name] = p
	all.mu.Unlock()
	ts.Defer(func() { _ = cmd.Process.Kill() })
	first := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Scan()
		first <- lines.Text()
		for lines.Scan() {
		}
		p.ended <- cmd.Wait()
	}()
	var line string
	select {
	case line = <-first:
	case <-time.After(patience):
	}
	var ready struct {
		ID      string
		Listen  []string
		API     string
		Metrics string
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		raw, _ := os.ReadFile(log)
		ts.Fatalf("%s is not ready: %q, %v\n%s", name, line, err, raw)
	}
	for _, addr := range ready.Listen {
		if strings.Contains(addr, "/tcp/") {
			ts.Setenv(name+"_ADDR", addr)
			listens, _, _ := strings.Cut(addr, "/p2p/")
			ts.Setenv(name+"_LISTEN", listens)
		}
	}
	ts.Setenv(name+"_ID", ready.ID)
	ts.Setenv(name+"_API", ready.API)
	ts.Setenv(name+"_METRICS", ready.Metrics)
	ts.Setenv(name+"_LOG", log)
}

// stopnode NAME tells a node to stop, which it must do in order.
func stopNode(ts *testscript.TestScript, _ bool, args []string) {
	p := processesOf(ts).get(ts, args[0])
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.ended:
		ts.Check(err)
	case <-time.After(patience):
		ts.Check(p.cmd.Process.Signal(syscall.SIGQUIT)) // tells where it hangs
		<-p.ended
		ts.Fatalf("%s does not stop:\n%s", args[0], ts.ReadFile(args[0]+".log"))
	}
}

// killnode NAME ends a node as a power cut would.
func killNode(ts *testscript.TestScript, _ bool, args []string) {
	p := processesOf(ts).get(ts, args[0])
	ts.Check(p.cmd.Process.Kill())
	<-p.ended
}

// until TEXT COMMAND … runs a command again and again until its output holds a text.
func until(ts *testscript.TestScript, _ bool, args []string) {
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if last = ts.ReadFile("stdout") + ts.ReadFile("stderr"); strings.Contains(last, args[0]) {
			return
		}
		_ = err // the output counts
	}
	ts.Fatalf("no %q in what %q says:\n%s", args[0], args[1:], last)
}

// socketpath NAME … checks that a path is a socket that only its owner can use.
func socketPath(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[0]))
	if neg {
		if err == nil {
			ts.Fatalf("%s is there: %v", args[0], info.Mode())
		}
		return
	}
	ts.Check(err)
	if info.Mode() != os.ModeSocket|0o600 {
		ts.Fatalf("%s", fmt.Sprint(info.Mode()))
	}
}
