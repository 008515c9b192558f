package legacy_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

// The tests in this file are the deviations of docs/original-protocol.md, by their numbers: where the
// original misbehaves and the server does better, on purpose. Number 9 is the accounts' and number 11 the replicator's;
// number 12 is TestAnnouncement.

// scripts are names in several scripts, none of which the original takes.
var scripts = []string{"Jürgen", "Ελένη", "Иван", "日本語", "🗳️ vote", "עברית"}

// TestAnyScript is deviation 1: names and text in any script are accepted.
func TestAnyScript(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.login(t, "admin")
	for i, name := range scripts {
		wantOK(t, admin.Call(t, "uadd", name, "pw"))
		p := w.login(t, name)
		wantOK(t, p.Upload(t, name, []byte(name)))
		wantReply(t, p.Call(t, "ls"), fmt.Sprintf("['OK', '%s']", name))
		content, reply := p.Download(t, name)
		wantReply(t, reply, fmt.Sprintf("['OK', 'Server sent file', '%s']", name))
		if string(content) != name {
			t.Errorf("%q came back as %q", name, content)
		}

		payload := new(record.Dict).Set(record.Text("name"), record.Text(name))
		r, err := record.New(payload, ledgertest.Start.Add(time.Duration(i)*time.Second), ledgertest.NewRand(uint64(i)))
		must(t, err)
		must(t, record.Minter{Workers: 1, Rand: ledgertest.NewRand(1)}.Mint(t.Context(), r))
		header, _ := r.Get(record.KeyHeader)
		wantOK(t, p.Call(t, "rput", "vote", r.Dict()))
		packed := legacytest.Items(legacytest.Items(legacytest.Items(p.Call(t, "rget", "vote", header))[3])[0])[1].(record.Bytes)
		if !strings.Contains(string(packed), name) {
			t.Errorf("the record of %q came back without the name", name)
		}
	}
	for _, what := range []string{"hash", "proof", "data"} {
		wantReply(t, admin.Call(t, "rcheck", "vote", what), fmt.Sprintf("['OK', 'No errors.', '%s', %d, 'total']", what, len(scripts)))
	}
}

// TestDirectories is the first half of deviation 2: paths are resolved also after cd.
func TestDirectories(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	for _, c := range []struct{ request, want string }{
		{"mkdir a", "['OK', 'Made directory:', 'a']"},
		{"mkdir a/b", "['OK', 'Made directory:', 'a/b']"},
		{"cd a", "['OK', '/a']"},
		{"pwd", "['OK', '/a']"},
		{"lsd", "['OK', 'b']"},
		{"mkdir c", "['OK', 'Made directory:', 'c']"},
		{"cd b", "['OK', '/a/b']"},
		{"cd ../c", "['OK', '/a/c']"},
		{"file f", "['OK', 'Send file', 'f']"},
		{"data 0", "['ERR', 'Must send some data', 'data']"},
		{"cd ..", "['OK', '/a']"},
		{"cd .", "['OK', '/a']"},
		{"lsd", "['OK', 'b', 'c']"},
		{"lsd ..", "['OK', 'a']"},
		{"lsd b", "['OK']"},
		{"rmdir b", "['OK', 'Deleted directory:', 'b']"},
		{"rmdir .", "['ERR', 'Cannot delete directory.', 'The directory is not empty.', '.']"},
		{"cd ../..", "['ERR', 'No Access to directory.', '../..']"},
		{"cd ../../bob", "['ERR', 'No Access to directory.', '../../bob']"},
		{"pwd", "['OK', '/a']"},
		{"cd ..", "['OK', '/']"},
		{"cd /", "['ERR', 'No Access to directory.', '/']"},
	} {
		words := strings.Fields(c.request)
		args := make([]any, len(words))
		for i, word := range words {
			args[i] = word
		}
		if got := legacytest.Show(p.Call(t, args...)); got != c.want {
			t.Errorf("%s: %s, want %s", c.request, got, c.want)
		}
	}
	wantOK(t, p.Call(t, "cd", "a"))
	content := bytes.Repeat([]byte("content "), 2000)
	wantOK(t, p.Upload(t, "file", content))
	wantOK(t, p.Call(t, "cd", ".."))
	if got, _ := p.Download(t, "a/file"); !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back", len(got))
	}
	wantOK(t, p.Call(t, "stat", "a/file"))
	wantOK(t, p.Call(t, "del", "a/file"))
}

