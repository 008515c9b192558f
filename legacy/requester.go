package legacy

import (
	"context"
	"net/netip"
)

// Requester is the client for whom a command is executed.
type Requester struct {
	User User // without a name before the login
	From netip.Addr
}

type requesterKey struct{}

// WithRequester returns a context for what is done for a client.
func WithRequester(ctx context.Context, c Requester) context.Context {
	return context.WithValue(ctx, requesterKey{}, c)
}

// RequesterOf returns the client for whom the server asks something of a [Ledger] or of [Accounts]. Every command's context says
// so; ok is false for everything else, such as records that are fetched from an original server.
func RequesterOf(ctx context.Context) (c Requester, ok bool) {
	c, ok = ctx.Value(requesterKey{}).(Requester)
	return c, ok
}
