//go:build !linux

package legacy

import "io/fs"

// statNumbers returns mode, inode, device, links, user, group, size and the times of access, modification and change of
// metadata in Unix seconds, as far as all systems know them.
func statNumbers(info fs.FileInfo) [10]uint64 { return portableStat(info) }
