package legacy_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/legacytest"
)

// script is a source of commands made of bytes.
type script struct {
	data   []byte
	values []record.Value
}

func (s *script) byte() int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b)
}

// message is mostly a command with arguments that mean something, and sometimes anything.
func (s *script) message() (message record.Value, name string) {
	names := legacy.Commands()
	i := s.byte()
	if i >= 250 {
		return s.value(), ""
	}
	name = names[i%len(names)]
	request := record.List{record.Text(name)}
	for range s.byte() % 5 {
		request = append(request, s.value())
	}
	return request, name
}

func (s *script) value() record.Value {
	i := s.byte()
	switch {
	case i == 255:
		n := min(s.byte(), len(s.data))
		text := strings.ToValidUTF8(string(s.data[:n]), "?")
		s.data = s.data[n:]
		return record.Text(text)
	case i == 254:
		return record.List{s.value(), s.value()}
	case i == 253:
		return record.NewInt(int64(s.byte()) - 128)
	}
	return s.values[i%len(s.values)]
}

// FuzzSession runs sequences of commands in several sessions, and watches that nobody gets or does what they may not.
func FuzzSession(f *testing.F) {
	commands := map[string]byte{}
	for i, name := range legacy.Commands() {
		commands[name] = byte(i)
	}
	first, second := legacytest.Record(f, 1), legacytest.Record(f, 2)
	header, _ := first.Get(record.Text(record.KeyHeader))
	values := []record.Value{
		record.Text("admin"), record.Text("bob"), record.Text("eve"), record.Text("pw"), record.Text("wrong"), record.Text("123456"), // 0
		record.Text("vote"), record.Text("charity"), first, second, header, record.Text("hash"), // 6
		record.Text("f"), record.Text("d"), record.Text("d/f"), record.Text(".."), record.Text("../admin"), record.Text("/etc"), record.Text("link"), // 12
		record.NewInt(0), record.NewInt(-1), record.Float(4e9), record.Bytes("content"), record.Bytes{}, record.Text("on"), record.Text("off"), // 19
		record.Text("add"), record.Text("list"), record.Text("host:1"), record.Text("enable"), record.Text("disable"), record.Text("user"), // 26
		record.Text(""), record.Text("%20\x00"), record.Tuple{}, new(record.Dict), // 32
	}
	login := func(user byte) []byte { return []byte{0, commands["user"], 1, user, 0, commands["pass"], 1, 3} }
	seed := func(parts ...[]byte) {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		f.Add(all)
	}
	seed(login(0), []byte{0, commands["uadd"], 2, 2, 3, 0, commands["udel"], 1, 1, 1, commands["user"], 1, 1, 1, commands["pass"], 1, 3})
	seed(login(1), []byte{0, commands["rput"], 2, 6, 8, 0, commands["twofa"], 1, 5, 0, commands["rput"], 2, 6, 8, 0, commands["rget"], 2, 6, 10})
	seed(login(1), []byte{0, commands["mkdir"], 1, 13, 0, commands["cd"], 1, 13, 0, commands["file"], 1, 12, 0, commands["data"], 2, 19, 22, 0, commands["data"], 2, 19, 23})
	seed(login(1), []byte{0, commands["fget"], 1, 18, 0, commands["fput"], 1, 15, 0, commands["stat"], 1, 16, 0, commands["del"], 1, 17})
	seed([]byte{0, commands["pass"], 1, 4, 0, commands["pass"], 0, 0, commands["pass"], 1, 4, 0, commands["hello"], 0})

	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t)
		w.accounts.Enrol("bob", "123456")
		server, err := legacy.NewServer(w.options(func(o *legacy.Options) {
			o.Production = true
			o.Limits = legacy.Limits{FileSize: 1000, Quota: 5000, Files: 20}
		}), w.ledger, w.accounts)
		must(t, err)
		defer func() { must(t, server.Close()) }()
		outside := t.TempDir()
		must(t, os.MkdirAll(w.home(), 0o755))
		_ = os.Symlink(outside, filepath.Join(w.home(), "link"))

		sessions := make([]legacy.Session, 3)
		ended := make([]bool, len(sessions))
		for i := range sessions {
			sessions[i] = server.NewSession(netip.MustParseAddr("127.0.0.1"))
			defer sessions[i].End()
		}
		users := func() string {
			all, err := w.accounts.Users(t.Context())
			must(t, err)
			return fmt.Sprint(all)
		}
		s := script{data: data, values: values}
		for range 50 {
			if len(s.data) == 0 {
				break
			}
			i := s.byte() % len(sessions)
			if ended[i] {
				continue
			}
			session := sessions[i]
			state, user := session.State()
			usersBefore, hostsBefore, countBefore := users(), fmt.Sprint(server.Hosts()), w.ledger.Store.Count("vote")
			message, name := s.message()
			reply, end := session.Do(t.Context(), message)
			ended[i] = end
			text := legacytest.Show(reply)
			if legacytest.Items(reply) == nil && text != "[]" {
				t.Fatalf("%s: answered %s", legacytest.Show(message), text)
			}
			if _, err := record.AppendPack(nil, reply); err != nil {
				t.Fatalf("%s: answered what cannot be packed: %v", legacytest.Show(message), err)
			}
			if strings.Contains(text, w.dir) || strings.Contains(text, "internal error") {
				t.Fatalf("%s: answered %s", legacytest.Show(message), text)
			}
			stateNow, userNow := session.State()
			if userNow.Name != user.Name && userNow.Name != "" && (name != "pass" || !legacytest.IsOK(reply)) || stateNow == 6 && state != 6 && name != "twofa" {
				t.Fatalf("%s: state %d of %q became %d of %q", legacytest.Show(message), state, user.Name, stateNow, userNow.Name)
			}
			isAdmin := state >= 5 && user.Is(legacy.Administrator)
			if users() != usersBefore && !isAdmin || fmt.Sprint(server.Hosts()) != hostsBefore && !isAdmin {
				t.Fatalf("%s by %q: users were %s, are %s", legacytest.Show(message), user.Name, usersBefore, users())
			}
			if w.ledger.Store.Count("vote") != countBefore && (name != "rput" || state != 6) {
				t.Fatalf("%s in state %d added a record", legacytest.Show(message), state)
			}
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Fatalf("something was written outside: %v, %v", left, err)
		}
	})
}
