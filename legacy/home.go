package legacy

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"pyvnode/ledger/durable"
)

// homes are the directories of all users.
type homes struct {
	dir    string
	limits Limits

	mu   sync.Mutex
	open map[string]*home // by the name of the directory
}

// home is the directory of one user while sessions of that user use it. Whatever the paths say and whatever symbolic
// links there are, nothing outside is reached: all access goes through an [os.Root].
type home struct {
	homes *homes
	name  string
	users int // sessions; the homes' lock is over it

	opening sync.Once
	root    *os.Root // nil when opening failed
	failure error

	mu        sync.Mutex
	bytes     int64 // of all files, unfinished uploads included
	entries   int   // files and directories
	transfers int
}

// Refusals of a home.
var (
	errQuota     = errors.New("the user's files together would be too large")
	errFileSize  = errors.New("the file would be too large")
	errManyFiles = errors.New("the user has too many files")
	errExists    = errors.New("there is such a file")
	errIsDir     = errors.New("it is a directory")
	errNotDir    = errors.New("it is no directory")
	errNotEmpty  = errors.New("the directory is not empty")
	errBusy      = errors.New("too many transfers are under way")
)

// openHomes prepares the directory of all users' directories and removes what uploads left when the server was
// killed.
func openHomes(dir string, limits Limits) (*homes, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", partDir))
	if err != nil {
		return nil, err
	}
	for _, parts := range left {
		if err := os.RemoveAll(parts); err != nil {
			return nil, err
		}
	}
	return &homes{dir: dir, limits: limits, open: map[string]*home{}}, nil
}

// acquire opens a user's directory, and makes it at the first time. Each home that is acquired must be released.
func (h *homes) acquire(user string) (*home, error) {
	name := UserDirectory(user)
	h.mu.Lock()
	u := h.open[name]
	if u == nil {
		u = &home{homes: h, name: name}
		h.open[name] = u
	}
	u.users++
	h.mu.Unlock()
	u.opening.Do(func() { u.failure = u.openRoot() }) // takes a while if there are many files
	if u.failure != nil {
		u.release()
		return nil, u.failure
	}
	return u, nil
}

func (u *home) release() {
	u.homes.mu.Lock()
	defer u.homes.mu.Unlock()
	if u.users--; u.users == 0 {
		delete(u.homes.open, u.name)
		if u.root != nil {
			_ = u.root.Close()
		}
	}
}

func (u *home) openRoot() error {
	dir := filepath.Join(u.homes.dir, u.name)
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		if err := durable.SyncDir(u.homes.dir); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %w", dir, errNotDir)
	}
	if u.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	return u.measure()
}

// measure finds out what the user's files take.
func (u *home) measure() error {
	return fs.WalkDir(u.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if name == partDir {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		u.entries++
		if info.Mode().IsRegular() {
			u.bytes += info.Size()
		}
		return nil
	})
}

// access brings the errors of a root down to what clients are told: that something is not there, or is not theirs.
func access(err error) error {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, fs.ErrExist):
		return errExists
	}
	return errNoAccess
}

// list returns the names of the files, or of the directories, in a directory. Of a symbolic link it shows what it leads
// to, and nothing of one that leads out.
func (u *home) list(dir string, directories bool) ([]string, error) {
	entries, err := fs.ReadDir(u.root.FS(), dir)
	if err != nil {
		return nil, access(err)
	}
	names := []string{}
	for _, e := range entries {
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := u.root.Stat(path.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			mode = info.Mode()
		}
		hidden := dir == "." && e.Name() == partDir
		if !hidden && (directories && mode.IsDir() || !directories && mode.IsRegular()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (u *home) stat(name string) (fs.FileInfo, error) {
	info, err := u.root.Stat(name)
	return info, access(err)
}

// isDir returns nil for a directory.
func (u *home) isDir(name string) error {
	info, err := u.stat(name)
	if err == nil && !info.IsDir() {
		return errNotDir
	}
	return err
}

func (u *home) mkdir(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.root.Lstat(name); err == nil {
		return errExists
	}
	if u.entries >= u.homes.limits.Files {
		return errManyFiles
	}
	if err := u.root.Mkdir(name, 0o755); err != nil {
		return access(err)
	}
	u.entries++
	return errors.Join(u.root.Chmod(name, 0o755), durable.SyncDirIn(u.root, path.Dir(name)))
}

func (u *home) rmdir(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := u.root.Lstat(name)
	if err != nil {
		return access(err)
	}
	if !info.IsDir() {
		return errNotDir
	}
	if entries, err := fs.ReadDir(u.root.FS(), name); name == "." || err == nil && len(entries) > 0 {
		return errNotEmpty
	}
	if err := u.root.Remove(name); err != nil {
		return access(err)
	}
	u.entries--
	return durable.SyncDirIn(u.root, path.Dir(name))
}

func (u *home) remove(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := u.root.Lstat(name)
	if err != nil {
		return access(err)
	}
	if info.IsDir() {
		return errIsDir
	}
	if err := u.root.Remove(name); err != nil {
		return access(err)
	}
	u.forgetFile(info)
	return durable.SyncDirIn(u.root, path.Dir(name))
}

func (u *home) forgetFile(info fs.FileInfo) {
	u.entries--
	if info.Mode().IsRegular() {
		u.bytes -= info.Size()
	}
}

// openFile opens a file for reading. What is renamed or deleted meanwhile does not matter to the
// reader.
func (u *home) openFile(name string) (*os.File, int64, error) {
	u.mu.Lock() // not in the middle of a commit
	defer u.mu.Unlock()
	info, err := u.stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errIsDir
	}
	f, err := u.root.Open(name)
	if err != nil {
		return nil, 0, access(err)
	}
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, 0, errors.Join(errNoAccess, f.Close())
	}
	return f, info.Size(), nil
}

// beginTransfer notes a transfer; endTransfer must follow.
func (u *home) beginTransfer() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.transfers >= u.homes.limits.UserTransfers {
		return errBusy
	}
	u.transfers++
	return nil
}

