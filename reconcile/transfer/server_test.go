package transfer_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// answers is a server that says to each command what its script has for the whole
// of it or for its name, with the tag in place of $, and first what it has for "".
// Of answers with | between them the first is that of the first time, and so on. One
// that ends with ! hangs up, one that is "..." never comes, and one that begins with ~
// comes octet by octet. Whatever would change something fails the test.
func answers(t *testing.T, script map[string]string) transfer.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	times := map[string]int{}
	next := func(name, otherwise string) string {
		mu.Lock()
		defer mu.Unlock()
		all := strings.Split(cmp.Or(script[name], otherwise), "|")
		times[name]++
		return all[min(times[name], len(all))-1]
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if !say(c, next("", "* OK [CAPABILITY IMAP4rev1] hello\r\n"), "") {
					return
				}
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					f := strings.Fields(line)
					if err != nil || len(f) < 2 {
						return
					}
					name := f[1]
					if name == "UID" {
						name = "UID " + f[2]
						if strings.Contains(line, "BODY") {
							name = "BODY"
						}
					}
					if whole := strings.Join(f[1:], " "); script[whole] != "" {
						name = whole
					}
					if verb := strings.Fields(name)[0]; !strings.Contains(" CAPABILITY LOGIN STARTTLS LIST STATUS EXAMINE UID BODY ", " "+verb+" ") || verb == "BODY" && !strings.Contains(line, "BODY.PEEK[]") {
						t.Errorf("the source is told %q", line)
					}
					if !say(c, next(name, "$ OK done\r\n"), f[0]) {
						return
					}
				}
			}()
		}
	}()
	at := l.Addr().(*net.TCPAddr)
	return transfer.Server{Host: "127.0.0.1", Port: at.Port, TLS: transfer.TLSNone, User: "u", Password: "p"}
}

// say is false where nothing more is to be said.
func say(c net.Conn, answer, tag string) bool {
	if answer == "..." {
		io.Copy(io.Discard, c)
		return false
	}
	answer, hangUp := strings.CutSuffix(strings.ReplaceAll(answer, "$", tag), "!")
	slowly, slow := strings.CutPrefix(answer, "~")
	if !slow {
		io.WriteString(c, answer)
		return !hangUp
	}
	for i := range len(slowly) {
		io.WriteString(c, slowly[i:i+1])
		time.Sleep(5 * time.Millisecond)
	}
	return !hangUp
}

