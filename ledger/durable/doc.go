// Package durable keeps small files through crashes and power loss, and keeps them from other users
// of the machine.
//
// A write that returned is on the disk, under its name, with the directory that holds the name. At
// every moment a file is whole or as it was before. [WriteFile] takes all bytes at once, and a
// [File] is written as a stream. Both write beside the name and rename. [RemoveUnfinished] removes
// what a killed process leaves of [WriteFile].
//
// A read says how many bytes it is ready to take: [ReadFile] refuses a larger file. A file whose
// content is not what was written is a [*DamageError].
//
// Two processes that change one file take turns by [Lock]. A directory that holds a database has
// one writer or any number of readers, by [LockDir]. Neither kind of lock outlives its process.
//
// Files with secrets have mode 0600. [CheckPrivate] refuses one that others can read.
//
// # Files
//
//	file.go      bounded reads and atomic writes of files
//	dir.go       directories: making, syncing and tidying them
//	lock.go      locks on files and directories; lock_unix.go and lock_other.go know whether a directory can be written
//	private.go   files that no other user may read
package durable
