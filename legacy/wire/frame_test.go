package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestFrameRoundTrip(t *testing.T) {
	t.Parallel()
	var sent bytes.Buffer
	var payloads [][]byte
	for _, n := range []int{0, 1, 2, 300, MaxFrame, 5} {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		payloads = append(payloads, payload)
		if err := WriteFrame(&sent, payload); err != nil {
			t.Fatal(err)
		}
	}
	raw := sent.Bytes()
	var buf []byte
	for r := iotest.OneByteReader(bytes.NewReader(raw)); ; {
		got, err := ReadFrame(r, buf)
		if err == io.EOF {
			break
		}
		if err != nil || got == nil || !bytes.Equal(got, payloads[0]) {
			t.Fatalf("%d bytes, %v; want %d", len(got), err, len(payloads[0]))
		}
		if cap(buf) >= len(got) && len(got) > 0 && &got[0] != &buf[:1][0] {
			t.Errorf("%d bytes were not read into a buffer of %d", len(got), cap(buf))
		}
		buf, payloads = got[:0], payloads[1:]
	}
	if len(payloads) > 0 {
		t.Errorf("%d frames are missing", len(payloads))
	}
}

func TestReadFrameRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, raw string
		want      error
	}{
		{"nothing", "", io.EOF},
		{"half a header", "\x00", io.ErrUnexpectedEOF},
		{"no payload", "\x00\x01", io.ErrUnexpectedEOF},
		{"half a payload", "\x00\x02x", io.ErrUnexpectedEOF},
		{"a negative length", "\x80\x00" + string(make([]byte, 1<<16)), ErrFrame},
		{"the length -1", "\xff\xff", ErrFrame},
	} {
		if got, err := ReadFrame(bytes.NewReader([]byte(test.raw)), nil); !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
	broken := errors.New("broken")
	if _, err := ReadFrame(iotest.ErrReader(broken), nil); err != broken {
		t.Error(err)
	}
}

type writes int

func (w *writes) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

func TestWriteFrame(t *testing.T) {
	t.Parallel()
	var w writes
	if err := WriteFrame(&w, make([]byte, MaxFrame)); err != nil || w != 1 {
		t.Errorf("%d writes, %v", w, err)
	}
	if err := WriteFrame(&w, make([]byte, MaxFrame+1)); !errors.Is(err, ErrTooLong) || w != 1 {
		t.Errorf("%d writes, %v", w, err)
	}
}
