package doctor

import (
	"fmt"
	"strings"

	"mailstead/reconcile/kind"
)

// flaws says which finding a flaw of a Maildir is, and what to call it.
var flaws = map[kind.Flaw]struct {
	code Code
	seen string
}{
	kind.Incomplete: {MailBroken, "directories that are missing, or have another mode or owner"},
	kind.Irregular:  {MailIrregular, "entries that are no files"},
	kind.Unreadable: {MailUnread, "what its owner may not read"},
	kind.Stray:      {MailStray, "files where nobody looks for a message"},
	kind.WrongSize:  {MailSize, "names with a wrong S="},
	kind.WrongWire:  {MailWireSize, "names with a wrong W="},
	kind.Duplicate:  {MailDuplicate, "names that are there twice"},
	kind.Unusable:   {MailOwnFiles, "files beside the messages that their owner may not read and write"},
	kind.StaleTmp:   {MailStaleTmp, "files in tmp that nobody has touched for 36 hours"},
}

// Mail says what a look at a user's Maildir has found. broken tells that a plan
// has said already which directories are missing or wrong.
func Mail(user, path string, s kind.Scan, broken bool, origin string) []Finding {
	var found []Finding
	add := func(f Finding) { found = append(found, f.At(origin)) }
	subject := fmt.Sprintf("mail of %s (%s)", user, path)
	for _, f := range s.Flaws {
		row, known := flaws[f.Flaw]
		if !known || f.Flaw == kind.Incomplete && broken {
			continue
		}
		where := strings.Join(f.Where, ", ")
		if f.Count > len(f.Where) {
			where += ", ..."
		}
		add(New(row.code, subject, fmt.Sprintf("%s: %d (%s)", row.seen, f.Count, where)))
	}
	if s.Partly != "" {
		add(New(MailPartly, subject, s.Partly))
	}
	return found
}
