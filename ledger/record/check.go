package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Facts is what [Checker.Check] learns about a valid record.
type Facts struct {
	Header    uuid.UUID // the record's name
	ContentID ContentID // with the kind, the record's identity
	Strength  int       // zero hex digits at the end of _Proof, 0 to 64
	Linked    bool      // it has a _Link, which is right for its _PrevHash
	Time      time.Time // see [HeaderTime]
}

// A Checker checks stored and received records. It owns scratch space, so one
// Checker serves one goroutine, for any number of records. The zero value is
// ready for use.
//
// It works on the packed bytes without building a tree. That is possible
// because a canonical packing holds, as bytes, the packing of each of its
// parts; what the hashes cover is put together from those.
type Checker struct {
	s       scanner // s.out becomes what the keys and values are as Python text
	entries []entry // by top-level key
	at      [numRoles]int
	buf     []byte // text to be hashed
	conv    []byte // the same in code page 437
	hexed   [2 * sha256.Size]byte
}

// An entry is one top-level key with its value, as parts of the packed text.
type entry struct {
	role        role
	letter      byte // the value's type
	key         span // the key's text
	tuple       span // the whole tuple item
	item        span // the value's item
	python      span // key and value as Python text, in scanner.out; empty where _Proof does not cover it
	tuplePoints int  // code points of tuple
	itemPoints  int  // code points of item
}

// Check checks a record in normal form: that it is well packed, canonical and
// within the bounds; that header is a UUID and PayLoad a dict; that _Hash,
// _Proof and, where there is one, _Link are right; and that the proof ends in
// at least minStrength zeros. A record that needs normalising is refused; the
// function [Check] is for those.
//
// _Hash may be over UTF-8 or, where all of the text can be written so, code
// page 437; see [Record.ComputeHash], [Record.ComputeProof] and
// [Record.ComputeLink] for what each covers. A _PrevHash without a _Link is
// allowed, and nothing vouches for it. _PowRand, where present, must be bytes:
// text that looks like them has the same proof. Validity depends on the bytes
// alone.
//
// The error is an [*Error]. Its reason is that of the first failure in the
// original's order (header, hash, strength, proof, link) and its detail tells
// all of them. Check keeps no reference to normal, and does not allocate for a
// valid record in ASCII whose dict keys are text, once its scratch space has
// grown.
func (c *Checker) Check(normal []byte, minStrength int) (Facts, error) {
	if err := checkSize(len(normal)); err != nil {
		return Facts{}, err
	}
	defer func() { c.s.src = nil }()
	err := c.scan(normal)
	if err == nil {
		err = c.inNormalForm()
	}
	if err != nil {
		return Facts{}, notNormal(normal, err)
	}
	return c.check(minStrength)
}

// Normalise puts a record in normal form and checks that, as [Checker.Check]. It
// takes what [Parse] takes, with the keys in any order, and returns the normal
// form also when only the check fails: packed itself, where that is in normal
// form. The error is an [*Error].
func (c *Checker) Normalise(packed []byte, minStrength int) (normal []byte, facts Facts, err error) {
	if err := checkSize(len(packed)); err != nil {
		return nil, Facts{}, err
	}
	defer func() { c.s.src = nil }()
	if c.scan(packed) != nil || !c.sort() {
		return c.rebuild(packed, minStrength)
	}
	if normal = packed; c.inNormalForm() != nil {
		normal = c.appendNormal(make([]byte, 0, len(packed)+len(zeroReplicated)))
	}
	if err := checkSize(len(normal)); err != nil {
		return nil, Facts{}, err
	}
	facts, err = c.check(minStrength)
	return normal, facts, err
}

// rebuild is Normalise by way of a tree, for what is packed in another way than
// ours, and for what is no record at all, of which it says why.
func (c *Checker) rebuild(packed []byte, minStrength int) (normal []byte, facts Facts, err error) {
	r, err := Parse(packed)
	if err != nil {
		return nil, Facts{}, err
	}
	if normal, err = r.Normal(); err != nil {
		return nil, Facts{}, err
	}
	facts, err = c.Check(normal, minStrength)
	return normal, facts, err
}

// check checks what was scanned, of which the entries are sorted.
func (c *Checker) check(minStrength int) (Facts, error) {
	for i := range c.at {
		c.at[i] = -1
	}
	for i := range c.entries {
		if r := c.entries[i].role; r != roleOther {
			c.at[r] = i
		}
	}
	var facts Facts
	var fails []*Error
	note := func(e *Error) {
		if e != nil {
			fails = append(fails, e)
		}
	}
	note(c.checkHeader(&facts))
	note(c.checkPayload())
	note(c.checkHash())
	if e := c.missing(roleProof, KeyProof, MissingProof); e != nil {
		note(e)
	} else {
		note(c.checkStrength(&facts, minStrength))
		note(c.checkProof())
	}
	note(c.checkLink(&facts))
	if fails != nil {
		return Facts{}, joinFailures(fails)
	}
	facts.ContentID = c.contentID()
	return facts, nil
}

