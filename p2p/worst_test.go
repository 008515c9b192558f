package p2p_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// worstPeers and worstMemory are what limits.go counts together: as many peers as a node keeps, each of which has all the
// streams that it may have, asks for as much as it can, and reads nothing. The other ends of the connections share the
// process, and a good part of it is theirs.
const (
	worstPeers  = 48
	worstMemory = 384 << 20
)

// TestWorstPeers reaches the product of the bounds for streams on which nobody reads, with logs of entries as long as
// there may be. The test runs by itself, because it looks at the heap of the process.
func TestWorstPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("it opens 288 streams")
	}
	const logs = 1100
	g := openGenesis(t)
	dir := filepath.Join(t.TempDir(), "db")
	must(t, os.MkdirAll(dir, 0o700))
	db, err := store.OpenPebble(dir, store.PebbleOptions{})
	must(t, err)
	s, _, err := store.Open(t.Context(), db, g, store.Options{Key: ledgertest.Key("alice")})
	must(t, err)
	t.Cleanup(func() { _ = s.Close(); _ = db.Close() })
	long := longDraft(t, g)
	var body, ranges []byte
	var push *ledger.Entry
	for part := range slices.Chunk(make([]struct{}, logs), 100) {
		var entries []*ledger.Entry
		for range part {
			name := fmt.Sprint("party", len(body))
			log := &ledger.Log{Origin: ledgertest.Origin(name)}
			e, err := log.Sign(g, ledgertest.Key(name), long, nil, 0, nil)
			must(t, err)
			entries, push = append(entries, e), e
			body = append(body, p2p.PullBody(log.Origin, 0, ledger.Hash{}, 1)...)
		}
		_, err := s.Ingest(t.Context(), entries...)
		must(t, err)
	}
	ranges = make([]byte, 64) // all
	victim := p2ptest.Start(t, g, "alice", p2p.Options{Alone: true, Store: s})
	before := heapAndStacks()
	h := &hostile{genesis: g, victim: victim}
	attackers := make([]*attacker, worstPeers)
	for i := range attackers {
		attackers[i] = h.attacker(t, fmt.Sprint("stranger", i))
		attackers[i].connect(t)
	}
	var sending sync.WaitGroup
	for _, a := range attackers {
		for i := range p2p.SyncStreams {
			_, f := a.open(t, p2p.ProtocolID)
			switch i {
			case 0:
				_ = f.Send(p2p.FrameRange, ranges)
				_ = f.Send(p2p.FramePull, nil)
			case 1:
				_ = f.Send(p2p.FramePull, body[:len(body)/logs*1000])
			default:
				sending.Go(func() {
					for range 400 {
						if f.Send(p2p.FrameRows, ranges) != nil {
							return
						}
					}
				})
			}
		}
		for range p2p.LinkStreams {
			s, f := a.open(t, p2p.LinkProtocolID)
			sending.Go(func() {
				_ = s.SetWriteDeadline(time.Now().Add(3 * time.Second))
				for range 1000 {
					if f.Send(p2p.FramePush, push.Append([]byte{1})) != nil {
						return
					}
				}
			})
		}
	}
	most := int64(0)
	for range 10 { // while they are all under way; what is measured may only be too little
		time.Sleep(300 * time.Millisecond)
		most = max(most, int64(heapAndStacks())-int64(before))
	}
	streams := 0
	for _, c := range victim.Host().Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == p2p.ProtocolID || s.Protocol() == p2p.LinkProtocolID {
				streams++
			}
		}
	}
	t.Logf("%d streams of %d peers take %d MiB", streams, len(victim.Host().Network().Peers()), most>>20)
	if most > worstMemory {
		t.Errorf("%d streams of %d peers take %d MiB, more than %d", streams, worstPeers, most>>20, worstMemory>>20)
	}
	for _, a := range attackers {
		_ = a.host.Close()
	}
	sending.Wait()
}

func heapAndStacks() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// longDraft is a record of 30 KiB.
func longDraft(t *testing.T, g *ledger.Genesis) *ledger.Draft {
	payload := new(record.Dict)
	payload.Set(record.Text("x"), record.Text(strings.Repeat("x", 30<<10)))
	random := ledgertest.NewRand(1)
	r, err := record.New(payload, ledgertest.Start, random)
	must(t, err)
	minter := record.Minter{Strength: 1, Workers: 1, Rand: random}
	must(t, minter.Mint(t.Context(), r))
	normal, err := r.Normal()
	must(t, err)
	checker := ledger.Checker{Genesis: g}
	d, err := checker.Draft("vote", normal)
	must(t, err)
	return d
}
