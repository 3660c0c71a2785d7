package dialogue

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// corpusSize is how many messages two servers are asked about.
const corpusSize = 600

// difference is one way in which Dovecot answers otherwise, and why that is so:
// an answer is known to differ if it says as much, or if both are the same
// without what strip takes out.
type difference struct {
	reason string
	is     func(d *differing) bool
	strip  func(s string) string
}

// differing is a piece of an answer about a message of which there are two: a
// field of ENVELOPE, a whole BODYSTRUCTURE, whether a search finds it.
type differing struct {
	item         string
	message      string
	ours, theirs string
}

func (d *differing) has(text string) bool { return strings.Contains(d.message, text) }

// differences is every way in which Dovecot 2.3 is known to answer otherwise.
var differences = []difference{
	{reason: "an address without a mailbox or a domain: Dovecot puts words of its own there", is: func(d *differing) bool {
		return strings.Contains(d.theirs, "MISSING_") || strings.Contains(d.theirs, "SYNTAX_ERROR")
	}},
	{reason: "a Content-Type that is none: ours is text/plain (RFC 2045 §5.2)", is: func(d *differing) bool {
		return noType.MatchString(d.message)
	}},
	{reason: "a multipart without parts: Dovecot has one without octets in it", is: func(d *differing) bool {
		return strings.Count(d.theirs, noPart) > strings.Count(d.ours, noPart)
	}},
	{reason: "more than a delimiter on its line: Dovecot takes it for one", is: func(d *differing) bool {
		return longDelimiter.MatchString(d.message)
	}},
	{reason: "a parameter whose quotes are not closed: ours ends with the line", is: func(d *differing) bool {
		return d.has(`charset="unclosed`)
	}},
	{reason: "two Subject fields: Dovecot tells the last", is: func(d *differing) bool {
		return d.has("Subject: second subject\n") && strings.Contains(d.theirs, "second subject")
	}},
	{reason: "a source route (RFC 5322 §4.4, obsolete): ours is dropped", strip: func(s string) string {
		return strings.ReplaceAll(s, `"@route.example"`, "NIL")
	}},
	{reason: "text that is not plain and says no charset: Dovecot says US-ASCII (RFC 2046 §4.1.2 has it of text/plain)", strip: func(s string) string {
		return strings.ReplaceAll(s, `("charset" "us-ascii")`, "NIL")
	}},
	{reason: "the case of text/plain: Dovecot writes its own", strip: func(s string) string {
		return strings.ReplaceAll(s, `"TEXT" "Plain"`, `"text" "plain"`)
	}},
	{reason: "a part that ends in its header: Dovecot counts the line end of the delimiter as its own", is: func(d *differing) bool {
		return headerOnly.MatchString(d.message) && number.ReplaceAllString(d.ours, "0") == number.ReplaceAllString(d.theirs, "0")
	}},
	{reason: "BODY and the header of a message in the message: Dovecot does not look there", is: func(d *differing) bool {
		return (strings.HasPrefix(d.item, "SEARCH BODY") || strings.HasPrefix(d.item, "SEARCH NOT BODY") || strings.HasPrefix(d.item, "SEARCH TEXT")) &&
			(d.has("message/rfc822") || d.has("digest"))
	}},
	{reason: "a message that does not say when it was sent: for Dovecot it was in 1970", is: func(d *differing) bool {
		return strings.HasPrefix(d.item, "SEARCH SENTBEFORE") && !dated.MatchString(d.message)
	}},
}

const noPart = `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`

// noType finds what is no Content-Type: without a subtype, or a multipart
// without a boundary.
var noType = regexp.MustCompile(`(?m)^Content-Type: (|text|text/|; charset=x|multipart/mixed)$`)

// longDelimiter finds a delimiter with more than white space behind it.
var longDelimiter = regexp.MustCompile(`(?m)^--(.+)----`)