// pathCommands are the commands that take a path.
var pathCommands = []string{"ls", "dir", "lsd", "cd", "stat", "mkdir", "rmdir", "del", "file", "fget", "fput"}

// TestConfinement is the second half of deviation 2: no command leaves the user's directory, by no path and no symbolic
// link, and none shows what is outside.
func TestConfinement(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin, p := w.login(t, "admin"), w.login(t, "bob")
	wantOK(t, admin.Call(t, "uadd", "bobby", "pw"))
	bobby := w.login(t, "bobby")
	wantOK(t, bobby.Upload(t, "secret", []byte("secret")))
	wantOK(t, p.Call(t, "mkdir", "inside"))
	wantOK(t, p.Upload(t, "inside/own", []byte("own")))

	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "target"), []byte("outside"), 0o600))
	home := filepath.Join(w.dir, legacy.PayloadDir, "bob")
	for name, target := range map[string]string{
		"to-file": filepath.Join(outside, "target"), "to-dir": outside, "to-bobby": "../bobby", "to-root": "/", "to-nothing": "/nowhere/at/all",
		"inside/up": "../../bobby", "to-inside": "inside", "to-own": "inside/own", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	before := tree(t, w.dir, outside)

	paths := []string{
		"..", "../", "../bobby", "../bobby/secret", "inside/../../bobby/secret", "../..", "../../private", "../../pyservid.init", "inside/../..",
		"/", "/etc", "/etc/passwd", outside, outside + "/target", "//", "~/x/../../..", "\x00", "a\x00b", "inside\x00/../../bobby", "%00",
		"to-file", "to-dir", "to-dir/target", "to-bobby", "to-bobby/secret", "to-root", "to-root/etc/passwd", "to-nothing", "inside/up/secret", "loop", "loop/x",
		".part", ".part/x", "inside/../.part", strings.Repeat("x", 300), strings.Repeat("a/", 2000), strings.Repeat("../", 2000) + "etc/passwd",
	}
	for _, path := range paths {
		for _, command := range pathCommands {
			if command == "del" && strings.HasPrefix(path, "to-") || command == "del" && path == "loop" || command == "fput" && !strings.Contains(path, "/") {
				continue // deletes or replaces the link itself, below
			}
			if strings.Trim(path, "/") == "" && (command == "ls" || command == "dir" || command == "lsd") {
				continue // the user's own directory
			}
			reply, err := p.TryCall(command, path)
			if err != nil {
				t.Fatalf("%s %q: %v", command, path, err)
			}
			if !legacytest.IsError(reply) {
				t.Errorf("%s %q: %s", command, path, legacytest.Show(reply))
			}
			if text := legacytest.Show(reply); strings.Contains(text, w.dir) || !strings.Contains(path, outside) && strings.Contains(text, outside) {
				t.Errorf("%s %q shows a path: %s", command, path, text)
			}
		}
	}
	if after := tree(t, w.dir, outside); after != before {
		t.Errorf("the files were\n%s\nand are\n%s", before, after)
	}

	// Links that stay inside work, others are not shown, and what is done to a link is done to nothing else.
	wantReply(t, p.Call(t, "ls"), "['OK', 'to-own']")
	wantReply(t, p.Call(t, "lsd"), "['OK', 'inside', 'to-inside']")
	wantReply(t, p.Call(t, "ls", "to-inside"), "['OK', 'own']")
	wantOK(t, p.Call(t, "cd", "to-inside"))
	if got, _ := p.Download(t, "own"); string(got) != "own" {
		t.Errorf("the file inside came back as %q", got)
	}
	wantOK(t, p.Call(t, "cd", ".."))
	wantOK(t, p.Upload(t, "to-file", []byte("replaced")))
	wantOK(t, p.Call(t, "del", "to-bobby"))
	for path, want := range map[string]string{filepath.Join(outside, "target"): "outside", filepath.Join(w.dir, legacy.PayloadDir, "bobby", "secret"): "secret"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
}

// tree lists all files with their lengths.
func tree(t *testing.T, dirs ...string) string {
	t.Helper()
	var out strings.Builder
	for _, dir := range dirs {
		must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if d.IsDir() {
				fmt.Fprintln(&out, path)
			} else {
				fmt.Fprintln(&out, path, info.Size())
			}
			return err
		}))
	}
	return out.String()
}

