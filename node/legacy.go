package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/node/accounts"
	"pyvnode/p2p"
)

// LegacyDir is the name of the directory, in a data directory, of what original clients have on the server.
const LegacyDir = "legacy"

// legacyOptions returns the options for the server of the original protocol, nil when it is off.
func legacyOptions(c *Config) *legacy.Options {
	address := c.text(SettingLegacyListen)
	if address == LegacyOff {
		return nil
	}
	return &legacy.Options{
		Address:        address,
		Dir:            c.LegacyDir(),
		Production:     c.text(SettingLegacyMode) == LegacyProduction,
		Timeout:        time.Duration(c.integer(SettingLegacyTimeout)) * time.Second,
		ThrottleOff:    !c.boolean(SettingLegacyThrottle),
		UiniOff:        !c.boolean(SettingLegacyUini),
		ReplicationOff: !c.boolean(SettingLegacyReplication),
	}
}

// serveLegacy begins to serve the original protocol, where that is wanted.
func (r *Running) serveLegacy(ctx context.Context) error {
	if r.o.Legacy == nil {
		return nil
	}
	log := part(r.o.Logger, PartLegacy)
	var err error
	if r.users, err = OpenAccounts(Options{Data: r.o.Data, Logger: log}); err != nil {
		return err
	}
	o := *r.o.Legacy
	o.Logger = log
	if r.legacy, err = legacy.Start(ctx, o, legacyLedger{r.node, log}, legacyAccounts{r.users}); err != nil {
		return err
	}
	return r.replicate()
}

// Replication is the login for original servers to which records are sent.
type Replication struct{ User, PasswordFile string }

// ReplicationStatus says how the original servers that administrators named get records: all of them, also when nothing is
// sent.
func (r *Running) ReplicationStatus(ctx context.Context) ([]legacy.HostStatus, error) {
	if r.replication != nil {
		return r.replication.Status(ctx)
	}
	all := []legacy.HostStatus{}
	if r.legacy != nil {
		for _, host := range r.legacy.Hosts() {
			all = append(all, legacy.HostStatus{Host: host, State: legacy.HostOff, Why: "no password is configured (" + SettingLegacyPassword + ")"})
		}
	}
	return all, nil
}

// maxPasswordFile is the greatest length of a file with a password in bytes.
const maxPasswordFile = 4096

// replicate begins to send records to the original servers that administrators named.
func (r *Running) replicate() error {
	if r.o.Legacy == nil || r.o.Legacy.ReplicationOff {
		return nil
	}
	log := part(r.o.Logger, PartLegacy)
	if r.o.Replication.PasswordFile == "" {
		if hosts := r.legacy.Hosts(); len(hosts) > 0 {
			log.Warn("nothing is sent to the original servers that administrators named: no password is configured", "hosts", hosts, "setting", SettingLegacyPassword)
		}
		return nil
	}
	file := r.o.Replication.PasswordFile
	info, err := os.Stat(file)
	if err == nil {
		err = store.CheckPrivate(file, info)
	}
	if err != nil {
		return fmt.Errorf("password for original servers: %w", err)
	}
	password, err := store.ReadBounded(file, maxPasswordFile)
	if err == nil {
		err = formError(password)
	}
	if err != nil {
		return fmt.Errorf("password for original servers: %s: %w", file, err)
	}
	r.replication, err = legacy.StartReplication(legacy.ReplicationOptions{
		Dir: r.o.Legacy.Dir, Hosts: r.legacy.Hosts, User: r.o.Replication.User, Password: strings.TrimRight(string(record.TrimMark(password)), "\r\n"),
		MaxHops: uint32(r.node.genesis.MaxHops), Logger: log,
	}, replicated{legacyLedger{r.node, log}})
	return err
}

