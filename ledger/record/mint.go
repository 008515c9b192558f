package record

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Minter finds proofs of work (docs/original-protocol.md §6): it varies
// _PowRand until _Proof ends in enough zero hex digits. That takes 16 times as
// long for each digit more, see [ExpectedAttempts]. It is friction against
// flooding, no more. The zero value is ready for use.
type Minter struct {
	// Strength is the number of zero digits, 1 to [MaxStrength]; 0 means
	// [DefaultStrength].
	Strength int
	// Workers is the number of goroutines; 0 means one for each processor
	// that Go may use.
	Workers int
	// Rand is where the search starts; nil means crypto/rand.Reader. With
	// one worker and the same eight bytes from Rand, a record always gets
	// the same proof.
	Rand io.Reader
	// Progress, unless nil, is called with the number of hashes so far: at
	// most ten times a second and once at the end, always from the
	// goroutine that called Mint.
	Progress func(hashes uint64)
}

// progressInterval is the time between calls of Minter.Progress.
const progressInterval = 100 * time.Millisecond

// ExpectedAttempts returns how many hashes a proof of that strength takes on
// average.
func ExpectedAttempts(strength int) float64 { return math.Pow(16, float64(max(strength, 0))) }

// Mint sets _PowRand and _Proof of r, and before that _Hash, so that the record
// passes [Checker.Check] with the minter's strength. A _Link would no longer
// be right: it is computed anew where r has one and a _PrevHash to link to.
//
// When ctx is done Mint returns its cause within milliseconds, and leaves r as
// it was. Other errors are those of Rand, an [*Error] of reason [BadValue] for
// a strength out of range, and as from [AppendPack] and [Record.Normal].
func (m Minter) Mint(ctx context.Context, r *Record) error {
	strength := m.Strength
	if strength == 0 {
		strength = DefaultStrength
	}
	if strength < 0 || strength > MaxStrength {
		return errorf(BadValue, "proof strength %d is out of range, want 1 to %d", strength, MaxStrength)
	}
	random := m.Rand
	if random == nil {
		random = rand.Reader
	}

	minted := &Record{*r.sorted(0)} // a copy, so that r stays as it is on an error
	digest, err := minted.ComputeHash()
	if err != nil {
		return err
	}
	minted.Set(KeyHash, Text(digest))
	minted.Set(KeyPowRand, make(Bytes, NonceSize))
	search, err := newSearch(minted, strength, random)
	if err != nil {
		return err
	}
	nonce, err := search.run(ctx, m.Workers, m.Progress)
	if err != nil {
		return err
	}
	minted.Set(KeyPowRand, Bytes(nonce))
	proof, err := minted.ComputeProof()
	if err != nil {
		return err
	}
	minted.Set(KeyProof, Text(proof))
	if _, err := minted.Normal(); err != nil {
		return err
	}
	if prev, ok := minted.text(KeyPrevHash); ok {
		if _, ok := minted.Get(KeyLink); ok {
			if err := minted.SetLink(prev); err != nil {
				return err
			}
		}
	}
	for _, key := range []string{KeyHash, KeyPowRand, KeyProof, KeyLink} {
		if v, ok := minted.Get(key); ok {
			r.Set(key, v)
		}
	}
	return nil
}

// The nonces are letters and digits: as bytes in Python's repr() each is one
// character, so all texts that are tried have the same length.
const nonceDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const (
	base = uint64(len(nonceDigits))

	// A worker claims all nonces that differ in the last three digits only,
	// a few hundredths of a second of work, and looks whether to stop once
	// for every value of the first of them.
	claimDigits  = 3
	claimNonces  = base * base * base
	periodNonces = base * base
)

// numClaims is how many claims there are: 62 to the ninth.
var numClaims = func() uint64 {
	n := uint64(1)
	for range NonceSize - claimDigits {
		n *= base
	}
	return n
}()

// A search is one run of a Minter. The text under the proof is
//
//	prefix  nonce  suffix
//
// SHA-256 works on blocks of 64 bytes, so all blocks before the one that holds
// the nonce's last digit are hashed once per claim, or where the nonce's last
// three digits straddle a block once per 62 or 3,844 nonces. What remains to
// be hashed for one nonce is that block and the suffix.
type search struct {
	prefix, suffix []byte
	strength       int
	first          uint64 // where claims start

	claimed atomic.Uint64 // claims handed out
	hashes  atomic.Uint64
	stop    atomic.Bool
	found   chan []byte // holds one nonce at most
}

func newSearch(r *Record, strength int, random io.Reader) (*search, error) {
	var seed [8]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("record: reading randomness for a nonce: %w", err)
	}
	s := &search{
		strength: strength,
		first:    binary.BigEndian.Uint64(seed[:]) % numClaims,
		found:    make(chan []byte, 1),
	}
	var prefix, suffix []byte
	part := &prefix
	for key, val := range r.sorted(notInProof).All() {
		*part = AppendPythonStr(*part, key)
		if key == Text(KeyPowRand) {
			*part = append(*part, "b'"...)
			part = &suffix
			*part = append(*part, '\'')
			continue
		}
		*part = AppendPythonStr(*part, val)
	}
	// Which character set it is depends on all of the text.
	p, pok := appendCP437(nil, prefix)
	q, qok := appendCP437(nil, suffix)
	if pok && qok {
		prefix, suffix = p, q
	}
	s.prefix, s.suffix = prefix, suffix
	return s, nil
}