// scan reads packed text and fills entries in the order of the text. It fails on
// everything that AppendPack would pack in another way, apart from the keys and
// their order; notNormal knows how to call it.
func (c *Checker) scan(packed []byte) error {
	s := &c.s
	s.reset(packed)
	if !s.ascii && !utf8.Valid(packed) {
		return errors.New("the record is not in UTF-8")
	}
	c.entries = c.entries[:0]
	letters, err := s.head()
	if err != nil {
		return err
	}
	if string(letters) != "d" {
		return fmt.Errorf("packed text holds items of types %s, want one dict", shown(letters))
	}
	n, err := s.enter('d')
	if err != nil {
		return err
	}
	s.depth++
	start := s.points()
	if err := s.pairs(func(from int, key, val byte) error {
		e, err := c.scanEntry(from, key, val)
		c.entries = append(c.entries, e)
		return err
	}); err != nil {
		return err
	}
	s.depth--
	if err := s.leave(start, n); err != nil {
		return err
	}
	if s.pos != len(s.src) {
		return s.fail("%d bytes follow the record", len(s.src)-s.pos)
	}
	return nil
}

// inNormalForm says what is not in normal form in what was scanned.
func (c *Checker) inNormalForm() error {
	replicated := false
	for i := range c.entries {
		e := &c.entries[i]
		if i > 0 {
			prev, this := c.bytes(c.entries[i-1].key), c.bytes(e.key)
			if bytes.Compare(prev, this) >= 0 {
				return fmt.Errorf("top-level key %s stands behind %s, want them sorted", shown(this), shown(prev))
			}
			if e.tuple.from < c.entries[i-1].tuple.from {
				return errors.New("the top-level keys were not sorted")
			}
		}
		if e.role == roleReplicated {
			if string(c.bytes(e.item)) != "i4 0 " {
				return fmt.Errorf("key Replicated is packed as %s, want the int 0", shown(c.bytes(e.item)))
			}
			replicated = true
		}
	}
	if !replicated {
		return errors.New("there is no Replicated, want the int 0")
	}
	return nil
}

// sort sorts the entries by key. It reports false where a key is there twice.
func (c *Checker) sort() bool {
	byKey := func(a, b entry) int { return bytes.Compare(c.bytes(a.key), c.bytes(b.key)) }
	if !slices.IsSortedFunc(c.entries, byKey) {
		slices.SortFunc(c.entries, byKey)
	}
	for i := 1; i < len(c.entries); i++ {
		if byKey(c.entries[i-1], c.entries[i]) == 0 {
			return false
		}
	}
	return true
}

// notNormal says why scan refused a record with err. What Parse can make sense
// of is only not in normal form; otherwise Parse has the reason.
func notNormal(packed []byte, err error) error {
	if _, perr := Parse(packed); perr != nil {
		return perr
	}
	var e *Error
	if errors.As(err, &e) {
		return &Error{NotNormalForm, e.Detail}
	}
	return &Error{NotNormalForm, err.Error()}
}

// scanEntry reads key and value of the top-level pair whose tuple begins at
// byte from.
func (c *Checker) scanEntry(from int, key, val byte) (entry, error) {
	s := &c.s
	wide := s.wide // nothing before the key is outside ASCII
	if key != 'c' && key != 's' {
		return entry{}, fmt.Errorf("a top-level key is %s, want text", kind(key))
	}
	text, err := s.scalar(key)
	if err != nil {
		return entry{}, err
	}
	e := entry{role: roleOf(text), letter: val}
	e.key = span{s.pos - len("' ") - len(text), s.pos - len("' ")}
	if key == 'c' {
		e.key = span{s.pos - len(" ") - len(text), s.pos - len(" ")}
	}
	mode := quiet
	e.python.from = len(s.out)
	if !notInProof.has(e.role) {
		mode = bare
		s.out = append(s.out, text...)
	}
	before := s.points()
	e.item.from = s.pos
	err = s.walk(val, mode)
	e.item.to, e.python.to = s.pos, len(s.out)
	e.itemPoints = s.points() - before
	e.tuple = span{from, s.pos + len("' ")}
	e.tuplePoints = e.tuple.to - e.tuple.from - (s.wide - wide)
	return e, err
}

