//go:build unix

package identity

import (
	"io/fs"
	"syscall"
)

// ownerOf returns the user and the group that a file belongs to.
func ownerOf(info fs.FileInfo) (user, group int) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(stat.Uid), int(stat.Gid)
}
