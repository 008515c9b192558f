package ledger_test

import (
	"crypto/sha256"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

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
		"private_kinds":       func(d *ledger.GenesisDoc) { d.PrivateKinds = []string{""} },
		"private_kinds lists": func(d *ledger.GenesisDoc) { d.PrivateKinds = []string{"a", "b", "a"} },
		"members lists": func(d *ledger.GenesisDoc) { // no point of the curve
			d.Members = append(d.Members, ledger.Origin{2})
		},
		"cosigners lists": func(d *ledger.GenesisDoc) { // of order 4
			d.Cosigners, d.Quorum = []ledger.Origin{{}}, 1
		},
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
		"null":          strings.Replace(string(good), "{", `{"origin_bits":null,`, 1),
		"null members":  strings.Replace(string(good), `"members":[`, `"members":[null,`, 1),
		"null for all":  "null",
		"capital hex":   regexp.MustCompile(`"nonce":"[0-9a-f]*"`).ReplaceAllStringFunc(string(good), func(s string) string { return `"nonce":"` + strings.Repeat("AB", 16) + `"` }),
		"half a pair":   strings.Replace(string(good), "test network", `test\ud800network`, 1),
		"other half":    strings.Replace(string(good), "test network", `test\udc00network`, 1),
		"half at end":   strings.Replace(string(good), "test network", `test network\ud83d`, 1),
		"halves turned": strings.Replace(string(good), "test network", `test\ude00\ud83dnetwork`, 1),
		"half in a key": strings.Replace(string(good), "{", `{"kind_strength":{"\ud800":2},`, 1),
		"point":         strings.Replace(string(good), "{", `{"origin_bits":0.0,`, 1),
		"exponent":      strings.Replace(string(good), "{", `{"origin_bits":0e1,`, 1),
		"minus nothing": strings.Replace(string(good), "{", `{"origin_bits":-0,`, 1),
		"other form of a peer ID": strings.Replace(string(good), ledgertest.Origin("alice").String(),
			peer.ToCid(ledgertest.Origin("alice").PeerID()).String(), 1),
		"too long": string(good) + strings.Repeat(" ", ledger.MaxGenesis),
	} {
		if _, err := ledger.ParseGenesis([]byte(raw)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range []string{`a \ud83d\ude00 pair`, `\\ud800 is text`, `\ufffd`, "\ufffd", `\u0041\\`} {
		g, err := ledger.ParseGenesis([]byte(strings.Replace(string(good), "test network", name, 1)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var want string
		if err := json.Unmarshal([]byte(`"`+name+`"`), &want); err != nil || g.Name != want {
			t.Errorf("%s is read as %q", name, g.Name)
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
