package legacy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = ledgertest.NewRand(seed).Read(b)
	return b
}

// home is the directory of bob.
func (w *world) home() string { return filepath.Join(w.dir, legacy.PayloadDir, "bob") }

// nothingLeft fails when unfinished uploads are left.
func (w *world) nothingLeft(t testing.TB) {
	t.Helper()
	eventually(t, func() bool {
		entries, err := os.ReadDir(filepath.Join(w.home(), legacy.PartDir))
		return len(entries) == 0 && (err == nil || errors.Is(err, os.ErrNotExist))
	})
}

// TestResolve looks paths up.
func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cwd, name, want string }{
		{".", "", "."}, {".", ".", "."}, {".", "a", "a"}, {".", "a//b/", "a/b"}, {".", "a/../b", "b"}, {".", "./a/.", "a"},
		{"a/b", "", "a/b"}, {"a/b", "..", "a"}, {"a/b", "../..", "."}, {"a/b", "../c", "a/c"}, {"a", "~", "a/~"},
		{".", "a%20b", "a b"}, {".", "%41%42", "AB"}, {".", "100%", "100%"}, {".", "%2f%2e%2e", "%2f%2e%2e"}, {".", "%", "%"}, {".", "%2", "%2"},
		{".", "%99", ""}, {".", "x%200", "x 0"}, {".", "...", "..."}, {".", "日本", "日本"}, {".", `a\b`, `a\b`},
		{".", "..", ""}, {"a", "../..", ""}, {".", "a/../..", ""}, {".", "/", ""}, {".", "/a", ""}, {".", "a\x00", ""}, {".", "%00", ""}, {".", "a\nb", ""},
		{".", ".part", ""}, {".", ".part/x", ""}, {"a", "../.part", ""}, {".", "a/.part", "a/.part"}, {".", "\xff", ""},
	} {
		got, err := legacy.Resolve(c.cwd, c.name)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q from %q is %q, %v; want %q", c.name, c.cwd, got, err, c.want)
		}
	}
}

// FuzzResolve never finds a path that leads out.
func FuzzResolve(f *testing.F) {
	for _, name := range []string{"a/../..", "%2E%2E", "..%46", "\x00", "a/./../../b", ".part", strings.Repeat("a/", 600)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, cwd := range []string{".", "a", "a/b/c"} {
			got, err := legacy.Resolve(cwd, name)
			if err != nil {
				if !errors.Is(err, legacy.ErrNoAccess) {
					t.Errorf("%q: %v", name, err)
				}
				continue
			}
			if !filepath.IsLocal(got) || got != filepath.ToSlash(filepath.Clean(got)) || strings.ContainsRune(got, 0) || strings.HasPrefix(got+"/", legacy.PartDir+"/") {
				t.Errorf("%q from %q is %q", name, cwd, got)
			}
		}
	})
}

// TestUserDirectory keeps users apart, and inside.
func TestUserDirectory(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"admin": "admin", "bob.smith": "bob.smith", "a_b-c": "a_b-c", "Иван": "Иван", "a b": "a%20b", "o'hara": "o%27hara", "a/b": "a%2fb", "..": "%2e%2e",
		".": "%2e", ".part": "%2epart", "": "~e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "a%2fb": "a%252fb", "a\x00": "a%00",
		"a\\b": "a%5cb", "~": "%7e", "a.": "a%2e", "C:": "C%3a", "\xff": "%ff", "\ufffd": "%ef%bf%bd",
	} {
		if got := legacy.UserDirectory(name); got != want {
			t.Errorf("%q has the directory %q, want %q", name, got, want)
		}
	}
}

// FuzzUserDirectory makes names that are one name in a directory, each user's own.
func FuzzUserDirectory(f *testing.F) {
	f.Add("a/b", "a%2fb")
	f.Add(strings.Repeat("x", 300), "..")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, name := range []string{a, b} {
			dir := legacy.UserDirectory(name)
			if len(dir) > 255 || dir == "" || strings.ContainsAny(dir, "/\\\x00:") || strings.HasPrefix(dir, ".") || filepath.Base(dir) != dir {
				t.Errorf("%q has the directory %q", name, dir)
			}
		}
		if a != b && legacy.UserDirectory(a) == legacy.UserDirectory(b) {
			t.Errorf("%q and %q share %q", a, b, legacy.UserDirectory(a))
		}
	})
}

