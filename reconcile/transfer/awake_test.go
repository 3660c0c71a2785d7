package transfer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/reconcile/transfer"
)

// impatient is a daemon that ends a session which says nothing for half an hour.
type impatient struct{ messages atomic.Int32 }

var literalEnd = regexp.MustCompile(`\{(\d+)\+\}\r\n$`)

func (d *impatient) serve(c net.Conn) {
	defer c.Close()
	io.WriteString(c, "* PREAUTH go on\r\n")
	r := bufio.NewReader(c)
	for {
		c.SetReadDeadline(time.Now().Add(30 * time.Minute))
		line, err := r.ReadString('\n')
		if err != nil {
			io.WriteString(c, "* BYE no command for too long\r\n")
			return
		}
		f := strings.Fields(line)
		code := ""
		switch f[1] {
		case "STATUS":
			fmt.Fprintf(c, "* STATUS %s (UIDNEXT %d UIDVALIDITY 1)\r\n", f[2], d.messages.Load()+1)
		case "SELECT", "EXAMINE":
			io.WriteString(c, "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n")
		case "APPEND":
			n := 0
			for m := literalEnd.FindStringSubmatch(line); m != nil; m = literalEnd.FindStringSubmatch(line) {
				var size int64
				fmt.Sscan(m[1], &size)
				io.CopyN(io.Discard, r, size)
				n++
				line, _ = r.ReadString('\n')
			}
			last := d.messages.Add(int32(n))
			code = fmt.Sprintf("[APPENDUID 1 %d:%d] ", last-int32(n)+1, last)
		}
		fmt.Fprintf(c, "%s OK %sdone\r\n", f[0], code)
	}
}

// slow takes longer for a message than a session may say nothing.
type slow struct{ *held }

func (s slow) Open(context.Context) (transfer.Source, error) { return s, nil }

func (s slow) Fetch(ctx context.Context, m transfer.Mailbox, messages []transfer.Entry, take func(transfer.Entry, io.Reader) error) error {
	time.Sleep(50 * time.Minute)
	return s.held.Fetch(ctx, m, messages, take)
}

// TestSlowSource keeps its sessions with the daemon while a source takes its time.
func TestSlowSource(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		d := &impatient{}
		var sessions []net.Conn
		for range 3 {
			ours, theirs := net.Pipe()
			go d.serve(theirs)
			sessions = append(sessions, ours)
		}
		to, err := transfer.NewTarget(t.Context(), "", sessions)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		src := slow{&held{validity: "a", boxes: []string{"Two", "Three", "Four"}, texts: texts(3)}}
		reports, err := (&transfer.Transfer{Open: src.Open, Target: to, Journal: j, Progress: silent{}}).Run(t.Context())
		if err != nil || transfer.Faults(reports) != nil || d.messages.Load() != 12 {
			t.Errorf("%v, %+v: %d messages", err, reports, d.messages.Load())
		}
	})
}
