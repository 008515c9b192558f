package accounts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// limited returns how long an attempt has to wait, 0 when it need not.
func limited(t *testing.T, err error) time.Duration {
	t.Helper()
	var limit *LimitedError
	if !errors.As(err, &limit) {
		return 0
	}
	if limit.RetryAfter <= 0 {
		t.Errorf("retry after %v", limit.RetryAfter)
	}
	return limit.RetryAfter
}

// TestWrongPasswords fails until the limit, which goes by itself.
func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	a, c := open(t, t.TempDir())
	must(t, a.Add(t.Context(), "bob", "pw", 0))
	for range 3 { // as the original's clients do: a few wrong ones, then the right one
		want(t, "wrong", login(t, a, "bob", "x"), ErrBadPassword)
	}
	must(t, login(t, a, "bob", "pw"))
	// From now on bob is at home, and counts by himself.
	for range AttemptBurst {
		want(t, "wrong", login(t, a, "bob", "x"), ErrBadPassword)
	}
	if wait := limited(t, login(t, a, "bob", "pw")); wait != AttemptPeriod {
		t.Errorf("wait %v", wait)
	}
	c.pass(AttemptPeriod - time.Second)
	if wait := limited(t, login(t, a, "bob", "pw")); wait != time.Second {
		t.Errorf("wait %v", wait)
	}
	c.pass(time.Second)
	for range 100 { // the right password costs nothing
		if testing.Short() {
			break
		}
		must(t, login(t, a, "bob", "pw"))
	}
	want(t, "wrong", login(t, a, "bob", "x"), ErrBadPassword)
	if wait := limited(t, login(t, a, "bob", "x")); wait != AttemptPeriod {
		t.Errorf("wait %v", wait)
	}
	c.pass(AttemptBurst * AttemptPeriod)
	for range AttemptBurst {
		want(t, "wrong", login(t, a, "bob", "x"), ErrBadPassword)
	}
}

// TestStranger fails in a user's name from many addresses. It holds up those who come from where the user has not been.
func TestStranger(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, c := open(t, t.TempDir())
	must(t, a.Add(ctx, "bob", "pw", 0))
	must(t, login(t, a, "bob", "pw"))
	from := elsewhere
	for range AttemptBurst {
		from = from.Next()
		_, err := a.Authenticate(ctx, "bob", "x", from)
		want(t, "wrong", err, ErrBadPassword)
	}
	_, err := a.Authenticate(ctx, "bob", "pw", from.Next())
	if limited(t, err) != AttemptPeriod {
		t.Errorf("a stranger again: %v", err)
	}
	must(t, login(t, a, "bob", "pw"))
	c.pass(AttemptPeriod) // a stranger's success is the user's: he is known there from then on
	_, err = a.Authenticate(ctx, "bob", "pw", elsewhere)
	must(t, err)
	_, err = a.Authenticate(ctx, "bob", "pw", elsewhere)
	must(t, err)

	must(t, a.Delete(ctx, "bob"))
	if known := a.attempts.known["bob"]; known != nil { // another bob may come, who was never there
		t.Errorf("a deleted user is known at %v", known)
	}
}

// TestAddress fails from one address under many names.
func TestAddress(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, c := open(t, t.TempDir())
	must(t, a.Add(ctx, "bob", "pw", 0))
	must(t, a.AddReplicator(ctx, "north", "pw", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}))
	first := netip.MustParseAddr("2001:db8:1:2::1")
	other := netip.MustParseAddr("2001:db8:1:2:ffff::9%eth0") // the same /64
	for i := range AddressBurst {
		_, err := a.Authenticate(ctx, fmt.Sprint("user", i), "x", first)
		want(t, "unknown user", err, ErrNoUser)
	}
	_, err := a.Authenticate(ctx, "bob", "pw", other)
	if wait := limited(t, err); wait != AddressPeriod {
		t.Errorf("wait %v", wait)
	}
	must(t, login(t, a, "bob", "pw"))
	c.pass(AddressPeriod)
	_, err = a.Authenticate(ctx, "bob", "pw", other)
	must(t, err)
	// Who fails in a replicator's name from where it may not log in does not count against the replicator.
	c.pass(time.Hour)
	for range AddressBurst {
		_, err := a.Authenticate(ctx, "north", "x", elsewhere)
		want(t, "replicator from elsewhere", err, ErrAddress)
	}
	_, err = a.Authenticate(ctx, "north", "x", elsewhere)
	if limited(t, err) == 0 {
		t.Errorf("no limit: %v", err)
	}
	must(t, login(t, a, "north", "pw"))
}

