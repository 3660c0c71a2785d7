package maildir

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// The files with the rights that others have in a mailbox.
const (
	DovecotACLFile = "dovecot-acl"
	CourierACLFile = "courierimapacl"
)

// everyRight are all that Courier knows, in the order in which it writes
// them.
const everyRight = "aceilrstwx"

// ConvertDovecotACL makes a courierimapacl of a dovecot-acl. Both are lines
// "<identifier> <rights>"; Dovecot's k is Courier's c, "authenticated" is
// everyone who can log in, and after " :" it has rights of its own. What
// Courier has no word for is counted in dropped.
func ConvertDovecotACL(data []byte) (acl []byte, dropped int) {
	rights := map[string]string{"owner": everyRight, "administrators": everyRight}
	order := []string{"owner", "administrators"}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		id, letters, ok := parseDovecotACLLine(line)
		if !ok {
			dropped++
			continue
		}
		if !slices.Contains(order, id) {
			order = append(order, id)
		} else if id != "owner" {
			letters += rights[id]
		}
		rights[id] = sortRights(letters)
	}
	var b bytes.Buffer
	for _, id := range order {
		fmt.Fprintf(&b, "%s %s\n", id, rights[id])
	}
	return b.Bytes(), dropped
}

// parseDovecotACLLine gives Courier's identifier, and the letters as they are.
func parseDovecotACLLine(line string) (id, letters string, ok bool) {
	if quoted, isQuoted := strings.CutPrefix(line, `"`); isQuoted {
		id, letters, ok = strings.Cut(quoted, `" `)
	} else {
		id, letters, ok = strings.Cut(line, " ")
	}
	if !ok || strings.ContainsAny(id, " \t\\\"") {
		return "", "", false // Courier's identifiers end at the first space
	}
	letters, _, _ = strings.Cut(letters, ":")
	name, negative := strings.CutPrefix(id, "-")
	switch {
	case name == "authenticated":
		name = "anyone"
	case name == "owner", name == "anyone":
	case strings.HasPrefix(name, "user="), strings.HasPrefix(name, "group="):
	default:
		return "", "", false
	}
	if negative {
		name = "-" + name
	}
	return name, letters, true
}

// sortRights gives each right once, as Courier spells and sorts them; p, which
// has no meaning here, goes along as Courier lets it.
func sortRights(letters string) string {
	var b strings.Builder
	letters = strings.ReplaceAll(letters, "k", "c")
	for _, r := range "aceilprstwx" {
		if strings.ContainsRune(letters, r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}
