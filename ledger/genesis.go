package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"pyvnode/ledger/record"
)

// GenesisFormat is the version of the genesis document this package reads and writes.
const GenesisFormat = 1

// DefaultStrength is the proof of work of a record, in zero hex digits, unless the genesis document says otherwise. It
// is what the original clients make.
const DefaultStrength = 4

// Genesis is the document that founds a network. Its exact bytes are the network's identity: the network is their
// SHA-256, which any tool can compute, so the document is never edited, only kept.
type Genesis struct {
	GenesisDoc

	raw     []byte
	network Hash
	members map[Origin]bool // nil when open
	private map[string]bool
}

// GenesisDoc is the JSON form of a genesis document.
type GenesisDoc struct {
	// Format is [GenesisFormat].
	Format int `json:"pyvnode_genesis"`
	// Name says to people which network this is: 1 to [MaxName] bytes.
	Name string `json:"name"`
	// Nonce keeps networks of the same name and members apart: 16 random bytes.
	Nonce HexBytes `json:"nonce"`
	// Open lets every origin write that shows OriginBits of proof of work. Otherwise only Members may.
	Open bool `json:"open,omitempty"`
	// OriginBits is the proof of work over the origin, in zero bits, in the first entry of each log of an open network.
	OriginBits int `json:"origin_bits,omitempty"`
	// Members may write. Empty in an open network.
	Members []Origin `json:"members,omitempty"`
	// Cosigners sign checkpoints of other origins' logs; Quorum of them confirm an entry. 2·Quorum must exceed their
	// number, so that two quorums share a cosigner.
	Cosigners []Origin `json:"cosigners,omitempty"`
	Quorum    int      `json:"quorum,omitempty"`
	// MaxHops bounds how often a record is sent on over replication links: 0 to [MaxHops].
	MaxHops int `json:"max_hops"`
	// MaxRecord is the greatest length of a record in bytes; 0 means [MaxRecord].
	MaxRecord int `json:"max_record,omitempty"`
	// Strength is the proof of work of a record in zero hex digits, for kinds that KindStrength does not name.
	Strength     int            `json:"strength"`
	KindStrength map[string]int `json:"kind_strength,omitempty"`
	// PrivateKinds are never published: an entry of such a kind is invalid.
	PrivateKinds []string `json:"private_kinds,omitempty"`
}

// HexBytes are bytes that read as hex digits in JSON.
type HexBytes []byte

// MarshalText implements [encoding.TextMarshaler].
func (b HexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *HexBytes) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%q is not hex digits", clip(string(text), 40))
	}
	if hex.EncodeToString(decoded) != string(text) {
		return fmt.Errorf("%q: hex digits are 0-9 and a-f", clip(string(text), 40))
	}
	*b = decoded
	return nil
}

// NewGenesis checks a document and fixes its bytes.
func NewGenesis(doc GenesisDoc) (*Genesis, error) {
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("genesis document: %w", err)
	}
	return ParseGenesis(append(raw, '\n'))
}

// ParseGenesis reads a genesis document and checks every field. Unknown fields are refused: a rule
// that this version does not know must not be passed over in silence. So is everything that JSON
// readers, or readers of keys, take in different ways. The network is the hash of the bytes, and
// everybody must read the same rules in them.
func ParseGenesis(raw []byte) (*Genesis, error) {
	if len(raw) > MaxGenesis {
		return nil, fmt.Errorf("genesis document has %d bytes, more than the limit of %d", len(raw), MaxGenesis)
	}
	switch what, _ := record.ForeignForm(raw); {
	case len(record.TrimMark(raw)) < len(raw): // its bytes are the network's identity, so the mark is not passed over
		return nil, errors.New("genesis document: it begins with a byte order mark, which an editor must have added; every byte counts in it, so take the document as it was sent")
	case what != "":
		return nil, fmt.Errorf("genesis document: it is %s; every byte counts in it, so take the document as it was sent", what)
	case !utf8.Valid(raw):
		return nil, errors.New("genesis document is not UTF-8 text")
	}
	if err := checkGenesisNames(raw); err != nil {
		return nil, fmt.Errorf("genesis document: %w", err)
	}
	if err := checkGenesisValues(raw); err != nil {
		return nil, fmt.Errorf("genesis document: %w", err)
	}
	g := &Genesis{raw: bytes.Clone(raw), network: sha256.Sum256(raw)}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g.GenesisDoc); err != nil {
		return nil, fmt.Errorf("genesis document: %s", record.ExplainJSON(raw, err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("genesis document: text after the JSON object")
	}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("genesis document: %w", err)
	}
	if !g.Open {
		g.members = make(map[Origin]bool, len(g.Members))
		for _, m := range g.Members {
			g.members[m] = true
		}
	}
	g.private = make(map[string]bool, len(g.PrivateKinds))
	for _, k := range g.PrivateKinds {
		g.private[k] = true
	}
	return g, nil
}

