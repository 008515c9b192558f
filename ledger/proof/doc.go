// Package proof holds what convinces a reader who trusts nobody: bytes from which everybody with
// the genesis document comes to the same verdict, without a network, a clock or a ledger.
//
// # What an origin says
//
// An origin says things only by signing headers, and each header says more than what the entry
// itself is. It names the hash of the entry before, and it carries the RFC 6962 root of all entries
// before. So one signed header makes a [Claim] about every index of its log up to its own: about
// its own index by its hash, about the one before by Prev, and about any earlier one by Root
// together with an [Inclusion] proof. An honest origin's claims about an index are all the same
// leaf hash, namely that of the one entry it ever signed there.
//
// # Evidence
//
// A piece of evidence ([Evidence]) consists of signed statements of one origin, the accused, that
// cannot all be true. There are seven kinds:
//
//	conflict       two claims about one index name different leaves; a fork is the plainest case
//	invalid-entry  an entry that the rules of the network forbid by its own bytes
//	bad-signature  a claim about a leaf that the accused did not sign, or that belongs elsewhere
//	bad-root       a header whose root is not that of the log up to the predecessor it names
//	bad-height     a header whose height does not follow from its predecessor and citations
//	bad-citation   a citation that contradicts the entry it cites
//	repeated       one record, the same kind and content ID, in two entries of one log
//
// Headers and signatures are enough for most of them, so most pieces are a few kilobytes and travel
// fast. Only invalid-entry and repeated may carry records.
//
// [Evidence.Seq] is the first sequence number in dispute: there the log of the accused is frozen.
// Nodes that find different pieces keep the least ([Evidence.Compare]), and so come to agree.
//
// # Why the honest have nothing to fear
//
// No bytes that anybody can put together convict an origin that signs one log by the rules. Every
// kind rests on a header that the accused signed for this network, since the signature covers the
// network. Whatever else stands in the evidence is bound to that header by SHA-256: a predecessor
// by Prev, an earlier entry by Root, a cited entry by the hash in the citation, a record by
// RecordHash. Leaves and inner nodes are hashed with different prefixes, and the place of a leaf
// follows from index and tree size, both fixed before the proof is looked at; so a proof cannot
// pass an inner node off as a leaf, nor move a leaf. What an honest header binds is what the honest
// origin held when it signed, and of that each kind states something that is false. What is not
// signed, the record bytes and the hop count, never counts for itself.
//
// A signature cannot be turned into a second one for the same header without the key (ZIP 215
// refuses s beyond the group's order and hashes R as it stands), so two entries that differ only in
// the signature are a fork as well.
//
// Evidence speaks only of origins that the genesis document lets write. A stranger's entries are in
// no chain, so there is nothing to freeze. And keys cost nothing: anyone could make evidence
// against strangers without end.
//
// # Files
//
//	claim.go               what a signed header says about the leaf at an index
//	inclusion.go           proofs that a tree has a leaf
//	evidence.go            the kinds of evidence: making and verifying them
//	evidence_encoding.go   their canonical encoding, which is on the wire and in files
package proof
