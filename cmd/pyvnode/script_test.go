package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pyvnode":     main,
		"whilelocked": whileLocked,
	})
}

// TestScripts runs the command line as a user types it. The commands that the scripts use beside those of testscript
// are below.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("USERPROFILE", home)
			env.Setenv("XDG_CONFIG_HOME", "")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each process would wait a second at its end
			testdata, err := filepath.Abs("testdata")
			if err != nil {
				return err
			}
			env.Setenv("TESTDATA", testdata)
			env.Values[processesKey{}] = &processes{named: map[string]*process{}}
			return os.Mkdir(home, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"field":     field,
			"vectors":   vectors,
			"chainfile": chainFile,
			"dataroot":  dataRoot,
			"flip":      flip,
			"cut":       cut,
			"twin":      twin,
			"copydir":   copyDir,
			"tree":      tree,
			"long":      long,
			"moment":    moment,
			"logsin":    logsIn,
			"bytes":     writeBytes,
			"encode":    encode,
			"fits":      fits,
			"shown":     shown,

			"evilgenesis": evilGenesis,

			"startnode":  startNode,
			"stopnode":   stopNode,
			"killnode":   killNode,
			"hangup":     hangUp,
			"waits":      waits,
			"until":      until,
			"socketpath": socketPath,
		},
	})
}

// whileLocked holds the data directory $1 open while it runs the rest of its arguments, and exits as they do.
func whileLocked() {
	d, _, err := store.OpenDir(context.Background(), os.Args[1], store.DirOptions{})
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if err := d.Close(); err != nil {
		panic(err)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		panic(err)
	}
}

// exits CODE COMMAND … runs a command that must end with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// field NAME KEY sets an environment variable to a member of the first line of JSON on standard output.
func field(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(line), &object))
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("no %q in %s", args[1], line)
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// vectors writes the records that the original server made: valid.txt and variants.txt in packed form, valid.ndjson as
// JSON, and valid.kinds with their kind.
func vectors(ts *testscript.TestScript, _ bool, _ []string) {
	raw, err := os.ReadFile(filepath.Join(ts.Getenv("TESTDATA"), "records.json"))
	ts.Check(err)
	var v struct {
		ValidChain []struct{ Packed string } `json:"valid_chain"`
		Variants   []struct{ Packed string }
	}
	ts.Check(json.Unmarshal(raw, &v))
	var valid, lines, kinds, variants strings.Builder
	for _, r := range v.ValidChain {
		fmt.Fprintln(&valid, r.Packed)
		parsed, err := record.Parse([]byte(r.Packed))
		ts.Check(err)
		line, err := parsed.MarshalJSON()
		ts.Check(err)
		fmt.Fprintf(&lines, "%s\n", line)
		fmt.Fprintf(&kinds, "{\"kind\":\"vote\",\"record\":%s}\n", line)
	}
	for _, r := range v.Variants {
		fmt.Fprintln(&variants, r.Packed)
	}
	for name, text := range map[string]string{
		"valid.txt": valid.String(), "valid.ndjson": lines.String(), "valid.kinds": kinds.String(), "variants.txt": variants.String(),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

// chainfile OUT writes the chain file of the votes that an original server left.
func chainFile(ts *testscript.TestScript, _ bool, args []string) {
	unpack(ts, "dataroot", func(name string, raw []byte) {
		if name == "chain/vote/initial.pydb" {
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o644))
		}
	})
}

// dataroot DIR [ARCHIVE] writes the whole data directory that an original server left, or the one of another archive.
func dataRoot(ts *testscript.TestScript, _ bool, args []string) {
	archive := "dataroot"
	if len(args) > 1 {
		archive = args[1]
	}
	unpack(ts, archive, func(name string, raw []byte) {
		path := filepath.Join(ts.MkAbs(args[0]), name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, raw, 0o644))
	})
}

// unpack visits the files of the data directory that an original server left.
func unpack(ts *testscript.TestScript, archive string, visit func(name string, raw []byte)) {
	packed, err := os.Open(filepath.Join(ts.Getenv("TESTDATA"), "../../../legacy/testdata", archive+".tar.gz"))
	ts.Check(err)
	defer func() { _ = packed.Close() }()
	plain, err := gzip.NewReader(packed)
	ts.Check(err)
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if err == io.EOF {
			return
		}
		ts.Check(err)
		if header.Typeflag != tar.TypeReg {
			continue
		}
		raw, err := io.ReadAll(files)
		ts.Check(err)
		visit(path.Clean(header.Name), raw)
	}
}

