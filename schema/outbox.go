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
	if wrong, hint := FolderFault(o.Folder); wrong != "" {
		s.at("folder").faultOfValue(CodeName, wrong, hint)
		return
	}
	c.host.Outbox = o
}

// withOutbox adds the outbox to a list of folders that is without it.
func (c *completer) withOutbox(all folders) folders {
	o := c.host.Outbox
	if o == nil || slices.ContainsFunc(all.list, func(f Folder) bool { return f.Name == o.Folder }) {
		return all
	}
	all.list = append(slices.Clip(all.list), Folder{Name: o.Folder, Subscribed: true, Origin: o.Origin})
	slices.SortFunc(all.list, func(a, b Folder) int { return strings.Compare(a.Name, b.Name) })
	return all
}
