package dataroot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"pyvnode/legacy"
)

// Files of the original's desktop programs, which work on the data directory itself (docs/original-protocol.md §10).
const (
	ballotsFile = "ballots.pydb"
	votersFile  = "voters.pydb"
)

// Source is a chain file, and what its records are.
type Source struct {
	Kind string
	File string // in the data directory, with slashes
	// Private says that its records must not be published, whatever the network's genesis document says.
	Private bool
}

// Sources returns the chain files that hold records, in order: one for each kind, then those of the desktop programs.
func (r *Root) Sources(found func(Finding)) (sources []Source) {
	for _, kind := range r.kinds(found) {
		sources = append(sources, Source{Kind: kind, File: chainPath(kind, legacy.ChainFileName)})
	}
	for _, s := range []Source{{Kind: "ballot", File: ballotsFile}, {Kind: "voter", File: votersFile, Private: true}} {
		if _, err := r.root.Lstat(s.File); err == nil {
			sources = append(sources, s)
		}
	}
	return sources
}

// What there is in a data directory that is not read, and why. A name that ends in a slash is a directory; nothing in it is
// looked at.
var notTaken = map[string]string{
	"pyservid.init.backup":    "a copy of the site's ID",
	"ihosts.pidx":             indexOnly,
	"ballots.pidx":            indexOnly,
	"voters.pidx":             indexOnly,
	"audit.pydb":              "what operators of the desktop programs did; it is no record of the ledger",
	"audit.pidx":              indexOnly,
	"auth.pydb":               "who was logged in to the desktop programs",
	"auth.pidx":               indexOnly,
	"qr.png":                  "the image of the second factor that all users of the original share; here each gets one of his own",
	"log/":                    "what the original server logged",
	"tmp/":                    "the original's locks and temporary files",
	usersFile + ".lock":       "a lock of the original",
	usersDir + "/keys.secret": "a file of keys that none of the original's programs uses",
}

const (
	indexOnly = "an index, which is made anew where it is needed"
	unknown   = "it is none of the files that the original's programs are known to write"
)

// Unused tells what there is in the data directory that nothing here reads, and why, in the order of the names: the reason of
// each finding is [NotTaken]. They are no faults. Users' files are not among them, see [Root.Files].
func (r *Root) Unused(found func(Finding)) {
	tell := func(name, why string) { found(Finding{File: name, Reason: NotTaken, Detail: why}) }
	look := func(dir string, known func(name string) bool) {
		for _, e := range r.list(dir, maxListed, found) {
			name := path.Join(dir, e.Name())
			as := name
			if e.IsDir() {
				as += "/"
			}
			if !known(as) {
				tell(name, cmp.Or(notTaken[as], unknown))
			}
		}
	}
	look(".", func(name string) bool {
		switch name {
		case chainDir + "/", usersDir + "/", publicDir + "/", privateDir + "/", payloadDir + "/", siteFile, hostsFile, ballotsFile, votersFile:
			return true
		}
		return false
	})
	look(usersDir, func(name string) bool { return name == usersFile })
	look(publicDir, func(name string) bool { return strings.HasSuffix(name, publicExt) })
	look(privateDir, func(name string) bool { return strings.HasSuffix(name, privateExt) })
	look(chainDir, func(name string) bool { return strings.HasSuffix(name, "/") })
	for _, kind := range r.kinds(func(Finding) {}) {
		records := false
		look(path.Join(chainDir, kind), func(name string) bool {
			switch path.Base(name) {
			case legacy.ChainFileName:
				records = true
				return true
			case legacy.ChainIndexName, legacy.ChainIDsName:
				return true
			case replicFile, stateFile, "replic.pidx", "rstate.pidx":
				tell(name, "what the original had still to send to other servers; a node keeps its own list")
				return true
			}
			return false
		})
		if !records {
			tell(path.Join(chainDir, kind), "a kind without records")
		}
	}
}

var errNotDirectory = errors.New("it is no directory")

// maxListed is how many names in a directory are looked at; keeping them takes some 20 MB.
const maxListed = 100_000

// list returns the names in a directory, in order, at most so many; more are a finding, and so is a directory that cannot be
// read. Without the directory there are none.
func (r *Root) list(dir string, limit int, found func(Finding)) (entries []fs.DirEntry) {
	info, err := r.root.Stat(dir) // opening a pipe could wait for ever
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = errNotDirectory
	}
	var f *os.File
	if err == nil {
		f, err = r.root.Open(dir)
	}
	if err != nil {
		found(unreadable(dir, err))
		return nil
	}
	defer func() { _ = f.Close() }()
	more := 0
	for {
		some, err := f.ReadDir(1024)
		keep := min(len(some), limit-len(entries))
		entries = append(entries, some[:keep]...)
		more += len(some) - keep
		if err == io.EOF {
			break
		}
		if err != nil {
			found(unreadable(dir, err))
			break
		}
	}
	if more > 0 {
		found(Finding{File: dir, Reason: TooMany, Detail: fmt.Sprintf("it holds %d names more than %d, which are not looked at", more, limit)})
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries
}