// checkGenesisNames refuses what JSON readers take in different ways, and parties could so read differently: a field
// named twice, or in other letters.
func checkGenesisNames(raw []byte) error {
	known := map[string]bool{}
	for f := range reflect.TypeFor[GenesisDoc]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = true
	}
	distinctNames := func(known map[string]bool) func(string, json.RawMessage) error {
		seen := map[string]bool{}
		return func(name string, value json.RawMessage) error {
			if known != nil && !known[name] {
				return errors.New("unknown field")
			}
			if seen[name] {
				return errors.New("the same field again")
			}
			seen[name] = true
			return nil
		}
	}
	top := distinctNames(known)
	return eachMember(raw, func(name string, value json.RawMessage) error {
		if err := top(name, value); err != nil {
			return err
		}
		switch name {
		case "kind_strength":
			return eachMember(value, distinctNames(nil))
		case "members", "cosigners":
			return checkSpelling(value)
		}
		return nil
	})
}

// checkSpelling refuses peer IDs in other text forms than base58, in which they were compared and copied for ever.
func checkSpelling(list json.RawMessage) error {
	var texts []string
	if err := json.Unmarshal(list, &texts); err != nil {
		return err
	}
	for _, text := range texts {
		o, err := ParseOrigin(text)
		if err != nil {
			return err
		}
		if o.String() != text {
			return fmt.Errorf("%q is another spelling of %v", clip(text, 80), o)
		}
	}
	return nil
}

// checkGenesisValues refuses values that JSON readers take in different ways: null, which some take for an absent field;
// numbers with a point or an exponent, or -0; and halves of surrogate pairs, for which some put U+FFFD. The text is JSON.
func checkGenesisValues(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("not JSON: %s", record.ExplainJSON(raw, err))
		}
		switch v := token.(type) {
		case nil:
			return errors.New("null is not a value here; leave the field out")
		case json.Number:
			if v == "-0" || strings.ContainsAny(string(v), ".eE") {
				return fmt.Errorf("number %s: want a whole number in decimal digits", clip(string(v), 40))
			}
		}
	}
	for at := 0; at < len(raw); at++ {
		if raw[at] != '\\' {
			continue
		}
		high := escaped(raw[at:])
		if utf16.IsSurrogate(high) {
			if utf16.DecodeRune(high, escaped(raw[at+escapeLen:])) == unicode.ReplacementChar {
				return fmt.Errorf("%s is half of a surrogate pair and no character", raw[at:at+escapeLen])
			}
			at += escapeLen
		}
		at++ // what is escaped is no backslash of its own
	}
	return nil
}

const escapeLen = len(`\u0000`)

