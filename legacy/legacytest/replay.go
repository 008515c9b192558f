// Package legacytest tests servers of the original protocol. [Replay] replays what the original
// server was recorded to answer.
//
// The rest is what such tests need: a [Ledger] and [Accounts] in memory, a data directory that the
// original server wrote ([DataRoot]), and a [Peer], which is a client that also says what no client
// would say.
package legacytest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"pyvnode/ledger/record"
)

// transcripts are steps that the original server was recorded to take, in development mode: eight cases against one data
// directory.
//
//go:embed testdata/transcripts.json
var transcripts []byte

type recordedCase struct {
	Case     string
	Steps    []recordedStep
	Sessions map[string]recordedSession
}

type recordedSession struct {
	Encrypted       any // true, false, or by a step
	Login           []string
	OpensBeforeStep int `json:"opens_before_step"`
}

// recordedStep is a request with its response, a greeting, a transfer or a key exchange.
type recordedStep struct {
	Session           string
	Greeting          *typedValue
	Request           []typedValue
	Response          typedValue
	Upload, Download  string
	Bytes             int
	StartSession      *typedValue `json:"start_session"`
	StartSessionAgain *typedValue `json:"start_session_again"`
}

// Replay runs all recorded cases, in their order, against a server with an empty data root, ledger and accounts, in
// development mode. A reply must be the recorded one in type and content. What docs/original-protocol.md excepts is not
// compared: IDs of connections and of the site, the numbers of `stat` other than mode and size, paths of the server,
// the order of listings, and the words after "on processing request.".
func Replay(t *testing.T, address string) {
	t.Helper()
	var cases []recordedCase
	if err := json.Unmarshal(transcripts, &cases); err != nil {
		t.Fatal(err)
	}
	r := &replay{address: address, ids: map[string]bool{}}
	for _, c := range cases {
		t.Run(c.Case, func(t *testing.T) { r.run(t, c) })
	}
	if r.steps != 218 {
		t.Errorf("%d steps were replayed, of 218", r.steps)
	}
}

type replay struct {
	address string
	steps   int
	site    string          // ID of the server, as it said first
	ids     map[string]bool // of connections
	content []byte          // of the last upload
}

func (r *replay) run(t *testing.T, c recordedCase) {
	open := map[string]*Peer{}
	for i, step := range c.Steps {
		for _, name := range sortedKeys(c.Sessions) {
			if s := c.Sessions[name]; s.OpensBeforeStep == i {
				open[name] = r.open(t, s)
			}
		}
		p := open[step.Session]
		if p == nil {
			t.Fatalf("step %d: session %q is not open", i, step.Session)
		}
		if problem := r.step(t, p, step); problem != "" {
			t.Errorf("step %d: %s", i, problem)
		}
		r.steps++
	}
}

func (r *replay) open(t *testing.T, s recordedSession) *Peer {
	p := Dial(t, r.address)
	id := connectionID(p)
	if id == "" || r.ids[id] {
		t.Errorf("greeting %s: the ID of the connection is empty or was there before", Show(p.Greeting))
	}
	r.ids[id] = true
	if s.Encrypted == true {
		p.StartSession(t)
	}
	if s.Login != nil {
		p.Login(t, s.Login[0], s.Login[1])
	}
	return p
}

func connectionID(p *Peer) string {
	items := Items(p.Greeting)
	if len(items) != 3 {
		return ""
	}
	id, _ := items[2].(record.Text)
	return string(id)
}

