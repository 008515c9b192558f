package legacy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"pyvnode/ledger/record"
)

// need says what a session must have shown before a command (docs/original-protocol.md §5: states 0, 5 and 6).
type need int

const (
	needNothing  need = iota
	needPassword      // state 5
	needProof         // state 6 in production mode, 5 in development mode
)

// command is a row of the table from which help, the checks before a command and the way to its handler come.
type command struct {
	name   string
	usage  string // its arguments, for help
	help   string
	needs  need
	params []param
	// notAdmin is the reply to users who are not administrators. It is nil if all users may.
	notAdmin record.Value
	// replicator says that accounts of other servers may use the command.
	replicator bool
	run        func(*session, context.Context, request) reply
}

// param is an argument that a command must have.
type param struct {
	missing string // what the reply says when it is not there; empty means that the handler sees to it
	any     bool   // it need not be text
}

// commands is the table, in the order in which `help` lists it. It is filled at start because `help` is in it.
var commands []command

var commandByName = map[string]*command{}

func init() {
	const (
		kind   = "Must specify blockchain kind."
		header = "Must specify data header."
		file   = "Must specify file name."
		folder = "Must specify directory name."
		from   = "Must specify starting point."
		to     = "Must specify ending point."
	)
	text := func(missing ...string) (p []param) {
		for _, m := range missing {
			p = append(p, param{missing: m})
		}
		return p
	}
	admin := func(text, name string) record.Value { return list("ERR", text, name) }
	adminTuple := func(text, name string) record.Value { return record.Tuple(list("ERR", text, name)) }

	commands = []command{
		{name: "ver", help: "version of the protocol, ID of the site and of the connection", replicator: true, run: (*session).ver},
		{name: "id", help: "ID of the site and of the connection", replicator: true, run: (*session).siteID},
		{name: "hello", help: "Say Hello - test connectivity.", replicator: true, run: (*session).hello},
		{name: "helo", help: "the same as hello", replicator: true, run: (*session).hello},
		{name: "quit", help: "end the connection", replicator: true, run: (*session).quit},
		{name: "exit", help: "the same as quit", replicator: true, run: (*session).quit},
		{name: "help", usage: "[command]", help: "list the commands, or explain one", replicator: true, run: (*session).help},
		{name: "akey", help: "get a public key of the server, to send a session key with", replicator: true, run: (*session).akey},
		{name: "uini", usage: "user password", help: "make the first user, from this machine only", run: (*session).uini},
		{name: "user", usage: "name", help: "begin to log in", replicator: true, params: text("Must specify user name."), run: (*session).user},
		{name: "pass", usage: "password", help: "log in as the user that was named before", replicator: true, run: (*session).pass},
		{name: "logout", help: "log out and keep the connection", needs: needPassword, replicator: true, run: (*session).logout},
		{name: "sess", usage: "hash-of-key hash-of-message message", help: "encrypt everything that follows with the key in the message",
			replicator: true, run: (*session).sess},
		{name: "tout", usage: "[seconds]", help: "show or set how long the connection may be idle", replicator: true, run: (*session).tout},
		{name: "qr", usage: "[image]", help: "show your secret for the second factor as an image, or set the site's image", replicator: true, run: (*session).qr},
		{name: "chpass", usage: "user old-password new-password", help: "change a password", needs: needPassword,
			params: text("Must specify user to change.", "Must specify old_pass.", "Must specify new_pass."), run: (*session).chpass},
		{name: "file", usage: "name", help: "begin to write a new file with data", needs: needPassword, params: text(file), run: (*session).file},
		{name: "mkdir", usage: "name", help: "make a directory", needs: needPassword, params: text(folder), run: (*session).mkdir},
		{name: "rmdir", usage: "name", help: "remove an empty directory", needs: needPassword, params: text(folder), run: (*session).rmdir},
		{name: "data", usage: "offset bytes", help: "write to the file that file began; no bytes end it", needs: needPassword, run: (*session).data},
		{name: "fget", usage: "name", help: "download a file", needs: needPassword, params: text(file), run: (*session).fget},
		{name: "fput", usage: "name", help: "upload a file; an earlier one is kept as name_0, name_1 and name_2", needs: needPassword,
			params: text(file), run: (*session).fput},
		{name: "del", usage: "name", help: "delete a file", needs: needPassword, params: text("Must specify file name to delete."), run: (*session).del},
		{name: "uadd", usage: "user password", help: "make a user", needs: needPassword, notAdmin: admin("Only admin can add/delete users", "uadd"),
			run: (*session).uadd},
		{name: "udel", usage: "user", help: "delete a user", needs: needPassword, notAdmin: adminTuple("Only admin can add/delete users", "udel"),
			params: text("Must specify user name to delete"), run: (*session).udel},
		{name: "uena", usage: "user enable|disable", help: "let a user in, or lock one out", needs: needPassword,
			notAdmin: adminTuple("only admin can modify users.", "uena"), run: (*session).uena},
		{name: "ulist", usage: "user|admin|initial|disabled|replicator", help: "list users", needs: needPassword,
			notAdmin: adminTuple("only admin can view users.", "ulist"), run: (*session).ulist},
		{name: "aadd", usage: "user password", help: "make an administrator", needs: needPassword,
			notAdmin: admin("only admin can add/delete users.", "aadd"), run: (*session).aadd},
		{name: "ls", usage: "[directory]", help: "list files", needs: needPassword, run: (*session).ls},
		{name: "dir", usage: "[directory]", help: "the same as ls", needs: needPassword, run: (*session).ls},
		{name: "lsd", usage: "[directory]", help: "list directories", needs: needPassword, run: (*session).lsd},
		{name: "cd", usage: "directory", help: "change the directory that names are looked up in", needs: needPassword,
			params: text("Directory name cannot be empty."), run: (*session).cd},
		{name: "pwd", help: "show that directory", needs: needPassword, run: (*session).pwd},
		{name: "stat", usage: "name", help: "show what is known of a file, see help fields", needs: needPassword, params: text(file), run: (*session).stat},
		{name: "buff", usage: "bytes", help: "set the length of the frames of a download", needs: needPassword,
			params: []param{{missing: "Must specify buffer size.", any: true}}, run: (*session).buff},
		{name: "throt", usage: "[on|off]", help: "show or set whether addresses that connect often wait", needs: needPassword, run: (*session).throt},
		{name: "twofa", usage: "code", help: "show that you have the second factor", needs: needPassword,
			params: []param{{missing: "Must pass 2fa code.", any: true}}, run: (*session).twofa},
		{name: "dmode", help: "1 in development mode, 0 in production mode", replicator: true, run: (*session).dmode},
		{name: "ihost", usage: "add|del|list [host:port]", help: "manage the hosts that records are sent on to",
			params: text("Must specify operation (add / remove)."), run: (*session).ihost},
		{name: "rlist", usage: "kind from to", help: "list record headers between two times", needs: needPassword, replicator: true,
			params: []param{{missing: kind}, {missing: from, any: true}, {missing: to, any: true}}, run: (*session).rlist},
		{name: "rcount", usage: "kind from to", help: "count records between two times", needs: needPassword, replicator: true,
			params: []param{{missing: kind}, {missing: from, any: true}, {missing: to, any: true}}, run: (*session).rcount},
		{name: "rsize", usage: "kind", help: "count the records of a kind", needs: needPassword, replicator: true, params: text(kind), run: (*session).rsize},
		{name: "rget", usage: "kind header|headers", help: "get records by their headers", needs: needPassword, replicator: true,
			params: []param{{missing: kind}, {missing: header, any: true}}, run: (*session).rget},
		{name: "rabs", usage: "kind position...", help: "get records by their positions, from 0; -1 is the last", needs: needPassword,
			params: []param{{missing: kind}, {missing: "Must specify absolute position.", any: true}}, run: (*session).rabs},
		{name: "rhave", usage: "kind header", help: "ask whether a record is here", needs: needPassword, replicator: true,
			params: []param{{missing: kind}, {missing: header, any: true}}, run: (*session).rhave},
		{name: "rput", usage: "kind record", help: "put a record into the ledger", needs: needProof, replicator: true,
			params: []param{{missing: "Must specify blockchain kind and data."}, {missing: "Must specify blockchain kind and data.", any: true}},
			run:    (*session).rput},
		{name: "rcheck", usage: "kind hash|proof|data", help: "check all records of a kind", needs: needProof,
			notAdmin: admin("Only admin can check integrity", "rcheck"),
			params:   []param{{missing: "Must specify blockchain kind"}, {missing: "Must specify link or sum", any: true}}, run: (*session).rcheck},
	}
	for i := range commands {
		commandByName[commands[i].name] = &commands[i]
	}
}

