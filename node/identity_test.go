package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pyvnode/ledger/durable"
)

func TestIdentityOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := ReadIdentity(dir); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("without a file: %v", err)
	}
	key, created, err := CreateIdentity(dir, rand.Reader)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	file := filepath.Join(dir, IdentityFile)
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	again, created, err := CreateIdentity(dir, rand.Reader)
	if err != nil || created || !again.Equal(key) {
		t.Errorf("made again: created %v, %v", created, err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestIdentityRace makes a key many times at once: all must come to the same one.
func TestIdentityRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := make([]ed25519.PrivateKey, 8)
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], _, errs[i] = CreateIdentity(dir, rand.Reader) })
	}
	wg.Wait()
	want, err := ReadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if errs[i] == nil && !keys[i].Equal(want) {
			t.Errorf("process %d has another key", i)
		}
	}
}

func TestIdentityRefused(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := encode("PRIVATE KEY", ed)
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "no PEM block"},
		"text":      {"key", "no PEM block"},
		"cut":       {good[:len(good)/2], "no PEM block"},
		"block":     {encode("ENCRYPTED PRIVATE KEY", ed), "unencrypted"},
		"elliptic":  {encode("PRIVATE KEY", ec), "want Ed25519"},
		"two":       {good + good, "more than one key"},
		"not PKCS8": {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1, 2}})), "not PKCS #8"},
		"large":     {good + strings.Repeat(" ", maxIdentity), "larger than"},
	} {
		dir := t.TempDir()
		writeFile(t, dir, IdentityFile, c.text)
		_, err := ReadIdentity(dir)
		var bad *IdentityError
		if !errors.As(err, &bad) || !strings.Contains(bad.Detail, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := CreateIdentity(dir, rand.Reader); !errors.As(err, &bad) {
			t.Errorf("%s: made anew: %v", name, err)
		}
	}
}

func TestIdentityPermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such bits")
	}
	dir := t.TempDir()
	if _, _, err := CreateIdentity(dir, rand.Reader); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(filepath.Join(dir, IdentityFile), mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadIdentity(dir)
		var wide *durable.PermissionError
		if !errors.As(err, &wide) || wide.Mode != mode {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
