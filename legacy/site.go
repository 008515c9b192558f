package legacy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"pyvnode/ledger/store"
	"pyvnode/legacy/wire"
)

// Names in the data root. A data root of the original has its key pairs under the same name.
const (
	siteFile   = "site-id"
	hostsFile  = "replication-hosts"
	imageFile  = "qr.png"
	keyDir     = "private" // <id>.pem
	payloadDir = "payload" // <user>/
)

// site is what a server keeps between runs, apart from the users' files.
type site struct {
	dir  string
	id   string // a UUID
	keys []*wire.PrivateKey

	mu       sync.RWMutex
	hostList []string
	qr       []byte
}

// openSite reads a data root, and makes what is missing.
func openSite(dir string, keyBits int) (*site, error) {
	if err := os.MkdirAll(filepath.Join(dir, keyDir), 0o700); err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	if err := errors.Join(s.readID(), s.readKeys(keyBits), s.readHosts()); err != nil {
		return nil, err
	}
	var err error
	s.qr, err = s.read(imageFile)
	return s, err
}

// read returns a file of the site, nil when there is none.
func (s *site) read(name string) ([]byte, error) {
	data, err := store.ReadBounded(filepath.Join(s.dir, name), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (s *site) write(name string, data []byte) error {
	return store.WriteFileAtomic(filepath.Join(s.dir, name), data, 0o600)
}

func (s *site) readID() error {
	text, err := s.read(siteFile)
	if err != nil {
		return err
	}
	if text == nil {
		id, err := uuid.NewRandom()
		if err != nil {
			return err
		}
		s.id = id.String()
		return s.write(siteFile, []byte(s.id+"\n"))
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s holds no UUID; put back the one that clients know, or delete the file to get a new one", filepath.Join(s.dir, siteFile))
	}
	s.id = id.String()
	return nil
}

// readKeys reads the key pool. At the first start it makes a key.
func (s *site) readKeys(bits int) error {
	dir := filepath.Join(s.dir, keyDir)
	names, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return err
	}
	if len(names) > maxKeys {
		return fmt.Errorf("%s holds %d keys; at most %d are used, so move the others away", dir, len(names), maxKeys)
	}
	for _, name := range names {
		text, err := store.ReadBounded(name, maxSiteFile)
		if err != nil {
			return err
		}
		key, err := wire.ParsePrivateKey(string(text))
		if err != nil {
			return fmt.Errorf("%s is not a usable key: %w", name, err)
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) > 0 {
		return nil
	}
	key, err := wire.GenerateKey(rand.Reader, bits)
	if err != nil {
		return err
	}
	s.keys = append(s.keys, key)
	return s.write(filepath.Join(keyDir, key.ID().String()+".pem"), []byte(key.Text()+"\n"))
}

// anyKey returns a random key of the pool, as the original does.
func (s *site) anyKey() *wire.PrivateKey { return s.keys[mathrand.IntN(len(s.keys))] }

// keysFrom returns the pool, beginning with one key of it, if that is not nil.
func (s *site) keysFrom(first *wire.PrivateKey) []*wire.PrivateKey {
	i := max(slices.Index(s.keys, first), 0)
	return append(slices.Clone(s.keys[i:]), s.keys[:i]...)
}

// Errors of the list of hosts.
var (
	errDuplicateHost = errors.New("the host is in the list already")
	errNoHost        = errors.New("the host is not in the list")
	errManyHosts     = errors.New("the list is full")
)

func (s *site) readHosts() error {
	text, err := s.read(hostsFile)
	if err != nil {
		return err
	}
	s.hostList = strings.Fields(string(text))
	for _, host := range s.hostList {
		if !isHost(host) {
			return fmt.Errorf("%s: %q is not host:port", filepath.Join(s.dir, hostsFile), host)
		}
	}
	return nil
}

func (s *site) hosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.hostList)
}

func (s *site) addHost(host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.hostList, host) {
		return errDuplicateHost
	}
	if len(s.hostList) >= maxHosts {
		return errManyHosts
	}
	return s.setHosts(append(slices.Clone(s.hostList), host))
}

func (s *site) deleteHost(host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.hostList, host)
	if i < 0 {
		return errNoHost
	}
	return s.setHosts(slices.Delete(slices.Clone(s.hostList), i, i+1))
}

// setHosts makes the list durable before it is used.
func (s *site) setHosts(hosts []string) error {
	if err := s.write(hostsFile, []byte(strings.Join(append(slices.Clone(hosts), ""), "\n"))); err != nil {
		return err
	}
	s.hostList = hosts
	return nil
}

func (s *site) image() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.qr
}

func (s *site) setImage(image []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(imageFile, image); err != nil {
		return err
	}
	s.qr = image
	return nil
}