// headerOnly finds a header that a delimiter, or a line that is no field, ends;
// number finds numbers; dated finds a Date that is one.
var (
	headerOnly = regexp.MustCompile(`\n([A-Za-z-]+: .*|[\t ].*|[^:\n]*)\n\n?--`)
	number     = regexp.MustCompile(`\d+`)
	dated      = regexp.MustCompile(`\A(?i:Date: ((Mon|Tue|Wed),|2 Feb))`)
)

// TestDiffer asks our server and a real Dovecot the same questions about the
// same messages. Each difference is one of the list, or a fault.
func TestDiffer(t *testing.T) {
	ours, theirs := twoServers(t, "differ")
	c := &corpus{rand.New(rand.NewPCG(1, 2))}
	messages := make([]string, corpusSize)
	for i := range messages {
		messages[i] = c.message(i + 1)
		for _, a := range []*Account{ours, theirs} {
			date := time.Unix(1760000000+int64(i)*7000, 0)
			if err := a.deliver("INBOX", fmt.Sprint(i), messages[i], "cur/*:2,S", date); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := &differ{t: t, messages: messages, ours: ask(t, ours), theirs: ask(t, theirs), seen: make(map[string]int), faults: make(map[string]int)}
	for _, item := range []string{"RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE"} {
		d.fetch(item)
	}
	for _, query := range c.queries() {
		d.search(query)
	}
	for reason, n := range d.seen {
		t.Logf("%4d times: %s", n, reason)
	}
	for _, k := range differences {
		if d.seen[k.reason] == 0 {
			t.Errorf("not seen any more: %s", k.reason)
		}
	}
}

// twoServers gives an empty account of our server and one of a real Dovecot.
func twoServers(t *testing.T, name string) (ours, theirs *Account) {
	t.Helper()
	path := os.Getenv("MAILSTEAD_PEER_DOVECOT")
	if path == "" {
		if os.Getenv("MAILSTEAD_E2E") != "1" {
			t.Skip("set MAILSTEAD_PEER_DOVECOT=/usr/sbin/dovecot (as root) to compare with it")
		}
		var err error
		if path, err = exec.LookPath("dovecot"); err != nil {
			t.Fatal(err)
		}
	}
	script := &Script{Name: name}
	dovecot := StartDovecot(t, path, []*Script{script})
	theirs, err := dovecot.Account(script)
	if err != nil {
		t.Fatal(err)
	}
	return Mailstead(t, Setup{}), theirs
}

type differ struct {
	t            *testing.T
	messages     []string
	ours, theirs *conn
	seen         map[string]int
	faults       map[string]int
}

// ask logs in and selects INBOX.
func ask(t *testing.T, a *Account) *conn {
	t.Helper()
	nc, err := a.Dial("plain")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := newConn(nc, a.Server, new(transcript))
	for i, command := range []string{"LOGIN " + a.User + " " + a.Password, "SELECT INBOX"} {
		answers(t, c, fmt.Sprintf("x%d", i), command)
	}
	return c
}

// answers sends a command and gives its untagged responses.
func answers(t *testing.T, c *conn, tag, command string) []string {
	t.Helper()
	if err := c.send(tag + " " + command + "\r\n"); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for {
		line, err := c.receive()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if strings.HasPrefix(line, tag+" ") {
			if !strings.HasPrefix(line, tag+" OK") {
				t.Fatalf("%s: %s", command, line)
			}
			return lines
		}
		lines = append(lines, line)
	}
}

// fetch compares an item of all messages.
func (d *differ) fetch(item string) {
	d.t.Helper()
	ours := answers(d.t, d.ours, "f", "FETCH 1:* "+item)
	theirs := answers(d.t, d.theirs, "f", "FETCH 1:* "+item)
	if len(ours) != len(d.messages) || len(theirs) != len(d.messages) {
		d.t.Fatalf("%s: %d and %d answers about %d messages", item, len(ours), len(theirs), len(d.messages))
	}
	for i := range ours {
		x, y := plainForm(d.t, ours[i]), plainForm(d.t, theirs[i])
		if len(x) != len(y) {
			d.compare(&differing{item, d.messages[i], strings.Join(x, " "), strings.Join(y, " ")})
			continue
		}
		for k := range x {
			name := item
			if item == "ENVELOPE" {
				name = item + " " + envelopeFields[k]
			}
			d.compare(&differing{name, d.messages[i], x[k], y[k]})
		}
	}
}

var envelopeFields = []string{"date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id"}

// search compares for each message whether it is found.
func (d *differ) search(query string) {
	d.t.Helper()
	found := func(c *conn) map[int]bool {
		set := make(map[int]bool)
		for _, line := range answers(d.t, c, "s", "SEARCH "+query) {
			for _, word := range strings.Fields(strings.TrimPrefix(line, "* SEARCH")) {
				if n, err := strconv.Atoi(word); err == nil {
					set[n] = true
				}
			}
		}
		return set
	}
	ours, theirs := found(d.ours), found(d.theirs)
	for i, m := range d.messages {
		d.compare(&differing{"SEARCH " + query, m, fmt.Sprint(ours[i+1]), fmt.Sprint(theirs[i+1])})
	}
}

func (d *differ) compare(x *differing) {
	d.t.Helper()
	if x.ours == x.theirs {
		return
	}
	for _, k := range differences {
		switch {
		case k.is != nil && k.is(x):
			d.seen[k.reason]++
			return
		case k.strip != nil:
			ours, theirs := k.strip(x.ours), k.strip(x.theirs)
			if ours != x.ours || theirs != x.theirs {
				d.seen[k.reason]++
			}
			if x.ours, x.theirs = ours, theirs; ours == theirs {
				return
			}
		}
	}
	if d.faults[x.item]++; d.faults[x.item] <= 5 {
		d.t.Errorf("%s\nours   %s\ntheirs %s\nof %.2000q", x.item, x.ours, x.theirs, x.message)
	}
}

// plainForm writes what a FETCH response says of its item, piece by piece, so
// that two of the same meaning are the same.
func plainForm(t *testing.T, line string) []string {
	t.Helper()
	nodes, err := parseResponse(line, nil)
	if err != nil {
		t.Fatal(err)
	}
	item := nodes[len(nodes)-1].kids[0].kids // "* n FETCH" (item)
	pieces := item[len(item)-1:]
	if pieces[0].kind == list && item[0].text == "ENVELOPE" {
		pieces = pieces[0].kids
	}
	var list []string
	for _, p := range pieces {
		var b strings.Builder
		writeNodes(&b, []node{p})
		list = append(list, b.String())
	}
	return list
}

func writeNodes(b *strings.Builder, nodes []node) {
	for i, n := range nodes {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch n.kind {
		case list, code, set:
			b.WriteByte('(')
			writeNodes(b, n.kids)
			b.WriteByte(')')
		case quoted:
			fmt.Fprintf(b, "%q", n.text)
		default:
			b.WriteString(n.text)
		}
	}
}

// queries makes searches.
func (c *corpus) queries() []string {
	var list []string
	for range 60 {
		word := asciiOf(c.any(corpusWords...))
		list = append(list, c.any(
			"SUBJECT "+word, "FROM "+c.any("ann", "example.org", "doe", "bob"), "TO "+c.any("ann", "192.0.2.1", "jane"), "CC ann",
			"BODY "+word, "TEXT "+word, "HEADER Message-ID m"+fmt.Sprint(c.rnd.IntN(300)), "HEADER X-Long folded", "HEADER Cc \"\"",
			"SENTSINCE 3-Mar-2026", "SENTBEFORE 3-Mar-2026", "SENTON 2-Feb-2026", "SINCE 20-Oct-2025", "BEFORE 1-Nov-2025", "ON 25-Oct-2025",
			"LARGER 900", "SMALLER 700", "OR SUBJECT "+word+" FROM bob", "NOT BODY "+word, "SUBJECT \"\"", "BCC \"\"",
			"CHARSET UTF-8 SUBJECT {2+}\r\nü", "CHARSET UTF-8 TEXT {6+}\r\n日本", "SUBJECT second"))
	}
	return list
}
