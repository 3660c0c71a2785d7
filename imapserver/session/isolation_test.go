package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
)

// foreign are commands that name mailboxes of another user, in whatever way: the
// first %s is the user, the second that user's Maildir.
var foreign = []string{
	"SELECT #shared.%[1]s", "SELECT #shared.%[1]s.Secret", "EXAMINE \"../%[1]s/Maildir\"", "EXAMINE \"%[2]s\"", "STATUS #shared.%[1]s.Secret (MESSAGES SIZE MAILBOXID)",
	"LIST \"\" #shared.%[1]s.*", "LIST \"\" \"#*\" RETURN (STATUS (MESSAGES))", "LIST \"#shared.\" *", "LSUB \"\" *", "LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN)",
	"APPEND #shared.%[1]s {10+}\r\nSubject: x", "COPY 1:* #shared.%[1]s", "MOVE 1 #shared.%[1]s.Secret", "CREATE #shared.%[1]s.More", "DELETE #shared.%[1]s.Secret",
	"RENAME #shared.%[1]s.Secret Mine", "RENAME Mine #shared.%[1]s.Mine", "SUBSCRIBE #shared.%[1]s.Secret", "GETACL #shared.%[1]s", "MYRIGHTS #shared.%[1]s.Secret",
	"SETACL #shared.%[1]s %[1]s lrswipkxtea", "LISTRIGHTS #shared.%[1]s %[1]s", "GETQUOTAROOT #shared.%[1]s", "GETMETADATA #shared.%[1]s.Secret (/private/comment /shared/comment)",
	"SETMETADATA #shared.%[1]s.Secret (/shared/comment x)", "ESEARCH IN (mailboxes #shared.%[1]s #shared.%[1]s.Secret) TEXT CANARY", "ESEARCH IN (subtree #shared) ALL",
	"ESEARCH IN (personal subscribed) TEXT CANARY", "NOTIFY SET (MAILBOXES (#shared.%[1]s.Secret) (MessageNew (FLAGS BODY.PEEK[]) MessageExpunge))", "NOTIFY NONE",
}

// own are commands on the user's own mail, whose answers come of what sessions
// share: buffers, caches, snapshots.
var own = []string{
	"SELECT INBOX", "SELECT Secret", "EXAMINE Secret", "UNSELECT", "NOOP", "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", "FETCH 1:* BODY.PEEK[]", "UID FETCH 1:* (BODY[TEXT] PREVIEW)",
	"SEARCH TEXT CANARY", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", `STORE 1 +FLAGS (\Flagged work)`, "COPY 1 Secret", "STATUS INBOX (MESSAGES SIZE)",
	"GETACL INBOX", `GETMETADATA Secret (/private/comment)`, "FETCH 1 BODY[99]", "XYZZY", "CLOSE", "EXPUNGE",
}

// TestIsolation has a hundred users with mail of one uid, in one process, run
// every command on each other's mailboxes, 20,000 or as many as MAILSTEAD_CROSS
// says: nobody is told an octet of anybody else.
func TestIsolation(t *testing.T) {
	t.Parallel()
	n := 20_000
	if testing.Short() {
		n = 4000
	}
	if s := os.Getenv("MAILSTEAD_CROSS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("MAILSTEAD_CROSS: %v", err)
		}
	}
	crowd := newCrowd(t, 100)
	sessions := map[int]*peer{}
	for i := range n {
		me, other := rand.IntN(len(crowd.users)), rand.IntN(len(crowd.users))
		c := sessions[me]
		if c == nil || rand.IntN(50) == 0 { // buffers of one session become another's
			if c != nil {
				c.conn.Close()
				c.wait()
				c.stop()
			}
			c = connectQuietly(t, crowd.users[me])
			sessions[me] = c
		}
		command := own[rand.IntN(len(own))]
		if i%2 == 0 {
			command = fmt.Sprintf(foreign[rand.IntN(len(foreign))], crowd.users[other].User, crowd.maildirs[other])
		}
		io.WriteString(c.conn, "a "+command+"\r\n") // fails where too many were BAD
		got, ended := c.answerOrEnd()
		if ended {
			delete(sessions, me)
		}
		for _, m := range canaries.FindAllStringSubmatch(got, -1) {
			if m[1] != crowd.users[me].User && !strings.Contains(command, m[0]) {
				t.Fatalf("%s: %s is told of %s: %.500s", crowd.users[me].User, command, m[1], got)
			}
		}
	}
	for _, c := range sessions {
		c.conn.Close()
		c.wait()
		c.stop()
	}
	crowd.check()
}

// canaries finds the name of the user whose a text is.
var canaries = regexp.MustCompile(`CANARY-([a-z0-9]+)-`)

// crowd is many users whose mail has one uid.
type crowd struct {
	t        *testing.T
	users    []Params
	maildirs []string
	account  map[string]*store.Account
}

func newCrowd(t *testing.T, n int) *crowd {
	c := &crowd{t: t, account: map[string]*store.Account{}}
	top := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	all := map[string]string{}
	others := store.NewNeighbours(log, func(_ context.Context, dir string) (*store.Account, func(), error) {
		return c.account[dir], func() {}, nil
	})
	notifier := store.NewNotifier(log)
	t.Cleanup(notifier.Close)
	for i := range n {
		user := fmt.Sprintf("user%d", i)
		dir := filepath.Join(top, user, "Maildir")
		for _, box := range []string{dir, filepath.Join(dir, ".Secret")} {
			err := os.MkdirAll(filepath.Dir(box), 0o700)
			if err == nil {
				err = maildir.MakeTree(box, box != dir)
			}
			text := fmt.Sprintf("From: CANARY-%[1]s-f@example.org\nSubject: CANARY-%[1]s-s\n\nCANARY-%[1]s-b\n", user)
			if err == nil {
				err = os.WriteFile(filepath.Join(box, "cur", "1000.M1P1.host:2,"), []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		a, err := store.Open(t.Context(), store.Options{Maildir: dir, Log: log, Notifier: notifier})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		all[user], c.account[dir] = dir, a
		c.maildirs = append(c.maildirs, dir)
		c.users = append(c.users, Params{Account: a, User: user, Others: others, Log: log})
	}
	others.Update(all)
	return c
}

// check holds that each Maildir has mail of its user alone.
func (c *crowd) check() {
	for i, dir := range c.maildirs {
		for _, pattern := range []string{"cur/*", "new/*", ".*/cur/*", ".*/new/*"} {
			paths, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				c.t.Fatal(err)
			}
			for _, path := range paths {
				data, err := os.ReadFile(path)
				m := canaries.FindSubmatch(data)
				if err != nil || m == nil || string(m[1]) != c.users[i].User {
					c.t.Errorf("%s has %q, %v", path, data, err)
				}
			}
		}
	}
}
