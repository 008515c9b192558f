package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/audit"
	"pyvnode/ledger/proof"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/node"
)

// accusation is evidence as the evidence commands print it.
type accusation struct {
	Origin  ledger.Origin `json:"origin"` // the accused
	Seq     uint64        `json:"seq"`    // the first disputed entry
	Kind    string        `json:"kind"`
	ID      ledger.Hash   `json:"id"`
	What    string        `json:"what"`
	Network ledger.Hash   `json:"network"`
	Bytes   []byte        `json:"bytes,omitempty"` // the evidence itself; show only
}

func accusationOf(ev *proof.Evidence) accusation {
	return accusation{Origin: ev.Origin(), Seq: ev.Seq(), Kind: ev.Kind().String(), ID: ev.ID(), What: ev.Reason(), Network: ev.Network()}
}

func newEvidenceCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Show and check what proves that an origin lied",
		Args:  subcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEvidenceListCmd(a), newEvidenceShowCmd(a), newEvidenceVerifyCmd(a))
	return cmd
}

func newEvidenceListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the origins that lied",
		Long: `Lists the evidence that is held: one line for each origin that signed statements which cannot all be true, with the
first disputed entry, where its log is frozen.`,
		Example: `  pyvnode evidence list`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.reading(cmd.Context(), func(n *node.Node) error {
				return a.buffered(func(w io.Writer) error {
					widths := []int{peerIDColumns, 0}
					all := n.Evidence()
					if len(all) == 0 && !a.json() {
						return printLine(w, "none")
					}
					for i, ev := range all {
						var err error
						if x := accusationOf(ev); a.json() {
							err = printJSON(w, x)
						} else {
							if i == 0 {
								err = columns(w, widths, "ORIGIN", "FROZEN AT")
							}
							err = errors.Join(err, columns(w, widths, x.Origin.String(), fmt.Sprint(x.Seq)),
								indented(w, x.What), indented(w, fmt.Sprintf("evidence %s, kind %s", x.ID.Short(), x.Kind)))
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
}

func newEvidenceShowCmd(a *app) *cobra.Command {
	var output string
	var plain, force bool
	cmd := &cobra.Command{
		Use:   "show ORIGIN|ID",
		Short: "Show evidence, or write it to a file to hand to others",
		Long: `Shows the evidence against an origin, which is named by its peer ID, or by the ID of the evidence or its first 12
digits. --output writes the evidence itself, a few kilobytes, and --base64 prints it as text; whoever has it and the
network's genesis document can check it with "pyvnode evidence verify", without trusting anybody.`,
		Example: `  pyvnode evidence show 12D3KooW… --output liar.evidence
  pyvnode evidence show 8f44519264e7 --base64`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && plain {
				return usageError("--output and --base64 do not go together", helpHint(cmd))
			}
			return a.reading(cmd.Context(), func(n *node.Node) error {
				ev, err := findEvidence(n.Evidence(), args[0])
				if err != nil {
					return err
				}
				switch {
				case output != "":
					return a.writeEvidence(ev, output, force)
				case plain:
					_, err := fmt.Fprintln(a.stdout, base64.StdEncoding.EncodeToString(ev.Bytes()))
					return err
				case a.json():
					x := accusationOf(ev)
					x.Bytes = ev.Bytes()
					return printJSON(a.stdout, x)
				}
				return a.printEvidence(ev, [2]string{"length", fmt.Sprintf("%d bytes", len(ev.Bytes()))})
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write the evidence to")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	cmd.Flags().BoolVar(&plain, "base64", false, "print nothing but the evidence, in base64")
	return cmd
}

func findEvidence(all []*proof.Evidence, name string) (*proof.Evidence, error) {
	const least = 12 // digits, which is what list shows
	for _, ev := range all {
		if ev.Origin().String() == name || len(name) >= least && strings.HasPrefix(ev.ID().String(), strings.ToLower(name)) {
			return ev, nil
		}
	}
	return nil, &failure{Code: exitNotFound, Reason: "not-found", Message: fmt.Sprintf("no evidence %q, nor any against such an origin", name),
		Hint: "see all with: pyvnode evidence list"}
}

func (a *app) writeEvidence(ev *proof.Evidence, output string, force bool) error {
	f, err := createOutput(output, force)
	if err != nil {
		return err
	}
	defer func() { _ = f.Abort() }() // does nothing after Commit
	if _, err := f.Write(ev.Bytes()); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	a.talk("wrote %d bytes to %s", len(ev.Bytes()), output)
	return nil
}

func (a *app) printEvidence(ev *proof.Evidence, more ...[2]string) error {
	return pairs(a.stdout, append([][2]string{
		{"accused", ev.Origin().String()},
		{"what it did", ev.Reason()},
		{"frozen at", fmt.Sprintf("entry %d", ev.Seq())},
		{"kind", ev.Kind().String()},
		{"evidence", ev.ID().String()},
		{"network", ev.Network().String()},
	}, more...)...)
}

func newEvidenceVerifyCmd(a *app) *cobra.Command {
	var genesis string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check evidence without a ledger",
		Long: `Checks evidence in FILE (- for standard input), as its bytes or in base64, by itself and the network's genesis
document: that of --genesis, which may also be an entry file, or of the data directory. No ledger and no network is needed. It prints
what the evidence proves; the exit code is 4 when it proves nothing.`,
		Example: `  pyvnode evidence verify liar.evidence --genesis genesis.json`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			g, err := a.genesis(genesis)
			if err != nil {
				return err
			}
			raw, err := a.readEvidence(args[0])
			if err != nil {
				return err
			}
			ev, err := proof.ParseEvidence(raw)
			if err == nil {
				err = ev.Verify(g)
			}
			if err != nil {
				return &failure{Code: exitBad, Reason: string(audit.ReasonEvidence), Message: fmt.Sprintf("%s proves nothing: %v", args[0], err),
					Hint: "believe nothing that rests on it"}
			}
			if a.json() {
				return printJSON(a.stdout, accusationOf(ev))
			}
			return a.printEvidence(ev, [2]string{"result", "proven, for the network " + g.Name})
		},
	}
	cmd.Flags().StringVar(&genesis, "genesis", "", "genesis document, or entry file (default: of the data directory)")
	return cmd
}

// genesis reads the genesis document of a file, or of the data directory when none is named.
func (a *app) genesis(file string) (*ledger.Genesis, error) {
	if file != "" {
		return node.ReadGenesis(file)
	}
	g, err := store.ReadGenesisFile(a.cfg.Data())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError(err.Error(), "name the genesis document of the network with --genesis")
	}
	return g, err
}

// readEvidence reads evidence as its bytes or in base64. Evidence begins with the number of a field, which is no digit of
// base64.
func (a *app) readEvidence(file string) ([]byte, error) {
	const limit = 2 * proof.MaxEvidence // base64 with ends of lines included
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, emptyError(exitBad, file, "nothing was checked: there is no evidence in it")
	}
	if what, hint := record.ForeignForm(raw); what != "" {
		return nil, &node.InputError{Reason: node.NotText, Detail: file + ": it is " + what, Hint: hint}
	}
	text := bytes.Join(bytes.Fields(record.TrimMark(raw)), nil)
	if decoded, err := base64.StdEncoding.AppendDecode(nil, text); err == nil {
		return decoded, nil
	}
	return raw, nil
}

// printDisputes prints what an audit says of evidence.
func printDisputes(w io.Writer, r *audit.Report) error {
	for _, ev := range r.Evidence {
		if err := printLine(w, "evidence: %v is frozen at entry %d: it %s (%s)", ev.Origin, ev.Seq, ev.What, ev.ID.Short()); err != nil {
			return err
		}
	}
	return nil
}
