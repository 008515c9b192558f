package legacy_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/wire"
)

// heap returns how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first leaves in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// frame puts bytes into a frame.
func frame(payload []byte) []byte {
	if len(payload) > wire.MaxFrame {
		panic(fmt.Sprintf("%d bytes do not fit a frame", len(payload)))
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(payload))), payload...)
}

func compressed(text string) []byte {
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	if err == nil {
		_, err = io.WriteString(z, text)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}

// attack is a byte string that no client would send.
type attack struct {
	data   []byte
	goesOn bool // the connection goes on after it
}

// hostile are attacks by name.
var hostile = sync.OnceValue(func() map[string]attack {
	const bomb = 6 << 20 // what inflates to much more does not fit a frame
	zeros := strings.Repeat("0", bomb)
	deep := func(open, middle, shut string, n int) []byte {
		return compressed("pg s3 'bab' b4 'AAAA' " + strings.Repeat(open, n) + middle + strings.Repeat(shut, n) + " b4 'AAAA' ")
	}
	return map[string]attack{
		"a frame of length 0":          {[]byte{0, 0}, false},
		"a frame of negative length":   {[]byte{0x80, 0}, false},
		"the most negative length":     {[]byte{0xff, 0xff}, false},
		"one byte":                     {frame([]byte{0}), true},
		"random bytes":                 {frame(random(1000, 1)), true},
		"a full frame of random bytes": {frame(random(wire.MaxFrame, 2)), true},
		"not compressed":               {frame([]byte("pg s3 'bab' b4 'AAAA' a16 'pg s1 's' s5 'hello' ' b4 'AAAA' ")), true},
		"not packed":                   {frame(compressed("hello")), true},
		"nothing, compressed":          {frame(compressed("")), true},
		"cut short":                    {frame(compressed(zeros[:1000])[:12]), true},
		"a bomb":                       {frame(compressed(zeros)), true},
		"a bomb of packed text":        {frame(compressed(fmt.Sprintf("pg s3 'bsb' b4 'AAAA' s%d '%s' b4 'AAAA' ", bomb, zeros))), true},
		"huge declared lengths":        {frame(compressed("pg s3 'bab' b4 'AAAA' a999999999999999999 'pg s1 's' s999999999 'hello' ' b4 'AAAA' ")), true},
		"negative declared lengths":    {frame(compressed("pg s3 'bab' b4 'AAAA' a-1 'pg s1 's' s-5 'hello' ' b4 'AAAA' ")), true},
		"deep nesting":                 {frame(deep("a9 'pg s1 'a' ", "x", "' ", 5000)), true},
		"many items":                   {frame(compressed("pg s30000 '" + strings.Repeat("i", 30000) + "' " + strings.Repeat("i4 1 ", 30000))), true},
		"a long number":                {frame(compressed("pg s3 'bib' b4 'AAAA' i4 " + strings.Repeat("9", 100_000) + " b4 'AAAA' ")), true},
		"HTTP":                         {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false},
	}
})

// TestHostileBytes sends what no client would, before and after a session key, and expects an error or the end, and
// nothing for the others.
func TestHostileBytes(t *testing.T) {
	t.Parallel()
	w := start(t)
	other := w.login(t, "admin")
	for name, attack := range hostile() {
		for _, encrypted := range []bool{false, true} {
			p := w.dial(t)
			data := attack.data
			if encrypted {
				p.StartSession(t)
				if attack.goesOn {
					data = bytes.Clone(data)
					p.Key.Stream().XORKeyStream(data[2:], data[2:])
				}
			}
			must(t, p.Raw(data))
			switch {
			case attack.goesOn:
				reply, err := p.Receive()
				if err != nil {
					t.Errorf("%s, encrypted %v: %v", name, encrypted, err)
					continue
				}
				wantError(t, reply, "")
				wantOK(t, p.Call(t, "hello"))
			case name == "HTTP": // a frame of 18,245 bytes that does not come
				must(t, p.Close())
			default:
				if err := p.Ended(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			wantOK(t, other.Call(t, "hello"))
		}
	}
}

// TestWrongKey sends messages under another key, and a message that was changed on its way.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.dial(t)
	p.StartSession(t)
	right := p.Key
	for _, key := range []wire.SessionKey{"", wire.SessionKey(strings.Repeat("k", 172)), right[1:] + "x"} {
		p.Key = key
		must(t, p.Send(legacytest.Request("hello")))
		p.Key = right
		reply, err := p.Receive()
		must(t, err)
		wantReply(t, reply, "['ERR', 'cannot unwrap / decode data.']")
	}
	var codec wire.Codec
	payload, err := codec.EncodeRequest(right, legacytest.Request("hello"))
	must(t, err)
	for i := range payload {
		changed := bytes.Clone(payload)
		changed[i] ^= 1
		must(t, p.Raw(frame(changed)))
		if _, err := p.Receive(); err != nil {
			t.Fatalf("a changed byte %d: %v", i, err)
		}
	}
	wantOK(t, p.Call(t, "hello"))
}

// TestHostileMemory keeps many attackers at it, at once, and bounds what they cost.
func TestHostileMemory(t *testing.T) {
	w := start(t)
	attacks := hostile()
	other := w.login(t, "admin")
	before := heap()
	var peak uint64
	var all sync.WaitGroup
	for range 48 {
		all.Go(func() {
			for range 2 {
				for _, attack := range attacks {
					p, err := legacytest.TryDial(w.address)
					if err != nil {
						t.Error(err)
						return
					}
					if p.Raw(attack.data) == nil && attack.goesOn {
						_, _ = p.Receive()
					}
					_ = p.Close()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(20 * time.Millisecond):
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse+m.StackInuse)
			wantOK(t, other.Call(t, "hello"))
		}
	}
	eventually(t, func() bool { return w.Connections() == 1 })
	after := heap()
	t.Logf("memory in use: %d MiB before, at most %d MiB during the attack, %d MiB after", before>>20, peak>>20, after>>20)
	if peak > before+256<<20 {
		t.Errorf("the attack cost %d MiB", (peak-before)>>20)
	}
	if after > before+16<<20 {
		t.Errorf("%d MiB stay in use", (after-before)>>20)
	}
}

// TestThousand is 1,000 connections at once, most of them idle: each is cheap, and all are served.
func TestThousand(t *testing.T) {
	w := start(t)
	const n = 1000
	before := heap()
	peers := make([]*legacytest.Peer, n)
	var all sync.WaitGroup
	for i := range peers {
		all.Go(func() {
			p, err := legacytest.TryDial(w.address)
			if err != nil {
				t.Error(err)
				return
			}
			peers[i] = p
			if reply, err := p.TryCall("hello"); err != nil || !legacytest.IsOK(reply) {
				t.Errorf("%s, %v", legacytest.Show(reply), err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	each := (heap() - before) / n
	t.Logf("an idle connection takes %d bytes on both sides", each)
	if each > 64<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
	if got := w.Connections(); got != n {
		t.Errorf("%d connections are open", got)
	}
	extra := w.dial(t)
	wantOK(t, extra.Greeting)
	for range 30 { // up to the limit for one address
		_ = w.dial(t)
	}
	wantError(t, w.dial(t).Greeting, "Too many connections from your address")
	for _, p := range peers {
		if reply, err := p.TryCall("quit"); err != nil || !legacytest.IsOK(reply) {
			t.Errorf("%s, %v", legacytest.Show(reply), err)
		}
		_ = p.Close()
	}
	eventually(t, func() bool { return w.Connections() <= 31 })
	wantOK(t, extra.Call(t, "hello"))
}

// TestHalfOpen is clients that connect and say nothing, begin a frame and stop, or never read.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Timeout = time.Second })
	silent, begun := w.dial(t), w.dial(t)
	must(t, begun.Raw([]byte{10}))
	for _, p := range []*legacytest.Peer{silent, begun} {
		reply, err := p.Receive()
		must(t, err)
		wantError(t, reply, "Timeout occured")
		must(t, p.Ended())
	}
	// One who leaves in the middle of things, with a reset.
	p := w.dial(t)
	must(t, p.Conn.(*net.TCPConn).SetLinger(0))
	must(t, p.Raw([]byte{10, 1, 2, 3}))
	must(t, p.Close())
	eventually(t, func() bool { return w.Connections() == 0 })
}

// TestNoReader sends commands and never reads the replies: the server gives up, and nobody else notices.
func TestNoReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dial := piped(t)
		p, other := dial(), dial()
		wantOK(t, p.Call(t, "tout", "3600"))
		must(t, p.Send(legacytest.Request("help")))
		for range 10 {
			time.Sleep(2 * time.Second)
			wantOK(t, other.Call(t, "hello"))
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if n := w.Connections(); n != 1 {
			t.Errorf("%d connections are open", n)
		}
	})
}

// TestPipelining answers commands that come without waiting, in their order.
func TestPipelining(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	const n = 200
	go func() {
		for i := range n {
			if p.Send(legacytest.Request("user", fmt.Sprint(i), "x")) != nil || p.Send(legacytest.Request("help", fmt.Sprint(i))) != nil {
				return
			}
		}
	}()
	for i := range n {
		reply, err := p.Receive()
		must(t, err)
		wantReply(t, reply, "['ERR', 'Already logged in']")
		reply, err = p.Receive()
		must(t, err)
		wantReply(t, reply, fmt.Sprintf("['ERR', 'No such command', '%d']", i))
	}
}

// TestGuesses ends the connection at the third failure of a password or a code, whoever's it is, and says so.
func TestGuesses(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Production = true })
	w.accounts.Enrol("bob", "123456")
	for name, guesses := range map[string][][]any{
		"passwords":          {{"pass", "1"}, {"pass", "2"}, {"pass", "3"}},
		"no passwords":       {{"pass"}, {"pass"}, {"pass"}},
		"users":              {{"pass", "1"}, {"user", "nobody"}, {"pass", "2"}, {"user", "admin"}, {"pass", "3"}},
		"odd passwords":      {{"pass", 1}, {"pass", []byte("pw")}, {"pass", record.List{}}},
		"codes":              {{"pass", "pw"}, {"twofa", "1"}, {"twofa", "2"}, {"twofa", 3}},
		"passwords and code": {{"pass", "1"}, {"pass", "2"}, {"pass", "pw"}, {"twofa", "1"}},
		"after logout":       {{"pass", "1"}, {"pass", "pw"}, {"logout"}, {"pass", "2"}, {"user", "bob"}, {"pass", "3"}},
	} {
		p := w.dial(t)
		wantOK(t, p.Call(t, "user", "bob"))
		for i, guess := range guesses {
			reply := p.Call(t, guess...)
			if i == len(guesses)-1 && !legacytest.IsError(reply) {
				t.Errorf("%s: %v: %s", name, guess, legacytest.Show(reply))
			}
		}
		reply, err := p.Receive()
		must(t, err)
		wantReply(t, reply, "['ERR', 'Disconnected.']")
		_ = p.Send(legacytest.Request("pass", "pw"))
		must(t, p.Ended())
	}
	w.accounts.Limit = func(string) error { return &legacy.LimitedError{Wait: time.Minute} }
	p := w.dial(t)
	wantOK(t, p.Call(t, "user", "bob"))
	wantError(t, p.Call(t, "pass", "pw"), "Too many failed attempts")
}

// TestRevoked is out at once: who is deleted or disabled, and whose rights are taken away.
func TestRevoked(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.login(t, "admin")
	wantOK(t, admin.Call(t, "uadd", "eve", "pw"))
	bob, eve := w.login(t, "bob"), w.login(t, "eve")
	wantOK(t, bob.Call(t, "file", "f"))
	wantOK(t, admin.Call(t, "uena", "bob", "disable"))
	wantOK(t, admin.Call(t, "udel", "eve"))
	const out = "['ERR', 'Out of Sequence command issued', 'pwd']"
	wantReply(t, bob.Call(t, "pwd"), out)
	wantReply(t, eve.Call(t, "pwd"), out)
	w.nothingLeft(t)
	wantOK(t, bob.Call(t, "user", "bob"))
	wantReply(t, bob.Call(t, "pass", "pw"), "['ERR', 'this user is temporarily disabled', 'pw']")
}

// TestInitialFromHere makes the first user for clients on this machine only.
func TestInitialFromHere(t *testing.T) {
	t.Parallel()
	w := &world{ledger: legacytest.NewLedger(t), accounts: legacytest.NewAccounts(), dir: t.TempDir()}
	s, err := legacy.NewServer(w.options(), w.ledger, w.accounts)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	for _, c := range []struct {
		from string
		want string
	}{{"192.0.2.1", "own machine only"}, {"2001:db8::1", "own machine only"}, {"::1", "Added initial user"}} {
		reply, _ := s.NewSession(mustAddr(t, c.from)).Do(t.Context(), legacytest.Request("uini", "root", "pw"))
		if !strings.Contains(legacytest.Show(reply), c.want) {
			t.Errorf("from %s: %s", c.from, legacytest.Show(reply))
		}
	}
}

// TestRandomBytes is noise of all lengths, in frames and without.
func TestRandomBytes(t *testing.T) {
	t.Parallel()
	w := start(t)
	noise := ledgertest.NewRand(7)
	var all sync.WaitGroup
	for i := range 50 {
		data := make([]byte, 1+noise.Uint64()%5000)
		_, _ = noise.Read(data)
		if i%2 == 0 {
			data = frame(data)
		}
		all.Go(func() {
			p, err := legacytest.TryDial(w.address)
			if err != nil {
				t.Error(err)
				return
			}
			_ = p.Raw(data)
			_ = p.Conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, p.Conn)
			_ = p.Close()
		})
	}
	all.Wait()
	wantOK(t, w.dial(t).Call(t, "hello"))
}
