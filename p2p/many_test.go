package p2p_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/p2p"
	"pyvnode/p2p/p2ptest"
)

// strangers writes the logs of many parties of an open network. Each cites others, mostly such as
// have much later keys than its own: whatever part of the logs is pulled by key, it does not hold
// together.
func strangers(tb testing.TB, g *ledger.Genesis, logs int) []*ledger.Entry {
	network := ledgertest.NewNetwork(tb, g)
	r := rand.New(rand.NewPCG(uint64(logs), 1))
	names := make([]string, logs)
	for i := range names {
		names[i] = fmt.Sprint("party", i)
	}
	slices.SortFunc(names, func(a, b string) int { return ledgertest.Origin(a).Compare(ledgertest.Origin(b)) })
	founder := names[logs-1]
	d := ledgertest.Draft(tb, g, "vote", 1) // one record for all, which is allowed to different origins, and spares its proof
	for i := range names {
		if i%20 == 0 {
			network.Put(founder)
		}
		if names[i] != founder {
			network.PutDraft(names[i], d, founder, names[max(0, i-1-r.IntN(50))])
		}
	}
	return network.Entries
}

func openGenesis(tb testing.TB, members ...string) *ledger.Genesis {
	doc := ledgertest.Doc(members...)
	doc.Open = true
	return ledgertest.Genesis(tb, doc)
}

// TestManyLogs: a newcomer gets all of a network of many logs, of which everyone cites others, from
// one node that has them; and whatever part it holds already, the rest. PYVNODE_LOGS is how many
// logs the greatest network has.
func TestManyLogs(t *testing.T) {
	most := number(t, "PYVNODE_LOGS", 3000)
	for _, logs := range []int{1200, most} {
		for _, held := range []string{"nothing", "the first half", "every other"} {
			if held != "nothing" && logs > 1200 {
				continue
			}
			t.Run(fmt.Sprintf("%d logs, %s held", logs, held), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					sim := p2ptest.NewSim(t, 1)
					t.Cleanup(sim.Close)
					g := openGenesis(t)
					entries := strangers(t, g, logs)
					alice, bob := sim.Start(g, "alice", p2p.Options{Alone: true}), sim.Start(g, "bob", p2p.Options{Alone: true})
					must(t, ingest(t, alice, entries...))
					for i, e := range entries {
						if held == "the first half" && i < len(entries)/2 {
							must(t, ingest(t, bob, e))
						} else if held == "every other" && i%2 == 0 {
							_ = ingest(t, bob, e) // as far as it joins
						}
					}
					must(t, bob.Host().Connect(t.Context(), alice.Info()))
					p2ptest.Agree(t, []*p2ptest.Node{alice, bob}, uint64(len(entries)))
				})
			})
		}
	}
}

func ingest(t *testing.T, n *p2ptest.Node, e ...*ledger.Entry) error {
	_, err := n.Store.Ingest(t.Context(), e...)
	return err
}

// TestManyStallingPeers: however many strangers make a node wait, whether each brings nothing, or
// what cites an entry that nobody has, or rows, one after the other, an honest peer's entries come
// soon; and the strangers are asked less and less.
func TestManyStallingPeers(t *testing.T) {
	for how, stalling := range map[string]int{"nothing": 20, "citations of what nobody has": 40, "rows": 10} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, sim := simulated(t, 300)
				invented := ledger.Citation{Origin: ledgertest.Origin("carol"), Seq: 1 << 20, Height: 1<<20 + 1, Hash: ledger.Hash{7}}
				branch := citing(t, h.genesis, "mallory", 256, invented)
				rows := madeUpRows(0, p2p.FewRows)
				pulls := make([]atomic.Int64, stalling)
				for i := range stalling {
					a := h.simAttacker(t, sim, fmt.Sprint("stranger", i))
					switch how {
					case "rows":
						a.trickles(t, rows)
						a.connect(t)
						continue
					case "nothing":
						a.pulled = func(p2p.Frames, []byte) error { pulls[i].Add(1); return nap(t, time.Hour) }
					default:
						a.pulled = func(f p2p.Frames, _ []byte) error {
							if pulls[i].Add(1)%2 == 1 {
								return f.Send(p2p.FrameEntry, branch[0].Append(nil))
							}
							for _, e := range branch { // the second time slowly, and as long as its bytes pay for, nearly
								raw := e.Append(nil)
								if err := f.Send(p2p.FrameEntry, raw); err != nil {
									return err
								}
								if err := nap(t, time.Duration(len(raw))*5*time.Second/(32<<10)*9/10); err != nil {
									return err
								}
							}
							return nap(t, 4*time.Second)
						}
					}
					a.rows = ledger.Frontier{{Citation: branch[255].Citation()}}
					a.serves()
					a.connect(t)
					a.wasAsked(t, p2p.FrameHave, 1)
				}
				h.honest = sim.Start(h.genesis, "bob", p2p.Options{Alone: true})
				must(t, ingest(t, h.honest, h.history.Entries...))
				must(t, h.honest.Host().Connect(t.Context(), h.victim.Info()))
				begin := time.Now()
				p2ptest.WaitFor(t, "the honest peer's entries", []*p2ptest.Node{h.victim}, func() bool {
					row, _ := h.victim.Store.Row(ledgertest.Origin("carol"))
					return row.Size() == 300
				})
				if took := time.Since(begin); took > time.Duration(stalling+5)*time.Second { // at worst each of them had its turn first
					t.Errorf("the node had the honest peer's entries after %v", took)
				}
				// It stays so: what the honest peer has next comes as soon.
				time.Sleep(2 * time.Minute)
				for range 3 {
					e := h.history.Put("carol")
					must(t, ingest(t, h.honest, e))
					begin := time.Now()
					p2ptest.WaitFor(t, "the next entry", []*p2ptest.Node{h.victim}, func() bool {
						row, _ := h.victim.Store.Row(ledgertest.Origin("carol"))
						return row.Hash == e.Hash
					})
					if took := time.Since(begin); took > 15*time.Second {
						t.Errorf("the node had the honest peer's next entry after %v", took)
					}
					time.Sleep(10 * time.Second)
				}
				for i := range pulls {
					if times := pulls[i].Load(); times > 16 {
						t.Errorf("stranger %d, of which nothing comes, was pulled from %d times in less than four minutes", i, times)
					}
				}
			})
		})
	}
}

