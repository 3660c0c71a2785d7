package wire

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Fixed are the capabilities that cannot be switched off: without them it would
// not be IMAP, or passwords would cross the network in the clear.
var Fixed = []imap.Cap{imap.CapIMAP4rev1, imap.CapStartTLS, imap.CapLoginDisabled}

// NeedRow is a capability that is not whole without others.
type NeedRow struct {
	Name  imap.Cap
	Needs []imap.Cap
}

// Needs is every capability that goes when one of others is switched off. What
// has to be enabled needs ENABLE.
var Needs = []NeedRow{
	{imap.CapQResync, []imap.Cap{imap.CapCondStore, imap.CapEnable}},
	{imap.CapUTF8Accept, []imap.Cap{imap.CapEnable}},
	{imap.CapUIDOnly, []imap.Cap{imap.CapEnable}},
	{imap.CapIMAP4rev2, []imap.Cap{ // RFC 9051 Appendix E
		imap.CapEnable, imap.CapNamespace, imap.CapUnselect, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes, imap.CapIdle,
		imap.CapSASLIR, imap.CapBinary, imap.CapListExtended, imap.CapListStatus, imap.CapMove, imap.CapSpecialUse, imap.CapStatusSize,
	}},
	{imap.CapSearchRes, []imap.Cap{imap.CapESearch}},
	{CapPartial, []imap.Cap{imap.CapESearch}},
	{CapContextSearch, []imap.Cap{imap.CapESearch, CapPartial}}, // which has PARTIAL too
	{imap.CapMultiSearch, []imap.Cap{imap.CapESearch}},
	{imap.CapSortDisplay, []imap.Cap{imap.CapSort}},
	{imap.CapESort, []imap.Cap{imap.CapSort, imap.CapESearch}},
	{imap.CapListStatus, []imap.Cap{imap.CapListExtended}},
	{imap.CapListMyRights, []imap.Cap{imap.CapListExtended, imap.CapACL}},
	{imap.CapListMetadata, []imap.Cap{imap.CapListExtended, imap.CapMetadata}},
	{CapQuotaStorage, []imap.Cap{imap.CapQuota}},
	{CapQuotaMessage, []imap.Cap{imap.CapQuota, imap.CapStatusSize}}, // which brings DELETED
	{imap.CapQuotaSet, []imap.Cap{imap.CapQuota}},
	{"RIGHTS=texk", []imap.Cap{imap.CapACL}},
	{imap.CapCreateSpecialUse, []imap.Cap{imap.CapSpecialUse}},
	{capXList, []imap.Cap{imap.CapSpecialUse}},
}

// called tells whether a name is that of the row. A number is not part of it:
// APPENDLIMIT is enough.
func (r CapabilityRow) called(name string) bool {
	whole := string(r.Name)
	short, number, _ := strings.Cut(whole, "=")
	if strings.Trim(number, "0123456789") != "" {
		short = whole
	}
	return strings.EqualFold(name, whole) || strings.EqualFold(name, short)
}

// Off gives the capabilities of those names and all that are not whole without
// them, in the order of the table. A name that is not in the table, or that
// cannot be switched off, is an error.
func Off(names ...string) ([]imap.Cap, error) {
	off := map[imap.Cap]bool{}
	for _, name := range names {
		i := slices.IndexFunc(Capabilities, func(r CapabilityRow) bool { return r.called(name) })
		switch {
		case i < 0:
			return nil, fmt.Errorf("switch off %q: no such capability", name)
		case slices.Contains(Fixed, Capabilities[i].Name):
			return nil, fmt.Errorf("switch off %q: it cannot be", name)
		}
		off[Capabilities[i].Name] = true
	}
	for more := true; more; {
		more = false
		for _, row := range Needs {
			if !off[row.Name] && slices.ContainsFunc(row.Needs, func(c imap.Cap) bool { return off[c] }) {
				off[row.Name], more = true, true
			}
		}
	}
	var list []imap.Cap
	for _, row := range Capabilities {
		if off[row.Name] {
			list = append(list, row.Name)
		}
	}
	return list, nil
}
