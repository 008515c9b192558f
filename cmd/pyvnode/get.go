package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/node"
)

// gotten is an entry as get prints it.
type gotten struct {
	Status     node.Status      `json:"status"` // held, or duplicate of an earlier copy
	Conflict   bool             `json:"header_conflict"`
	Kind       string           `json:"kind"`
	Header     uuid.UUID        `json:"header"`
	ContentID  record.ContentID `json:"content_id"`
	Origin     ledger.Origin    `json:"origin"`
	Seq        uint64           `json:"seq"`
	Hash       ledger.Hash      `json:"hash"`
	Height     uint64           `json:"height"`
	Time       string           `json:"time,omitempty"`        // of the entry
	RecordTime string           `json:"record_time,omitempty"` // in the record's header
	Position   uint64           `json:"position"`
	Hops       uint32           `json:"hops"`
	Record     json.RawMessage  `json:"record"`
}

func newGetCmd(a *app) *cobra.Command {
	var kind, file string
	var packed bool
	cmd := &cobra.Command{
		Use:   "get REF",
		Short: "Show a record and where it stands",
		Long: `Shows every entry that REF names: a record header (a UUID), a content ID (64 hex digits), or a place (ORIGIN/SEQ).
Headers and content IDs may name records of several kinds, which are different records; --kind says which one is meant.

The first copy of a record in canonical order is "held", further copies are "duplicate". A header conflict means
that records of the same kind with the same header and other contents are held too; the flag takes nothing away from
any of them.`,
		Example: `  pyvnode get 37e108b0-e613-11f1-aa1b-02fc00000001
  pyvnode get 37e108b0-e613-11f1-aa1b-02fc00000001 --file backup.entries`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0], kind)
			if err != nil {
				return err
			}
			return a.readingFile(cmd.Context(), file, func(n *node.Node) error {
				found, err := n.Find(cmd.Context(), ref, kind)
				if err != nil {
					return err
				}
				a.sayKinds(ref, kindsOf(found))
				return a.buffered(func(w io.Writer) error {
					for i, f := range found {
						if err := a.printFound(w, i, f, packed); err != nil {
							return err
						}
					}
					return nil
				})
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "look among records of this kind only")
	addEntriesFlag(cmd.Flags(), &file)
	cmd.Flags().BoolVar(&packed, "packed", false, "print nothing but the packed text of the original protocol")
	return cmd
}

func parseRef(text, kind string) (node.Reference, error) {
	ref, err := node.ParseReference(text)
	if err != nil {
		return ref, usageError(err.Error(), "")
	}
	if kind != "" {
		if err := ledger.CheckKind(kind); err != nil {
			return ref, usageError("--kind: "+err.Error(), "")
		}
	}
	return ref, nil
}

func (a *app) printFound(w io.Writer, i int, f node.Found, packed bool) error {
	if packed {
		if isTerminal(a.stdout) {
			w = printableWriter{w}
		}
		_, err := fmt.Fprintf(w, "%s\n", f.Record)
		return err
	}
	r, err := record.Parse(f.Record)
	if err != nil {
		return err
	}
	h := &f.Header
	made := record.HeaderTime(h.RecordUUID)
	if a.json() {
		raw, err := r.MarshalJSON()
		if err != nil {
			return err
		}
		return printJSON(w, gotten{
			Status: f.Status, Conflict: f.Conflict, Kind: h.Kind, Header: h.RecordUUID, ContentID: f.ContentID,
			Origin: h.Origin, Seq: h.Seq, Hash: f.Hash, Height: h.Height,
			Time: jsonTime(ledger.EntryTime(h)), RecordTime: jsonTime(made),
			Position: f.Position, Hops: f.Hops, Record: raw,
		})
	}
	if i > 0 {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	status := string(f.Status)
	if f.Conflict {
		status += ", header-conflict"
	}
	if err := pairs(w,
		[2]string{"header", h.RecordUUID.String()},
		[2]string{"kind", h.Kind},
		[2]string{"status", status},
		[2]string{"content", f.ContentID.String()},
		[2]string{"place", place(h)},
		[2]string{"entry", f.Hash.String()},
		[2]string{"height", fmt.Sprint(h.Height)},
		[2]string{"made", utcAndLocal(made)},
		[2]string{"stored", utcAndLocal(ledger.EntryTime(h))},
	); err != nil {
		return err
	}
	text, err := prettyRecord(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text+"\n")
	return err
}

func kindsOf(found []node.Found) []string {
	var kinds []string
	for _, f := range found {
		kinds = append(kinds, f.Header.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// sayKinds says so when a reference names records of several kinds: they are different ones.
func (a *app) sayKinds(ref node.Reference, kinds []string) {
	if len(kinds) > 1 {
		a.talk("%s names records of %d kinds, which are different records: %s; --kind shows one of them", ref, len(kinds), strings.Join(kinds, ", "))
	}
}

// presence is whether a reference names something that is held, as have prints it.
type presence struct {
	Ref   string   `json:"ref"`
	Held  bool     `json:"held"`
	Kinds []string `json:"kinds"` // of the records that are held under it, in order
}

func newHaveCmd(a *app) *cobra.Command {
	var kind, file string
	cmd := &cobra.Command{
		Use:   "have REF …",
		Short: "Say which records are held",
		Long: `Says for each REF (see "pyvnode get") whether it names a record that is held. The exit code is 3 when one is
missing.`,
		Example: `  pyvnode have 37e108b0-e613-11f1-aa1b-02fc00000001`,
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var refs []node.Reference
			for _, arg := range args {
				ref, err := parseRef(arg, kind)
				if err != nil {
					return err
				}
				refs = append(refs, ref)
			}
			missing := 0
			err := a.readingFile(cmd.Context(), file, func(n *node.Node) error {
				return a.buffered(func(w io.Writer) error {
					for _, ref := range refs {
						kinds, err := n.Have(cmd.Context(), ref, kind)
						if err != nil {
							return err
						}
						if len(kinds) == 0 {
							missing++
						}
						a.sayKinds(ref, kinds)
						p := presence{Ref: ref.String(), Held: len(kinds) > 0, Kinds: append([]string{}, kinds...)}
						if err := a.printPresence(w, p); err != nil {
							return err
						}
					}
					return nil
				})
			})
			if err == nil && missing > 0 {
				err = &failure{Code: exitNotFound, Reason: "not-found", Message: fmt.Sprintf("not held: %d of %s", missing, plural(len(refs), "reference", "references"))}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "look among records of this kind only")
	addEntriesFlag(cmd.Flags(), &file)
	return cmd
}

func (a *app) printPresence(w io.Writer, p presence) error {
	if a.json() {
		return printJSON(w, p)
	}
	status := "held"
	if !p.Held {
		status = "missing"
	}
	return printLine(w, "%-7s  %s", status, p.Ref)
}
