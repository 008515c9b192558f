package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/p2p"
)

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// ledgerCollector tells Prometheus what a ledger holds.
type ledgerCollector struct {
	store *store.Store

	mu      sync.Mutex
	digest  ledger.Hash // when it was last looked at
	changed time.Time   // when it was first seen
}

var (
	descRecords = prometheus.NewDesc("pyvnode_ledger_records", "Records that are held, by kind.", []string{"kind"}, nil)
	descEntries = prometheus.NewDesc("pyvnode_ledger_entries", "Entries that are held and not disputed.", nil, nil)
	descLogs    = prometheus.NewDesc("pyvnode_ledger_logs", "Logs that are held.", nil, nil)
	descFrozen  = prometheus.NewDesc("pyvnode_ledger_frozen_logs", "Logs that are frozen, because evidence against their origin is held.", nil, nil)
	descStopped = prometheus.NewDesc("pyvnode_ledger_stopped", "1 when the ledger stopped writing, because the disk is full or damaged: status says why. Otherwise 0.", nil, nil)
	descAge     = prometheus.NewDesc("pyvnode_ledger_digest_age_seconds", "Time since the digest was first seen as it is, at the precision of scrapes.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *ledgerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRecords, descEntries, descLogs, descFrozen, descStopped, descAge} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *ledgerCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, kind := range c.store.Kinds() {
		gauge(descRecords, float64(c.store.Count(kind)), kind)
	}
	f := c.store.Frontier()
	frozen := 0
	for i := range f {
		if f[i].Frozen != nil {
			frozen++
		}
	}
	gauge(descEntries, float64(f.Entries()))
	gauge(descLogs, float64(len(f)))
	gauge(descFrozen, float64(frozen))
	stopped := 0.0
	if c.store.Failure() != nil {
		stopped = 1
	}
	gauge(descStopped, stopped)
	gauge(descAge, c.age(f.Digest(c.store.Genesis().Network())).Seconds())
}

func (c *ledgerCollector) age(digest ledger.Hash) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if digest != c.digest {
		c.digest, c.changed = digest, time.Now()
	}
	return time.Since(c.changed)
}

// networkCollector tells Prometheus how the node's part in its network is.
type networkCollector struct{ status func() p2p.Status }

var networkMetrics = []struct {
	desc  *prometheus.Desc
	value func(*p2p.Status) float64
}{
	{networkDesc("peers", "Nodes that are connected."), func(s *p2p.Status) float64 { return float64(s.Peers) }},
	{networkDesc("agreeing_peers", "Those of them that hold the same."), func(s *p2p.Status) float64 { return float64(s.Agreeing) }},
	{networkDesc("parked_entries", "Entries that wait for others which they name."), func(s *p2p.Status) float64 { return float64(s.Parked) }},
	{networkDesc("unverified_entries", "Entries whose signatures are still to be checked."), func(s *p2p.Status) float64 { return float64(s.Unverified) }},
	{networkDesc("may_sign", "1 while the node takes records, otherwise 0: status says why."), func(s *p2p.Status) float64 {
		if s.Signing == p2p.SigningReady {
			return 1
		}
		return 0
	}},
}

var descReceived = prometheus.NewDesc("pyvnode_network_received_entries_total",
	"Entries that came from other nodes, by the way they came and whether they were held already.", []string{"way", "held"}, nil)

func networkDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("pyvnode_network_"+name, help, nil, nil)
}

// Describe implements [prometheus.Collector].
func (c networkCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range networkMetrics {
		to <- m.desc
	}
	to <- descReceived
}

// Collect implements [prometheus.Collector].
func (c networkCollector) Collect(to chan<- prometheus.Metric) {
	s := c.status()
	for _, m := range networkMetrics {
		to <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, m.value(&s))
	}
	for way, came := range map[string]p2p.Came{"gossip": s.Received.Gossip, "link": s.Received.Links, "sync": s.Received.Sync} {
		to <- prometheus.MustNewConstMetric(descReceived, prometheus.CounterValue, float64(came.New), way, "no")
		to <- prometheus.MustNewConstMetric(descReceived, prometheus.CounterValue, float64(came.Held), way, "yes")
	}
}

