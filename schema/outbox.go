package schema

import (
	"slices"
	"strings"
)

// outbox completes the folder from which mail is sent.
func (c *completer) outbox() {
	s := c.spot.at("outbox")
	o := &Outbox{Origin: s.pos()}
	if !s.exists() || !c.part(o, "outbox") {
		return
	}
	if wrong, hint := folderFault(o.Folder); wrong != "" {
		s.at("folder").faultOfValue(CodeName, wrong, hint)
		return
	}
	c.host.Outbox = o
}

// withOutbox adds the outbox to a list of folders that is without it.
func (c *completer) withOutbox(list []Folder) []Folder {
	o := c.host.Outbox
	if o == nil || slices.ContainsFunc(list, func(f Folder) bool { return f.Name == o.Folder }) {
		return list
	}
	list = append(slices.Clip(list), Folder{Name: o.Folder, Subscribed: true, Origin: o.Origin})
	slices.SortFunc(list, func(a, b Folder) int { return strings.Compare(a.Name, b.Name) })
	return list
}
