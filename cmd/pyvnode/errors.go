package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
	"pyvnode/legacy"
	"pyvnode/node"
	"pyvnode/node/accounts"
	"pyvnode/p2p"
)

// Exit codes. They are part of the command line's promise; docs/manual.md lists them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitBad         = 4 // something is not what it claims to be
	exitDisagree    = 5 // nodes disagree
	exitUnreachable = 6
	exitDenied      = 7
)

// failure is an error as the user gets to see it.
type failure struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f *failure) Error() string { return f.Message }

func usageError(message, hint string) error {
	return &failure{Code: exitUsage, Reason: "usage", Message: message, Hint: hint}
}

func helpHint(cmd *cobra.Command) string { return fmt.Sprintf("see: %s --help", cmd.CommandPath()) }

// fail prints an error and returns the exit code.
func (a *app) fail(err error, asJSON bool) int {
	f := explain(err)
	if asJSON {
		_ = printJSON(a.stderr, map[string]*failure{"error": f}) // there is nowhere left to complain
		return f.Code
	}
	_ = printLine(a.stderr, "pyvnode: %s", f.Message)
	if f.Hint != "" {
		_ = printLine(a.stderr, "hint: %s", f.Hint)
	}
	return f.Code
}

// wantsJSON says in which form an error is to be printed. Where the configuration could not be read, the command line
// and the environment tell.
func (a *app) wantsJSON(args []string) bool {
	if a.cfg != nil {
		return a.cfg.Format() == node.FormatJSON
	}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--format="); ok {
			return value == node.FormatJSON
		}
		if arg == "--format" && i+1 < len(args) {
			return args[i+1] == node.FormatJSON
		}
	}
	return slices.Contains(a.environ, node.EnvPrefix+"FORMAT="+node.FormatJSON)
}

// explain is the one place where errors of the packages below become exit codes, reasons and hints.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{Code: exitFailure, Reason: "failure", Message: messageOf(err)}
	set := func(code int, reason, hint string) *failure {
		f.Code, f.Reason, f.Hint = code, reason, hint
		return f
	}
	if f := explainInput(err, set); f != nil {
		return f
	}
	if f := explainNode(err, set); f != nil {
		return f
	}
	if f := explainAccounts(err, set); f != nil {
		return f
	}
	if f := explainRunning(err, set); f != nil {
		return f
	}
	if f := explainStore(err, set); f != nil {
		return f
	}
	if f := explainLegacy(err, set); f != nil {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		f.Message = "interrupted"
		return set(exitFailure, "interrupted", "what was reported as stored is stored; run the same command again to go on")
	case errors.Is(err, fs.ErrPermission):
		return set(exitDenied, "permission", "run as the user who owns the files, or give that user access")
	case errors.Is(err, fs.ErrNotExist):
		return set(exitNotFound, "no-such-file", "")
	}
	return f
}

// emptyError says that there was nothing in what was to be checked or taken: all is well is said of something only. What is
// no ledger, such as a file, should have been one.
func emptyError(code int, where, what string) error {
	return &failure{Code: code, Reason: "empty", Message: fmt.Sprintf("%s: %s", where, what), Hint: "see that it is the right one, and whole"}
}

// messageOf returns the message of an error as one line, also of one that errors.Join made.
func messageOf(err error) string {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || !strings.Contains(err.Error(), "\n") {
		return err.Error()
	}
	var parts, lines []string
	for _, e := range joined.Unwrap() {
		parts, lines = append(parts, messageOf(e)), append(lines, e.Error())
	}
	if strings.Join(lines, "\n") != err.Error() {
		return err.Error()
	}
	return strings.Join(parts, "; ")
}

type setter func(code int, reason, hint string) *failure

// explainInput knows what can be wrong with records and entries.
func explainInput(err error, set setter) *failure {
	var (
		input   *node.InputError
		bad     *record.Error
		invalid *ledger.InvalidError
	)
	switch {
	case errors.As(err, &input):
		code := exitBad
		switch input.Reason {
		case node.KindMissing, node.KindMismatch, node.BadKind:
			code = exitUsage
		}
		return set(code, string(input.Reason), input.Hint)
	case errors.As(err, &bad):
		return set(exitBad, string(bad.Reason), recordHint(bad.Reason))
	case errors.As(err, &invalid):
		return set(exitBad, string(invalid.Reason), "get the file again, or ask its sender; what came before it is kept")
	case errors.Is(err, ledger.ErrEntryFile), errors.Is(err, legacy.ErrChainFile):
		return set(exitBad, "damaged-file", "get the file again; what came before the damage is kept")
	}
	return nil
}