// TestWrongCodes limits codes however they come.
func TestWrongCodes(t *testing.T) {
	t.Parallel()
	a, c, code := enrolled(t, t.TempDir())
	from := elsewhere
	for range CodeBurst {
		from = from.Next()
		want(t, "wrong", a.VerifyCode(t.Context(), "bob", "x", from), ErrBadCode)
	}
	if wait := limited(t, a.VerifyCode(t.Context(), "bob", code(0), home)); wait != CodePeriod {
		t.Errorf("wait %v", wait)
	}
	must(t, login(t, a, "bob", "pw"))
	c.pass(CodePeriod)
	must(t, a.VerifyCode(t.Context(), "bob", code(0), home))
	must(t, a.VerifyCode(t.Context(), "bob", code(1), home)) // successes cost nothing
}

// TestKnownAddresses remembers few addresses of each user, however many he uses.
func TestKnownAddresses(t *testing.T) {
	t.Parallel()
	a := newAttempts()
	from := elsewhere
	for range 10 {
		from = from.Next()
		a.remember("eve", addressOf(from))
		a.remember("bob", addressOf(home))
	}
	if len(a.known["eve"]) != maxKnown || len(a.known["bob"]) != 1 || a.known["eve"][maxKnown-1] != addressOf(from) {
		t.Errorf("%v", a.known)
	}
}

// TestLimiter compares the table with buckets that count: where it never runs full, and where it does, no key is ever
// allowed more.
func TestLimiter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const period = time.Second
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		keys := rapid.IntRange(1, 6).Draw(t, "keys")
		l := newLimiter[int](burst, period, keys)
		level := make([]time.Duration, keys) // what is missing in each bucket, in time
		now := time.Unix(1e9, 0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.IntRange(0, keys-1).Draw(t, "key")
			wait := max(0, level[key]+period-time.Duration(burst)*period)
			if got := l.wait(key, now); got != wait {
				t.Fatalf("key %d: wait %v, want %v", key, got, wait)
			}
			switch {
			case wait > 0 || rapid.Bool().Draw(t, "pass"):
				d := time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond
				now = now.Add(d)
				for i := range level {
					level[i] = max(0, level[i]-d)
				}
			default:
				l.take(key, now)
				level[key] += period
				if rapid.Bool().Draw(t, "give back") {
					l.giveBack(key)
					level[key] -= period
				}
			}
			if len(l.byKey) != len(l.heap) || len(l.heap) > keys {
				t.Fatalf("%d keys, %d in the heap", len(l.byKey), len(l.heap))
			}
		}
	})
}

// TestLimiterFull fills a table with others to have one key forgotten. It takes as many failures for each place.
func TestLimiterFull(t *testing.T) {
	t.Parallel()
	const burst, size = 10, 64
	l := newLimiter[int](burst, time.Second, size)
	now := time.Unix(1e9, 0)
	for range burst {
		l.take(0, now)
	}
	for failures := 1; failures < burst; failures++ {
		for range 10 * size {
			key := 1 + rand.IntN(1<<40)
			for range failures {
				l.take(key, now)
			}
		}
		if l.wait(0, now) == 0 || len(l.byKey) != size {
			t.Fatalf("after %d failures of many: wait %v, %d keys", failures, l.wait(0, now), len(l.byKey))
		}
	}
	l.take(0, now.Add(time.Hour))
	if len(l.byKey) != 1 {
		t.Errorf("%d keys after all have expired", len(l.byKey))
	}
}
