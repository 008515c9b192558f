package node

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/legacy/chainfile"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/legacytest"
	"pyvnode/node/accounts"
)

// moving is an import into a node of its own.
type moving struct {
	*Node
	LegacyImport
	problems []LegacyProblem
}

func newImporting(t *testing.T, private ...string) *moving {
	t.Helper()
	dir := t.TempDir()
	if _, _, err := FoundNetwork(t.Context(), dir, ledger.GenesisDoc{Strength: 1, PrivateKinds: private}); err != nil {
		t.Fatal(err)
	}
	i := &moving{Node: openNode(t, dir)}
	users, err := accounts.Open(dir, accounts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = users.Close() })
	i.Users, i.Dir = users, filepath.Join(dir, LegacyDir)
	i.Problem = func(p LegacyProblem) error {
		i.problems = append(i.problems, p)
		return nil
	}
	return i
}

// from imports a data directory.
func (i *moving) from(t *testing.T, ctx context.Context, dir string) (*LegacySummary, error) {
	t.Helper()
	root, err := dataroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	i.Root, i.problems = root, nil
	return i.ImportLegacy(ctx, i.LegacyImport)
}

const realRoot = "../legacy/testdata/dataroot.tar.gz"

// TestLegacyImportResumes interrupts an import, several times, and lets it go on.
func TestLegacyImportResumes(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	dir := legacytest.DataRoot(t, realRoot)
	stored := 0
	for stop := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		i.Progress = func(done uint64) {
			if done == uint64(200*(stop+1)) {
				cancel()
			}
		}
		sum, err := i.from(t, ctx, dir)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatal(sum, err)
		}
		if got := sum.Kinds["vote"]; got.Duplicates < stored && got.Stored > 0 || got.Bad() > 0 {
			t.Errorf("stored are %d, and now %+v", stored, got)
		}
		stored += sum.Kinds["vote"].Stored
		if count := int(i.RecordCountOf(t, "vote")); count != stored {
			t.Errorf("%d are stored, %d were reported", count, stored)
		}
	}
	i.Progress = nil
	sum, err := i.from(t, t.Context(), dir)
	if err != nil || len(i.problems) > 0 {
		t.Fatal(i.problems, err)
	}
	if got := sum.Kinds["vote"]; got.Duplicates != stored || got.Stored != 1001-stored || stored < 600 {
		t.Errorf("stored are %d, and now %+v", stored, got)
	}
	if sum.Users != (Taken{Same: 1}) || sum.Site != (Taken{Same: 1}) || sum.Keys != (Taken{Same: 1}) || sum.Files != (Taken{Same: 1}) {
		t.Errorf("%+v", sum)
	}
}

// TestLegacyImportRunning goes through a node that runs, and leaves out what that keeps in memory.
func TestLegacyImportRunning(t *testing.T) {
	dir := foundedFor(t)
	_, _ = legacyNode(t, dir, nil)
	c := dial(t, dir)
	w, err := c.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	users, err := accounts.Open(dir, accounts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = users.Close() }()
	root, err := dataroot.Open(legacytest.DataRoot(t, realRoot))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	var problems []LegacyProblem
	sum, err := w.ImportLegacy(t.Context(), LegacyImport{Root: root, Dir: filepath.Join(dir, LegacyDir), Users: users, Running: true,
		Problem: func(p LegacyProblem) error { problems = append(problems, p); return nil }})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if got := sum.Kinds["vote"]; got.Stored != 1001 || sum.Users.New != 1 || sum.Keys.New != 1 || sum.Files.New != 1 || sum.Site != (Taken{LeftOut: 1}) {
		t.Errorf("%+v, %+v", got, sum)
	}
	if len(problems) != 1 || problems[0].Status != LeftOut || !errors.Is(problems[0].Err, errRunning) {
		t.Errorf("%+v", problems)
	}
}

