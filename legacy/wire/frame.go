package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxFrame is the greatest length of a frame's payload in bytes: the length is a signed number of 16 bits
// (docs/original-protocol.md §1).
const MaxFrame = 1<<15 - 1

const frameHeader = 2 // bytes before the payload

var (
	// ErrFrame is wrapped when what should be a frame has a negative length. Nothing behind it can be read.
	ErrFrame = errors.New("not a frame of the original protocol")
	// ErrTooLong is wrapped when a message does not fit one frame.
	ErrTooLong = errors.New("too long for one frame of the original protocol")
)

// ReadFrame reads one frame and returns its payload, in buf if that has the capacity. The payload of a frame of length
// 0, which ends the data of a file transfer, is empty and not nil. The error is io.EOF when r ends before the frame,
// io.ErrUnexpectedEOF when it ends inside, and wraps [ErrFrame] when the length is negative.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) < frameHeader {
		buf = make([]byte, frameHeader, 512)
	}
	header := buf[:frameHeader]
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	length := int(int16(binary.BigEndian.Uint16(header)))
	if length < 0 {
		return nil, fmt.Errorf("%w: its length is %d", ErrFrame, length)
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	payload := buf[:length]
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return payload, nil
}

var frames = sync.Pool{New: func() any { return new([frameHeader + MaxFrame]byte) }}

// WriteFrame writes one frame in one call of w.Write. The error wraps [ErrTooLong], and nothing is written, when the
// payload is longer than [MaxFrame].
func WriteFrame(w io.Writer, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("%w: %d bytes, %d fit", ErrTooLong, len(payload), MaxFrame)
	}
	frame := frames.Get().(*[frameHeader + MaxFrame]byte)
	defer frames.Put(frame)
	binary.BigEndian.PutUint16(frame[:], uint16(len(payload)))
	n := copy(frame[frameHeader:], payload)
	_, err := w.Write(frame[:frameHeader+n])
	return err
}
