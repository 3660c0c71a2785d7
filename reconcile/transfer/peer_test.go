package transfer_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
	"mailstead/reconcile/transfer"
)

// TestPeers brings accounts over from a real Dovecot and a real Courier, and compares
// both sides by a client of ours and by Verify.
func TestPeers(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs root, Dovecot and what .ci/lab makes: set MAILSTEAD_E2E=1")
	}
	t.Run("Dovecot", func(t *testing.T) {
		script := &dialogue.Script{Name: "alice"}
		there, err := dialogue.StartDovecot(t, "/usr/sbin/dovecot", []*dialogue.Script{script}).Account(script)
		if err != nil {
			t.Fatal(err)
		}
		fromPeer(t, there, "")
	})
	t.Run("Courier", func(t *testing.T) {
		dialogue.LabDir(t)
		home := t.TempDir()
		if err := maildir.MakeTree(filepath.Join(home, "Maildir"), false); err != nil {
			t.Fatal(err)
		}
		address := dialogue.StartCourier(t, dialogue.CourierUser{Name: "alice", Password: "secret", Home: home, UID: os.Getuid(), GID: os.Getgid()})
		there := &dialogue.Account{User: "alice", Password: "secret", Dial: func(string) (net.Conn, error) { return net.Dial("tcp", address) }}
		fromPeer(t, there, "INBOX.")
	})
}

// fromPeer fills an account, brings it over twice, and changes it in between.
func fromPeer(t *testing.T, there *dialogue.Account, prefix string) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	c := client(t, there)
	for _, box := range []string{"Work", "Work.2026", "Größe & Co", "WORK"} {
		if err := c.Create(prefix+box, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 300 {
		put(t, c, "INBOX", text(n), when.Add(time.Duration(n)*time.Minute), imap.FlagSeen, "Later")
	}
	for _, box := range []string{"Work", "Work.2026", "Größe & Co", "WORK"} {
		put(t, c, prefix+box, "Subject: in "+box+"\r\n\r\n8 bit: \xff\r\n.\r\n", when, imap.FlagAnswered, imap.FlagFlagged)
	}
	dir := filepath.Join(t.TempDir(), "journal")
	open := server(t, there).Open
	same := func() {
		t.Helper()
		want := map[string][]string{}
		for box, messages := range mail(t, there) {
			if box != "INBOX" {
				box = box[len(prefix):]
			}
			want[box] = messages
		}
		got := mail(t, here)
		for box := range got {
			if len(want[box]) == 0 && len(got[box]) == 0 {
				delete(got, box)
				delete(want, box)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
	run(t, open, here, dir, transfer.Options{})
	same()
	put(t, c, "INBOX", text(1000), when)
	if _, err := c.Select(prefix+"Work", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	reports := run(t, open, here, dir, transfer.Options{Flags: true})
	if i := slices.IndexFunc(reports, func(r transfer.Report) bool { return r.Mailbox == "INBOX" }); reports[i].Brought != 1 || reports[i].Before != 300 {
		t.Errorf("%+v", reports[i])
	}
	same()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	compared, differences, err := (&transfer.Transfer{Open: open, Target: target(t, here, ""), Journal: j, Progress: silent{}}).Verify(t.Context())
	if err != nil || compared != 305 || len(differences) > 0 {
		t.Errorf("%d compared, %v, %v", compared, differences, err)
	}
}