// step takes one step and returns what is wrong with the reply.
func (r *replay) step(t *testing.T, p *Peer, step recordedStep) string {
	switch {
	case step.Greeting != nil:
		return r.compare(p, "hello", step.Greeting.Value, p.Greeting)
	case step.StartSession != nil:
		return r.compare(p, "sess", step.StartSession.Value, p.StartSession(t))
	case step.StartSessionAgain != nil:
		before := p.Key
		problem := r.compare(p, "sess", step.StartSessionAgain.Value, p.StartSession(t))
		if p.Key == before {
			problem += " the key has not changed"
		}
		return problem
	case step.Upload != "":
		name, _, _ := strings.Cut(step.Upload, " ") // a second time it says "(again)"
		r.content = make([]byte, step.Bytes)
		random := rand.New(rand.NewPCG(uint64(r.steps), 0))
		for i := range r.content {
			r.content[i] = byte(random.Uint32())
		}
		return r.compare(p, "fput", step.Response.Value, p.Upload(t, name, r.content))
	case step.Download != "":
		content, reply := p.Download(t, step.Download)
		if !bytes.Equal(content, r.content) {
			return fmt.Sprintf("%d bytes came back, other than the %d that were sent", len(content), len(r.content))
		}
		return r.compare(p, "fget", step.Response.Value, reply)
	}
	request := record.List(values(step.Request))
	if err := p.Send(request); err != nil && !Equal(step.Response.Value, disconnected) {
		return err.Error()
	}
	reply, err := p.Receive()
	if err != nil {
		return fmt.Sprintf("%s: %v", Show(request), err)
	}
	name, _ := request[0].(record.Text)
	if problem := r.compare(p, string(name), step.Response.Value, reply); problem != "" {
		return fmt.Sprintf("%s: %s", Show(request), problem)
	}
	return ""
}

// disconnected comes without a request behind the third failed password; the request that it was recorded with was never
// looked at.
var disconnected = record.List{record.Text("ERR"), record.Text("Disconnected.")}

// Equal reports whether two values are the same in type and content.
func Equal(a, b record.Value) bool {
	return a != nil && b != nil && record.Equal(a, b)
}

const recordedSite = "50541286-29cb-48db-87a4-c6081b6f351a"

// compare returns how a reply differs from the recorded one.
func (r *replay) compare(p *Peer, command string, recorded, reply record.Value) string {
	want := Items(recorded)
	got := Items(reply)
	differ := fmt.Sprintf("answered %s, recorded is %s", Show(reply), Show(recorded))
	if fmt.Sprintf("%T", recorded) != fmt.Sprintf("%T", reply) || len(want) != len(got) {
		return differ
	}
	want, got = slices.Clone(want), slices.Clone(got)
	isOK := IsOK(recorded)
	switch {
	case (command == "ls" || command == "lsd" || command == "dir") && isOK:
		sortTexts(want)
		sortTexts(got)
	case command == "stat" && isOK:
		for i := range got {
			if i == 3 || i == 4 || i == 5 || i == 6 || i == 7 || i >= 9 {
				if text, _ := got[i].(record.Text); !decimal.MatchString(string(text)) {
					return differ
				}
				got[i] = want[i]
			}
		}
	case command == "stat" && strings.Contains(Show(want[1]), "<dataroot>"):
		if strings.Contains(Show(got[1]), "/") {
			return "the reply shows a path: " + Show(reply)
		}
		got[1] = want[1]
	case len(want) == 3 && want[1] == record.Text("on processing request."):
		got[2] = want[2]
	}
	for i := range want {
		if want[i] == record.Text(recordedSite) {
			text, _ := got[i].(record.Text)
			if _, err := uuid.Parse(string(text)); err != nil {
				return differ
			}
			if r.site == "" {
				r.site = string(text)
			}
			want[i] = record.Text(r.site)
		}
	}
	switch command {
	case "hello", "helo", "ver", "id", "quit":
		if isOK {
			want[len(want)-1] = record.Text(connectionID(p))
		}
	}
	for i := range want {
		if !record.Equal(want[i], got[i]) {
			return differ
		}
	}
	return ""
}

var decimal = regexp.MustCompile(`^[0-9]+$`)

func sortTexts(values []record.Value) {
	slices.SortFunc(values, func(a, b record.Value) int { return strings.Compare(Show(a), Show(b)) })
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
