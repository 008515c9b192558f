package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestSessionKeyIsHidden checks that a key cannot get into a log.
func TestSessionKeyIsHidden(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb+"\n", key, struct{ Key SessionKey }{key})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", key, "in", struct{ Key SessionKey }{key})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", key, "in", struct{ Key SessionKey }{key})
	if err := json.NewEncoder(&out).Encode([]any{key, struct{ Key SessionKey }{key}}); err != nil {
		t.Fatal(err)
	}
	if start := string(key[:12]); strings.Contains(out.String(), start) || strings.Contains(out.String(), fmt.Sprintf("%x", start)) {
		t.Errorf("the key is in\n%s", &out)
	}
	if SessionKey("").String() == key.String() {
		t.Error("no key prints as one")
	}
}

func TestParseSessionKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	if len(key) != 172 {
		t.Errorf("%d characters", len(key))
	}
	for _, good := range []string{string(key), strings.Repeat("~", MinSessionKey), strings.Repeat("!", MaxSessionKey)} {
		if got, err := ParseSessionKey([]byte(good)); err != nil || string(got) != good {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", MinSessionKey-1), strings.Repeat("x", MaxSessionKey+1), string(key) + "\n", string(key) + "é", " " + string(key)} {
		got, err := ParseSessionKey([]byte(bad))
		if !errors.Is(err, ErrSessionKey) || got != "" || len(bad) > 3 && strings.Contains(err.Error(), bad[:4]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if SessionKey("").Stream() != nil {
		t.Error("clear text has a cipher")
	}
	if _, err := NewSessionKey(strings.NewReader("short")); err == nil {
		t.Error("five random bytes made a key")
	}
}

// TestStream checks that each stream is the same, from its beginning.
func TestStream(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var one, two [100]byte
	key.Stream().XORKeyStream(one[:], one[:])
	s := key.Stream()
	s.XORKeyStream(two[:33], two[:33])
	s.XORKeyStream(two[33:], two[33:])
	if one != two {
		t.Error("two streams of one key differ")
	}
	defer func() {
		if recover() == nil {
			t.Error("a short key has a cipher")
		}
	}()
	SessionKey("short").Stream()
}
