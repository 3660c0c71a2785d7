package wire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// EnableRow is a capability that a client has to turn on.
type EnableRow struct {
	Name    imap.Cap
	Implies []imap.Cap // what it turns on beside itself
}

// Enabling is every capability that ENABLE turns on (RFC 5161), as far as it is
// advertised.
var Enabling = []EnableRow{
	{imap.CapUTF8Accept, nil},
	{imap.CapCondStore, nil},
	{imap.CapQResync, []imap.Cap{imap.CapCondStore}}, // RFC 7162 §3.2.3
	{imap.CapUIDOnly, nil},
	{imap.CapIMAP4rev2, nil},
}

// FindEnable gives the row of a capability, or nil.
func FindEnable(name imap.Cap) *EnableRow {
	for i := range Enabling {
		if strings.EqualFold(string(Enabling[i].Name), string(name)) {
			return &Enabling[i]
		}
	}
	return nil
}
