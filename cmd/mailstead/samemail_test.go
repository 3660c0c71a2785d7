package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/schema/adopt"
)

// What is compared after a cutover: what Courier said, what the files are now, and
// what the daemon answers.
func TestCompareMail(t *testing.T) {
	mail := func(validity, next uint32, messages int) *adopt.Mail {
		return &adopt.Mail{Folders: []adopt.Folder{{Name: "INBOX", Validity: validity, Next: next, Messages: messages}}}
	}
	const none = -1
	for name, tt := range map[string]struct {
		was    *adopt.Mail
		files  int // none: the mailbox is gone
		answer mailbox
		fault  string
		change string
		final  bool
	}{
		"as it was":              {was: mail(7, 10, 5), files: 5, answer: mailbox{7, 10, 5}},
		"mail has come":          {was: mail(7, 10, 5), files: 7, answer: mailbox{7, 12, 7}},
		"mail has come and gone": {was: mail(7, 10, 5), files: 5, answer: mailbox{7, 12, 5}},
		"mail is removed":        {was: mail(7, 10, 5), files: 3, answer: mailbox{7, 10, 3}, change: "clients have removed some"},
		"never opened":           {was: mail(0, 0, 5), files: 5, answer: mailbox{99, 6, 5}},
		"another validity":       {was: mail(7, 10, 5), files: 5, answer: mailbox{8, 10, 5}, fault: "has the UIDVALIDITY 8, and had 7", final: true},
		"UIDs begin again":       {was: mail(7, 10, 5), files: 5, answer: mailbox{7, 6, 5}, fault: "has the UIDNEXT 6, and had 10", final: true},
		"messages are missing":   {was: mail(7, 10, 5), files: 5, answer: mailbox{7, 10, 4}, fault: "has 4 messages, and 5 files"},
		"too few UIDs":           {was: mail(7, 10, 5), files: 7, answer: mailbox{7, 11, 7}, fault: "has the UIDNEXT 11 for 7 messages"},
		"not shown":              {was: mail(7, 10, 5), files: 5, fault: "is not shown"},
		"deleted":                {was: mail(7, 10, 5), files: none, change: "has been deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			now, answer := &adopt.Mail{}, map[string]mailbox{}
			if tt.files != none {
				now = mail(0, 0, tt.files)
			}
			if tt.answer.validity != 0 {
				answer["INBOX"] = tt.answer
			}
			faults, changes, final := compareMail(userMail{"alice", tt.was}, now, answer)
			if got := strings.Join(faults, "; "); (tt.fault == "") != (got == "") || !strings.Contains(got, tt.fault) {
				t.Errorf("faults %q, want %q", got, tt.fault)
			}
			if got := strings.Join(changes, "; "); (tt.change == "") != (got == "") || !strings.Contains(got, tt.change) {
				t.Errorf("changes %q, want %q", got, tt.change)
			}
			if final != tt.final {
				t.Errorf("final: %v", final)
			}
		})
	}
}

// A folder counts what Courier would tell by STATUS, and takes no file twice.
// TestBusyMailbox: mail that arrives between each look at the files and each answer is no
// fault; a message that is missing is one, whatever arrives, and soon where nothing does.
func TestBusyMailbox(t *testing.T) {
	for name, test := range map[string]struct {
		arrive, missing int // how many messages still come; how many are never shown
		faults          int
		within          time.Duration
	}{
		"busy":             {arrive: 30, within: time.Minute},
		"missing":          {missing: 1, faults: 1, within: 5 * time.Second},
		"missing and busy": {arrive: 1000, missing: 3, faults: 1, within: 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, left := 10, test.arrive
				look := func(context.Context, string) *adopt.Mail {
					return &adopt.Mail{Folders: []adopt.Folder{{Name: "INBOX", Messages: files, Validity: 7, Next: 11}}}
				}
				was, begun := look(t.Context(), ""), time.Now()
				faults, _ := mailCheck{look: look, ask: func(context.Context, string) (map[string]mailbox, error) {
					if left > 0 {
						files, left = files+1, left-1
					}
					return map[string]mailbox{"INBOX": {7, uint32(files + 1), files - test.missing}}, nil
				}}.user(t.Context(), userMail{User: "anna", Mail: was})
				if took := time.Since(begun); len(faults) != test.faults || took > test.within {
					t.Errorf("%q after %v", faults, took)
				}
			})
		})
	}
}

func TestLookAtMail(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"cur/1700000001.a:2,S": "", "cur/1700000002.b:2,": "", "new/1700000003.c": "", "cur/.hidden": "",
		"courierimapuiddb":      "1 4711 9\n8 1700000001.a\n",
		".Entw&APw-rfe/cur/1":   "",
		".Bad..Name/cur/1":      "",
		".file":                 "",
		"courierimapsubscribed": "INBOX\nINBOX.Entw&APw-rfe\n",
	})
	m := lookAtMail(dir)
	if len(m.Folders) != 2 || len(m.Odd) != 2 || len(m.Subscribed) != 2 {
		t.Fatalf("%+v", m)
	}
	inbox := adopt.Folder{Name: "INBOX", Messages: 3, Newest: 1700000003, Validity: 4711, Next: 11}
	if m.Folders[0] != inbox {
		t.Errorf("%+v, want %+v", m.Folders[0], inbox)
	}
	if f := m.Folders[1]; f.Name != "Entwürfe" || f.Messages != 1 || f.Validity != 0 {
		t.Errorf("%+v", f)
	}
	if m := lookAtMail(dir + "/none"); m.Fault == "" {
		t.Errorf("%+v", m)
	}
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
