package legacy_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/wire"
)

func TestKeyPoolMakesOne(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "legacy")
	p, err := legacy.OpenKeyPool(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := p.Pick()
	if p.Len() != 1 || k.Bits() != wire.DefaultKeyBits {
		t.Errorf("%d keys of %d bits", p.Len(), k.Bits())
	}
	public, private := legacy.KeyFiles(dir, k.ID())
	if got, err := os.ReadFile(public); err != nil || string(got) != k.Public().Text() {
		t.Errorf("%s: %q, %v", public, got, err)
	}
	if info, err := os.Stat(private); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	again, err := legacy.OpenKeyPool(dir)
	if err != nil || again.Len() != 1 || again.Pick().Text() != k.Text() {
		t.Error(again, err)
	}
}

func TestKeyPoolPicks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := map[wire.KeyID]int{}
	for _, bits := range []int{256, 384, 521, 256} {
		k, err := legacy.GenerateKey(dir, bits)
		if err != nil || k.Bits() != bits {
			t.Fatal(k, err)
		}
		made[k.ID()] = bits
	}
	if _, err := legacy.GenerateKey(dir, 1024); !errors.Is(err, wire.ErrKey) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "private", "README"), []byte("not a key"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := legacy.OpenKeyPool(dir)
	if err != nil || p.Len() != len(made) {
		t.Fatal(p, err)
	}
	picked := map[wire.KeyID]bool{}
	for range 400 { // misses one of four once in 10^49
		k := p.Pick()
		if made[k.ID()] != k.Bits() {
			t.Error(k)
		}
		picked[k.ID()] = true
	}
	if len(picked) != len(made) {
		t.Errorf("only %d of %d keys were picked", len(picked), len(made))
	}
}

// TestKeyPoolOfTheOriginal reads the keys of an original server's data directory.
func TestKeyPoolOfTheOriginal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	packed, err := os.Open("testdata/dataroot.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packed.Close() }()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		switch filepath.Base(filepath.Dir(path)) {
		case "keys", "private":
		default:
			continue
		}
		raw, err := io.ReadAll(files)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, raw, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := legacy.OpenKeyPool(dir)
	if err != nil || p.Len() != 1 {
		t.Fatal(p, err)
	}
	// The original names the files by something else than the ID.
	public, err := os.ReadFile(filepath.Join(dir, "keys", "39326b0240a73132.pub"))
	if err != nil || string(public) != p.Pick().Public().Text() {
		t.Errorf("%q, %v", public, err)
	}
}

func TestKeyPoolRefuses(t *testing.T) {
	t.Parallel()
	k, err := legacy.GenerateKey(t.TempDir(), 256)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text    string
		dir     os.FileMode
		file    os.FileMode
		want    error
		windows bool // on Windows too
	}{
		"damaged":       {strings.Replace(k.Text(), "w", "v", 1), 0o700, 0o600, wire.ErrKey, true},
		"empty":         {"", 0o700, 0o600, wire.ErrKey, true},
		"large":         {k.Text() + strings.Repeat("\n", 1<<20), 0o700, 0o600, wire.ErrKey, true},
		"a public key":  {k.Public().Text(), 0o700, 0o600, wire.ErrKey, true},
		"readable":      {k.Text(), 0o755, 0o644, legacy.ErrKeyReadable, false},
		"closed dir":    {k.Text(), 0o700, 0o644, nil, true},
		"closed file":   {k.Text(), 0o755, 0o600, nil, true},
		"with line end": {k.Text() + "\r\n", 0o700, 0o600, nil, true},
	} {
		if runtime.GOOS == "windows" && !test.windows {
			continue
		}
		dir := t.TempDir()
		private := filepath.Join(dir, "private")
		path := filepath.Join(private, "x.pem")
		if err := errors.Join(os.Mkdir(private, 0o700), os.WriteFile(path, []byte(test.text), 0o600), os.Chmod(path, test.file), os.Chmod(private, test.dir)); err != nil {
			t.Fatal(err)
		}
		p, err := legacy.OpenKeyPool(dir)
		var bad *legacy.KeyFileError
		switch {
		case test.want == nil && (err != nil || p.Len() != 1):
			t.Errorf("%s: %v, %v", name, p, err)
		case test.want != nil && (!errors.Is(err, test.want) || !errors.As(err, &bad) || bad.Path != path):
			t.Errorf("%s: %v", name, err)
		}
	}

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range dataroot.MaxKeys {
		if err := os.WriteFile(filepath.Join(dir, "private", string(rune('a'+i%26))+strings.Repeat("x", i/26)+".pem"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := legacy.GenerateKey(dir, 256); !errors.Is(err, legacy.ErrTooManyKeys) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "private", "one more.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := legacy.OpenKeyPool(dir); !errors.Is(err, legacy.ErrTooManyKeys) {
		t.Error(err)
	}
	// What is no directory is not overwritten.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := legacy.OpenKeyPool(file); err == nil {
		t.Error("a file is a pool")
	}
}
