package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// folderList completes the folders of a struct, laid over those that the user
// gets anyway. A folder with a fault is left out.
func (c *completer) folderList(s spot, base folders) folders {
	fields := s.fields()
	if len(fields) == 0 {
		return base
	}
	byName := make(map[string]Folder, len(base.list)+len(fields))
	for _, f := range base.list {
		byName[f.Name] = f
	}
	for _, s := range fields {
		switch {
		case !s.ok():
			continue
		case s.name() == inbox && s.at("purge").exists():
			base.purgeInbox = c.purgesInbox(s, base.purgeInbox)
			continue
		case !folderName(s):
			continue
		}
		f, known := byName[s.name()]
		if !known {
			f = Folder{Name: s.name(), Subscribed: c.schema.subscribe}
		}
		f.Origin = s.pos()
		if use, ok := s.at("use").str(); ok {
			f.Use = use
		}
		if subscribe, ok := s.at("subscribe").boolean(); ok {
			f.Subscribed = subscribe
		}
		if after := s.at("purge", "after"); after.exists() {
			f.PurgeAfter = after.days()
		}
		byName[f.Name] = f
	}
	base.list = slices.SortedFunc(maps.Values(byName), func(a, b Folder) int { return strings.Compare(a.Name, b.Name) })
	specialUses(s, base.list)
	return base
}

// specialUses finds two folders for one special use (RFC 6154 §2 leaves it to
// chance which of them a client takes).
func specialUses(s spot, list []Folder) {
	first := map[string]Folder{}
	for _, f := range list {
		other, twice := first[f.Use]
		switch {
		case f.Use == "":
		case !twice:
			first[f.Use] = f
		default:
			if !s.at(f.Name).exists() { // the other one is of this list
				f, other = other, f
			}
			s.at(f.Name).fault(CodeDuplicate, fmt.Sprintf("has the special use %q, as %s has (%s)", f.Use, quote(other.Name), other.Origin),
				`each special use is for one folder of a user: take it from the other one with use: ""`)
		}
	}
}

// maxFolderName is what fits into one name of a directory, however it is encoded.
const maxFolderName = 200

// folderName checks the name of a folder.
func folderName(s spot) bool {
	wrong, hint := FolderFault(s.name())
	if strings.EqualFold(s.name(), inbox) {
		hint = `leave it out; a rule by which mail is removed from the inbox is written INBOX: purge: after: "365d"`
	}
	if wrong != "" {
		s.fault(CodeName, wrong, hint)
	}
	return wrong == ""
}

// FolderFault says what is wrong with the name of a folder, which may be one of a command line,
// and what to do about it; "" is nothing.
func FolderFault(name string) (wrong, hint string) {
	top, _, _ := strings.Cut(name, ".")
	switch {
	case name == "":
		wrong = "is empty"
	case len(name) > maxFolderName:
		wrong = fmt.Sprintf("is longer than %d bytes", maxFolderName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }):
		wrong = "holds a character that cannot be seen"
	case strings.Contains(name, "/"):
		wrong, hint = "holds a slash", fmt.Sprintf("levels are parted by dots: %s", quote(strings.ReplaceAll(name, "/", ".")))
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, "."):
		wrong, hint = "begins or ends with a dot", "dots stand between levels, such as Archive.2026"
	case strings.Contains(name, ".."):
		wrong, hint = "has an empty level", "one dot stands between two levels, such as Archive.2026"
	case strings.EqualFold(name, "INBOX"):
		wrong, hint = "is the inbox, which every user has", "leave it out"
	case strings.EqualFold(top, "INBOX"):
		wrong, hint = "begins with INBOX", fmt.Sprintf(`write it without the prefix: %s; namespace: "INBOX." is what shows it to clients`, quote(name[len("INBOX."):]))
	case strings.ContainsAny(name, "*%"):
		wrong = "holds * or %, with which clients search for names"
	case strings.HasPrefix(name, "#"):
		wrong = "begins with #, which is for other namespaces (RFC 9051 §5.1)"
	case spacedLevel(name):
		wrong, hint = "has a level that begins or ends with a space", "clients drop such spaces, and then miss the folder"
	}
	return wrong, hint
}

func spacedLevel(name string) bool {
	for level := range strings.SplitSeq(name, ".") {
		if strings.TrimSpace(level) != level {
			return true
		}
	}
	return false
}

// policies completes the folders of each policy.
func (c *completer) policies() map[string]folders {
	lists := map[string]folders{}
	for _, s := range c.spot.at("policies").fields() {
		lists[s.name()] = c.withOutbox(c.folderList(s.at("folders"), folders{}))
	}
	return lists
}
