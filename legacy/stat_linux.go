package legacy

import (
	"io/fs"
	"syscall"
)

// statNumbers returns mode, inode, device, links, user, group, size and the times of access, modification and change of
// metadata in Unix seconds.
func statNumbers(info fs.FileInfo) [10]uint64 {
	st, isStat := info.Sys().(*syscall.Stat_t)
	if !isStat {
		return portableStat(info)
	}
	return [10]uint64{
		uint64(st.Mode), st.Ino, st.Dev, uint64(st.Nlink), uint64(st.Uid), uint64(st.Gid), uint64(st.Size),
		uint64(st.Atim.Sec), uint64(st.Mtim.Sec), uint64(st.Ctim.Sec),
	}
}
