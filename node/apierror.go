package node

import (
	"bytes"
	"encoding/json"
	"errors"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/node/authority"
	"pyvnode/p2p"
)

// apiError is an error on its way over the local API. An error by which callers decide arrives as what it was, with its
// fields; of any other only the message does.
type apiError struct {
	Type    string          `json:"type,omitempty"` // of carried; empty for all others
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// ErrBusy says that a node that runs has as many requests as it takes.
var ErrBusy = errors.New("the running node is busy")

// ErrStopping says that the node that runs is about to stop, so it takes no more.
var ErrStopping = errors.New("the running node is stopping")

// carried are the errors by which callers decide. The first that fits is taken.
var carried = []carrier{
	typed[*store.DuplicateError]("duplicate"),
	typed[*store.ConflictError]("conflict"),
	typed[*store.MissingError]("missing"),
	typed[*store.ForkError]("fork"),
	typed[*ledger.InvalidError]("invalid"),
	typed[*InputError]("input"),
	typed[*record.Error]("record"),
	typed[*PrivateKindError]("private-kind"),
	typed[*authority.DeniedError]("denied"),
	typed[*NotMemberError]("not-a-member"),
	typed[*p2p.NotReadyError]("not-ready"),
	typed[*LevelError]("level"),
	sentinel("entry-file", ledger.ErrEntryFile),
	sentinel("other-network", store.ErrOtherNetwork),
	sentinel("not-found", store.ErrNotFound),
	sentinel("read-only", store.ErrReadOnly),
	sentinel("failed", store.ErrFailed),
	sentinel("closed", store.ErrClosed),
	sentinel("busy", ErrBusy),
	sentinel("stopping", ErrStopping),
	sentinel("unsupported", errors.ErrUnsupported),
}

type carrier struct {
	name   string
	find   func(error) error // what is sent, or nil
	revive func(detail json.RawMessage) (error, error)
}

func typed[E error](name string) carrier {
	return carrier{
		name: name,
		find: func(err error) error {
			var e E
			if !errors.As(err, &e) {
				return nil
			}
			return e
		},
		revive: func(detail json.RawMessage) (error, error) {
			var e E
			err := json.Unmarshal(detail, &e)
			return e, err
		},
	}
}

func sentinel(name string, s error) carrier {
	return carrier{
		name: name,
		find: func(err error) error {
			if !errors.Is(err, s) {
				return nil
			}
			return s
		},
		revive: func(json.RawMessage) (error, error) { return s, nil },
	}
}

func toAPIError(err error) *apiError {
	if err == nil {
		return nil
	}
	e := &apiError{Message: err.Error()}
	for _, c := range carried {
		if found := c.find(err); found != nil {
			if detail, err := json.Marshal(found); err == nil {
				e.Type, e.Detail = c.name, detail
			}
			break
		}
	}
	return e
}

// error returns the error as it was, as far as it was carried.
func (e *apiError) error() error {
	if e == nil {
		return nil
	}
	remote := &remoteError{message: e.Message}
	for _, c := range carried {
		if c.name == e.Type && bytes.HasPrefix(e.Detail, []byte("{")) { // null would revive to nothing
			if cause, err := c.revive(e.Detail); err == nil {
				remote.cause = cause
			}
		}
	}
	return remote
}

// remoteError is an error that came over the local API.
type remoteError struct {
	message string
	cause   error // as it was; may be nil
}

func (e *remoteError) Error() string { return e.message }

func (e *remoteError) Unwrap() error { return e.cause }
