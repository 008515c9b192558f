package legacy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"pyvnode/ledger/durable"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/wire"
)

// ErrOther says that there is something else already in the place in which an [Adopter] is to put
// something. It stays.
var ErrOther = errors.New("there is another one already, which stays")

// An Adopter takes what an original server had into an adapter's directory. It never replaces
// anything. If the same is there, its methods report false. If something else is, they return
// [ErrOther]. What they report as taken is durable. It is not for use by several goroutines. A
// server that runs on the directory sees new files of users at once, and everything else when it is
// started again; the list of hosts must not be changed under it.
type Adopter struct {
	dir   string
	homes *homes
	home  *home // of the last file's user
}

// NewAdopter makes the directory if it is missing.
func NewAdopter(dir string) (*Adopter, error) {
	payload := filepath.Join(dir, payloadDir)
	if err := durable.MkdirAll(payload); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, err
	}
	return &Adopter{dir: dir, homes: &homes{dir: payload, limits: Limits{}.withDefaults(), open: map[string]*home{}}}, nil
}

// Close ends it.
func (a *Adopter) Close() {
	if a.home != nil {
		a.home.release()
		a.home = nil
	}
}

// SiteID takes over the ID of the site, by which clients know a server.
func (a *Adopter) SiteID(id uuid.UUID) (taken bool, err error) {
	s := &site{dir: a.dir}
	text, err := s.read(siteFile)
	if err != nil {
		return false, err
	}
	if text == nil {
		return true, s.write(siteFile, []byte(id.String()+"\n"))
	}
	if err := s.readID(); err != nil {
		return false, err
	}
	if s.id != id.String() {
		return false, fmt.Errorf("%w: %s; to take this one over, stop the node, delete %s and import again", ErrOther, s.id, filepath.Join(a.dir, siteFile))
	}
	return false, nil
}

// Key takes over a key pair, under a name that its files have without directory and ending.
func (a *Adopter) Key(name string, k *wire.PrivateKey) (taken bool, err error) {
	if name == "" || strings.ContainsAny(name, `/\`) || !fs.ValidPath(name) || len(name) > maxPathPart {
		return false, fmt.Errorf("%.64q is no name of a key", name)
	}
	names, err := keyNames(a.dir)
	if err != nil {
		return false, err
	}
	private := filepath.Join(a.dir, privateDir, name+privateExt)
	old, err := durable.ReadFile(private, wire.MaxKeyText)
	switch {
	case err == nil:
		if before, err := wire.ParsePrivateKey(string(old)); err != nil || before.ID() != k.ID() {
			return false, ErrOther
		}
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	case len(names) >= dataroot.MaxKeys:
		return false, ErrTooManyKeys
	}
	for _, sub := range []string{privateDir, publicDir} {
		if err := durable.MkdirAll(filepath.Join(a.dir, sub)); err != nil {
			return false, err
		}
	}
	if err := durable.WriteFile(filepath.Join(a.dir, publicDir, name+publicExt), []byte(k.Public().Text()), 0o644); err != nil {
		return false, err
	}
	// The private one is last: with it the pair counts as taken.
	if err := durable.WriteFile(private, []byte(k.Text()), 0o600); err != nil {
		return false, err
	}
	return true, nil
}

// Host adds a server to replicate to. The list must not be full.
func (a *Adopter) Host(host string) (taken bool, err error) {
	s := &site{dir: a.dir}
	if err := s.readHosts(); err != nil {
		return false, err
	}
	switch err := s.addHost(host); {
	case errors.Is(err, errDuplicateHost):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// Fits says whether a file of a number of bytes is not too large to be taken over; before it is read.
func (a *Adopter) Fits(size int64) error {
	if limit := a.homes.limits.FileSize; size > limit {
		return fmt.Errorf("it has %d bytes, and users' files have at most %d", size, limit)
	}
	return nil
}

// File takes over a file of a user, with a name in the user's directory, with slashes.
func (a *Adopter) File(user, name string, content io.Reader) (taken bool, err error) {
	if err := checkFileName(name); err != nil {
		return false, err
	}
	if a.home == nil || a.home.name != UserDirectory(user) {
		a.Close()
		if a.home, err = a.homes.acquire(user); err != nil {
			return false, err
		}
	}
	u := a.home
	if info, err := u.root.Lstat(name); err == nil {
		if !info.Mode().IsRegular() {
			return false, ErrOther
		}
		old, err := u.root.Open(name)
		if err != nil {
			return false, err
		}
		defer func() { _ = old.Close() }()
		same, err := sameContent(old, content)
		if err == nil && !same {
			err = ErrOther
		}
		return false, err
	}
	parts := strings.Split(name, "/")
	for i := range parts[:len(parts)-1] {
		if err := u.mkdir(path.Join(parts[:i+1]...)); err != nil && !errors.Is(err, errExists) {
			return false, err
		}
	}
	p, err := u.create(name, false)
	if errors.Is(err, errNotDir) {
		err = ErrOther
	}
	if err != nil {
		return false, err
	}
	defer p.abort()
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(content, buf)
		if n > 0 {
			if err := p.writeAt(buf[:n], p.size); err != nil {
				return false, err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return true, p.commit()
}

// checkFileName refuses what clients could not name.
func checkFileName(name string) error {
	parts := strings.Split(name, "/")
	bad := !fs.ValidPath(name) || name == "." || len(name) > maxPath || !utf8.ValidString(name) || parts[0] == partDir ||
		strings.ContainsFunc(name, unicode.IsControl) ||
		slices.ContainsFunc(parts, func(part string) bool { return len(part) > maxPathPart })
	if bad {
		return fmt.Errorf("%.64q is no name that a client can give", name)
	}
	return nil
}

func sameContent(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		if errA != nil || errB != nil {
			return true, nil // both ended at once, or one would have had more
		}
	}
}

// Hosts returns the list of hosts to replicate to of an adapter's directory.
func Hosts(dir string) ([]string, error) {
	s := &site{dir: dir}
	err := s.readHosts()
	return s.hostList, err
}

// IsUnfinished reports whether a name in a user's directory is that of an upload under way.
func IsUnfinished(name string) bool { return name == partDir || strings.HasPrefix(name, partDir+"/") }
