package ledger_test

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
)

func TestGenesisIdentity(t *testing.T) {
	t.Parallel()
	g := ledgertest.Genesis(t, ledgertest.Doc("alice"))
	if g.Network() != sha256.Sum256(g.Bytes()) {
		t.Error("the network is not the SHA-256 of the document")
	}
	back, err := ledger.ParseGenesis(g.Bytes())
	if err != nil || back.Network() != g.Network() {
		t.Errorf("read back as %v, %v", back, err)
	}
	if !g.MayWrite(ledgertest.Origin("alice")) || g.MayWrite(ledgertest.Origin("bob")) {
		t.Error("alice is the only member")
	}
	if !g.IsPrivate("voter") || g.IsPrivate("vote") {
		t.Error("voter is the only private kind")
	}
}

func TestGenesisRefuses(t *testing.T) {
	t.Parallel()
	alice, bob := ledgertest.Origin("alice"), ledgertest.Origin("bob")
	cases := map[string]func(d *ledger.GenesisDoc){
		"pyvnode_genesis": func(d *ledger.GenesisDoc) { d.Format = 2 },
		"name":            func(d *ledger.GenesisDoc) { d.Name = "" },
		"name has":        func(d *ledger.GenesisDoc) { d.Name = strings.Repeat("x", 129) },
		"nonce":           func(d *ledger.GenesisDoc) { d.Nonce = d.Nonce[:15] },
		"no members":      func(d *ledger.GenesisDoc) { d.Members = nil },
		"lists no":        func(d *ledger.GenesisDoc) { d.Open = true },
		"twice":           func(d *ledger.GenesisDoc) { d.Members = append(d.Members, alice) },
		"open networks":   func(d *ledger.GenesisDoc) { d.OriginBits = 1 },
		"origin_bits":     func(d *ledger.GenesisDoc) { d.Open, d.Members, d.OriginBits = true, nil, 49 },
		"max_hops":        func(d *ledger.GenesisDoc) { d.MaxHops = 17 },
		"max_record":      func(d *ledger.GenesisDoc) { d.MaxRecord = -1 },
		"strength":        func(d *ledger.GenesisDoc) { d.Strength = 11 },
		"quorum is 1":     func(d *ledger.GenesisDoc) { d.Cosigners, d.Quorum = []ledger.Origin{alice, bob}, 1 },
		"quorum is 3":     func(d *ledger.GenesisDoc) { d.Cosigners, d.Quorum = []ledger.Origin{alice, bob}, 3 },
		"quorum without":  func(d *ledger.GenesisDoc) { d.Quorum = 1 },
		"kind_strength":   func(d *ledger.GenesisDoc) { d.KindStrength = map[string]int{"../x": 1} },
		"kind_strength of": func(d *ledger.GenesisDoc) {
			d.KindStrength = map[string]int{"vote": -1}
		},
		"private_kinds": func(d *ledger.GenesisDoc) { d.PrivateKinds = []string{""} },
	}
	for want, change := range cases {
		doc := ledgertest.Doc("alice")
		change(&doc)
		if _, err := ledger.NewGenesis(doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not speak of %q", err, want)
		}
	}
	good, err := json.Marshal(ledgertest.Doc("alice"))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"unknown field": strings.Replace(string(good), "{", `{"surprise":1,`, 1),
		"field twice":   strings.Replace(string(good), "{", `{"strength":4,`, 1),
		"other letters": strings.Replace(string(good), `"strength"`, `"Strength"`, 1),
		"kind twice":    strings.Replace(string(good), "{", `{"kind_strength":{"a":1,"a":2},`, 1),
		"trailing text": string(good) + "{}",
		"not JSON":      "genesis",
		"not UTF-8":     strings.Replace(string(good), "test network", "test\xffnetwork", 1),
		"too long":      string(good) + strings.Repeat(" ", ledger.MaxGenesis),
	} {
		if _, err := ledger.ParseGenesis([]byte(raw)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseGenesis(f *testing.F) {
	good, err := json.Marshal(ledgertest.Doc("alice"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if g, err := ledger.ParseGenesis(raw); err == nil && g.Network() != sha256.Sum256(raw) {
			t.Error("network does not follow from the bytes")
		}
	})
}
