// Package p2p connects the nodes of a network: it carries entries and evidence from node to node
// until all hold the same.
//
// Gossip is a hint, sync is the truth. A new entry is published on the network's GossipSub topic at
// once and reaches every node in a few hops; whatever gossip loses, or brings before its
// predecessors, is fetched by comparing frontiers with neighbours ("I have / you have") on the
// stream protocol /pyvnode/sync/1. Replication links push to configured peers besides, and count
// hops.
//
// Every peer is taken for hostile: messages are bounded before they are read, entries are checked
// before they are kept or passed on, and a peer that sends what is provably wrong is dropped. What
// a peer says of a third party counts only when that party signed it.
package p2p
