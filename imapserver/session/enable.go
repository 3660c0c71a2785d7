package session

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// enable is ENABLE (RFC 5161). Capabilities that it does not know, that cannot
// be enabled or that are switched off for the user are passed over.
func (s *session) enable(c *wire.Enable) (imap.ResponseCode, error) {
	var rows []*wire.EnableRow
	for _, name := range c.Caps {
		row := wire.FindEnable(name)
		if row != nil && !s.off(row.Name) && !s.on(row.Name) && !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	s.w.Raw("* ENABLED")
	for _, row := range rows {
		s.w.Raw(" ")
		s.w.Raw(string(row.Name))
	}
	s.w.CRLF()
	for _, row := range rows {
		s.turnOn(row.Name)
		for _, c := range row.Implies {
			s.turnOn(c)
		}
	}
	return "", nil
}

// on tells whether a capability has been enabled.
func (s *session) on(c imap.Cap) bool { return slices.Contains(s.enabled, c) }

// turnOn enables a capability, unless it is enabled already.
func (s *session) turnOn(c imap.Cap) {
	if s.on(c) {
		return
	}
	s.enabled = append(s.enabled, c)
	switch c {
	case imap.CapUTF8Accept:
		s.r.SetAccept()
		s.w.SetUTF8()
	case imap.CapIMAP4rev2:
		s.r.SetUTF8()
		s.w.SetRev2()
	case imap.CapCondStore:
		s.tellHighest()
	case imap.CapUIDOnly:
		s.dropNumbered()
	}
}
