// Package node puts the parts of a node together: its settings, its key, the ledger in its data directory, and the ways
// into and out of that ledger. It neither prints nor asks: results are values, progress goes to callbacks, so that the
// command line and the HTTP API can share it.
//
// A data directory holds
//
//	identity.pem    the node's Ed25519 key, which signs its entries; see [CreateIdentity]
//	genesis.json    the genesis document of its network
//	ledger/         the ledger itself, see package store
//	watermark.json  how far the ledger had come when it was last closed
package node
