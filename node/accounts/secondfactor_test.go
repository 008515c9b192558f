package accounts

import (
	"bytes"
	"fmt"
	"image/color"
	"image/png"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestCodeVectors are those of RFC 6238, appendix B, for SHA-1: their last six digits.
func TestCodeVectors(t *testing.T) {
	t.Parallel()
	s := &secondFactor{Secret: secret(secretText.EncodeToString([]byte("12345678901234567890")))}
	for unix, code := range map[int64]string{
		59:          "287082",
		1111111109:  "081804",
		1111111111:  "050471",
		1234567890:  "005924",
		2000000000:  "279037",
		20000000000: "353130",
	} {
		if got, err := s.code(stepOf(time.Unix(unix, 0))); err != nil || got != code {
			t.Errorf("at %d: %s, %v, want %s", unix, got, err, code)
		}
	}
}

// enrolled returns users with one, bob, who has a second factor, and what tells his code so many steps from now.
func enrolled(t *testing.T, dir string) (*Accounts, *clock, func(steps int64) string) {
	t.Helper()
	a, c := open(t, dir)
	must(t, a.Add(t.Context(), "bob", "pw", 0))
	want(t, "code before", a.VerifyCode(t.Context(), "bob", "123456", home), ErrNotEnrolled)
	if u, err := a.User(t.Context(), "bob"); err != nil || u.Enrolled {
		t.Errorf("enrolled before: %v", err)
	}
	e, err := a.Enrol(t.Context(), "bob")
	must(t, err)
	if u, err := a.User(t.Context(), "bob"); err != nil || !u.Enrolled {
		t.Errorf("not enrolled: %v", err)
	}
	return a, c, func(steps int64) string {
		code, err := (&secondFactor{Secret: secret(e.Secret())}).code(stepOf(c.Now()) + steps)
		must(t, err)
		return code
	}
}

// TestCodes checks which steps count and that each counts once, over a restart too.
func TestCodes(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, c, code := enrolled(t, dir)
	verify := func(code string) error { return a.VerifyCode(ctx, "bob", code, home) }
	for name, bad := range map[string]string{"two steps ago": code(-2), "two steps on": code(2), "empty": "", "short": code(0)[:5], "long": code(0) + "0", "letters": "abcdef"} {
		want(t, name, verify(bad), ErrBadCode)
	}
	c.pass(CodeBurst * CodePeriod) // the limit is no matter here
	must(t, verify(code(-1)))
	want(t, "again", verify(code(-1)), ErrBadCode)
	must(t, verify(code(0)[:3]+" "+code(0)[3:]))
	want(t, "one step back", verify(code(-1)), ErrBadCode)
	must(t, verify(code(1)))
	want(t, "used up", verify(code(0)), ErrBadCode)
	c.pass(stepSeconds * time.Second)
	want(t, "used ahead", verify(code(0)), ErrBadCode)
	must(t, verify(code(1)))

	again, _ := open(t, dir)
	again.opts.Now = c.Now
	want(t, "used before the restart", again.VerifyCode(ctx, "bob", code(1), home), ErrBadCode)
	c.pass(2 * stepSeconds * time.Second)
	must(t, again.VerifyCode(ctx, "bob", code(0), home))
	want(t, "used by the other", verify(code(0)), ErrBadCode)

	must(t, a.SetDisabled(ctx, "bob", true))
	want(t, "disabled", verify(code(1)), ErrDisabled)
	must(t, a.SetDisabled(ctx, "bob", false))
	want(t, "nobody", a.VerifyCode(ctx, "eve", code(1), home), ErrNoUser)

	_, err := a.Enrol(ctx, "bob")
	must(t, err)
	want(t, "of the old secret", verify(code(1)), ErrBadCode)
}

// TestCodeOnce gives one code many times at once: one gets in.
func TestCodeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, _, code := enrolled(t, dir)
	b, _ := open(t, dir)
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range CodeBurst {
		wg.Go(func() {
			if []*Accounts{a, b}[i%2].VerifyCode(t.Context(), "bob", code(0), home) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("the code was good %d times", in.Load())
	}
}

func TestImageOnce(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	a, c, code := enrolled(t, dir)
	must(t, a.Add(ctx, "eve", "pw", 0))
	image := func(name string, verified bool) error {
		_, err := a.QRImage(ctx, name, verified)
		return err
	}
	want(t, "nobody", image("nobody", true), ErrNoUser)
	want(t, "not enrolled", image("eve", true), ErrNotEnrolled)
	must(t, image("bob", true)) // does not count
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if image("bob", false) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("shown %d times", in.Load())
	}
	want(t, "again", image("bob", false), ErrAlreadyShown)
	again, _ := open(t, dir)
	_, err := again.QRImage(ctx, "bob", false)
	want(t, "after a restart", err, ErrAlreadyShown)
	must(t, image("bob", true))
	must(t, a.VerifyCode(ctx, "bob", code(0), home)) // showing changed nothing else

	// A code proves that the user has it: then it is not shown to somebody with the password alone.
	e, err := a.Enrol(ctx, "bob")
	must(t, err)
	fresh, err := (&secondFactor{Secret: secret(e.Secret())}).code(stepOf(c.Now()))
	must(t, err)
	must(t, a.VerifyCode(ctx, "bob", fresh, home))
	want(t, "after a code", image("bob", false), ErrAlreadyShown)
	must(t, image("bob", true))
}

// TestEnrolment checks what authenticator applications read: the URI, and an image of it.
func TestEnrolment(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := Open(t.TempDir(), Options{Issuer: "City election: 2026, and a name that is far too long for a telephone"})
	must(t, err)
	name := "Влад o'neill 👩: " + strings.Repeat("x", 10)
	must(t, a.Add(ctx, name, "pw", 0))
	e, err := a.Enrol(ctx, name)
	must(t, err)
	u, err := url.Parse(e.URI())
	must(t, err)
	q := u.Query()
	issuer := "City election 2026, and a name that is far"[:maxIssuer]
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/"+issuer+":"+name || q.Get("issuer") != issuer ||
		q.Get("secret") != e.Secret() || q.Get("period") != "30" || q.Get("digits") != "6" || q.Get("algorithm") != "SHA1" || e.User() != name {
		t.Error(e.URI())
	}
	if raw, err := secretText.DecodeString(e.Secret()); err != nil || len(raw) != secretSize {
		t.Errorf("secret of %d bytes, %v", len(raw), err)
	}
	rows, err := e.QR()
	must(t, err)
	side := len(rows)
	finder := []string{"#######.", "#.....#.", "#.###.#.", "#.###.#.", "#.###.#.", "#.....#.", "#######.", "........"}
	for y, line := range finder {
		for x, module := range line {
			dark := module == '#'
			if rows[y][x] != dark || rows[y][side-1-x] != dark || rows[side-1-y][x] != dark {
				t.Fatalf("no finder pattern at %d, %d", x, y)
			}
		}
	}
	image, err := a.QRImage(ctx, name, true)
	must(t, err)
	if own, err := e.PNG(); err != nil || !bytes.Equal(own, image) {
		t.Errorf("another image: %v", err)
	}
	img, err := png.Decode(bytes.NewReader(image))
	must(t, err)
	if got, want := img.Bounds().Size().String(), fmt.Sprintf("(%[1]d,%[1]d)", (side+2*quietModules)*pixelsByModule); got != want || len(image) > 8<<10 {
		t.Errorf("%s, want %s; %d bytes", got, want, len(image))
	}
	at := func(x, y int) bool {
		return color.GrayModel.Convert(img.At((x+quietModules)*pixelsByModule, (y+quietModules)*pixelsByModule)).(color.Gray).Y == 0
	}
	for y := -quietModules; y < side+quietModules; y++ {
		for x := -quietModules; x < side+quietModules; x++ {
			inside := x >= 0 && y >= 0 && x < side && y < side
			if at(x, y) != (inside && rows[y][x]) {
				t.Fatalf("module %d, %d is wrong", x, y)
			}
		}
	}
}
