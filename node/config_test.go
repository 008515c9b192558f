package node

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigPrecedence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeFile(t, dir, "c.json", `{"data": "here", "workers": 1, "cache_mib": 2, "log_level": "warn"}`)
	c, err := LoadConfig(Sources{
		File:    file,
		Environ: []string{"PATH=/bin", "PYVNODE_WORKERS=3", "PYVNODE_CACHE_MIB=4", "PYVNODE_FORMAT="},
		Flags:   map[string]string{SettingCacheMiB: "5"},
		Home:    "/home/anna",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data() != filepath.Join(dir, "here") || c.Workers() != 3 || c.CacheBytes() != 5<<20 || c.LogLevel() != slog.LevelWarn || c.Format() != FormatText {
		t.Errorf("values: %+v", c.Values())
	}
	from := map[string]Source{SettingData: FromFile, SettingWorkers: FromEnvironment, SettingCacheMiB: FromFlag, SettingLogLevel: FromFile}
	for _, v := range c.Values() {
		if want := cmp.Or(from[v.Name], FromDefault); v.Source != want {
			t.Errorf("%s comes from %s, want %s", v.Name, v.Source, want)
		}
	}
}

func TestConfigLists(t *testing.T) {
	t.Parallel()
	file := writeFile(t, t.TempDir(), "c.json", `{"listen": ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"], "links": [], "dht": false}`)
	c, err := LoadConfig(Sources{File: file, Home: "/", Environ: []string{"PYVNODE_LOG_LEVELS=p2p=debug,store=warn"}, Flags: map[string]string{SettingMDNS: "false"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		SettingListen:    {"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
		SettingLinks:     {},
		SettingLogLevels: {"p2p=debug", "store=warn"},
	} {
		if got := c.value(name).List(); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if c.boolean(SettingDHT) || c.boolean(SettingMDNS) || c.text(SettingPeers) != "" || c.text(SettingMetrics) != "" {
		t.Errorf("values: %+v", c.Values())
	}
}

func TestConfigHome(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig(Sources{Home: "/home/anna"})
	if err != nil || c.Data() != filepath.Join("/home/anna", ".pyvnode") {
		t.Errorf("default: %v, %v", c, err)
	}
	if c, err = LoadConfig(Sources{}); err != nil || c.Data() != "" || c.DataError() == nil || !strings.Contains(c.DataError().Error(), "no home directory") {
		t.Errorf("without a home directory: %+v, %v", c, err) // for commands that need none
	}
	if _, err = LoadConfig(Sources{Environ: []string{"PYVNODE_DATA=~/x"}}); err == nil || !strings.Contains(err.Error(), "no home directory") {
		t.Errorf("with a path in it, and without a home directory: %v", err)
	}
	if c, err = LoadConfig(Sources{Flags: map[string]string{SettingData: "x"}}); err != nil || c.Data() != "x" || c.DataError() != nil {
		t.Errorf("with a flag and without a home directory: %v, %v", c, err)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, key, hint string }{
		"unknown":      {`{"worker": 1}`, "worker", "did you mean workers?"},
		"far":          {`{"completely_else": 1}`, "completely_else", "known are data, format"},
		"other case":   {`{"Workers": 1}`, "Workers", "did you mean workers?"},
		"twice":        {`{"workers": 1, "workers": 1}`, "workers", ""},
		"null":         {`{"workers": null}`, "workers", ""},
		"fraction":     {`{"workers": 1.5}`, "workers", ""},
		"exponent":     {`{"workers": 1e1}`, "workers", ""},
		"text":         {`{"workers": "1"}`, "workers", ""},
		"negative":     {`{"workers": -1}`, "workers", ""},
		"large":        {`{"workers": 99999999999999999999}`, "workers", ""},
		"number":       {`{"format": 1}`, "format", ""},
		"choice":       {`{"log_level": "loud"}`, "log_level", ""},
		"empty":        {`{"data": ""}`, "data", ""},
		"object":       {`{"data": {}}`, "data", ""},
		"not JSON":     {`{"data"`, "data", ""},
		"no value":     {`{"data": }`, "data", ""},
		"not closed":   {`{"workers": 1`, "", ""},
		"list":         {`[]`, "", ""},
		"nothing":      {``, "", ""},
		"two":          {`{}{}`, "", ""},
		"not UTF-8":    {"{\"data\": \"\xff\"}", "", ""},
		"not a list":   {`{"listen": "/ip4/127.0.0.1/tcp/0"}`, "listen", ""},
		"an empty one": {`{"listen": []}`, "listen", ""},
		"two in one":   {`{"links": ["a,b"]}`, "links", ""},
		"no multiaddr": {`{"listen": ["127.0.0.1:80"]}`, "listen", ""},
		"no peer":      {`{"links": ["/ip4/127.0.0.1/tcp/0"]}`, "links", ""},
		"no bool":      {`{"mdns": "true"}`, "mdns", ""},
		"null bool":    {`{"mdns": null}`, "mdns", ""},
		"no part":      {`{"log_levels": ["disk=info"]}`, "log_levels", ""},
		"no port":      {`{"metrics": "localhost"}`, "metrics", ""},
		"a long value": {`{"format": "` + strings.Repeat("x", 1000) + `"}`, "format", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, dir, strings.ReplaceAll(name, " ", "-"), c.text)
			_, err := LoadConfig(Sources{File: file, Home: "/"})
			var bad *ConfigError
			if !errors.As(err, &bad) || bad.Key != c.key || !strings.Contains(bad.Where, file) || !strings.HasPrefix(bad.Hint, c.hint) {
				t.Errorf("error %#v, want one about key %q with hint %q", err, c.key, c.hint)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestConfigFileBounded(t *testing.T) {
	t.Parallel()
	file := writeFile(t, t.TempDir(), "c.json", "{}"+strings.Repeat(" ", MaxConfigFile))
	if _, err := LoadConfig(Sources{File: file, Home: "/"}); err == nil || !strings.Contains(err.Error(), "larger than the limit") {
		t.Errorf("error %v", err)
	}
}

func TestConfigFileNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.json")
	var bad *ConfigError
	if _, err := LoadConfig(Sources{File: missing, Home: "/"}); !errors.As(err, &bad) {
		t.Errorf("a flag names a missing file: %v", err)
	}
	if _, err := LoadConfig(Sources{Environ: []string{"PYVNODE_CONFIG=" + missing}, Home: "/"}); !errors.As(err, &bad) {
		t.Errorf("the environment names a missing file: %v", err)
	}
	if _, err := LoadConfig(Sources{ConfigDir: dir, Home: "/"}); err != nil {
		t.Errorf("the default file is missing: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "pyvnode"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "pyvnode/config.json", `{"workers": 7}`)
	if c, err := LoadConfig(Sources{ConfigDir: dir, Home: "/"}); err != nil || c.Workers() != 7 {
		t.Errorf("the default file: %v, %v", c, err)
	}
}

func TestConfigEnvironmentUnknown(t *testing.T) {
	t.Parallel()
	for name, hint := range map[string]string{
		"PYVNODE_WORKER": "did you mean PYVNODE_WORKERS?",
		"PYVNODE_CONFG":  "did you mean PYVNODE_CONFIG?",
		"PYVNODE_":       "known are PYVNODE_CONFIG, PYVNODE_DATA",
		"PYVNODE_ZZZZZZ": "known are PYVNODE_CONFIG, PYVNODE_DATA",
	} {
		_, err := LoadConfig(Sources{Environ: []string{name + "=1"}, Home: "/"})
		var bad *ConfigError
		if !errors.As(err, &bad) || !strings.Contains(bad.Where, name) || !strings.HasPrefix(bad.Hint, hint) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"data", "date", 1}, {"ab", "ba", 2}, {"same", "same", 0}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestSettingsTable checks that the table is one that everything can follow from.
func TestSettingsTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range Settings() {
		if seen[s.Name] || s.Name != strings.ToLower(s.Name) || s.Help == "" || strings.Contains(s.Help, "\n") || s.DefaultText() == "" {
			t.Errorf("setting %+v", s)
		}
		seen[s.Name] = true
		if err := s.check(s.Default); err != nil {
			t.Errorf("default of %s: %v", s.Name, err)
		}
		if s.Env() == EnvConfig {
			t.Errorf("%s has the variable of the configuration file", s.Name)
		}
	}
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
