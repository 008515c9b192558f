package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"pyvnode/legacy"
	"pyvnode/legacy/dataroot"
	"pyvnode/legacy/wire"
	"pyvnode/node"
)

func newLegacyCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "legacy",
		Short: "What clients of the original server, PyvServer, need",
		Args:  subcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLegacyCheckCmd(a), newLegacyClientCmd(a), newLegacyExportCmd(a), newLegacyImportCmd(a), newLegacyKeygenCmd(a), newLegacyReplicationCmd(a), newLegacySyncCmd(a))
	return cmd
}

func newLegacyReplicationCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "replication",
		Short: "Show how original servers get the running node's records, and it theirs",
		Long: `Lists the original servers that administrators named (ihost add), with what became of the node's records there: SENT,
HELD by the server already, BEHIND (not offered yet), REFUSED (offered again later, for four days) and given up. TAKEN are
records that the server had and the node fetched from it.

STATE is good, new, unreachable, login (the server does not take the node's login), production (it wants a second factor,
which no replicator has) or off (the node has no password for it: setting legacy_password_file).`,
		Example: `  pyvnode legacy replication`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.running(cmd.Context(), func(c *node.Client) error {
				hosts, err := c.Replication(cmd.Context())
				if err != nil {
					return err
				}
				return a.buffered(func(w io.Writer) error { return a.printReplication(w, hosts) })
			})
		},
	}
}

func (a *app) printReplication(w io.Writer, hosts []legacy.HostStatus) error {
	if a.json() {
		return eachJSON(w, hosts)
	}
	var rows [][]string
	for _, h := range hosts {
		rows = append(rows, []string{printable(h.Host), string(h.State), fmt.Sprint(h.Sent), fmt.Sprint(h.Held), fmt.Sprint(h.Behind),
			fmt.Sprint(h.Refused), fmt.Sprint(h.GivenUp), fmt.Sprint(h.Taken), printable(h.Why)})
	}
	return rowsOrNone(w, []int{24, 11, 8, 8, 8, 8, 8, 8, 0}, []string{"HOST", "STATE", "SENT", "HELD", "BEHIND", "REFUSED", "GIVEN UP", "TAKEN", "NOTE"}, rows)
}

// keyPair is one that keygen made.
type keyPair struct {
	ID      string `json:"id"`
	Bits    int    `json:"bits"`
	Public  string `json:"public"` // path
	Private string `json:"private"`
}

func newLegacyKeygenCmd(a *app) *cobra.Command {
	var count, bits int
	var dir string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make key pairs for sessions with clients of the original server",
		Long: fmt.Sprintf(`Makes key pairs for the sessions of the original protocol and adds them to those that are there. A client that asks
for a key gets a random one of them, and encrypts its session key under it. A node without any makes one by itself; one
that runs sees new ones when it is started again.

The files are keys/ID.pub and private/ID.pem, as an original server has and reads them, at most %d pairs.

What they protect is weak, whatever their size: it is there because the original's clients know nothing better.`, legacy.MaxKeys),
		Example: `  pyvnode legacy keygen
  pyvnode legacy keygen --count 10 --bits 384`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 || count > legacy.MaxKeys {
				return usageError(fmt.Sprintf("--count is %d; 1 to %d are allowed", count, legacy.MaxKeys), "")
			}
			switch bits {
			case 256, 384, 521:
			default:
				return usageError(fmt.Sprintf("--bits is %d; 256, 384 and 521 are allowed", bits), "")
			}
			if dir == "" {
				dir = filepath.Join(a.cfg.Data(), legacy.DirName)
			}
			err := a.buffered(func(w io.Writer) error {
				for range count {
					if err := cmd.Context().Err(); err != nil {
						return err
					}
					k, err := legacy.GenerateKey(dir, bits)
					if err != nil {
						return err
					}
					pair := keyPair{ID: k.ID().String(), Bits: k.Bits()}
					pair.Public, pair.Private = legacy.KeyFiles(dir, k.ID())
					if a.json() {
						err = printJSON(w, pair)
					} else {
						err = columns(w, []int{16, 4, 0}, pair.ID, fmt.Sprint(pair.Bits), pair.Private)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil {
				a.talk("Show the files under %s to nobody.", filepath.Join(dir, "private"))
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&count, "count", 1, "how many key pairs")
	flags.IntVar(&bits, "bits", wire.DefaultKeyBits, "their size: 256, 384 or 521 (slow: some milliseconds for each session)")
	flags.StringVar(&dir, "dir", "", "directory that holds keys/ and private/ (default "+legacy.DirName+" in the data directory)")
	return cmd
}

// explainLegacy knows what can be wrong with the adapter's files.
func explainLegacy(err error, set setter) *failure {
	var file *legacy.KeyFileError
	switch {
	case errors.As(err, new(*node.LocksOutError)):
		return set(exitFailure, "locks-out", "make an administrator there with --admin NAME --password-file FILE, or leave these users out with --administrators-only: then its first client makes the first user (uini), who adds them")
	case errors.As(err, new(*dataroot.NotEmptyError)):
		return set(exitFailure, "not-empty", "name a directory that does not exist yet")
	case errors.As(err, new(*dataroot.NotDataRootError)):
		return set(exitNotFound, "no-data-root", "name the directory that the original server was started with (-r); its default is pyvserver in the home directory")
	case errors.Is(err, legacy.ErrTooManyKeys):
		return set(exitFailure, "too-many-keys", "remove old ones: the .pem and the .pub file of the same name")
	case !errors.As(err, &file):
		return nil
	case errors.Is(err, legacy.ErrKeyReadable):
		return set(exitDenied, "permissions-too-wide", "chmod 600 "+file.Path)
	}
	return set(exitFailure, "bad-key", "put the file back from a backup, or remove it; clients do not depend on a certain key")
}
