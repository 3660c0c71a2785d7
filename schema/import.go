package schema

import (
	"path"
	"slices"
	"strings"
)

// imports completes the accounts elsewhere of a user.
func (c *completer) imports(s spot) []Import {
	var all []Import
	for _, s := range s.fields() {
		if !s.ok() {
			continue
		}
		i := Import{Name: s.name(), Origin: s.pos(), TLS: Implicit, Port: 993}
		i.Server, _ = s.at("server").str()
		i.User, _ = s.at("user").str()
		i.PasswordFile, _ = s.at("passwordFile").str()
		i.CA, _ = s.at("ca").str()
		i.Into, _ = s.at("into").str()
		if wrong, hint := FolderFault(i.Into); i.Into != "" && wrong != "" {
			s.at("into").faultOfValue(CodeName, wrong, hint)
		}
		if mode, ok := s.at("tls").str(); ok && TLSMode(mode) == STARTTLS {
			i.TLS, i.Port = STARTTLS, 143
		}
		if port, ok := s.at("port").number(); ok {
			i.Port = port
		}
		i.Hourly, _ = s.at("hourly").boolean()
		i.Mailboxes, i.Exclude = patterns(s.at("mailboxes")), patterns(s.at("exclude"))
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Import) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// patterns reads names of mailboxes, or patterns of them.
func patterns(s spot) []string {
	var all []string
	for _, e := range s.elements() {
		text, ok := e.str()
		if !ok {
			continue
		}
		if _, err := path.Match(text, ""); err != nil {
			e.faultOfValue(CodeValue, "is no pattern: "+quote(text), "\"*\" stands for anything but \"/\"; a \"[\" is written \"\\\\[\"")
			continue
		}
		all = append(all, text)
	}
	return all
}
