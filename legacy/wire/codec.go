package wire

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"

	"pyvnode/ledger/record"
)

// MaxText is the greatest length of a message's packed text in bytes, that is when it is decrypted and inflated. Real
// messages are far from it: what compresses to [MaxFrame] rarely has four times its length.
const MaxText = 256 << 10

// ErrMessage is wrapped when the payload of a frame is no message, often because it was made with another session key.
// The original answers it with "cannot unwrap / decode data." and keeps the connection.
var ErrMessage = errors.New("not a message of the original protocol")

// A Codec encodes and decodes the messages of one connection (docs/original-protocol.md §3). The zero value is ready.
// It is not for use by several goroutines at once.
//
// What it encodes is the caller's, and what it decodes does not share memory with the payload. The caller's payload is
// never changed.
type Codec struct {
	key   SessionKey // of block
	block cipher.Block
}

// The lengths of the random bytes around what a message says (docs/original-protocol.md §3). They are not secret and
// nobody checks them: their use is that equal commands do not have equal frames.
type padding struct{ beforeMin, beforeMax, afterMin, afterMax int }

var (
	requestPadding = padding{4, 14, 4, 16}
	replyPadding   = padding{14, 24, 24, 36}
)

// EncodeRequest returns the payload of a frame with a client's message: a command, its name first. The error wraps
// [ErrTooLong], or is a [*record.Error] when a value cannot be packed.
func (c *Codec) EncodeRequest(key SessionKey, command []record.Value) ([]byte, error) {
	return c.EncodeRequestValue(key, record.List(command))
}

// EncodeRequestValue is EncodeRequest for a message that need not be a command: Bytes are a part of a file that is
// uploaded, and empty Bytes its end (docs/original-protocol.md §7).
func (c *Codec) EncodeRequestValue(key SessionKey, request record.Value) ([]byte, error) {
	w := getWorkspace()
	defer w.put()
	return c.encode(w, key, requestPadding, request)
}

// EncodeReply returns the payload of a frame with a server's message. The error wraps [ErrTooLong], or is a
// [*record.Error] when a value cannot be packed.
func (c *Codec) EncodeReply(key SessionKey, reply record.Value) ([]byte, error) {
	w := getWorkspace()
	defer w.put()
	var err error
	if w.inner, err = record.AppendPack(w.inner[:0], reply); err != nil {
		return nil, err
	}
	return c.encode(w, key, replyPadding, record.Text(w.inner))
}

func (c *Codec) encode(w *workspace, key SessionKey, p padding, middle record.Value) ([]byte, error) {
	before, after := w.pad(p.beforeMin, p.beforeMax, 0), w.pad(p.afterMin, p.afterMax, p.beforeMax)
	var err error
	if w.text, err = record.AppendPack(w.text[:0], before, middle, after); err != nil {
		return nil, err
	}
	if len(w.text) > MaxText {
		return nil, fmt.Errorf("%w: %d bytes of text, at most %d are allowed", ErrTooLong, len(w.text), MaxText)
	}
	payload, err := w.deflate(w.text)
	if err != nil {
		return nil, err
	}
	if len(payload) > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes when compressed, %d fit", ErrTooLong, len(payload), MaxFrame)
	}
	if stream := c.stream(key); stream != nil {
		stream.XORKeyStream(payload, payload)
	}
	return payload, nil
}

// DecodeRequest reads a client's message and returns what it says: a List, which is a command, or Bytes, which are a
// part of a file that is uploaded. Other values are for the caller to refuse. The error wraps [ErrMessage].
func (c *Codec) DecodeRequest(key SessionKey, payload []byte) (record.Value, error) {
	w := getWorkspace()
	defer w.put()
	return c.decode(w, key, payload)
}

// DecodeReply reads a server's message and returns the reply, a List or a Tuple. The error wraps [ErrMessage].
func (c *Codec) DecodeReply(key SessionKey, payload []byte) (record.Value, error) {
	w := getWorkspace()
	defer w.put()
	middle, err := c.decode(w, key, payload)
	if err != nil {
		return nil, err
	}
	packed, ok := middle.(record.Text)
	if !ok {
		return nil, fmt.Errorf("%w: a reply is not packed twice", ErrMessage)
	}
	w.inner = append(w.inner[:0], packed...)
	items, err := record.Unpack(w.inner)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if len(items) == 1 {
		switch items[0].(type) {
		case record.List, record.Tuple:
			return items[0], nil
		}
	}
	return nil, fmt.Errorf("%w: a reply is not one list", ErrMessage)
}

func (c *Codec) decode(w *workspace, key SessionKey, payload []byte) (record.Value, error) {
	if len(payload) > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes, a frame has at most %d", ErrMessage, len(payload), MaxFrame)
	}
	if stream := c.stream(key); stream != nil {
		w.plain = append(w.plain[:0], payload...)
		stream.XORKeyStream(w.plain, w.plain)
		payload = w.plain
	}
	text, err := w.inflate(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	items, err := record.Unpack(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if len(items) != 3 {
		return nil, fmt.Errorf("%w: %d items, want 3", ErrMessage, len(items))
	}
	return items[1], nil
}

// stream is key.Stream, but keeps the part of the cipher that is the same for all messages.
func (c *Codec) stream(key SessionKey) cipher.Stream {
	if key == "" {
		return nil
	}
	if key != c.key {
		c.key, c.block = key, key.block()
	}
	return key.stream(c.block)
}

// pad returns between least and most random bytes, in the workspace's memory from offset on.
func (w *workspace) pad(least, most, offset int) record.Bytes {
	pad := w.pads[offset:][:least+rand.IntN(most-least+1)]
	for i := range pad {
		pad[i] = byte(rand.Uint32())
	}
	return pad
}
