package node

import (
	"pyvnode/node/accounts"
)

// OpenAccounts opens the users of a data directory that holds a ledger, whether or not a node runs on it. What
// authenticator applications show with a user's name is the network's name.
func OpenAccounts(o Options) (*accounts.Accounts, error) {
	g, err := OwnGenesis(o.Data)
	if err != nil {
		return nil, err
	}
	return accounts.Open(o.Data, accounts.Options{Issuer: g.Name, Logger: o.Logger})
}
