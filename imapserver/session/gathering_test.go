package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
)

// What has to be gathered before it can be looked at as a message is in memory of no more
// sessions than may look at one, however long the clients take to send it.
func TestGatheredSlowly(t *testing.T) {
	s := newServer(t)
	text := "Subject: slow\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat("\x00octets\n", 1<<19)
	before := heap()
	var slow []*peer
	for range 10 {
		p := s.connect()
		p.send(fmt.Sprintf("a APPEND INBOX ~{%d+}\r\n", len(text)+1))
		p.send(text)
		slow = append(slow, p)
	}
	time.Sleep(200 * time.Millisecond) // most of it has been read, or it could not be sent
	if grown := heap() - before; grown > 20<<20 {
		t.Errorf("%d MiB for ten clients that send 4 MiB each", grown>>20)
	}
	for _, p := range slow {
		p.send("\n\r\n")
	}
	for i, p := range slow {
		if said := p.answer("a"); !strings.Contains(said, "a OK [APPENDUID ") {
			t.Fatalf("%d: %.200q", i, said)
		}
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	if got := c.ok("FETCH 10 BINARY.PEEK[1]<%d.20>", 8<<19-8); !strings.HasSuffix(got, "~{9}\r\n\x00octets\n\n)") {
		t.Errorf("%.200q", got)
	}
	if left, err := os.ReadDir(filepath.Join(s.maildir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %d, %v", len(left), err)
	}
}

// The header of a large message, which may be all of it, is read with a place in parsing,
// and so is what was gathered.
func TestLargeHeadersOneAtATime(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", "Subject: one\nX-A: b\n"+strings.Repeat("X: "+strings.Repeat("long ", 1000)+"\n", 300)+"\nbody\n")
	c := s.connect()
	c.ok("SELECT INBOX")
	c.ok("CREATE Box")
	binary := "Content-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat("\x00", 4<<20)
	gathered := fmt.Sprintf("APPEND Box ~{%d+}\r\n%s", len(binary), binary)
	for command, want := range map[string]string{"SEARCH HEADER X-A b": "* SEARCH 1", "SORT (SUBJECT) UTF-8 ALL": "* SORT 1", "THREAD REFERENCES UTF-8 ALL": "* THREAD (1)", gathered: "x OK [APPENDUID "} {
		for range cap(parsing) {
			parsing <- struct{}{}
		}
		c.send("x " + command + "\r\n")
		c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.br.Peek(1); err == nil {
			t.Errorf("%.20s: answered without a place", command)
		}
		c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		for range cap(parsing) {
			<-parsing
		}
		if got := c.answer("x"); !strings.HasPrefix(got, want) {
			t.Errorf("%.20s: %q", command, got)
		}
		if len(parsing) > 0 {
			t.Fatalf("%.20s: a place was not given back", command)
		}
	}
}

// Where NOTIFY asks for nothing, changes are not told for as long as the client likes, and
// what is noted of them for a search that is kept up to date stays small.
func TestChangedBounded(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", "Subject: one\n\n")
	view, err := s.account.Select(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	v := &selection{view: view, live: []*liveSearch{{}}}
	for i := range 100_000 {
		v.noteLive([]store.Update{{Kind: store.UpdateFlags, Seq: 1, UID: imap.UID(1 + i%2)}})
	}
	if len(v.changed) > fewChanged+2 {
		t.Errorf("%d are noted", len(v.changed))
	}
}
