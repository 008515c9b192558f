package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"pyvnode/ledger/record"
	"pyvnode/legacy/client"
	"pyvnode/node/accounts"
)

// serverLogin says who logs in at a server of the original protocol, and which files hold the secrets. Secrets are never
// arguments.
type serverLogin struct {
	side     string // "source " or "target ", for people, where there are two servers
	user     string
	password string // file; - is standard input
	code     string // file; - is standard input
}

// addFlags adds --user, --password-file and --code-file, with the side in front where there are two.
func (l *serverLogin) addFlags(flags *pflag.FlagSet, side string) {
	at := ""
	if side != "" {
		l.side, at = side+" ", " at the "+side
	}
	flags.StringVar(&l.user, l.flag("user"), "", "log in as this user"+at)
	flags.StringVar(&l.password, l.flag("password-file"), "", "read the password"+at+" from this file, which holds nothing else; - is standard input")
	flags.StringVar(&l.code, l.flag("code-file"), "", "read the code of the second factor"+at+" from this file; - is standard input")
}

func (l *serverLogin) flag(name string) string { return strings.ReplaceAll(l.side, " ", "-") + name }

// logIn sends the password and, where the server wants one and there is one, the code; askCode says whether a person is
// asked for it.
func (a *app) logIn(ctx context.Context, conn *client.Conn, stdin *bufio.Reader, l serverLogin, askCode bool) error {
	password, err := a.secret(ctx, stdin, l.password, fmt.Sprintf("%spassword of %s: ", l.side, printable(l.user)), "--"+l.flag("password-file"))
	if err != nil {
		return err
	}
	if err := conn.Login(ctx, l.user, password); err != nil {
		return err
	}
	mode, err := conn.Do(ctx, "dmode")
	if err != nil {
		return err
	}
	production := len(client.Items(mode)) > 1 && record.PythonStr(client.Items(mode)[1]) == "0"
	if !production || l.code == "" && !(askCode && isTerminal(a.stdin)) {
		return nil // no code is needed, or there is none: much works without
	}
	code, err := a.secret(ctx, stdin, l.code, l.side+"code of the second factor (none: some commands will not work): ", "--"+l.flag("code-file"))
	if err != nil || code == "" {
		return err
	}
	_, err = conn.Do(ctx, "twofa", client.Secret(code))
	return err
}

// secret reads a secret from a file, or asks for it.
func (a *app) secret(ctx context.Context, stdin *bufio.Reader, file, prompt, flag string) (secret string, err error) {
	switch {
	case file == "-":
		secret, err = readPassword(stdin)
	case file != "":
		err = withFile(file, func(f *os.File) (err error) {
			secret, err = readPassword(f)
			return err
		})
	case isTerminal(a.stdin):
		return a.ask(ctx, prompt)
	default:
		return "", usageError("there is no terminal to ask on: "+strings.TrimSuffix(prompt, ": "), fmt.Sprintf("give a file that holds it: %s FILE, or - for standard input", flag))
	}
	if err == nil && len(secret) > accounts.MaxPassword {
		return "", usageError(fmt.Sprintf("what %s names is longer than %d bytes", flag, accounts.MaxPassword), "put the secret into a file by itself")
	}
	return secret, err
}
