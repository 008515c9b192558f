package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	ds "github.com/ipfs/go-datastore"

	"pyvnode/ledger/store"
)

// Snapshot returns what the node holds now, for reading with [store.Open] and for audits. It must be closed.
func (c *Client) Snapshot(ctx context.Context) (store.Snapshot, error) {
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	answer, err := c.send(holding, http.MethodPost, "/v1/snapshots", nil)
	if err != nil {
		release()
		return nil, err
	}
	s := &remoteSnapshot{c: c, release: func() error {
		release()
		return answer.Body.Close()
	}}
	if err := readLines(answer.Body, func(line *apiSnapshot) bool {
		s.path = "/v1/snapshots/" + url.PathEscape(line.ID)
		return true
	}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// remoteSnapshot is a snapshot in another process. It lives as long as the request that made it.
type remoteSnapshot struct {
	c       *Client
	path    string
	release func() error
}

func (s *remoteSnapshot) Close() error { return s.release() }

// Get implements [store.Reader].
func (s *remoteSnapshot) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	value, answer, err := s.fetch(ctx, http.MethodGet, "/value", url.Values{"key": {hexKey(key.String())}}, nil)
	if err == nil && answer.StatusCode == http.StatusNoContent {
		err = ds.ErrNotFound
	}
	return value, err
}

// GetMany implements [store.ManyReader]. An answer may be short of some values, which are asked for again.
func (s *remoteSnapshot) GetMany(ctx context.Context, keys []ds.Key) ([][]byte, error) {
	var values [][]byte
	for len(values) < len(keys) {
		rest := keys[len(values):]
		var body []byte
		for _, key := range rest[:min(len(rest), maxAPIKeys)] {
			body = appendText(body, key.Bytes())
		}
		answer, _, err := s.fetch(ctx, http.MethodPost, "/values", nil, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		before := len(values)
		for len(answer) > 0 {
			var value []byte
			if value, answer, err = cutValue(answer); err != nil {
				return nil, err
			}
			values = append(values, value)
		}
		if n := len(values) - before; n == 0 || n > min(len(rest), maxAPIKeys) {
			return nil, fmt.Errorf("local API: %d values for %d keys", n, len(rest))
		}
	}
	return values, nil
}

// Pages are small at first, because most scans are short and there may be as many as there are logs.
const firstPage = 16 << 10

// Scan implements [store.Reader]. It asks for pairs in pages, which come from one snapshot and so fit together.
func (s *remoteSnapshot) Scan(ctx context.Context, lower, upper string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		from := lower
		for size := firstPage; ; size = min(2*size, maxPage) {
			page, answer, err := s.fetch(ctx, http.MethodGet, "/pairs",
				url.Values{"lower": {hexKey(from)}, "upper": {hexKey(upper)}, "bytes": {fmt.Sprint(size)}}, nil)
			if err != nil {
				yield(store.Pair{}, err)
				return
			}
			for len(page) > 0 {
				var pair store.Pair
				if pair, page, err = cutPair(page); err != nil {
					yield(store.Pair{}, err)
					return
				}
				from = string(pair.Key) + "\x00" // the least key behind it
				if !yield(pair, nil) {
					return
				}
			}
			if answer.Header.Get(moreHeader) == "" {
				return
			}
		}
	}
}

// fetch reads an answer whole. A page is larger than asked for by at most one pair.
func (s *remoteSnapshot) fetch(ctx context.Context, method, what string, query url.Values, body io.Reader) ([]byte, *http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	answer, err := s.c.send(ctx, method, s.path+what+"?"+query.Encode(), body)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 4*maxPage))
	if err == nil && len(raw) == 4*maxPage {
		err = errors.New("local API: an answer is too long")
	}
	return raw, answer, err
}

func hexKey(key string) string { return hex.EncodeToString([]byte(key)) }

// openSnapshot opens a snapshot of the node that runs on a data directory; locked is the error to return when none does.
func openSnapshot(ctx context.Context, o Options, locked error) (*Node, error) {
	c, err := Dial(ctx, o.Data)
	if err != nil {
		return nil, locked
	}
	g, err := OwnGenesis(o.Data)
	if err != nil {
		return nil, err
	}
	snapshot, err := c.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	closing := func() error {
		defer c.Close()
		return snapshot.Close()
	}
	s, recovery, err := store.Open(ctx, store.ReadOnly(snapshot), g, store.Options{ReadOnly: true, Logger: part(o.Logger, PartStore)})
	if err != nil {
		return nil, errors.Join(err, closing())
	}
	key, _ := ReadIdentity(o.Data)
	return assemble(o, s, key, recovery, func() error { return errors.Join(s.Close(), closing()) }), nil
}
