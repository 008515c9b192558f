package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"sync"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/p2p"
)

// NotRunningError says that no node runs on a data directory, or that it does not answer.
type NotRunningError struct {
	Data string
	Err  error
}

func (e *NotRunningError) Error() string { return "no node runs on " + e.Data }

// Unwrap returns why not.
func (e *NotRunningError) Unwrap() error { return e.Err }

// ErrConnectionLost says that a node stopped answering in the middle. Records without an answer may be stored or not;
// storing them again finds out.
var ErrConnectionLost = errors.New("the running node does not answer any more")

// Client talks to the node that runs on a data directory. Its methods may be called concurrently.
type Client struct {
	data  string
	where endpoint
	http  *http.Client
}

// NoAccessError says that this user may not talk to a node that may run on a data directory.
type NoAccessError struct {
	Data string
	Err  error
}

func (e *NoAccessError) Error() string {
	return fmt.Sprintf("this user may not use %s, nor a node that runs on it: %v", e.Data, e.Err)
}

// Unwrap returns what was denied.
func (e *NoAccessError) Unwrap() error { return e.Err }

func notReached(data string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &NoAccessError{data, err}
	}
	return &NotRunningError{data, err}
}

// Dial finds the node that runs on a data directory. The error is a [*NotRunningError] or a [*NoAccessError].
func Dial(ctx context.Context, data string) (*Client, error) {
	where, err := findAPI(data)
	if err != nil {
		return nil, notReached(data, err)
	}
	probe, err := where.dial(ctx)
	if err != nil {
		return nil, notReached(data, err)
	}
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return where.dial(ctx) },
		MaxIdleConnsPerHost: 16,
		MaxConnsPerHost:     32,
	}
	return &Client{data: data, where: where, http: &http.Client{Transport: transport}}, probe.Close()
}

// Close ends connections that are not used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// send makes a request and returns its answer, which must be closed. Answers that are errors are returned as such.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var inside *url.Error // the address in it is made up
		if errors.As(err, &inside) {
			err = inside.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusNoContent {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	e := new(apiError)
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAPIBody)).Decode(e); err != nil || e.Message == "" {
		return nil, fmt.Errorf("the running node answers %q to %s", answer.Status, path)
	}
	return nil, e.error()
}

// call makes a request with an answer in one piece.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return fmt.Errorf("%w: what it says is not understood; it may be another version of pyvnode", ErrConnectionLost)
	}
	return nil
}

// Status returns a snapshot of the node.
func (c *Client) Status(ctx context.Context) (*NodeStatus, error) {
	s := new(NodeStatus)
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, s)
}

// Peers returns the node's neighbours, configured ones first.
func (c *Client) Peers(ctx context.Context) (peers []p2p.PeerStatus, err error) {
	return peers, c.call(ctx, http.MethodGet, "/v1/peers", nil, &peers)
}

// Replication returns how the original servers that the node replicates to get records, by host.
func (c *Client) Replication(ctx context.Context) (hosts []legacy.HostStatus, err error) {
	return hosts, c.call(ctx, http.MethodGet, "/v1/replication", nil, &hosts)
}

// Links returns the node's replication links.
func (c *Client) Links(ctx context.Context) (links []p2p.LinkStatus, err error) {
	return links, c.call(ctx, http.MethodGet, "/v1/links", nil, &links)
}

// Levels returns the least level of what each part of the node logs.
func (c *Client) Levels(ctx context.Context) (levels map[string]string, err error) {
	return levels, c.call(ctx, http.MethodGet, "/v1/levels", nil, &levels)
}

// SetLevels sets levels as [Levels.Set] does, and returns all.
func (c *Client) SetLevels(ctx context.Context, texts ...string) (levels map[string]string, err error) {
	return levels, c.call(ctx, http.MethodPut, "/v1/levels", texts, &levels)
}

// maxAPILine bounds a line of a stream in bytes: an error may hold two entries as JSON.
const maxAPILine = 1 << 20

// readLines reads the lines of a stream until the visitor says that one was the last.
func readLines[T any](body io.Reader, visit func(*T) (last bool)) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 16<<10), maxAPILine)
	for lines.Scan() {
		line := new(T)
		if err := json.Unmarshal(lines.Bytes(), line); err != nil {
			return fmt.Errorf("%w: what it says is not understood; it may be another version of pyvnode", ErrConnectionLost)
		}
		if visit(line) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	return ErrConnectionLost
}

