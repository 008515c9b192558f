package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy/client"
)

// Source is what replication needs of a ledger.
type Source interface {
	// Kinds returns the kinds of which there are records.
	Kinds() []string
	Count(ctx context.Context, kind string) (uint64, error)
	At(ctx context.Context, kind string, position uint64) (Record, error)
	// Watch returns a channel that receives after the ledger has changed, until stop is called.
	Watch() (changed <-chan struct{}, stop func())
	// Put is that of [Ledger].
	Put(ctx context.Context, kind string, packed []byte, hops uint32) error
}

// ReplicationOptions configure [StartReplication].
type ReplicationOptions struct {
	// Dir is the data root, where it is kept how far each host has come.
	Dir string
	// Hosts returns the hosts to send records to, "host:port". It is asked again and again.
	Hosts func() []string
	// User and Password are the login at those hosts. The original's own replicator uses admin and 1234.
	User, Password string
	// MaxHops is how often a record may have been sent on in all: one that came here with fewer is sent.
	MaxHops uint32
	// Dial opens connections; nil is TCP.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Logger *slog.Logger
}

// Replication sends the records of a ledger to original servers (docs/original-protocol.md §8), each to each once: what
// a server has already counts as sent. A host that is down gets everything when it is back. What it refuses is tried
// again, at once and then with growing pauses, for four days, and then given up. It also fetches what those servers
// have and the ledger has not, since their own replicators soon give up when a node is away. How far each host has come
// is kept over restarts; at worst the last second of it is done again.
type Replication struct {
	o      ReplicationOptions
	source Source
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	hosts   map[string]*target
	changed bool // since the state was written
}

// target is a host to replicate to.
type target struct {
	stop context.CancelFunc // nil while nobody sends to it
	wake chan struct{}

	mu sync.Mutex
	hostState
}

// hostState is what is kept of a host over restarts.
type hostState struct {
	Next    map[string]uint64 `json:"next"`    // by kind, the position of the first record that was not looked at
	Fetched map[string]uint64 `json:"fetched"` // by kind, the position at the host of the first record that was not looked at
	Refused []refusedRecord   `json:"refused,omitempty"`
	ReplicationCounts
	State        HostState `json:"state"`
	Why          string    `json:"why,omitempty"`
	FailingSince time.Time `json:"failing_since,omitzero"`
}

// ReplicationCounts says what became of records at a host, and of those that were fetched from it, since it was added.
type ReplicationCounts struct {
	Sent     uint64 `json:"sent"`
	Held     uint64 `json:"held"`     // that it had already
	NotSent  uint64 `json:"not_sent"` // that had been sent on as often as may be
	GivenUp  uint64 `json:"given_up"`
	Taken    uint64 `json:"taken"`     // fetched, and new here
	NotTaken uint64 `json:"not_taken"` // that the host cannot show, or the ledger does not take
}

// refusedRecord is a record that a host refused, and that it gets again.
type refusedRecord struct {
	Kind     string    `json:"kind"`
	Position uint64    `json:"position"`
	Since    time.Time `json:"since"`
	Again    time.Time `json:"again"`
	Why      string    `json:"why"`
}

// HostState says how a host is doing.
type HostState string

// The states of a host.
const (
	HostOff         HostState = "off"         // the node does not replicate
	HostNew         HostState = "new"         // nothing was sent yet
	HostGood        HostState = "good"        // the last exchange went well
	HostUnreachable HostState = "unreachable" // there is no connection, or it breaks off
	HostLogin       HostState = "login"       // it does not take the login
	HostProduction  HostState = "production"  // it wants a second factor before it takes records, which no replicator has
)

// HostStatus says how replication to a host is going.
type HostStatus struct {
	Host    string    `json:"host"`
	State   HostState `json:"state"`
	Why     string    `json:"why,omitempty"`
	Behind  uint64    `json:"behind"`  // records that it was not offered yet
	Refused int       `json:"refused"` // that it refused and is going to be offered again
	ReplicationCounts
	FailingSince time.Time `json:"failing_since,omitzero"`
}

