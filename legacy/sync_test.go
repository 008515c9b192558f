package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"pyvnode/ledger/record"
	"pyvnode/legacy"
	"pyvnode/legacy/client"
	"pyvnode/legacy/legacytest"
	"pyvnode/legacy/replicate"
)

// A shelf is a server of the original protocol in memory: it keeps whatever it gets under its header, and misbehaves where
// it is told to.
type shelf struct {
	headers []string // in the order of arrival; "" was deleted
	records map[string]*record.Dict

	node       bool            // lists headers of version 1 only; otherwise all that are UUIDs, as the original does
	noWindows  bool            // refuses to list by time, as an original server that deleted records
	denies     []string        // commands
	refuses    map[string]bool // headers of records that it does not take
	unreadable map[string]bool
	answer     string          // to every rput, instead of taking the record
	cut        int             // after so many calls; 0 is never
	during     func(n int)     // is called before call n
	calls      map[string]int  // by command
	offered    map[string]bool // by rput
}

func newShelf(headers ...string) *shelf {
	s := &shelf{records: map[string]*record.Dict{}, refuses: map[string]bool{}, unreadable: map[string]bool{}, calls: map[string]int{}, offered: map[string]bool{}}
	for _, h := range headers {
		s.add(h, 0)
	}
	return s
}

func (s *shelf) add(header string, hops int64) {
	fields := new(record.Dict).Set(record.Text(record.KeyHeader), record.Text(header)).Set(record.Text(record.KeyReplicated), record.NewInt(hops))
	s.headers = append(s.headers, header)
	s.records[header] = fields
}

func (s *shelf) delete(at int) {
	delete(s.records, s.headers[at])
	s.headers[at] = ""
	s.noWindows = true
}

var errCut = errors.New("the connection was cut")

func (s *shelf) Do(ctx context.Context, args ...any) (record.Value, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	name := args[0].(string)
	s.calls[name]++
	s.calls["all"]++
	if s.during != nil {
		s.during(s.calls["all"])
	}
	if s.cut > 0 && s.calls["all"] > s.cut {
		return nil, errCut
	}
	reply := s.reply(name, args[1:])
	if err := client.Refusal(name, reply); err != nil {
		return nil, err
	}
	return reply, nil
}

func refused(words ...string) record.Value { return list("ERR", words...) }

func list(first string, rest ...string) record.List {
	l := record.List{record.Text(first)}
	for _, text := range rest {
		l = append(l, record.Text(text))
	}
	return l
}

func (s *shelf) reply(name string, args []any) record.Value {
	if slices.Contains(s.denies, name) {
		return refused("Accounts of replicators cannot use this command.", name)
	}
	switch name {
	case "tout":
		return list("OK")
	case "rput":
		return s.put(args[1].(*record.Dict))
	}
	if len(s.headers) == 0 {
		return refused("Directory does not exist.", args[0].(string))
	}
	switch name {
	case "rsize":
		return append(list("OK"), record.NewInt(int64(len(s.headers))))
	case "rcount", "rlist":
		if s.noWindows {
			return refused("on processing request.", "list index out of range")
		}
		from, to := args[1].(float64), args[2].(float64)
		if name == "rcount" {
			found := s.between(func(at float64) bool { return at >= from && at <= to })
			return append(list("OK"), record.NewInt(int64(len(found))))
		}
		found := s.between(func(at float64) bool { return at > from && at < to })
		if len(found) > 100 {
			return refused("Too many records, narrow date range.")
		}
		slices.Reverse(found)
		return append(list("OK"), append(record.List{}, list("", found...)[1:]...))
	case "rhave":
		if s.records[args[1].(string)] == nil {
			return refused("Data not found.", args[1].(string))
		}
		return list("OK", "Data found")
	case "rget":
		return s.get(args[1].([]string))
	case "rabs":
		var headers []string
		for _, position := range args[1:] {
			at := position.(int64)
			if at >= int64(len(s.headers)) || s.headers[at] == "" {
				return refused("Record not found.", fmt.Sprint(at))
			}
			headers = append(headers, s.headers[at])
		}
		return s.get(headers)
	}
	return refused("Invalid command issued", name)
}

