package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/p2p"
)

// The local API lets the command line work with a node that runs: HTTP over a Unix socket in the data directory, see
// [APISocket]. It is for the same version of this program on the same machine, and no public interface.
//
//	GET  /v1/status                   NodeStatus
//	GET  /v1/peers, /v1/links         []p2p.PeerStatus, []p2p.LinkStatus
//	GET  /v1/replication              []legacy.HostStatus
//	GET  /v1/levels, PUT              levels of what is logged, by part
//	POST /v1/records                  lines as for Lines in, a line of apiOutcome for each out, as soon as it is durable
//	POST /v1/entries                  an entry file in, lines of apiImport out
//	POST /v1/snapshots                a line with an ID; the snapshot lives as long as the request
//	GET  /v1/snapshots/{id}/value     ?key; status 204 when there is no such key
//	POST /v1/snapshots/{id}/values    keys in, see appendText; their values out, see appendValue, as many as fit a page
//	GET  /v1/snapshots/{id}/pairs     ?lower&upper&bytes; about so many bytes of pairs, see appendPair
//
// Keys in queries are in hex. Errors are apiError, as the body of an answer with another status than 200, and at the end of a stream.

// Bounds of the API. Those of texts and files are the ones of [Lines] and package ledger.
const (
	maxAPIHeader  = 32 << 10
	maxAPIBody    = 64 << 10 // of requests that are not streams
	maxAPIStreams = 64       // at once, snapshots that are held included
	maxAPIKeys    = 256      // in one request
	maxPage       = 1 << 20  // bytes of pairs in one answer

	apiTimeout       = 30 * time.Second // of a request that is no stream
	apiStreamTimeout = time.Minute      // of a stream whose client does not read
	apiGrace         = 10 * time.Second // for requests under way when the node stops
)

// moreHeader says that pairs follow behind the last one of an answer.
const moreHeader = "Pyvnode-More"

// NodeStatus is a snapshot of a node that runs.
type NodeStatus struct {
	p2p.Status
	Name     string          `json:"name"` // of the network
	Network  ledger.Hash     `json:"network"`
	Version  string          `json:"version"`
	Process  int             `json:"process"`
	Data     string          `json:"data"`
	API      string          `json:"api"`
	Metrics  string          `json:"metrics,omitempty"`
	Legacy   string          `json:"legacy,omitempty"` // where original clients connect
	Started  time.Time       `json:"started"`
	Stopped  string          `json:"stopped,omitempty"` // why the ledger takes no writes any more, not even those of others
	Recovery *store.Recovery `json:"recovery"`
}

// apiOutcome is an [Outcome] on its way, or the end of them.
type apiOutcome struct {
	Line      int              `json:"line,omitempty"`
	Kind      string           `json:"kind,omitempty"`
	Header    uuid.UUID        `json:"header"`
	ContentID record.ContentID `json:"content_id"`
	Status    Status           `json:"status,omitempty"`
	Ack       store.Ack        `json:"ack"`
	Held      store.Ref        `json:"held"`
	Error     *apiError        `json:"error,omitempty"`
	End       bool             `json:"end,omitempty"`
}

// apiImport is how far an import is, or its end.
type apiImport struct {
	Progress ImportProgress `json:"progress"`
	Summary  EntrySummary   `json:"summary"` // at the end
	Error    *apiError      `json:"error,omitempty"`
	End      bool           `json:"end,omitempty"`
}

type apiSnapshot struct {
	ID string `json:"id"`
}

// api serves the local API.
type api struct {
	node        *Node
	net         network
	status      func() NodeStatus
	replication func(context.Context) ([]legacy.HostStatus, error)
	levels      *Levels
	log         *slog.Logger
	count       func(route string, status int)
	server      *http.Server
	streams     chan struct{} // a place for each that is served
	active      atomic.Int64  // requests under way

	stopping context.Context // ends streams when the node stops
	stop     context.CancelFunc

	mu        sync.Mutex
	snapshots map[string]*heldSnapshot
}