// TestNoCrashText is deviation 3: whatever the arguments are, a reply shows no path of the server and no text of a crash.
func TestNoCrashText(t *testing.T) {
	t.Parallel()
	w := start(t)
	wantOK(t, w.login(t, "bob").Upload(t, "file", []byte("x")))
	odd := []record.Value{
		record.Text(""), record.Text("x"), record.Text("-1"), record.Text("vote"), record.Text("\x00"), record.Bytes(nil), record.Bytes("vote"),
		record.NewInt(-1), record.NewInt(1 << 62), record.Float(0.5), record.Float(-1e300), record.List{}, record.Tuple{record.Tuple{}}, new(record.Dict),
		record.List{record.Text("vote"), record.NewInt(1)}, new(record.Dict).Set(record.NewInt(1), record.Bytes("x")), bigInt(t),
	}
	ctx := t.Context()
	var said strings.Builder
	for _, name := range legacy.Commands() {
		for i := range 4 {
			for _, v := range odd {
				s := w.NewSession(netip.MustParseAddr("127.0.0.1"))
				s.Do(ctx, legacytest.Request("user", "admin"))
				s.Do(ctx, legacytest.Request("pass", "pw"))
				request := legacytest.Request(name, "vote", "vote", "vote")[:1+i]
				reply, _ := s.Do(ctx, append(request, v))
				fmt.Fprintln(&said, legacytest.Show(reply))
				reply, _ = s.Do(ctx, request)
				fmt.Fprintln(&said, legacytest.Show(reply))
				s.End()
			}
		}
	}
	for _, v := range append(odd, nil) {
		s := w.NewSession(netip.MustParseAddr("127.0.0.1"))
		reply, _ := s.Do(ctx, v)
		if !legacytest.IsError(reply) {
			t.Errorf("the message %s: %s", legacytest.Show(v), legacytest.Show(reply))
		}
		fmt.Fprintln(&said, legacytest.Show(reply))
	}
	for _, bad := range []string{w.dir, "panic", "nil pointer", "runtime", "0x", "internal error", ".go", "invalid argument", "no such file or directory:"} {
		if i := strings.Index(said.String(), bad); i >= 0 {
			t.Errorf("%q in %q", bad, said.String()[max(0, i-100):min(said.Len(), i+100)])
		}
	}
}

func bigInt(t *testing.T) record.Value {
	t.Helper()
	n, err := record.ParseInt(strings.Repeat("9", record.MaxIntDigits))
	must(t, err)
	return n
}

// TestOneReply is deviation 4: aadd by who may not gets one reply, and qr with an image is refused and not stored.
func TestOneReply(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	wantReply(t, p.Call(t, "aadd", "eve", "pw"), "['ERR', 'only admin can add/delete users.', 'aadd']")
	wantReply(t, p.Call(t, "pwd"), "['OK', '/']")
	wantError(t, p.Call(t, "qr", []byte("image")), "Only admin can upload QR image")
	wantReply(t, p.Call(t, "pwd"), "['OK', '/']")
	wantReply(t, p.Call(t, "qr"), "['ERR', 'No QR image on server']")
	if _, err := os.Stat(filepath.Join(w.dir, legacy.ImageFile)); err == nil {
		t.Error("the image was stored")
	}
	wantError(t, w.dial(t).Call(t, "qr", []byte("image")), "Only admin can upload QR image")
	if users, _ := w.accounts.Users(t.Context()); len(users) != 2 {
		t.Errorf("there are %d users", len(users))
	}
}