// diskCollector tells Prometheus how the database does.
type diskCollector struct{ store *store.Store }

var diskMetrics = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*store.DiskStats) float64
}{
	{diskDesc("disk_bytes", "Size of the database on disk."), prometheus.GaugeValue, func(s *store.DiskStats) float64 { return float64(s.Size) }},
	{diskDesc("wal_bytes", "Size of its write log, which is part of that."), prometheus.GaugeValue, func(s *store.DiskStats) float64 { return float64(s.WALSize) }},
	{diskDesc("compactions_total", "Merges of tables that are done."), prometheus.CounterValue, func(s *store.DiskStats) float64 { return float64(s.Compactions) }},
	{diskDesc("compaction_debt_bytes", "What merges still have to rewrite, estimated."), prometheus.GaugeValue, func(s *store.DiskStats) float64 { return float64(s.CompactionDebt) }},
	{diskDesc("read_amplification", "In how many places the reading of a key may have to look."), prometheus.GaugeValue, func(s *store.DiskStats) float64 { return float64(s.ReadAmplification) }},
	{diskDesc("cache_bytes", "Size of the blocks in memory."), prometheus.GaugeValue, func(s *store.DiskStats) float64 { return float64(s.CacheSize) }},
	{diskDesc("cache_hits_total", "Blocks that were found in memory."), prometheus.CounterValue, func(s *store.DiskStats) float64 { return float64(s.CacheHits) }},
	{diskDesc("cache_misses_total", "Blocks that had to be read from files."), prometheus.CounterValue, func(s *store.DiskStats) float64 { return float64(s.CacheMisses) }},
}

func diskDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("pyvnode_store_"+name, help, nil, nil)
}

// Describe implements [prometheus.Collector].
func (c diskCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range diskMetrics {
		to <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c diskCollector) Collect(to chan<- prometheus.Metric) {
	stats, ok := c.store.DiskStats()
	if !ok {
		return
	}
	for _, m := range diskMetrics {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
	}
}

// countCommits returns what counts the batches that the store makes durable.
func countCommits(registry *prometheus.Registry) func(store.Commit) {
	entries := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pyvnode_store_batch_entries", Help: "New entries of a batch, which one sync makes durable.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 7), // to 4,096, which is a full one
	})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pyvnode_store_batch_seconds", Help: "Time to write a batch and to sync it to disk.",
		Buckets: prometheus.ExponentialBuckets(0.00025, 2, 14), // to two seconds
	})
	registry.MustRegister(entries, seconds)
	return func(c store.Commit) {
		entries.Observe(float64(c.Entries))
		seconds.Observe(c.Took.Seconds())
	}
}

// countRequests returns what counts the requests of the local API.
func countRequests(registry *prometheus.Registry) func(route string, status int) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pyvnode_api_requests_total", Help: "Requests of the local API that are done, by route and status.",
	}, []string{"route", "status"})
	registry.MustRegister(requests)
	return func(route string, status int) { requests.WithLabelValues(route, strconv.Itoa(status)).Inc() }
}

// metricsServer serves metrics, and nothing else, on a listener of its own.
type metricsServer struct {
	l      net.Listener
	server *http.Server
}

func listenMetrics(address string, registry *prometheus.Registry) (*metricsServer, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: apiTimeout}))
	return &metricsServer{l: l, server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: apiTimeout,
		ReadTimeout:       apiTimeout,
		WriteTimeout:      2 * apiTimeout,
		MaxHeaderBytes:    maxAPIHeader,
	}}, nil
}

func (m *metricsServer) url() string { return "http://" + m.l.Addr().String() + "/metrics" }

func (m *metricsServer) serve() error {
	if err := m.server.Serve(m.l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

func (m *metricsServer) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := m.server.Shutdown(ctx); err != nil {
		return m.server.Close() // a scrape can be repeated
	}
	return nil
}
