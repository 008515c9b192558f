package legacy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// beginTransfer takes one of the user's and one of the server's transfers. The function that it returns gives them back.
func (s *session) beginTransfer(h *home) (end func(), err error) {
	if err := h.beginTransfer(); err != nil {
		return nil, err
	}
	select {
	case s.server.transfers <- struct{}{}:
	default:
		h.endTransfer()
		return nil, errBusy
	}
	return func() {
		<-s.server.transfers
		h.endTransfer()
	}, nil
}

// fput begins an upload. The client sends the content in messages, an empty one at the end.
func (s *session) fput(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	words := fileReplies{missing: "Cannot create file.", exists: "Cannot create file.", other: "Cannot create file."}
	end, err := s.beginTransfer(h)
	if err != nil {
		return s.fileError(err, words, name)
	}
	p, err := h.create(where, true)
	if err != nil {
		end()
		return s.fileError(err, words, name)
	}
	r = ok("Send file", name)
	r.finally = func() {
		p.abort()
		end()
	}
	r.then = func(c *connection) error {
		err := c.receiveFile(p)
		if err == nil {
			return c.send(list("OK", "Server received file.", name))
		}
		var upload *uploadError
		if !errors.As(err, &upload) {
			return err
		}
		return c.send(s.fileError(upload.error, words, name).value)
	}
	return r
}

// uploadError is a failure of an upload after which the connection can go on.
type uploadError struct{ error }

func (e *uploadError) Unwrap() error { return e.error }

// Failures of uploads.
var (
	errCommandInside = errors.New("a command came in the middle of an upload")
	errBadPiece      = errors.New("a piece of the upload could not be decoded")
)

// receiveFile takes messages until an empty one, or a frame of length 0. When something fails it reads on to the end, up
// to a bound, because the client looks for the reply only there.
func (c *connection) receiveFile(p *part) error {
	var failure error
	var length, discarded int64
	for {
		message, err := c.receive()
		undecodable := errors.Is(err, errMessage)
		if err != nil && !undecodable {
			return err
		}
		piece, isBytes := message.(record.Bytes)
		switch {
		case undecodable:
			if failure == nil {
				failure = errBadPiece
			}
			if discarded += wire.MaxFrame; discarded > maxDiscarded {
				return failure
			}
		case message == nil || isBytes && len(piece) == 0:
			if failure == nil {
				_, failure = c.session.same(c.server.ctx) // the upload may have taken long
			}
			if failure == nil {
				failure = p.commit()
			}
			if failure != nil {
				return &uploadError{failure}
			}
			return nil
		case !isBytes:
			return &uploadError{errCommandInside}
		case failure != nil:
			if discarded += int64(len(piece)); discarded > maxDiscarded {
				return failure
			}
		default:
			failure = p.writeAt(piece, length)
			length += int64(len(piece))
		}
	}
}

// fget begins a download. The content follows the reply in raw frames, encrypted as one stream, with an empty frame at
// the end, and a second reply.
func (s *session) fget(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	words := fileReplies{missing: "File does not exist.", other: "File does not exist."}
	end, err := s.beginTransfer(h)
	if err != nil {
		return s.fileError(err, words, name)
	}
	f, size, err := h.openFile(where)
	if err != nil {
		end()
		return s.fileError(err, words, name)
	}
	r = ok(strconv.FormatInt(size, 10), name)
	r.finally = func() {
		_ = f.Close()
		end()
	}
	r.then = func(c *connection) error {
		if s.key == "" { // after the first reply, as in the original
			return c.send(failed("downloads are encrypted; set a session key first, with akey and sess").value)
		}
		whole, err := c.sendFile(f, size)
		if err != nil {
			return err
		}
		if !whole {
			return c.send(list("ERR", "Cannot read file.", name))
		}
		return c.send(list("OK", "Server sent file", name))
	}
	return r
}

// sendFile writes the frames of a download; whole is false when the file could not be read to its end.
func (c *connection) sendFile(f *os.File, size int64) (whole bool, err error) {
	out := bufio.NewWriterSize(impatientWriter{c}, wire.MaxFrame+2)
	stream := c.session.key.Stream()
	chunk := make([]byte, c.session.chunk)
	left := size
	for left > 0 {
		piece := chunk[:min(int64(len(chunk)), left)]
		if _, err := io.ReadFull(f, piece); err != nil {
			c.session.log.Error("a file could not be read to its end", "error", err)
			break
		}
		left -= int64(len(piece))
		stream.XORKeyStream(piece, piece)
		if err := wire.WriteFrame(out, piece); err != nil {
			return false, err
		}
	}
	if err := wire.WriteFrame(out, nil); err != nil {
		return false, err
	}
	return left == 0, out.Flush()
}

// impatientWriter gives each write a deadline of its own.
type impatientWriter struct{ c *connection }

func (w impatientWriter) Write(data []byte) (int, error) {
	if err := w.c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.c.conn.Write(data)
}
