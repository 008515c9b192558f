package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/node"
	"pyvnode/node/accounts"
)

// listedUser is a user as user list prints him.
type listedUser struct {
	Name         string         `json:"name"`
	Flags        []string       `json:"flags"`
	SecondFactor bool           `json:"second_factor"`
	From         []netip.Prefix `json:"from,omitempty"` // of a replicator
}

func newUserCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Keep the users of this node",
		Args:  subcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserAddCmd(a), newUserListCmd(a), newUserDeleteCmd(a), newUserDisabledCmd(a, true), newUserDisabledCmd(a, false),
		newUserPasswordCmd(a), newUserEnrolCmd(a))
	return cmd
}

// accounts opens the users in the data directory.
func (a *app) accounts(do func(*accounts.Accounts) error) error {
	users, err := node.OpenAccounts(a.options())
	if err != nil {
		return err
	}
	err = do(users)
	return errors.Join(err, users.Close())
}

// changeUser does something to a user and says that it was done.
func (a *app) changeUser(name, status, done string, change func(*accounts.Accounts) error) error {
	err := a.accounts(change)
	if err != nil {
		return ofUser(name, err)
	}
	if a.json() {
		return printJSON(a.stdout, struct {
			Status string `json:"status"`
			Name   string `json:"name"`
		}{status, name})
	}
	_, err = fmt.Fprintln(a.stdout, done, printable(name))
	return err
}

// ofUser says which user an error is about.
func ofUser(name string, err error) error {
	switch {
	case errors.Is(err, accounts.ErrNoUser), errors.Is(err, accounts.ErrUserExists), errors.Is(err, accounts.ErrInitialUser), errors.Is(err, accounts.ErrNoSecondFactor):
		return fmt.Errorf("%q: %w", name, err)
	}
	return err
}

func newUserAddCmd(a *app) *cobra.Command {
	var (
		admin, replicator bool
		from              []string
		password          passwordSource
	)
	cmd := &cobra.Command{
		Use:   "add NAME [--admin | --replicator --from PREFIX …]",
		Short: "Add a user",
		Long: `Adds a user of this node. The password is asked for twice, or read from the first line of a file; it is never an
argument, which others on the machine could see. A replicator is a restricted account for a server that pushes records
here: it may log in from the listed addresses only, and has no second factor.`,
		Example: `  pyvnode user add anna --admin
  pyvnode user add north --replicator --from 192.0.2.7 --from 2001:db8::/32 --password-file north.txt`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if admin && replicator {
				return usageError("--admin does not go with --replicator", helpHint(cmd))
			}
			if replicator != (len(from) > 0) {
				return usageError("--replicator and --from go together: a replicator, and nobody else, is bound to addresses", helpHint(cmd))
			}
			prefixes, err := parsePrefixes(from)
			if err != nil {
				return err
			}
			name, err := accounts.NormalName(args[0])
			if err != nil {
				return err
			}
			var flags accounts.Flags
			if admin {
				flags = accounts.Administrator
			}
			return a.changeUser(name, "added", "added", func(users *accounts.Accounts) error {
				if _, err := users.User(cmd.Context(), name); err == nil { // before asking for a password
					return accounts.ErrUserExists
				}
				secret, err := password.read(cmd.Context(), a)
				if err != nil {
					return err
				}
				if replicator {
					return users.AddReplicator(cmd.Context(), name, secret, prefixes)
				}
				return users.Add(cmd.Context(), name, secret, flags)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&admin, "admin", false, "the user may keep the users of this node")
	flags.BoolVar(&replicator, "replicator", false, "a restricted account for a server that pushes records here")
	flags.StringArrayVar(&from, "from", nil, "address, or address prefix such as 192.0.2.0/24, from which a replicator may log in; repeat for more")
	password.addFlag(flags)
	return cmd
}

// parsePrefixes reads addresses and address prefixes.
func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if addr, plain := netip.ParseAddr(text); plain == nil {
			p, err = addr.Unmap().Prefix(addr.Unmap().BitLen())
		}
		if err != nil {
			return nil, usageError(fmt.Sprintf("--from %q is neither an address nor an address prefix", text), "an address is 192.0.2.7, a prefix 192.0.2.0/24 or 2001:db8::/32")
		}
		if p != p.Masked() {
			return nil, usageError(fmt.Sprintf("--from %v has bits set behind its prefix", p), fmt.Sprintf("write %v, or %v for the one address", p.Masked(), p.Addr()))
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func newUserListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the users of this node",
		Long:    `Lists the users of this node in the order of their names, what they are, and whether they have a second factor.`,
		Example: `  pyvnode user list`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.accounts(func(users *accounts.Accounts) error {
				all, err := users.Users(cmd.Context())
				if err != nil {
					return err
				}
				return a.buffered(func(w io.Writer) error { return a.printUsers(w, all) })
			})
		},
	}
}

