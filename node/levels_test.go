package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLevels(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	levels := NewLevels(slog.LevelWarn)
	log := slog.New(levels.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	p2p := log.With("peer", "x").With(PartKey, PartP2P)
	said := func(say func()) bool {
		out.Reset()
		say()
		return out.Len() > 0
	}
	check := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: logged %v, want %v", what, got, want)
		}
	}
	check("p2p at first", said(func() { p2p.Info("x") }), false)
	if err := levels.Set("p2p=debug"); err != nil {
		t.Fatal(err)
	}
	check("p2p after the change", said(func() { p2p.Debug("x") }), true)
	check("in a group", said(func() { p2p.WithGroup("g").With(PartKey, PartStore).Debug("x") }), true)
	check("another part", said(func() { log.With(PartKey, PartStore).Info("x") }), false)
	check("no part", said(func() { log.Info("x") }), false)
	check("a part that is none", said(func() { log.With(PartKey, "disk").Warn("x") }), true)
	if err := levels.Set("error", "node=info"); err != nil {
		t.Fatal(err)
	}
	check("all others", said(func() { p2p.Warn("x") }), false)
	check("the part node", said(func() { log.Info("x") }), true)
	before := levels.Levels()
	for _, bad := range [][]string{{"disk=info"}, {"p2p=loud"}, {"p2p="}, {""}, {"p2p=info", "x"}} {
		var e *LevelError
		if err := levels.Set(bad...); !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if after := levels.Levels(); after[PartP2P] != before[PartP2P] || after[PartNode] != "info" {
		t.Errorf("levels went from %v to %v", before, after)
	}
	if strings.Join(LogParts(), " ") != "p2p store node api legacy" {
		t.Error(LogParts())
	}
}
