package node

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
)

// SettingKind is the type of a setting's value.
type SettingKind int

// The kinds of settings.
const (
	PathSetting    SettingKind = iota // a path; "~/" at its start is the home directory
	ChoiceSetting                     // one of Setting.Choices
	IntegerSetting                    // a whole number from Setting.Min to Setting.Max
	BoolSetting                       // true or false
	TextSetting                       // a text that Setting.parse takes
	ListSetting                       // texts that Setting.parse takes, separated by commas; in the file, a list
)

// Setting describes one setting. The table that [Settings] returns is the only place where settings are listed: keys of
// the configuration file, environment variables, flags and the manual all follow from it.
type Setting struct {
	Name    string // in the configuration file
	Kind    SettingKind
	Default string // empty where the setting may be left unset
	Unset   string // to people: what it means to leave it unset
	Choices []string
	Min     int
	Max     int
	Run     bool   // concerns a node that runs: a flag of "run" only
	Help    string // one line
	Want    string // to people: what a text is, of TextSetting and ListSetting

	parse func(text string) error // refuses a text, of TextSetting and each of ListSetting
}

// Names of settings.
const (
	SettingData     = "data"
	SettingFormat   = "format"
	SettingWorkers  = "workers"
	SettingCacheMiB = "cache_mib"
	SettingLogLevel = "log_level"

	SettingLogLevels     = "log_levels"
	SettingListen        = "listen"
	SettingPeers         = "peers"
	SettingLinks         = "links"
	SettingMDNS          = "mdns"
	SettingDHT           = "dht"
	SettingAlone         = "alone"
	SettingConfirmations = "confirmations"
	SettingMetrics       = "metrics"

	SettingLegacyListen      = "legacy_listen"
	SettingLegacyMode        = "legacy_mode"
	SettingLegacyDir         = "legacy_dir"
	SettingLegacyTimeout     = "legacy_timeout"
	SettingLegacyThrottle    = "legacy_throttle"
	SettingLegacyUini        = "legacy_uini"
	SettingLegacyReplication = "legacy_replication"
	SettingLegacyUser        = "legacy_user"
	SettingLegacyPassword    = "legacy_password_file"
)

// The values of the setting "legacy_mode".
const (
	LegacyDevelopment = "development"
	LegacyProduction  = "production"
)

// LegacyOff is the value of the setting "legacy_listen" with which the original protocol is not served.
const LegacyOff = "off"

// The values of the setting "format".
const (
	FormatText = "text"
	FormatJSON = "json"
)

const (
	// EnvPrefix begins the names of all environment variables that a node reads.
	EnvPrefix = "PYVNODE_"
	// EnvConfig names the environment variable that holds the path of the configuration file.
	EnvConfig = EnvPrefix + "CONFIG"
	// MaxConfigFile is the greatest length of a configuration file in bytes.
	MaxConfigFile = 1 << 20
)