// flip FILE TEXT changes one bit in the last occurrence of a text in a file, flip FILE @N in its byte N; without either, in
// the middle of the file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	raw := []byte(ts.ReadFile(args[0]))
	at := len(raw) / 2
	if len(args) > 1 {
		number, byNumber := strings.CutPrefix(args[1], "@")
		if at = strings.LastIndex(string(raw), args[1]); byNumber {
			var err error
			at, err = strconv.Atoi(number)
			ts.Check(err)
		}
		if at < 0 || at >= len(raw) {
			ts.Fatalf("no %q in %s", args[1], args[0])
		}
	}
	raw[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o644))
}

// cut FILE N takes the last bytes off a file.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(len(ts.ReadFile(args[0]))-n)))
}

// twin IN OUT makes another record with the same kind and header as the one in a line.
func twin(ts *testscript.TestScript, _ bool, args []string) {
	l, err := ledger.ParseJSONLine([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	l.Record.Payload().Set(record.Text("twin"), record.Text("yes"))
	ts.Check(record.Minter{Strength: 1}.Mint(context.Background(), l.Record))
	line, err := ledger.AppendJSONLine(nil, l)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), line, 0o644))
}

// copydir FROM TO copies a directory, in place of one that is there.
func copyDir(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(ts.MkAbs(args[1])))
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// tree DIR OUT lists the files of a directory with their sizes.
func tree(ts *testscript.TestScript, _ bool, args []string) {
	var out strings.Builder
	ts.Check(fs.WalkDir(os.DirFS(ts.MkAbs(args[0])), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&out, path, info.Size())
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o644))
}

// long FILE N writes a line of N letters.
func long(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat("x", n)+"\n"), 0o644))
}

// bytes FILE TEXT writes a text, in which Go's escapes stand for any bytes.
func writeBytes(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// encode FORM IN OUT writes a text with a byte order mark (bom), in UTF-16 of either order (utf16le, utf16be), or
// compressed (gzip).
func encode(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[1])
	var out []byte
	switch args[0] {
	case "bom":
		out = []byte("\ufeff" + text)
	case "utf16le", "utf16be":
		for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
			if args[0] == "utf16le" {
				out = append(out, byte(unit), byte(unit>>8))
			} else {
				out = append(out, byte(unit>>8), byte(unit))
			}
		}
	case "gzip":
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := io.WriteString(w, text)
		ts.Check(errors.Join(err, w.Close()))
		out = b.Bytes()
	default:
		ts.Fatalf("no form %q", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out, 0o600))
}

// evilgenesis FILE PEERID writes a genesis document with a name that a terminal should not get to see.
func evilGenesis(ts *testscript.TestScript, _ bool, args []string) {
	member, err := ledger.ParseOrigin(args[1])
	ts.Check(err)
	g, err := ledger.NewGenesis(ledger.GenesisDoc{
		Format: ledger.GenesisFormat, Name: "Wahl\n2026 \x1b[2J\u202e選挙\u2028 of many words", Nonce: make([]byte, 16), Members: []ledger.Origin{member}, Strength: 1,
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), g.Bytes(), 0o600))
}

// shown FILE … checks that a terminal shows what stands in files as it is; ! shown, that it does not.
func shown(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		if text := ts.ReadFile(file); (printableLines(text) != text) != neg {
			ts.Fatalf("%s: a terminal does not show this as it is: %q", file, text)
		}
	}
}

// fits FILE … checks that a screen takes what stands in files, or in stdout and stderr.
func fits(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		if err := checkScreen(ts.ReadFile(file)); err != nil {
			ts.Fatalf("%s: %v", file, err)
		}
	}
}

// moment FILE N writes N records of kind vote that were all made at one moment.
func moment(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var out []byte
	for i := range n {
		r, err := record.New(new(record.Dict).Set(record.Text("n"), record.NewInt(int64(i))), time.Unix(1795310564, 0), rand.Reader)
		ts.Check(err)
		ts.Check(record.Minter{Strength: 1, Workers: 1}.Mint(context.Background(), r))
		out, err = ledger.AppendJSONLine(out, &ledger.JSONLine{Kind: "vote", Record: r})
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o644))
}
