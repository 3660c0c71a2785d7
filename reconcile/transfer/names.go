package transfer

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"mailstead/imapserver/maildir"
)

// joinSorted gives words without those that are there twice.
func joinSorted(words []string) string {
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// place says into which mailbox of ours each of the source goes. Names are ours,
// without the namespace prefix, and no two are the same.
type place struct {
	into  string
	ours  map[imap.MailboxAttr]string // by special use
	taken names
}

// names are those that are taken, each with the last number that was put behind it.
type names map[string]int

// take gives a name, with a number behind it if it is taken.
func (t names) take(base string) string {
	name, n := base, t[base]
	for n > 0 && t[name] > 0 {
		n++
		name = base + "-" + strconv.Itoa(n)
	}
	t[base] = max(n, 1)
	t[name] = max(t[name], 1)
	return name
}

// maxName bounds the octets of one level: what a file system takes as a name,
// less what stands before and behind it.
const maxName = 200

// of gives the target of a mailbox. INBOX is INBOX, or what everything goes below;
// a mailbox with a special use is ours of that use; of the others the name counts.
func (p *place) of(m Mailbox) string { return p.taken.take(p.name(m)) }

func (p *place) name(m Mailbox) string {
	inbox := m.Name == maildir.Inbox && m.Ours || len(m.Levels) == 1 && strings.EqualFold(m.Levels[0], "INBOX")
	switch ours := p.ours[m.Use]; {
	case inbox && p.into == "":
		return "INBOX"
	case inbox:
		return p.into
	case m.Ours && p.into == "":
		return m.Name
	case m.Ours:
		return p.into + "." + m.Name
	case p.into == "" && m.Use != "" && ours != "":
		return ours
	}
	var levels []string
	for i, l := range m.Levels {
		if i == 0 && strings.EqualFold(l, "INBOX") && len(m.Levels) > 1 {
			continue // what the source has below its INBOX stands beside it here
		}
		levels = append(levels, level(l))
	}
	if p.into != "" {
		levels = append([]string{p.into}, levels...)
	}
	if name := strings.Join(levels, "."); !strings.EqualFold(name, maildir.Inbox) {
		return name
	}
	return maildir.Inbox + "-2" // it is below the INBOX there
}

// level makes a level of a name one that a mailbox of ours may have: the
// separator and what no client shows become "_".
func level(s string) string {
	s = strings.ToValidUTF8(s, "_")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune("./%*\u2028\u2029", r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, s)
	s = strings.TrimSpace(norm.NFC.String(s)) // macOS has another one, which no client could name here
	for len(s) > maxName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	if s == "" {
		return "_"
	}
	return s
}

// Place is where messages of a mailbox of this host go, and whether they were asked
// for.
func (o Options) Place(mailbox string) (target string, wanted bool) {
	m := Mailbox{Name: mailbox, Ours: true}
	return (&place{into: o.Into}).name(m), o.chosen(m) == ""
}

// matches tells whether a name or pattern is that of a mailbox: INBOX in any case (RFC 9051 §5.1),
// and "[Gmail]/*" as it stands, though a "[" begins a class in a pattern.
func matches(pattern, mailbox string) bool {
	for _, p := range []string{pattern, strings.ReplaceAll(pattern, "[", `\[`)} {
		if ok, err := path.Match(p, mailbox); err == nil && ok {
			return true
		}
	}
	return pattern == mailbox || strings.EqualFold(pattern, maildir.Inbox) && strings.EqualFold(mailbox, maildir.Inbox)
}

func anyMatches(patterns []string, mailbox string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, mailbox) })
}

// chosen says whether a mailbox is to be brought, and if not, why.
func (o Options) chosen(m Mailbox) (skipped string) {
	switch {
	case anyMatches(o.Exclude, m.Name):
		return "it is excluded"
	case len(o.Include) > 0 && !anyMatches(o.Include, m.Name):
		return "it is not among those that were asked for"
	case m.Virtual && !slices.ContainsFunc(o.Include, func(p string) bool { return !strings.ContainsAny(p, "*?") && matches(p, m.Name) }):
		return "it shows messages of other mailboxes" // which a pattern would bring twice
	}
	return ""
}

// unmatched notes which patterns match none of the mailboxes that there are. Whoever asks for one
// wants its mail; that there is nothing to leave out may be as it should be.
func (t *Transfer) unmatched(boxes []Mailbox) (reports []Report) {
	none := func(pattern string) bool {
		return !slices.ContainsFunc(boxes, func(m Mailbox) bool { return matches(pattern, m.Name) })
	}
	t.Idle = slices.DeleteFunc(slices.Clone(t.Options.Exclude), func(p string) bool { return !none(p) })
	for _, p := range t.Options.Include {
		switch {
		case t.Options.Optional || !none(p):
		case t.Journal.knows(func(mailbox string) bool { return matches(p, mailbox) }):
			reports = append(reports, Report{Mailbox: p, Skipped: "the source does not have it any more"})
		default:
			reports = append(reports, Report{Mailbox: p, Error: "the source has no mailbox of this name or pattern"})
		}
	}
	return reports
}
