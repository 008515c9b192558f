package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/node/accounts"
)

// LegacyExport says what to write a data directory of the original server from.
type LegacyExport struct {
	Dir   string             // the adapter's
	Users *accounts.Accounts // nil writes no users
	// AdministratorsOnly leaves out users who are none, or may not log in.
	AdministratorsOnly bool
	// Admin, unless its name is empty, is an administrator to be made there, or in place of a user of that name.
	Admin LegacyAdmin
	// SetAside says to export also the records of private kinds that were set aside.
	SetAside bool

	// Problem is called with everything that is left out, and why; Progress with the records that are written.
	Problem  func(dataroot.Finding) error
	Progress func(records uint64)
}

// LegacyAdmin is an administrator of an original server and his password there.
type LegacyAdmin struct{ Name, Password string }

// LocksOutError says that an original server could not be administered with the users that it would get: some, so that its first
// client can no longer make the first one, and no administrator among them.
type LocksOutError struct{ Users []string }

func (e *LocksOutError) Error() string {
	const few = 5
	var names []string
	for _, name := range e.Users[:min(few, len(e.Users))] {
		names = append(names, strconv.Quote(name))
	}
	if more := len(e.Users) - few; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "with the users " + strings.Join(names, ", ") + ", of whom none is an administrator who may log in, nobody could administer the original server; nothing was written"
}

// LegacyExported counts what was written.
type LegacyExported struct {
	Kinds map[string]uint64 `json:"kinds"` // records
	Users int               `json:"users"`
	// UsersLeftOut is how many users were left out: their passwords are hashed as the original cannot, or only administrators
	// were asked for.
	UsersLeftOut int  `json:"users_left_out"`
	Site         bool `json:"site_id"`
	Keys         int  `json:"key_pairs"`
	Hosts        int  `json:"hosts"`
	Files        int  `json:"files"`
	LeftOut      int  `json:"files_left_out"`
}

// ExportLegacy writes a data directory of the original server with all records that this node holds, in the order of
// their arrival here. Of several with one kind and header, which the original cannot tell apart, it shows the one that
// original clients of this node get under the header. Where the original could not be administered the error is a
// [*LocksOutError], before anything else.
func (n *Node) ExportLegacy(ctx context.Context, b *dataroot.Builder, o LegacyExport) (*LegacyExported, error) {
	e := &legacyExport{LegacyExport: o, node: n, to: b, sum: &LegacyExported{Kinds: map[string]uint64{}}}
	if err := e.users(ctx); err != nil {
		return nil, err
	}
	for _, kind := range n.Kinds() {
		if err := e.kind(ctx, kind); err != nil {
			return nil, fmt.Errorf("kind %q: %w", kind, err)
		}
	}
	if o.SetAside {
		if err := e.setAside(ctx); err != nil {
			return nil, err
		}
	}
	if err := e.site(ctx); err != nil {
		return nil, err
	}
	return e.sum, nil
}

type legacyExport struct {
	LegacyExport
	node *Node
	to   *dataroot.Builder
	sum  *LegacyExported
	done uint64
	told error // the first of Problem
}

// found tells what is left out. Its error is that of what comes after.
func (e *legacyExport) found(f dataroot.Finding) {
	if e.told == nil {
		e.told = e.Problem(f)
	}
}

func (e *legacyExport) settled(kind string) {
	e.sum.Kinds[kind]++
	if e.done++; e.Progress != nil {
		e.Progress(e.done)
	}
}

