package imapserver

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// TestConfined has a worker open mail of its own uid: that which it was started for,
// some beside it, and some that was put in its place.
func TestConfined(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("set MAILSTEAD_E2E=1 as root")
	}
	dir, err := os.MkdirTemp("", "mailstead-confined") // whose directories anyone may go through
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	program := filepath.Join(dir, "mailstead-imapd")
	build(t, program)
	mine, other, kept := filepath.Join(dir, "mine"), filepath.Join(dir, "other"), filepath.Join(dir, "kept")
	for _, m := range []string{mine, other, kept} {
		newMaildir(t, m)
	}
	os.WriteFile(filepath.Join(kept, "cur", "1.x:2,S"), []byte("Subject: kept\r\n\r\n"), 0o644)
	giveAway(t, dir, aliceUID)

	start := func(roots ...string) *spawn.Process {
		t.Helper()
		p, err := spawn.Start(program, append([]string{"worker"}, roots...), spawn.Identity{UID: aliceUID, GID: aliceUID})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	end := func(p *spawn.Process) {
		t.Helper()
		p.Close()
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	open := func(p *spawn.Process, path string, roots ...string) *client {
		t.Helper()
		ours, stream, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		err = p.Send(&handoff.Session{Maildir: path, Roots: roots, Open: handoff.Open{ID: "x", User: "alice", Tag: "a", Remote: netip.IPv6Loopback(), Stream: stream}})
		if err != nil {
			t.Fatal(err)
		}
		return newClient(t, ours)
	}

	both := start(mine, other) // a control: nothing but Landlock keeps them apart
	open(both, other).until("a OK")
	end(both)
	confined := start(mine)
	open(confined, other).until("a NO [UNAVAILABLE]")
	c := open(confined, mine)
	c.send("b CREATE Work\r\nc APPEND Work {5+}\r\nx: y\n\r\nd SELECT Work\r\ne MOVE 1 INBOX\r\nf RENAME Work Play\r\n")
	for _, tag := range []string{"a", "b", "c", "d", "e", "f"} {
		c.until(tag + " OK")
	}

	if err := os.Rename(mine, mine+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(kept, mine); err != nil {
		t.Fatal(err)
	}
	open(confined, mine, mine).until("a NO [UNAVAILABLE]")
	c.until("* BYE")
	end(confined)
	last := start(mine)
	next := open(last, mine)
	next.send("b STATUS INBOX (MESSAGES)\r\n")
	if said := next.until("b OK"); !strings.Contains(said, "MESSAGES 1") {
		t.Errorf("%q", said)
	}
	open(last, other, mine, other).until("a NO [UNAVAILABLE]") // spawn was told of more since
	next.until("* BYE")
	end(last)
}
