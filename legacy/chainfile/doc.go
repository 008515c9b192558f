// Package chainfile knows what a chain file of the original server, PyvServer, looks like
// (docs/original-protocol.md §9): the records of one kind, chain/<kind>/initial.pydb, and two
// indexes beside it.
//
// [Read] yields the records of a sound file, from any reader. [Scan] goes over all that stands in a
// file, even if it is damaged, and finds the records after the damage. [Writer] writes all three
// files. Whether a record is valid, and what it is for, is no affair of this package.
//
// Files may be made to harm: keys, records and the search for records after damage are bounded.
//
// Reading is in chainfile.go, the search through damaged files in scan.go, and the indexes and the
// writer of all three files in index.go.
package chainfile