func (a *app) printUsers(w io.Writer, all []accounts.User) error {
	if a.json() {
		for _, u := range all {
			out := listedUser{Name: u.Name, Flags: []string{}, SecondFactor: u.Enrolled, From: u.From}
			if u.Flags != 0 {
				out.Flags = strings.Split(u.Flags.String(), ",")
			}
			if err := printJSON(w, out); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for _, u := range all {
		second := "no"
		if u.Enrolled {
			second = "yes"
		}
		var from []string
		for _, p := range u.From {
			from = append(from, p.String())
		}
		rows = append(rows, []string{printable(u.Name), u.Flags.String(), second, strings.Join(from, ", ")})
	}
	return rowsOrNone(w, []int{20, 22, 13, 0}, []string{"NAME", "FLAGS", "SECOND FACTOR", "FROM"}, rows)
}

func newUserDeleteCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user",
		Long: `Deletes a user. The initial user, who was made over the network when there was none, cannot be deleted, but can be
disabled.`,
		Example: `  pyvnode user delete anna`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(args[0], "deleted", "deleted", func(users *accounts.Accounts) error { return users.Delete(cmd.Context(), args[0]) })
		},
	}
}

func newUserDisabledCmd(a *app, disabled bool) *cobra.Command {
	verb, short, long := "enable", "Let a disabled user log in again", "Lets a user who was disabled log in again."
	if disabled {
		verb, short, long = "disable", "Forbid a user to log in", "Forbids a user to log in, until \"pyvnode user enable\"."
	}
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Long:    long,
		Example: "  pyvnode user " + verb + " anna",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(args[0], verb+"d", verb+"d", func(users *accounts.Accounts) error {
				return users.SetDisabled(cmd.Context(), args[0], disabled)
			})
		},
	}
}

func newUserPasswordCmd(a *app) *cobra.Command {
	var password passwordSource
	cmd := &cobra.Command{
		Use:     "password NAME",
		Short:   "Give a user another password",
		Long:    `Gives a user another password, which is asked for twice, or read from the first line of a file.`,
		Example: `  pyvnode user password anna`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(args[0], "password-changed", "changed the password of", func(users *accounts.Accounts) error {
				if _, err := users.User(cmd.Context(), args[0]); err != nil { // before asking for a password
					return err
				}
				secret, err := password.read(cmd.Context(), a)
				if err != nil {
					return err
				}
				return users.SetPassword(cmd.Context(), args[0], secret)
			})
		},
	}
	password.addFlag(cmd.Flags())
	return cmd
}

