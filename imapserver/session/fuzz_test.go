package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/oracle"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// script is a connection that sends what it has and takes what it gets.
type script struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *script) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }
func (c *script) Close() error                     { return nil }

// fuzzStates are what a session has been told before: nothing, a mailbox selected,
// opened read-only, idling, watching all mailboxes, with all that can be enabled.
// Those before the login are of package login.
var fuzzStates = []string{
	"",
	"x SELECT INBOX\r\n",
	"x EXAMINE INBOX\r\n",
	"x SELECT INBOX\r\nx IDLE\r\n",
	"x SELECT INBOX\r\nx NOTIFY SET STATUS (SELECTED (MessageNew (FLAGS BODY[]) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange MailboxMetadataChange))\r\n",
	"x ENABLE IMAP4rev2 UTF8=ACCEPT QRESYNC UIDONLY\r\nx SELECT INBOX\r\n",
}

// FuzzServe feeds whole sessions on a real account. Whatever comes, the session
// ends, and what it says is IMAP.
func FuzzServe(f *testing.F) {
	dir := f.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	for i, text := range []string{
		"Subject: one\n\nx\n",
		"Content-Type: multipart/mixed; boundary=b\nFrom: \"\r(\" <a@b>\n\n--b\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: \x00\xff\n\n\x00\n--b--\n",
		"",
	} {
		if err := os.WriteFile(filepath.Join(dir, "cur", fmt.Sprintf("%d.M1P1.h:2,", i+1)), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	account, err := store.Open(context.Background(), store.Options{Maildir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { account.Close() })
	others := newSecretWorld(f, true).p.Others
	for _, s := range []string{
		"a FETCH 1:* (UID ENVELOPE BODYSTRUCTURE BODY[2.HEADER] RFC822.SIZE INTERNALDATE)\r\n",
		"a UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (\"SUBJECT\")]<0.9>)\r\na STORE * +FLAGS (x \\Deleted)\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% INBOX.*) RETURN (STATUS (UNSEEN SIZE))\r\na LSUB \"\" %\r\n",
		"a CREATE &APw-\r\na SUBSCRIBE &APw-\r\na RENAME &APw- b\r\na DELETE b\r\na STATUS inbox (MESSAGES)\r\n",
		"a ENABLE UTF8=ACCEPT\r\na SELECT \"\xc3\xbc\"\r\na NAMESPACE\r\na ID NIL\r\na IDLE\r\nDONE\r\n",
		"a APPEND INBOX (\\Seen) {17+}\r\nSubject: s\r\n\r\nx\r\na COPY 1:* INBOX\r\na UID MOVE 1 INBOX\r\n",
		"a LIST \"\" #* RETURN (STATUS (MESSAGES) MYRIGHTS METADATA (/private/x))\r\na SELECT #shared.bob.Team\r\na COPY 1:* INBOX\r\na STORE 1:* +FLAGS (x)\r\na SUBSCRIBE #shared.x\r\n",
		"a APPEND #shared.bob.Team {5+}\r\nx: y\n\r\na MOVE 1 #shared.bob.Team\r\na MYRIGHTS #shared.bob\r\na CREATE #shared.bob.Team.x\r\na RENAME x #shared.bob.x\r\n",
		"a SETACL INBOX bob +lrc\r\na SETACL INBOX x \"\"\r\na GETACL INBOX\r\na MYRIGHTS inbox\r\na LISTRIGHTS INBOX -x\r\na DELETEACL INBOX x\r\n",
		"a SETMETADATA INBOX (/private/x ~{2+}\r\n\x00y /shared/comment \"z\")\r\na GETMETADATA (DEPTH infinity MAXSIZE 1) INBOX (/private /shared)\r\na LIST \"\" * RETURN (MYRIGHTS METADATA (/private/x))\r\n",
		"a SEARCH RETURN (MIN MAX ALL COUNT) OR (TEXT \"x\" 1) NOT SENTSINCE 1-Jan-2026\r\na CLOSE\r\n",
		"a SEARCH RETURN (SAVE PARTIAL -2:-1 MIN) FUZZY TEXT \"one x\"\r\na FETCH $ UID\r\na UID STORE $ +FLAGS (y)\r\na ESEARCH IN (personal) RETURN (RELEVANCY ALL) FUZZY SUBJECT one\r\n",
		"a SORT RETURN (ALL UPDATE) (REVERSE SUBJECT DISPLAYFROM RELEVANCY SIZE) UTF-8 FUZZY FROM a\r\na UID THREAD REFERENCES UTF-8 ALL\r\na THREAD ORDEREDSUBJECT UTF-8 OLDER 1\r\n",
		"b SEARCH RETURN (UPDATE ALL) 1:* NOT KEYWORD z\r\na STORE 2:3 +FLAGS (z)\r\na STORE 1:* -FLAGS (z)\r\na EXPUNGE\r\na CANCELUPDATE \"b\"\r\n",
	} {
		for state := range fuzzStates {
			f.Add(uint8(state), s)
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, input string) {
		if strings.Contains(strings.ToUpper(input), "CREATE") && strings.Count(input, "\n") > 10 {
			t.Skip() // keep the account small
		}
		shrink(t, account)
		var log syncBuffer
		c := &script{in: strings.NewReader(fuzzStates[int(state)%len(fuzzStates)] + input)}
		oracle.OnceCost(t, strings.Count(input, "\n"), func() {
			Serve(t.Context(), c, Params{Account: account, User: "alice", Others: others, Log: slog.New(slog.NewTextHandler(&log, nil)), Limits: &wire.PostAuth})
		})
		if err := oracle.Responses(c.out.Bytes()); err != nil {
			t.Errorf("%v in %q", err, c.out.String())
		}
		if strings.Contains(log.String(), "panicked") {
			t.Error(log.String())
		}
	})
}

// shrink takes away what COPY 1:* INBOX, given often, would double each time until
// a command takes too long.
func shrink(t *testing.T, a *store.Account) {
	const few = 50
	v, err := a.Select(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Len() <= few {
		return
	}
	var seqs []store.SeqNum
	for n := few; n < v.Len(); n++ {
		seqs = append(seqs, store.SeqNum(n+1))
	}
	err = v.Store(t.Context(), seqs, store.StoreAdd, []imap.Flag{imap.FlagDeleted})
	if err == nil {
		err = v.Expunge(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}