func newAPI(n *Node, net network, levels *Levels, log *slog.Logger) *api {
	a := &api{
		node: n, net: net, levels: levels, log: log,
		count:     func(string, int) {},
		streams:   make(chan struct{}, maxAPIStreams),
		snapshots: map[string]*heldSnapshot{},
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.server = &http.Server{
		Handler:           a.routes(),
		ReadHeaderTimeout: apiTimeout,
		ReadTimeout:       apiTimeout,
		WriteTimeout:      apiTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxAPIHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a
}

// serve answers requests until shutdown, and then returns nil.
func (a *api) serve(l net.Listener) error {
	if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("local API: %w", err)
	}
	return nil
}

// shutdown stops accepting requests and finishes those under way: streams of records get the outcomes of what they have
// sent, imports end behind the batches under way, snapshots are released.
func (a *api) shutdown() error {
	a.stop()
	ctx, cancel := context.WithTimeout(context.Background(), apiGrace)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if err != nil && a.active.Load() == 0 {
		err = a.server.Close() // connections on which nothing is asked
	} else if err != nil {
		err = errors.Join(fmt.Errorf("local API: requests under way were cut off: %w", err), a.server.Close())
	}
	for range cap(a.streams) { // taking every place, one waits until nobody uses the ledger any more
		a.streams <- struct{}{}
	}
	return err
}

func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		_, route, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.active.Add(1)
			defer a.active.Add(-1)
			answer := &answer{ResponseWriter: w, status: http.StatusOK}
			if err := h(answer, r); err != nil {
				a.log.Debug("request failed", "route", route, "error", err)
				answer.fail(statusOf(err), err)
			}
			a.count(route, answer.status)
		})
	}
	get := func(route string, value func() any) {
		handle("GET "+route, func(w http.ResponseWriter, _ *http.Request) error { return reply(w, value()) })
	}
	get("/v1/status", func() any { return a.status() })
	get("/v1/peers", func() any { return append([]p2p.PeerStatus{}, a.net.Peers()...) })
	get("/v1/links", func() any { return append([]p2p.LinkStatus{}, a.net.Links()...) })
	get("/v1/levels", func() any { return a.levels.Levels() })
	handle("GET /v1/replication", func(w http.ResponseWriter, r *http.Request) error {
		hosts, err := a.replication(r.Context())
		if err != nil {
			return err
		}
		return reply(w, hosts)
	})
	handle("PUT /v1/levels", a.setLevels)
	handle("POST /v1/records", a.putRecords)
	handle("POST /v1/entries", a.importEntries)
	handle("POST /v1/snapshots", a.holdSnapshot)
	handle("GET /v1/snapshots/{id}/value", a.value)
	handle("POST /v1/snapshots/{id}/values", a.values)
	handle("GET /v1/snapshots/{id}/pairs", a.pairs)
	return mux
}

// answer remembers the status of an answer, and whether it is on its way.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (w *answer) WriteHeader(status int) {
	w.status, w.begun = status, true
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answer) fail(status int, err error) {
	if w.begun {
		return // the client sees a stream without its end
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(toAPIError(err)) // who does not read it has gone
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, ErrStopping):
		return http.StatusServiceUnavailable
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.As(err, new(*LevelError)), errors.As(err, new(*requestError)):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// requestError says that a request is not one of this API.
type requestError struct{ error }

func reply(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

func (a *api) setLevels(w http.ResponseWriter, r *http.Request) error {
	var texts []string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAPIBody)).Decode(&texts); err != nil {
		return &requestError{err}
	}
	if err := a.levels.Set(texts...); err != nil {
		return err
	}
	a.log.Info("log levels set", "levels", texts)
	return reply(w, a.levels.Levels())
}

// stream is a request that goes on for as long as its client wants: both directions at once, line by line.
type stream struct {
	ctx  context.Context // ends with the client, and when the node stops
	rc   *http.ResponseController
	enc  *json.Encoder
	body io.Reader
}