func recordHint(reason record.Reason) string {
	switch reason {
	case record.WeakProof:
		return "make the record with the strength that this network asks for: pyvnode mint --strength N"
	case record.HashMismatch, record.ProofMismatch, record.LinkMismatch, record.MissingHash, record.MissingProof:
		return "the record was changed after it was made, or is not whole; ask its author for it again"
	}
	return ""
}

// explainNode knows what can be wrong with configuration, key and data directory.
func explainNode(err error, set setter) *failure {
	var (
		config     *node.ConfigError
		permission *store.PermissionError
		identity   *node.IdentityError
		notMember  *node.NotMemberError
		needsNode  *node.NeedsNodeError
		private    *node.PrivateKindError
		genesis    *node.GenesisError
		noLedger   *node.NoLedgerError
	)
	switch {
	case errors.As(err, &noLedger):
		return set(exitNotFound, "no-ledger", "make one with: pyvnode init, or name its directory with --data")
	case errors.As(err, &config):
		return set(exitUsage, "bad-config", config.Hint)
	case errors.As(err, &permission):
		return set(exitDenied, "permissions-too-wide", "chmod 600 "+permission.Path)
	case errors.As(err, &identity):
		return set(exitBad, "bad-identity", "put the node's own key back from a backup; reading needs no key")
	case errors.Is(err, node.ErrNoIdentity):
		return set(exitDenied, "no-identity", "put the node's key back from a backup, or make a new one: pyvnode identity --create")
	case errors.As(err, &notMember):
		return set(exitDenied, "not-a-member", "only members that the genesis document lists may write; reading and checking are open to all")
	case errors.As(err, &needsNode):
		return set(exitDenied, "needs-node", "start the node: pyvnode run; or give --alone, if this directory is the only and newest copy")
	case errors.As(err, &private):
		return set(exitDenied, "private-kind", "a private kind holds what must not be public, such as voters' names; choose another kind")
	case errors.As(err, &genesis):
		return set(exitUsage, "bad-genesis", "")
	}
	return nil
}

// explainAccounts knows what can be wrong with users.
func explainAccounts(err error, set setter) *failure {
	var file *accounts.FileError
	switch {
	case errors.As(err, &file):
		return set(exitBad, "bad-accounts", "put a sound copy of it back, or move it away and add the users again")
	case errors.Is(err, accounts.ErrNoUser):
		return set(exitNotFound, "no-such-user", "see: pyvnode user list")
	case errors.Is(err, accounts.ErrUserExists):
		return set(exitFailure, "user-exists", "to give a user another password: pyvnode user password NAME")
	case errors.Is(err, accounts.ErrUserName):
		return set(exitUsage, "bad-user-name", "")
	case errors.Is(err, accounts.ErrPassword):
		return set(exitUsage, "bad-password", "")
	case errors.Is(err, accounts.ErrFlags), errors.Is(err, accounts.ErrNoSecondFactor):
		return set(exitUsage, "user-kind", "see: pyvnode user --help")
	case errors.Is(err, accounts.ErrInitialUser):
		return set(exitDenied, "initial-user", "forbid this user to log in instead: pyvnode user disable NAME")
	case errors.Is(err, accounts.ErrTooMany):
		return set(exitFailure, "too-many-users", "delete users who are needed no more")
	}
	return nil
}

