package node

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pyvnode/ledger"
	"pyvnode/ledger/ledgertest"
	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
	"pyvnode/node/accounts"
	"pyvnode/node/authority"
)

// texts makes a payload of names and values.
func texts(pairs ...string) *record.Dict {
	d := new(record.Dict)
	for i := 0; i < len(pairs); i += 2 {
		d.Set(record.Text(pairs[i]), record.Text(pairs[i+1]))
	}
	return d
}

var lastFresh atomic.Uint64

// fresh makes a record that nobody holds yet.
func fresh(t *testing.T, payload *record.Dict) []byte {
	t.Helper()
	n := lastFresh.Add(1)
	random := ledgertest.NewRand(1<<32 + n)
	r, err := record.New(payload, time.Unix(1795310564+int64(n), 0), random)
	must(t, err)
	must(t, (record.Minter{Strength: 1, Workers: 1, Rand: random}).Mint(t.Context(), r))
	normal, err := r.Normal()
	must(t, err)
	return normal
}

// TestAuthority puts records of every sort by every way into a node that runs, and checks who is let through: users of the
// original protocol by their role, the operator through the socket and from his directory, an original server's records that
// are fetched, and those of its data directory.
func TestAuthority(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortTemp(t), "node")
	_, _, err := FoundNetwork(t.Context(), dir, ledger.GenesisDoc{Strength: 1, MaxHops: 1})
	must(t, err)
	alone := newNode(t)
	var log syncedBuffer
	r, address := legacyNode(t, dir, func(o *RunOptions) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	users, err := accounts.Open(dir, accounts.Options{})
	must(t, err)
	defer func() { _ = users.Close() }()

	ways := map[string]func(kind string, packed []byte) error{
		"operator, socket": func(kind string, packed []byte) error {
			w, err := dial(t, dir).Writer(t.Context())
			must(t, err)
			_, err = w.WriteOne(t.Context(), Input{Kind: kind, Text: packed})
			must(t, w.Close())
			return err
		},
		"operator, directory": func(kind string, packed []byte) error {
			_, err := alone.WriteOne(t.Context(), Input{Kind: kind, Text: packed})
			return err
		},
		"fetched": func(kind string, packed []byte) error {
			return replicated{legacyLedger{r.node, r.log, r.users}}.Put(t.Context(), kind, packed, 1)
		},
		"data directory": func(kind string, packed []byte) error {
			var problem error
			i := newImporting(t)
			i.Problem = func(p LegacyProblem) error { problem = p.Err; return nil }
			_, err := i.from(t, t.Context(), chainOf(t, kind, packed))
			return errors.Join(err, problem)
		},
	}
	for _, role := range append(accounts.RoleNames(), "none") {
		if role == "replicator" {
			must(t, users.AddReplicator(t.Context(), role, "pw", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}))
		} else {
			must(t, users.Add(t.Context(), role, "pw", 0))
		}
		if given, err := accounts.ParseRole(role); err == nil {
			_, err := users.ChangeRoles(t.Context(), role, given, 0)
			must(t, err)
		}
		p := legacytest.Dial(t, address)
		p.Login(t, role, "pw")
		ways["user "+role] = func(kind string, packed []byte) error {
			parsed, err := record.Parse(packed)
			must(t, err)
			reply := p.Call(t, "rput", kind, parsed.Dict())
			if legacytest.IsOK(reply) {
				return nil
			}
			text := legacytest.Show(reply)
			if !legacytest.IsError(reply) || !strings.Contains(text, "Not saved: ") {
				t.Errorf("rput %s by %s answers %s", kind, role, text)
			}
			return errors.New(text)
		}
	}

	operator := []string{"operator, socket", "operator, directory"}
	for _, c := range []struct {
		kind    string
		payload *record.Dict
		may     []string // nil for everybody
	}{
		{"charity", texts("Action", "register", "ballot", "b"), nil},
		{"ballot", texts("name", "Mayor", "can1", "A"), nil},
		{"vote", texts("buuid", "b", "vprim", "A"), nil},
		{"vote", texts("Action", "register", "buuid", "b"), nil},
		{"vote", texts("Action", "withdraw", "ballot", "b", "sig", "x"), nil},
		{"ballot", texts("Action", "open"), append([]string{"user officer"}, operator...)},
		{"ballot", texts("questions", "x"), append([]string{"user officer"}, operator...)},
		{"vote", texts("Action", "register", "ballot", "b"), append([]string{"user officer"}, operator...)},
		{"vote", texts("Action", "withdraw", "ballot", "b"), append([]string{"user officer", "user desk"}, operator...)},
		{"book", texts("Action", "create"), append([]string{"user treasurer"}, operator...)},
		{"ballot", texts("Action", "shut"), []string{}},
		{"ballot", texts("Action", "view"), []string{}},
		{"witness", texts(), []string{}},
	} {
		for way, put := range ways {
			before := r.node.RecordCountOf(t, c.kind)
			packed := fresh(t, c.payload)
			err := put(c.kind, packed)
			may := c.may == nil || slices.Contains(c.may, way)
			if may != (err == nil) {
				t.Errorf("%s %v by %s: %v, want may %v", c.kind, c.payload, way, err, may)
			}
			if err != nil && !strings.Contains(err.Error(), "role") && !strings.Contains(err.Error(), "by the node itself") {
				t.Errorf("%s by %s: %v does not say why", c.kind, way, err)
			}
			if after := r.node.RecordCountOf(t, c.kind); err != nil && after != before {
				t.Errorf("%s %v by %s: refused, and stored", c.kind, c.payload, way)
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "a record was refused for want of a role") || !strings.Contains(text, "by=none") {
		t.Errorf("the log does not say who was refused: %s", text)
	}
}

// TestAuthorityHeld: what the node holds already is a duplicate whoever brings it, as it comes back from original servers that
// it was sent to, and would block the queue of one whose replicator is refused.
func TestAuthorityHeld(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	packed := fresh(t, texts("Action", "create"))
	_, err := n.WriteOne(t.Context(), Input{Kind: "book", Text: packed})
	must(t, err)
	l := legacyLedger{n, slog.New(slog.DiscardHandler), nil}
	if err := l.Put(t.Context(), "book", packed, 1); !errors.Is(err, legacy.ErrDuplicate) {
		t.Errorf("error %v", err)
	}
}

// TestAuthorityNow: a role that is taken away is gone at once, also for somebody who is logged in, and one of somebody else who
// has the name since is not his.
func TestAuthorityNow(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	users, err := accounts.Open(t.TempDir(), accounts.Options{})
	must(t, err)
	defer func() { _ = users.Close() }()
	must(t, users.Add(t.Context(), "anna", "pw", 0))
	u, err := users.ChangeRoles(t.Context(), "anna", accounts.Treasurer, 0)
	must(t, err)
	l := legacyLedger{n, slog.New(slog.DiscardHandler), users}
	as := func(u accounts.User) context.Context {
		return legacy.WithRequester(t.Context(), legacy.Requester{User: legacy.User{Name: u.Name, Generation: u.Generation}})
	}
	must(t, l.Put(as(u), "book", fresh(t, texts("n", "1")), 0))
	_, err = users.ChangeRoles(t.Context(), "anna", 0, accounts.Treasurer)
	must(t, err)
	_, err = users.ChangeRoles(t.Context(), "anna", accounts.Treasurer, 0)
	must(t, err)
	if err := l.Put(as(u), "book", fresh(t, texts("n", "2")), 0); !errors.As(err, new(*legacy.RefusedError)) {
		t.Errorf("a session from before: %v", err)
	}
	if err := l.Put(as(accounts.User{}), "book", fresh(t, texts("n", "3")), 0); !errors.As(err, new(*legacy.RefusedError)) {
		t.Errorf("nobody: %v", err)
	}
}

// TestDeniedCarried: the error arrives over the local API as what it was.
func TestDeniedCarried(t *testing.T) {
	t.Parallel()
	want := &authority.DeniedError{Kind: "ballot", Action: "view", NodeOnly: true}
	var got *authority.DeniedError
	if err := toAPIError(want).error(); !errors.As(err, &got) || *got != *want {
		t.Errorf("%v became %v", want, got)
	}
}
