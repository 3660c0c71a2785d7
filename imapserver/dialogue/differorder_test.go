package dialogue

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// orderDifference is one way in which Dovecot 2.3 orders messages otherwise, why
// that is so, and the answers that may differ for it.
type orderDifference struct {
	reason string
	is     func(command string, messages []string) bool
}

// orderDifferences is every way in which Dovecot 2.3 is known to order messages
// otherwise.
var orderDifferences = []orderDifference{
	{"an id without a domain, as in <a.b@>: Dovecot takes it for one", func(command string, messages []string) bool {
		return strings.HasPrefix(command, "THREAD REF") && strings.Contains(strings.Join(messages, ""), "<a.b@>")
	}},
	{"an id behind one that is not closed, as in <broken<1@x>: Dovecot does not see it", func(command string, messages []string) bool {
		return strings.HasPrefix(command, "THREAD REF") && strings.Contains(strings.Join(messages, ""), "<broken<")
	}},
	{"threads whose newest messages were sent in one second: Dovecot takes a missing root for the first message", func(command string, messages []string) bool {
		return strings.HasPrefix(command, "THREAD REFS") && sentTogether(messages)
	}},
}

// sentTogether tells whether two messages have the same Date.
func sentTogether(messages []string) bool {
	seen := map[string]bool{}
	for _, m := range messages {
		for _, line := range strings.Split(m, "\n") {
			if strings.HasPrefix(line, "Date: ") && seen[line] {
				return true
			}
			seen[line] = true
		}
	}
	return false
}

// TestDifferInOrder asks our server and a real Dovecot to sort and thread the
// same conversations. Each difference is one of the list, or a fault.
func TestDifferInOrder(t *testing.T) {
	ours, theirs := twoServers(t, "order")
	c := &corpus{rand.New(rand.NewPCG(7, 8))}
	const rounds, size = 120, 12
	folders := make([][]string, rounds)
	for i := range folders {
		name := fmt.Sprintf("Talk%d", i)
		for _, a := range []*Account{ours, theirs} {
			if err := a.makeFolder(name); err != nil {
				t.Fatal(err)
			}
		}
		for k := range size {
			m := c.letter(size, i%4 == 0)
			folders[i] = append(folders[i], m)
			date := time.Unix(1704067200+int64(c.rnd.IntN(100))*600+301+int64(k), 0) // no other date is as late
			for _, a := range []*Account{ours, theirs} {
				if err := a.deliver(name, fmt.Sprint(k), m, "cur/*:2,S", date); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	x, y := ask(t, ours), ask(t, theirs)
	seen, faults := map[string]int{}, 0
	for i, messages := range folders {
		for _, s := range []*conn{x, y} {
			answers(t, s, "s", fmt.Sprintf("SELECT Talk%d", i))
		}
		for _, command := range orderCommands {
			have, want := answers(t, x, "o", command)[0], answers(t, y, "o", command)[0]
			if have == want {
				continue
			}
			reason := ""
			for _, d := range orderDifferences {
				if d.is(command, messages) {
					reason = d.reason
				}
			}
			if seen[reason]++; reason != "" {
				continue
			}
			if faults++; faults <= 3 {
				t.Errorf("%s\nours   %s\ntheirs %s\nof\n%s", command, have, want, strings.Join(messages, "----\n"))
			}
		}
	}
	for reason, n := range seen {
		t.Logf("%4d times: %s", n, reason)
	}
	for _, d := range orderDifferences {
		if seen[d.reason] == 0 {
			t.Errorf("not seen any more: %s", d.reason)
		}
	}
}

var orderCommands = []string{
	"THREAD REFERENCES UTF-8 ALL", "THREAD REFS UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD REFERENCES UTF-8 NOT SUBJECT lunch",
	"SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE SUBJECT) UTF-8 ALL", "SORT (DATE) UTF-8 ALL", "SORT (REVERSE DATE) UTF-8 ALL",
	"SORT (ARRIVAL) UTF-8 ALL", "SORT (FROM) UTF-8 ALL", "SORT (TO DATE) UTF-8 ALL", "SORT (CC REVERSE ARRIVAL) UTF-8 ALL", "SORT (SIZE) UTF-8 ALL",
	"SORT (DISPLAYFROM) UTF-8 ALL", "SORT (REVERSE DISPLAYTO SUBJECT) UTF-8 ALL",
}

// letter makes a message of a conversation of about n; with broken, ids that are
// not proper ones may stand where ids do.
func (c *corpus) letter(n int, broken bool) string {
	id := func() string {
		k := c.rnd.IntN(n + 3)
		if c.one(8) {
			return fmt.Sprintf(`<"%d"@x>`, k)
		}
		return fmt.Sprintf("<%d@x>", k)
	}
	ids := func(most int) string {
		var list []string
		for range c.rnd.IntN(most + 1) {
			list = append(list, id())
		}
		return strings.Join(list, c.any(" ", "\n ", ""))
	}
	inReply, references := []string{"", "yours of Monday "}, []string{"", "nothing "}
	if broken {
		inReply, references = append(inReply, "<a.b@> "), append(references, "<broken")
	}
	var b strings.Builder
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\n", name, value) }
	if !c.one(12) {
		field("Message-ID", c.any(id(), id(), id(), id(), id(), id(), "none", "<nothing>", "a "+id()))
	}
	switch c.rnd.IntN(4) {
	case 0:
		field("References", ids(4))
	case 1:
		field("In-Reply-To", c.any(inReply...)+ids(2))
	case 2:
		field("References", c.any(references...)+ids(3))
		field("In-Reply-To", ids(1))
	}
	if !c.one(12) {
		field("Subject", c.any("", "Re:", "lunch", "Re: lunch", "RE: Lunch", "[list] lunch", "Re: [list] Fwd: lunch", "Fwd: lunch", "[Fwd: lunch]",
			"lunch (fwd)", "=?utf-8?q?caf=C3=A9?=", "Re: =?iso-8859-1?q?caf=E9?=", "=?utf-8?b?Q0FGw4k=?=", "[a] [b]", "  lunch\n  time", "re : lunch time",
			"Re[2]: lunch", "[one]", "Re: [one]", "dinner", "Dinner", "Re: dinner (fwd) (fwd)", "[fwd: Re: dinner]", "\tdinner"))
	}
	if !c.one(12) {
		hour := c.rnd.IntN(24)
		field("Date", c.any(
			fmt.Sprintf("Mon, 1 Jan 2024 %02d:00:00 +0000", hour), fmt.Sprintf("Mon, 1 Jan 2024 %02d:30:00 -0800", hour),
			fmt.Sprintf("1 Jan 2024 %02d:15:00 +0200", hour), fmt.Sprintf("Mon, 1 Jan 2024 %02d:00 GMT", hour), fmt.Sprintf("Mon, 1 Jan 24 %02d:00:10 +0000", hour),
			"sometime", "", fmt.Sprintf("Mon, 1 Jan 2024 %02d:45:00", hour)))
	}
	for _, name := range []string{"From", "To", "Cc"} {
		if !c.one(5) {
			field(name, c.any("ann@x.org", "Ann <zoe@x.org>", "bob@x.org, ann@x.org", "BOB <Bob@x.org>", "=?utf-8?q?=C3=84nne?= <bob@y.org>",
				"Team: ann@x.org;", "undisclosed:;", `"Carl, C." <carl@x.org>`, "<zed@x.org>", ""))
		}
	}
	return b.String() + "\n" + strings.Repeat("text\n", c.rnd.IntN(5))
}