// between returns the headers whose time the server takes to be one that is asked for.
func (s *shelf) between(matches func(at float64) bool) (found []string) {
	for _, h := range s.headers {
		id, err := uuid.Parse(h)
		if err != nil || id.String() != h || s.node && id.Version() != 1 {
			continue
		}
		id[6] = id[6]&0x0f | 0x10 // Python takes the time out of UUIDs of all versions in the same way
		seconds, nanos := id.Time().UnixTime()
		if matches(float64(seconds) + float64(nanos)/1e9) {
			found = append(found, h)
		}
	}
	return found
}

func (s *shelf) get(headers []string) record.Value {
	records := record.List{}
	for _, h := range headers {
		if s.unreadable[h] {
			return refused("on processing request.", "damaged")
		}
		if s.records[h] == nil {
			return refused("Data not found.", h)
		}
		packed, err := record.AppendPack(nil, s.records[h])
		if err != nil {
			panic(err)
		}
		records = append(records, record.List{record.Bytes(h), record.Bytes(packed)})
	}
	if len(records) > 40 {
		return refused("on processing request.", "too long")
	}
	return append(list("OK"), record.NewInt(int64(len(records))), record.Text("records"), records)
}

func (s *shelf) put(fields *record.Dict) record.Value {
	v, _ := fields.Get(record.Text(record.KeyHeader))
	header := string(v.(record.Text))
	s.offered[header] = true
	switch {
	case s.answer != "":
		return refused(s.answer, "rput")
	case s.refuses[header]:
		return refused("Insufficient hash strength (0)", "rput")
	case s.records[header] != nil:
		return refused("Duplicate block, not saved.", header)
	}
	s.headers = append(s.headers, header)
	s.records[header] = fields
	return list("OK", "Blockchain data added.", header)
}

// at returns a header of version 1 of a time, told from others by n.
func at(t time.Time, n int) string {
	ticks := uint64(t.Unix()+12219292800)*1e7 + uint64(t.Nanosecond())/100
	return fmt.Sprintf("%08x-%04x-1%03x-8000-%012x", uint32(ticks), uint16(ticks>>32), ticks>>48, n)
}

var election = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// evenly returns n headers, one every second.
func evenly(n int) (headers []string) {
	for i := range n {
		headers = append(headers, at(election.Add(time.Duration(i)*time.Second), i))
	}
	return headers
}

// runSync runs a sync and gathers what it reports.
func runSync(t rapidT, source, target replicate.Caller, o replicate.SyncOptions) (replicate.SyncSummary, []replicate.SyncRecord, error) {
	o.Kind = "vote"
	var reported []replicate.SyncRecord
	o.Report = func(r replicate.SyncRecord) error {
		reported = append(reported, r)
		return nil
	}
	o.Progress = func(done, total uint64) {
		if done > total {
			t.Errorf("%d of %d are done", done, total)
		}
	}
	sum, err := replicate.Sync(context.Background(), source, target, o)
	return sum, reported, err
}

type rapidT interface {
	Errorf(format string, args ...any)
}

func reportedHeaders(reported []replicate.SyncRecord, status replicate.SyncOutcome) (headers []string) {
	for _, r := range reported {
		if r.Status == status {
			headers = append(headers, r.Header)
		}
	}
	slices.Sort(headers)
	return headers
}

// drawHeaders draws headers in the order of arrival: up to hundreds of a moment and of a second, some over years, beside the
// bounds of windows, of other versions, and such that are no UUIDs or look like others.
func drawHeaders(t *rapid.T) (headers []string) {
	for _, group := range []struct {
		name string
		most int
		make func(n int) string
	}{
		{"moment", 130, func(n int) string { return at(election, n) }},
		{"second", 250, func(n int) string { return at(election.Add(time.Duration(n)*7*time.Millisecond), 1000+n) }},
		{"years", 50, func(n int) string { return at(election.AddDate(0, n-25, 0), 2000+n) }},
		{"edge", 50, func(n int) string { return at(election.Add(time.Minute).Add(time.Duration(n)*100), n) }},
		{"other versions", 20, func(n int) string {
			id := uuid.NewSHA1(uuid.Nil, []byte{byte(n)})
			id[6] = id[6]&0x0f | byte([]int{0x30, 0x40, 0x60, 0x70}[n%4])
			return id.String()
		}},
		{"odd", 9, func(n int) string {
			return fmt.Sprintf([]string{"no UUID %d", "AAAAAAAA-0000-1000-8000-%012d", "aaaaaaaa-0000-1000-8000-%012d"}[n%3], n/3)
		}},
	} {
		if rapid.Bool().Draw(t, "with "+group.name) {
			for n := range rapid.IntRange(1, group.most).Draw(t, group.name) {
				headers = append(headers, group.make(n))
			}
		}
	}
	return rapid.Permutation(headers).Draw(t, "order")
}

