package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

// Reference names records in one of three ways: by header, by content or by place. A header, and a content, may be that of
// several records, of different kinds or, as far as headers go, also of one.
type Reference struct {
	Header  *uuid.UUID
	Content *record.ContentID
	Place   *store.Ref
	text    string
}

// String returns the reference as it was written.
func (r Reference) String() string { return r.text }

// ParseReference reads a record header (a UUID), a content ID (64 hex digits) or a place ("origin/seq").
func ParseReference(text string) (Reference, error) {
	r := Reference{text: text}
	if origin, seq, ok := strings.Cut(text, "/"); ok {
		o, err := ledger.ParseOrigin(origin)
		if err != nil {
			return r, err
		}
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			return r, fmt.Errorf("place %q: %q is not a sequence number", shorten(text), shorten(seq))
		}
		r.Place = &store.Ref{Origin: o, Seq: n}
		return r, nil
	}
	if id, err := record.ParseContentID(strings.ToLower(text)); err == nil {
		r.Content = &id
		return r, nil
	}
	if len(text) == 36 {
		if id, err := uuid.Parse(text); err == nil {
			r.Header = &id
			return r, nil
		}
	}
	return r, fmt.Errorf("%q names no record: want its header (a UUID), its content ID (64 hex digits) or its place (ORIGIN/SEQ)", shorten(text))
}

// Found is an entry that a reference names.
type Found struct {
	*store.Stored
	ContentID record.ContentID
	// Status is Held for the first copy of a record, a kind with a content, in canonical order, Duplicate for all others.
	Status Status
	// Conflict says that records with this kind and header and other contents are held.
	Conflict bool
}

// Held is the status of the first copy of a record in canonical order.
const Held Status = "held"

// Find returns the entries that a reference names, in canonical order; of one kind unless kind is empty. None is
// [store.ErrNotFound].
func (n *Node) Find(ctx context.Context, r Reference, kind string) ([]Found, error) {
	refs, err := n.refs(ctx, r, kind)
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, ref := range refs {
		f, err := n.describe(ctx, ref)
		if err != nil {
			return nil, err
		}
		if kind == "" || f.Header.Kind == kind {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", r, store.ErrNotFound)
	}
	slices.SortFunc(found, func(a, b Found) int { return ledger.CompareCanonical(a.Entry, b.Entry) })
	return found, nil
}

// Have returns the kinds of the records that a reference names and that are held, in order; of one kind unless kind is
// empty.
func (n *Node) Have(ctx context.Context, r Reference, kind string) ([]string, error) {
	refs, err := n.refs(ctx, r, kind)
	if err != nil {
		return nil, err
	}
	var kinds []string
	for _, ref := range refs {
		e, err := n.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		if kind == "" || e.Header.Kind == kind {
			kinds = append(kinds, e.Header.Kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), nil
}

func (n *Node) refs(ctx context.Context, r Reference, kind string) ([]store.Ref, error) {
	switch {
	case r.Place != nil:
		for _, row := range n.Frontier() {
			if row.Origin == r.Place.Origin && r.Place.Seq <= row.Seq {
				return []store.Ref{*r.Place}, nil
			}
		}
		return nil, nil
	case r.Content != nil:
		return n.ByContent(ctx, kind, *r.Content)
	}
	kinds := n.Kinds()
	if kind != "" {
		kinds = []string{kind}
	}
	var refs []store.Ref
	for _, k := range kinds {
		of, err := n.ByHeader(ctx, k, *r.Header)
		if err != nil {
			return nil, err
		}
		refs = append(refs, of...)
	}
	return refs, nil
}

func (n *Node) describe(ctx context.Context, ref store.Ref) (Found, error) {
	e, id, err := n.content(ctx, ref)
	if err != nil {
		return Found{}, err
	}
	f := Found{Stored: e, ContentID: id, Status: Held}
	copies, err := n.ByContent(ctx, e.Header.Kind, id)
	if err != nil {
		return Found{}, err
	}
	for _, c := range copies {
		other, err := n.Get(ctx, c)
		if err != nil {
			return Found{}, err
		}
		if ledger.CompareCanonical(other.Entry, e.Entry) < 0 {
			f.Status = Duplicate
		}
	}
	named, err := n.ByHeader(ctx, e.Header.Kind, e.Header.RecordUUID)
	if err != nil {
		return Found{}, err
	}
	for _, c := range named {
		_, other, err := n.content(ctx, c)
		if err != nil {
			return Found{}, err
		}
		f.Conflict = f.Conflict || other != id
	}
	return f, nil
}

func (n *Node) content(ctx context.Context, ref store.Ref) (*store.Stored, record.ContentID, error) {
	e, err := n.Get(ctx, ref)
	if err != nil {
		return nil, record.ContentID{}, err
	}
	r, err := record.Parse(e.Record)
	if err != nil {
		return nil, record.ContentID{}, fmt.Errorf("entry %v: %w", ref, err)
	}
	id, err := r.ContentID()
	return e, id, err
}
