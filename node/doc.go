// Package node puts the parts of a node together: its settings, its key, the ledger in its data directory, the ways into
// and out of that ledger, and its life while it runs. It neither prints nor asks: results are values, progress goes to
// callbacks, so that the command line and the HTTP API can share it.
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
//	api.sock        while a node runs: how other processes reach it; see [Client]
//
// # One process at a time
//
// The ledger belongs to the process that has locked it. While a node runs ([Run]), that is the node. Others read through a
// snapshot that it holds for them ([OpenForReading] does so by itself), so all that reads a ledger works in the same way on
// a directory and beside a node, and sees one moment of it. What they store goes through the node ([Client.Writer]), by way
// of its part in the network, which knows whether it may sign.
package node