// TestSyncBringsEverything: whatever two servers hold and are like, one sync, or one that is cut off and another one, brings
// all that the target takes, offers nothing that it has, and names the rest.
func TestSyncBringsEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source, target := newShelf(), newShelf()
		source.node, target.node = rapid.Bool().Draw(t, "source is a node"), rapid.Bool().Draw(t, "target is a node")
		var missing, wanted []string
		for _, h := range drawHeaders(t) {
			switch fate := rapid.IntRange(0, 40).Draw(t, "fate"); {
			case fate < 5:
				target.add(h, 0)
				continue
			case fate < 20:
				target.add(h, 0)
				target.unreadable[h] = fate == 5
			case fate == 20:
				target.refuses[h] = true
				missing = append(missing, h)
			case fate == 21:
				source.unreadable[h] = true
				missing = append(missing, h)
			default:
				missing = append(missing, h)
				wanted = append(wanted, h)
			}
			source.add(h, 0)
		}
		if len(source.headers) == 0 {
			source.add(at(election.Add(time.Hour), 1), 0)
			missing, wanted = source.headers, source.headers
		}
		missing = slices.Sorted(slices.Values(missing))
		o := replicate.SyncOptions{By: rapid.SampledFrom([]replicate.SyncWay{"", replicate.SyncAuto, replicate.SyncByTime, replicate.SyncByPosition}).Draw(t, "by")}

		if len(source.unreadable) == 0 {
			dry := o
			dry.DryRun = true
			sum, reported, err := runSync(t, source, target, dry)
			if got := reportedHeaders(reported, replicate.SyncMissing); err != nil || !slices.Equal(got, missing) || len(target.offered) > 0 {
				t.Fatalf("a dry run finds %q missing, want %q (%v, %+v)", got, missing, err, sum)
			}
		}
		held := map[string]bool{}
		for h := range target.records {
			held[h] = true
		}
		if side := rapid.SampledFrom([]*shelf{nil, source, target}).Draw(t, "cut"); side != nil {
			side.cut = side.calls["all"] + rapid.IntRange(1, 60).Draw(t, "cut after")
			sum, _, err := runSync(t, source, target, o)
			if err != nil && !errors.Is(err, errCut) || (err != nil) == sum.Complete {
				t.Fatalf("cut off: %v, %+v", err, sum)
			}
			side.cut = 0
		}
		for h := range target.offered {
			if held[h] {
				t.Fatalf("%s is offered, which the target has", h)
			}
		}
		before := len(target.headers)
		sum, reported, err := runSync(t, source, target, o)
		if err != nil || !sum.Complete || sum.Source != uint64(len(source.headers)) {
			t.Fatalf("%v, %+v", err, sum)
		}
		for _, h := range wanted {
			fields := target.records[h]
			if fields == nil {
				t.Fatalf("%s did not come: %+v", h, sum)
			}
			if hops, _ := fields.Get(record.Text(record.KeyReplicated)); hops != record.Value(record.NewInt(1)) {
				t.Fatalf("Replicated is %v", hops)
			}
		}
		if got, want := sum.Stored, uint64(len(target.headers)-before); got != want {
			t.Fatalf("%d stored, says the summary, not %d", got, want)
		}
		if got := reportedHeaders(reported, replicate.SyncRefused); len(got) != len(target.refuses) || uint64(len(got)) != sum.Refused {
			t.Fatalf("refused %q, not %v: %+v", got, target.refuses, sum)
		}
		if (sum.Unreadable > 0) != (len(source.unreadable) > 0) {
			t.Fatalf("%d cannot be read: %+v", len(source.unreadable), sum)
		}
		if n := sum.Held + sum.Stored + sum.Refused; n != sum.Seen && len(source.unreadable) == 0 || len(source.unreadable) == 0 && sum.Seen != sum.Source {
			t.Fatalf("the summary does not add up: %+v", sum)
		}
		sum, _, err = runSync(t, source, target, o)
		if err != nil || sum.Stored != 0 {
			t.Fatalf("once more: %v, %+v", err, sum)
		}
	})
}