// stream begins a stream; end must be called.
func (a *api) stream(w http.ResponseWriter, r *http.Request) (s *stream, end func(), err error) {
	select {
	case a.streams <- struct{}{}:
	default:
		return nil, nil, ErrBusy
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	unlink := context.AfterFunc(a.stopping, func() { cancel(ErrStopping) })
	s = &stream{ctx: ctx, rc: http.NewResponseController(w), enc: json.NewEncoder(w), body: r.Body}
	end = func() {
		// What the client still sends is read for a moment, so that it gets to read the end rather than a broken connection.
		_ = s.rc.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, r.Body)
		unlink()
		cancel(nil)
		<-a.streams
	}
	_ = s.rc.EnableFullDuplex() // HTTP/2 has no need of it
	err = errors.Join(s.rc.SetReadDeadline(time.Time{}), s.rc.SetWriteDeadline(time.Now().Add(apiStreamTimeout)))
	if err == nil {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
		err = s.rc.Flush()
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return s, end, nil
}

// send sends a line.
func (s *stream) send(line any) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(apiStreamTimeout)); err != nil {
		return err
	}
	if err := s.enc.Encode(line); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (a *api) putRecords(w http.ResponseWriter, r *http.Request) error {
	s, end, err := a.stream(w, r)
	if err != nil {
		return err
	}
	defer end()
	_, err = a.node.Write(s.ctx, Lines(s.body, ""), false, func(o Outcome) error {
		return s.send(apiOutcome{
			Line: o.Line, Kind: o.Kind, Header: o.Header, ContentID: o.ContentID,
			Status: o.Status, Ack: o.Ack, Held: o.Held, Error: toAPIError(o.Err),
		})
	})
	return errors.Join(err, s.send(apiOutcome{End: true, Error: toAPIError(err)}))
}

func (a *api) importEntries(w http.ResponseWriter, r *http.Request) error {
	s, end, err := a.stream(w, r)
	if err != nil {
		return err
	}
	defer end()
	const often = 100 * time.Millisecond
	last := time.Now()
	sum, err := a.node.ImportEntries(s.ctx, s.body, func(p ImportProgress) {
		if now := time.Now(); now.Sub(last) >= often {
			last = now
			_ = s.send(apiImport{Progress: p}) // who does not listen is noticed at the end
		}
	})
	return errors.Join(err, s.send(apiImport{End: true, Summary: sum, Error: toAPIError(err)}))
}

// heldSnapshot is a snapshot that a client holds.
type heldSnapshot struct {
	store.Snapshot
	reading sync.RWMutex // locked for reading by those who read, for writing by who closes
	closed  bool
}

func (a *api) holdSnapshot(w http.ResponseWriter, r *http.Request) (err error) {
	snapshot, err := a.node.Snapshot()
	if err != nil {
		return err
	}
	s, end, err := a.stream(w, r)
	if err != nil {
		return errors.Join(err, snapshot.Close())
	}
	defer end()
	held, id := &heldSnapshot{Snapshot: snapshot}, rand.Text()
	a.mu.Lock()
	a.snapshots[id] = held
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.snapshots, id)
		a.mu.Unlock()
		held.reading.Lock()
		defer held.reading.Unlock()
		held.closed = true
		err = errors.Join(err, held.Close())
	}()
	if err := s.send(apiSnapshot{ID: id}); err != nil {
		return err
	}
	<-s.ctx.Done()
	return nil
}

// withSnapshot calls do with the snapshot that a request names, which stays open meanwhile.
func (a *api) withSnapshot(r *http.Request, do func(store.Reader) error) error {
	a.mu.Lock()
	held := a.snapshots[r.PathValue("id")]
	a.mu.Unlock()
	if held == nil {
		return fmt.Errorf("snapshot: %w", store.ErrNotFound)
	}
	held.reading.RLock()
	defer held.reading.RUnlock()
	if held.closed {
		return fmt.Errorf("snapshot: %w", store.ErrNotFound)
	}
	return do(held)
}

