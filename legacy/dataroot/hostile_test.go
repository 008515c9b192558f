//go:build unix

package dataroot_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/legacytest"
)

// write writes a file of a data directory.
func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	full := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(full), 0o700))
	must(t, os.WriteFile(full, content, 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sparse writes a file that begins with something and is as long as said, with a hole.
func sparse(t testing.TB, dir, name string, begin []byte, size int64) {
	t.Helper()
	write(t, dir, name, begin)
	must(t, os.Truncate(filepath.Join(dir, name), size))
}

var (
	chainHead = append([]byte("PYDB\x03\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff"), make([]byte, 18)...)
	indexHead = append([]byte("PYIX\xdd\xcc\xbb\xaa\xaa\xbb\xcc\xdd\xff"), make([]byte, 19)...)
)

// frame is a record of a chain file with any hashes.
func frame(key, data string, right bool) []byte {
	var out []byte
	for _, part := range []struct{ mark, data string }{{"RECB", key}, {"RECS", data}} {
		hash := legacy.ChainHash(part.data)
		if !right {
			hash++
		}
		out = append(out, part.mark...)
		out = binary.LittleEndian.AppendUint32(out, hash)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(part.data)))
		out = append(out, part.data...)
	}
	return out
}

// TestCheckHostile has directories that were made to take memory, output and time: each is checked within bounds, and what is
// wrong with it is counted and named.
func TestCheckHostile(t *testing.T) { // alone, since it measures memory
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string // in a finding
	}{
		"a chain file with a hole, and an index with one": {func(t *testing.T, dir string) {
			sparse(t, dir, "chain/vote/initial.pydb", chainHead, 1<<40)
			sparse(t, dir, "chain/vote/initial.pidx", indexHead, 80<<20)
			sparse(t, dir, "chain/vote/initial.hash.id", chainHead, 40<<20)
		}, "too-large"},
		"an index of rows that name nothing": {func(t *testing.T, dir string) {
			sparse(t, dir, "chain/vote/initial.pydb", chainHead, 300<<20)
			sparse(t, dir, "chain/vote/initial.pidx", indexHead, 1<<20)
		}, "more in it, which are not listed"},
		"queues and hosts with holes": {func(t *testing.T, dir string) {
			sparse(t, dir, "chain/vote/replic.pydb", chainHead, 1<<40)
			sparse(t, dir, "ihosts.pydb", chainHead, 1<<40)
			sparse(t, dir, ".pyvserv/passwd.secret", nil, 1<<40)
			sparse(t, dir, "pyservid.init", nil, 1<<40)
			sparse(t, dir, "private/x.pem", nil, 1<<40)
			sparse(t, dir, "payload/bob/file", nil, 1<<40)
		}, "ihosts.pydb: too-large"},
		"marks at every few bytes": {func(t *testing.T, dir string) {
			// Each mark begins what could be a record of 100 kB that ends at another mark, but for its hash.
			part := frame("", strings.Repeat("x", 4), false)
			binary.LittleEndian.PutUint32(part[20:], uint32(len(part)*4000-24))
			write(t, dir, "chain/vote/initial.pydb", append(bytes.Clone(chainHead), bytes.Repeat(part, 100_000)...))
		}, "damaged-record"},
		"many damaged records": {func(t *testing.T, dir string) {
			write(t, dir, "chain/vote/initial.pydb", append(bytes.Clone(chainHead), bytes.Repeat(frame("k", "d", false), 20_000)...))
		}, "more in it, which are not listed"},
		"records that are none": {func(t *testing.T, dir string) {
			big := "pg s1 'd' " + strings.Repeat("x", 900_000)
			write(t, dir, "chain/vote/initial.pydb", append(bytes.Clone(chainHead), bytes.Repeat(frame("k", big, true), 30)...))
		}, "more than any record has"},
		"users without end": {func(t *testing.T, dir string) {
			write(t, dir, ".pyvserv/passwd.secret", bytes.Repeat([]byte("\n"), 200_000))
		}, ".pyvserv/passwd.secret: too-many"},
		"a line without end": {func(t *testing.T, dir string) {
			write(t, dir, ".pyvserv/passwd.secret", bytes.Repeat([]byte(","), 15<<20))
		}, "fields, want name"},
		"many hosts": {func(t *testing.T, dir string) {
			write(t, dir, "ihosts.pydb", append(bytes.Clone(chainHead), bytes.Repeat(frame("k", "d", true), 50_000)...))
		}, "bad-host"},
		"deep directories": {func(t *testing.T, dir string) {
			at := filepath.Join(dir, "payload")
			must(t, os.MkdirAll(at, 0o700))
			here, err := os.Getwd()
			must(t, err)
			defer func() { must(t, os.Chdir(here)) }()
			must(t, os.Chdir(at))
			for range 300 { // longer than any path may be
				must(t, os.Mkdir("bob", 0o700))
				must(t, os.Chdir("bob"))
			}
		}, "which no client can give"},
		"many kinds, names and files": {func(t *testing.T, dir string) {
			for i := range 10_001 {
				must(t, os.Mkdir(filepath.Join(dir, "chain", fmt.Sprintf("kind%d", i)), 0o700))
			}
			for i := range 200 {
				write(t, dir, fmt.Sprintf("payload/stranger%d/f", i), nil)
			}
		}, "chain: too-many"},
		"pipes and links": {func(t *testing.T, dir string) {
			for _, name := range []string{"chain/vote/initial.pydb", ".pyvserv/passwd.secret", "pyservid.init", "ihosts.pydb", "private", "voters.pydb", "payload/bob/pipe", "payload/pipe"} {
				must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
				must(t, syscall.Mkfifo(filepath.Join(dir, name), 0o600))
			}
			for _, name := range []string{"ballots.pydb", "keys", "payload/bob/link", "payload/link"} {
				must(t, os.Symlink("/", filepath.Join(dir, name)))
			}
		}, "it is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(dir, "chain"), 0o700))
			c.make(t, dir)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			r, err := dataroot.Open(dir)
			must(t, err)
			defer func() { must(t, r.Close()) }()
			r.SetEffort(32 << 20) // the same in less time
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			told, bytes, high := 0, 0, uint64(0)
			var found strings.Builder
			tell := func(f dataroot.Finding) {
				told++
				text := f.String()
				bytes += len(text)
				if found.Len() < 1<<20 || f.Reason == dataroot.TooMany || f.Reason == dataroot.TooLarge {
					found.WriteString(text + "\n")
				}
				if told%1000 == 0 {
					runtime.ReadMemStats(&after)
					high = max(high, after.HeapAlloc)
				}
			}
			report, err := dataroot.Check(t.Context(), r, dataroot.Options{Strength: 4, Found: tell, Unused: tell})
			must(t, err)
			runtime.ReadMemStats(&after)
			high = max(high, after.HeapAlloc)
			// 21,000 findings are told at most, and each is shorter than a few names.
			if told > 2*dataroot.MaxToldAll+2000 || bytes > 8<<20 {
				t.Errorf("%d findings with %d bytes were told, of %d", told, bytes, report.Findings)
			}
			if taken := int64(high) - int64(before.HeapAlloc); taken > 400<<20 {
				t.Errorf("it took %d MiB", taken>>20)
			}
			if total := (after.TotalAlloc - before.TotalAlloc) >> 20; total > 4096 {
				t.Errorf("it allocated %d MiB", total)
			}
			if !strings.Contains(found.String(), c.want) {
				t.Errorf("%q is in no finding of\n%.2000s", c.want, found.String())
			}
			t.Logf("%d findings, %d told, %d bytes, %d MiB", report.Findings, told, bytes, (int64(high)-int64(before.HeapAlloc))>>20)
		})
	}
}

