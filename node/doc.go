// Package node puts the parts of a node together: its settings, its key, the ledger in its data
// directory, the ways into and out of that ledger, and its life while it runs. It neither prints
// nor asks: results are values, and progress goes to callbacks, so that the command line and the
// HTTP API can share it.
//
// A [Node] is a ledger that is open. A [Running] node is part of its network besides. A [Client]
// speaks to a node that another process runs.
//
// A data directory holds
//
//	identity.pem    the node's Ed25519 key, which signs its entries; see [CreateIdentity]
//	genesis.json    the genesis document of its network
//	ledger/         the ledger itself, see package store
//	watermark.json  how far the ledger had come when it was last closed
//	bootstrap.json  nodes to connect to; see [ReadPeers]
//	peers.json      nodes that were met, see package p2p
//	accounts.json   who may log in; see package accounts
//	journal.jsonl   what was done in the party's name; see package journal
//	legacy/         what the original's clients have on the server; see package legacy
//	api.sock        while a node runs: how other processes reach it; see [Client]
//
// # One process at a time
//
// The ledger belongs to the process that has locked it. While a node runs ([Run]), that is the
// node. Others read through a snapshot that it holds for them ([OpenForReading] does so by itself).
// So all that reads a ledger works in the same way on a directory and beside a node, and sees one
// moment of it. What they store goes through the node ([Client.Writer]), by way of its part in the
// network, which knows whether it may sign.
//
// # Files
//
//	node.go, running.go                   opening a ledger; running a node
//	config.go, levels.go                  the table of settings, and log levels
//	identity.go, peers.go, users.go       the key, the list of peers, the users
//	input.go, writing.go                  records on their way in, and what became of each
//	listing.go, finding.go                listing records, and finding one
//	importing.go, exporting.go            whole files in and out; disputes.go serves imports
//	entryfile.go, filereading.go          a ledger in an entry file, compared or read like another
//	comparing.go                          how two ledgers differ
//	api.go, apierror.go, remote.go        the local API of a node that runs: requests, errors, snapshots
//	client.go, endpoint.go, prove.go      the other side of it, and how the two find and know each other
//	legacy.go                             the server for the original's clients, over this ledger
//	legacyimport.go, legacyexport.go      taking over an original data directory, and writing one
//	metrics.go, bench.go                  measuring
package node