// ImportEntries is [Node.ImportEntries] through the running node.
func (c *Client) ImportEntries(ctx context.Context, in io.Reader, progress func(ImportProgress)) (EntrySummary, error) {
	var sum EntrySummary
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := c.send(ctx, http.MethodPost, "/v1/entries", io.NopCloser(in))
	if err != nil {
		return sum, err
	}
	defer func() { _ = answer.Body.Close() }()
	var failed error
	err = readLines(answer.Body, func(line *apiImport) bool {
		if line.End {
			sum, failed = line.Summary, line.Error.error()
		} else if progress != nil {
			progress(line.Progress)
		}
		return line.End
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sum, errors.Join(failed, err)
}

// RemoteWriter is a [Writer] that stores through the running node. It must be closed.
type RemoteWriter struct {
	Writer
	sink *recordStream
}

// Writer begins to store records. What the node refuses is found when a record is waited for.
func (c *Client) Writer(ctx context.Context) (*RemoteWriter, error) {
	g, err := OwnGenesis(c.data)
	if err != nil {
		return nil, err
	}
	sink, err := c.openRecords(ctx)
	if err != nil {
		return nil, err
	}
	return &RemoteWriter{Writer: Writer{genesis: g, submit: sink.submit}, sink: sink}, nil
}

// Close ends storing when the node has answered to every record that was sent.
func (w *RemoteWriter) Close() error { return w.sink.close() }

// recordStream sends records over one request and receives their outcomes.
type recordStream struct {
	body   *io.PipeWriter // of the request
	cancel context.CancelFunc
	done   chan struct{} // closed when the last outcome has come

	sending sync.Mutex // held while a record is sent, so that records and waiting are in the same order

	mu      sync.Mutex
	waiting []*remoteResult // for their outcomes, in order
	err     error           // why nothing can be sent any more
}

// remoteResult is what became of a record, once done is closed.
type remoteResult struct {
	done chan struct{}
	store.Appended
}

func (r *remoteResult) wait(ctx context.Context) store.Appended {
	select {
	case <-r.done:
		return r.Appended
	case <-ctx.Done():
		return store.Appended{Err: ctx.Err()}
	}
}

// openRecords begins a stream. The context is for its beginning only: outcomes of what was sent are waited for.
func (c *Client) openRecords(ctx context.Context) (*recordStream, error) {
	reader, writer := io.Pipe()
	streaming, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, cancel)
	answer, err := c.send(streaming, http.MethodPost, "/v1/records", reader)
	if !unlink() && err == nil {
		err = context.Cause(ctx)
		_ = answer.Body.Close()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &recordStream{body: writer, cancel: cancel, done: make(chan struct{})}
	go s.receive(answer.Body)
	return s, nil
}

func (s *recordStream) submit(_ context.Context, drafts ...*ledger.Draft) (waiter, error) {
	var lines []byte
	results := make([]*remoteResult, len(drafts))
	for i, d := range drafts {
		line, err := draftLine(d)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line...)
		results[i] = &remoteResult{done: make(chan struct{})}
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	err := s.err
	if err == nil {
		s.waiting = append(s.waiting, results...)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, _ = s.body.Write(lines) // when it fails, receive ends too, and says why
	return func(ctx context.Context) []store.Appended {
		appended := make([]store.Appended, len(results))
		for i, r := range results {
			appended[i] = r.wait(ctx)
		}
		return appended
	}, nil
}

// draftLine returns a draft as a line that [Lines] takes.
func draftLine(d *ledger.Draft) ([]byte, error) {
	r, err := record.Parse(d.Record)
	if err != nil {
		return nil, err
	}
	return ledger.AppendJSONLine(nil, &ledger.JSONLine{Kind: d.Kind, Record: r})
}

// receive hands out outcomes until the stream ends.
func (s *recordStream) receive(body io.ReadCloser) {
	defer close(s.done)
	defer s.cancel()
	var failed error
	err := readLines(body, func(line *apiOutcome) bool {
		if line.End {
			failed = line.Error.error()
			return true
		}
		s.settle(store.Appended{Ack: line.Ack, Err: line.Error.error()})
		return false
	})
	if failed == nil {
		failed = err
	}
	s.mu.Lock()
	if s.err == nil {
		s.err = failed
	}
	if s.err == nil {
		s.err = store.ErrClosed
	}
	if failed == nil && len(s.waiting) > 0 {
		failed = ErrConnectionLost
	}
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, r := range waiting {
		r.Err = failed
		close(r.done)
	}
	_ = s.body.CloseWithError(ErrConnectionLost) // who is still writing has no reader any more
	_ = body.Close()
}

// settle hands an outcome to the first record that waits.
func (s *recordStream) settle(a store.Appended) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return // more outcomes than records: the count says it at the end
	}
	r := s.waiting[0]
	s.waiting = s.waiting[1:]
	r.Appended = a
	close(r.done)
}

func (s *recordStream) close() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	if s.err == nil {
		s.err = store.ErrClosed
	}
	s.mu.Unlock()
	_ = s.body.Close() // a pipe's Close returns nil
	<-s.done
	return nil
}
