package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// The bounds of a session key in characters. The original's clients make keys of 172, the base64 of 128 bytes; at least
// the 32 that are the key of the cipher and the 8 that are its nonce must be there.
const (
	MinSessionKey = aesKey + aesNonce
	MaxSessionKey = 1024
)

const (
	aesKey   = 32 // characters from the front
	aesNonce = 8  // characters from the end
)

// A SessionKey is the text that both sides of a connection derive their cipher from (docs/original-protocol.md §4). The
// empty one stands for clear text; any other comes from [NewSessionKey] or [ParseSessionKey]. It prints as a
// placeholder, so that it cannot get into a log; string(k) is the key.
type SessionKey string

// ErrSessionKey is wrapped when a text cannot be a session key.
var ErrSessionKey = errors.New("not a session key")

// NewSessionKey makes a key the way the original's clients do: base64 of 128 random bytes, 172 characters.
func NewSessionKey(rand io.Reader) (SessionKey, error) {
	var random [128]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("session key: %w", err)
	}
	return SessionKey(base64.StdEncoding.EncodeToString(random[:])), nil
}

// ParseSessionKey checks a key that a client sent: between [MinSessionKey] and [MaxSessionKey] printable ASCII
// characters. The error wraps [ErrSessionKey] and shows nothing of the key.
func ParseSessionKey(text []byte) (SessionKey, error) {
	if len(text) < MinSessionKey || len(text) > MaxSessionKey {
		return "", fmt.Errorf("%w: it has %d characters, want %d to %d", ErrSessionKey, len(text), MinSessionKey, MaxSessionKey)
	}
	for i, c := range text {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("%w: character %d is not printable ASCII", ErrSessionKey, i)
		}
	}
	return SessionKey(text), nil
}

// Stream returns the cipher of one message, or of one file that is downloaded: AES-256-CTR with a 64-bit counter from 0,
// and each time the same key stream. It is nil for the empty key. It panics for a key shorter than [MinSessionKey].
func (k SessionKey) Stream() cipher.Stream {
	if k == "" {
		return nil
	}
	return k.stream(k.block())
}

func (k SessionKey) block() cipher.Block {
	if len(k) < MinSessionKey {
		panic(fmt.Sprintf("wire: a session key of %d characters, want at least %d", len(k), MinSessionKey))
	}
	block, err := aes.NewCipher([]byte(k[:aesKey]))
	if err != nil {
		panic(err) // the length is right
	}
	return block
}

func (k SessionKey) stream(block cipher.Block) cipher.Stream {
	var iv [aes.BlockSize]byte // nonce, and the counter behind it
	copy(iv[:], k[len(k)-aesNonce:])
	return cipher.NewCTR(block, iv[:])
}

// String returns a placeholder.
func (k SessionKey) String() string {
	if k == "" {
		return "no session key"
	}
	return "session key (hidden)"
}

// GoString returns a placeholder.
func (k SessionKey) GoString() string { return k.String() }

// LogValue returns a placeholder.
func (k SessionKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns a placeholder: keys are not stored.
func (k SessionKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