// TestFilesThatGrow are read as long as they were when they were found.
func TestFilesThatGrow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "chain/x", nil)
	write(t, dir, "payload/bob/log", []byte("before"))
	r, err := dataroot.Open(dir)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	for f, err := range r.Files(t.Context(), none) {
		must(t, err)
		write(t, dir, "payload/bob/log", []byte("before and after"))
		in, err := f.Open()
		must(t, err)
		var got bytes.Buffer
		_, err = got.ReadFrom(in)
		must(t, err)
		must(t, in.Close())
		if got.String() != "before" {
			t.Errorf("%q", got.String())
		}
	}
}

// TestDesktop reads what the original's desktop programs keep in a data directory, and names what it does not.
func TestDesktop(t *testing.T) {
	t.Parallel()
	dir := legacytest.DataRoot(t, "../testdata/gui_dataroot.tar.gz")
	for _, name := range []string{"audit.pydb", "auth.pydb", "qr.png", "notes.txt", "log/pyvserver.log", "chain/stray", "chain/vote/notes", "keys/readme", ".pyvserv/keys.secret"} {
		write(t, dir, name, []byte("x"))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "payload/empty/inner"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, "chain/unused"), 0o700))
	r, err := dataroot.Open(dir)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	unused := map[string]string{}
	report, err := dataroot.Check(t.Context(), r, dataroot.Options{Strength: 4,
		Found: func(f dataroot.Finding) {
			if f.Reason != dataroot.Missing { // of the site ID and the users
				t.Errorf("finding: %v", f)
			}
		},
		Unused: func(f dataroot.Finding) { unused[f.File] = f.Detail },
	})
	must(t, err)
	for kind, want := range map[string]uint64{"vote": 7, "ballot": 2, "voter": 5} {
		k := report.Kinds[kind]
		if k == nil || k.Shown != want || k.Sound != want {
			t.Errorf("kind %s: %+v", kind, k)
		}
	}
	for name, why := range map[string]string{
		"audit.pydb": "operators", "auth.pydb": "logged in", "qr.png": "second factor", "notes.txt": "none of the files", "log": "logged",
		"chain/stray": "none of the files", "chain/vote/notes": "none of the files", "chain/vote/replic.pydb": "still to send", "chain/unused": "without records",
		"keys/readme": "none of the files", ".pyvserv/keys.secret": "keys", "payload/empty/inner": "empty directory", "ballots.pidx": "index",
	} {
		if !strings.Contains(unused[name], why) {
			t.Errorf("%s is named with %q, want %q", name, unused[name], why)
		}
	}
}
