package legacy_test

import (
	"strings"
	"testing"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

// TestDuplicatePosition names the place of the record that is held, as the original does.
func TestDuplicatePosition(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	for n := range 3 {
		wantOK(t, p.Call(t, "rput", "vote", legacytest.Record(t, n)))
	}
	for _, n := range []int{2, 0, 1} {
		reply := p.Call(t, "rput", "vote", legacytest.Record(t, n))
		wantError(t, reply, "Duplicate block, not saved.")
		items := legacytest.Items(reply)
		if got := items[len(items)-1]; !legacytest.Equal(got, record.NewInt(int64(n))) {
			t.Errorf("record %d is said to be at %s", n, legacytest.Show(got))
		}
	}
}

// TestDataBeforeTheBeginning is refused in the original's words, and the upload goes on.
func TestDataBeforeTheBeginning(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	wantOK(t, p.Call(t, "file", "f"))
	for _, offset := range []any{-5, -1, "-5", record.Float(-1)} {
		wantReply(t, p.Call(t, "data", offset, []byte("x")), "['ERR', 'Cannot save data on server', 'data']")
	}
	wantOK(t, p.Call(t, "data", 0, []byte("whole")))
	wantOK(t, p.Call(t, "data", 5, []byte("")))
	if got, _ := p.Download(t, "f"); string(got) != "whole" {
		t.Errorf("the file holds %q", got)
	}
}

// TestUiniOrder says first that there are users, whatever else is wrong, as the original does.
func TestUiniOrder(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.dial(t)
	for _, args := range [][]any{{}, {"root"}, {"root", ""}, {"", ""}, {"root", "pw"}, {"a\x00", "pw"}} {
		wantReply(t, p.Call(t, append([]any{"uini"}, args...)...), "['ERR', 'Already has initial user', 'uini']")
	}
}

// TestNoTimeout refuses a time that would end the connection before the next command.
func TestNoTimeout(t *testing.T) {
	t.Parallel()
	p := start(t).dial(t)
	for _, seconds := range []any{0, "0", -1, 3601} {
		wantError(t, p.Call(t, "tout", seconds), "Timeout must be between 1 and 3600 seconds.")
	}
	wantOK(t, p.Call(t, "ver"))
	wantReply(t, p.Call(t, "tout"), "(['OK', 'Current timeout', '60'],)")
}

// TestListFromTheTop takes a slash in front for the user's own directory, in listings only, and leads nowhere else.
func TestListFromTheTop(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := w.login(t, "bob")
	wantOK(t, p.Call(t, "mkdir", "sub"))
	wantOK(t, p.Upload(t, "top", []byte("x")))
	wantOK(t, p.Upload(t, "sub/below", []byte("x")))
	wantOK(t, p.Call(t, "cd", "sub"))
	wantReply(t, p.Call(t, "ls"), "['OK', 'below']")
	for _, top := range []string{"/", "//", "/.", "/sub/.."} {
		wantReply(t, p.Call(t, "ls", top), "['OK', 'top']")
		wantReply(t, p.Call(t, "dir", top), "['OK', 'top']")
		wantReply(t, p.Call(t, "lsd", top), "['OK', 'sub']")
	}
	wantReply(t, p.Call(t, "ls", "/sub"), "['OK', 'below']")
	wantError(t, p.Call(t, "ls", "/etc"), "No such directory.")
	for _, out := range []string{"/..", "/../bobby", "/sub/../..", "/.part"} {
		wantError(t, p.Call(t, "ls", out), "No Access to directory.")
	}
	wantError(t, p.Call(t, "fget", "/top"), "No Access to directory.")
}

// TestLastAdministrator stays, so that there is always one who can let others in.
func TestLastAdministrator(t *testing.T) {
	t.Parallel()
	w := start(t)
	must(t, w.accounts.Add(t.Context(), "boss", "pw", legacy.Administrator))
	boss := w.login(t, "boss")
	w.accounts.Last = "boss"
	wantReply(t, boss.Call(t, "uena", "boss", "disable"), "('ERR', 'Cannot disable the only administrator', 'boss')")
	wantReply(t, boss.Call(t, "udel", "boss"), "['ERR', 'Cannot delete the only administrator', 'boss']")
	wantOK(t, boss.Call(t, "pwd"))
}

// TestWhatCannotGoBack refuses records that no original server could be given again, as the original does or in words that say
// more: without one of the times, which are in every record of the original; and under a header in another form than the one by
// which the ledger names records.
func TestWhatCannotGoBack(t *testing.T) {
	t.Parallel()
	p := start(t).login(t, "bob")
	for _, key := range []string{record.KeyNow, record.KeyStamp, record.KeyISO} {
		r := legacytest.Record(t, 1)
		r.Delete(record.Text(key))
		rehash(t, r)
		wantReply(t, p.Call(t, "rput", "vote", r), "['ERR', 'Error on block hash.', 'rput']")
	}
	header, _ := legacytest.Record(t, 1).Get(record.Text(record.KeyHeader))
	text := string(header.(record.Text))
	for _, form := range []string{strings.ToUpper(text), strings.ReplaceAll(text, "-", ""), "{" + text + "}", "urn:uuid:" + text} {
		r := legacytest.Record(t, 1)
		r.Set(record.Text(record.KeyHeader), record.Text(form))
		rehash(t, r)
		wantReply(t, p.Call(t, "rput", "vote", r), "['ERR', 'Header must be a UUID in small letters, with hyphens, not saved', 'rput']")
	}
	wantReply(t, p.Call(t, "rsize", "vote"), "['OK', 0, 'records']")
	wantError(t, p.Call(t, "rput", "town council", legacytest.Record(t, 1)), "A kind is 1 to 64 letters, digits")
	wantError(t, p.Call(t, "rsize", "town council"), "Directory does not exist.")
}

// rehash makes a record's hash and proof right again; the proof is as weak as it happens to be, which is looked at later.
func rehash(t *testing.T, r *record.Dict) {
	t.Helper()
	packed, err := record.AppendPack(nil, r)
	must(t, err)
	parsed, err := record.Parse(packed)
	must(t, err)
	hash, err := parsed.ComputeHash()
	must(t, err)
	r.Set(record.Text(record.KeyHash), record.Text(hash))
}