// handle answers one decoded message. It reads and changes the session and what the session refers
// to. The connection is left to what it returns.
func (s *session) handle(ctx context.Context, message record.Value) (r reply) {
	in, isCommand := parseRequest(message)
	if !isCommand {
		return failed("a request is a list that begins with the name of a command")
	}
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("a command ended in a panic; the connection goes on", "command", in.name, "panic", cause, "stack", string(debug.Stack()))
			r = failed(internalError)
		}
	}()
	c := commandByName[in.name]
	if c == nil {
		return refuse("Invalid command issued", in.name)
	}
	if err := s.refresh(ctx); err != nil {
		return s.internal("accounts", err)
	}
	if !s.may(c.needs) {
		return refuse("Out of Sequence command issued", in.name)
	}
	if s.state >= statePassword && s.account.Is(Replicator) && !c.replicator {
		return refuse("Accounts of replicators cannot use this command.", in.name)
	}
	if c.notAdmin != nil && !s.account.Is(Administrator) {
		return reply{value: c.notAdmin}
	}
	for i, p := range c.params {
		if !in.has(i) {
			return refuse(p.missing, in.name)
		}
		if _, isText := in.args[i].(record.Text); !isText && !p.any {
			return failed(fmt.Sprintf("argument %d of %s must be text", i+1, in.name))
		}
	}
	by := Requester{From: s.from}
	if s.state >= statePassword {
		by.User = s.account
	}
	return c.run(s, WithRequester(ctx, by), in)
}