func newUserEnrolCmd(a *app) *cobra.Command {
	var image string
	var force bool
	cmd := &cobra.Command{
		Use:   "enrol NAME",
		Short: "Make a second factor for a user",
		Long: `Makes the secret of a user's second factor, from which an authenticator application computes a code every 30 seconds.
It prints the secret, as text, as otpauth URI and, on a terminal, as QR code to be scanned. Enrolling again makes a new
secret; codes of the old one are worth nothing from then on.`,
		Example: `  pyvnode user enrol anna
  pyvnode user enrol anna --png anna.png`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(image); image != "" && err == nil && !force {
				return fileExists(image)
			}
			return a.accounts(func(users *accounts.Accounts) error {
				e, err := users.Enrol(cmd.Context(), args[0])
				if err != nil {
					return ofUser(args[0], err)
				}
				if image != "" {
					raw, err := e.PNG()
					if err != nil {
						return err
					}
					if err := store.WriteFileAtomic(image, raw, 0o600); err != nil {
						return fmt.Errorf("the image was not written, but %q has a new secret: %w", e.User(), err)
					}
				}
				return a.printEnrolment(e, image)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	cmd.Flags().StringVar(&image, "png", "", "also write the QR code to this file, as an image that only you can read")
	return cmd
}

func (a *app) printEnrolment(e *accounts.Enrolment, image string) error {
	if a.json() {
		return printJSON(a.stdout, struct {
			Status string `json:"status"`
			Name   string `json:"name"`
			Secret string `json:"secret"`
			URI    string `json:"uri"`
			Image  string `json:"png,omitempty"`
		}{"enrolled", e.User(), e.Secret(), e.URI(), image})
	}
	rows := [][2]string{{"user", printable(e.User())}, {"secret", e.Secret()}, {"uri", e.URI()}}
	if image != "" {
		rows = append(rows, [2]string{"image", image})
	}
	if err := pairs(a.stdout, rows...); err != nil {
		return err
	}
	if isTerminal(a.stdout) {
		modules, err := e.QR()
		if err != nil {
			return err
		}
		if _, err := io.WriteString(a.stdout, "\n"+qrText(modules)); err != nil {
			return err
		}
	}
	a.talk("Show it to this user only, and let him give a code soon: until then, who has his password can fetch it once too.")
	return nil
}

// qrText draws a QR code for a terminal, two rows in each line, dark on light whatever the terminal's colours are.
func qrText(modules [][]bool) string {
	const (
		margin = 4              // modules, which scanners ask for
		begin  = "\x1b[30;107m" // black on bright white (ECMA-48, §8.3.117)
		end    = "\x1b[0m\n"
	)
	dark := func(x, y int) bool { return y >= 0 && y < len(modules) && x >= 0 && x < len(modules) && modules[y][x] }
	var b strings.Builder
	for y := -margin; y < len(modules)+margin; y += 2 {
		b.WriteString(begin)
		for x := -margin; x < len(modules)+margin; x++ {
			switch upper, lower := dark(x, y), dark(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(end)
	}
	return b.String()
}

// passwordSource says where a password comes from.
type passwordSource struct{ file string }

func (p *passwordSource) addFlag(flags *pflag.FlagSet) {
	flags.StringVar(&p.file, "password-file", "", "read the password from this file, which holds nothing else; - is standard input")
}

// read reads the password from the file, or asks for it on the terminal.
func (p *passwordSource) read(ctx context.Context, a *app) (string, error) {
	switch {
	case p.file == "-":
		return readPassword(a.stdin)
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		return readPassword(f)
	case isTerminal(a.stdin):
		return a.askPassword(ctx)
	}
	return "", usageError("there is no terminal to ask for a password on", "give a file that holds it: --password-file FILE, or - for standard input")
}

// readPassword reads a password that is all there is, but for an end of line.
func readPassword(in io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(in, accounts.MaxPassword+6))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	if what, hint := record.ForeignForm(raw); what != "" {
		return "", usageError("where the password should be is "+what, hint)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(record.TrimMark(raw)), "\n"), "\r")
	if len(text) <= accounts.MaxPassword && strings.ContainsAny(text, "\r\n") {
		return "", usageError("there is more than one line where the password should be", "put it into a file by itself")
	}
	return text, nil
}

// askPassword asks twice for a password that is not shown.
func (a *app) askPassword(ctx context.Context) (string, error) {
	first, err := a.ask(ctx, "password: ")
	if err != nil {
		return "", err
	}
	again, err := a.ask(ctx, "the same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", usageError("the two passwords differ; nothing was changed", "try again")
	}
	return first, nil
}

// ask asks for a line that is not shown. An interrupt leaves the terminal as it was.
func (a *app) ask(ctx context.Context, prompt string) (string, error) {
	in, ok := a.stdin.(*os.File)
	if !ok {
		return "", errors.New("standard input is no terminal")
	}
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	_, _ = io.WriteString(a.stderr, prompt)
	defer func() { _, _ = io.WriteString(a.stderr, "\n") }()
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // reading cannot be interrupted; the process ends without it
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	select {
	case got := <-answers:
		if errors.Is(got.err, io.EOF) {
			return "", usageError("no password was given", "")
		}
		return string(got.text), got.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