// replicated is a node's ledger to replication. How often a record was sent on counts between original servers and nodes.
// The way from node to node does not count: it is a matter of the network, is not told by entries, and could not make
// a record go round, since a network holds it once. So what a client or an original server put at another node goes from here
// as what a client put here does.
type replicated struct{ legacyLedger }

// At implements [legacy.Source].
func (l replicated) At(ctx context.Context, kind string, position uint64) (legacy.Record, error) {
	e, err := l.at(ctx, kind, position)
	r, err := legacyRecord(e, err)
	if err == nil && e.Header.Origin != l.node.own {
		r.Hops = 0
	}
	return r, err
}

// checkLegacyListen is the check of [SettingLegacyListen].
func checkLegacyListen(text string) error {
	if text == LegacyOff {
		return nil
	}
	return checkHostPort(text)
}

// legacyLedger is a node's ledger to original clients.
type legacyLedger struct {
	node *Node
	log  *slog.Logger
}

// Put implements [legacy.Ledger].
func (l legacyLedger) Put(ctx context.Context, kind string, packed []byte, hops uint32) error {
	if err := l.node.CheckWritable(kind); err != nil { // first: whoever sends what is private must learn that, whatever else is wrong
		return &legacy.RefusedError{Reason: err.Error()}
	}
	d, err := (&ledger.Checker{Genesis: l.node.genesis}).Draft(kind, packed)
	switch {
	case errors.As(err, new(*record.Error)):
		return err
	case err != nil:
		return &legacy.RefusedError{Reason: err.Error()}
	}
	d.Hops = hops
	wait, err := l.node.submit(ctx, d)
	if err == nil {
		err = wait(context.WithoutCancel(ctx))[0].Err // what is on its way gets stored
	}
	var notReady *p2p.NotReadyError
	var frozen *store.FrozenError
	switch {
	case errors.As(err, new(*store.DuplicateError)):
		return legacy.ErrDuplicate
	case errors.As(err, new(*store.ConflictError)):
		return legacy.ErrConflict
	case errors.As(err, &notReady):
		return &legacy.RefusedError{Reason: notReady.Error(), NotNow: true}
	case errors.Is(err, store.ErrReadOnly):
		return &legacy.RefusedError{Reason: "this node is no member of its network, so it takes no records; ask one that is", NotNow: true}
	case errors.As(err, &frozen):
		return &legacy.RefusedError{Reason: "this node's log is frozen, because there is evidence against it; use another node", NotNow: true}
	case errors.Is(err, store.ErrClosed), errors.Is(err, ErrStopping):
		return &legacy.RefusedError{Reason: "the node is stopping; try again later", NotNow: true}
	case errors.Is(err, store.ErrFailed):
		l.log.Error("a record was refused because the ledger cannot be written", "error", err)
		return &legacy.RefusedError{Reason: "the node cannot write to its disk any more; tell its operator", NotNow: true}
	}
	return err
}

// Known implements [legacy.Ledger]. An original server has a directory for votes from the start.
func (l legacyLedger) Known(kind string) bool { return kind == "vote" || l.node.Store.Count(kind) > 0 }

// Strength implements [legacy.Ledger].
func (l legacyLedger) Strength(kind string) int { return l.node.genesis.StrengthOf(kind) }

// Count implements [legacy.Ledger].
func (l legacyLedger) Count(ctx context.Context, kind string) (uint64, error) {
	return l.node.RecordCount(ctx, kind)
}

// Get implements [legacy.Ledger].
func (l legacyLedger) Get(ctx context.Context, kind string, header uuid.UUID) (legacy.Record, error) {
	e, err := l.node.Named(ctx, kind, header)
	return legacyRecord(e, err)
}

// At implements [legacy.Ledger].
func (l legacyLedger) At(ctx context.Context, kind string, position uint64) (legacy.Record, error) {
	return legacyRecord(l.at(ctx, kind, position))
}