// TestBackups keeps what an upload replaces, in the original's places.
func TestBackups(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	content := func(name string) string {
		c, _ := p.Download(t, name)
		return string(c)
	}
	for i := range 6 {
		wantReply(t, p.Upload(t, "f", fmt.Appendf(nil, "version %d", i)), "['OK', 'Server received file.', 'f']")
		if i == 0 {
			defer alwaysThere(t, filepath.Join(w.home(), "f"))()
		}
	}
	wantReply(t, p.Call(t, "ls"), "['OK', 'f', 'f_0', 'f_1', 'f_2']")
	for name, want := range map[string]string{"f": "version 5", "f_0": "version 4", "f_1": "version 1", "f_2": "version 2"} {
		if got := content(name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	wantOK(t, p.Call(t, "del", "f_1"))
	wantOK(t, p.Upload(t, "f", nil))
	if got := content("f_1"); got != "version 5" {
		t.Errorf("the free place holds %q", got)
	}
	if got := content("f"); got != "" {
		t.Errorf("the empty file holds %q", got)
	}
	wantOK(t, p.Call(t, "mkdir", "d"))
	for _, bad := range []string{"d", "missing/f", "f/x", "", "."} {
		wantReply(t, p.Call(t, "fput", bad), fmt.Sprintf("['ERR', 'Cannot create file.', '%s']", bad))
	}
	wantOK(t, p.Call(t, "hello"))
	w.nothingLeft(t)
}

// alwaysThere looks at a file all the time until the function that it returns is called: a file that is replaced is never
// missing.
func alwaysThere(t testing.TB, file string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("a file that is being replaced: %v", err)
				return
			}
		}
	})
	return func() {
		close(done)
		looking.Wait()
	}
}

// TestOlderUpload is `file` and `data`.
func TestOlderUpload(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	const none, cannot = "['ERR', 'No filename for data', 'data']", "['ERR', 'Cannot save data on server', 'data']"
	wantReply(t, p.Call(t, "data", 0, []byte("x")), none)
	wantOK(t, p.Call(t, "file", "f"))
	wantReply(t, p.Call(t, "data", 0, "text"), cannot)
	wantReply(t, p.Call(t, "data", "x", []byte("y")), cannot)
	wantOK(t, p.Call(t, "data", "6", []byte("world")))
	wantOK(t, p.Call(t, "data", 0, []byte("Hello ")))
	wantReply(t, p.Call(t, "ls"), "['OK']") // not yet
	wantReply(t, p.Call(t, "data", 11, ""), "['OK', 'Empty Data, assuming EOF; Closing file', 'data']")
	wantReply(t, p.Call(t, "data", 0, []byte("x")), none)
	if got, _ := p.Download(t, "f"); string(got) != "Hello world" {
		t.Errorf("the file holds %q", got)
	}
	wantReply(t, p.Call(t, "file", "f"), "['ERR', 'File exists. Delete first.', 'f']")

	// Of two that write the same new file, the second one to end is refused.
	q := w.login(t, "bob")
	for _, peer := range []*legacytest.Peer{p, q} {
		wantOK(t, peer.Call(t, "file", "g"))
		wantOK(t, peer.Call(t, "data", 0, []byte("g")))
	}
	wantOK(t, p.Call(t, "data", 0, []byte{}))
	wantError(t, q.Call(t, "data", 0, []byte{}), "File exists. Delete first.")

	// What is not ended is not there.
	for _, leave := range []func(){
		func() { wantOK(t, q.Call(t, "file", "i")) },
		func() { wantOK(t, q.Call(t, "logout")) },
		func() { q.Login(t, "bob", "pw") },
		func() { wantError(t, q.Call(t, "data", 1<<50, []byte("x")), "File too large") },
		func() { _ = q.Close() },
	} {
		if legacytest.IsOK(q.Call(t, "file", "h")) {
			wantOK(t, q.Call(t, "data", 0, []byte("x")))
		}
		leave()
	}
	w.nothingLeft(t)
	wantReply(t, p.Call(t, "ls"), "['OK', 'f', 'g']")
}

