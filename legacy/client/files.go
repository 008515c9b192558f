package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"pyvnode/ledger/record"
)

// uploadPart is how many bytes of a file one message carries. As base64, and where it cannot be compressed, it still
// fits a frame.
const uploadPart = 16 << 10

// ErrClearText is returned by Download before StartSession: the original does not send files in clear text.
var ErrClearText = errors.New("the original protocol sends files only in a session: start one first")

// Upload stores what r yields as the user's file name (docs/original-protocol.md §7). When r or the connection fails
// the connection is closed: there is no other way to say that what was sent is not the whole file. What the server then
// keeps is its affair.
func (c *Conn) Upload(ctx context.Context, name string, r io.Reader) error {
	if _, err := c.Do(ctx, "fput", name); err != nil {
		return err
	}
	var reply record.Value
	err := c.exchange(ctx, func() error {
		part := make([]byte, uploadPart)
		for {
			n, err := io.ReadFull(r, part)
			if n > 0 {
				if err := c.extend(ctx); err != nil {
					return err
				}
				if err := c.writeRequest(record.Bytes(part[:n])); err != nil {
					return err
				}
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				break
			}
			if err != nil {
				return err
			}
		}
		err := c.writeRequest(record.Bytes{})
		if err == nil {
			reply, err = c.readReply()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("upload of %q: %w", name, err)
	}
	return Refusal("fput", reply)
}

// Download writes the user's file name to w and returns its size in bytes. It fails, and the connection is closed, when
// the server sends another number of bytes than it announced; w then has a part of the file.
func (c *Conn) Download(ctx context.Context, name string, w io.Writer) (int64, error) {
	if c.key == "" {
		return 0, ErrClearText
	}
	reply, err := c.Do(ctx, "fget", name)
	if err != nil {
		return 0, err
	}
	var written int64
	err = c.exchange(ctx, func() error {
		announced, _ := text(reply, 1)
		size, err := strconv.ParseInt(announced, 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("%w: a file of %q bytes", ErrReply, announced)
		}
		for stream := c.key.Stream(); ; {
			part, err := c.readFrame()
			if err != nil {
				return err
			}
			if len(part) == 0 {
				break
			}
			if written+int64(len(part)) > size {
				return fmt.Errorf("%w: a file announced with %d bytes is longer", ErrReply, size)
			}
			stream.XORKeyStream(part, part)
			n, err := w.Write(part)
			written += int64(n)
			if err != nil {
				return err
			}
			if err := c.extend(ctx); err != nil {
				return err
			}
		}
		if written != size {
			return fmt.Errorf("%w: a file announced with %d bytes has %d", ErrReply, size, written)
		}
		reply, err = c.readReply()
		return err
	})
	if err != nil {
		return written, fmt.Errorf("download of %q: %w", name, err)
	}
	return written, Refusal("fget", reply)
}