// Settings returns the table of all settings.
func Settings() []Setting {
	return []Setting{
		{Name: SettingData, Kind: PathSetting, Default: "~/.pyvnode",
			Help: "data directory: identity key, genesis document and ledger"},
		{Name: SettingFormat, Kind: ChoiceSetting, Default: FormatText, Choices: []string{FormatText, FormatJSON},
			Help: "form of results and errors"},
		{Name: SettingWorkers, Kind: IntegerSetting, Default: "0", Max: 1024,
			Help: "processor cores to use; 0 means all"},
		{Name: SettingCacheMiB, Kind: IntegerSetting, Default: "32", Min: 1, Max: 1 << 16,
			Help: "memory for the database's cache, in MiB"},
		{Name: SettingLogLevel, Kind: ChoiceSetting, Default: "info", Choices: []string{"debug", "info", "warn", "error"},
			Help: "least level of what is logged"},
		{Name: SettingLogLevels, Kind: ListSetting, Unset: "as log_level", parse: checkLevel, Want: "PART=LEVEL, with a part of " + strings.Join(LogParts(), ", "),
			Help: "least level of what a part of the node logs"},
		{Name: SettingListen, Kind: ListSetting, Run: true, parse: checkListen, Want: "multiaddrs",
			Default: "/ip4/127.0.0.1/udp/4711/quic-v1,/ip4/127.0.0.1/tcp/4711",
			Help:    "where other nodes reach this one; port 0 is any free one"},
		{Name: SettingPeers, Kind: PathSetting, Run: true, Unset: BootstrapFile + " in the data directory, where there is one",
			Help: "file that lists peers to connect to"},
		{Name: SettingLinks, Kind: ListSetting, Run: true, Unset: "none", parse: checkPeer, Want: "multiaddrs that end in /p2p/PEERID",
			Help: "peers to push every entry to"},
		{Name: SettingMDNS, Kind: BoolSetting, Run: true, Default: "true",
			Help: "find nodes on the local network; not while listening on loopback only"},
		{Name: SettingDHT, Kind: BoolSetting, Run: true, Default: "true",
			Help: "find nodes through other nodes; not while listening on loopback only"},
		{Name: SettingAlone, Kind: BoolSetting, Run: true, Default: "false",
			Help: "write without asking others first how far this node's own log goes"},
		{Name: SettingConfirmations, Kind: IntegerSetting, Run: true, Default: "1", Min: 1, Max: 64,
			Help: "how many others must have said how far this node's own log goes before it writes"},
		{Name: SettingMetrics, Kind: TextSetting, Run: true, Unset: "off", parse: checkHostPort, Want: "an address such as 127.0.0.1:9471",
			Help: "where Prometheus finds metrics"},
		{Name: SettingLegacyListen, Kind: TextSetting, Run: true, Default: legacy.DefaultAddress, parse: checkLegacyListen, Want: "an address such as 127.0.0.1:6666, or off",
			Help: "where original clients reach the node; their encryption is weak, so other machines should not"},
		{Name: SettingLegacyMode, Kind: ChoiceSetting, Run: true, Default: LegacyDevelopment, Choices: []string{LegacyDevelopment, LegacyProduction},
			Help: "whether original clients need a second factor to put records and to check them: in production"},
		{Name: SettingLegacyDir, Kind: PathSetting, Run: true, Unset: LegacyDir + " in the data directory",
			Help: "directory for what original clients have on the server: keys and users' files"},
		{Name: SettingLegacyTimeout, Kind: IntegerSetting, Run: true, Default: "20", Min: 1, Max: 3600,
			Help: "seconds after which an original client that says nothing is disconnected"},
		{Name: SettingLegacyThrottle, Kind: BoolSetting, Run: true, Default: "true",
			Help: "let addresses that connect more than 5 times in 5 seconds wait 3 seconds"},
		{Name: SettingLegacyUini, Kind: BoolSetting, Run: true, Default: "true",
			Help: "let the first original client on this machine make the first user; a tunnel brings others to this machine"},
		{Name: SettingLegacyReplication, Kind: BoolSetting, Run: true, Default: "true",
			Help: "let administrators name original servers to send records to and to fetch them from"},
		{Name: SettingLegacyUser, Kind: TextSetting, Run: true, Default: "admin", parse: func(string) error { return nil }, Want: "a user's name",
			Help: "user as whom the node logs in to original servers that it replicates to"},
		{Name: SettingLegacyPassword, Kind: PathSetting, Run: true, Unset: "nothing is replicated",
			Help: "file with that user's password, which others cannot read"},
	}
}

func checkListen(text string) error {
	_, err := multiaddr.NewMultiaddr(text)
	return err
}

func checkPeer(text string) error {
	_, err := peer.AddrInfoFromString(text)
	return err
}

func checkHostPort(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is no port: want a number from 0 to 65535", shorten(port))
	}
	return nil
}

// Env returns the name of the setting's environment variable.
func (s Setting) Env() string { return EnvPrefix + strings.ToUpper(s.Name) }

