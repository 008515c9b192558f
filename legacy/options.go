package legacy

import (
	"log/slog"
	"time"
)

// DefaultAddress has the port on which the original server listens and its clients look for it. It
// is on loopback, because the protocol's encryption is weak.
const DefaultAddress = "127.0.0.1:6666"

// Version is what the server calls itself, in the greeting and in `ver`: the version of the protocol.
const Version = "1.2.0"

// DefaultTimeout is how long a connection may be idle unless `tout` sets another time.
const DefaultTimeout = 20 * time.Second

// Options configure [Start].
type Options struct {
	// Address to listen on, "host:port"; empty means [DefaultAddress]. Port 0 takes a free one.
	Address string
	// Dir is the adapter's directory, the data root: the users' files (payload/<user>), the key pool, the site's ID, its QR
	// image and the list of replication hosts. It is made if it is missing.
	Dir string
	// Production asks for the second factor before `rput` and `rcheck`. Without it the server is in development mode, the
	// original's default, and warns.
	Production bool
	// Timeout is how long a connection may be idle; 0 means [DefaultTimeout].
	Timeout time.Duration
	// ThrottleOff leaves out the delay of the greeting for addresses that connect often. Administrators can change it.
	ThrottleOff bool
	// UiniOff refuses `uini`: the first user is made by the operator. A tunnel makes everybody a client of this machine.
	UiniOff bool
	// ReplicationOff refuses hosts to replicate to.
	ReplicationOff bool
	Limits         Limits
	// Logger receives what the operator should know; nil discards it.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Address, DefaultAddress)
	setDefault(&o.Timeout, DefaultTimeout)
	o.Limits = o.Limits.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