// run searches until a nonce is found or ctx is done.
func (s *search) run(ctx context.Context, workers int, progress func(uint64)) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("record: minting: %w", err)
	}
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(s.work)
	}
	var tick <-chan time.Time
	if progress != nil {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	var nonce []byte
	var err error
	for nonce == nil && err == nil {
		select {
		case nonce = <-s.found:
		case <-ctx.Done():
			err = fmt.Errorf("record: minting: %w", context.Cause(ctx))
		case <-tick:
			progress(s.hashes.Load())
		}
	}
	s.stop.Store(true)
	wg.Wait()
	if progress != nil {
		progress(s.hashes.Load())
	}
	return nonce, err
}

// work takes claims until someone has found a nonce.
func (s *search) work() {
	t := newTail(s.prefix, s.suffix)
	for !s.stop.Load() {
		t.setClaim((s.first + s.claimed.Add(1) - 1) % numClaims)
		for i := range base {
			if s.stop.Load() {
				return
			}
			hit, hashes := t.tryPeriod(i, s.strength)
			s.hashes.Add(hashes)
			if hit {
				select {
				case s.found <- append([]byte{}, t.nonce[:]...):
				default: // another worker was first
				}
				s.stop.Store(true)
				return
			}
		}
	}
}

// A tail hashes prefix, nonce and suffix for one nonce after the other. It
// belongs to one worker.
type tail struct {
	nonce [NonceSize]byte
	hash  hashState
	done  []byte // prefix in whole blocks, as a state of hash
	rest  []byte // the prefix behind those, then the nonce: to the next block
	split int    // nonce bytes that are hashed ahead, with rest
	mid   []byte // everything before last, as a state of hash
	last  []byte // what is hashed for each nonce
	slot  int    // where nonce[split:] stands in last
	sum   []byte
}

// hashState is what crypto/sha256 documents its hash to implement.
type hashState interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

func newTail(prefix, suffix []byte) *tail {
	t := &tail{hash: sha256.New().(hashState)}
	whole := len(prefix) / sha256.BlockSize * sha256.BlockSize
	t.hash.Write(prefix[:whole])
	t.done = t.save(nil)
	rest := prefix[whole:]
	if over := len(rest) + NonceSize - sha256.BlockSize; over > 0 {
		t.split = NonceSize - over
		t.rest = append(append(t.rest, rest...), t.nonce[:t.split]...)
	} else {
		t.last = append(t.last, rest...)
		t.slot = len(rest)
	}
	t.last = append(t.last, t.nonce[t.split:]...)
	t.last = append(t.last, suffix...)
	return t
}

// save returns the state of the hash, in dst's memory. Neither this nor load
// can fail: they are of the same hash.
func (t *tail) save(dst []byte) []byte {
	dst, _ = t.hash.AppendBinary(dst[:0])
	return dst
}

func (t *tail) load(state []byte) { _ = t.hash.UnmarshalBinary(state) }

// setClaim sets all digits of the nonce but the last three.
func (t *tail) setClaim(claim uint64) {
	for i := NonceSize - claimDigits - 1; i >= 0; i-- {
		t.nonce[i] = nonceDigits[claim%base]
		claim /= base
	}
}

// ahead hashes what stands before last. It is called when nonce[:split] has
// changed.
func (t *tail) ahead() {
	t.load(t.done)
	if t.split > 0 {
		copy(t.rest[len(t.rest)-t.split:], t.nonce[:t.split])
		t.hash.Write(t.rest)
	}
	t.mid = t.save(t.mid)
}

// tryPeriod tries all values of the last two digits, with digit i before them.
// It returns whether a proof was strong enough, that of the nonce it leaves
// behind, and how many it tried.
func (t *tail) tryPeriod(i uint64, strength int) (hit bool, hashes uint64) {
	const i2, i1, i0 = NonceSize - 3, NonceSize - 2, NonceSize - 1
	t.nonce[i2] = nonceDigits[i]
	t.ahead()
	slot := t.last[t.slot : t.slot+NonceSize-t.split]
	for j := range base {
		t.nonce[i1] = nonceDigits[j]
		if t.split > i1 {
			t.ahead()
		}
		copy(slot, t.nonce[t.split:])
		for k := range base {
			t.nonce[i0] = nonceDigits[k]
			slot[len(slot)-1] = nonceDigits[k]
			t.load(t.mid)
			t.hash.Write(t.last)
			t.sum = t.hash.Sum(t.sum[:0])
			if t.sum[sha256.Size-1]&0x0f == 0 && zeroDigits(t.sum) >= strength {
				return true, j*base + k + 1
			}
		}
	}
	return false, periodNonces
}

// zeroDigits returns how many zero hex digits a digest ends in.
func zeroDigits(sum []byte) int {
	n := 0
	for i := len(sum) - 1; i >= 0; i-- {
		if sum[i] != 0 {
			if sum[i]&0x0f == 0 {
				n++
			}
			break
		}
		n += 2
	}
	return n
}

// AttemptLength returns how many bytes of a record are hashed for each nonce that [Minter] tries, on average: what
// stands before is hashed once. It is what minting is to be compared by with the raw speed of SHA-256.
func AttemptLength(r *Record) (int, error) {
	r = &Record{*r.sorted(0)}
	r.Set(KeyPowRand, make(Bytes, NonceSize))
	s, err := newSearch(r, 1, zeroReader{})
	if err != nil {
		return 0, err
	}
	return len(newTail(s.prefix, s.suffix).last), nil
}

// zeroReader reads zeros.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