// TestStartTLS begins no TLS with a server that may be somebody in between.
func TestStartTLS(t *testing.T) {
	for answer, want := range map[string]string{
		"$ NO not here\r\n":                        "not here",
		"$ OK go on\r\n* CAPABILITY IMAP4rev1\r\n": "between its answer to STARTTLS and TLS",
		"!": "EOF",
	} {
		s := answers(t, map[string]string{"STARTTLS": answer})
		s.TLS = transfer.TLSStart
		if _, err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

// TestStartTLSInterrupted does not wait for a server that says nothing.
func TestStartTLSInterrupted(t *testing.T) {
	s := answers(t, map[string]string{"STARTTLS": "..."})
	s.TLS = transfer.TLSStart
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	opened := make(chan error, 1)
	go func() {
		_, err := s.Open(ctx)
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
}

// TestLyingServer brings what can be brought from servers that do not keep to the
// protocol, and says what could not be.
func TestLyingServer(t *testing.T) {
	for name, c := range map[string]struct {
		change  map[string]string
		brought int
		fault   string
	}{
		"sizes lie":             {nil, 2, ""},
		"8-bit names":           {map[string]string{"LIST": "* LIST () \"/\" \"Entw\xfcrfe\"\r\n* LIST () \"/\" INBOX\r\n* LIST () NIL Gr\xc3\xbc\xc3\x9fe\r\n$ OK done\r\n"}, 2, "Entw\xfcrfe: its name is not spelt"},
		"names in literals":     {map[string]string{"LIST": "* LIST () \"/\" {8}\r\nEntw\xfcrfe\r\n* LIST () NIL {3}\r\nR&D (CHILDINFO (\"SUBSCRIBED\"))\r\n* LIST () \"/\" {5}\r\nINBOX\r\n$ OK done\r\n"}, 2, "R&D: its name is not spelt"},
		"a name without end":    {map[string]string{"LIST": "* LIST () \"/\" \"" + strings.Repeat("x", 3<<20) + "\"\r\n$ OK done\r\n"}, 0, "a response of more than 1048576 octets"},
		"many strings":          {map[string]string{"LIST": "* LIST () \"/\" {50000}\r\n" + strings.Repeat(strings.Repeat("x", 50_000)+" {50000}\r\n", 30)}, 0, "a response of more than 1048576 octets"},
		"a large string":        {map[string]string{"LIST": "* LIST () \"/\" {100000}\r\n" + strings.Repeat("x", 100_000) + "\r\n$ OK done\r\n"}, 0, "a string of 100000 octets"},
		"a blank behind it":     {map[string]string{"LIST": "* LIST () \"/\" {30000000} \r\n" + strings.Repeat("x", 30_000_000) + "\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n"}, 0, "a string of 30000000 octets"},
		"noughts before it":     {map[string]string{"LIST": "* LIST () \"/\" {00000000000000000030000000}\r\n" + strings.Repeat("x", 30_000_000) + "\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n"}, 0, "more than 18 digits"},
		"noughts without end":   {map[string]string{"LIST": "* LIST () \"/\" {" + strings.Repeat("0", 100_000) + "30000000}\r\n" + strings.Repeat("x", 30_000_000) + "\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n"}, 0, "more than 18 digits"},
		"a string of exabytes":  {map[string]string{"LIST": "* LIST () \"/\" {1000000000000000000}\r\nx"}, 0, "more than 18 digits"},
		"many empty strings":    {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 1 ENVELOPE (NIL NIL (" + strings.Repeat("(NIL NIL {0}\r\n {0}\r\n)", 100_000) + ") NIL NIL NIL NIL NIL NIL NIL))\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 1)\r\n$ OK done\r\n"}, 0, "a response of more than 1048576 octets"},
		"a name behind noughts": {map[string]string{"LIST": "* LIST () \"/\" {00000000008} \r\nEntw\xfcrfe\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n"}, 2, "Entw\xfcrfe: its name is not spelt"},
		"an empty message":      {map[string]string{"BODY": "* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n* 2 FETCH (UID 2 BODY[] {00019} \r\nSubject: b\r\n\r\ntwo\r\n)\r\n$ OK done\r\n"}, 1, "it is empty"},
		"a brace in a name":     {map[string]string{"LIST": "* LIST () \"/\" Box5}\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n", "STATUS \"Box5}\" (MESSAGES UIDVALIDITY)": "$ NO [NOPERM] not yours\r\n", "STATUS \"Box5}\" (UIDVALIDITY MESSAGES)": "$ NO [NOPERM] not yours\r\n"}, 2, "look at it"},
		"a name as a message":   {map[string]string{"LIST": "* LIST () \"/\" BODY[] {999999999999999999}\r\n$ OK done\r\n"}, 0, "a string of 999999999999999999 octets"},
		"a detail as a message": {map[string]string{"LIST": "* LIST () \"/\" INBOX (BODY[] {999999999999999999}\r\n$ OK done\r\n"}, 0, "a string of 999999999999999999 octets"},
		"a name over lines":     {map[string]string{"LIST": "* LIST () \"/\" \"BODY[] {99999999}\r\n\" x\r\n$ OK done\r\n"}, 0, "breaks off a string"},
		"a quote in a name":     {map[string]string{"LIST": "* LIST () \"/\" \"a\\\"b\"\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n", `STATUS "a\"b" (MESSAGES UIDVALIDITY)`: "$ NO [NOPERM] not yours\r\n", `STATUS "a\"b" (UIDVALIDITY MESSAGES)`: "$ NO [NOPERM] not yours\r\n"}, 2, "look at it"},
		"text as a message":     {map[string]string{"": "* OK [CAPABILITY IMAP4rev1] BODY[] {999999999999999999}\r\n", "EXAMINE": "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] \"x {9}\r\n$ OK done\r\n"}, 2, ""},
		"a code over lines":     {map[string]string{"EXAMINE": "* 2 EXISTS\r\n* OK [X\r\n* 1 FETCH (BODY[] {9999}\r\n$ OK done\r\n"}, 0, "breaks off a string or a code"},
		"a header as a message": {map[string]string{"BODY": "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X BODY[] {200000}\r\n" + strings.Repeat("x", 200_000) + ")] NIL)\r\n$ OK done\r\n"}, 0, "a string of 200000 octets"},
		"flags as a message":    {map[string]string{"BODY": "* 1 FETCH (UID 1 FLAGS (X BODY[] {200000}\r\n" + strings.Repeat("x", 200_000) + "))\r\n$ OK done\r\n"}, 0, "a string of 200000 octets"},
		"flags without end":     {map[string]string{"UID FETCH": "* 1 FETCH (UID 1 FLAGS (" + strings.Repeat("x ", 1<<20) + "x) RFC822.SIZE 1)\r\n$ OK done\r\n"}, 0, "a response of more than 1048576 octets"},
		"flags before body":     {map[string]string{"BODY": "* 1 FETCH (UID 1 FLAGS (" + strings.Repeat("x ", 32750) + "x) BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] {19}\r\nSubject: b\r\n\r\ntwo\r\n)\r\n$ OK done\r\n"}, 2, ""},
		"more than told": {map[string]string{
			"EXAMINE":   "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
			"UID FETCH": numbered(20_000, "* %[1]d FETCH (UID %[1]d FLAGS () RFC822.SIZE 9)\r\n"),
		}, 0, "there are 1, and it tells of more than 10002"},
		"many mailboxes":     {map[string]string{"LIST": numbered(70_000, "* LIST () NIL \"mailbox %d\"\r\n")}, 0, "some fifty thousand"},
		"many mailbox names": {map[string]string{"LIST": numbered(70_000, "* LIST () NIL \"R&D %d\"\r\n")}, 0, "some fifty thousand"},
		"& in a name":        {map[string]string{"LIST": "* LIST (\\HasNoChildren) \"/\" R&D\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n"}, 2, "R&D: its name is not spelt"},
		"one not for us": {map[string]string{
			"LIST":                                   "* LIST () \"/\" Shared\r\n* LIST () \"/\" INBOX\r\n$ OK done\r\n",
			`STATUS "Shared" (MESSAGES UIDVALIDITY)`: "$ NO [NOPERM] not yours\r\n", `STATUS "Shared" (UIDVALIDITY MESSAGES)`: "$ NO [NOPERM] not yours\r\n",
		}, 2, "Shared: look at it"},
		"nothing of one":   {map[string]string{"BODY": "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] NIL)\r\n$ OK done\r\n"}, 1, "2: the source has it, and does not give it"},
		"NUL":              {map[string]string{"BODY": "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: \x00\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] {19}\r\nSubject: b\r\n\r\ntwo\r\n)\r\n$ OK done\r\n"}, 1, "1 messages were not taken"},
		"endless literal":  {map[string]string{"BODY": "* 1 FETCH (UID 1 BODY[] {9999999999999}\r\nSubject: a\r\n\r\none\r\n)\r\n$ OK done\r\n!"}, 0, "EOF"},
		"wrong password":   {map[string]string{"LOGIN": "$ NO [AUTHENTICATIONFAILED] no\r\n"}, 0, "log in"},
		"another validity": {map[string]string{"EXAMINE": "* 2 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n"}, 0, "UIDVALIDITY"},
		"fewer than told":  {map[string]string{"EXAMINE": "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n"}, 0, "there are 3, and it tells of 2"},
		"others' bodies":   {map[string]string{"BODY": "* 3 FETCH (UID 3 BODY[] {5}\r\nxxxxx)\r\n" + good["BODY"]}, 2, ""},
		"UID behind body":  {map[string]string{"BODY": "* 1 FETCH (BODY[] {19}\r\nSubject: a\r\n\r\none\r\n UID 1)\r\n$ OK done\r\n"}, 0, "2 messages were not taken"},
		"names of rev2": {map[string]string{
			"":              "* OK [CAPABILITY IMAP4rev1 IMAP4rev2] hello\r\n",
			"CAPABILITY":    "* CAPABILITY IMAP4rev1 IMAP4rev2\r\n$ OK done\r\n",
			"LIST":          "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Gr&APYA3w-e &- Co\"\r\n$ OK done\r\n",
			"EXAMINE":       "$ NO not that name\r\n",
			"EXAMINE INBOX": "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
			`STATUS "Gr&APYA3w-e &- Co" (MESSAGES UIDVALIDITY)`: "* STATUS \"Gr&APYA3w-e &- Co\" (MESSAGES 0 UIDVALIDITY 7)\r\n$ OK done\r\n",
			`STATUS "Gr&APYA3w-e &- Co" (UIDVALIDITY MESSAGES)`: "* STATUS \"Gr&APYA3w-e &- Co\" (MESSAGES 0 UIDVALIDITY 7)\r\n$ OK done\r\n",
			`EXAMINE "Gr&APYA3w-e &- Co"`:                       "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
		}, 2, ""},
		"one twice": {map[string]string{
			"LIST":                                "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Inbox\r\n* LIST () \"/\" Foo\r\n* LIST () \"/\" Foo\r\n$ OK done\r\n",
			`STATUS "Foo" (MESSAGES UIDVALIDITY)`: "* STATUS Foo (MESSAGES 2 UIDVALIDITY 7)\r\n$ OK done\r\n", `STATUS "Foo" (UIDVALIDITY MESSAGES)`: "* STATUS Foo (MESSAGES 2 UIDVALIDITY 7)\r\n$ OK done\r\n",
		}, 2, ""},
		"counts lie": {map[string]string{"STATUS": "* STATUS INBOX (MESSAGES 4294967295 UIDVALIDITY 7)\r\n$ OK done\r\n"}, 2, ""},
		"refused":    {map[string]string{"BODY": "$ NO [NOPERM] not yours\r\n"}, 0, "not yours"},
	} {
		t.Run(name, func(t *testing.T) {
			script := map[string]string{}
			for k, v := range good {
				script[k] = v
			}
			for k, v := range c.change {
				script[k] = v
			}
			here := dialogue.Mailstead(t, dialogue.Setup{})
			j, err := openJournal(filepath.Join(t.TempDir(), "journal"))
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			reports, err := (&transfer.Transfer{Open: answers(t, script).Open, Target: target(t, here, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
			err = errors.Join(err, transfer.Faults(reports))
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("%v, not %q", err, c.fault)
			}
			got := mail(t, here)
			if got := got["INBOX"]; len(got) != c.brought {
				t.Errorf("%d messages: %q", len(got), got)
			}
			for box := range got {
				if strings.HasSuffix(box, "-2") {
					t.Errorf("there is %s", box)
				}
			}
		})
	}
}

// TestGivenUp ends with a message that is not taken, whatever the server goes on to say.
func TestGivenUp(t *testing.T) {
	first := "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n"
	src, err := answers(t, changed(map[string]string{"BODY": first + numbered(500, "* %[1]d FETCH (UID %[1]d)\r\n")})).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []transfer.Entry
	for i := range 250 {
		all = append(all, transfer.Entry{ID: fmt.Sprint(i + 1)})
	}
	given := make(chan error, 1)
	go func() {
		given <- src.Fetch(t.Context(), transfer.Mailbox{Name: "INBOX", Validity: "7"}, all, func(_ transfer.Entry, r io.Reader) error {
			io.Copy(io.Discard, r)
			time.Sleep(100 * time.Millisecond) // it comes meanwhile
			return errors.New("no more")
		})
	}()
	select {
	case err := <-given:
		if err == nil || !strings.Contains(err.Error(), "no more") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}

// numbered is an answer of so many rows.
func numbered(n int, row string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, row, i+1)
	}
	return b.String() + "$ OK done\r\n"
}

// TestThousandsOfKeywords has a message get more keywords than a command can have, and another
// one come with them.
func TestThousandsOfKeywords(t *testing.T) {
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
	many := " FLAGS (\\Seen " + words(6000) + ") RFC822.SIZE 19)\r\n"
	src := answers(t, changed(map[string]string{
		"STATUS": "* STATUS INBOX (MESSAGES 1 UIDVALIDITY 7)\r\n$ OK done\r\n", "EXAMINE": "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
		"UID FETCH": "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 19)\r\n$ OK done\r\n|* 1 FETCH (UID 1" + many + "* 2 FETCH (UID 2" + many + "$ OK done\r\n",
	}))
	if r := run(t, src.Open, here, dir, transfer.Options{})[0]; r.Brought != 1 {
		t.Errorf("%+v", r)
	}
	if r := run(t, src.Open, here, dir, transfer.Options{Flags: true})[0]; r.Brought != 1 || len(r.Cut) != 2 {
		t.Errorf("%d brought, cut: %+v", r.Brought, r.Cut)
	}
	got := strings.Join(mail(t, here)["INBOX"], "\n")
	if strings.Count(got, `\Seen`) != 2 || strings.Count(got, words(64)) != 1 {
		t.Errorf("%s", got)
	}
}

// TestFlagsFirst has a server tell of flags that change ahead of what it is asked: the
// message comes with what it says of it when it is asked again.
func TestFlagsFirst(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	rows := "* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"31-Mar-2019 01:59:59 +0000\" RFC822.SIZE 19)\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) INTERNALDATE \"31-Mar-2019 01:59:59 +0000\" RFC822.SIZE 19)\r\n$ OK done\r\n"
	w := &waits{}
	reports, err := bring(t, answers(t, changed(map[string]string{"UID FETCH": "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n" + rows + "|" + rows})), here, w)
	if err != nil || reports[0].Size != 38 || len(w.all) != 1 {
		t.Errorf("%+v, %v, asked again after %v", reports, err, w.all)
	}
	for _, m := range mail(t, here)["INBOX"] {
		if !strings.HasPrefix(m, "2019-03-31 01:59:59") {
			t.Errorf("%q", m)
		}
	}
}

// good has two messages, one of which has another size than is told.
var good = map[string]string{
	"LIST":      "* LIST () \"/\" INBOX\r\n$ OK done\r\n",
	"STATUS":    "* STATUS INBOX (MESSAGES 2 UIDVALIDITY 7)\r\n$ OK done\r\n",
	"EXAMINE":   "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
	"UID FETCH": "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 9)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 99999)\r\n$ OK done\r\n",
	"BODY":      "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] {19}\r\nSubject: b\r\n\r\ntwo\r\n)\r\n$ OK done\r\n",
}

// changed is good with some answers before those that it has.
func changed(answers map[string]string) map[string]string {
	script := maps.Clone(good)
	maps.Copy(script, answers)
	return script
}

// bring brings what there is, once.
func bring(t *testing.T, s transfer.Server, here *dialogue.Account, p transfer.Progress) ([]transfer.Report, error) {
	t.Helper()
	j, err := openJournal(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	reports, err := (&transfer.Transfer{Open: s.Open, Target: target(t, here, ""), Journal: j, Progress: p, Pause: time.Millisecond}).Run(t.Context())
	return reports, errors.Join(err, transfer.Faults(reports))
}

// waits notes how long a source was not asked.
type waits struct {
	silent
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) Wait(d time.Duration, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
}

// TestFaultyServer asks again a server that goes away at any point, says nothing, or
// wants to be left alone for a while: all comes over, and nothing twice.
func TestFaultyServer(t *testing.T) {
	const half = "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] {19}\r\nSubje!"
	for name, c := range map[string]struct {
		command, first string
		wait           time.Duration // at least, before it is asked again
	}{
		"drops in the greeting":        {"", "* O!", 0},
		"drops for the greeting":       {"", "!", 0},
		"drops at the login":           {"LOGIN", "!", 0},
		"drops in the list":            {"LIST", "* LIST () \"/\" INB!", 0},
		"drops in a status":            {"STATUS", "* STATUS INBOX (MESS!", 0},
		"drops in what there is":       {"UID FETCH", "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 9)\r\n* 2 FETCH (UID!", 0},
		"drops in a message":           {"BODY", half, 0},
		"drops between messages":       {"BODY", half[:strings.Index(half, "* 2")] + "!", 0},
		"drops thrice":                 {"BODY", half + "|" + half + "|!", 0},
		"says nothing for the login":   {"LOGIN", "...", 0},
		"says nothing of the messages": {"BODY", "...", 0},
		"too many logins":              {"", "* BYE Too many connections\r\n!", 0},
		"limit at the login":           {"LOGIN", "$ NO [LIMIT] slow down\r\n", 0},
		"limit for opening":            {"EXAMINE", "$ NO [UNAVAILABLE] later\r\n", 0},
		"limit for messages":           {"BODY", "$ NO [THROTTLED] later\r\n|$ NO [OVERQUOTA] Account exceeded bandwidth limits.\r\n", 0},
		"limit without a code":         {"BODY", "$ NO Account exceeded command or bandwidth limits. (Failure)\r\n", 0},
		"limit with a time":            {"BODY", "$ BAD Request is throttled. Suggested Backoff Time: 40 milliseconds\r\n", 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here := dialogue.Mailstead(t, dialogue.Setup{})
			otherwise := cmp.Or(good[c.command], "$ OK done\r\n")
			if c.command == "" {
				otherwise = "* OK [CAPABILITY IMAP4rev1] hello\r\n"
			}
			s := answers(t, changed(map[string]string{c.command: c.first + "|" + otherwise}))
			s.Silence = 300 * time.Millisecond
			w := &waits{}
			if _, err := bring(t, s, here, w); err != nil {
				t.Fatal(err)
			}
			if got := mail(t, here)["INBOX"]; len(got) != 2 || got[0] == got[1] {
				t.Errorf("%q", got)
			}
			if len(w.all) == 0 || w.all[0] < c.wait {
				t.Errorf("it was not asked for %v", w.all)
			}
		})
	}
}

// TestRefusedLogin asks once: a password that is wrong stays so, and who tries it
// again is locked out.
func TestRefusedLogin(t *testing.T) {
	for _, answer := range []string{"$ NO [AUTHENTICATIONFAILED] no\r\n", "$ NO [AUTHENTICATIONFAILED] no\r\n!", "$ NO no\r\n"} {
		w := &waits{}
		_, err := bring(t, answers(t, changed(map[string]string{"LOGIN": answer})), dialogue.Mailstead(t, dialogue.Setup{}), w)
		if err == nil || !strings.HasPrefix(err.Error(), "log in to 127.0.0.1 as \"u\": imap: NO ") || strings.Contains(err.Error(), "connection") || len(w.all) > 0 {
			t.Errorf("%q: %v, asked again after %v", answer, err, w.all)
		}
	}
}

// TestSlowServer has all the time that it wants as long as it says something.
func TestSlowServer(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	script := map[string]string{}
	for command, answer := range good {
		script[command] = "~" + answer
	}
	s := answers(t, script)
	s.Silence = 500 * time.Millisecond // less than a message takes
	w := &waits{}
	if _, err := bring(t, s, here, w); err != nil || len(w.all) > 0 {
		t.Fatal(err, w.all)
	}
	if got := mail(t, here)["INBOX"]; len(got) != 2 {
		t.Errorf("%q", got)
	}
}

// TestSilentServer says of one mailbox what is in it, and nothing of the next, when it
// has been asked for both.
func TestSilentServer(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	silent := map[string]string{"LIST": "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Two\r\n$ OK done\r\n"}
	for _, items := range []string{"MESSAGES UIDVALIDITY", "UIDVALIDITY MESSAGES"} {
		silent[`STATUS "Two" (`+items+`)`] = "..."
	}
	s := answers(t, changed(silent))
	s.Silence = 100 * time.Millisecond
	if _, err := bring(t, s, here, &waits{}); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v", err)
	}
}
