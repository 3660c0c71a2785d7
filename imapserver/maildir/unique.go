package maildir

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Namer makes names for message files that no one else makes: Courier's form,
// `<sec>.M<usec>P<pid>V<dev>I<ino>_<n>.<host>,S=<bytes>`.
type Namer struct {
	host string
	pid  int
	seq  atomic.Uint64
}

// NewNamer gives a Namer for this process.
func NewNamer() *Namer {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return &Namer{host: escapeHost(host), pid: os.Getpid()}
}

// escapeHost keeps a host name from ending the base name early or leaving the
// directory.
func escapeHost(host string) string {
	var b strings.Builder
	for i := range len(host) {
		c := host[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`/:,\`, c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > 64 {
		return b.String()[:64]
	}
	return b.String()
}

// Unique is one name in the making.
type Unique struct {
	n   *Namer
	now time.Time
	seq uint64
}

// Next starts a name.
func (n *Namer) Next() Unique {
	return Unique{n: n, now: time.Now(), seq: n.seq.Add(1) - 1}
}

// Tmp is the file's name while it is being written.
func (u Unique) Tmp() string {
	return fmt.Sprintf("%d.M%dP%d_%d.%s", u.now.Unix(), u.now.Nanosecond()/1000, u.n.pid, u.seq, u.n.host)
}

// Base is the base name of the message: dev and ino are of the file, size is
// its length on disk.
func (u Unique) Base(dev, ino uint64, size int64) string {
	return fmt.Sprintf("%d.M%dP%dV%016XI%016X_%d.%s,S=%d",
		u.now.Unix(), u.now.Nanosecond()/1000, u.n.pid, dev, ino, u.seq, u.n.host, size)
}