// refresh looks the user up again. So a user who is deleted, disabled or otherwise changed is out
// at once, and rights that are taken away are gone. A session is one of its user as he was when he
// logged in: not of somebody who has his name since, nor of a thief of the password from before.
func (s *session) refresh(ctx context.Context) error {
	if s.state < statePassword {
		return nil
	}
	account, err := s.same(ctx)
	if errors.Is(err, ErrNoUser) {
		s.log.Info("logged out, because the user was changed", "user", s.account.Name)
		s.forget()
		return nil
	}
	if err != nil {
		return err
	}
	s.account = account
	return nil
}

// same returns the user as he is now, or [ErrNoUser] if he is not the one any more who logged in.
func (s *session) same(ctx context.Context) (User, error) {
	account, err := s.server.accounts.User(ctx, s.account.Name)
	if err == nil && (account.Is(Disabled) || account.Generation != s.account.Generation) {
		err = ErrNoUser
	}
	return account, err
}

// may reports whether the session has shown what a command needs.
func (s *session) may(n need) bool {
	switch n {
	case needPassword:
		return s.state >= statePassword
	case needProof:
		// A replicator has no second factor; what it may do is in the table.
		return s.state >= stateProven || s.state >= statePassword && (!s.server.options.Production || s.account.Is(Replicator))
	}
	return true
}

// help lists the commands or explains one.
func (s *session) help(_ context.Context, in request) reply {
	if !in.has(0) {
		names := record.List{record.Text("OK")}
		for _, c := range commands {
			names = append(names, record.Text(c.name))
		}
		return reply{value: append(names, record.Text("fields"))}
	}
	topic := in.text(0)
	if topic == "fields" {
		return ok(statFields)
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == topic })
	if i < 0 {
		return refuse("No such command", in.args[0])
	}
	c := commands[i]
	usage := c.name
	if c.usage != "" {
		usage += " " + c.usage
	}
	return ok("Usage: " + usage + " -- " + c.help)
}

// statFields explains the reply of `stat`. Clients show it; its text is that of the original.
const statFields = `
    stat fields2:
       1.  ST_MODE Inode protection mode.
       2.  ST_INO Inode number.
       3.  ST_DEV Device inode resides on.
       4.  ST_NLINK  Number of links to the inode.
       5.  ST_UID User id of the owner.
       6.  ST_GID Group id of the owner.
       7.  ST_SIZE Size in bytes of a plain file.
       8.  ST_ATIME Time of last access.
       9.  ST_MTIME Time of last modification.
       10. ST_CTIME Time of last metadata change.
    `
