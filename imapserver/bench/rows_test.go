package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// opened logs in as the first user and selects a folder.
func opened(t testing.TB, s *server, box string) (*bench.Client, int) {
	t.Helper()
	c := s.dial(t, user(1))
	n, err := c.Select(box)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return c, n
}

// do runs commands that are not measured.
func do(t testing.TB, c *bench.Client, commands ...string) {
	t.Helper()
	for _, command := range commands {
		if err := c.Exec(command, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// command gives a row's run: one command in a folder, with a session of its own.
func command(box, command string) func(testing.TB, *server) time.Duration {
	return func(t testing.TB, s *server) time.Duration {
		c, _ := opened(t, s, box)
		defer c.Close()
		return timed(t, func() error { return c.Exec(command, nil) })
	}
}

var selectRows = []row{
	{name: "first SELECT ever", goal: 1.2, slow: true, rounds: 3, run: selectFirst},
	{name: "SELECT warm", goal: 1, warm: true, run: selectWarm},
	{name: "STATUS of 100 folders", goal: 1, warm: true, run: statusAll},
	{name: "SELECT after 1000 flags changed", goal: 0.3, warm: true, run: selectChanged},
}

func selectFirst(t testing.TB, s *server) time.Duration {
	s.forget(t, user(1))
	c := s.dial(t, user(1))
	defer c.Close()
	return timed(t, func() error { _, err := c.Select("m50k"); return err })
}

func selectWarm(t testing.TB, s *server) time.Duration {
	c := s.dial(t, user(1))
	defer c.Close()
	return timed(t, func() error { _, err := c.Select("m50k"); return err })
}

func statusAll(t testing.TB, s *server) time.Duration {
	c := s.dial(t, user(1))
	defer c.Close()
	return timed(t, func() error {
		for n := range statusFolders {
			box := c.Box(fmt.Sprintf("f%d", n))
			if err := c.Exec("STATUS "+box+" (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)", nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// selectChanged is a SELECT after another program has changed the flags of
// 1,000 messages, by renaming them as every reader of a Maildir does.
func selectChanged(t testing.TB, s *server) time.Duration {
	dir := filepath.Join(s.maildir(user(1)), ".m50k", "cur")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[:1000] {
		name := e.Name()
		if other := name + "T"; name[len(name)-1] == 'T' {
			err = os.Rename(filepath.Join(dir, name), filepath.Join(dir, name[:len(name)-1]))
		} else {
			err = os.Rename(filepath.Join(dir, name), filepath.Join(dir, other))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return selectWarm(t, s)
}

const headerFields = "BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID REFERENCES)]"

var fetchRows = []row{
	{name: "FETCH 1:* FLAGS", goal: 1, warm: true, run: command("m50k", "FETCH 1:* (UID FLAGS)")},
	{name: "FETCH 1:* ENVELOPE repeated", goal: 0.2, warm: true, run: command("m50k", "FETCH 1:* ENVELOPE")},
	{name: "FETCH 1:* 6 header fields repeated", goal: 0.6, warm: true, run: command("m50k", "FETCH 1:* (UID "+headerFields+")")},
	{name: "FETCH 1:* BODYSTRUCTURE repeated", goal: 0.8, warm: true, run: command("m50k", "FETCH 1:* BODYSTRUCTURE")},
	{name: "FETCH BODY[] of 5000", goal: 1, warm: true, run: command("m50k", "FETCH 1:5000 BODY.PEEK[]")},
}

var searchRows = []row{
	{name: "SEARCH SUBJECT", goal: 0.5, warm: true, run: command("m50k", "UID SEARCH SUBJECT "+bench.NewCorpus(1).Word(40))},
	{name: "SEARCH BODY", goal: 0.05, warm: true, slow: true, rounds: 3, run: command("m50k", "UID SEARCH BODY "+bench.RareWord)},
	{name: "SORT DATE repeated", goal: 0.7, warm: true, slow: true, need: "SORT", run: command("m50k", "UID SORT (DATE) UTF-8 ALL")},
	{name: "THREAD REFERENCES repeated", goal: 0.7, warm: true, slow: true, need: "THREAD=REFERENCES", run: command("m50k", "UID THREAD REFERENCES UTF-8 ALL")},
}

var changeRows = []row{
	{name: "STORE on 5000", goal: 1, synced: true, run: storeMany},
	{name: "STORE on 1 after it", goal: 0.1, synced: true, run: storeAfter},
	{name: "STORE one after another, 200", goal: 0.7, synced: true, run: storeEach},
	{name: "COPY of 1000", goal: 1, synced: true, run: copied("m50k", 1000)},
	{name: "COPY 167 of 6814", goal: 1, synced: true, run: copied("m6814", 167)},
	{name: "EXPUNGE of 10000", goal: 1, synced: true, rounds: 3, run: expunged},
}

func storeMany(t testing.TB, s *server) time.Duration {
	c, _ := opened(t, s, "m50k")
	defer c.Close()
	do(t, c, `STORE 1:5000 -FLAGS.SILENT (\Answered)`)
	defer do(t, c, `STORE 1:5000 -FLAGS.SILENT (\Answered)`)
	return timed(t, func() error { return c.Exec(`STORE 1:5000 +FLAGS (\Answered)`, nil) })
}

// storeAfter is the first STORE after one on 5,000.
func storeAfter(t testing.TB, s *server) time.Duration {
	c, _ := opened(t, s, "m50k")
	defer c.Close()
	do(t, c, `STORE 1:5001 -FLAGS.SILENT (\Answered)`, `STORE 1:5000 +FLAGS (\Answered)`)
	defer do(t, c, `STORE 1:5001 -FLAGS.SILENT (\Answered)`)
	return timed(t, func() error { return c.Exec(`STORE 5001 +FLAGS (\Answered)`, nil) })
}

func storeEach(t testing.TB, s *server) time.Duration {
	c, _ := opened(t, s, "m50k")
	defer c.Close()
	do(t, c, `STORE 1:200 -FLAGS.SILENT (\Answered)`)
	defer do(t, c, `STORE 1:200 -FLAGS.SILENT (\Answered)`)
	return timed(t, func() error {
		for n := range 200 {
			if err := c.Exec(fmt.Sprintf(`STORE %d +FLAGS (\Answered)`, n+1), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// copied copies the last n messages of a folder to a new one.
func copied(box string, n int) func(testing.TB, *server) time.Duration {
	return func(t testing.TB, s *server) time.Duration {
		c, total := opened(t, s, box)
		defer c.Close()
		target := c.Box("copies")
		do(t, c, "CREATE "+target)
		defer do(t, c, "DELETE "+target)
		return timed(t, func() error { return c.Exec(fmt.Sprintf("COPY %d:%d %s", total-n+1, total, target), nil) })
	}
}

func expunged(t testing.TB, s *server) time.Duration {
	c, _ := opened(t, s, "m50k")
	defer c.Close()
	target := c.Box("copies")
	do(t, c, "CREATE "+target, "COPY 1:10000 "+target)
	defer do(t, c, "CLOSE", "DELETE "+target)
	if _, err := c.Select("copies"); err != nil {
		t.Fatal(err)
	}
	do(t, c, `STORE 1:* +FLAGS.SILENT (\Deleted)`)
	return timed(t, func() error { return c.Exec("EXPUNGE", nil) })
}

var appendRows = []row{
	{name: "APPEND 4.5 KB, 1 client, each", goal: 1, synced: true, run: appended(1, 300, "")},
	{name: "APPEND 4.5 KB, 16 clients, each", goal: 0.7, synced: true, run: appended(16, 50, "")},
	{name: "APPEND 4.5 KB into a folder of 10000, each", goal: 0.4, synced: true, run: appended(1, 200, "m10k")},
}

// appended gives the time of one of n APPENDs by each of clients, to a folder of
// its own or to one that is there.
func appended(clients, n int, box string) func(testing.TB, *server) time.Duration {
	return func(t testing.TB, s *server) time.Duration {
		target := box
		if box == "" {
			target = "appended"
		}
		corpus := bench.NewCorpus(7)
		var list []*bench.Client
		for k := range clients {
			c := s.dial(t, user(1+k))
			defer c.Close()
			if box == "" {
				do(t, c, "CREATE "+c.Box(target))
				defer do(t, c, "DELETE "+c.Box(target))
			}
			list = append(list, c)
		}
		var done sync.WaitGroup
		errs := make([]error, clients)
		d := timed(t, func() error {
			for k, c := range list {
				done.Go(func() {
					for i := range n {
						if errs[k] = c.Append(target, corpus.Plain(i%50, 4500)); errs[k] != nil {
							return
						}
					}
				})
			}
			done.Wait()
			return nil
		})
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if box != "" {
			removeLast(t, list[0], box, n)
		}
		return d / time.Duration(n*clients)
	}
}

func removeLast(t testing.TB, c *bench.Client, box string, n int) {
	t.Helper()
	total, err := c.Select(box)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, fmt.Sprintf(`STORE %d:%d +FLAGS.SILENT (\Deleted)`, total-n+1, total), "EXPUNGE")
}

var idleRows = []row{
	{name: "IDLE told of a delivery by another session", goal: 0.02, slow: true, rounds: 3, run: idleTold(byAppend)},
	{name: "IDLE told of a file dropped in", goal: 0.05, slow: true, rounds: 3, run: idleTold(byFile)},
}

// idleTold is the median of ten notices.
func idleTold(deliver func(t testing.TB, s *server, c *bench.Client, n int)) func(testing.TB, *server) time.Duration {
	return func(t testing.TB, s *server) time.Duration {
		watcher, sender := s.dial(t, user(50)), s.dial(t, user(50))
		defer watcher.Close()
		defer sender.Close()
		if _, err := watcher.Select("INBOX"); err != nil {
			t.Fatal(err)
		}
		if err := watcher.Idle(); err != nil {
			t.Fatal(err)
		}
		var took []time.Duration
		for n := range 10 {
			time.Sleep(150 * time.Millisecond)
			start := time.Now()
			deliver(t, s, sender, n)
			at, err := watcher.AwaitExists()
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, at.Sub(start))
		}
		if err := watcher.Done(); err != nil {
			t.Fatal(err)
		}
		removeLast(t, sender, "INBOX", 10)
		return median(took)
	}
}

func byAppend(t testing.TB, _ *server, c *bench.Client, n int) {
	if err := c.Append("INBOX", bench.NewCorpus(3).Plain(n, 2000)); err != nil {
		t.Fatal(err)
	}
}

// byFile delivers as a mail transfer agent does.
func byFile(t testing.TB, s *server, _ *bench.Client, n int) {
	name := fmt.Sprintf("%d.D%d.bench", time.Now().UnixNano(), n)
	tmp := filepath.Join(s.maildir(user(50)), "tmp", name)
	err := os.WriteFile(tmp, []byte("Subject: x\n\nHi.\n"), 0o600)
	if err == nil {
		err = os.Chown(tmp, mailUID, mailUID)
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.maildir(user(50)), "new", name))
	}
	if err != nil {
		t.Fatal(err)
	}
}
