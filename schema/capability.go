package schema

import (
	"embed"
	"fmt"
	"strings"
)

// capabilityFile is every capability of the daemon, one a line, and where it can
// be switched off: "anywhere", "listener" for what is over by the time a user is
// known, or "nowhere". imapserver/wire writes it.
//
//go:embed capabilities.txt
var capabilityFile embed.FS

// off checks the names of capabilities that are switched off, and gives them as
// the daemon spells them.
func off(s spot, listener bool) []string {
	var names []string
	for _, each := range s.elements() {
		if name, ok := each.str(); ok {
			names = append(names, each.capability(name, listener))
		}
	}
	return names
}

// capability finds the capability that a name means. A number is not part of the
// name: APPENDLIMIT is enough.
func (s spot) capability(name string, listener bool) string {
	table, err := capabilityFile.ReadFile("capabilities.txt")
	if err != nil {
		s.fault(CodeInput, err.Error(), "")
	}
	var candidates []string
	for line := range strings.Lines(string(table)) {
		whole, where, _ := strings.Cut(strings.TrimSpace(line), " ")
		short, number, _ := strings.Cut(whole, "=")
		if strings.Trim(number, "0123456789") != "" {
			short = whole
		}
		candidates = append(candidates, whole)
		if !strings.EqualFold(name, whole) && !strings.EqualFold(name, short) {
			continue
		}
		switch {
		case where == "nowhere":
			s.faultOfValue(CodeValue, fmt.Sprintf("is %s, which cannot be switched off", quote(whole)), "")
		case where == "listener" && !listener:
			s.faultOfValue(CodeValue, fmt.Sprintf("is %s, which is about the time before login, when no user is known", quote(whole)),
				"switch it off for a listener")
		}
		return short
	}
	hint := "docs/imap.md lists those that there are"
	if near := Nearest(strings.ToUpper(name), candidates); near != "" {
		hint = fmt.Sprintf("did you mean %s?", quote(near))
	}
	s.faultOfValue(CodeReference, "names no capability of the daemon: "+quote(name), hint)
	return name
}