// TestInterruptedUpload leaves the earlier file, and nothing of the new one, whatever ends an upload.
func TestInterruptedUpload(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Limits.FileSize = 100_000 })
	check := w.login(t, "bob")
	wantOK(t, check.Upload(t, "f", []byte("before")))
	begin := func() *legacytest.Peer {
		p := w.login(t, "bob")
		wantOK(t, p.Call(t, "fput", "f"))
		must(t, p.Send(record.Bytes("piece")))
		return p
	}
	finish := func(p *legacytest.Peer) record.Value {
		must(t, p.Send(record.Bytes("piece")))
		must(t, p.Send(record.Bytes{}))
		reply, err := p.Receive()
		must(t, err)
		wantOK(t, p.Call(t, "hello"))
		return reply
	}
	for name, interrupt := range map[string]func(p *legacytest.Peer){
		"gone": func(p *legacytest.Peer) { must(t, p.Close()) },
		"half a frame": func(p *legacytest.Peer) {
			must(t, p.Raw([]byte{10, 0, 1}))
			must(t, p.Close())
		},
		"a frame of negative length": func(p *legacytest.Peer) {
			must(t, p.Raw([]byte{255, 255}))
			must(t, p.Ended())
		},
		"a command": func(p *legacytest.Peer) {
			wantError(t, p.Call(t, "quit"), "a command came before its end")
			wantOK(t, p.Call(t, "hello"))
		},
		"junk": func(p *legacytest.Peer) {
			must(t, p.Raw([]byte("\x00\x04junk")))
			wantError(t, finish(p), "could not be decoded")
		},
		"too large": func(p *legacytest.Peer) {
			must(t, p.Send(record.Bytes(random(20_000, 1))))
			for range 6 {
				must(t, p.Send(record.Bytes(random(20_000, 2))))
			}
			wantError(t, finish(p), "File too large, the limit is 100000 bytes.")
		},
	} {
		interrupt(begin())
		w.nothingLeft(t)
		if got, _ := check.Download(t, "f"); string(got) != "before" {
			t.Errorf("%s: the file holds %q", name, got)
		}
		wantReply(t, check.Call(t, "ls"), "['OK', 'f']")
	}
	// One that goes on and on after it has failed is cut off.
	endless := begin()
	cut := false
	for piece := record.Bytes(make([]byte, 150_000)); !cut; {
		cut = endless.Send(piece) != nil
	}
	w.nothingLeft(t)
	// A frame of length 0 ends an upload too.
	p := begin()
	must(t, p.Raw([]byte{0, 0}))
	reply, err := p.Receive()
	must(t, err)
	wantOK(t, reply)
	if got, _ := check.Download(t, "f"); string(got) != "piece" {
		t.Errorf("the file holds %q", got)
	}
}

// TestQuota bounds a user's files, and gives back what is deleted.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Limits = legacy.Limits{FileSize: 60_000, Quota: 100_000, Files: 8} })
	p := w.login(t, "bob")
	wantError(t, p.Upload(t, "d", random(60_001, 3)), "File too large")
	wantOK(t, p.Upload(t, "a", random(60_000, 1)))
	wantOK(t, p.Upload(t, "b", random(40_000, 2)))
	wantError(t, p.Upload(t, "c", []byte("x")), "Quota exceeded")
	wantError(t, p.Upload(t, "a", []byte("x")), "Quota exceeded") // the old one is kept
	wantOK(t, p.Call(t, "file", "e"))
	wantError(t, p.Call(t, "data", 0, []byte("x")), "Quota exceeded")
	wantOK(t, p.Upload(t, "empty", nil))
	wantOK(t, p.Call(t, "del", "b"))
	wantOK(t, p.Upload(t, "b", random(40_000, 4)))
	// Another session, and one after all others are gone, count the same.
	wantError(t, w.login(t, "bob").Upload(t, "c", []byte("x")), "Quota exceeded")
	wantOK(t, w.login(t, "admin").Upload(t, "c", random(60_000, 5)))

	wantOK(t, p.Call(t, "del", "a"))
	for i := range 6 {
		wantOK(t, p.Call(t, "mkdir", fmt.Sprintf("d%d", i)))
	}
	wantError(t, p.Call(t, "mkdir", "more"), "Too many files")
	wantError(t, p.Call(t, "fput", "more"), "Too many files")
	wantError(t, p.Call(t, "file", "more"), "Too many files")
	wantOK(t, p.Call(t, "rmdir", "d0"))
	wantOK(t, p.Upload(t, "more", nil))
	w.nothingLeft(t)
}

