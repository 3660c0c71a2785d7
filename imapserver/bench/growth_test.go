package bench_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// TestBenchMemory prints what a session takes that waits in IDLE, worker
// included: 1,000 sessions of 100 users, on mailboxes of 100 messages; and, what
// one session more takes, by the size of its mailbox.
func TestBenchMemory(t *testing.T) {
	if !chosen(t)("memory") {
		t.Skip("not asked for")
	}
	all := []*server{newMailstead(t, prepare(t, "mailstead")), newDovecot("dovecot", prepare(t, "dovecot"), "")}
	for _, s := range all {
		s.up(t)
		t.Cleanup(s.down)
		warm(t, s)
		fmt.Printf("| memory of an idle session, %s: 1000 of 100 users | %d KiB |\n", s.name, idleMemory(t, s, "INBOX", 1000, users))
	}
	s := all[0]
	made(t, filepath.Join(s.maildir(user(1)), ".m100k"), func(dir string) {
		makeFolder(t, dir)
		link(t, filepath.Join(dir, "cur"), 100_000)
		giveAway(t, dir)
	})
	s.down()
	s.tls = &tls.Config{InsecureSkipVerify: true}
	s.up(t)
	warm(t, s)
	fmt.Printf("| memory of an idle session, %s, TLS: 1000 of 100 users | %d KiB |\n", s.name, idleMemory(t, s, "INBOX", 1000, users))
	for _, secure := range []*tls.Config{nil, s.tls} {
		s.tls = secure
		for _, box := range []string{"INBOX", "m50k", "m100k"} {
			s.down()
			s.up(t)
			first, _ := opened(t, s, box)
			first.Idle()
			fmt.Printf("| memory of one session more, %s, %s, TLS %v | %d KiB |\n", s.name, box, secure != nil, idleMemory(t, s, box, 40, 1))
		}
	}
}

// warm has the server do what it does once.
func warm(t testing.TB, s *server) {
	for n := range users {
		c := s.dial(t, user(n+1))
		if _, err := c.Select("INBOX"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	settle(t, []*server{s})
	time.Sleep(2 * time.Second)
	settle(t, []*server{s})
	s.down()
	s.up(t)
}

// idleMemory is the KiB for each of n idle sessions.
func idleMemory(t testing.TB, s *server, box string, n, users int) int64 {
	t.Helper()
	rest := func() {
		// The first look in the background has been, and the Go runtime gives back
		// what it needed for a moment.
		time.Sleep(5 * time.Second)
		settle(t, []*server{s})
	}
	rest()
	before := memory(t, s)
	for i := range n {
		c := s.dial(t, user(1+i%users))
		defer c.Close()
		if _, err := c.Select(box); err != nil {
			t.Fatal(err)
		}
		if err := c.Idle(); err != nil {
			t.Fatal(err)
		}
	}
	rest()
	return (memory(t, s) - before) / int64(n)
}

func memory(t testing.TB, s *server) int64 {
	t.Helper()
	n, err := bench.Memory(s.daemon.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBenchMillion prints what a mailbox of a million messages takes.
func TestBenchMillion(t *testing.T) {
	if !chosen(t)("million") {
		t.Skip("not asked for")
	}
	const million = 1_000_000
	s := newMailstead(t, prepare(t, "mailstead"))
	box := filepath.Join(s.maildir(user(100)), ".million")
	made(t, box, func(dir string) {
		makeFolder(t, dir)
		link(t, filepath.Join(dir, "cur"), million)
		giveAway(t, dir)
	})
	t.Cleanup(s.down)
	s.up(t)
	for _, state := range []string{"first or cold", "warm", "cold", "warm"} {
		if state == "cold" {
			s.down()
			s.up(t)
		}
		c := s.dial(t, user(100))
		before := memory(t, s)
		d := timed(t, func() error { _, err := c.Select("million"); return err })
		fmt.Printf("| 1,000,000 messages: SELECT %s | %s | %d MiB more |\n", state, show(d), (memory(t, s)-before)>>10)
		c.Close()
	}
	settle(t, []*server{s})
	fmt.Printf("| 1,000,000 messages: whole process at rest | %d MiB |\n", memory(t, s)>>10)
}

// link fills a directory with n names of a few messages: it is their number that
// matters.
func link(t testing.TB, dir string, n int) {
	t.Helper()
	corpus := bench.NewCorpus(9)
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("%d.M%06dP4000.bench%s", corpus.Date(i).Unix(), i, corpus.Flags(i%1000)))
		from := filepath.Join(filepath.Dir(dir), "tmp", fmt.Sprint("text", i/50_000))
		if i%50_000 == 0 { // a file has 65,000 names at most
			if err := os.WriteFile(from, corpus.Message(i), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Link(from, name); err != nil {
			t.Fatal(err)
		}
	}
}

// growthRows are commands whose time must not grow faster than the mailbox, but
// for a logarithm: %s is a folder.
var growthRows = []struct{ name, prepare, command, undo string }{
	{name: "FETCH", command: "FETCH 1:* (UID FLAGS ENVELOPE)"},
	{name: "SEARCH", command: "UID SEARCH SUBJECT abcd"},
	{name: "SORT", command: "UID SORT (SUBJECT DATE) UTF-8 ALL"},
	{name: "THREAD", command: "UID THREAD REFERENCES UTF-8 ALL"},
	{name: "STORE", command: `STORE 1:* +FLAGS.SILENT (\Answered)`, undo: `STORE 1:* -FLAGS.SILENT (\Answered)`},
	{name: "set parsing", command: "set"},
	{name: "EXPUNGE", prepare: `STORE 1:* +FLAGS.SILENT (\Deleted)`, command: "EXPUNGE"},
}

// TestBenchGrowth prints how much longer a command takes where there are twice as
// many messages.
func TestBenchGrowth(t *testing.T) {
	if !chosen(t)("growth") {
		t.Skip("not asked for")
	}
	s := newMailstead(t, prepare(t, "mailstead"))
	s.up(t)
	t.Cleanup(s.down)
	for _, r := range growthRows {
		took := map[string]time.Duration{}
		for _, box := range []string{"m25k", "m50k"} {
			c, n := opened(t, s, box)
			if r.name == "EXPUNGE" {
				do(t, c, "CREATE "+c.Box("copies"), "COPY 1:* "+c.Box("copies"))
				if _, err := c.Select("copies"); err != nil {
					t.Fatal(err)
				}
			}
			if r.prepare != "" {
				do(t, c, r.prepare)
			}
			command := r.command
			if command == "set" {
				command = "FETCH " + everyOther(8_000*n/50_000) + " (UID)"
			}
			for range 3 {
				settle(t, []*server{s})
				d := timed(t, func() error { return c.Exec(command, nil) })
				if took[box] == 0 || d < took[box] && r.name != "EXPUNGE" {
					took[box] = d
				}
				if r.undo != "" {
					do(t, c, r.undo)
				}
			}
			if r.name == "EXPUNGE" {
				do(t, c, "CLOSE", "DELETE "+c.Box("copies"))
			}
			c.Close()
		}
		fmt.Printf("| %s at 25,000 and 50,000 messages | %s | %s | %.2f |\n", r.name, show(took["m25k"]), show(took["m50k"]),
			float64(took["m50k"])/float64(took["m25k"]))
	}
}

// everyOther is a set of n numbers.
func everyOther(n int) string {
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, ",%d", 2*i+1)
	}
	return string(b[1:])
}
