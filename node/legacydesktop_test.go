package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pyvnode/ledger"
	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/legacytest"
)

// TestImportDesktop takes over what the original's desktop programs keep in a data directory: ballots as records, voters set
// aside even where no genesis document keeps them private, and everything else by name.
func TestImportDesktop(t *testing.T) {
	t.Parallel()
	for name, private := range map[string][]string{"voters are private": {"voter"}, "nothing is private": {"other"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := legacytest.DataRoot(t, "../legacy/testdata/gui_dataroot.tar.gz")
			for _, more := range []string{"audit.pydb", "qr.png", "unknown"} {
				if err := os.WriteFile(filepath.Join(root, more), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(filepath.Join(root, "payload", "gone"), 0o700); err != nil {
				t.Fatal(err)
			}
			i := desktopImport(t, root, private)
			for run, want := range []struct{ stored, same int }{{1, 0}, {0, 1}} {
				sum, problems := i.run(t)
				voters := sum.Kinds["voter"]
				if private[0] != "voter" {
					voters = sum.Kinds["voters.pydb"]
				}
				for kind, c := range map[string]struct {
					k *LegacyKind
					n int
				}{"ballot": {sum.Kinds["ballot"], 2}, "vote": {sum.Kinds["vote"], 7}, "voter": {voters, 5}} {
					if c.k == nil || c.k.Stored != c.n*want.stored || c.k.Duplicates != c.n*want.same || c.k.Bad() != 0 || c.k.Private != (kind == "voter") {
						t.Errorf("run %d, kind %s: %+v", run, kind, c.k)
					}
				}
				for _, file := range []string{"audit.pydb", "qr.png", "unknown", "payload/gone", "ballots.pidx", "chain/vote/replic.pydb"} {
					if !strings.Contains(problems, file+": not-taken: ") {
						t.Errorf("run %d: %s is not named in\n%s", run, file, problems)
					}
				}
			}
			if n := i.node.Count("voter"); n > 0 || i.node.Count("ballot") != 2 {
				t.Errorf("%d voters were published, and %d ballots", n, i.node.Count("ballot"))
			}
			raw, err := os.ReadFile(filepath.Join(i.dir, SetAsideDir, "voter.pydb"))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range legacy.ReadChain(bytes.NewReader(raw)) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != 5 {
				t.Errorf("%d voters were set aside", n)
			}
		})
	}
}

// TestImportCapsProblems tells so many problems of a file and counts the rest.
func TestImportCapsProblems(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "chain", "vote"), 0o700); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	w := legacy.NewChainWriter(&raw, nil, nil)
	for range 3 * dataroot.MaxTold {
		if err := w.Add("no header", []byte("no record")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.ReplaceAll(raw.Bytes(), []byte("no record"), []byte("no RECORD"))
	if err := os.WriteFile(filepath.Join(root, "chain/vote/initial.pydb"), spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, problems := desktopImport(t, root, nil).run(t)
	if k := sum.Kinds["vote"]; k == nil || k.Refused != 3*dataroot.MaxTold {
		t.Errorf("%+v", sum.Kinds["vote"])
	}
	lines := strings.Count(problems, "\n")
	if lines < dataroot.MaxTold || lines > dataroot.MaxTold+10 || !strings.Contains(problems, "chain/vote/initial.pydb: too-many: 2000 more in it, which are not listed") {
		t.Errorf("%d lines, the last: %s", lines, problems[max(0, len(problems)-300):])
	}
}

// desktop is a node into which a data directory is imported.
type desktop struct {
	node *Node
	dir  string
	root string
}

func desktopImport(t *testing.T, root string, private []string) *desktop {
	t.Helper()
	data := t.TempDir()
	if _, _, err := FoundNetwork(t.Context(), data, ledger.GenesisDoc{PrivateKinds: private}); err != nil {
		t.Fatal(err)
	}
	n, err := OpenForWriting(t.Context(), Options{Data: data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return &desktop{node: n, dir: filepath.Join(data, LegacyDir), root: root}
}

func (d *desktop) run(t *testing.T) (*LegacySummary, string) {
	t.Helper()
	users, err := OpenAccounts(Options{Data: filepath.Dir(d.dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = users.Close() }()
	root, err := dataroot.Open(d.root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	var problems strings.Builder
	sum, err := d.node.ImportLegacy(t.Context(), LegacyImport{Root: root, Dir: d.dir, Users: users, Problem: func(p LegacyProblem) error {
		problems.WriteString(p.Finding.String() + "\n")
		return nil
	}, Unused: func(f dataroot.Finding) error {
		problems.WriteString(f.String() + "\n")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return sum, problems.String()
}