func (a *api) value(w http.ResponseWriter, r *http.Request) error {
	text, err := queryKey(r, "key")
	if err != nil {
		return err
	}
	key, err := datastoreKey(text)
	if err != nil {
		return err
	}
	return a.withSnapshot(r, func(s store.Reader) error {
		value, err := s.Get(r.Context(), key)
		if errors.Is(err, ds.ErrNotFound) {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		if err != nil {
			return err
		}
		_, err = w.Write(value)
		return err
	})
}

func (a *api) values(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
	if err != nil {
		return &requestError{err}
	}
	var keys []ds.Key
	for len(body) > 0 && len(keys) <= maxAPIKeys {
		var text []byte
		if text, body, err = cutText(body); err != nil {
			return &requestError{err}
		}
		key, err := datastoreKey(string(text))
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxAPIKeys {
		return &requestError{fmt.Errorf("want 1 to %d keys", maxAPIKeys)}
	}
	return a.withSnapshot(r, func(s store.Reader) error {
		var page []byte
		for _, key := range keys {
			value, err := s.Get(r.Context(), key)
			if err != nil && !errors.Is(err, ds.ErrNotFound) {
				return err
			}
			if page = appendValue(page, value, err == nil); len(page) >= maxPage {
				break
			}
		}
		_, err := w.Write(page)
		return err
	})
}

func (a *api) pairs(w http.ResponseWriter, r *http.Request) error {
	lower, err := queryKey(r, "lower")
	if err != nil {
		return err
	}
	upper, err := queryKey(r, "upper")
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("bytes"))
	if err != nil || limit < 1 || limit > maxPage {
		return &requestError{fmt.Errorf("bytes is not a number from 1 to %d", maxPage)}
	}
	return a.withSnapshot(r, func(s store.Reader) error {
		var page []byte
		for pair, err := range s.Scan(r.Context(), lower, upper) {
			if err != nil {
				return err
			}
			if len(page) >= limit {
				w.Header().Set(moreHeader, "true")
				break
			}
			page = appendPair(page, pair)
		}
		_, err := w.Write(page)
		return err
	})
}

// datastoreKey refuses what is no key of a datastore, at which go-datastore panics.
func datastoreKey(text string) (ds.Key, error) {
	if text == "" || text[0] != '/' || len(text) > 1 && text[len(text)-1] == '/' {
		return ds.Key{}, &requestError{fmt.Errorf("%q is no key", shorten(text))}
	}
	return ds.RawKey(text), nil
}

// queryKey returns a key of a datastore, or a bound of keys, that stands in hex in a query.
func queryKey(r *http.Request, name string) (string, error) {
	key, err := hex.DecodeString(r.URL.Query().Get(name))
	if err == nil && len(key) == 0 {
		err = errors.New("empty")
	}
	if err != nil {
		return "", &requestError{fmt.Errorf("%s: %w", name, err)}
	}
	return string(key), nil
}

// appendText appends a text behind its length as uvarint.
func appendText(dst, text []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// errCutShort says that something appended to an answer, or a request, is not whole.
var errCutShort = errors.New("local API: cut short")

// cutText reads what appendText wrote.
func cutText(from []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(from)
	if size <= 0 || n > uint64(len(from)-size) {
		return nil, nil, errCutShort
	}
	return from[size : size+int(n) : size+int(n)], from[size+int(n):], nil
}

// appendPair appends a pair: the key as text, and the value likewise.
func appendPair(dst []byte, p store.Pair) []byte {
	return appendText(appendText(dst, p.Key), p.Value)
}

// cutPair reads what appendPair wrote.
func cutPair(page []byte) (p store.Pair, rest []byte, err error) {
	if p.Key, rest, err = cutText(page); err == nil {
		p.Value, rest, err = cutText(rest)
	}
	return p, rest, err
}

// appendValue appends a value: 1 and the value as text, or 0 where there is none.
func appendValue(dst, value []byte, found bool) []byte {
	if !found {
		return append(dst, 0)
	}
	return appendText(append(dst, 1), value)
}

// cutValue reads what appendValue wrote; the value is nil where there is none.
func cutValue(page []byte) (value, rest []byte, err error) {
	switch {
	case len(page) > 0 && page[0] == 0:
		return nil, page[1:], nil
	case len(page) > 0 && page[0] == 1:
		return cutText(page[1:])
	}
	return nil, nil, errCutShort
}
