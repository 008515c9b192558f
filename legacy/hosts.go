package legacy

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"pyvnode/ledger/record"
)

// ihost manages the list of hosts that records are sent on to (docs/original-protocol.md §8).
func (s *session) ihost(_ context.Context, in request) reply {
	if s.state < statePassword || !s.account.Is(Administrator) {
		return refuse("Only admin can control / view ihosts")
	}
	if in.text(0) == "list" {
		return ok(s.server.site.hosts())
	}
	if !in.has(1) {
		return refuse("Must specify host:port.", in.name)
	}
	host := in.text(1)
	var err error
	var done string
	switch in.text(0) {
	case "add":
		if !IsHost(host) {
			return refuse("Entry must be in host:port format.", in.args[1])
		}
		if s.server.options.ReplicationOff {
			return refuse("Replication is off on this server.", host)
		}
		done = "Added replication host:port."
		err = s.server.site.addHost(host)
	case "del":
		done = "Deleted replication host:port."
		err = s.server.site.deleteHost(host)
	default:
		return refuse("Operation must be 'add', 'del or list'.", in.args[1])
	}
	switch {
	case errors.Is(err, errDuplicateHost):
		return refuse("Duplicate entry.", host)
	case errors.Is(err, errNoHost):
		return refuse("Cannot delete, entry not found.", host)
	case errors.Is(err, errManyHosts):
		return refuse("Too many entries, delete one first.", host)
	case err != nil:
		return s.internal("replication hosts", err)
	}
	s.log.Info(done, "host", host, "by", s.account.Name)
	return ok(done, record.Text(host))
}

// IsHost reports whether text is a host and a port, as the list of hosts to replicate to has them.
func IsHost(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || len(text) > maxHost || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
