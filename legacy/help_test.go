package legacy_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"pyvnode/ledger/record"
	"pyvnode/legacy/chainfile"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/wire"
)

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// encrypt encrypts what should be a session key under a key that the server hands out.
func encrypt(t *testing.T, p *legacytest.Peer, text string) string {
	t.Helper()
	public, err := wire.ParsePublicKey(string(legacytest.Items(p.Call(t, "akey"))[2].(record.Text)))
	must(t, err)
	message, err := public.Encrypt(rand.Reader, []byte(text))
	must(t, err)
	return message
}

// votes returns the first n records of a chain file that the original server wrote.
func votes(t testing.TB, n int) (packed [][]byte) {
	t.Helper()
	f, err := os.Open(filepath.Join(legacytest.DataRoot(t, "testdata/dataroot.tar.gz"), "chain", "vote", chainfile.Name))
	must(t, err)
	defer func() { _ = f.Close() }()
	for r, err := range chainfile.Read(f) {
		must(t, err)
		if packed = append(packed, r.Packed); len(packed) == n {
			return packed
		}
	}
	t.Fatalf("there are %d votes, want %d", len(packed), n)
	return nil
}

func mustAddr(t testing.TB, text string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(text)
	must(t, err)
	return a
}
