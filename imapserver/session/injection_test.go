package session

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// fragments are what ends, opens or escapes something in a response.
var fragments = []string{
	"\r\n", "\n", "\r", "\x00", `"`, `\`, `\"`, "{", "}", "{3}\r\n", "{3+}\r\n", "~{1}\r\n", "(", ")", "[", "]", "NIL", "\xff", "\xc3\xbc", "\xed\xa0\x80", "\xe2\x80\xa8",
	"* OK x\r\n", "a OK done\r\n", "* BYE\r\n", "%", "*", "&", "&-", "&AA0ACg-", "=?utf-8?q?=0D=0A?=", "=?utf-8?b?DQoqIEJZRQ0K?=", ";", ",", ":", "<", ">", "@", "\t", " ", "\x1b[2J", "%n", "x", "ab",
	"=?iso-2022-jp?b?GyRCDQo=?=", "boundary=\"", "--b\r\n", "Content-Type: message/rfc822\r\n\r\n", "utf8''%0D%0A",
}

// nasty is text out of them.
func nasty(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(7) {
		b.WriteString(fragments[r.IntN(len(fragments))])
	}
	return b.String()
}

// letterOf is a message whose fields and parts are of nasty text.
func letterOf(r *rand.Rand) string {
	var b strings.Builder
	for _, field := range []string{"From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "X-A", "Content-ID", "Content-Description", "Content-Language", "Content-Location", "Content-Disposition"} {
		if r.IntN(3) > 0 {
			fmt.Fprintf(&b, "%s: %s\r\n", field, nasty(r))
		}
	}
	kinds := []string{"text/plain; charset=", "multipart/mixed; boundary=b; x=", "message/rfc822; x=", "\"", "text/html; name*=utf8''", "application/x; name="}
	fmt.Fprintf(&b, "Content-Type: %s%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", kinds[r.IntN(len(kinds))], nasty(r), []string{"7bit", "base64", "quoted-printable", nasty(r)}[r.IntN(4)])
	for range r.IntN(4) {
		fmt.Fprintf(&b, "--b\r\nContent-Type: %s\r\n\r\n%s\r\n", nasty(r), nasty(r))
	}
	return b.String()
}

// parrot is what a client says where the server has nothing to repeat.
const parrot = "Zq7canary"

// nastyCommands put nasty text wherever a client may put any, and ask for it again.
func nastyCommands(r *rand.Rand) string {
	lines := []string{
		"a1 CREATE " + literal(nasty(r)),
		"a2 SUBSCRIBE " + literal(nasty(r)),
		"a3 SETMETADATA INBOX (/private/" + []string{"x", "comment", "a/b"}[r.IntN(3)] + " " + literal(strings.ReplaceAll(nasty(r), "\x00", "")) + ")",
		"a4 STORE 1:* +FLAGS (x" + strconv.Itoa(r.IntN(20)) + "]" + " \\Seen)",
		"a5 FETCH 1:* (UID FLAGS ENVELOPE BODY BODYSTRUCTURE INTERNALDATE RFC822.SIZE PREVIEW BODY[HEADER.FIELDS (SUBJECT " + literal("X-A") + ")] BODY.PEEK[1] BODY[TEXT]<3.7>)",
		"a6 FETCH 1:* (BINARY.PEEK[1] BINARY.SIZE[1] RFC822.HEADER EMAILID THREADID SAVEDATE)",
		"a7 LIST \"\" * RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES MAILBOXID) MYRIGHTS METADATA (/private/x))",
		"a8 LSUB \"\" *",
		"c0 XLIST \"\" *",
		"a9 GETMETADATA (DEPTH infinity) INBOX (/private /shared)",
		"b1 STATUS " + literal(nasty(r)) + " (MESSAGES)",
		"b2 SEARCH RETURN (ALL COUNT) TEXT " + literal(strings.ReplaceAll(nasty(r), "\x00", "")),
		"b3 SORT (SUBJECT FROM) UTF-8 ALL",
		"b4 THREAD REFERENCES UTF-8 ALL",
		"b5 " + parrot + " x",
		"b6 SELECT " + parrot + "/" + strconv.Itoa(r.IntN(9)),
		"b7 FETCH " + parrot + " UID",
		"b8 SEARCH CHARSET " + parrot + " ALL",
		"b9 STORE 1 " + parrot + " ()",
		"c1 SETACL INBOX " + literal(parrot+nasty(r)) + " +q",
		"c2 GETACL INBOX",
		"c3 RENAME " + literal(nasty(r)) + " " + literal(nasty(r)),
		"c4 SETMETADATA INBOX (/" + parrot + " \"x\")",
		"c5 GETQUOTA " + parrot,
		"c6 ENABLE " + parrot,
	}
	r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return strings.Join(lines, "\r\n") + "\r\n"
}

// freshAccount is an account with the messages.
func freshAccount(t *testing.T, messages ...string) *store.Account {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range messages {
		if err := os.WriteFile(filepath.Join(dir, "cur", fmt.Sprintf("%d.M1P1.h:2,", i+1)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := store.Open(context.Background(), store.Options{Maildir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// TestResponseInjection: whatever senders and clients put into messages, names,
// keywords and annotations, each response is one, and says nothing that the client
// has said beside its tag.
func TestResponseInjection(t *testing.T) {
	states := 300
	if testing.Short() {
		states = 60
	}
	if s := os.Getenv("MAILSTEAD_RESPONSES"); s != "" {
		states, _ = strconv.Atoi(s)
	}
	const messages = 10
	for seed := 0; seed < states; seed += messages {
		r := rand.New(rand.NewPCG(uint64(seed), 29))
		var letters []string
		for range messages {
			letters = append(letters, letterOf(r))
		}
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			account := freshAccount(t, letters...)
			for range messages {
				checkInjection(t, account, []string{"x SELECT INBOX\r\n", "x ENABLE UTF8=ACCEPT\r\nx SELECT INBOX\r\n"}[r.IntN(2)]+nastyCommands(r))
			}
		})
	}
}

func checkInjection(t *testing.T, account *store.Account, commands string) {
	t.Helper()
	var log syncBuffer
	c := &script{in: strings.NewReader(commands + "z LOGOUT\r\n")}
	limits := wire.PostAuth
	Serve(t.Context(), c, Params{Account: account, User: "alice", Log: slog.New(slog.NewTextHandler(&log, nil)), Limits: &limits})
	if err := oracle.Responses(c.out.Bytes()); err != nil {
		t.Fatalf("%v\nafter %q", err, commands)
	}
	if err := oracle.Echoes(c.out.Bytes(), parrot); err != nil {
		t.Fatalf("%v\nafter %q", err, commands)
	}
	if strings.Contains(log.String(), "panicked") {
		t.Fatal(log.String())
	}
}
