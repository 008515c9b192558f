package wire

import (
	"encoding/binary"
	"math/bits"
)

// rabbit is the stream cipher of RFC 4503 with a 128-bit key and no IV. Numbers in the names of fields and in the code
// are those of the RFC. It has no branches and no table look-ups that depend on the key.
type rabbit struct {
	x, c  [8]uint32 // state variables and counters
	carry uint32
	block [4]uint32 // of key stream, least significant word first
	used  int       // bytes of the block that are used
}

const rabbitKey = 16 // bytes

// RFC 4503, 2.5.
var rabbitA = [8]uint32{0x4d34d34d, 0xd34d34d3, 0x34d34d34, 0x4d34d34d, 0xd34d34d3, 0x34d34d34, 0x4d34d34d, 0xd34d34d3}

// newRabbit sets up the cipher (RFC 4503, 2.3).
func newRabbit(key [rabbitKey]byte) *rabbit {
	var k [8]uint32 // subkeys of 16 bits, least significant first
	for i := range k {
		k[i] = uint32(binary.BigEndian.Uint16(key[rabbitKey-2-2*i:]))
	}
	r := &rabbit{used: rabbitKey}
	for j := range 8 {
		if j%2 == 0 {
			r.x[j] = k[(j+1)%8]<<16 | k[j]
			r.c[j] = k[(j+4)%8]<<16 | k[(j+5)%8]
		} else {
			r.x[j] = k[(j+5)%8]<<16 | k[(j+4)%8]
			r.c[j] = k[j]<<16 | k[(j+1)%8]
		}
	}
	for range 4 {
		r.next()
	}
	for j := range 8 {
		r.c[j] ^= r.x[(j+4)%8]
	}
	return r
}

// next is one iteration of the system (RFC 4503, 2.5 and 2.6).
func (r *rabbit) next() {
	var g [8]uint32
	for j := range 8 {
		sum := uint64(r.c[j]) + uint64(rabbitA[j]) + uint64(r.carry)
		r.c[j], r.carry = uint32(sum), uint32(sum>>32)
		square := uint64(r.x[j]+r.c[j]) * uint64(r.x[j]+r.c[j])
		g[j] = uint32(square) ^ uint32(square>>32)
	}
	for j := range 8 {
		a, b := g[(j+7)%8], g[(j+6)%8]
		if j%2 == 0 {
			r.x[j] = g[j] + bits.RotateLeft32(a, 16) + bits.RotateLeft32(b, 16)
		} else {
			r.x[j] = g[j] + bits.RotateLeft32(a, 8) + b
		}
	}
}

// extract makes the next block of key stream (RFC 4503, 2.7).
func (r *rabbit) extract() {
	r.next()
	for i := range r.block {
		j := 2 * i
		r.block[i] = r.x[j] ^ r.x[(j+5)%8]>>16 ^ r.x[(j+3)%8]<<16
	}
}

// XORKeyStream encrypts or decrypts the way the original does (docs/original-protocol.md §4): of each block it takes 16
// bytes, but each one bit further on, not eight. So bytes overlap in seven bits, and of 128 bits of key stream only 23
// are used.
func (r *rabbit) XORKeyStream(dst, src []byte) {
	for i, c := range src {
		if r.used == rabbitKey {
			r.extract()
			r.used = 0
		}
		dst[i] = c ^ byte(r.block[0]>>r.used)
		r.used++
	}
}