// TestSyncIsCheap: when hardly anything is missing, the walk by time asks each side twice for a hundred headers at most,
// and for no record but those that are.
func TestSyncIsCheap(t *testing.T) {
	t.Parallel()
	const n = 5000
	source, target := newShelf(evenly(n)...), newShelf(evenly(n)[1:]...)
	sum, _, err := runSync(t, source, target, replicate.SyncOptions{By: replicate.SyncByTime})
	if err != nil || sum.By != replicate.SyncByTime || sum.Held != n-1 || sum.Stored != 1 || !sum.Complete {
		t.Fatalf("%v, %+v", err, sum)
	}
	for _, s := range []*shelf{source, target} {
		if got := s.calls["rlist"]; got > 2*n/50 {
			t.Errorf("%d windows were listed for %d records", got, n)
		}
	}
	if source.calls["rget"] != 1 || source.calls["rabs"] > 0 || target.calls["rhave"] > 0 || target.calls["rabs"] > 0 || target.calls["rput"] != 1 {
		t.Errorf("source %v, target %v", source.calls, target.calls)
	}
}

// TestSyncSpan: only records of the span come, found by either way.
func TestSyncSpan(t *testing.T) {
	t.Parallel()
	for _, by := range []replicate.SyncWay{replicate.SyncByTime, replicate.SyncByPosition} {
		last := at(election.Add(200*time.Second-time.Microsecond), 1)
		source, target := newShelf(append(evenly(300), "no UUID", last)...), newShelf()
		sum, _, err := runSync(t, source, target, replicate.SyncOptions{By: by, From: election.Add(10 * time.Second), To: election.Add(200 * time.Second)})
		if want := append(evenly(200)[10:], last); err != nil || !sum.Complete || sum.Stored != 191 || sum.By != by {
			t.Errorf("%s: %v, %+v", by, err, sum)
		} else if slices.Sort(target.headers); !slices.Equal(slices.Sorted(slices.Values(want)), target.headers) {
			t.Errorf("%s: other records came: %q", by, target.headers)
		}
	}
}

// TestSyncGrowing: records that come while the walk goes on do not make it miss old ones, nor go over positions for nothing.
func TestSyncGrowing(t *testing.T) {
	t.Parallel()
	source, target := newShelf(evenly(1000)...), newShelf()
	source.during = func(n int) {
		if n > 5 && n%10 == 0 {
			source.add(at(election.Add(time.Hour), n), 0)
		}
	}
	sum, _, err := runSync(t, source, target, replicate.SyncOptions{By: replicate.SyncByTime})
	if err != nil || !sum.Complete || sum.By != replicate.SyncByTime || sum.Source != 1000 || sum.Stored < 1000 {
		t.Errorf("%v, %+v", err, sum)
	}
}

// TestSyncFallsBack: where windows do not show everything, positions do, and the summary says why.
func TestSyncFallsBack(t *testing.T) {
	t.Parallel()
	moment := evenly(5)
	for n := range 150 {
		moment = append(moment, at(election.Add(time.Minute), 1000+n))
	}
	for name, c := range map[string]struct {
		headers []string
		change  func(source *shelf)
		by, way replicate.SyncWay
		why     string
		gone    uint64
	}{
		"a moment":  {moment, func(*shelf) {}, replicate.SyncByTime, "time, then position", "of one moment", 0},
		"no time":   {append(evenly(5), "no UUID"), func(*shelf) {}, replicate.SyncAuto, replicate.SyncByPosition, "1 headers have no time", 0},
		"no time 2": {append(evenly(5), "no UUID"), func(*shelf) {}, replicate.SyncByTime, "time, then position", "show 5 records, and the source says that it has 6", 0},
		"deleted":   {evenly(5), func(s *shelf) { s.delete(2) }, replicate.SyncAuto, replicate.SyncByPosition, "cannot be listed", 1},
	} {
		source, target := newShelf(c.headers...), newShelf()
		c.change(source)
		sum, reported, err := runSync(t, source, target, replicate.SyncOptions{By: c.by})
		if err != nil || !sum.Complete || len(reported) > 0 || sum.By != c.way || !strings.Contains(sum.Why, c.why) || sum.Gone != c.gone || len(target.records) != len(source.records) {
			t.Errorf("%s: %v, %+v", name, err, sum)
		}
	}
}

