package adopt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mail is what was found in a Maildir.
type Mail struct {
	Maildir    string   `json:"maildir"`
	Missing    bool     `json:"missing,omitempty"` // there is none
	Fault      string   `json:"fault,omitempty"`   // why it could not be looked at
	Folders    []Folder `json:"folders,omitempty"` // INBOX and all others that can be opened, sorted by name
	Subscribed []string `json:"subscribed,omitempty"`
	Odd        []string `json:"odd,omitempty"`    // what starts with a dot, and is no folder
	Shared     bool     `json:"shared,omitempty"` // it shows folders of others by the file system (maildirmake --add)
}

// Folder is a mailbox as Courier's files have it.
type Folder struct {
	Name     string `json:"name"` // UTF-8, without prefix
	Messages int    `json:"messages"`
	Newest   int64  `json:"newest,omitempty"`   // when the newest arrived, in seconds
	Validity uint32 `json:"validity,omitempty"` // 0: Courier has never opened it
	Next     uint32 `json:"next,omitempty"`     // the next UID, after the mail that nobody has seen yet
	Fault    string `json:"fault,omitempty"`    // why it cannot be read
}

// use is a special use (RFC 6154 §2) and the names that clients give its folder,
// in lower case: those of their own languages, too. Where clients disagree, the one
// with the most messages counts, of equals the one with the newest, and then the
// first of this list.
type use struct {
	name  string
	names []string
}

var uses = []use{
	{"archive", []string{"archive", "archives", "archiv", "archivo", "archivio"}},
	{"drafts", []string{"drafts", "draft", "entwürfe", "entwurf", "brouillons", "borradores", "bozze", "concepten"}},
	{"junk", []string{"junk", "spam", "junk e-mail", "junk-e-mail", "junk email", "junk mail", "bulk mail", "spamverdacht", "indésirables", "courrier indésirable"}},
	{"sent", []string{"sent", "sent messages", "sent items", "sent mail", "sent-mail", "gesendet", "gesendete objekte", "gesendete elemente", "envoyés", "messages envoyés", "éléments envoyés", "enviados", "inviata", "verzonden"}},
	{"trash", []string{"trash", "deleted messages", "deleted items", "papierkorb", "gelöschte objekte", "gelöschte elemente", "corbeille", "éléments supprimés", "papelera", "cestino", "prullenbak"}},
}

// chosen is the folder that gets a special use, and why.
type chosen struct {
	use, folder string
	subscribed  bool
	why         string // "" where there was nothing to choose
}

// choose finds the special folders among those of a user. prefer is the name of
// the trash that the server itself moves mail to.
func (m *Mail) choose(prefer string) []chosen {
	var list []chosen
	for _, u := range uses {
		var some []Folder
		for _, f := range m.Folders {
			if slices.Contains(u.names, strings.ToLower(f.Name)) || u.name == "trash" && f.Name == prefer {
				some = append(some, f)
			}
		}
		if len(some) == 0 {
			continue
		}
		slices.SortStableFunc(some, func(a, b Folder) int { return better(u, prefer, a, b) })
		list = append(list, chosen{u.name, some[0].Name, slices.Contains(m.Subscribed, some[0].Name), why(some)})
	}
	return list
}

// better puts the folder first that a special use goes to.
func better(u use, prefer string, a, b Folder) int {
	rank := func(f Folder) int {
		if u.name == "trash" && f.Name == prefer {
			return -1
		}
		return slices.Index(u.names, strings.ToLower(f.Name))
	}
	return cmp.Or(-cmp.Compare(a.Messages, b.Messages), -cmp.Compare(a.Newest, b.Newest), cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name))
}

// why tells what decided between folders of which the first was chosen.
func why(some []Folder) string {
	if len(some) < 2 {
		return ""
	}
	var others []string
	reason := "the first by custom"
	for i, f := range some[1:] {
		others = append(others, fmt.Sprintf("%s (%d)", f.Name, f.Messages))
		if i == 0 && f.Messages != some[0].Messages {
			reason = "it has the most messages"
		} else if i == 0 && f.Newest != some[0].Newest {
			reason = "it has the newest message"
		}
	}
	return fmt.Sprintf("%s (%d) rather than %s: %s", some[0].Name, some[0].Messages, strings.Join(others, ", "), reason)
}

// messages counts the messages of all folders.
func (m *Mail) messages() (n int) {
	for _, f := range m.Folders {
		n += f.Messages
	}
	return n
}

// Found adds what was found of a user's mail. A system user without any is left
// out: Courier let nobody in without a Maildir.
func (u *User) Found(m *Mail) {
	u.Mail = m
	switch {
	case m == nil || u.Left != "":
	case m.Fault != "":
		u.Mail = nil
		u.Left = "the mail in " + printable(cut(m.Maildir)) + " cannot be looked at: " + printable(cut(m.Fault))
	case m.Missing && u.Hash == "":
		u.Mail, u.Shut = nil, true
		u.Left = "there is no " + printable(cut(m.Maildir)) + ": Courier lets nobody in without a Maildir"
	}
}
