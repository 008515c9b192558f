package dataroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
)

// Names in a data directory.
const (
	chainDir   = "chain"
	replicFile = "replic.pydb" // records to replicate
	stateFile  = "rstate.pydb" // how far that is

	usersDir  = ".pyvserv"
	usersFile = usersDir + "/passwd.secret"

	publicDir  = "keys"
	publicExt  = ".pub"
	privateDir = "private"
	privateExt = ".pem"

	siteFile  = "pyservid.init"
	hostsFile = "ihosts.pydb"

	payloadDir = "payload"
)

// Bounds of what is read. Users' files have none here: they are read piece by piece.
const (
	maxKinds     = 10_000
	maxSmallFile = 1 << 20 // bytes of site ID and key files
	maxUsersFile = 16 << 20
	maxHostsFile = 16 << 20
	maxHosts     = 64 // as many as a node replicates to

	// maxRecords is how many records of one chain file are told apart by their headers; keeping those takes up to 2 GB. The
	// original's chain files cannot be so large that they hold more.
	maxRecords = 10_000_000
	// leastRecord is less than any record takes in a chain file, in bytes: its hash, proof and header alone are 164.
	leastRecord = 300
	// maxEffort is how many bytes of damage, over all chain files, are looked through for records behind it.
	maxEffort = 1 << 30
)

// Reason says, for programs, what kind of thing is wrong.
type Reason string

// The reasons of findings, besides those of records (see [record.Reason]).
const (
	WrongHeader  Reason = "wrong-header"   // a file that does not begin as its kind of file does
	Damaged      Reason = "damaged-record" // a record of a chain file that cannot be read, or is not what was written
	Mismatch     Reason = "header-mismatch"
	Missing      Reason = "missing"        // a file that must be there
	Index        Reason = "index-mismatch" // an index that does not fit its chain file
	BrokenLink   Reason = "broken-link"    // a link to a record that is not there
	BadKind      Reason = "bad-kind"
	BadUser      Reason = "bad-user"
	BadKey       Reason = "bad-key"
	BadSite      Reason = "bad-site-id"
	BadHost      Reason = "bad-host"
	BadFile      Reason = "bad-file" // a file that cannot be read, or is no file
	TooMany      Reason = "too-many"
	TooLarge     Reason = "too-large"
	NotTaken     Reason = "not-taken"    // something that nothing here reads; no fault
	NotAUsersDir Reason = "no-such-user" // files of somebody who is no user
)

// Finding is one thing that is not as it must be.
type Finding struct {
	File   string `json:"file"`             // in the data directory, with slashes
	Kind   string `json:"kind,omitempty"`   // of the record
	Offset *int64 `json:"offset,omitempty"` // of the record in the file
	Header string `json:"header,omitempty"` // of the record, where that is known
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
}

func (f Finding) String() string {
	text := f.File
	if f.Offset != nil {
		text += fmt.Sprintf(" byte %d", *f.Offset)
	}
	if f.Header != "" {
		text += fmt.Sprintf(" record %.64q", f.Header)
	}
	return fmt.Sprintf("%s: %s: %s", text, f.Reason, f.Detail)
}

// A Root is an open data directory.
type Root struct {
	Path   string
	root   *os.Root
	effort *legacy.Effort
}

// NotDataRootError says that a directory is no data directory of the original.
type NotDataRootError struct{ Path string }

func (e *NotDataRootError) Error() string {
	return fmt.Sprintf("%s is no data directory of the original server: it has none of %s, %s, %s and %s", e.Path, chainDir, usersDir, siteFile, privateDir)
}

// Open opens a data directory for reading. The error is a [*NotDataRootError] or one of the file system.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{chainDir, usersDir, siteFile, privateDir} {
		if _, err := root.Lstat(name); err == nil {
			return &Root{dir, root, legacy.NewEffort(maxEffort)}, nil
		}
	}
	return nil, errors.Join(&NotDataRootError{dir}, root.Close())
}

// Close closes the directory.
func (r *Root) Close() error { return r.root.Close() }

var errNotRegular = errors.New("it is no regular file")

// open opens a regular file.
func (r *Root) open(name string) (*os.File, int64, error) {
	info, err := r.root.Stat(name) // opening something else, such as a pipe, could wait for ever
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errNotRegular
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// read returns a whole file of bounded size.
func (r *Root) read(name string, limit int64) ([]byte, error) {
	f, size, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if size > limit {
		return nil, fmt.Errorf("it has %d bytes, more than the limit of %d", size, limit)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("it has more than the limit of %d bytes", limit)
	}
	return raw, err
}

// unreadable is the finding that a file cannot be used.
func unreadable(file string, err error) Finding {
	var inside *fs.PathError
	if errors.As(err, &inside) {
		err = inside.Err // the path is said already
	}
	return Finding{File: file, Reason: BadFile, Detail: err.Error()}
}

// missing is the finding that a file is not there.
func missing(file, detail string) Finding {
	return Finding{File: file, Reason: Missing, Detail: detail}
}

// kinds returns the kinds that there are directories of, in order.
func (r *Root) kinds(found func(Finding)) (kinds []string) {
	for _, e := range r.list(chainDir, maxKinds, found) {
		if e.IsDir() {
			kinds = append(kinds, e.Name())
		}
	}
	return kinds
}

func chainPath(kind, name string) string { return path.Join(chainDir, kind, name) }

// recordFinding is the finding that an error of package record means.
func recordFinding(err error) (Reason, string) {
	var bad *record.Error
	if errors.As(err, &bad) {
		return Reason(bad.Reason), bad.Detail
	}
	return Damaged, err.Error()
}
