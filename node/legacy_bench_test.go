package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/legacy/client"
	"pyvnode/p2p"
)

// BenchmarkLegacyRecords asks a whole node, with its ledger on disk, in an encrypted session, for one record and for the
// number of all within a time, when it holds few records and when it holds many. PYVNODE_ENTRIES is how many are many.
func BenchmarkLegacyRecords(b *testing.B) {
	many := 1_000_000
	if text := os.Getenv("PYVNODE_ENTRIES"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, count := range []int{10_000, many} {
		dir := filepath.Join(b.TempDir(), "node")
		g, _, err := FoundNetwork(b.Context(), dir, ledger.GenesisDoc{Strength: 1})
		if err != nil {
			b.Fatal(err)
		}
		headers := fill(b, dir, g, count)
		r, err := Run(b.Context(), RunOptions{
			Options: Options{Data: dir},
			Network: p2p.Options{Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
			Legacy:  &legacy.Options{Address: "127.0.0.1:0", Dir: filepath.Join(dir, LegacyDir), ThrottleOff: true},
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx := context.Background()
		c, err := client.Dial(ctx, r.Status().Legacy, client.Options{})
		if err == nil {
			_, err = c.Do(ctx, "uini", "admin", "1234")
		}
		if err == nil {
			err = c.StartSession(ctx)
		}
		if err == nil {
			err = c.Login(ctx, "admin", "1234")
		}
		if err != nil {
			b.Fatal(err)
		}
		for name, ask := range map[string]func(n int) []any{
			"rget":   func(n int) []any { return []any{"rget", "vote", headers[n*7919%len(headers)]} },
			"rcount": func(int) []any { return []any{"rcount", "vote", record.Float(0), record.Float(4e9)} },
			"rabs":   func(n int) []any { return []any{"rabs", "vote", strconv.Itoa(n * 7919 % len(headers))} },
		} {
			b.Run(fmt.Sprintf("%s/records=%d", name, count), func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					if _, err := c.Do(ctx, ask(n)...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		_ = c.Close()
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill puts records into the ledger of a data directory.
func fill(b *testing.B, dir string, g *ledger.Genesis, count int) (headers []string) {
	key, err := ReadIdentity(dir)
	if err != nil {
		b.Fatal(err)
	}
	d, _, err := store.OpenDir(b.Context(), dir, store.DirOptions{Options: store.Options{Key: key}})
	if err != nil {
		b.Fatal(err)
	}
	var last store.Pending
	for i := range count {
		draft := ledgertest.Draft(b, g, "vote", i)
		headers = append(headers, draft.Facts.Header.String())
		if last, err = d.Submit(b.Context(), draft); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	return headers
}
