package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/wire"
)

// SiteID returns the site's ID: the first line of its file that is a UUID. Without one it is zero, and a finding says why.
func (r *Root) SiteID(found func(Finding)) uuid.UUID {
	raw, err := r.read(siteFile, maxSmallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found(missing(siteFile, "there is no site ID"))
		return uuid.UUID{}
	case err != nil:
		found(unreadable(siteFile, err))
		return uuid.UUID{}
	}
	for line := range strings.Lines(string(raw)) {
		text := strings.TrimSpace(line)
		if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
			return id
		}
	}
	found(Finding{File: siteFile, Reason: BadSite, Detail: "no line of it is a UUID"})
	return uuid.UUID{}
}

// KeyPair is one of the key pool.
type KeyPair struct {
	Name    string // of its two files, without directory and ending; the original chooses it at random
	Private *wire.PrivateKey
}

// Keys returns the key pairs that can be read. A public key follows from its private one, and need not be there.
func (r *Root) Keys(found func(Finding)) (keys []KeyPair) {
	bad := func(file, format string, args ...any) {
		found(Finding{File: file, Reason: BadKey, Detail: fmt.Sprintf(format, args...)})
	}
	names := func(dir, ext string) (ids []string) {
		for _, e := range r.list(dir, maxListed, found) {
			if id, ok := strings.CutSuffix(e.Name(), ext); ok {
				ids = append(ids, id)
			}
		}
		if len(ids) > legacy.MaxKeys {
			found(Finding{File: dir, Reason: TooMany, Detail: fmt.Sprintf("%d keys; those behind the first %d are left out", len(ids), legacy.MaxKeys)})
			ids = ids[:legacy.MaxKeys]
		}
		return ids
	}
	public, private := names(publicDir, publicExt), names(privateDir, privateExt)
	for _, id := range public {
		if !slices.Contains(private, id) {
			found(missing(path.Join(privateDir, id+privateExt), "a public key has no private one"))
		}
	}
	for _, id := range private {
		file := path.Join(privateDir, id+privateExt)
		raw, err := r.read(file, wire.MaxKeyText)
		if err != nil {
			found(unreadable(file, err))
			continue
		}
		k, err := wire.ParsePrivateKey(string(raw))
		if err != nil {
			bad(file, "%v", err)
			continue
		}
		file = path.Join(publicDir, id+publicExt)
		raw, err = r.read(file, wire.MaxKeyText)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found(missing(file, "a private key has no public one"))
		case err != nil:
			found(unreadable(file, err))
			continue
		default:
			if p, err := wire.ParsePublicKey(string(raw)); err != nil {
				bad(file, "%v", err)
				continue
			} else if p.ID() != k.ID() {
				bad(file, "it is the key %v, the private one of its name %v", p.ID(), k.ID())
				continue
			}
		}
		keys = append(keys, KeyPair{id, k})
	}
	return keys
}

// Hosts returns the servers to replicate to, in the order in which they were added.
func (r *Root) Hosts(ctx context.Context, found func(Finding)) (hosts []string, err error) {
	f, size, err := r.open(hostsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		found(unreadable(hostsFile, err))
		return nil, nil
	}
	defer func() { _ = f.Close() }()
	if size > maxHostsFile {
		found(Finding{File: hostsFile, Reason: TooLarge, Detail: fmt.Sprintf("it has %d bytes; the first %d are read", size, maxHostsFile)})
		size = maxHostsFile
	}
	for frame, err := range legacy.ScanChain(f, size, nil, r.effort) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return hosts, fmt.Errorf("%s: %w", hostsFile, err)
		}
		note := func(reason Reason, detail string) {
			at := frame.Offset
			found(Finding{File: hostsFile, Offset: &at, Header: frame.Key, Reason: reason, Detail: detail})
		}
		switch host, err := hostOf(frame.Packed); {
		case frame.Err != nil && frame.Offset == 0:
			note(WrongHeader, frame.Err.Error())
		case frame.Err != nil:
			note(Damaged, frame.Err.Error())
		case frame.Deleted:
		case err != nil:
			note(BadHost, err.Error())
		case slices.Contains(hosts, host):
		case len(hosts) == maxHosts:
			note(TooMany, fmt.Sprintf("one more than %d", maxHosts))
		default:
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// hostKey is where a record of the list of hosts has its host, in its payload.
const hostKey = record.Text("host")

func hostOf(packed []byte) (string, error) {
	r, err := record.Parse(packed)
	if err != nil {
		return "", err
	}
	if payload := r.Payload(); payload != nil {
		v, _ := payload.Get(hostKey)
		if host, ok := v.(record.Text); ok && legacy.IsHost(string(host)) {
			return string(host), nil
		}
	}
	return "", errors.New("its payload names no host:port")
}
