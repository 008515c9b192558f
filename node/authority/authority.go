// Package authority says who may write which record on one node. It is the only place that does.
//
// A node signs what it is given, and everybody holds its party to account for it. Most records say
// only what one person says: every user who may log in can put them. Some speak for the party: they
// found a ballot, register a voter, cast for a voter at a desk, or move money in a book. These
// carry authority, and are taken from accounts with the right role only, whatever way they come.
// Three sorts are written by the node itself when its rules say so, and taken from nobody, because
// what others prove with them rests on the node having followed the rules.
//
//	kind     what                                                    who
//	ballot   with Action shut or view                                the node itself
//	ballot   with another Action, or with questions                  officer
//	vote     register, if it names a ballot                          officer
//	vote     withdraw or unregister of a ballot, no card's signature officer or desk; only desk for a served ballot
//	vote     of a served ballot, no card's signature, no challenge   desk
//	book     all                                                     treasurer
//	witness  all                                                     the node itself
//	all else                                                         everybody who may log in
//
// A record names a ballot when it has a field "ballot", whatever is in it. The programs of the
// original server write no such field, and their ballots have neither Action nor questions, so what
// they make carries no authority and stays open to all; at a desk that serves a ballot a vote
// counts by the desk's word, so there it needs the desk's role.
//
// The way in decides only whose record it is: the operator, who has the node's key and needs no
// role, on the command line and its socket; a user with his roles, in the original protocol;
// nobody, for what is fetched from an original server or found in its data directory, since it
// cannot be told who put it there.
package authority

import (
	"fmt"
	"strings"

	"pyvnode/ledger/record"
	"pyvnode/node/accounts"
)

// Author is who brings a record. The zero Author has no rights but everybody's.
type Author struct {
	Who      string // for logs
	Operator bool   // the owner of the node's key: has every role
	Roles    accounts.Roles
}

// Operator returns the one who works with the node's own key.
func Operator() Author { return Author{Who: "operator", Operator: true} }

// Need says what a record asks of whoever brings it. The zero Need asks nothing.
type Need struct {
	Action   string         // the record's
	Roles    accounts.Roles // any of these is enough; none means that everybody may
	NodeOnly bool           // the node itself, and nobody else
}

// None reports whether everybody may.
func (n Need) None() bool { return n.Roles == 0 && !n.NodeOnly }

// Served reports whether the node serves a ballot as a desk, by the content ID of its definition or, where that is empty, by
// the uuid that the original's programs know. A nil Served serves none.
type Served func(ballot, buuid string) bool

// The kinds and the fields that decide.
const (
	kindBallot  = "ballot"
	kindVote    = "vote"
	kindBook    = "book"
	kindWitness = "witness"

	fieldAction    = record.Text("Action")
	fieldQuestions = record.Text("questions")
	fieldBallot    = record.Text("ballot")
	fieldBUUID     = record.Text("buuid")
	fieldSignature = record.Text("sig")
)

// Needs says what a record asks, by its kind and its payload; a record without a payload has a nil one.
func Needs(kind string, payload *record.Dict, served Served) Need {
	switch kind {
	case kindBallot:
		return ballotNeeds(payload)
	case kindVote:
		return voteNeeds(payload, served)
	case kindBook:
		return Need{Action: text(payload, fieldAction), Roles: accounts.Treasurer}
	case kindWitness:
		return Need{NodeOnly: true}
	}
	return Need{}
}

func ballotNeeds(payload *record.Dict) Need {
	need := Need{Action: text(payload, fieldAction)}
	switch {
	case need.Action == "shut" || need.Action == "view":
		need.NodeOnly = true
	case has(payload, fieldAction) || has(payload, fieldQuestions):
		need.Roles = accounts.Officer
	}
	return need
}

func voteNeeds(payload *record.Dict, served Served) Need {
	need := Need{Action: text(payload, fieldAction)}
	named := has(payload, fieldBallot)
	here := served != nil && served(text(payload, fieldBallot), text(payload, fieldBUUID))
	switch {
	case need.Action == "register":
		if named {
			need.Roles = accounts.Officer
		}
	case signed(payload), need.Action == "challenge": // a voter's own word; a challenge changes no count
	case here:
		need.Roles = accounts.Desk
	case named && (need.Action == "withdraw" || need.Action == "unregister"):
		need.Roles = accounts.Officer | accounts.Desk
	}
	return need
}

// signed reports whether a record claims to carry a card's statement. Such a record says nothing but what is signed, so a false
// claim gains nothing: the statement is refused in every count.
func signed(payload *record.Dict) bool { return text(payload, fieldSignature) != "" }

func has(payload *record.Dict, key record.Text) bool {
	_, found := payload.Get(key)
	return found
}

// text returns a field that is text or bytes; empty for all others.
func text(payload *record.Dict, key record.Text) string {
	switch v, _ := payload.Get(key); v := v.(type) {
	case record.Text:
		return string(v)
	case record.Bytes:
		return string(v)
	}
	return ""
}

// Check returns a [*DeniedError] when a record may not be written by whoever brings it. The packed record must be one that
// can be read; it is read only where its kind can carry authority.
func Check(by Author, kind string, packed []byte, served Served) error {
	switch kind {
	case kindBallot, kindWitness:
	case kindVote, kindBook:
		if by.Operator {
			return nil
		}
	default:
		return nil
	}
	r, err := record.Parse(packed)
	if err != nil {
		return err
	}
	need := Needs(kind, r.Payload(), served)
	switch {
	case need.None(), !need.NodeOnly && (by.Operator || by.Roles.Any(need.Roles)):
		return nil
	}
	return &DeniedError{Kind: kind, Action: clip(need.Action), Roles: need.Roles, NodeOnly: need.NodeOnly}
}

// DeniedError says that a record carries authority that whoever brings it lacks.
type DeniedError struct {
	Kind     string         `json:"kind"`
	Action   string         `json:"action,omitempty"` // of at most 32 characters
	Roles    accounts.Roles `json:"roles"`            // any of these would be enough
	NodeOnly bool           `json:"node_only,omitempty"`
}

func (e *DeniedError) Error() string {
	what := fmt.Sprintf("a record of kind %q", e.Kind)
	if e.Action != "" {
		what += fmt.Sprintf(" with Action %q", e.Action)
	}
	if e.NodeOnly {
		return "such records are written by the node itself only: " + what
	}
	return fmt.Sprintf("it speaks for the party of this node (%s), and needs the role %s", what, strings.Join(e.Roles.Names(), " or "))
}

func clip(text string) string {
	const most = 32
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