// TestSyncFaster: with many records it is measured which way is faster.
func TestSyncFaster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, target := newShelf(evenly(1000)...), newShelf(evenly(1000)[1:]...)
		slow, times := []string{"rlist", "rcount"}, 0
		source.during = func(int) {
			before := times
			if times = source.calls[slow[0]] + source.calls[slow[1]]; times > before {
				time.Sleep(20 * time.Millisecond)
			}
		}
		sum, _, err := runSync(t, source, target, replicate.SyncOptions{})
		if err != nil || sum.By != replicate.SyncByPosition || !strings.Contains(sum.Why, "times as long") || sum.Stored != 1 {
			t.Errorf("windows are slow: %v, %+v", err, sum)
		}
		slow = []string{"rabs", "rget"}
		sum, _, err = runSync(t, source, target, replicate.SyncOptions{})
		if err != nil || sum.By != replicate.SyncByTime || sum.Held != 1000 {
			t.Errorf("positions are slow: %v, %+v", err, sum)
		}
	})
}

// TestSyncRestricted: a restricted account of a node may not read by position. As the target's that is enough; as the
// source's it is, unless windows do not show everything.
func TestSyncRestricted(t *testing.T) {
	t.Parallel()
	source, target := newShelf(evenly(300)...), newShelf(evenly(100)...)
	source.denies, target.denies = []string{"rabs"}, []string{"rabs"}
	if sum, _, err := runSync(t, source, target, replicate.SyncOptions{}); err != nil || sum.Stored != 200 || sum.Held != 100 || sum.By != replicate.SyncByTime {
		t.Errorf("%v, %+v", err, sum)
	}
	source.denies = nil
	source.add("no UUID", 0)
	if sum, _, err := runSync(t, source, target, replicate.SyncOptions{By: replicate.SyncByPosition}); err != nil || sum.Stored != 1 || sum.Held != 300 {
		t.Errorf("%v, %+v", err, sum)
	}
	source.denies = []string{"rabs"}
	sum, _, err := runSync(t, source, target, replicate.SyncOptions{By: replicate.SyncByTime})
	if err == nil || sum.Complete || !strings.Contains(err.Error(), "by position only") {
		t.Errorf("%v, %+v", err, sum)
	}
}

// TestSyncRefused: what the target says of every record.
func TestSyncRefused(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]error{
		"Out of Sequence command issued": replicate.ErrNotProven,
		`Not saved: records of kind "vote" are private in network "n" and never published`: replicate.ErrPrivate,
		"Timeout occured, disconnecting.":                                                  errors.New("Timeout occured"),
		"Duplicate header of a record with other content, not saved.":                      nil,
		"Error on block hash.":                                                             nil,
		"Duplicate block, not saved.":                                                      nil,
	} {
		for _, by := range []replicate.SyncWay{replicate.SyncByTime, replicate.SyncByPosition} {
			source, target := newShelf(evenly(3)...), newShelf()
			target.answer = answer
			sum, reported, err := runSync(t, source, target, replicate.SyncOptions{By: by})
			if want != nil {
				if !errors.Is(err, want) && !strings.Contains(fmt.Sprint(err), want.Error()) || target.calls["rput"] != 1 || sum.Complete {
					t.Errorf("%s: %v after %d records", answer, err, target.calls["rput"])
				}
				continue
			}
			status := replicate.SyncRefused
			switch {
			case strings.Contains(answer, "header"):
				status = replicate.SyncConflict
			case strings.HasPrefix(answer, "Duplicate"):
				if err != nil || sum.Held != 3 || len(reported) > 0 {
					t.Errorf("%s: %v, %+v", answer, err, sum)
				}
				continue
			}
			if got := reportedHeaders(reported, status); err != nil || len(got) != 3 || sum.Refused+sum.Conflicts != 3 || reported[0].Because != answer+" rput" {
				t.Errorf("%s: %v, %+v", answer, err, reported)
			}
		}
	}
}

