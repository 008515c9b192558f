// Package p2p connects the nodes of a network: it carries entries and evidence from node to node
// until all hold the same.
//
// # Gossip is a hint, sync is the truth
//
// A new entry is published on the network's GossipSub topic at once and reaches every node in a few
// hops. Whatever gossip loses, or brings before its predecessors, is fetched by comparing frontiers
// with neighbours ("I have / you have") on the stream protocol /pyvnode/sync/1. Replication links
// push to configured peers besides, and count hops.
//
// Every peer is taken to be hostile. Messages are bounded before they are read. Entries are checked
// before they are kept or passed on. A peer that sends what is provably wrong is dropped. What a
// peer says of a third party counts only if that party signed it.
//
// A node does not fork its own log by accident: before its first signature after a start it asks
// others for the newest entry of its own that they hold.
//
// # Files
//
//	network.go                    joining and leaving, and writing to this node's log
//	options.go, status.go         what a caller sets, and what it can see; received.go counts arrivals
//	host.go, discovery.go         the libp2p host, and finding peers; reach.go remembers failed dials
//	gossip.go, link.go            the two ways by which entries come unasked; score.go tunes gossip
//	intake.go                     the steps that both ways take; limiter.go and parked.go serve it
//	neighbour.go                  comparing with one peer; session.go is the stream on which a node asks
//	bisect.go, pull.go, cited.go  finding a fork, fetching what is missing, fetching disputed entries
//	turns.go                      which peers are pulled from now
//	serve.go                      answering; view.go and history.go are what is answered from
//	wire.go                       the frames of the sync protocol
//	evidence.go                   making evidence of what peers show
//	signing.go                    whether this node may sign yet
//	genesis.go, client.go         asking a node for the genesis document, or what it holds
//	limits.go                     every bound on what peers can make a node hold, send or do
package p2p
