package legacy_test

import (
	"testing"

	"pyvnode/legacy"
)

// TestUserLists has what `pyvcli_uman` shows with an original server: who is disabled is no plain user, and names are
// written as the original keeps them.
func TestUserLists(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.login(t, "admin")
	for _, name := range []string{"anna", "locked", "a,b c", `it's "100%"`, "投票"} {
		wantOK(t, admin.Call(t, "uadd", name, "pw"))
	}
	wantOK(t, admin.Call(t, "aadd", "boss", "pw"))
	wantOK(t, admin.Call(t, "uena", "locked", "disable"))
	must(t, w.accounts.Add(t.Context(), "peer", "pw", legacy.Replicator))
	for list, want := range map[string]string{
		"user":       `['a%2cb%20c', 'anna', 'bob', 'it%27s%20%22100%%%22', '投票']`,
		"admin":      `['admin', 'boss']`,
		"initial":    `['admin']`,
		"disabled":   `['locked']`,
		"replicator": `['peer']`,
	} {
		wantReply(t, admin.Call(t, "ulist", list), want)
	}
}
