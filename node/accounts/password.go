package accounts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// hash is what is kept of a password, in the PHC string format:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<key>   salt and key in base64 without padding
//	$pyvserv$<salt>$<sha256hex(password + salt)>  as the original server keeps it
type hash string

func (hash) Format(f fmt.State, _ rune) { redact(f) }

// redact is what is printed of everything secret, whatever the verb.
func redact(f fmt.State) { _, _ = f.Write([]byte("[redacted]")) }

// work is what computing an argon2id key costs.
type work struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
}

// recommendedWork is OWASP's first recommendation for argon2id. RFC 9106's second (64 MiB, 3 passes) takes four times as
// long; the original's clients log in anew for every record that they replicate.
var recommendedWork = work{memory: 19 << 10, time: 2, threads: 1}

// todaysWork is what new hashes cost. It is less in tests.
var todaysWork = recommendedWork

const (
	saltSize = 16
	keySize  = 32

	// Bounds on what a hash in the file may ask for.
	maxMemory  = 64 << 10
	maxTime    = 16
	maxThreads = 16
	maxSalt    = 64
	minKey     = 16
	maxKey     = 64
)

// parsedHash is a hash taken apart.
type parsedHash struct {
	work   // zero of the original's
	salt   []byte
	key    []byte
	legacy bool
}

var (
	errHash  = errors.New("its password hash is damaged") // without the hash
	unpadded = base64.RawStdEncoding.Strict()
)

func parseHash(h hash) (p parsedHash, err error) {
	fields := strings.Split(string(h), "$")
	if len(fields) == 4 && fields[0] == "" && fields[1] == "pyvserv" {
		return parseLegacy(fields[3] + fields[2])
	}
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errHash
	}
	var err1, err2, err3 error
	_, err1 = fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads)
	p.salt, err2 = unpadded.DecodeString(fields[4])
	p.key, err3 = unpadded.DecodeString(fields[5])
	switch {
	case err1 != nil || err2 != nil || err3 != nil,
		p.threads < 1 || p.threads > maxThreads,
		p.memory < 8*uint32(p.threads) || p.memory > maxMemory,
		p.time < 1 || p.time > maxTime,
		len(p.salt) < 8 || len(p.salt) > maxSalt,
		len(p.key) < minKey || len(p.key) > maxKey,
		p.text() != h: // there is one way to write it
		return p, errHash
	}
	return p, nil
}

// legacySalt is the length of the original's salts in hex digits.
const legacySalt = 8

// parseLegacy reads what the original keeps of a password: sha256hex(password + salt) + salt.
func parseLegacy(text string) (p parsedHash, err error) {
	const digits = 2 * sha256.Size
	if len(text) != digits+legacySalt || strings.Trim(text, "0123456789abcdef") != "" {
		return p, errHash
	}
	p.legacy, p.salt = true, []byte(text[digits:])
	p.key, err = hex.DecodeString(text[:digits])
	return p, err
}

func (p *parsedHash) text() hash {
	if p.legacy {
		return hash(fmt.Sprintf("$pyvserv$%s$%x", p.salt, p.key))
	}
	return hash(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		unpadded.EncodeToString(p.salt), unpadded.EncodeToString(p.key)))
}

// outdated reports whether the password should be hashed anew when it is next seen.
func (p *parsedHash) outdated() bool {
	return p.legacy || p.work != todaysWork || len(p.salt) != saltSize || len(p.key) != keySize
}

// matches computes the password's key and compares.
func (p *parsedHash) matches(password string) bool {
	var key []byte
	if p.legacy {
		sum := sha256.Sum256(append([]byte(password), p.salt...))
		key = sum[:]
	} else {
		key = p.work.key(password, p.salt, uint32(len(p.key)))
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1
}

// key derives a key in a time that depends on the work alone. A password typed in any normalisation form of Unicode is the
// same password (RFC 8265, §4.2).
func (w work) key(password string, salt []byte, size uint32) []byte {
	return argon2.IDKey([]byte(norm.NFC.String(password)), salt, w.time, w.memory, w.threads, size)
}

// newHash hashes a password with a fresh salt.
func newHash(password string) hash {
	p := parsedHash{work: todaysWork, salt: make([]byte, saltSize)}
	_, _ = rand.Read(p.salt) // never fails
	p.key = p.work.key(password, p.salt, keySize)
	return p.text()
}

func checkPassword(password string) error {
	if password == "" || len(password) > MaxPassword {
		return ErrPassword
	}
	return nil
}

// turns lets few hash at once.
type turns struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newTurns() *turns { return &turns{slots: make(chan struct{}, MaxHashing)} }

// take waits for a turn, which must be given back. The error is the context's or [ErrBusy].
func (t *turns) take(ctx context.Context) error {
	if t.waiting.Add(1) > MaxWaiting {
		t.waiting.Add(-1)
		return ErrBusy
	}
	defer t.waiting.Add(-1)
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to check a password: %w", context.Cause(ctx))
	}
}

func (t *turns) giveBack() { <-t.slots }
