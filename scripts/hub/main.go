//go:build linux

// Hub joins network interfaces (TAP devices, which it makes) as if they hung on one bad cable: whatever one sends reaches
// all others, later, unless it is lost. It does what tc's netem does, also on kernels without netem. For scripts/netns.
//
//	hub [-delay 40ms] [-loss 0.01] INTERFACE…
//
// It says "ready" when the interfaces are there; they may then be moved to other network namespaces. On its standard input
// it takes "cut INTERFACE" and "mend INTERFACE", a line each; at the end of it, it ends.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// port is one interface.
type port struct {
	tap *os.File
	out chan frame
	cut atomic.Bool
}

type frame struct {
	due  time.Time
	data []byte
}

const (
	maxFrame = 1 << 16
	// queued is how many frames are on their way to an interface; more are lost.
	queued = 8192
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("hub: ")
	delay := flag.Duration("delay", 0, "how long each frame takes")
	loss := flag.Float64("loss", 0, "which part of the frames is lost, 0 to 1")
	flag.Parse()
	ports := map[string]*port{}
	for _, name := range flag.Args() {
		tap, err := openTAP(name)
		if err != nil {
			log.Fatalf("interface %s: %v", name, err)
		}
		ports[name] = &port{tap: tap, out: make(chan frame, queued)}
	}
	for _, p := range ports {
		go p.deliver()
		go p.accept(ports, *delay, *loss)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, name, _ := strings.Cut(lines.Text(), " ")
		p, ok := ports[name]
		if !ok || verb != "cut" && verb != "mend" {
			log.Fatalf("cannot %q", lines.Text())
		}
		p.cut.Store(verb == "cut")
	}
}

// openTAP makes an Ethernet interface whose other end is the file.
func openTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// accept takes what an interface sends.
func (p *port) accept(all map[string]*port, delay time.Duration, loss float64) {
	buf := make([]byte, maxFrame)
	for {
		n, err := p.tap.Read(buf)
		if err != nil {
			log.Fatal(err)
		}
		if p.cut.Load() {
			continue
		}
		f := frame{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
		for _, other := range all {
			if other == p || other.cut.Load() || rand.Float64() < loss {
				continue
			}
			select {
			case other.out <- f:
			default:
			}
		}
	}
}

// deliver gives an interface what is due.
func (p *port) deliver() {
	for f := range p.out {
		time.Sleep(time.Until(f.due))
		_, _ = p.tap.Write(f.data) // an interface that is down takes nothing
	}
}
