package legacy

import "io/fs"

// portableStat knows of a file what every system knows; the rest is 0.
func portableStat(info fs.FileInfo) [10]uint64 {
	const regular, directory = 0o100000, 0o040000 // as in every Unix
	mode := uint64(info.Mode().Perm()) | regular
	if info.IsDir() {
		mode = uint64(info.Mode().Perm()) | directory
	}
	modified := uint64(info.ModTime().Unix())
	return [10]uint64{mode, 0, 0, 1, 0, 0, uint64(info.Size()), modified, modified, modified}
}
