package doctor

import (
	"fmt"

	"mailstead/reconcile/kind"
)

// Below these a file system is full, as good as, or will be soon.
const (
	noRoom     = 16 << 20 // octets
	littleRoom = 1 << 30  // and less than a twentieth
	noInodes   = 64
)

// Volume is a file system with what of this host is on it.
type Volume struct {
	kind.Disk
	What   string // the first that is there
	More   int    // how many others are
	Origin string
}

// Judge says whether there is room.
func (v Volume) Judge() []Finding {
	subject := "file system of " + v.What
	if v.More > 0 {
		subject += fmt.Sprintf(" and %d more", v.More)
	}
	f := func(code Code, format string, args ...any) []Finding {
		return []Finding{New(code, subject, fmt.Sprintf(format, args...)).At(v.Origin)}
	}
	room := fmt.Sprintf("%d MiB of %d MiB are free", v.Free>>20, v.Size>>20)
	switch {
	case v.Size == 0:
		return nil // it does not say
	case v.ReadOnly:
		return f(DiskReadOnly, "it is mounted read-only")
	case v.Free < noRoom && v.Size > noRoom:
		return f(DiskFull, "%s", room)
	case v.AllInodes > 0 && v.FreeInodes < noInodes:
		return f(DiskFull, "%d inodes of %d are free, each message takes one", v.FreeInodes, v.AllInodes)
	case v.Free < littleRoom && v.Free < v.Size/20:
		return f(DiskLow, "%s", room)
	case v.AllInodes > 0 && v.FreeInodes < v.AllInodes/20:
		return f(DiskLow, "%d inodes of %d are free, each message takes one", v.FreeInodes, v.AllInodes)
	}
	return nil
}
