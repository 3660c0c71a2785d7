package transfer_test

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// turns counts how often each connection to a server has waited for it: a command that
// is sent before an answer has come waits with the one before.
type turns struct {
	mu    sync.Mutex
	each  []int
	first int // before the first message was asked for
	sent  bytes.Buffer
}

// slowly stands in front of a server, whose answers take a while.
func slowly(t *testing.T, s transfer.Server) (transfer.Server, *turns) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	to := net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	n := &turns{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.relay(c, to)
		}
	}()
	s.Port = l.Addr().(*net.TCPAddr).Port
	return s, n
}

func (n *turns) relay(c net.Conn, to string) {
	defer c.Close()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	n.mu.Lock()
	i, answered := len(n.each), false
	n.each = append(n.each, 0)
	n.mu.Unlock()
	go func() {
		defer c.Close()
		b := make([]byte, 64<<10)
		for {
			k, err := far.Read(b)
			time.Sleep(10 * time.Millisecond)
			n.mu.Lock()
			answered = true
			n.mu.Unlock()
			if c.Write(b[:k]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		k, err := c.Read(b)
		if err != nil {
			return
		}
		n.mu.Lock()
		if answered {
			n.each[i]++
			answered = false
		}
		n.sent.Write(b[:k])
		if n.first == 0 && bytes.Contains(b[:k], []byte("BODY")) {
			n.first = n.each[i]
		}
		n.mu.Unlock()
		far.Write(b[:k])
	}
}

// TestTurns brings an account of many folders from a server far away: what is in them
// is asked of all at once, by several connections, and the first message does not wait
// until the last folder has been looked at.
func TestTurns(t *testing.T) {
	const folders = 90
	script := changed(map[string]string{
		"EXAMINE":   "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
		"UID FETCH": "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 19)\r\n$ OK done\r\n",
		"BODY":      "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n$ OK done\r\n",
	})
	var list, status strings.Builder
	for i := range folders {
		fmt.Fprintf(&list, "* LIST () \"/\" F%d\r\n", i)
		fmt.Fprintf(&status, "* LIST () \"/\" F%d\r\n* STATUS F%d (MESSAGES 1 UIDVALIDITY 7)\r\n", i, i)
		for _, items := range []string{"MESSAGES UIDVALIDITY", "UIDVALIDITY MESSAGES"} {
			script[fmt.Sprintf("STATUS \"F%d\" (%s)", i, items)] = fmt.Sprintf("* STATUS F%d (MESSAGES 1 UIDVALIDITY 7)\r\n$ OK done\r\n", i)
		}
	}
	// One whose name go-imap's client cannot read, and one that the server says no more
	// of (RFC 5819 §2).
	status.WriteString("* LIST () \"/\" R&D\r\n* STATUS R&D (MESSAGES 1 UIDVALIDITY 7)\r\n* LIST () \"/\" INBOX\r\n")
	for name, c := range map[string]struct {
		capabilities, list string
		asked              int // how many STATUS there are
		boxes              int
	}{
		"LIST-STATUS": {" LIST-EXTENDED LIST-STATUS", status.String(), 1, folders + 1},
		"STATUS":      {"", list.String(), folders, folders},
	} {
		t.Run(name, func(t *testing.T) {
			script := changed(script)
			script[""] = "* OK [CAPABILITY IMAP4rev1" + c.capabilities + "] hello\r\n"
			script["CAPABILITY"] = "* CAPABILITY IMAP4rev1" + c.capabilities + "\r\n$ OK done\r\n"
			script["LIST"] = c.list + "$ OK done\r\n"
			here := dialogue.Mailstead(t, dialogue.Setup{})
			s, n := slowly(t, answers(t, script))
			j, err := openJournal(filepath.Join(t.TempDir(), "journal"))
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			reports, err := (&transfer.Transfer{Open: s.Open, Target: target(t, here, ""), Journal: j, Progress: silent{}}).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			brought := 0
			for _, r := range reports {
				brought += r.Brought
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if brought != c.boxes {
				t.Errorf("%d messages of %d", brought, c.boxes)
			}
			if got := len(regexp.MustCompile(`T[0-9]+ STATUS `).FindAll(n.sent.Bytes(), -1)); got != c.asked {
				t.Errorf("%d mailboxes were asked after", got)
			}
			total, most := 0, 0
			for _, each := range n.each {
				total += each
				most = max(most, each)
			}
			t.Logf("%d turns before the first message, %v in all", n.first, n.each)
			if n.first > 16 {
				t.Errorf("%d turns before the first message", n.first)
			}
			if total > 3*c.boxes+40 || most > total/2 || len(n.each) != 3 {
				t.Errorf("%d connections, %v turns", len(n.each), n.each)
			}
		})
	}
}