// entry returns the entry of a role, nil where there is none.
func (c *Checker) entry(r role) *entry {
	if i := c.at[r]; i >= 0 {
		return &c.entries[i]
	}
	return nil
}

func (c *Checker) bytes(p span) []byte { return c.s.src[p.from:p.to] }

// text returns the text of a role's value, and whether it is there and text.
func (c *Checker) text(r role) ([]byte, bool) {
	e := c.entry(r)
	if e == nil {
		return nil, false
	}
	item := c.bytes(e.item)
	switch e.letter {
	case 'c':
		return item[len("c1 ") : len(item)-len(" ")], true
	case 's':
		return item[bytes.IndexByte(item, '\'')+1 : len(item)-len("' ")], true
	}
	return nil, false
}

// missing returns an error if there is no key of role r.
func (c *Checker) missing(r role, key string, reason Reason) *Error {
	if c.entry(r) != nil {
		return nil
	}
	return errorf(reason, "there is no %s", key)
}

func (c *Checker) checkHeader(facts *Facts) *Error {
	if e := c.missing(roleHeader, KeyHeader, BadHeader); e != nil {
		return e
	}
	text, ok := c.text(roleHeader)
	if !ok {
		return errorf(BadHeader, "header is %s, want text", kind(c.entry(roleHeader).letter))
	}
	if facts.Header, ok = parseUUID(text); !ok {
		return errorf(BadHeader, "header is %s, want a UUID in lower case with hyphens", shown(text))
	}
	facts.Time = HeaderTime(facts.Header)
	return nil
}

func (c *Checker) checkPayload() *Error {
	if e := c.missing(rolePayload, KeyPayload, BadPayload); e != nil {
		return e
	}
	if e := c.entry(rolePayload); e.letter != 'd' {
		return errorf(BadPayload, "PayLoad is %s, want a dict", kind(e.letter))
	}
	return nil
}

// matches reports whether stated is the hash of text. The digest that it
// computed stays in c.hexed.
func (c *Checker) matches(stated, text []byte) bool {
	sum := sha256.Sum256(text)
	hex.Encode(c.hexed[:], sum[:])
	return bytes.Equal(stated, c.hexed[:])
}

// cp437 returns text in code page 437, and whether it differs from UTF-8 and
// can be had.
func (c *Checker) cp437(text []byte) ([]byte, bool) {
	if c.s.ascii || isASCII(text) {
		return text, false
	}
	var ok bool
	c.conv, ok = appendCP437(c.conv[:0], text)
	return c.conv, ok
}

func (c *Checker) checkHash() *Error {
	if e := c.missing(roleHash, KeyHash, MissingHash); e != nil {
		return e
	}
	stated, ok := c.text(roleHash)
	if !ok {
		return errorf(HashMismatch, "_Hash is %s, want text", kind(c.entry(roleHash).letter))
	}
	c.buf = c.appendValues(c.buf[:0])
	if c.matches(stated, c.buf) {
		return nil
	}
	says, gives := shownHashes(stated, c.hexed[:])
	detail := fmt.Sprintf("_Hash says %s, the content gives %s", says, gives)
	if text, ok := c.cp437(c.buf); ok {
		if c.matches(stated, text) {
			return nil
		}
		detail += fmt.Sprintf(" in UTF-8 and %s in code page 437", shownHash(c.hexed[:]))
	}
	for _, e := range c.entries {
		if key := string(c.bytes(e.key)); isExtra(key) {
			detail += fmt.Sprintf("; key %s is not one that clients write, and may have been added later", shown(key))
		}
	}
	return &Error{HashMismatch, detail}
}

func (c *Checker) checkStrength(facts *Facts, minStrength int) *Error {
	stated, _ := c.text(roleProof)
	facts.Strength = trailingZeros(stated)
	if facts.Strength < minStrength {
		return errorf(WeakProof, "_Proof %s ends in zeros: %d, want at least %d", shownHash(stated), facts.Strength, minStrength)
	}
	return nil
}

func (c *Checker) checkProof() *Error {
	stated, ok := c.text(roleProof)
	if !ok {
		return errorf(ProofMismatch, "_Proof is %s, want text", kind(c.entry(roleProof).letter))
	}
	if e := c.entry(rolePowRand); e != nil && e.letter != 'b' {
		return errorf(ProofMismatch, "_PowRand is %s, want bytes", kind(e.letter))
	}
	c.buf = c.buf[:0]
	for i := range c.entries {
		p := c.entries[i].python
		c.buf = append(c.buf, c.s.out[p.from:p.to]...)
	}
	text := c.buf
	if conv, ok := c.cp437(text); ok {
		text = conv
	}
	if !c.matches(stated, text) {
		says, gives := shownHashes(stated, c.hexed[:])
		return errorf(ProofMismatch, "_Proof says %s, content and _PowRand give %s", says, gives)
	}
	return nil
}

