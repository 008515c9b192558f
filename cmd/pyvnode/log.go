package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/store"
	"pyvnode/node"
)

// logged is an entry's header as log prints it.
type logged struct {
	Network    ledger.Hash       `json:"network"`
	Origin     ledger.Origin     `json:"origin"`
	Seq        uint64            `json:"seq"`
	Hash       ledger.Hash       `json:"hash"` // of the entry
	Prev       ledger.Hash       `json:"prev"`
	Root       ledger.Hash       `json:"root"`
	Height     uint64            `json:"height"`
	Time       string            `json:"time,omitempty"`
	Kind       string            `json:"kind"`
	Header     uuid.UUID         `json:"header"`
	RecordHash ledger.Hash       `json:"record_hash"`
	RecordLen  uint32            `json:"record_len"`
	Seen       []ledger.Citation `json:"seen"`
}

// logInfo is a log as log lists it.
type logInfo struct {
	Origin   ledger.Origin `json:"origin"`
	Entries  uint64        `json:"entries"`
	Height   uint64        `json:"height"`
	Head     ledger.Hash   `json:"head"`
	Verified uint64        `json:"verified"` // entries whose signatures are checked
	Own      bool          `json:"own"`
}

func newLogCmd(a *app) *cobra.Command {
	var from, to uint64
	var file string
	cmd := &cobra.Command{
		Use:   "log [ORIGIN]",
		Short: "Show the entries of one log, or list the logs",
		Long: `Shows the signed headers of a log's entries: of this node's own log, or of ORIGIN's. A node without a key, or whose
log is empty, lists the logs it holds. --from is inclusive, --to exclusive.`,
		Example: `  pyvnode log --from 100 --to 110`,
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var origin *ledger.Origin
			if len(args) == 1 {
				o, err := ledger.ParseOrigin(args[0])
				if err != nil {
					return usageError(err.Error(), "list the logs with: pyvnode frontier")
				}
				origin = &o
			}
			if from > to {
				return usageError(fmt.Sprintf("--from %d is after --to %d", from, to), "")
			}
			return a.readingFile(cmd.Context(), file, func(n *node.Node) error {
				own, hasKey := n.Own()
				if origin == nil && hasKey {
					if _, ok := n.Frontier().Row(own); ok {
						origin = &own
					}
				}
				part := cmd.Flags().Changed("from") || cmd.Flags().Changed("to")
				switch {
				case origin == nil && part:
					return &failure{Code: exitNotFound, Reason: "not-found", Message: "there is no log of this node's own, of which --from and --to could be",
						Hint: "name the log by its origin: pyvnode log ORIGIN; pyvnode log lists them"}
				case origin == nil:
					return a.listLogs(n)
				}
				row, ok := n.Frontier().Row(*origin)
				if !ok {
					return fmt.Errorf("log of %v: %w", origin, store.ErrNotFound)
				}
				if from > row.Seq && from < to {
					return fmt.Errorf("entry %d of %v, whose log ends with %d: %w", from, origin, row.Seq, store.ErrNotFound)
				}
				return a.buffered(func(w io.Writer) error {
					if from == to && !a.json() {
						return printLine(w, "none")
					}
					for e, err := range n.Log(cmd.Context(), *origin, from, to) {
						if err == nil {
							err = a.printLogged(w, e, e.Header.Seq == from)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
			})
		},
	}
	addEntriesFlag(cmd.Flags(), &file)
	cmd.Flags().Uint64Var(&from, "from", 0, "first sequence number")
	cmd.Flags().Uint64Var(&to, "to", math.MaxUint64, "sequence number to stop before (default: the end)")
	cmd.Flags().Lookup("to").DefValue = "0" // so that the help does not print the number
	return cmd
}

func (a *app) listLogs(n *node.Node) error {
	own, hasKey := n.Own()
	return a.buffered(func(w io.Writer) error {
		widths := []int{peerIDColumns, 12, 0}
		logs := n.Logs()
		if len(logs) == 0 && !a.json() {
			return printLine(w, "none")
		}
		for i, l := range logs {
			info := logInfo{Origin: l.Origin, Entries: l.Seq + 1, Height: l.Height, Head: l.Hash, Verified: l.Verified, Own: hasKey && l.Origin == own}
			var err error
			if a.json() {
				err = printJSON(w, info)
			} else {
				if i == 0 {
					err = columns(w, widths, "ORIGIN", "ENTRIES", "HEIGHT")
				}
				err = errors.Join(err, columns(w, widths, info.Origin.String(), fmt.Sprint(info.Entries), fmt.Sprint(info.Height)),
					indented(w, fmt.Sprintf("head %s, %s verified", info.Head.Short(), plural(info.Verified, "signature", "signatures"))))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) printLogged(w io.Writer, e *ledger.Entry, first bool) error {
	h := &e.Header
	if a.json() {
		return printJSON(w, logged{
			Network: h.Network, Origin: h.Origin, Seq: h.Seq, Hash: e.Hash, Prev: h.Prev, Root: h.Root, Height: h.Height,
			Time: jsonTime(ledger.EntryTime(h)), Kind: h.Kind, Header: h.RecordUUID, RecordHash: h.RecordHash, RecordLen: h.RecordLen,
			Seen: append([]ledger.Citation{}, h.Seen...),
		})
	}
	widths := []int{8, 19, 36, 0}
	if first {
		if err := columns(w, widths, "SEQ", "STORED (UTC)", "HEADER", "KIND"); err != nil {
			return err
		}
	}
	return errors.Join(
		columns(w, widths, fmt.Sprint(h.Seq), shortUTC(ledger.EntryTime(h)), h.RecordUUID.String(), h.Kind),
		indented(w, fmt.Sprintf("hash %s, height %d, cites %s", e.Hash.Short(), h.Height, plural(len(h.Seen), "log", "logs"))))
}
