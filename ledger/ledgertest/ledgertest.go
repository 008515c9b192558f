// Package ledgertest makes ledgers for tests. The same names and numbers always give the same
// bytes, so tests are exact and a failure can be repeated.
//
// Parties have names, and a party's key follows from its name ([Key]). A [Network] writes the logs
// of several parties that cite each other. [Forks], in forks.go, makes entries of honest parties
// and of liars that fork their logs.
package ledgertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
)

// Start is the time at which the made-up history begins.
var Start = time.Date(2026, 11, 22, 1, 22, 44, 0, time.UTC)

// Key returns the signing key of a named party.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("pyvnode test party " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Origin returns the origin of a named party.
func Origin(name string) ledger.Origin { return ledger.OriginOf(Key(name)) }

// Doc returns a genesis document in which the named parties are members and records need no proof of work.
func Doc(members ...string) ledger.GenesisDoc {
	doc := ledger.GenesisDoc{
		Format:       ledger.GenesisFormat,
		Name:         "test network",
		Nonce:        make([]byte, 16),
		MaxHops:      1,
		PrivateKinds: []string{"voter"},
	}
	for _, m := range members {
		doc.Members = append(doc.Members, Origin(m))
	}
	return doc
}

// Genesis fixes a document.
func Genesis(tb testing.TB, doc ledger.GenesisDoc) *ledger.Genesis {
	tb.Helper()
	g, err := ledger.NewGenesis(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// Record returns record number n in normal form, without proof of work worth the name.
func Record(tb testing.TB, n int) []byte {
	tb.Helper()
	return Minted(tb, n, 0)
}

// Minted returns record number n in normal form with a proof of work.
func Minted(tb testing.TB, n, strength int) []byte {
	tb.Helper()
	random := NewRand(uint64(n))
	payload := new(record.Dict)
	payload.Set(record.Text("Default"), record.Text("None"))
	payload.Set(record.Text("name"), record.Text(fmt.Sprintf("Voter %d", n)))
	payload.Set(record.Text("vprim"), record.Text(fmt.Sprintf("can%d", n%5)))
	r, err := record.New(payload, Start.Add(time.Duration(n)*time.Millisecond), random)
	if err != nil {
		tb.Fatal(err)
	}
	minter := record.Minter{Strength: max(strength, 1), Workers: 1, Rand: random}
	if err := minter.Mint(context.Background(), r); err != nil {
		tb.Fatal(err)
	}
	normal, err := r.Normal()
	if err != nil {
		tb.Fatal(err)
	}
	return normal
}

// Draft returns record number n as a draft of a kind.
func Draft(tb testing.TB, g *ledger.Genesis, kind string, n int) *ledger.Draft {
	tb.Helper()
	checker := ledger.Checker{Genesis: g}
	d, err := checker.Draft(kind, Record(tb, n))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// Sign lets a party sign record number n as the next entry of a log, which it leaves as it is.
func Sign(tb testing.TB, g *ledger.Genesis, party string, log *ledger.Log, n int, seen ...ledger.Citation) *ledger.Entry {
	tb.Helper()
	e, err := log.Sign(g, Key(party), Draft(tb, g, "vote", n), seen, 0, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// Rand is a stream of bytes that depends on its seed only.
type Rand struct{ *rand.ChaCha8 }

// NewRand returns the stream of a seed.
func NewRand(seed uint64) Rand {
	return Rand{rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))}
}

// Network writes logs of several parties that cite each other.
type Network struct {
	tb      testing.TB
	Genesis *ledger.Genesis
	Entries []*ledger.Entry // in the order they were made, which respects causality

	logs  map[ledger.Origin]*ledger.Log
	heads map[ledger.Origin]ledger.Citation
	next  int
}

// NewNetwork starts a network whose members are the named parties.
func NewNetwork(tb testing.TB, g *ledger.Genesis) *Network {
	return &Network{tb: tb, Genesis: g, logs: map[ledger.Origin]*ledger.Log{}, heads: map[ledger.Origin]ledger.Citation{}}
}

// Put lets a party add a record of kind vote, citing the heads of the named others.
func (n *Network) Put(party string, cite ...string) *ledger.Entry {
	n.tb.Helper()
	n.next++
	return n.PutDraft(party, Draft(n.tb, n.Genesis, "vote", n.next), cite...)
}

// PutDraft lets a party add a record, citing the heads of the named others.
func (n *Network) PutDraft(party string, d *ledger.Draft, cite ...string) *ledger.Entry {
	n.tb.Helper()
	key, o := Key(party), Origin(party)
	log := n.logs[o]
	if log == nil {
		log = &ledger.Log{Origin: o}
		n.logs[o] = log
	}
	var seen []ledger.Citation
	for _, other := range cite {
		if c, ok := n.heads[Origin(other)]; ok {
			seen = append(seen, c)
		}
	}
	e, err := log.Sign(n.Genesis, key, d, seen, Start.UnixMilli()+int64(len(n.Entries)), nil)
	if err != nil {
		n.tb.Fatal(err)
	}
	log.Advance(e)
	n.heads[o] = e.Citation()
	n.Entries = append(n.Entries, e)
	return e
}

// Log returns a copy of what must be known to go on with a party's log.
func (n *Network) Log(party string) *ledger.Log {
	if log := n.logs[Origin(party)]; log != nil {
		return log.Clone()
	}
	return &ledger.Log{Origin: Origin(party)}
}

// Random makes count entries by random parties with random citations.
func (n *Network) Random(seed uint64, count int, parties ...string) {
	n.tb.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	for range count {
		who := r.IntN(len(parties))
		var cite []string
		for i, p := range parties {
			if i != who && r.IntN(2) == 0 {
				cite = append(cite, p)
			}
		}
		n.Put(parties[who], cite...)
	}
}