// TestSecondFactor is deviation 5: only a valid code raises the state, and a secret is its user's alone.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Production = true })
	p := w.login(t, "bob")
	wantReply(t, p.Call(t, "dmode"), "['OK', '0']")
	const early = "['ERR', 'Out of Sequence command issued', 'rput']"
	put := func() record.Value { return p.Call(t, "rput", "vote", legacytest.Record(t, 1)) }
	wantReply(t, put(), early)
	wantReply(t, p.Call(t, "qr"), "['ERR', 'No QR image on server']")
	for _, code := range []any{nil, "", "123456"} { // has none yet
		request := []any{"twofa", code}
		want := "['ERR', 'Invalid 2FA code']"
		if code == nil {
			request, want = request[:1], "['ERR', 'Must pass 2fa code.', 'twofa']"
		}
		wantReply(t, p.Call(t, request...), want)
		wantReply(t, put(), early)
	}

	w.accounts.Enrol("bob", "123456")
	p = w.login(t, "bob")
	const image = "['OK', b'image of the secret of bob']"
	const shown = "['ERR', 'The image was shown before; it is shown again after twofa.', 'qr']"
	wantReply(t, w.dial(t).Call(t, "qr"), "['ERR', 'No QR image on server']")
	wantReply(t, w.login(t, "admin").Call(t, "qr"), "['ERR', 'No QR image on server']")
	wantReply(t, p.Call(t, "qr"), image)
	wantReply(t, p.Call(t, "qr"), shown)
	wantReply(t, p.Call(t, "twofa", "654321"), "['ERR', 'Invalid 2FA code']")
	wantReply(t, put(), early)
	wantReply(t, p.Call(t, "twofa", "123456"), "['OK', 'Code Auth OK']")
	wantReply(t, p.Call(t, "qr"), image)
	wantOK(t, put())
	wantOK(t, p.Call(t, "logout"))
	p.Login(t, "bob", "pw")
	wantReply(t, put(), early)
	wantReply(t, p.Call(t, "qr"), shown)

	// The site's image is for those who have no secret yet.
	admin := w.login(t, "admin")
	wantReply(t, admin.Call(t, "rcheck", "vote", "hash"), "['ERR', 'Out of Sequence command issued', 'rcheck']")
	wantReply(t, admin.Call(t, "qr", []byte("site")), "['OK', 'Written new QR image', 4]")
	wantReply(t, admin.Call(t, "qr"), "['OK', b'site']")
	wantReply(t, w.dial(t).Call(t, "qr"), "['OK', b'site']")
	wantReply(t, p.Call(t, "qr"), shown)
	wantError(t, admin.Call(t, "qr", "text"), "an image is bytes")
	random := make([]byte, legacy.MaxImage+1)
	_, _ = ledgertest.NewRand(1).Read(random)
	wantOK(t, admin.Call(t, "qr", random[1:]))
	wantOK(t, admin.Call(t, "qr"))
	wantError(t, admin.Call(t, "qr", random), "too large")
}

// TestIdle is deviation 6: an idle connection is closed at its timeout, and a command that comes later is never executed.
func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dial := piped(t)
		p := dial()
		p.Login(t, "bob", "pw")
		time.Sleep(legacy.DefaultTimeout - time.Second)
		wantReply(t, p.Call(t, "tout", "3"), "(['OK', 'Timeout set to ', '3'],)")
		time.Sleep(2 * time.Second)
		wantOK(t, p.Call(t, "mkdir", "in-time"))
		before := time.Now()
		reply, err := p.Receive()
		must(t, err)
		wantReply(t, reply, "['ERR', 'Timeout occured, disconnecting.']")
		if took := time.Since(before); took != 3*time.Second {
			t.Errorf("the end came after %v", took)
		}
		_ = p.Send(legacytest.Request("mkdir", "late"))
		must(t, p.Ended())
		synctest.Wait()

		p = dial()
		p.Login(t, "bob", "pw")
		wantReply(t, p.Call(t, "lsd"), "['OK', 'in-time']")
		for _, n := range []any{"0", "-5", 3601, "99999999999999999999"} {
			if reply := p.Call(t, "tout", n); strings.Contains(legacytest.Show(reply), "set to") {
				t.Errorf("tout %v: %s", n, legacytest.Show(reply))
			}
		}
		wantReply(t, p.Call(t, "tout"), "(['OK', 'Current timeout', '20'],)")
		_ = w
	})
}

// TestSlowFrame is part of deviation 6: a frame that does not come to its end is no traffic.
func TestSlowFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, dial := piped(t)
		p := dial()
		wantOK(t, p.Call(t, "tout", "3600"))
		before := time.Now()
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for p.Raw([]byte{3}) == nil { // a byte each second, of a frame of 771
				time.Sleep(time.Second)
			}
		})
		reply, err := p.Receive()
		must(t, err)
		wantError(t, reply, "Timeout occured")
		if took := time.Since(before); took > time.Minute {
			t.Errorf("the end came after %v", took)
		}
		must(t, p.Ended())
	})
}

