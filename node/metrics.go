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
)

func newRegistry(s *store.Store) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&ledgerCollector{store: s, changed: time.Now()},
	)
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
	descAge     = prometheus.NewDesc("pyvnode_ledger_digest_age_seconds", "Time since the digest was first seen as it is, at the precision of scrapes.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *ledgerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRecords, descEntries, descLogs, descFrozen, descAge} {
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