// Flag returns the name of the setting's flag on the command line, without the dashes.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Allowed says to people which values the setting can have.
func (s Setting) Allowed() string {
	switch s.Kind {
	case ChoiceSetting:
		return strings.Join(s.Choices, " or ")
	case IntegerSetting:
		return fmt.Sprintf("a whole number from %d to %d", s.Min, s.Max)
	case BoolSetting:
		return "true or false"
	case TextSetting:
		return s.Want
	case ListSetting:
		return s.Want + ", separated by commas"
	}
	return "a path"
}

// DefaultText says to people what holds where the setting is not given.
func (s Setting) DefaultText() string {
	if s.Default == "" {
		return s.Unset
	}
	return "`" + s.Default + "`"
}

// check refuses a value that the setting cannot have.
func (s Setting) check(value string) error {
	if value == "" && s.Default == "" {
		return nil
	}
	ok := value != ""
	switch s.Kind {
	case ChoiceSetting:
		ok = slices.Contains(s.Choices, value)
	case IntegerSetting:
		n, err := strconv.Atoi(value)
		ok = err == nil && n >= s.Min && n <= s.Max && strconv.Itoa(n) == value
	case BoolSetting:
		ok = value == "true" || value == "false"
	case TextSetting, ListSetting:
		texts := []string{value}
		if s.Kind == ListSetting {
			texts = strings.Split(value, listSeparator)
		}
		for _, text := range texts {
			if err := s.parse(text); err != nil {
				return fmt.Errorf("%q is not allowed: want %s: %w", shorten(text), s.Want, err)
			}
		}
	}
	if !ok {
		return fmt.Errorf("%q is not allowed: want %s", shorten(value), s.Allowed())
	}
	return nil
}

// listSeparator stands between the texts of a [ListSetting].
const listSeparator = ","

// List returns the texts of a [ListSetting].
func (v Value) List() []string {
	if v.Text == "" {
		return []string{}
	}
	return strings.Split(v.Text, listSeparator)
}

// Source says where a value came from.
type Source string

// The sources of values, the later ones overriding the earlier ones.
const (
	FromDefault     Source = "default"
	FromFile        Source = "file"
	FromEnvironment Source = "environment"
	FromFlag        Source = "flag"
)

// Value is the value of a setting and where it came from.
type Value struct {
	Setting
	Text   string
	Source Source
	Where  string // the file, variable or flag; empty for a default
}

// Config holds a value for every setting.
type Config struct {
	File   string // the configuration file that was read; empty when there is none
	values []Value
	noData error // why there is no data directory
}

// ConfigError says that a source of settings holds something that is not allowed.
type ConfigError struct {
	Where  string // file, environment variable or flag
	Key    string // within a file, empty otherwise
	Detail string
	Hint   string // what to do; may be empty
}

func (e *ConfigError) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("%s: key %q: %s", e.Where, e.Key, e.Detail)
	}
	return e.Where + ": " + e.Detail
}

// Sources are where [LoadConfig] looks. They are arguments so that nothing depends on the process.
type Sources struct {
	File      string            // configuration file that was asked for; must exist unless empty
	Environ   []string          // as from os.Environ
	Flags     map[string]string // values of flags that were given, by setting name
	ConfigDir string            // as from os.UserConfigDir; empty means no default file
	Home      string            // as from os.UserHomeDir
}

