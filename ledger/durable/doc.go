// Package durable keeps small files through crashes and power loss, and keeps them from other users of the machine.
//
// A write that returned is on the disk, under its name, with the directory that holds the name. A file is whole or as it was
// before, at every moment: [WriteFile] has all its bytes at hand, a [File] is written as a stream. Both write beside the
// name and rename. What a killed process leaves of [WriteFile], [RemoveUnfinished] removes.
//
// A read says how many bytes it is ready to take: [ReadFile] refuses a larger file. A file whose content is not what was
// written is a [*DamageError].
//
// Two processes that change one file take turns by [Lock]. A directory that holds a database has one writer or any number of
// readers, by [LockDir]. Neither kind of lock outlives its process.
//
// Files with secrets have mode 0600. [CheckPrivate] refuses one that others can read.
package durable
