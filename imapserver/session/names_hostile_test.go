package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestNamesStayInside uses hostile names with every command that takes one, and
// holds that nothing beside the Maildir is touched.
func TestNamesStayInside(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	s := newServer(t)
	beside := filepath.Dir(s.maildir)
	if err := os.Symlink(v.dir, filepath.Join(beside, "victim")); err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadDir(beside)
	if err != nil {
		t.Fatal(err)
	}
	c := s.connect()
	names := []string{
		"..", "../victim", "../victim/cur", "/etc", v.dir, "a/../../victim", "a..b", ".", ".a", "cur", "new", "tmp", "mailstead", "mailstead/index.db",
		"&AGE-", "&", "&AC8-", "&AC4ALg-/victim", "a/b", "INBOX/..", "INBOX..", "inbox", "InBoX.x", "~", "~root", "%2e%2e", "\\", strings.Repeat("x", 300),
		strings.Repeat("a.", 600) + "b", "#shared.victim", "é", "e\u0301", "É",
	}
	for _, name := range names {
		literal := fmt.Sprintf("{%d+}\r\n%s", len(name), name)
		for _, command := range []string{
			"CREATE %s", "SUBSCRIBE %s", "STATUS %s (MESSAGES)", "SELECT %s", "UNSELECT", "APPEND %s {1+}\r\nx", "GETACL %s", "SETACL %s bob lr",
			"SETMETADATA %s (/private/comment x)", "LIST \"\" %s", "LIST %s *", "RENAME %s Other", "RENAME INBOX %s", "RENAME Other %s", "DELETE %s",
			"UNSUBSCRIBE %s", "GETQUOTAROOT %s", "DELETE Other",
		} {
			got := c.do("%s", strings.Replace(command, "%s", literal, 1))
			if strings.Contains(got, victimText) || strings.Contains(got, "SERVERBUG") {
				t.Errorf("%s of %q: %.300s", command, name, got)
			}
		}
	}
	v.check("after all names")
	if now, err := os.ReadDir(beside); err != nil || len(now) != len(was) {
		t.Errorf("beside the Maildir there is %v, was %v; %v", now, was, err)
	}
}

// TestAlikeNames has mailboxes whose names only a careless eye takes for one:
// each keeps its own messages. One that is not in normal form C no client may make
// (RFC 9051 §5.1), but another program.
func TestAlikeNames(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.connect()
	c.ok("ENABLE IMAP4rev2")
	names := []string{"Fool", "fool", "FOOL", "caf\u00e9", "cafe\u0301", "CAF\u00c9"}
	for i, name := range names {
		if name == "cafe\u0301" {
			c.want(fmt.Sprintf("CREATE {%d+}\r\n%s", len(name), name), "a NO [CANNOT] mailbox name is not in Unicode's normal form C")
			if err := maildir.MakeTree(filepath.Join(s.maildir, "."+name), true); err != nil {
				t.Fatal(err)
			}
		} else {
			c.ok("CREATE {%d+}\r\n%s", len(name), name)
		}
		for range i + 1 {
			c.append(fmt.Sprintf("{%d+}\r\n%s", len(name), name), "", hello)
		}
	}
	for i, name := range names {
		if got := c.ok("STATUS {%d+}\r\n%s (MESSAGES)", len(name), name); !strings.Contains(got, fmt.Sprintf("(MESSAGES %d)", i+1)) {
			t.Errorf("%q: %s", name, got)
		}
	}
}
