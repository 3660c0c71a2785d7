package kind

import "golang.org/x/sys/unix"

// Disk is what a file system has left.
type Disk struct {
	ID                    uint64 `json:"id"` // tells file systems apart
	Free, Size            uint64 // octets, for who is not root
	FreeInodes, AllInodes uint64 // 0: there is no bound
	ReadOnly              bool
}

// DiskAt gives that of a path of root's.
func DiskAt(path string) (Disk, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return Disk{}, err
	}
	defer unix.Close(fd)
	return diskOf(fd)
}

func diskOf(fd int) (Disk, error) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Disk{}, err
	}
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return Disk{}, err
	}
	unit := uint64(fs.Bsize)
	return Disk{
		ID: uint64(st.Dev), Free: fs.Bavail * unit, Size: fs.Blocks * unit,
		FreeInodes: fs.Ffree, AllInodes: fs.Files, ReadOnly: fs.Flags&unix.ST_RDONLY != 0,
	}, nil
}