// chainOf writes a data directory with one chain.
func chainOf(t *testing.T, kind string, records ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "chain", kind)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	var chain, index bytes.Buffer
	w := chainfile.NewWriter(&chain, &index, nil)
	for _, packed := range records {
		r, err := record.Parse(packed)
		if err != nil {
			t.Fatal(err)
		}
		header, err := r.Header()
		if err := errors.Join(err, w.Add(header.String(), packed)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), os.WriteFile(filepath.Join(path, chainfile.Name), chain.Bytes(), 0o600),
		os.WriteFile(filepath.Join(path, chainfile.IndexName), index.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// twinOf returns a record with the same header and other content.
func twinOf(t *testing.T, packed []byte) []byte {
	t.Helper()
	r, err := record.Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	r.Payload().Set(record.Text("twin"), record.Text("yes"))
	if err := (record.Minter{Strength: 1}).Mint(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	normal, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	return normal
}

func (i *moving) statuses() (all []Status) {
	for _, p := range i.problems {
		if p.Finding.Reason == "" { // what cannot be read of the rest of the directory is not the matter here
			all = append(all, p.Status)
		}
	}
	return all
}

// TestLegacySetAside keeps private records out of the ledger, and all that were ever set aside.
func TestLegacySetAside(t *testing.T) {
	t.Parallel()
	i := newImporting(t, "voter")
	made := records(t, 5, 6)
	file := filepath.Join(i.Dir, SetAsideDir, "voter.pydb")
	held := func() (keys []string) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range chainfile.Read(bytes.NewReader(raw)) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, r.Key)
		}
		return keys
	}
	broken := bytes.Replace(made[3], []byte("None"), []byte("Some"), 1)
	sum, err := i.from(t, t.Context(), chainOf(t, "voter", made[0], made[1], broken))
	if got := sum.Kinds["voter"]; err != nil || !got.Private || got.Stored != 2 || got.Refused != 1 || !slices.Equal(i.statuses(), []Status{Refused}) {
		t.Fatal(got, i.problems, err)
	}
	sum, err = i.from(t, t.Context(), chainOf(t, "voter", twinOf(t, made[1]), made[0], made[2]))
	if got := sum.Kinds["voter"]; err != nil || got.Stored != 1 || got.Duplicates != 1 || got.Conflicts != 1 || !slices.Equal(i.statuses(), []Status{Conflict}) {
		t.Fatal(got, i.problems, err)
	}
	if got := held(); len(got) != 3 {
		t.Errorf("set aside are %v", got)
	}
	if n := i.RecordCountOf(t, "voter"); n != 0 || len(i.Kinds()) > 0 {
		t.Errorf("%d private records are published", n)
	}
	// Damage to what was set aside is not made worse.
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := raw[:len(raw)-1]
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = i.from(t, t.Context(), chainOf(t, "voter", made[4])); !errors.Is(err, chainfile.ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, damaged) {
		t.Error("a damaged file was changed", err)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Kinds is that of the node's store, not the list of what to import.
func (i *moving) Kinds() []string { return i.Node.Kinds() }

// TestLegacyImportProblems names every record that is not taken.
func TestLegacyImportProblems(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	made := records(t, 6, 4)
	if err := i.Users.Add(t.Context(), "admin", "other", accounts.Administrator); err != nil {
		t.Fatal(err)
	}
	if _, err := i.from(t, t.Context(), chainOf(t, "ballot", made[0])); err != nil {
		t.Fatal(err)
	}
	// Content that is no record's, another record with a header that is known, the same again, a rewritten one.
	broken := bytes.Replace(made[1], []byte("None"), []byte("Some"), 1)
	sum, err := i.from(t, t.Context(), chainOf(t, "ballot", broken, twinOf(t, made[0]), made[2], made[2]))
	got := sum.Kinds["ballot"]
	if err != nil || got.Stored != 1 || got.Refused != 1 || got.Conflicts != 1 || got.Older != 1 || !slices.Equal(i.statuses(), []Status{Refused, Conflict}) {
		t.Fatal(got, i.problems, err)
	}
	for _, p := range i.problems {
		if p.Finding.Reason == "" && (p.Finding.Offset == nil || *p.Finding.Offset < 32 || len(p.Finding.Header) != 36 || p.Finding.File != "chain/ballot/initial.pydb") {
			t.Errorf("no place: %+v", p)
		}
	}
	// A kind that no network can have.
	if sum, err = i.from(t, t.Context(), chainOf(t, "a b", made[3])); err != nil || sum.Kinds["a b"].Refused != 1 || len(i.statuses()) != 1 {
		t.Error(sum.Kinds["a b"], i.problems, err)
	}
	// A user of that name stays.
	sum, err = i.from(t, t.Context(), legacytest.DataRoot(t, realRoot))
	if err != nil || sum.Users != (Taken{LeftOut: 1}) || sum.Kinds["vote"].Stored != 1001 {
		t.Error(sum, err)
	}
	if len(i.problems) != 1 || !errors.Is(i.problems[0].Err, accounts.ErrUserExists) || errors.Is(i.problems[0].Err, accounts.ErrImported) {
		t.Errorf("%+v", i.problems)
	}
	// An error of the callback ends it.
	broken2 := errors.New("nobody reads")
	i.Problem = func(LegacyProblem) error { return broken2 }
	if _, err := i.from(t, t.Context(), chainOf(t, "ballot", broken)); !errors.Is(err, broken2) {
		t.Error(err)
	}
}

// TestLegacyImportDamaged imports damaged directories: truncated, with bits flipped, bytes lost or repeated, without an
// index or with another one, with records deleted. Nothing is invented: whatever is in the ledger was in the whole
// directory. Nothing is lost in silence: when records are missing, something is reported. And the whole directory makes good
// what is missing.
func TestLegacyImportDamaged(t *testing.T) {
	t.Parallel()
	dir := legacytest.DataRoot(t, realRoot)
	chainFile, indexFile := filepath.Join(dir, "chain/vote", chainfile.Name), filepath.Join(dir, "chain/vote", chainfile.IndexName)
	chain, err1 := os.ReadFile(chainFile)
	index, err2 := os.ReadFile(indexFile)
	rows, err3 := chainfile.ReadIndex(index)
	err4 := os.Remove(filepath.Join(dir, "chain/vote/initial.hash.id")) // a server makes it anew
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	const kept = 25
	chain, index = chain[:rows[kept].Offset], index[:32+8*kept]
	whole := map[string]bool{}
	for r, err := range chainfile.Read(bytes.NewReader(chain)) {
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := record.Parse(r.Packed)
		if err != nil {
			t.Fatal(err)
		}
		normal, err := parsed.Normal()
		if err != nil {
			t.Fatal(err)
		}
		whole[string(normal)] = true
	}
	if len(whole) != kept {
		t.Fatalf("%d records, want %d", len(whole), kept)
	}
	write := func(chain, index []byte) {
		err := errors.Join(os.WriteFile(chainFile, chain, 0o600), os.RemoveAll(indexFile))
		if index != nil {
			err = errors.Join(err, os.WriteFile(indexFile, index, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	random := rand.New(rand.NewPCG(3, 4))
	incomplete := 0
	for round := range 25 {
		broken, rows := bytes.Clone(chain), bytes.Clone(index)
		for range 1 + random.IntN(6) {
			at := random.IntN(len(broken))
			n := min(1+random.IntN(2000), len(broken)-at)
			switch random.IntN(8) {
			case 0, 1:
				broken[at] ^= 1 << random.IntN(8)
			case 2:
				broken = slices.Delete(broken, at, at+n)
			case 3:
				broken = slices.Insert(broken, at, bytes.Clone(broken[at:at+n])...)
			case 4:
				rows = nil
			case 5:
				broken = broken[:max(at, len(broken)/2)]
			case 6:
				for range 1 + n/100 {
					broken[at+random.IntN(n)] = byte(random.Int())
				}
			case 7: // deleted, as the original does it
				if start := bytes.LastIndex(broken[:at], []byte("RECB")); start >= 0 {
					copy(broken[start:], "RECX")
				}
			}
		}
		write(broken, rows)
		i := newImporting(t)
		sum, err := i.from(t, t.Context(), dir)
		if err != nil {
			t.Fatal(round, err)
		}
		held, counted := 0, sum.Kinds["vote"]
		for r, err := range (legacyLedger{node: i.Node}).All(t.Context(), "vote") {
			if err != nil {
				t.Fatal(err)
			}
			if held++; !whole[string(r.Packed)] {
				t.Errorf("round %d, invented: %.80q", round, r.Packed)
			}
		}
		if kinds := i.Kinds(); held != counted.Stored || len(kinds) > 1 {
			t.Errorf("round %d: %d records of kinds %v are held, %d were counted", round, held, kinds, counted.Stored)
		}
		if held < kept {
			incomplete++
			if len(i.problems) == 0 && counted.Deleted == 0 {
				t.Errorf("round %d: %d of %d records, and nothing is reported", round, held, kept)
			}
		}
		write(chain, index)
		sum, err = i.from(t, t.Context(), dir)
		if again := sum.Kinds["vote"]; err != nil || again.Stored != kept-held || again.Duplicates != held || len(i.problems) != 0 {
			t.Errorf("round %d: held are %d, and of the whole directory came %+v, %v, %v", round, held, again, i.problems, err)
		}
	}
	if incomplete < 12 {
		t.Errorf("only %d of the damaged directories lack records", incomplete)
	}
}
