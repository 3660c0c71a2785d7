package imapserver

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// removalsIn reads a record once it has as many lines.
func removalsIn(t *testing.T, dir string, n int) []control.Removal {
	t.Helper()
	var all []control.Removal
	for deadline := time.Now().Add(10 * time.Second); len(all) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d removals are recorded, not %d: %+v", len(all), n, all)
		}
		all = nil
		files, _ := filepath.Glob(filepath.Join(dir, "*.ndjson"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(data) {
				var r control.Removal
				if json.Unmarshal(line, &r) == nil {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// removes has alice's client remove messages in each way, and compares the record.
func removes(t *testing.T, c *client, maildir, dir string) {
	t.Helper()
	for n := 1; n <= 4; n++ {
		text := fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@example>\r\n\r\nMessage-ID: <no@example>\r\n", n, n)
		c.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text))
		c.until("a OK")
	}
	c.send("b ID (\"name\" \"Later\")\r\nb CREATE Old\r\nb SELECT INBOX\r\nc FETCH 1 ENVELOPE\r\n")
	c.until("c OK")
	c.send("d UID STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE\r\nf UID MOVE 2 Old\r\n")
	c.until("f OK")
	files, err := filepath.Glob(filepath.Join(maildir, "cur", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	c.send("g NOOP\r\nh UID STORE 3:4 +FLAGS (\\Deleted)\r\ni CLOSE\r\nj DELETE Old\r\n")
	c.until("j OK")
	all := removalsIn(t, dir, 5)
	var have []string
	outside := 0
	for _, r := range all {
		if r.User != "alice" || r.At.IsZero() {
			t.Errorf("%+v", r)
		}
		if r.Command == "" {
			outside++
			if r.Session != "" || r.By != "" || r.UID != 3 && r.UID != 4 {
				t.Errorf("%+v", r)
			}
			continue
		}
		if r.By != "alice" || r.Session == "" || r.Listener != "imaps" || r.Address != "127.0.0.1" || r.Client != "Later" {
			t.Errorf("%+v", r)
		}
		if (r.ToUID == 0) != (r.ToValidity == 0) {
			t.Errorf("%+v", r)
		}
		have = append(have, fmt.Sprintf("%s %s %d %s %s %d", r.Command, r.Mailbox, r.UID, r.MessageID, r.To, r.ToUID))
	}
	got := strings.Join(have, "\n")
	for _, want := range []string{"EXPUNGE INBOX 1 <1@example>  0", "UID MOVE INBOX 2 <2@example> Old 1", "CLOSE INBOX ", "DELETE Old 0   0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if outside != 1 || len(all) != 5 {
		t.Errorf("%d of %d by another program", outside, len(all))
	}
}

func TestRemovals(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.Record = filepath.Join(dir, "removals")
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	alice := testUser(t, dir, "alice")
	_, addr, _ := inline(t, c, []config.User{alice}, cert)
	cl := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
	cl.send("a LOGIN alice pw-alice\r\n")
	cl.until("a OK")
	removes(t, cl, alice.Maildir, c.Record)
}

// TestRemovalsOfProcesses: auth records what workers tell, and what they have told in
// vain while it was away.
func TestRemovalsOfProcesses(t *testing.T) {
	var dir string
	p := startProcessesWith(t, func(p *processes) []config.User {
		dir = filepath.Join(p.dir, "run", "removals")
		p.c.Record = dir
		return nil
	})
	alice := p.login("alice")
	removes(t, alice, filepath.Join(p.dir, "alice", "Maildir"), dir)

	old := p.roles["auth"]
	old.Process.Kill()
	old.Wait()
	text := "Message-ID: <away@example>\r\n\r\n"
	alice.send(fmt.Sprintf("k APPEND INBOX {%d+}\r\n%s\r\nk SELECT INBOX\r\nk STORE * +FLAGS (\\Deleted)\r\nl EXPUNGE\r\n", len(text), text))
	alice.until("l OK")
	time.Sleep(2 * tellRemovals)
	p.start("auth", serviceUID, old.Args[4:]...)
	p.eventually("auth does not come back", func() bool {
		_, err := control.Ask(t.Context(), p.c.Control, control.Request{Verb: control.VerbStatus})
		return err == nil
	})
	p.login("alice")
	all := removalsIn(t, dir, 6)
	if last := all[len(all)-1]; last.MessageID != "<away@example>" {
		t.Errorf("%+v", all)
	}
}
