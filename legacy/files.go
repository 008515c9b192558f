package legacy

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"pyvnode/ledger/record"
)

// open opens the user's directory for the first command that needs it.
func (s *session) open() (*home, error) {
	if s.home == nil {
		h, err := s.server.homes.acquire(s.account.Name)
		if err != nil {
			return nil, err
		}
		s.home = h
	}
	return s.home, nil
}

// place opens the user's directory and finds the path that an argument means in it. When fine is false the reply says why
// not.
func (s *session) place(name string) (h *home, where string, r reply, fine bool) {
	h, err := s.open()
	if err != nil {
		return nil, "", s.internal("user files", err), false
	}
	where, err = resolve(s.cwd, name)
	if err != nil {
		return nil, "", refuse("No Access to directory.", name), false
	}
	return h, where, reply{}, true
}

// fileReplies are the replies to what can go wrong with files; each command has its own words for the first ones.
type fileReplies struct {
	missing string // there is no such thing
	exists  string // there is one
	other   string // it is something else
}

// fileError answers for an error of a home.
func (s *session) fileError(err error, words fileReplies, name string) reply {
	switch {
	case errors.Is(err, errQuota):
		return refuse("Quota exceeded, delete some files first.", name)
	case errors.Is(err, errFileSize):
		return refuse("File too large, the limit is "+strconv.FormatInt(s.server.options.Limits.FileSize, 10)+" bytes.", name)
	case errors.Is(err, errManyFiles):
		return refuse("Too many files, delete some first.", name)
	case errors.Is(err, errCommandInside):
		return refuse("Upload abandoned, a command came before its end.", name)
	case errors.Is(err, errBadPiece):
		return refuse("Upload abandoned, a piece of it could not be decoded.", name)
	case errors.Is(err, errBusy):
		return refuse("Too many transfers, try again later.", name)
	case errors.Is(err, errNoAccess):
		return refuse("No Access to directory.", name)
	case errors.Is(err, ErrNoUser):
		return refuse("Upload abandoned, the user was changed meanwhile.", name)
	case errors.Is(err, fs.ErrNotExist):
		return refuse(words.missing, name)
	case errors.Is(err, errExists):
		return refuse(words.exists, name)
	case errors.Is(err, errIsDir), errors.Is(err, errNotDir):
		return refuse(words.other, name)
	}
	return s.internal("user files", err)
}

func (s *session) ls(_ context.Context, in request) reply  { return s.listing(in, false) }
func (s *session) lsd(_ context.Context, in request) reply { return s.listing(in, true) }

// listing lists a directory. What begins with a slash is looked up from the user's own directory, as in the original and as
// `pwd` shows it; the other commands refuse such names, as there.
func (s *session) listing(in request, directories bool) reply {
	name := in.text(0)
	cwd, path := s.cwd, name
	if strings.HasPrefix(name, "/") {
		cwd, path = ".", strings.TrimLeft(name, "/")
	}
	h, err := s.open()
	if err != nil {
		return s.internal("user files", err)
	}
	where, err := resolve(cwd, path)
	if err != nil {
		return refuse("No Access to directory.", name)
	}
	words := fileReplies{missing: "No such directory."}
	info, err := h.stat(where)
	if err != nil {
		return s.fileError(err, words, name)
	}
	if !info.IsDir() {
		return ok(name, in.name) // as the original answers for a file
	}
	names, err := h.list(where, directories)
	if err != nil {
		return s.fileError(err, words, name)
	}
	answer := record.List{record.Text("OK")}
	for _, n := range names {
		answer = append(answer, fileName(n))
	}
	return reply{value: answer}
}

// fileName makes text of a name that somebody may have put there in another encoding.
func fileName(name string) record.Text {
	return record.Text([]rune(name)) // what is not UTF-8 becomes U+FFFD
}

func (s *session) cd(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	if err := h.isDir(where); err != nil {
		return s.fileError(err, fileReplies{missing: "Directory does not exist", other: "Directory does not exist"}, name)
	}
	s.cwd = where
	return ok(path.Join("/", where))
}

func (s *session) mkdir(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	if err := h.mkdir(where); err != nil {
		const cannot = "Cannot make directory."
		return s.fileError(err, fileReplies{missing: cannot, exists: "Directory already exist.", other: cannot}, name)
	}
	return ok("Made directory:", name)
}

func (s *session) rmdir(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	err := h.rmdir(where)
	if errors.Is(err, errNotEmpty) {
		return refuse("Cannot delete directory.", "The directory is not empty.", name)
	}
	if err != nil {
		return s.fileError(err, fileReplies{missing: "Directory does not exist.", other: "Directory does not exist."}, name)
	}
	return ok("Deleted directory:", name)
}

func (s *session) del(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	if err := h.remove(where); err != nil {
		return s.fileError(err, fileReplies{missing: "No Such File.", other: "No Such File."}, name)
	}
	return ok("File deleted", name)
}

// stat answers with ten numbers as text; `help fields` explains them.
func (s *session) stat(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	info, err := h.stat(where)
	if errors.Is(err, fs.ErrNotExist) {
		return refuse("No such file or directory.", in.name)
	}
	if err != nil {
		return s.fileError(err, fileReplies{}, name)
	}
	r = ok(name)
	answer := r.value.(record.List)
	for _, n := range statNumbers(info) {
		answer = append(answer, record.Text(strconv.FormatUint(n, 10)))
	}
	r.value = answer
	return r
}

// file begins the older kind of upload, in which `data` writes pieces at offsets. The file appears when it is complete.
func (s *session) file(_ context.Context, in request) reply {
	name := in.text(0)
	h, where, r, fine := s.place(name)
	if !fine {
		return r
	}
	s.abandonUpload()
	p, err := h.create(where, false)
	if err == nil {
		if err = h.beginTransfer(); err != nil {
			p.abort()
		}
	}
	if err != nil {
		const cannot = "Cannot create file"
		return s.fileError(err, fileReplies{missing: cannot, exists: "File exists. Delete first.", other: cannot}, name)
	}
	s.part = p
	return ok("Send file", name)
}

// data writes to the file that `file` began; no bytes end it.
func (s *session) data(_ context.Context, in request) reply {
	if s.part == nil {
		return refuse("No filename for data", in.name)
	}
	if !in.has(1) {
		return refuse("Must send some data", in.name)
	}
	offset, isInteger := integer(in.args[0])
	content, isBytes := in.args[1].(record.Bytes)
	if text, isText := in.args[1].(record.Text); isText && text == "" {
		isBytes = true
	}
	if !isInteger || !isBytes || offset < 0 {
		return refuse("Cannot save data on server", in.name)
	}
	p := s.part
	words := fileReplies{missing: "Cannot save data on server", exists: "File exists. Delete first.", other: "Cannot save data on server"}
	if len(content) > 0 {
		if err := p.writeAt(content, offset); err != nil {
			s.abandonUpload()
			return s.fileError(err, words, in.name)
		}
		return ok("Got data")
	}
	s.part = nil
	s.home.endTransfer()
	if err := p.commit(); err != nil {
		return s.fileError(err, words, in.name)
	}
	return ok("Empty Data, assuming EOF; Closing file", in.name)
}

// abandonUpload leaves nothing of a file that `file` began and that did not become complete.
func (s *session) abandonUpload() {
	if s.part != nil {
		s.part.abort()
		s.part = nil
		s.home.endTransfer()
	}
}