// escaped reads a \u escape at the start of a text. It returns -1 if there is none.
func escaped(text []byte) rune {
	if len(text) < escapeLen || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:escapeLen]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func (g *Genesis) check() error {
	switch {
	case g.Format != GenesisFormat:
		return fmt.Errorf("pyvnode_genesis is %d; this version reads %d", g.Format, GenesisFormat)
	case g.Name == "" || len(g.Name) > MaxName:
		return fmt.Errorf("name has %d bytes; 1 to %d are allowed", len(g.Name), MaxName)
	case len(g.Nonce) != 16:
		return fmt.Errorf("nonce has %d bytes instead of 16", len(g.Nonce))
	case g.Open && len(g.Members) > 0:
		return errors.New("an open network lists no members")
	case !g.Open && len(g.Members) == 0:
		return errors.New("no members, so nobody could ever write; list some or set open")
	case !g.Open && g.OriginBits != 0:
		return errors.New("origin_bits is for open networks only")
	case g.OriginBits < 0 || g.OriginBits > MaxOriginBits:
		return fmt.Errorf("origin_bits is %d; 0 to %d are allowed", g.OriginBits, MaxOriginBits)
	case g.MaxHops < 0 || g.MaxHops > MaxHops:
		return fmt.Errorf("max_hops is %d; 0 to %d are allowed", g.MaxHops, MaxHops)
	case g.MaxRecord < 0 || g.MaxRecord > MaxRecord:
		return fmt.Errorf("max_record is %d; 0 to %d are allowed", g.MaxRecord, MaxRecord)
	case g.Strength < 0 || g.Strength > MaxStrength:
		return fmt.Errorf("strength is %d; 0 to %d are allowed", g.Strength, MaxStrength)
	}
	if err := distinct("members", g.Members); err != nil {
		return err
	}
	if err := distinct("cosigners", g.Cosigners); err != nil {
		return err
	}
	if n := len(g.Cosigners); n == 0 && g.Quorum != 0 {
		return errors.New("quorum without cosigners")
	} else if n > 0 && (g.Quorum > n || 2*g.Quorum <= n) {
		return fmt.Errorf("quorum is %d of %d cosigners; it must be more than half and at most all", g.Quorum, n)
	}
	for kind, strength := range g.KindStrength {
		if err := CheckKind(kind); err != nil {
			return fmt.Errorf("kind_strength: %w", err)
		}
		if strength < 0 || strength > MaxStrength {
			return fmt.Errorf("kind_strength of %q is %d; 0 to %d are allowed", kind, strength, MaxStrength)
		}
	}
	for i, kind := range g.PrivateKinds {
		if err := CheckKind(kind); err != nil {
			return fmt.Errorf("private_kinds: %w", err)
		}
		if slices.Contains(g.PrivateKinds[:i], kind) {
			return fmt.Errorf("private_kinds lists %q twice", kind)
		}
	}
	return nil
}

func distinct(field string, origins []Origin) error {
	if len(origins) > MaxMembers {
		return fmt.Errorf("%s lists %d origins, more than the limit of %d", field, len(origins), MaxMembers)
	}
	sorted := slices.SortedFunc(slices.Values(origins), Origin.Compare)
	for i, o := range sorted {
		if i > 0 && o == sorted[i-1] {
			return fmt.Errorf("%s lists %v twice", field, o)
		}
		if !o.IsKey() {
			return fmt.Errorf("%s lists %v, which is no Ed25519 key that only its owner can sign with", field, o)
		}
	}
	return nil
}

// Bytes returns the document as it was read. The caller must not change it.
func (g *Genesis) Bytes() []byte { return g.raw }

// Network returns the identity of the network: the SHA-256 of the document.
func (g *Genesis) Network() Hash { return g.network }

// MayWrite reports whether the genesis document lets an origin write. In an open network every origin may, with proof
// of work in its first entry.
func (g *Genesis) MayWrite(o Origin) bool { return g.Open || g.members[o] }

// OnlyWriter reports whether an origin is the only one that may write: nobody else has a reason to hold its log.
func (g *Genesis) OnlyWriter(o Origin) bool { return len(g.Members) == 1 && g.Members[0] == o }

// Names reports whether the genesis document names an origin, as a member or a cosigner: those whose logs others can
// be expected to look at.
func (g *Genesis) Names(o Origin) bool { return g.members[o] || slices.Contains(g.Cosigners, o) }

// IsPrivate reports whether records of a kind must not be published.
func (g *Genesis) IsPrivate(kind string) bool { return g.private[kind] }

// StrengthOf returns the least proof of work of a record of a kind, in zero hex digits.
func (g *Genesis) StrengthOf(kind string) int {
	if s, ok := g.KindStrength[kind]; ok {
		return s
	}
	return g.Strength
}

// RecordLimit returns the greatest length of a record in bytes.
func (g *Genesis) RecordLimit() int {
	if g.MaxRecord > 0 {
		return g.MaxRecord
	}
	return MaxRecord
}

// CheckKind says whether a text can be a kind: 1 to [MaxKind] ASCII letters, digits, '_', '-' or '.', the first a
// letter or digit. Such a name is safe in file names, keys and URLs.
func CheckKind(kind string) error {
	if kind == "" || len(kind) > MaxKind {
		return fmt.Errorf("kind %q has %d characters; 1 to %d are allowed", clip(kind, MaxKind), len(kind), MaxKind)
	}
	for i := range len(kind) {
		c := kind[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '_' && c != '-' && c != '.') {
			return fmt.Errorf("kind %q: character %q at %d; letters, digits, '_', '-' and '.' are allowed, first a letter or digit",
				clip(kind, MaxKind), c, i)
		}
	}
	return nil
}