// TestSyncHops: records arrive in their order, and the count goes up by one wherever it was, within what servers take.
func TestSyncHops(t *testing.T) {
	t.Parallel()
	source, target := newShelf(), newShelf()
	headers := evenly(3)
	source.add(headers[0], 7)
	source.add(headers[1], 1<<40)
	source.add(headers[2], 0)
	source.records[headers[2]].Set(record.Text(record.KeyReplicated), record.Text("often"))
	if sum, _, err := runSync(t, source, target, replicate.SyncOptions{}); err != nil || sum.Stored != 3 || !slices.Equal(target.headers, headers) {
		t.Fatalf("%v, %+v, in the order %q", err, sum, target.headers)
	}
	for i, want := range []int64{8, 1, 1} {
		if got, _ := target.records[headers[i]].Get(record.Text(record.KeyReplicated)); got != record.Value(record.NewInt(want)) {
			t.Errorf("Replicated is %v, not %d", got, want)
		}
	}
}

// TestSyncWrongRecord: a record that is not the one that was asked for is not brought.
func TestSyncWrongRecord(t *testing.T) {
	t.Parallel()
	for _, by := range []replicate.SyncWay{replicate.SyncByTime, replicate.SyncByPosition} {
		source, target := newShelf(evenly(3)...), newShelf()
		source.records[source.headers[1]] = source.records[source.headers[0]]
		sum, reported, err := runSync(t, source, target, replicate.SyncOptions{By: by})
		if err != nil || sum.Stored != 2 || sum.Unreadable != 1 || len(reported) != 1 || reported[0].Header != source.headers[1] {
			t.Errorf("%s: %v, %+v", by, err, sum)
		}
	}
}

// TestSyncServers is between two servers as nodes have them, through the client.
func TestSyncServers(t *testing.T) {
	t.Parallel()
	source, target := start(t), start(t)
	for n := range 12 {
		putInto(t, source.ledger, n, uint32(n%3))
	}
	putInto(t, target.ledger, 5, 0)
	dial := func(w *world) *client.Conn {
		c, err := client.Dial(t.Context(), w.address, client.Options{})
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		must(t, c.StartSession(t.Context()))
		must(t, c.Login(t.Context(), "bob", "pw"))
		return c
	}
	for _, by := range []replicate.SyncWay{replicate.SyncByTime, replicate.SyncByPosition} {
		target.ledger.BeforePut = func(context.Context) error { return &legacy.RefusedError{Reason: "the disk is full"} }
		sum, reported, err := runSync(t, dial(source), dial(target), replicate.SyncOptions{By: by})
		if err != nil || sum.Refused != 11 || reported[0].Because != "Not saved: the disk is full rput" {
			t.Errorf("%v, %+v, %+v", err, sum, reported)
		}
		target.ledger.BeforePut = nil
	}
	// The connection is cut in the middle, and then the walk goes on.
	conn := dial(target)
	puts := 0
	target.ledger.BeforePut = func(context.Context) error {
		if puts++; puts == 6 {
			_ = conn.Close()
		}
		return nil
	}
	sum, _, err := runSync(t, dial(source), conn, replicate.SyncOptions{})
	if !errors.Is(err, net.ErrClosed) || sum.Complete || sum.Stored != 5 {
		t.Errorf("%v, %+v", err, sum)
	}
	sum, reported, err := runSync(t, dial(source), dial(target), replicate.SyncOptions{})
	if err != nil || sum.Stored+sum.Held != 12 || len(reported) > 0 || !sum.Complete {
		t.Errorf("%v, %+v", err, sum)
	}
	got, err := target.ledger.Get(t.Context(), "vote", legacytestHeader(t, 8))
	if err != nil || got.Hops != 3 {
		t.Errorf("%v, sent on %d times", err, got.Hops)
	}
	for _, by := range []replicate.SyncWay{replicate.SyncByTime, replicate.SyncByPosition} {
		if sum, _, err := runSync(t, dial(source), dial(target), replicate.SyncOptions{By: by}); err != nil || sum.Held != 12 || sum.By != by {
			t.Errorf("once more: %v, %+v", err, sum)
		}
	}
	if _, _, err := runSync(t, dial(start(t)), dial(target), replicate.SyncOptions{}); err != nil {
		t.Error(err) // votes are known everywhere
	}
}

// legacytestHeader returns the header of record number n.
func legacytestHeader(t *testing.T, n int) uuid.UUID {
	t.Helper()
	v, _ := legacytest.Record(t, n).Get(record.Text(record.KeyHeader))
	id, err := uuid.Parse(string(v.(record.Text)))
	must(t, err)
	return id
}
