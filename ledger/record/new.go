package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// The layouts of the fields now and iso, for [time.Time.Format].
const (
	nowLayout = "Mon, 02 Jan 2006 15:04:05"
	isoLayout = "2006-01-02T15:04:05"
)

// New makes a record of payload, dated now, with the fields that original
// clients write, in their order. It has a _Hash and no proof yet: see [Minter].
//
// The header is a version-1 UUID of now. Its node is random, with the
// multicast bit set to say so (RFC 9562, §6.10), and so is its clock sequence:
// a record never tells on which machine it was made. Both take eight bytes
// from rand, which should be crypto/rand.Reader, so that no two records share
// a header. The times are in UTC.
//
// The payload is copied. As with original clients it begins with the key
// Default of value None, a text, unless it has a key Default already. Floats
// are rounded as by [FromDict].
//
// The error is an [*Error] of reason [BadValue] when now is not between 1970
// and 5236, beyond which version-1 UUIDs do not go, an error of rand, or as
// from [FromDict].
func New(payload *Dict, now time.Time, rand io.Reader) (*Record, error) {
	now = now.UTC()
	header, err := newHeader(now, rand)
	if err != nil {
		return nil, err
	}
	content := new(Dict)
	if _, ok := payload.Get(Text("Default")); !ok {
		content.Set(Text("Default"), Text("None"))
	}
	for key, val := range payload.All() {
		content.Set(key, val)
	}
	r, err := FromDict(new(Dict).
		Set(Text(KeyHeader), Text(header.String())).
		Set(Text(KeyPayload), content).
		Set(Text(KeyNow), Text(now.Format(nowLayout))).
		Set(Text(KeyStamp), Text(fmt.Sprintf("%d.0", now.Unix()))).
		Set(Text(KeyISO), Text(now.Format(isoLayout))).
		Set(Text(KeyReplicated), Int{}))
	if err != nil {
		return nil, err
	}
	hash, err := r.ComputeHash()
	if err != nil {
		return nil, err
	}
	r.Set(KeyHash, Text(hash))
	return r, nil
}

// newHeader makes a version-1 UUID (RFC 9562, §5.1): the count of 100 ns since
// 15 October 1582 in 60 bits, with the lowest in front, 14 bits of clock
// sequence and 48 of node.
func newHeader(now time.Time, rand io.Reader) (uuid.UUID, error) {
	if now.Unix() < 0 || now.Year() > 5235 {
		return uuid.UUID{}, errorf(BadValue, "a record cannot be dated %s: want a time from 1970 to 5235", now.Format(time.RFC3339))
	}
	const gregorian = 12219292800 // seconds from 15 October 1582 to 1970
	ticks := uint64(now.Unix()+gregorian)*1e7 + uint64(now.Nanosecond()/100)
	var id uuid.UUID
	if _, err := io.ReadFull(rand, id[8:]); err != nil {
		return id, fmt.Errorf("record: reading randomness for a header: %w", err)
	}
	binary.BigEndian.PutUint32(id[0:], uint32(ticks))
	binary.BigEndian.PutUint16(id[4:], uint16(ticks>>32))
	binary.BigEndian.PutUint16(id[6:], uint16(ticks>>48)&0x0fff|0x1000)
	id[8] = id[8]&0x3f | 0x80
	id[10] |= 1 // multicast: not the address of a machine
	return id, nil
}