// TestQuotaUnderWay counts uploads that are not complete, and measures again after a restart.
func TestQuotaUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limits := func(o *legacy.Options) { o.Limits = legacy.Limits{Quota: 100_000} }
	s, err := legacy.Start(t.Context(), w.options(limits), w.ledger, w.accounts)
	must(t, err)
	w.address = s.Addr().String()
	p, q := w.login(t, "bob"), w.login(t, "bob")
	wantOK(t, p.Call(t, "file", "a"))
	wantOK(t, p.Call(t, "data", 90_000, random(9_000, 1)))
	wantError(t, q.Upload(t, "b", random(2_000, 2)), "Quota exceeded")
	wantOK(t, p.Call(t, "data", 0, []byte{}))
	must(t, s.Close())

	must(t, os.MkdirAll(filepath.Join(w.home(), legacy.PartDir, "left"), 0o700))
	w.serve(t, limits)
	w.nothingLeft(t)
	p = w.login(t, "bob")
	wantError(t, p.Upload(t, "b", random(2_000, 3)), "Quota exceeded")
	wantOK(t, p.Upload(t, "b", random(1_000, 4)))
}

// TestTransfers bounds how many go on at once, of one user and of all.
func TestTransfers(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Limits = legacy.Limits{Transfers: 3, UserTransfers: 2} })
	busy := []*legacytest.Peer{w.login(t, "bob"), w.login(t, "bob")}
	for i, p := range busy {
		wantOK(t, p.Call(t, "fput", fmt.Sprint("f", i)))
	}
	p := w.login(t, "bob")
	wantError(t, p.Call(t, "fput", "g"), "Too many transfers")
	wantError(t, p.Call(t, "file", "g"), "Too many transfers")
	admin, other := w.login(t, "admin"), w.login(t, "admin")
	wantOK(t, admin.Call(t, "fput", "f"))
	wantError(t, other.Call(t, "fput", "g"), "Too many transfers")
	must(t, busy[0].Send(record.Bytes{}))
	reply, err := busy[0].Receive()
	must(t, err)
	wantOK(t, reply)
	eventually(t, func() bool { return legacytest.IsOK(other.Upload(t, "g", []byte("x"))) })
	must(t, busy[1].Close())
	eventually(t, func() bool { return legacytest.IsOK(p.Upload(t, "g", []byte("x"))) })
	w.nothingLeft(t)
}

// TestChunks downloads with every kind of buffer, while the file is replaced.
func TestChunks(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	content := random(50_000, 1)
	wantOK(t, p.Upload(t, "f", content))
	for _, size := range []any{0, 1, "100", 4096, 32767, 32768, "61440", 61441, -1} {
		wantReply(t, p.Call(t, "buff", size), "['OK', 'Buffer set to:', 4096]")
		got, reply := p.Download(t, "f")
		wantReply(t, reply, "['OK', 'Server sent file', 'f']")
		if !bytes.Equal(got, content) {
			t.Errorf("with a buffer of %v, %d bytes came back", size, len(got))
		}
	}
	wantError(t, p.Call(t, "buff", "x"), "number")

	clear := w.dial(t)
	clear.Login(t, "bob", "pw")
	wantReply(t, clear.Call(t, "fget", "f"), "['OK', '50000', 'f']")
	reply, err := clear.Receive()
	must(t, err)
	wantError(t, reply, "on processing request.")
	wantOK(t, clear.Call(t, "hello"))
	if got, reply := p.Download(t, "missing"); got != nil || legacytest.IsOK(reply) {
		t.Errorf("a missing file came back: %s", legacytest.Show(reply))
	}
}

// TestTogether is many sessions of one user at the same files.
func TestTogether(t *testing.T) {
	t.Parallel()
	w := start(t)
	versions := map[string]bool{"": true}
	for i := range 8 {
		versions[string(random(10_000, uint64(i)))] = true
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			p := w.login(t, "bob")
			for range 5 {
				wantOK(t, p.Upload(t, "f", random(10_000, uint64(i))))
				got, reply := p.Download(t, "f")
				if !legacytest.IsOK(reply) || !versions[string(got)] {
					t.Errorf("%d bytes that nobody wrote: %s", len(got), legacytest.Show(reply))
				}
				p.Call(t, "mkdir", "d")
				p.Call(t, "rmdir", "d")
			}
		})
	}
	all.Wait()
	p := w.login(t, "bob")
	wantReply(t, p.Call(t, "ls"), "['OK', 'f', 'f_0', 'f_1', 'f_2']")
	w.nothingLeft(t)
}