// Position implements [legacy.Ledger].
func (l legacyLedger) Position(ctx context.Context, kind string, header uuid.UUID) (uint64, error) {
	n, err := l.node.RecordNumber(ctx, kind, header)
	if errors.Is(err, store.ErrNotFound) {
		err = legacy.ErrNotFound
	}
	return n, err
}

func (l legacyLedger) at(ctx context.Context, kind string, position uint64) (*store.Stored, error) {
	ref, err := l.node.RecordAt(ctx, kind, position)
	if err != nil {
		return nil, err
	}
	return l.node.Get(ctx, ref)
}

func legacyRecord(e *store.Stored, err error) (legacy.Record, error) {
	if errors.Is(err, store.ErrNotFound) {
		err = legacy.ErrNotFound
	}
	if err != nil {
		return legacy.Record{}, err
	}
	return legacy.Record{Header: e.Header.RecordUUID, Packed: e.Record, Hops: e.Hops}, nil
}

// Between implements [legacy.Ledger].
func (l legacyLedger) Between(ctx context.Context, kind string, from, to float64, limit int) ([]uuid.UUID, bool, error) {
	span, ok := spanOf(from, to, false)
	if !ok {
		return nil, false, nil
	}
	return l.node.Latest(ctx, kind, span, limit)
}

// CountBetween implements [legacy.Ledger].
func (l legacyLedger) CountBetween(ctx context.Context, kind string, from, to float64) (uint64, error) {
	span, ok := spanOf(from, to, true)
	if !ok {
		return 0, nil
	}
	return l.node.RecordsIn(ctx, kind, span)
}

