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

// SiteID returns the site's ID: the first line of its file that is a UUID. Without one it is zero, and the findings say
// why.
func (r *Root) SiteID() (uuid.UUID, []Finding) {
	raw, err := r.read(siteFile, maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return uuid.UUID{}, []Finding{missing(siteFile, "there is no site ID")}
	}
	if err != nil {
		return uuid.UUID{}, []Finding{unreadable(siteFile, err)}
	}
	for line := range strings.Lines(string(raw)) {
		text := strings.TrimSpace(line)
		if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
			return id, nil
		}
	}
	return uuid.UUID{}, []Finding{{File: siteFile, Reason: BadSite, Detail: "no line of it is a UUID"}}
}

// KeyPair is one of the key pool.
type KeyPair struct {
	Name    string // of its two files, without directory and ending; the original chooses it at random
	Private *wire.PrivateKey
}

// Keys returns the key pairs that can be read. A public key follows from its private one, and need not be there.
func (r *Root) Keys() (keys []KeyPair, findings []Finding) {
	bad := func(file, format string, args ...any) {
		findings = append(findings, Finding{File: file, Reason: BadKey, Detail: fmt.Sprintf(format, args...)})
	}
	names := func(dir, ext string) (ids []string) {
		entries, err := r.list(dir)
		if err != nil {
			findings = append(findings, unreadable(dir, err))
		}
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), ext); ok {
				ids = append(ids, id)
			}
		}
		if len(ids) > legacy.MaxKeys {
			findings = append(findings, Finding{File: dir, Reason: TooMany, Detail: fmt.Sprintf("%d keys; those behind the first %d are left out", len(ids), legacy.MaxKeys)})
			ids = ids[:legacy.MaxKeys]
		}
		return ids
	}
	public, private := names(publicDir, publicExt), names(privateDir, privateExt)
	for _, id := range public {
		if !slices.Contains(private, id) {
			findings = append(findings, missing(path.Join(privateDir, id+privateExt), "a public key has no private one"))
		}
	}
	for _, id := range private {
		file := path.Join(privateDir, id+privateExt)
		raw, err := r.read(file, wire.MaxKeyText)
		if err != nil {
			findings = append(findings, unreadable(file, err))
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
			findings = append(findings, missing(file, "a private key has no public one"))
		case err != nil:
			findings = append(findings, unreadable(file, err))
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
	return keys, findings
}

// Hosts returns the servers to replicate to, in the order in which they were added.
func (r *Root) Hosts(ctx context.Context) (hosts []string, findings []Finding, err error) {
	f, size, err := r.open(hostsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, []Finding{unreadable(hostsFile, err)}, nil
	}
	defer func() { _ = f.Close() }()
	for frame, err := range legacy.ScanChain(f, size, nil) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return hosts, findings, fmt.Errorf("%s: %w", hostsFile, err)
		}
		note := func(reason Reason, detail string) {
			at := frame.Offset
			findings = append(findings, Finding{File: hostsFile, Offset: &at, Header: frame.Key, Reason: reason, Detail: detail})
		}
		switch host, err := hostOf(frame.Packed); {
		case frame.Err != nil && frame.Offset == 0:
			note(WrongHeader, frame.Err.Error())
		case frame.Err != nil:
			note(Damaged, frame.Err.Error())
		case frame.Deleted:
		case err != nil:
			note(BadHost, err.Error())
		case !slices.Contains(hosts, host):
			hosts = append(hosts, host)
		}
	}
	return hosts, findings, nil
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
