package accounts

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

const (
	stepSeconds    = 30 // RFC 6238, §4.1
	codeDigits     = otp.DigitsSix
	codeSkew       = 1  // steps before and after
	secretSize     = 20 // bytes, as RFC 4226, §4 recommends
	minSecret      = 10 // bytes, what may be in the file
	maxSecret      = 64
	maxIssuer      = 32 // characters
	pixelsByModule = 8
	quietModules   = 4 // the white margin that ISO/IEC 18004 asks for
)

// secondFactor is what the file has of a user's second factor.
type secondFactor struct {
	Secret secret `json:"secret"`
	// Shown is set when the image was handed out to the user, or a code has proved that he has it.
	Shown bool `json:"shown,omitempty"`
	// LastStep is the step of the newest code that was used; it and those before are used up.
	LastStep int64 `json:"last_step,omitempty"`
}

func (secondFactor) Format(f fmt.State, _ rune) { redact(f) }

// secret is a second factor's secret in base32 without padding.
type secret string

func (secret) Format(f fmt.State, _ rune) { redact(f) }

var (
	secretText = base32.StdEncoding.WithPadding(base32.NoPadding)
	errSecret  = errors.New("its second factor is damaged") // without the secret
)

func newSecret() secret {
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // never fails
	return secret(secretText.EncodeToString(raw))
}

func (s *secondFactor) bytes() ([]byte, error) {
	raw, err := secretText.DecodeString(string(s.Secret))
	if err != nil || len(raw) < minSecret || len(raw) > maxSecret || secretText.EncodeToString(raw) != string(s.Secret) || s.LastStep < 0 {
		return nil, errSecret
	}
	return raw, nil
}

// stepOf returns the step that a moment lies in (RFC 6238, §4.2).
func stepOf(t time.Time) int64 { return t.Unix() / stepSeconds }

// code returns the code of a step.
func (s *secondFactor) code(step int64) (string, error) {
	return hotp.GenerateCodeCustom(string(s.Secret), uint64(step), hotp.ValidateOpts{Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
}

// match returns the step of a code that counts now, or [ErrBadCode]. All steps are tried in all cases.
func (s *secondFactor) match(code string, now time.Time) (int64, error) {
	code = strings.ReplaceAll(code, " ", "") // applications show two groups of three
	found := int64(-1)
	for step := stepOf(now) - codeSkew; step <= stepOf(now)+codeSkew; step++ {
		want, err := s.code(max(0, step))
		if err != nil {
			return 0, errSecret
		}
		if subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 && step > s.LastStep {
			found = step
		}
	}
	if found < 0 {
		return 0, ErrBadCode
	}
	return found, nil
}

// Enrolment is a user's second factor, to be shown to that user and nobody else. It prints as nothing.
type Enrolment struct {
	user string
	key  *otp.Key
}

func newEnrolment(issuer, user string, s *secondFactor) (*Enrolment, error) {
	raw, err := s.bytes()
	if err != nil {
		return nil, err
	}
	issuer = strings.Join(strings.Fields(strings.ReplaceAll(issuer, ":", " ")), " ") // a colon ends the issuer in an otpauth URI
	if runes := []rune(issuer); len(runes) > maxIssuer {
		issuer = string(runes[:maxIssuer])
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: user, Period: stepSeconds, Digits: codeDigits, Algorithm: otp.AlgorithmSHA1, Secret: raw})
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", user, errSecret) // the library's error could quote the URI
	}
	return &Enrolment{user: user, key: key}, nil
}

// Format implements [fmt.Formatter].
func (Enrolment) Format(f fmt.State, _ rune) { redact(f) }

// LogValue implements [slog.LogValuer].
func (Enrolment) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// User returns whose second factor it is.
func (e *Enrolment) User() string { return e.user }

// Secret returns the secret in base32, to be typed where no image can be read.
func (e *Enrolment) Secret() string { return e.key.Secret() }

// URI returns what the QR code holds: an otpauth URI, as authenticator applications read it.
func (e *Enrolment) URI() string { return e.key.URL() }

// QR returns the modules of the QR code, row by row, true for a dark one. The light margin, four modules wide, is left to
// whoever draws it.
func (e *Enrolment) QR() ([][]bool, error) {
	code, err := qr.Encode(e.URI(), qr.M, qr.Auto)
	if err != nil {
		return nil, errors.New("the QR code cannot be made") // the library's error could quote the URI
	}
	size := code.Bounds().Size()
	rows := make([][]bool, size.Y)
	for y := range rows {
		rows[y] = make([]bool, size.X)
		for x := range rows[y] {
			rows[y][x] = color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y < 128
		}
	}
	return rows, nil
}

// PNG returns the QR code as an image with its margin, of a few kilobytes at most.
func (e *Enrolment) PNG() ([]byte, error) {
	rows, err := e.QR()
	if err != nil {
		return nil, err
	}
	side := (len(rows) + 2*quietModules) * pixelsByModule
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			row, column := y/pixelsByModule-quietModules, x/pixelsByModule-quietModules
			if row >= 0 && row < len(rows) && column >= 0 && column < len(rows) && rows[row][column] {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, img); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