// All implements [legacy.Ledger].
func (l legacyLedger) All(ctx context.Context, kind string) iter.Seq2[legacy.Record, error] {
	return func(yield func(legacy.Record, error) bool) {
		count, err := l.Count(ctx, kind)
		if err != nil {
			yield(legacy.Record{}, err)
			return
		}
		for n := range count {
			r, err := l.At(ctx, kind, n)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Kinds implements [legacy.Source].
func (l legacyLedger) Kinds() []string { return l.node.Kinds() }

// Watch implements [legacy.Source].
func (l legacyLedger) Watch() (changed <-chan struct{}, stop func()) { return l.node.Watch() }

// spanOf returns the span between two times in Unix seconds, with or without them; ok is false when nothing is between
// them.
func spanOf(from, to float64, inclusive bool) (span store.TimeSpan, ok bool) {
	if math.IsNaN(from) || math.IsNaN(to) {
		return span, false
	}
	first, end := ticks(from, math.Floor)+1, ticks(to, math.Ceil)
	if inclusive {
		first, end = ticks(from, math.Ceil), ticks(to, math.Floor)+1
	}
	first = max(first, 1) // headers without a time are at 0, and no time is as early
	if first >= end {
		return span, false
	}
	return store.TimeSpan{From: uint64(first), To: uint64(end)}, true
}

// ticks returns a time in Unix seconds as version-1 UUIDs have it, in units of 100 ns since 15 October 1582 (RFC 9562
// §5.1), with its last part rounded. Times before 1582 or after 5236 are as good as the first or last that there are.
func ticks(unix float64, round func(float64) float64) int64 {
	const epoch, last = 0x01b21dd213814000, 1 << 60
	unix = max(-epoch/1e7, min(unix, (last-epoch)/1e7))
	seconds := math.Floor(unix)
	return int64(seconds)*1e7 + epoch + int64(round((unix-seconds)*1e7))
}

// legacyAccounts are a node's users to the server of the original protocol.
type legacyAccounts struct{ *accounts.Accounts }

// legacyErrors says which of its errors the adapter knows an error by.
var legacyErrors = []struct{ ours, theirs error }{
	{accounts.ErrNoUser, legacy.ErrNoUser},
	{accounts.ErrBadPassword, legacy.ErrBadPassword},
	{accounts.ErrDisabled, legacy.ErrDisabled},
	{accounts.ErrAddress, legacy.ErrAddress},
	{accounts.ErrHasInitial, legacy.ErrHasInitial},
	{accounts.ErrUserExists, legacy.ErrUserExists},
	{accounts.ErrUserName, legacy.ErrUserName},
	{accounts.ErrPassword, legacy.ErrPassword},
	{accounts.ErrInitialUser, legacy.ErrInitialUser},
	{accounts.ErrLastAdministrator, legacy.ErrLastAdministrator},
	{accounts.ErrBadCode, legacy.ErrBadCode},
	{accounts.ErrNotEnrolled, legacy.ErrNotEnrolled},
	{accounts.ErrAlreadyShown, legacy.ErrAlreadyShown},
}

func legacyError(err error) error {
	if err == nil {
		return nil
	}
	var limited *accounts.LimitedError
	if errors.As(err, &limited) {
		return &legacy.LimitedError{Wait: limited.RetryAfter}
	}
	for _, e := range legacyErrors {
		if errors.Is(err, e.ours) {
			return e.theirs
		}
	}
	return err
}

func legacyUser(u accounts.User, err error) (legacy.User, error) {
	return legacy.User{Name: u.Name, Flags: legacy.Flags(u.Flags), Enrolled: u.Enrolled, Generation: u.Generation}, legacyError(err)
}

// Authenticate implements [legacy.Accounts].
func (a legacyAccounts) Authenticate(ctx context.Context, name, password string, from netip.Addr) (legacy.User, error) {
	return legacyUser(a.Accounts.Authenticate(ctx, name, password, from))
}

// Initialise implements [legacy.Accounts].
func (a legacyAccounts) Initialise(ctx context.Context, name, password string) error {
	return legacyError(a.Accounts.Initialise(ctx, name, password))
}

// Add implements [legacy.Accounts].
func (a legacyAccounts) Add(ctx context.Context, name, password string, flags legacy.Flags) error {
	return legacyError(a.Accounts.Add(ctx, name, password, accounts.Flags(flags)))
}

// Delete implements [legacy.Accounts].
func (a legacyAccounts) Delete(ctx context.Context, name string) error {
	return legacyError(a.Accounts.Delete(ctx, name, accounts.KeepAdministrator))
}

// SetDisabled implements [legacy.Accounts].
func (a legacyAccounts) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return legacyError(a.Accounts.SetDisabled(ctx, name, disabled, accounts.KeepAdministrator))
}

// SetPassword implements [legacy.Accounts].
func (a legacyAccounts) SetPassword(ctx context.Context, name, password string) error {
	return legacyError(a.Accounts.SetPassword(ctx, name, password))
}

// ChangePassword implements [legacy.Accounts].
func (a legacyAccounts) ChangePassword(ctx context.Context, u legacy.User, password string) (legacy.User, error) {
	return legacyUser(a.Accounts.ChangePassword(ctx, accounts.User{Name: u.Name, Generation: u.Generation}, password))
}

// User implements [legacy.Accounts].
func (a legacyAccounts) User(ctx context.Context, name string) (legacy.User, error) {
	return legacyUser(a.Accounts.User(ctx, name))
}

// Users implements [legacy.Accounts].
func (a legacyAccounts) Users(ctx context.Context) ([]legacy.User, error) {
	all, err := a.Accounts.Users(ctx)
	users := make([]legacy.User, len(all))
	for i, u := range all {
		users[i], _ = legacyUser(u, nil)
	}
	return users, legacyError(err)
}

// VerifyCode implements [legacy.Accounts].
func (a legacyAccounts) VerifyCode(ctx context.Context, name, code string, from netip.Addr) error {
	return legacyError(a.Accounts.VerifyCode(ctx, name, code, from))
}

// QRImage implements [legacy.Accounts].
func (a legacyAccounts) QRImage(ctx context.Context, name string, verified bool) ([]byte, error) {
	image, err := a.Accounts.QRImage(ctx, name, verified)
	return image, legacyError(err)
}
