package wire

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"slices"
	"sync"
)

// maxStored is up to how many bytes a text is stored as it is, in the form that zlib has for that: it fits a frame
// anyway, and compressing it takes longer than sending it. It must be below 64 Ki, the limit of one stored block.
const maxStored = 2 << 10

// A workspace is the memory in which a message is encoded or decoded. It is shared by all connections, so that an idle
// one holds none.
type workspace struct {
	text  []byte   // packed text
	inner []byte   // packed text of a reply, which is packed once more
	plain []byte   // a decrypted payload
	pads  [64]byte // random bytes

	in       bytes.Reader
	inflater io.ReadCloser // nil until it is needed, then also a zlib.Resetter
	out      bytes.Buffer
	deflater *zlib.Writer // nil until it is needed
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func getWorkspace() *workspace { return workspaces.Get().(*workspace) }

func (w *workspace) put() {
	w.in.Reset(nil) // the payload is the caller's
	workspaces.Put(w)
}

// deflate returns text in zlib form (RFC 1950), in memory of its own. The original compresses everything at level 1; it
// reads any level.
func (w *workspace) deflate(text []byte) ([]byte, error) {
	if len(text) <= maxStored {
		return store(text), nil
	}
	w.out.Reset()
	if w.deflater == nil {
		var err error
		if w.deflater, err = zlib.NewWriterLevel(&w.out, zlib.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		w.deflater.Reset(&w.out)
	}
	_, err := w.deflater.Write(text)
	if err := errors.Join(err, w.deflater.Close()); err != nil {
		return nil, err
	}
	return bytes.Clone(w.out.Bytes()), nil
}

// store returns text, of less than 64 KiB, in zlib form without compressing it (RFC 1951, 3.2.4).
func store(text []byte) []byte {
	out := make([]byte, 0, 2+5+len(text)+4)
	out = append(out, 0x78, 0x01) // deflate with a window of 32 KiB, fastest
	out = append(out, 1)          // the last block, stored
	out = binary.LittleEndian.AppendUint16(out, uint16(len(text)))
	out = binary.LittleEndian.AppendUint16(out, ^uint16(len(text)))
	out = append(out, text...)
	return binary.BigEndian.AppendUint32(out, adler32.Checksum(text))
}

// inflate returns the text in w.text.
func (w *workspace) inflate(payload []byte) ([]byte, error) {
	w.in.Reset(payload)
	if w.inflater == nil {
		inflater, err := zlib.NewReader(&w.in)
		if err != nil {
			return nil, err
		}
		w.inflater = inflater
	} else if err := w.inflater.(zlib.Resetter).Reset(&w.in, nil); err != nil {
		return nil, err
	}
	text := slices.Grow(w.text[:0], 4<<10)
	for {
		if len(text) == cap(text) {
			text = slices.Grow(text, len(text))
		}
		n, err := w.inflater.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		w.text = text
		if len(text) > MaxText {
			return nil, fmt.Errorf("its text is longer than %d bytes", MaxText)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if n := w.in.Len(); n > 0 {
		return nil, fmt.Errorf("%d bytes follow the compressed text", n)
	}
	return text, nil
}
