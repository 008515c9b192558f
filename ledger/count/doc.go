// Package count finds out which entries of a ledger the others vouch for. It is what elections and
// books rest on: a record on one node's disk is that node's word, and an entry that is confirmed
// stands whatever its node does later.
//
// Nobody signs anything for that. Entries cite heads of other logs, signed, and a node cites only
// what it holds and has verified. So all of this is derived from entries, by anybody who has them.
//
// # Definitions
//
// The genesis document names n cosigners and a quorum k, more than half of them. A domain is a set
// of entries that holds the past of each: the live domain is what the frontier digest covers, and
// the past of one entry, with the entry, is another.
//
//   - An entry is sound if it and all its predecessors carry valid signatures and break no rule. What is not sound is
//     nobody's statement: it neither cites nor counts.
//   - A sound entry x is backed in a domain if k different cosigners each have a sound entry there that cites x or an
//     entry which has x among its predecessors. If x's origin is a cosigner, it counts for itself. It does not matter
//     whether the citing entry is disputed: a citation is a signed statement, whatever its author does later.
//   - A sound entry x is confirmed in a domain if k cosigners each have a sound entry there in whose past x is backed.
//
// These are the two rounds of every agreement among parties that may lie: I have seen it, and I
// have seen that enough others have.
//
// # Why it is safe
//
// At most f = 2k−n−1 cosigners lie. Two quorums share 2k−n cosigners, so at least one of them is
// honest.
//
// Of a forked log at most one branch is backed: an honest cosigner never cites two branches of one
// log, and two branches that are both backed have quorums which share an honest one. If two
// incompatible entries are backed all the same, more than f cosigners lied. That is an alarm, and
// it names the cosigners that cited both ([Counter.Alarms]).
//
// What was confirmed stays backed in every domain that holds an entry of one of its honest
// confirmers, because that entry's past, in which it is backed, is held with it. And what is backed
// in a domain is backed in every larger one, because backing asks only for entries that are there,
// never for the absence of others.
//
// n−k cosigners may be away: the k that are left can still back and confirm.
//
// # How it is counted
//
// A [Graph] holds the entries and what they name, as numbers. The entries of a log form a tree, in
// which a [Counter] looks at chains: runs of entries without a fork. For each chain and cosigner
// the greatest sequence number that the cosigner has vouched for says everything: what is backed is
// the k-th greatest. For confirmations a counter keeps the past of each cosigner's newest entry,
// which only grows. So an entry costs a few steps for each cosigner.
//
// # Files
//
//	graph.go     entries and what they name, as numbers
//	set.go       sets of entries, such as the past of one
//	counter.go   what is backed and confirmed in a domain, and the alarms
package count