// TestTooLong is deviation 7: a reply that does not fit a frame is refused with an error that names the limit.
func TestTooLong(t *testing.T) {
	t.Parallel()
	w := start(t)
	var headers record.List
	for _, v := range votes(t, 300) {
		must(t, w.ledger.Put(t.Context(), "vote", v, 0))
		r, err := record.Parse(v)
		must(t, err)
		header, _ := r.Get(record.KeyHeader)
		headers = append(headers, header)
	}
	p := w.login(t, "bob")
	wantOK(t, p.Call(t, "rget", "vote", headers[:20]))
	reply := p.Call(t, "rget", "vote", headers)
	wantError(t, reply, "32767 bytes")
	wantError(t, reply, "on processing request.")
	wantOK(t, p.Call(t, "hello"))

	// The same for what compresses to less than a frame and would be large nevertheless.
	same := record.List{}
	for range 2000 {
		same = append(same, headers[0])
	}
	reads := 0
	w.ledger.Change = func(*legacy.Record) { reads++ }
	wantError(t, p.Call(t, "rget", "vote", same), "32767 bytes")
	if reads > 500 {
		t.Errorf("%d records were read for a reply that is too long", reads)
	}
}

// TestConflict is deviation 8: the same header with other content is refused with the word that clients look for, and
// nothing is taken or dropped silently.
func TestConflict(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	first := legacytest.Record(t, 1)
	wantOK(t, p.Call(t, "rput", "vote", first))
	header, _ := first.Get(record.Text(record.KeyHeader))
	other, err := record.FromDict(legacytest.Record(t, 2))
	must(t, err)
	other.Set(record.KeyHeader, header)
	must(t, record.Minter{Workers: 1, Rand: ledgertest.NewRand(1)}.Mint(t.Context(), other))
	reply := p.Call(t, "rput", "vote", other.Dict())
	wantError(t, reply, "Duplicate")
	if again := p.Call(t, "rput", "vote", first); legacytest.Show(again) == legacytest.Show(reply) {
		t.Errorf("a conflict and a duplicate are both %s", legacytest.Show(reply))
	}
	wantReply(t, p.Call(t, "rsize", "vote"), "['OK', 1, 'records']")
}

// TestReplicator is deviation 10: a restricted account for servers that push to us.
func TestReplicator(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *legacy.Options) { o.Production = true })
	must(t, w.accounts.Add(t.Context(), "peer", "pw", legacy.Replicator))
	must(t, w.accounts.Add(t.Context(), "far", "pw", legacy.Replicator))
	w.accounts.Restrict("far", netip.MustParseAddr("192.0.2.1"))
	p := w.dial(t)
	p.StartSession(t)
	p.Call(t, "user", "far")
	wantError(t, p.Call(t, "pass", "pw"), "may not log in from this address")
	p.Login(t, "peer", "pw")

	sent := legacytest.Record(t, 1)
	sent.Set(record.Text(record.KeyReplicated), record.NewInt(2))
	header, _ := sent.Get(record.Text(record.KeyHeader))
	wantOK(t, p.Call(t, "rput", "vote", sent))
	r, err := w.ledger.At(t.Context(), "vote", 0)
	must(t, err)
	if r.Hops != 2 {
		t.Errorf("the record was stored with %d hops", r.Hops)
	}
	wantOK(t, p.Call(t, "rhave", "vote", header))
	wantOK(t, p.Call(t, "rsize", "vote"))
	wantOK(t, p.Call(t, "rcount", "vote", 0.0, 4e9))
	wantOK(t, p.Call(t, "rlist", "vote", 0.0, 4e9))
	wantOK(t, p.Call(t, "rget", "vote", header))

	allowed := []string{"ver", "id", "hello", "helo", "help", "akey", "tout", "dmode", "qr", "user", "pass", "sess", "logout", "quit", "exit",
		"rput", "rhave", "rsize", "rcount", "rlist", "rget"}
	for _, name := range legacy.Commands() {
		s := w.NewSession(netip.MustParseAddr("127.0.0.1"))
		s.Do(context.Background(), legacytest.Request("user", "peer"))
		s.Do(context.Background(), legacytest.Request("pass", "pw"))
		reply, _ := s.Do(context.Background(), legacytest.Request(name))
		refused := strings.Contains(legacytest.Show(reply), "Accounts of replicators cannot") || strings.Contains(legacytest.Show(reply), "Out of Sequence")
		if refused == slices.Contains(allowed, name) {
			t.Errorf("%s: %s", name, legacytest.Show(reply))
		}
		s.End()
	}
}