// explainRunning knows what can be wrong with a node that runs, with its network and with peers.
func explainRunning(err error, set setter) *failure {
	var (
		notRunning  *node.NotRunningError
		noAccess    *node.NoAccessError
		sameKey     *node.SameKeyError
		listen      *node.ListenError
		notReady    *p2p.NotReadyError
		unreachable *p2p.UnreachableError
		side        *node.SideError
		level       *node.LevelError
		wrong       *node.WrongGenesisError
		fetched     *node.FetchedGenesisError
	)
	switch {
	case errors.As(err, &noAccess):
		return set(exitDenied, "permission", "run this as the user who runs the node, or who owns the directory")
	case errors.As(err, &sameKey):
		return set(exitDisagree, "same-key", "two nodes with one key sign two histories; stop the other one, or give this one a key of its own: another directory, and pyvnode identity --create")
	case errors.As(err, &listen):
		return explainListening(listen, set)
	case errors.As(err, &notRunning):
		return set(exitUnreachable, "not-running", "start one with: pyvnode run --data "+notRunning.Data)
	case errors.As(err, &unreachable):
		return set(exitUnreachable, "unreachable", "check its address, and that a node runs there: its \"pyvnode status\" says where it listens")
	case errors.As(err, &wrong):
		return set(exitBad, string(ledger.ReasonNetwork), "check the hash with whoever gave it to you; this is another network, and others may write in it")
	case errors.As(err, &fetched):
		return set(exitBad, "bad-genesis", "ask another node, or get the document as a file: pyvnode network join FILE")
	case errors.As(err, &notReady):
		return explainSigning(notReady, set)
	case errors.As(err, &side):
		return set(exitBad, "contradiction", "it says one thing and gives another; audit it")
	case errors.As(err, &level):
		return set(exitUsage, "usage", "see: pyvnode loglevel --help")
	case errors.Is(err, node.ErrBusy):
		return set(exitFailure, "busy", "try again in a moment")
	case errors.Is(err, node.ErrStopping):
		return set(exitFailure, "stopping", "what was reported as stored is stored; start the node again and repeat the command")
	case errors.Is(err, node.ErrConnectionLost):
		return set(exitFailure, "connection-lost", "see what became of the node, then run the command again: records that are stored already are recognised")
	}
	return nil
}

// explainListening says which flag moves a listener.
func explainListening(e *node.ListenError, set setter) *failure {
	flag := node.Setting{Name: e.Setting}.Flag()
	other := fmt.Sprintf("choose another port with --%s, or port 0 for any free one", flag)
	if e.Setting == node.SettingLegacyListen {
		other += "; --" + flag + " off serves no original clients"
	}
	switch {
	case errors.Is(e, syscall.EADDRINUSE), strings.Contains(e.Error(), "address already in use"): // libp2p does not wrap it
		return set(exitFailure, "address-in-use", "another program listens there, perhaps another node: "+other)
	case errors.Is(e, fs.ErrPermission):
		return set(exitDenied, "permission", "ports below 1024 are for programs with special rights: "+other)
	}
	return set(exitFailure, "no-such-address", fmt.Sprintf("give an address of this machine with --%s", flag))
}

// explainSigning says what to do about a node that does not write.
func explainSigning(e *p2p.NotReadyError, set setter) *failure {
	switch e.State {
	case p2p.SigningNever:
		return set(exitDenied, "not-a-member", "only members that the genesis document lists may write; reading and checking are open to all")
	case p2p.SigningStopped:
		return set(exitDisagree, "own-log-forked", "find out who else has this node's key, before anything else; see: pyvnode status")
	}
	return set(exitFailure, "not-ready", "see: pyvnode status; the node writes when its peers have said how far its log goes")
}

