package wire

import (
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// Phase is a set of moments in the life of a connection at which capabilities
// differ.
type Phase uint8

// The phases.
const (
	PhaseNoTLS Phase = 1 << iota // in the clear, where login is refused
	PhaseClear                   // in the clear, where login is allowed (loopback)
	PhaseTLS                     // under TLS, before login
	PhaseAuth                    // after login

	phaseLogin = PhaseClear | PhaseTLS
	phasePre   = PhaseNoTLS | phaseLogin
	phaseAny   = phasePre | PhaseAuth
)

// CapabilityRow is a capability and when it is advertised.
type CapabilityRow struct {
	Name imap.Cap
	RFC  int // 0: a draft, named beside the row
	When Phase
}

// Capabilities is every capability of the server, in the order advertised.
var Capabilities = []CapabilityRow{
	{imap.CapIMAP4rev1, 3501, phaseAny},
	{imap.CapIMAP4rev2, 9051, phaseAny},
	{imap.CapLiteralMinus, 7888, phasePre},
	{imap.CapLiteralPlus, 7888, PhaseAuth},
	{imap.CapSASLIR, 4959, phasePre},
	{imap.CapID, 2971, phaseAny},
	{imap.CapEnable, 5161, phaseAny},
	{imap.CapIdle, 2177, phaseAny},
	{imap.CapStartTLS, 3501, PhaseNoTLS | PhaseClear},
	{imap.CapLoginDisabled, 3501, PhaseNoTLS},
	{imap.AuthCap("SCRAM-SHA-256-PLUS"), 7677, PhaseTLS},
	{imap.AuthCap("SCRAM-SHA-256"), 7677, phaseLogin},
	{imap.AuthCap("EXTERNAL"), 4422, PhaseTLS},
	{imap.AuthCap("OAUTHBEARER"), 7628, phaseLogin},
	{imap.AuthCap("XOAUTH2"), 0, phaseLogin}, // no draft either: Google's before OAUTHBEARER
	{imap.AuthCap("PLAIN"), 4616, phaseLogin},
	{imap.AuthCap("LOGIN"), 3501, phaseLogin},
	{imap.CapLoginReferrals, 2221, phasePre},
	{imap.CapNamespace, 2342, PhaseAuth},
	{imap.CapChildren, 3348, PhaseAuth},
	{imap.CapUnselect, 3691, PhaseAuth},
	{imap.CapUIDPlus, 4315, PhaseAuth},
	{imap.CapMove, 6851, PhaseAuth},
	{imap.CapSpecialUse, 6154, PhaseAuth},
	{capXList, 0, PhaseAuth}, // no draft either: Google's before SPECIAL-USE, and all that Outlook asks for
	{imap.CapListExtended, 5258, PhaseAuth},
	{imap.CapListStatus, 5819, PhaseAuth},
	{imap.CapStatusSize, 8438, PhaseAuth},
	{imap.CapESearch, 4731, PhaseAuth},
	{imap.CapSearchRes, 5182, PhaseAuth},
	{imap.CapWithin, 5032, PhaseAuth},
	{imap.CapSearchFuzzy, 6203, PhaseAuth},
	{CapPartial, 9394, PhaseAuth},
	{CapContextSearch, 5267, PhaseAuth},
	{imap.CapMultiSearch, 7377, PhaseAuth},
	{imap.CapSort, 5256, PhaseAuth},
	{imap.CapSortDisplay, 5957, PhaseAuth},
	{imap.CapESort, 5267, PhaseAuth},
	{CapThreadOrderedSubject, 5256, PhaseAuth},
	{CapThreadReferences, 5256, PhaseAuth},
	{CapThreadRefs, 0, PhaseAuth}, // draft-ietf-morg-inthread
	{CapI18NLevel1, 5255, PhaseAuth},
	{imap.CapInProgress, 9585, PhaseAuth},
	{imap.CapUTF8Accept, 6855, PhaseAuth},
	{imap.CapCondStore, 7162, PhaseAuth},
	{imap.CapQResync, 7162, PhaseAuth},
	{imap.CapUIDOnly, 9586, PhaseAuth},
	{imap.CapUnauthenticate, 8437, PhaseAuth},
	{imap.CapQuota, 9208, PhaseAuth},
	{CapQuotaStorage, 9208, PhaseAuth},
	{CapQuotaMessage, 9208, PhaseAuth},
	{imap.CapQuotaSet, 9208, PhaseAuth},
	{imap.CapACL, 4314, PhaseAuth},
	{"RIGHTS=texk", 4314, PhaseAuth},
	{imap.CapListMyRights, 8440, PhaseAuth},
	{imap.CapMetadata, 5464, PhaseAuth},
	{imap.CapListMetadata, 9590, PhaseAuth},
	{imap.CapNotify, 5465, PhaseAuth},
	{imap.CapBinary, 3516, PhaseAuth},
	{imap.CapMultiAppend, 3502, PhaseAuth},
	{imap.CapCatenate, 4469, PhaseAuth},
	{imap.CapReplace, 8508, PhaseAuth},
	{imap.CapPreview, 8970, PhaseAuth},
	{capUIDBatches, 10022, PhaseAuth},
	{capDeflate, 4978, PhaseAuth},
	{capAppendLimit, 7889, PhaseAuth},
	{imap.CapSaveDate, 8514, PhaseAuth},
	{imap.CapObjectID, 8474, PhaseAuth},
	{imap.CapCreateSpecialUse, 6154, PhaseAuth},
}

// capAppendLimit tells how large a message may be (RFC 7889 §2), in every
// mailbox alike.
var capAppendLimit = imap.Cap(fmt.Sprintf("APPENDLIMIT=%d", PostAuth.Message))

// capXList is LIST with special uses, as Outlook 2013 and later ask for them: those
// do not know SPECIAL-USE.
const capXList imap.Cap = "XLIST"

// Advertised tells whether a capability is in the table.
func Advertised(name imap.Cap) bool {
	return slices.ContainsFunc(Capabilities, func(r CapabilityRow) bool { return r.Name == name })
}

// Driven is the mechanisms that are offered where auth says so.
var Driven = []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"}

// OfferedIn tells whether a capability is in the table for that phase.
func OfferedIn(phase Phase, name imap.Cap) bool {
	return slices.ContainsFunc(Capabilities, func(r CapabilityRow) bool { return r.Name == name && r.When&phase != 0 })
}

// AppendCapabilities adds the capabilities of a phase, parted by spaces, but
// for those in without.
func AppendCapabilities(dst []byte, phase Phase, without ...imap.Cap) []byte {
	first := true
	for _, row := range Capabilities {
		if row.When&phase == 0 || slices.Contains(without, row.Name) {
			continue
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(dst, row.Name...)
	}
	return dst
}
