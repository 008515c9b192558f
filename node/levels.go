package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// PartKey is the attribute of a log record that names the part of the node it comes from.
const PartKey = "part"

// The parts of a node that log.
const (
	PartP2P    = "p2p"
	PartStore  = "store"
	PartNode   = "node"
	PartAPI    = "api"
	PartLegacy = "legacy" // the original protocol
)

// LogParts returns the parts of a node that log. What belongs to none of them counts as the part "node".
func LogParts() []string { return []string{PartP2P, PartStore, PartNode, PartAPI, PartLegacy} }

// logLevels are the names of levels, from the most talkative on.
var logLevels = []string{"debug", "info", "warn", "error"}

// Levels are the least levels of what the parts of a node log. They can be changed while it runs.
type Levels struct{ parts map[string]*slog.LevelVar }

// NewLevels returns levels that are the same for all parts.
func NewLevels(level slog.Level) *Levels {
	l := &Levels{parts: map[string]*slog.LevelVar{}}
	for _, part := range LogParts() {
		l.parts[part] = new(slog.LevelVar)
		l.parts[part].Set(level)
	}
	return l
}

// LevelError says that a text is no PART=LEVEL.
type LevelError struct{ Detail string }

func (e *LevelError) Error() string { return e.Detail }

// parseLevel reads PART=LEVEL, or LEVEL, which is that of all parts.
func parseLevel(text string) (parts []string, level slog.Level, err error) {
	part, name, ok := strings.Cut(text, "=")
	parts = []string{part}
	if !ok {
		parts, name = LogParts(), text
	}
	switch {
	case ok && !slices.Contains(LogParts(), part):
		return nil, 0, &LevelError{fmt.Sprintf("%q is no part that logs: want %s", shorten(part), strings.Join(LogParts(), ", "))}
	case !slices.Contains(logLevels, name):
		return nil, 0, &LevelError{fmt.Sprintf("%q is no level: want %s", shorten(name), strings.Join(logLevels, ", "))}
	}
	return parts, level, level.UnmarshalText([]byte(name))
}

// checkLevel refuses what is not PART=LEVEL.
func checkLevel(text string) error {
	if !strings.Contains(text, "=") {
		return &LevelError{"no = in it"}
	}
	_, _, err := parseLevel(text)
	return err
}

// Set sets levels, each given as PART=LEVEL or, for all parts, as LEVEL. On a [*LevelError] nothing is set.
func (l *Levels) Set(texts ...string) error {
	for _, text := range texts {
		if _, _, err := parseLevel(text); err != nil {
			return err
		}
	}
	for _, text := range texts {
		parts, level, _ := parseLevel(text)
		for _, part := range parts {
			l.parts[part].Set(level)
		}
	}
	return nil
}

// Levels returns the level of each part by name.
func (l *Levels) Levels() map[string]string {
	levels := map[string]string{}
	for part, v := range l.parts {
		levels[part] = strings.ToLower(v.Level().String())
	}
	return levels
}

// Handler returns a handler that passes on to another one what the levels let through. The part of a logger is its
// attribute [PartKey], given with [slog.Logger.With].
func (l *Levels) Handler(to slog.Handler) slog.Handler {
	return &levelHandler{Handler: to, levels: l, level: l.parts[PartNode]}
}

type levelHandler struct {
	slog.Handler
	levels  *Levels
	level   *slog.LevelVar // of the logger's part
	grouped bool           // in a group, "part" is something else
}

func (h *levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level.Level() && h.Handler.Enabled(ctx, level)
}

func (h *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.Handler = h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if level, ok := h.levels.parts[a.Value.String()]; ok && a.Key == PartKey && !h.grouped {
			next.level = level
		}
	}
	return &next
}

func (h *levelHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.Handler = h.Handler.WithGroup(name)
	next.grouped = next.grouped || name != ""
	return &next
}