// LoadConfig reads all sources: default, then file, then environment, then flags. Nothing unknown is passed over in
// silence. The error is a [*ConfigError], or an error of the file system.
func LoadConfig(src Sources) (*Config, error) {
	c := new(Config)
	for _, s := range Settings() {
		c.values = append(c.values, Value{Setting: s, Text: s.Default, Source: FromDefault})
	}
	env, err := environment(src.Environ)
	if err != nil {
		return nil, err
	}
	if err := c.findFile(src, env[EnvConfig]); err != nil {
		return nil, err
	}
	for i := range c.values {
		v := &c.values[i]
		if text, ok := env[v.Env()]; ok {
			if err := v.set(text, FromEnvironment, v.Env()); err != nil {
				return nil, err
			}
		}
		if text, ok := src.Flags[v.Name]; ok {
			if err := v.set(text, FromFlag, "--"+v.Flag()); err != nil {
				return nil, err
			}
		}
		if v.Kind == PathSetting && v.Text != "" {
			err := v.expand(src.Home)
			if err != nil && v.Name == SettingData && v.Source == FromDefault { // many commands need none
				c.noData, v.Text, err = err, "", nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func (v *Value) set(text string, source Source, where string) error {
	if err := v.check(text); err != nil {
		return &ConfigError{Where: where, Detail: err.Error()}
	}
	v.Text, v.Source, v.Where = text, source, where
	return nil
}

// expand makes a path absolute where that is not the shell's work: "~/" is the home directory, and a path in a
// configuration file starts from that file.
func (v *Value) expand(home string) error {
	if rest, ok := strings.CutPrefix(v.Text, "~/"); ok {
		if home == "" {
			return &ConfigError{Where: cmp.Or(v.Where, "default of "+v.Name), Detail: fmt.Sprintf("%q: this user has no home directory", v.Text),
				Hint: fmt.Sprintf("name the directory with --%s or %s", v.Flag(), v.Env())}
		}
		v.Text = filepath.Join(home, rest)
	}
	if v.Source == FromFile && !filepath.IsAbs(v.Text) {
		v.Text = filepath.Join(filepath.Dir(v.Where), v.Text)
	}
	return nil
}

// environment returns the variables that are for a node, and refuses those that are not known.
func environment(environ []string) (map[string]string, error) {
	known := []string{EnvConfig}
	for _, s := range Settings() {
		known = append(known, s.Env())
	}
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		if !slices.Contains(known, name) {
			return nil, &ConfigError{Where: "environment variable " + name, Detail: "not a setting of pyvnode", Hint: suggest(name, EnvPrefix, known)}
		}
		if value != "" { // set to nothing is as good as not set
			env[name] = value
		}
	}
	return env, nil
}

// findFile reads the configuration file: the one that was asked for, or the default one where there is one.
func (c *Config) findFile(src Sources, fromEnv string) error {
	file, hint := src.File, "give the right path with --config"
	if file == "" && fromEnv != "" {
		file, hint = fromEnv, "give the right path in "+EnvConfig
	}
	named := file != ""
	if !named {
		if src.ConfigDir == "" {
			return nil
		}
		file = filepath.Join(src.ConfigDir, "pyvnode", "config.json")
	}
	raw, err := store.ReadBounded(file, MaxConfigFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &ConfigError{Where: "config file " + file, Detail: "does not exist", Hint: hint}
	case err != nil:
		return fmt.Errorf("config file %s: %w", file, err)
	}
	c.File = file
	return c.parse(file, raw)
}

// parse reads a configuration file: one JSON object of settings.
func (c *Config) parse(file string, raw []byte) error {
	where := "config file " + file
	fail := func(key, format string, args ...any) error {
		return &ConfigError{Where: where, Key: key, Detail: fmt.Sprintf(format, args...)}
	}
	raw = record.TrimMark(raw)
	if what, hint := record.ForeignForm(raw); what != "" {
		return &ConfigError{Where: where, Detail: "it is " + what, Hint: hint}
	}
	if !utf8.Valid(raw) {
		return fail("", "not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fail("", "want one JSON object, such as {\"workers\": 2}")
	}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return fail("", "not JSON: %s", record.ExplainJSON(raw, err))
		}
		key, _ := tok.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fail(key, "not JSON: %s", record.ExplainJSON(raw, err))
		}
		i := slices.IndexFunc(c.values, func(v Value) bool { return v.Name == key })
		switch {
		case i < 0:
			var known []string
			for _, v := range c.values {
				known = append(known, v.Name)
			}
			return &ConfigError{Where: where, Key: shorten(key), Detail: "not a setting", Hint: suggest(key, "", known)}
		case seen[key]:
			return fail(key, "given twice")
		}
		seen[key] = true
		v := &c.values[i]
		text, err := scalar(v.Kind, value)
		if err == nil {
			err = v.check(text)
		}
		if err != nil {
			return fail(key, "%v", err)
		}
		v.Text, v.Source, v.Where = text, FromFile, file
	}
	if _, err := dec.Token(); err != nil {
		return fail("", "the JSON ends too early")
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail("", "text after the JSON object")
	}
	return nil
}

// scalar returns a JSON value of the type that a kind of setting takes, as text.
func scalar(kind SettingKind, value json.RawMessage) (string, error) {
	switch kind {
	case IntegerSetting:
		if value[0] != '-' && (value[0] < '0' || value[0] > '9') {
			return "", fmt.Errorf("%s is not allowed: want a number", shorten(string(value)))
		}
		return string(value), nil
	case BoolSetting:
		if value[0] != 't' && value[0] != 'f' {
			return "", fmt.Errorf("%s is not allowed: want true or false", shorten(string(value)))
		}
		return string(value), nil
	case ListSetting:
		var texts []string
		if value[0] != '[' || json.Unmarshal(value, &texts) != nil || slices.ContainsFunc(texts, unfitForList) {
			return "", fmt.Errorf("%s is not allowed: want a list of texts, such as [\"a\", \"b\"]", shorten(string(value)))
		}
		return strings.Join(texts, listSeparator), nil
	}
	if value[0] != '"' {
		return "", fmt.Errorf("%s is not allowed: want a text in quotes", shorten(string(value)))
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}

func unfitForList(text string) bool { return text == "" || strings.Contains(text, listSeparator) }

// Values returns all settings with their values, in the order of the table.
func (c *Config) Values() []Value { return slices.Clone(c.values) }

func (c *Config) value(name string) Value {
	return c.values[slices.IndexFunc(c.values, func(v Value) bool { return v.Name == name })]
}

func (c *Config) text(name string) string { return c.value(name).Text }

func (c *Config) boolean(name string) bool { return c.text(name) == "true" }

func (c *Config) integer(name string) int {
	n, _ := strconv.Atoi(c.text(name)) // checked when it was set
	return n
}

// DataError says why there is no data directory: none is named, and the user has no home directory, where the default one
// would be. Nil where there is one.
func (c *Config) DataError() error { return c.noData }

// Data returns the data directory; empty where [Config.DataError] says why.
func (c *Config) Data() string { return c.text(SettingData) }

// LegacyDir returns the directory of what original clients have on the server.
func (c *Config) LegacyDir() string {
	if dir := c.text(SettingLegacyDir); dir != "" {
		return dir
	}
	return filepath.Join(c.Data(), LegacyDir)
}

// Format returns [FormatText] or [FormatJSON].
func (c *Config) Format() string { return c.text(SettingFormat) }

// Workers returns how many processor cores to use; 0 means all.
func (c *Config) Workers() int { return c.integer(SettingWorkers) }

// CacheBytes returns the size of the database's cache.
func (c *Config) CacheBytes() int64 { return int64(c.integer(SettingCacheMiB)) << 20 }

// LogLevel returns the least level of what is logged.
func (c *Config) LogLevel() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.text(SettingLogLevel))) // checked when it was set
	return level
}

// LogLevels returns the least levels of parts that have their own, as [Levels.Set] takes them.
func (c *Config) LogLevels() []string { return c.value(SettingLogLevels).List() }

// suggest names the known name that is nearest to an unknown one, or all of them when none is near. A prefix that all
// names share says nothing about nearness.
func suggest(name, prefix string, known []string) string {
	name = strings.TrimPrefix(name, prefix)
	best, at := len(name)/2+1, -1
	for i, k := range known {
		if d := Distance(name, strings.TrimPrefix(k, prefix)); d < best {
			best, at = d, i
		}
	}
	if at < 0 {
		return "known are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("did you mean %s?", known[at])
}

// Distance is the Levenshtein distance of two short texts; of longer ones, only their first 64 bytes count.
func Distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// shorten cuts foreign text for a message.
func shorten(text string) string {
	const limit = 60
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
