package legacy

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"pyvnode/ledger/durable"
	"pyvnode/legacy/dataroot"
)

// Names in the adapter's directory, beside those of the key pool.
const (
	siteFile   = "pyservid.init" // a line is the site's ID, as in the original
	hostsFile  = "ihosts"        // host:port, line by line
	imageFile  = "qr.png"
	payloadDir = "payload" // <user>/, as in the original
)

// site is what a server keeps between runs, apart from the users' files.
type site struct {
	dir  string
	id   string // a UUID
	keys *KeyPool

	mu       sync.RWMutex
	hostList []string
	qr       []byte
}

// openSite reads an adapter's directory, and makes what is missing.
func openSite(dir string) (*site, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	var err error
	if s.keys, err = OpenKeyPool(dir); err != nil {
		return nil, err
	}
	if err := errors.Join(s.readID(), s.readHosts()); err != nil {
		return nil, err
	}
	s.qr, err = s.read(imageFile)
	return s, err
}

// read returns a file of the site, nil when there is none.
func (s *site) read(name string) ([]byte, error) {
	data, err := durable.ReadFile(filepath.Join(s.dir, name), maxSiteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (s *site) write(name string, data []byte) error {
	return durable.WriteFile(filepath.Join(s.dir, name), data, 0o600)
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
	for line := range strings.Lines(string(text)) {
		if id, err := uuid.Parse(strings.TrimSpace(line)); err == nil {
			s.id = id.String()
			return nil
		}
	}
	return fmt.Errorf("%s holds no UUID; put back the one that clients know, or delete the file to get a new one", filepath.Join(s.dir, siteFile))
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
		if !dataroot.IsHost(host) {
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