// citing makes the first entries of a log, of which the first cites what nobody has.
func citing(t *testing.T, g *ledger.Genesis, who string, count int, cited ledger.Citation) (list []*ledger.Entry) {
	log := &ledger.Log{Origin: ledgertest.Origin(who)}
	d := ledgertest.Draft(t, g, "vote", 5_000_000)
	for i := range count {
		var seen []ledger.Citation
		if i == 0 {
			seen = append(seen, cited)
		}
		e, err := log.Sign(g, ledgertest.Key(who), d, seen, int64(i), nil)
		must(t, err)
		log.Advance(e)
		list = append(list, e)
	}
	return list
}

// nap waits, unless the test ends.
func nap(t *testing.T, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-t.Context().Done():
		return t.Context().Err()
	}
}

// trickles lets the attacker answer a comparison with one row after the other.
func (a *attacker) trickles(t *testing.T, rows ledger.Frontier) {
	digest := rows.Digest(a.genesis.Network())
	a.host.SetStreamHandler(p2p.ProtocolID, func(s network.Stream) {
		defer func() { _ = s.Reset() }()
		f := p2p.NewFrames(s)
		if _, _, err := f.Read(); err != nil {
			return
		}
		err := f.Send(p2p.FrameHave, p2p.HaveBody(a.genesis.Network(), digest, 3))
		for i := 0; err == nil && i < len(rows); i++ {
			if err = f.Send(p2p.FrameRows, rowsBody(rows[i:i+1])); err == nil {
				err = nap(t, time.Second)
			}
		}
	})
}

// TestTricklingRows: of a peer that says what it holds row by row a node has enough after a while,
// whatever the pace; and it remembers only little of what nobody has signed.
func TestTricklingRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, sim := simulated(t, 1)
		a := h.simAttacker(t, sim, "stranger")
		a.trickles(t, madeUpRows(0, p2p.FewRows))
		a.connect(t)
		time.Sleep(time.Second)
		for begin := time.Now(); openStreams(h.victim, a) > 0; time.Sleep(time.Second) {
			if time.Since(begin) > 3*time.Minute {
				t.Fatal("the node still listens")
			}
		}
	})
}

// openStreams returns how many streams of the sync protocol a node has open to an attacker.
func openStreams(n *p2ptest.Node, a *attacker) (open int) {
	for _, c := range n.Host().Network().ConnsToPeer(a.host.ID()) {
		for _, s := range c.GetStreams() {
			if s.Protocol() == p2p.ProtocolID && s.Stat().Direction == network.DirOutbound {
				open++
			}
		}
	}
	return open
}

// TestManyQuestions: of a peer's questions, on all its streams together, a node answers only so
// many in a time.
func TestManyQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, sim := simulated(t, 0)
		a := h.simAttacker(t, sim, "stranger")
		place := append(make([]byte, 0, 72), make([]byte, 72)...)
		copy(place, h.branch(t, 1)[0].Header.Origin[:])
		answers := make(chan int)
		for range p2p.SyncStreams {
			s, f := a.open(t, p2p.ProtocolID)
			go func() {
				count := 0
				_ = s.SetDeadline(time.Now().Add(10 * time.Second))
				for {
					if f.Send(p2p.FrameEvidence, place) != nil {
						break
					}
					if _, _, err := f.Read(); err != nil {
						break
					}
					count++
				}
				answers <- count
			}()
		}
		all := 0
		for range p2p.SyncStreams {
			all += <-answers
		}
		if most := (p2p.QuestionBurst + 10*p2p.QuestionRate) / 4; all > most || all < most/10 {
			t.Errorf("%d questions for evidence were answered in ten seconds, at most %d should be", all, most)
		}
	})
}
