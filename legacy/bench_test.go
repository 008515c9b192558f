package legacy_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/client"
)

// benchClients is how many clients there are for each processor.
const benchClients = 8

// benchmark runs one operation in many clients at once, each with a connection of its own, and reports how many there are
// in a second. Server and clients share the processors.
func benchmark(b *testing.B, connect func() *client.Conn, operation func(ctx context.Context, c *client.Conn, n int) error) {
	b.SetParallelism(benchClients)
	var n atomic.Int64
	b.ResetTimer()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		c := connect()
		if c != nil {
			defer func() { _ = c.Close() }()
		}
		for pb.Next() {
			if err := operation(context.Background(), c, int(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "per_s")
	b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "processors")
}

// benchWorld is a server with 1,000 votes, and a client that is logged in to it in an encrypted session.
func benchWorld(b *testing.B) (w *world, headers []string, connect func() *client.Conn) {
	w = start(b)
	for _, v := range votes(b, 1000) {
		if err := w.ledger.Put(b.Context(), "vote", v, 0); err != nil {
			b.Fatal(err)
		}
		r, err := record.Parse(v)
		must(b, err)
		header, err := r.Header()
		must(b, err)
		headers = append(headers, header.String())
	}
	return w, headers, func() *client.Conn {
		ctx := context.Background()
		c, err := client.Dial(ctx, w.address, client.Options{})
		if err == nil {
			err = c.StartSession(ctx)
		}
		if err == nil {
			err = c.Login(ctx, "bob", "pw")
		}
		if err != nil {
			b.Error(err)
			runtime.Goexit()
		}
		return c
	}
}

func BenchmarkHello(b *testing.B) {
	_, _, connect := benchWorld(b)
	benchmark(b, connect, func(ctx context.Context, c *client.Conn, _ int) error {
		_, err := c.Do(ctx, "hello")
		return err
	})
}

func BenchmarkRget(b *testing.B) {
	_, headers, connect := benchWorld(b)
	benchmark(b, connect, func(ctx context.Context, c *client.Conn, n int) error {
		_, err := c.Do(ctx, "rget", "vote", headers[n%len(headers)])
		return err
	})
}

// BenchmarkSession is to connect, to exchange a session key and to quit.
func BenchmarkSession(b *testing.B) {
	w := start(b)
	benchmark(b, func() *client.Conn { return nil }, func(ctx context.Context, _ *client.Conn, _ int) error {
		c, err := client.Dial(ctx, w.address, client.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.StartSession(ctx); err != nil {
			return err
		}
		_, err = c.Do(ctx, "quit")
		return err
	})
}
