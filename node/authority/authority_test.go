package authority

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pyvnode/ledger/record"
	"pyvnode/node/accounts"
)

// fields makes a payload of names and values.
func fields(pairs ...string) *record.Dict {
	d := &record.Dict{}
	for i := 0; i < len(pairs); i += 2 {
		d.Set(record.Text(pairs[i]), record.Text(pairs[i+1]))
	}
	return d
}

// pack makes a packed record of a payload. Nothing here looks at its hash.
func pack(tb testing.TB, payload *record.Dict) []byte {
	tb.Helper()
	d := &record.Dict{}
	d.Set(record.Text(record.KeyHeader), record.Text("37e108b0-e613-11f1-aa1b-02fc00000001"))
	if payload != nil {
		d.Set(record.Text(record.KeyPayload), payload)
	}
	packed, err := record.AppendPack(nil, d)
	if err != nil {
		tb.Fatal(err)
	}
	return packed
}

const (
	all      = "all"  // everybody may
	nodeOnly = "node" // nobody may
)

// TestTable is the whole of who may write what: each record, by each role alone, by none, and by the operator. The ballot "S"
// and the buuid "s" are served.
func TestTable(t *testing.T) {
	t.Parallel()
	served := func(ballot, buuid string) bool { return ballot == "S" || ballot == "" && buuid == "s" }
	withQuestions := fields("title", "x")
	withQuestions.Set(record.Text("questions"), record.List{})
	oddAction := (&record.Dict{}).Set(record.Text("Action"), record.NewInt(1))
	bytesAction := (&record.Dict{}).Set(record.Text("Action"), record.Bytes("view"))
	oddBallot := fields("Action", "register").Set(record.Text("ballot"), record.NewInt(0))
	for _, c := range []struct {
		kind    string
		payload *record.Dict
		want    string // roles with commas between them, or all, or node
	}{
		{"charity", fields("Action", "register", "ballot", "b"), all},
		{"ballots", fields("Action", "define"), all},
		{"Ballot", fields("Action", "define"), all},
		{"ballot", nil, all},
		{"ballot", fields(), all},
		{"ballot", fields("name", "Mayor", "can1", "A", "can8", "H"), all}, // as the original makes it
		{"ballot", fields("action", "define"), all},
		{"ballot", withQuestions, "officer"},
		{"ballot", fields("Action", "define"), "officer"},
		{"ballot", fields("Action", "serve"), "officer"},
		{"ballot", fields("Action", "open"), "officer"},
		{"ballot", fields("Action", "closing"), "officer"},
		{"ballot", fields("Action", "close"), "officer"},
		{"ballot", fields("Action", "result"), "officer"},
		{"ballot", fields("Action", ""), "officer"},
		{"ballot", fields("Action", "new one"), "officer"},
		{"ballot", oddAction, "officer"},
		{"ballot", fields("Action", "shut"), nodeOnly},
		{"ballot", fields("Action", "view"), nodeOnly},
		{"ballot", bytesAction, nodeOnly},
		{"ballot", fields("Action", "view", "questions", ""), nodeOnly},
		{"witness", nil, nodeOnly},
		{"witness", fields("x", "y"), nodeOnly},

		{"vote", nil, all},
		{"vote", fields("buuid", "b", "nuuid", "n", "vprim", "A"), all}, // as the original makes it
		{"vote", fields("Action", "register", "buuid", "b"), all},
		{"vote", fields("Action", "unregister", "buuid", "b"), all},
		{"vote", fields("Action", "withdraw", "buuid", "b"), all},
		{"vote", fields("Action", "register", "ballot", "b"), "officer"},
		{"vote", fields("Action", "register", "ballot", ""), "officer"},
		{"vote", oddBallot, "officer"},
		{"vote", fields("Action", "register", "ballot", "b", "sig", "x"), "officer"}, // a signature of a card registers nobody
		{"vote", fields("Action", "register", "ballot", "S"), "officer"},
		{"vote", fields("Action", "withdraw", "ballot", "b"), "officer,desk"},
		{"vote", fields("Action", "withdraw", "ballot", "b", "sig", ""), "officer,desk"},
		{"vote", fields("Action", "withdraw", "ballot", "b", "sig", "x"), all},
		{"vote", fields("Action", "unregister", "ballot", "b"), "officer,desk"},
		{"vote", fields("Action", "withdraw", "ballot", "S"), "desk"},
		{"vote", fields("Action", "withdraw", "ballot", "S", "sig", "x"), all},
		{"vote", fields("Action", "cast", "ballot", "b"), all},
		{"vote", fields("Action", "cast", "ballot", "S"), "desk"},
		{"vote", fields("Action", "cast", "ballot", "S", "sig", "x"), all},
		{"vote", fields("Action", "uncast", "ballot", "S"), "desk"},
		{"vote", fields("Action", "challenge", "ballot", "S", "code", "x"), all},
		{"vote", fields("vprim", "A", "buuid", "s"), "desk"},
		{"vote", fields("Action", "unregister", "buuid", "s"), "desk"},
		{"vote", fields("Action", "register", "buuid", "s"), all},

		{"book", nil, "treasurer"},
		{"book", fields("Action", "create"), "treasurer"},
		{"book", fields("Action", "approve"), "treasurer"},
		{"book", fields("sig", "x"), "treasurer"},
	} {
		packed := pack(t, c.payload)
		name := fmt.Sprintf("%s %v", c.kind, c.payload)
		authors := []Author{{Who: "nobody"}, Operator()}
		for _, role := range accounts.RoleNames() {
			r, err := accounts.ParseRole(role)
			if err != nil {
				t.Fatal(err)
			}
			authors = append(authors, Author{Who: role, Roles: r})
		}
		for _, by := range authors {
			may := c.want == all
			if c.want != nodeOnly && c.want != all {
				may = by.Operator
				for want := range strings.SplitSeq(c.want, ",") {
					may = may || by.Who == want
				}
			}
			err := Check(by, c.kind, packed, served)
			var denied *DeniedError
			if may != (err == nil) || err != nil && !errors.As(err, &denied) {
				t.Errorf("%s by %s: %v, want may %v", name, by.Who, err, may)
			}
		}
	}
}

// TestNothingServed: without desks a vote without a signature is everybody's, as it was before there were any.
func TestNothingServed(t *testing.T) {
	t.Parallel()
	packed := pack(t, fields("Action", "cast", "ballot", "S"))
	if err := Check(Author{}, "vote", packed, nil); err != nil {
		t.Error(err)
	}
}

// TestDeniedError: the words name what is missing, and hold little of what a stranger wrote.
func TestDeniedError(t *testing.T) {
	t.Parallel()
	err := Check(Author{}, "ballot", pack(t, fields("Action", strings.Repeat("ä", 5000)+"\x1b[2J")), nil)
	if err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "officer") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("error %q", err)
	}
	err = Check(Author{}, "vote", pack(t, fields("Action", "withdraw", "ballot", "b")), nil)
	if err == nil || !strings.HasSuffix(err.Error(), "needs the role officer or desk") {
		t.Errorf("error %v", err)
	}
	err = Check(Operator(), "ballot", pack(t, fields("Action", "view")), nil)
	if err == nil || !strings.Contains(err.Error(), "written by the node itself only") {
		t.Errorf("error %v", err)
	}
}