func (e *legacyExport) kind(ctx context.Context, kind string) (err error) {
	out, err := e.to.Chain(kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	from := legacyLedger{node: e.node}
	headers := map[uuid.UUID]struct{}{}
	for r, err := range from.All(ctx, kind) {
		if err != nil {
			return err
		}
		_, again := headers[r.Header]
		if again { // the original shows the newest of several, so the one that it is to show is written last
			if r, err = from.Get(ctx, kind, r.Header); err == nil {
				err = e.Problem(dataroot.Finding{File: "chain/" + kind, Kind: kind, Header: r.Header.String(), Reason: dataroot.Reason(LeftOut),
					Detail: "another record has the same header, and the original shows only one of them"})
			}
			if err != nil {
				return err
			}
		}
		headers[r.Header] = struct{}{}
		packed, err := legacy.ClientForm(r)
		if err == nil {
			err = out.Add(r.Header.String(), packed)
		}
		if err != nil {
			return err
		}
		if !again {
			e.settled(kind)
		}
	}
	return nil
}

// setAside writes what import set aside.
func (e *legacyExport) setAside(ctx context.Context) error {
	dir := filepath.Join(e.Dir, SetAsideDir)
	names, err := filepath.Glob(filepath.Join(dir, "*.pydb"))
	if err != nil {
		return err
	}
	for _, name := range names {
		kind := filepath.Base(name[:len(name)-len(".pydb")])
		if err := e.copyChain(ctx, kind, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (e *legacyExport) copyChain(ctx context.Context, kind, name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	out, err := e.to.Chain(kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for r, err := range legacy.ReadChain(f) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = out.Add(r.Key, r.Packed)
		}
		if err != nil {
			return err
		}
		e.settled(kind)
	}
	return nil
}

func (e *legacyExport) users(ctx context.Context) error {
	if e.Users == nil {
		return nil
	}
	exported, others, err := e.Users.Export(ctx)
	if err != nil {
		return err
	}
	var users []dataroot.User
	var ordinary []string
	admin := dataroot.User{Name: e.Admin.Name, Flags: dataroot.Administrator, Password: dataroot.NewSecret(e.Admin.Password)}
	initial, administered := false, admin.Name != ""
	for _, i := range exported {
		u := dataroot.User{Name: i.Name, Flags: uint8(i.Flags), Password: dataroot.Secret(i.Hash)}
		if u.Name == admin.Name {
			continue
		}
		if e.AdministratorsOnly && !u.Administers() {
			ordinary = append(ordinary, u.Name)
			continue
		}
		users = append(users, u)
		administered = administered || u.Administers()
		initial = initial || u.Flags&dataroot.Initial != 0
	}
	if !administered && len(users) > 0 {
		locked := &LocksOutError{}
		for _, u := range users {
			locked.Users = append(locked.Users, u.Name)
		}
		return locked
	}
	if admin.Name != "" {
		if !initial {
			admin.Flags |= dataroot.Initial
		}
		users = append([]dataroot.User{admin}, users...)
		others = slices.DeleteFunc(others, func(name string) bool { return name == admin.Name })
	}
	for _, name := range others {
		e.found(dataroot.Finding{File: "user " + name, Reason: dataroot.Reason(LeftOut),
			Detail: "the password is hashed as the original cannot; there it must be made anew"})
	}
	for _, name := range ordinary {
		e.found(dataroot.Finding{File: "user " + name, Reason: dataroot.Reason(LeftOut), Detail: "no administrator who may log in"})
	}
	e.sum.Users, e.sum.UsersLeftOut = len(users), len(others)+len(ordinary)
	return errors.Join(e.told, e.to.Users(users))
}

// site writes what the adapter's directory holds, which is laid out like the original's.
func (e *legacyExport) site(ctx context.Context) error {
	root, err := dataroot.Open(e.Dir)
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*dataroot.NotDataRootError)) {
		return nil // original clients were never here
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if id := root.SiteID(func(f dataroot.Finding) {
		if f.Reason != dataroot.Missing { // before the first start there is none
			e.found(f)
		}
	}); id != uuid.Nil {
		if err := e.to.SiteID(id); err != nil {
			return err
		}
		e.sum.Site = true
	}
	for _, k := range root.Keys(e.found) {
		if err := e.to.Key(k.Name, k.Private); err != nil {
			return err
		}
		e.sum.Keys++
	}
	hosts, err := legacy.Hosts(e.Dir)
	if err == nil {
		err = e.to.Hosts(hosts, time.Now())
	}
	if err != nil {
		return err
	}
	e.sum.Hosts = len(hosts)
	return e.files(ctx, root)
}

// files writes the files of users that there are.
func (e *legacyExport) files(ctx context.Context, root *dataroot.Root) error {
	names := map[string]string{} // of users, by their directories
	if e.Users != nil {
		users, err := e.Users.Users(ctx)
		if err != nil {
			return err
		}
		for _, u := range users {
			names[legacy.UserDirectory(u.Name)] = u.Name
		}
	}
	found := func(f dataroot.Finding) {
		if f.Reason != dataroot.NotTaken {
			e.sum.LeftOut++
			e.found(f)
		}
	}
	for f, err := range root.Files(ctx, found) {
		if err != nil {
			return err
		}
		if legacy.IsUnfinished(f.Name) {
			continue
		}
		name, known := names[f.User]
		if !known {
			name = f.User
		}
		content, err := f.Open()
		if err != nil {
			found(dataroot.Finding{File: f.Path(), Reason: dataroot.BadFile, Detail: err.Error()})
			continue
		}
		err = errors.Join(e.to.File(name, f.Name, content), content.Close())
		if err != nil {
			return err
		}
		e.sum.Files++
	}
	return e.told
}