func (u *home) endTransfer() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.transfers--
}

// reserve takes n bytes of the quota.
func (u *home) reserve(n int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n > u.homes.limits.Quota-u.bytes {
		return errQuota
	}
	u.bytes += n
	return nil
}

// part is a file that appears under its name whole or not at all.
type part struct {
	home    *home
	target  string
	name    string // until then
	file    *os.File
	size    int64
	replace bool
	done    bool
}

// create begins a file. With replace, one that is there is kept as a backup when the new one is complete.
func (u *home) create(target string, replace bool) (*part, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.creatable(target, replace); err != nil {
		return nil, err
	}
	if err := u.root.Mkdir(partDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, access(err)
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	p := &part{home: u, target: target, name: path.Join(partDir, hex.EncodeToString(random[:])), replace: replace}
	var err error
	if p.file, err = u.root.OpenFile(p.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, access(err)
	}
	return p, nil
}

// creatable says whether a file can be made under a name.
func (u *home) creatable(target string, replace bool) error {
	if err := u.isDir(path.Dir(target)); err != nil {
		return err
	}
	info, err := u.root.Lstat(target)
	switch {
	case err == nil && info.IsDir():
		return errIsDir
	case err == nil && !replace:
		return errExists
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return access(err)
	}
	if u.entries >= u.homes.limits.Files {
		return errManyFiles
	}
	return nil
}

// writeAt writes data at an offset. After an error nothing of the file is any good.
func (p *part) writeAt(data []byte, offset int64) error {
	limit := p.home.homes.limits.FileSize
	if offset < 0 || offset > limit || int64(len(data)) > limit-offset {
		return errFileSize
	}
	if end := offset + int64(len(data)); end > p.size {
		if err := p.home.reserve(end - p.size); err != nil {
			return err
		}
		p.size = end
	}
	_, err := p.file.WriteAt(data, offset)
	return err
}

// commit makes the file durable under its name, or leaves everything as it was.
func (p *part) commit() error {
	u := p.home
	u.mu.Lock()
	defer u.mu.Unlock()
	// A file has the mode that the original gives it, whatever the umask; the server's own directory keeps others out.
	err := errors.Join(p.file.Chmod(0o644), p.file.Sync(), p.file.Close())
	p.file = nil
	if err == nil {
		err = u.creatable(p.target, p.replace)
	}
	if err == nil {
		err = u.backup(p.target)
	}
	if err == nil {
		err = u.root.Rename(p.name, p.target)
	}
	if err != nil {
		p.discard()
		return err
	}
	p.done = true
	u.entries++
	return durable.SyncDirIn(u.root, path.Dir(p.target))
}

// backup keeps a file that is about to be replaced as name_0, name_1 or name_2, whichever is free,
// otherwise in place of name_0 (docs/original-protocol.md §7).
func (u *home) backup(target string) error {
	if _, err := u.root.Lstat(target); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for i := range 3 {
		name := fmt.Sprintf("%s_%d", target, i)
		if _, err := u.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return u.keep(target, name)
		}
	}
	name := target + "_0"
	first, err := u.root.Lstat(name)
	if err != nil {
		return err
	}
	if first.IsDir() {
		return errIsDir
	}
	if err := u.root.Remove(name); err != nil {
		return err
	}
	u.forgetFile(first)
	return u.keep(target, name)
}

// keep gives a file a second name, so that there is no moment without the first. If the file system
// cannot do that, it gives the file another name.
func (u *home) keep(target, name string) error {
	if err := u.root.Link(target, name); err == nil {
		return nil
	}
	return u.root.Rename(target, name)
}

// abort leaves nothing of a file that was not committed. After commit it does nothing.
func (p *part) abort() {
	p.home.mu.Lock()
	defer p.home.mu.Unlock()
	p.discard()
}

func (p *part) discard() {
	if p.done {
		return
	}
	p.done = true
	if p.file != nil {
		_ = p.file.Close()
	}
	_ = p.home.root.Remove(p.name)
	p.home.bytes -= p.size
}