// explainStore knows what can happen to a ledger on disk.
func explainStore(err error, set setter) *failure {
	var (
		duplicate *store.DuplicateError
		conflict  *store.ConflictError
		missing   *store.MissingError
		fork      *store.ForkError
		frozen    *store.FrozenError
		damage    *store.DamageError
		rollback  *store.RollbackError
		lost      *store.LostEvidenceError
		log       *store.LogDamageError
		file      *store.FileDamageError
	)
	switch {
	case errors.As(err, &log):
		return set(exitBad, "damaged-ledger", "keep a copy as it is; what is intact can be read, checked and exported. Then make a new data directory with this node's "+
			node.IdentityFile+", join the network there, import the export, and let other nodes bring the rest")
	case errors.As(err, &file):
		return set(exitBad, "damaged-file", damagedFileHint(filepath.Base(file.Path)))
	case errors.As(err, &duplicate):
		return set(exitFailure, "duplicate", fmt.Sprintf("nothing to do; see it with: pyvnode get %v", duplicate.Ref))
	case errors.As(err, &conflict):
		return set(exitFailure, "header-conflict", fmt.Sprintf("see the other record with: pyvnode get %v", conflict.Ref))
	case errors.As(err, &fork):
		return set(exitBad, "fork", "keep both files: together they prove that this origin signed two histories")
	case errors.As(err, &frozen):
		return set(exitDisagree, "frozen-log", "see what that origin signed: pyvnode evidence list")
	case errors.As(err, &missing):
		return set(exitBad, "missing-entry", "import a file that holds the missing entry first, or let a running node fetch it from others")
	case errors.As(err, &rollback):
		return set(exitBad, "rollback", "do not write with this directory; put the newest copy back, or import the missing entries from another node into a new one")
	case errors.As(err, &lost):
		return set(exitBad, "lost-evidence", "put the newest copy of the data directory back; or make a new one with this node's "+node.IdentityFile+
			", join the network there, and import an export or let other nodes bring the ledger: they have the evidence")
	case errors.As(err, &damage):
		return set(exitBad, "damaged-ledger", "see the extent with: pyvnode audit; other nodes and exports have the entries")
	case errors.Is(err, store.ErrLedgerExists):
		return set(exitFailure, "ledger-exists", "a ledger is never overwritten; name another directory with --data. To connect to more nodes, list them in its "+node.BootstrapFile)
	case errors.Is(err, store.ErrNoDatabase):
		return set(exitBad, "lost-ledger", "put the newest copy of the data directory back, or start anew in another one and import an export")
	case errors.Is(err, store.ErrLocked):
		return set(exitDenied, "locked", "end the other pyvnode that uses this directory, or wait for it")
	case errors.Is(err, store.ErrOtherNetwork):
		return set(exitBad, string(ledger.ReasonNetwork), "networks never mix; use the data directory of the right one")
	case errors.Is(err, store.ErrNotFound):
		return set(exitNotFound, "not-found", "")
	case errors.Is(err, store.ErrReadOnly):
		return set(exitDenied, "read-only", "")
	case errors.Is(err, store.ErrFailed):
		return set(exitFailure, "write-failed", "make room where the disk is full, see to it where it is damaged, and start the node again where one runs. "+
			"Then run the command again: what was reported as stored is stored, and recognised")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return set(exitFailure, "disk-full", "make room, then run the same again; what was reported as stored is stored")
	case errors.Is(err, syscall.EROFS):
		return set(exitDenied, "read-only", "what only reads works there: audit, list, get, log, frontier, export, evidence list")
	}
	return nil
}

// flagError says what is wrong with a flag, and not how a library of Go says it.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		wants := map[string]string{
			"int": "a whole number", "uint64": "a whole number that is not negative", "bool": "true or false", "duration": "a duration, such as 30s or 5m",
		}
		if want := wants[f.Value.Type()]; want != "" {
			return usageError(fmt.Sprintf("--%s: %q is not allowed: want %s", f.Name, invalid.GetValue(), want), helpHint(cmd))
		}
		return usageError(fmt.Sprintf("--%s: %q is not allowed: %v", f.Name, invalid.GetValue(), errors.Unwrap(invalid)), helpHint(cmd))
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		best, at := 3, ""
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if d := node.Distance(unknown.GetSpecifiedName(), f.Name); d < best {
				best, at = d, f.Name
			}
		})
		if at != "" {
			return usageError(err.Error(), fmt.Sprintf("did you mean --%s? See: %s --help", at, cmd.CommandPath()))
		}
	}
	return usageError(err.Error(), helpHint(cmd))
}

// damagedFileHint says what to do about a damaged file of the data directory.
func damagedFileHint(name string) string {
	switch name {
	case store.GenesisFile:
		return "put it back exactly as it was, from another member or a backup; the ledger has it too: pyvnode network show --document"
	case store.WatermarkFile, store.AcknowledgedFile:
		return "run: pyvnode audit. Where it finds nothing else, and there is no newer copy of this directory, move the file away; a new one is made"
	case node.APIFile:
		return "where no node runs on this directory, remove it"
	}
	return "put a sound copy of it back"
}

// subcommandOnly refuses arguments of a command that only has subcommands.
func subcommandOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := helpHint(cmd)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		slices.SortStableFunc(near, func(x, y string) int { return cmp.Compare(node.Distance(args[0], x), node.Distance(args[0], y)) })
		hint = fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
	}
	return usageError(fmt.Sprintf("unknown command %q for %s", args[0], cmd.CommandPath()), hint)
}

// arguments wraps a cobra check of arguments so that its errors are usage errors.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) != nil {
			return usageError(fmt.Sprintf("wrong number of arguments: %d", len(args)), "it is called like this: "+cmd.UseLine())
		}
		return nil
	}
}