func (c *Checker) checkLink(facts *Facts) *Error {
	if c.entry(roleLink) == nil {
		return nil
	}
	stated, ok := c.text(roleLink)
	if !ok {
		return errorf(LinkMismatch, "_Link is %s, want text", kind(c.entry(roleLink).letter))
	}
	if c.entry(rolePrevHash) == nil {
		return errorf(LinkMismatch, "there is a _Link but no _PrevHash")
	}
	if prev, ok := c.text(rolePrevHash); !ok || !isDigest(prev) {
		return errorf(LinkMismatch, "_PrevHash is packed as %s, want 64 lower-case hex digits", shown(c.bytes(c.entry(rolePrevHash).item)))
	}
	c.buf = c.appendDict(c.buf[:0], notInLink)
	text := c.buf
	if conv, ok := c.cp437(text); ok {
		text = conv
	}
	if !c.matches(stated, text) {
		says, gives := shownHashes(stated, c.hexed[:])
		return errorf(LinkMismatch, "_Link says %s, content and _PrevHash give %s", says, gives)
	}
	facts.Linked = true
	return nil
}

func (c *Checker) contentID() ContentID {
	c.buf = c.appendDict(c.buf[:0], notInID)
	return sha256.Sum256(c.buf)
}

// appendValues appends what _Hash covers: the packed list of the values.
func (c *Checker) appendValues(dst []byte) []byte {
	count, points := 0, 0
	for i := range c.entries {
		if e := &c.entries[i]; !notInHash.has(e.role) {
			count++
			points += e.itemPoints
		}
	}
	dst = append(dst, "pg s1 'a' "...)
	dst = appendFrame(dst, 'a', headLen(count)+points)
	dst = appendHead(dst, count)
	for i := range c.entries {
		if e := &c.entries[i]; !notInHash.has(e.role) {
			dst = append(dst, e.letter)
		}
	}
	dst = append(dst, "' "...)
	for i := range c.entries {
		if e := &c.entries[i]; !notInHash.has(e.role) {
			dst = append(dst, c.bytes(e.item)...)
		}
	}
	return append(dst, "' "...)
}

// appendDict appends what _Link and the content ID cover: the packed dict
// without the keys of some roles.
func (c *Checker) appendDict(dst []byte, without roleSet) []byte {
	return c.appendTuples(dst, without, "")
}

// zeroReplicated is the tuple item of Replicated in every normal form.
const zeroReplicated = "t33 'pg s2 'si' s10 'Replicated' i4 0 ' "

// appendNormal appends the normal form.
func (c *Checker) appendNormal(dst []byte) []byte {
	return c.appendTuples(dst, roles(roleReplicated), zeroReplicated)
}

// appendTuples appends the packed dict of the entries, without those of some
// roles, and with a tuple in ASCII for Replicated unless that is empty.
func (c *Checker) appendTuples(dst []byte, without roleSet, replicated string) []byte {
	count, points := 0, len(replicated)
	if replicated != "" {
		count++
	}
	for i := range c.entries {
		if e := &c.entries[i]; !without.has(e.role) {
			count++
			points += e.tuplePoints
		}
	}
	list := headLen(count) + points
	dst = append(dst, "pg s1 'd' "...)
	dst = appendFrame(dst, 'd', len("pg s1 'a' ")+list+frameOverhead(list))
	dst = append(dst, "pg s1 'a' "...)
	dst = appendFrame(dst, 'a', list)
	dst = appendHead(dst, count)
	for range count {
		dst = append(dst, 't')
	}
	dst = append(dst, "' "...)
	for i := range c.entries {
		e := &c.entries[i]
		if replicated != "" && string(c.bytes(e.key)) > KeyReplicated {
			dst, replicated = append(dst, replicated...), ""
		}
		if !without.has(e.role) {
			dst = append(dst, c.bytes(e.tuple)...)
		}
	}
	dst = append(dst, replicated...)
	return append(dst, "' ' "...)
}

// headLen is the length of appendHead's text, n letters and the "' " behind.
func headLen(n int) int { return len("pg ") + frameOverhead(n) + n }

// Check is [Checker.Normalise] for one record.
func Check(packed []byte, minStrength int) (normal []byte, facts Facts, err error) {
	var c Checker
	return c.Normalise(packed, minStrength)
}

// ReasonOf returns the reason of the [*Error] in err, or "" where there is
// none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
