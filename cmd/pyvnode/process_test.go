package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a test waits for another process before it gives up.
const patience = time.Minute

// process is a node that runs in the background.
type process struct {
	cmd   *exec.Cmd
	first chan string // line of standard output
	ended chan error
}

// launch starts a command, of which the first line of standard output counts.
func launch(cmd *exec.Cmd) (*process, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, first: make(chan string, 1), ended: make(chan error, 1)}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Scan()
		p.first <- lines.Text()
		for lines.Scan() {
		}
		p.ended <- cmd.Wait()
	}()
	return p, nil
}

// ready is what a node says when it listens, as far as tests need it.
type ready struct {
	ID      string
	Listen  []string
	API     string
	Metrics string
	Legacy  string // where original clients connect
}

// tcp returns the address at which the node listens for TCP, with its peer ID.
func (r *ready) tcp() string {
	return r.Listen[slices.IndexFunc(r.Listen, func(addr string) bool { return strings.Contains(addr, "/tcp/") })]
}

// ready waits until the node listens.
func (p *process) ready() (*ready, error) {
	select {
	case line := <-p.first:
		r := new(ready)
		if err := json.Unmarshal([]byte(line), r); err != nil {
			return nil, fmt.Errorf("not ready: %q, %w", line, err)
		}
		return r, nil
	case <-time.After(patience):
		return nil, errors.New("not ready")
	}
}

// stop tells the node to stop, which it must do in order.
func (p *process) stop() error { return p.end(syscall.SIGTERM) }

// end sends a signal that ends the node in order.
func (p *process) end(with os.Signal) error {
	if err := p.cmd.Process.Signal(with); err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // tells where it hangs
		<-p.ended
		return errors.New("it does not stop")
	}
}

// kill ends the node as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
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
// NAME_ADDR (a TCP address), NAME_LISTEN (without the ID), NAME_API, NAME_METRICS, NAME_LEGACY and NAME_LOG (the file with its standard error). It listens on free
// ports.
func startNode(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	log := ts.MkAbs(name + ".log")
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer func() { _ = stderr.Close() }() // the process has its own
	listen := []string{"--format", "json", "--listen", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1", "--legacy-listen", "127.0.0.1:0"}
	cmd := exec.Command("pyvnode", append(args[1:], listen...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stderr = stderr
	for _, v := range []string{"PATH", "HOME", "USERPROFILE", "XDG_CONFIG_HOME", "GORACE", "TMPDIR"} {
		cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
	}
	p, err := launch(cmd)
	ts.Check(err)
	all := processesOf(ts)
	all.mu.Lock()
	all.named[name] = p
	all.mu.Unlock()
	ts.Defer(func() { _ = cmd.Process.Kill() })
	says, err := p.ready()
	if err != nil {
		ts.Fatalf("%s: %v\n%s", name, err, ts.ReadFile(log))
	}
	listens, _, _ := strings.Cut(says.tcp(), "/p2p/")
	for variable, value := range map[string]string{
		"ID": says.ID, "ADDR": says.tcp(), "LISTEN": listens, "API": says.API, "METRICS": says.Metrics, "LEGACY": says.Legacy, "LOG": log,
	} {
		ts.Setenv(name+"_"+variable, value)
	}
}

// stopnode NAME tells a node to stop, which it must do in order.
func stopNode(ts *testscript.TestScript, _ bool, args []string) {
	if err := processesOf(ts).get(ts, args[0]).stop(); err != nil {
		ts.Fatalf("%s: %v\n%s", args[0], err, ts.ReadFile(args[0]+".log"))
	}
}

// killnode NAME ends a node as a power cut would.
func killNode(ts *testscript.TestScript, _ bool, args []string) {
	processesOf(ts).get(ts, args[0]).kill()
}

// hangup NAME tells a node that its terminal has gone, at which it must stop in order.
func hangUp(ts *testscript.TestScript, _ bool, args []string) {
	if err := processesOf(ts).get(ts, args[0]).end(syscall.SIGHUP); err != nil {
		ts.Fatalf("%s: %v\n%s", args[0], err, ts.ReadFile(args[0]+".log"))
	}
}

// waits FILE TEXT waits until a file holds a text.
func waits(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(ts.ReadFile(args[0]), args[1]) {
			return
		}
	}
	ts.Fatalf("no %q in %s:\n%s", args[1], args[0], ts.ReadFile(args[0]))
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