const (
	replicationFile = "replication.json"
	// maxReplicationFile bounds that file in bytes, and maxRefused the refused records of a host in it. While there are so
	// many a host gets no new records.
	maxReplicationFile = 64 << 20
	maxRefused         = 10_000
	// giveUpAfter is for how long a refused record is tried again.
	giveUpAfter = 4 * 24 * time.Hour
	// retryFirst and retryLongest bound the pause before a host or a refused record is tried again.
	retryFirst, retryLongest = 2 * time.Second, time.Hour
	// replicationIdle is for how long a connection is kept when there is nothing to send; the original's ends after 20 s.
	replicationIdle = 5 * time.Second
	// saveEvery is how often the state is written while it changes.
	saveEvery = time.Second
	// hostsEvery is how often it is looked whether hosts were added or removed.
	hostsEvery = time.Second
	// pushTimeout is how long a host may take for an exchange; it may delay its greeting by 3 s.
	pushTimeout = 20 * time.Second
)

// StartReplication begins to send records, until Close.
func StartReplication(o ReplicationOptions, source Source) (*Replication, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Replication{o: o, source: source, log: o.Logger, hosts: map[string]*target{}}
	states, err := readReplication(o.Dir)
	if err != nil {
		return nil, err
	}
	for host, state := range states {
		r.hosts[host] = &target{wake: make(chan struct{}, 1), hostState: *state}
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.followHosts()
	r.done.Go(r.run)
	return r, nil
}

func readReplication(dir string) (map[string]*hostState, error) {
	file := filepath.Join(dir, replicationFile)
	raw, err := store.ReadBounded(file, maxReplicationFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	states := map[string]*hostState{}
	if err == nil {
		err = json.Unmarshal(raw, &states)
	}
	for host, state := range states {
		if err == nil && (!IsHost(host) || state == nil || len(state.Refused) > maxRefused) {
			err = fmt.Errorf("entry %q is damaged", host)
		}
		if err == nil && state.Next == nil {
			state.Next = map[string]uint64{}
		}
		if err == nil && state.Fetched == nil {
			state.Fetched = map[string]uint64{}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which says how far replication has come: %w; without the file everything is offered again, which does no harm", file, err)
	}
	return states, nil
}

// Close ends replication and returns when nothing of it runs any more.
func (r *Replication) Close() error {
	r.stop()
	r.done.Wait()
	return r.save()
}

// Status returns how replication to each host is going, by host.
func (r *Replication) Status(ctx context.Context) ([]HostStatus, error) {
	r.mu.Lock()
	hosts := make(map[string]*target, len(r.hosts))
	for host, t := range r.hosts {
		hosts[host] = t
	}
	r.mu.Unlock()
	all := []HostStatus{}
	for host, t := range hosts {
		t.mu.Lock()
		s := HostStatus{Host: host, State: t.State, Why: t.Why, Refused: len(t.Refused), ReplicationCounts: t.ReplicationCounts, FailingSince: t.FailingSince}
		next := maps.Clone(t.Next)
		t.mu.Unlock()
		for _, kind := range r.source.Kinds() {
			count, err := r.source.Count(ctx, kind)
			if err != nil {
				return nil, err
			}
			s.Behind += count - min(count, next[kind])
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b HostStatus) int { return strings.Compare(a.Host, b.Host) })
	return all, nil
}

// run wakes the senders when there is something new, and keeps the state on disk.
func (r *Replication) run() {
	changed, unwatch := r.source.Watch()
	defer unwatch()
	save, look := time.NewTicker(saveEvery), time.NewTicker(hostsEvery)
	defer save.Stop()
	defer look.Stop()
	for {
		select {
		case <-changed:
			r.mu.Lock()
			for _, t := range r.hosts {
				t.kick()
			}
			r.mu.Unlock()
		case <-look.C:
			r.followHosts()
		case <-save.C:
			if err := r.save(); err != nil {
				r.log.Error("it cannot be kept how far replication has come; after a restart hosts are offered what they have", "error", err)
			}
		case <-r.ctx.Done():
			return
		}
	}
}

func (t *target) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// followHosts begins to send to hosts that were added, and forgets those that were removed.
func (r *Replication) followHosts() {
	wanted := r.o.Hosts()
	r.mu.Lock()
	defer r.mu.Unlock()
	for host, t := range r.hosts {
		if !slices.Contains(wanted, host) {
			if t.stop != nil {
				t.stop()
			}
			delete(r.hosts, host)
			r.changed = true
		}
	}
	for _, host := range wanted {
		t := r.hosts[host]
		if t == nil {
			t = &target{wake: make(chan struct{}, 1), hostState: hostState{State: HostNew, Next: map[string]uint64{}, Fetched: map[string]uint64{}}}
			r.hosts[host] = t
			r.changed = true
		}
		if t.stop == nil {
			var ctx context.Context
			ctx, t.stop = context.WithCancel(r.ctx)
			s := &sender{r: r, t: t, host: host, log: r.log.With("host", host)}
			r.done.Go(func() { s.run(ctx) })
		}
	}
}

func (r *Replication) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return nil
	}
	states := map[string]*hostState{}
	for host, t := range r.hosts {
		t.mu.Lock()
		state := t.hostState
		state.Refused = slices.Clone(state.Refused)
		state.Next, state.Fetched = maps.Clone(state.Next), maps.Clone(state.Fetched)
		t.mu.Unlock()
		states[host] = &state
	}
	raw, err := json.Marshal(states)
	if err == nil {
		err = store.WriteFileAtomic(filepath.Join(r.o.Dir, replicationFile), raw, 0o600)
	}
	if err == nil {
		r.changed = false
	}
	return err
}

// change changes a host's state.
func (r *Replication) change(t *target, how func()) {
	t.mu.Lock()
	how()
	t.mu.Unlock()
	r.mu.Lock()
	r.changed = true
	r.mu.Unlock()
}

// sender sends to one host, and fetches from it. Its fields belong to its goroutine.
type sender struct {
	r     *Replication
	t     *target
	host  string
	log   *slog.Logger
	conn  *client.Conn
	fetch time.Time // when to look next what the host has
}

func (s *sender) run(ctx context.Context) {
	defer s.hangUp()
	pause := retryFirst
	for {
		err := s.sendAll(ctx)
		if err == nil && !time.Now().Before(s.fetch) {
			err = s.fetchSome(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		var again <-chan time.Time
		if err != nil {
			s.hangUp()
			s.failed(err)
			s.fetch = time.Time{}
			// Hosts that wait for each other must not fall into step.
			again = time.After(pause/2 + rand.N(pause))
			pause = min(2*pause, retryLongest)
			select {
			case <-again:
			case <-ctx.Done():
				return
			}
			continue
		}
		pause = retryFirst
		next := s.fetch
		if refused, ok := s.nextRefused(); ok && refused.Before(next) {
			next = refused
		}
		again = time.After(max(time.Until(next), 0))
		var idle <-chan time.Time
		if s.conn != nil {
			idle = time.After(replicationIdle)
		}
		select {
		case <-s.t.wake:
		case <-again:
		case <-idle:
			s.hangUp()
		case <-ctx.Done():
			return
		}
	}
}

func (s *sender) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// hostError is why a host gets nothing.
type hostError struct {
	state HostState
	err   error
}

func (e *hostError) Error() string { return e.err.Error() }
func (e *hostError) Unwrap() error { return e.err }

// failed notes why a host gets nothing, and tells the operator when that is news.
func (s *sender) failed(err error) {
	state := HostUnreachable
	if e := (*hostError)(nil); errors.As(err, &e) {
		state = e.state
	}
	s.r.change(s.t, func() {
		if s.t.State != state {
			s.log.Warn("records are not sent to an original server", "state", string(state), "error", err)
		}
		if s.t.FailingSince.IsZero() {
			s.t.FailingSince = time.Now()
		}
		s.t.State, s.t.Why = state, err.Error()
	})
}

// connect opens a session and logs in.
func (s *sender) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	c, err := client.Dial(ctx, s.host, client.Options{Timeout: pushTimeout, Dial: s.r.o.Dial})
	if err != nil {
		return err
	}
	s.conn = c
	if err := c.StartSession(ctx); err != nil {
		return err
	}
	mode, err := c.Do(ctx, "dmode")
	if err != nil {
		return err
	}
	if items := client.Items(mode); len(items) == 2 && items[1] == record.Value(record.Text("0")) {
		return &hostError{HostProduction, errors.New("the server is in production mode: it takes records only after a second factor, which a replicator cannot give. Let it run in development mode, or send to a node")}
	}
	if err := c.Login(ctx, s.r.o.User, s.r.o.Password); err != nil {
		if refused := (*client.RefusedError)(nil); errors.As(err, &refused) {
			return &hostError{HostLogin, fmt.Errorf("login as %s: %w", s.r.o.User, err)}
		}
		return err
	}
	s.r.change(s.t, func() {
		if s.t.State != HostGood {
			s.log.Info("sending records to an original server")
		}
		s.t.State, s.t.Why, s.t.FailingSince = HostGood, "", time.Time{}
	})
	return nil
}

// sendAll sends what is due.
func (s *sender) sendAll(ctx context.Context) error {
	if err := s.sendRefused(ctx); err != nil {
		return err
	}
	for _, kind := range s.r.source.Kinds() {
		count, err := s.r.source.Count(ctx, kind)
		if err != nil {
			return err
		}
		for s.t.Next[kind] < count { // only this goroutine changes it
			if len(s.t.Refused) >= maxRefused {
				return fmt.Errorf("it refuses %d records; the last: %s", len(s.t.Refused), s.t.Refused[len(s.t.Refused)-1].Why)
			}
			position := s.t.Next[kind]
			outcome, why, err := s.send(ctx, kind, position)
			if err != nil {
				return err
			}
			s.r.change(s.t, func() {
				s.t.Next[kind] = position + 1
				if !s.t.count(outcome) {
					now := time.Now()
					s.t.Refused = append(s.t.Refused, refusedRecord{kind, position, now, now.Add(retryFirst), why})
				}
			})
		}
	}
	return nil
}

// sendRefused tries refused records whose time has come.
func (s *sender) sendRefused(ctx context.Context) error {
	for i := 0; i < len(s.t.Refused); {
		rec := s.t.Refused[i]
		if time.Now().Before(rec.Again) {
			i++
			continue
		}
		outcome, why, err := s.send(ctx, rec.Kind, rec.Position)
		if err != nil {
			return err
		}
		now := time.Now()
		age := now.Sub(rec.Since)
		s.r.change(s.t, func() {
			switch {
			case s.t.count(outcome):
				s.t.Refused = slices.Delete(s.t.Refused, i, i+1)
			case age >= giveUpAfter:
				s.t.GivenUp++
				s.t.Refused = slices.Delete(s.t.Refused, i, i+1)
				s.log.Error("a record is given up: the server refused it for four days", "kind", rec.Kind, "position", rec.Position, "reply", why)
			default:
				// Each pause is as long as all before it together.
				s.t.Refused[i].Again = now.Add(max(retryFirst, min(age, retryLongest)))
				s.t.Refused[i].Why = why
				i++
			}
		})
	}
	return nil
}

func (s *sender) nextRefused() (next time.Time, ok bool) {
	for _, rec := range s.t.Refused {
		if !ok || rec.Again.Before(next) {
			next, ok = rec.Again, true
		}
	}
	return next, ok
}

// sent is what became of a record at a host.
type sent int

const (
	sentNow sent = iota
	sentBefore
	sentNever // it was sent on often enough
	sentRefused
)

// count counts an outcome, and reports whether it is the last of that record. The caller holds mu.
func (t *target) count(outcome sent) bool {
	switch outcome {
	case sentNow:
		t.Sent++
	case sentBefore:
		t.Held++
	case sentNever:
		t.NotSent++
	default:
		return false
	}
	return true
}

// send offers a record to the host.
func (s *sender) send(ctx context.Context, kind string, position uint64) (outcome sent, why string, err error) {
	rec, err := s.r.source.At(ctx, kind, position)
	if err != nil {
		return 0, "", err
	}
	if rec.Hops >= s.r.o.MaxHops {
		return sentNever, "", nil
	}
	if err := s.connect(ctx); err != nil {
		return 0, "", err
	}
	rec.Hops++
	fields, err := clientFields(rec)
	if err != nil {
		return 0, "", err
	}
	reply, err := s.conn.Call(ctx, "rput", kind, fields)
	if err != nil {
		return 0, "", err
	}
	if client.Refusal("rput", reply) == nil {
		return sentNow, "", nil
	}
	text := client.Refusal("rput", reply).Error()
	if items := client.Items(reply); len(items) > 1 {
		if said, _ := items[1].(record.Text); strings.Contains(string(said), "Duplicate") {
			return sentBefore, "", nil
		}
	}
	return sentRefused, text, nil
}
