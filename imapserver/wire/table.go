package wire

import "github.com/emersion/go-imap/v2"

// State is a set of connection states (RFC 9051 §3).
type State uint8

// The states.
const (
	NotAuthenticated State = 1 << iota
	Authenticated
	Selected

	loggedIn = Authenticated | Selected
	anyState = NotAuthenticated | loggedIn
)

// CommandFlag says how a command gets along with untagged updates.
type CommandFlag uint8

// The flags.
const (
	// UsesSeq: the command or its answer speaks of messages by sequence
	// number, so no EXPUNGE is sent before its tagged response
	// (RFC 9051 §7.5.1).
	UsesSeq CommandFlag = 1 << iota
	// Scans: before the tagged response the mailbox is compared with the disk.
	Scans
	// NoPoll: no untagged updates are sent with this command.
	NoPoll
	// Removes: the command removes messages of the selected mailbox, and tells
	// so whatever the client has asked to be notified of.
	Removes
)

// CommandRow is a command.
type CommandRow struct {
	Name   string   // in capitals; UID forms have rows of their own
	RFC    int      // 0: none, as with its capability
	Cap    imap.Cap // the capability that brings it; "" for the base
	States State
	Flags  CommandFlag
	parse  func(d *decoder) Command
}

// Commands is every command of the server.
var Commands = []CommandRow{
	{"CAPABILITY", 3501, "", anyState, 0, plain(Capability{})},
	{"NOOP", 3501, "", anyState, Scans, plain(Noop{})},
	{"LOGOUT", 3501, "", anyState, NoPoll, plain(Logout{})},
	{"ID", 2971, imap.CapID, anyState, 0, parseID},

	{"STARTTLS", 3501, imap.CapStartTLS, NotAuthenticated, NoPoll, plain(StartTLS{})},
	{"AUTHENTICATE", 3501, "", NotAuthenticated, NoPoll, parseAuthenticate},
	{"LOGIN", 3501, "", NotAuthenticated, NoPoll, parseLogin},

	{"UNAUTHENTICATE", 8437, imap.CapUnauthenticate, loggedIn, NoPoll, plain(Unauthenticate{})},
	{"ENABLE", 5161, imap.CapEnable, loggedIn, 0, parseEnable},
	{"SELECT", 3501, "", loggedIn, NoPoll, parseSelect},
	{"EXAMINE", 3501, "", loggedIn, NoPoll, parseExamine},
	{"CREATE", 3501, "", loggedIn, 0, parseCreate},
	{"DELETE", 3501, "", loggedIn, 0, parseDelete},
	{"RENAME", 3501, "", loggedIn, 0, parseRename},
	{"SUBSCRIBE", 3501, "", loggedIn, 0, parseSubscribe},
	{"UNSUBSCRIBE", 3501, "", loggedIn, 0, parseUnsubscribe},
	{"LIST", 3501, "", loggedIn, 0, parseList},
	{"LSUB", 3501, "", loggedIn, 0, parseLSub},
	{"XLIST", 0, capXList, loggedIn, 0, parseXList},
	{"NAMESPACE", 2342, imap.CapNamespace, loggedIn, 0, plain(Namespace{})},
	{"STATUS", 3501, "", loggedIn, 0, parseStatus},
	{"GETQUOTA", 9208, imap.CapQuota, loggedIn, 0, parseGetQuota},
	{"GETQUOTAROOT", 9208, imap.CapQuota, loggedIn, 0, parseGetQuotaRoot},
	{"SETQUOTA", 9208, imap.CapQuotaSet, loggedIn, 0, parseSetQuota},
	{"GETACL", 4314, imap.CapACL, loggedIn, 0, parseGetACL},
	{"SETACL", 4314, imap.CapACL, loggedIn, 0, parseSetACL},
	{"DELETEACL", 4314, imap.CapACL, loggedIn, 0, parseDeleteACL},
	{"LISTRIGHTS", 4314, imap.CapACL, loggedIn, 0, parseListRights},
	{"MYRIGHTS", 4314, imap.CapACL, loggedIn, 0, parseMyRights},
	{"GETMETADATA", 5464, imap.CapMetadata, loggedIn, 0, parseGetMetadata},
	{"SETMETADATA", 5464, imap.CapMetadata, loggedIn, 0, parseSetMetadata},
	{"APPEND", 3501, "", loggedIn, 0, parseAppend},
	{"COMPRESS", 4978, capDeflate, loggedIn, NoPoll, parseCompress},
	{"IDLE", 2177, imap.CapIdle, loggedIn, 0, plain(Idle{})},
	{"ESEARCH", 7377, imap.CapMultiSearch, loggedIn, 0, parseESearch},
	{"NOTIFY", 5465, imap.CapNotify, loggedIn, Scans, parseNotify},

	{"CHECK", 3501, "", Selected, Scans, plain(Check{})},
	{"CLOSE", 3501, "", Selected, NoPoll, plain(Close{})},
	{"UNSELECT", 3691, imap.CapUnselect, Selected, NoPoll, plain(Unselect{})},
	{"EXPUNGE", 3501, "", Selected, Removes, parseExpunge},
	{"UID EXPUNGE", 4315, imap.CapUIDPlus, Selected, Removes, parseUIDExpunge},
	{"SEARCH", 3501, "", Selected, UsesSeq, parseSearch},
	{"UID SEARCH", 3501, "", Selected, 0, parseUIDSearch},
	{"SORT", 5256, imap.CapSort, Selected, UsesSeq, parseSort},
	{"UID SORT", 5256, imap.CapSort, Selected, 0, parseUIDSort},
	{"THREAD", 5256, "", Selected, UsesSeq, parseThread},
	{"UID THREAD", 5256, "", Selected, 0, parseUIDThread},
	{"CANCELUPDATE", 5267, CapContextSearch, Selected, 0, parseCancelUpdate},
	{"FETCH", 3501, "", Selected, UsesSeq, parseFetch},
	{"UID FETCH", 3501, "", Selected, 0, parseUIDFetch},
	{"STORE", 3501, "", Selected, UsesSeq, parseStore},
	{"UID STORE", 3501, "", Selected, 0, parseUIDStore},
	{"COPY", 3501, "", Selected, UsesSeq, parseCopy},
	{"UID COPY", 3501, "", Selected, 0, parseUIDCopy},
	{"UIDBATCHES", 10022, capUIDBatches, Selected, 0, parseUIDBatches},
	{"REPLACE", 8508, imap.CapReplace, Selected, Removes, parseReplace},
	{"UID REPLACE", 8508, imap.CapReplace, Selected, Removes, parseUIDReplace},
	{"MOVE", 6851, imap.CapMove, Selected, Removes, parseMove},
	{"UID MOVE", 6851, imap.CapMove, Selected, Removes, parseUIDMove},
}

// plain parses a command without arguments.
func plain(c Command) func(*decoder) Command {
	return func(*decoder) Command { return c }
}

func findCommand(name string) *CommandRow {
	for i := range Commands {
		if Commands[i].Name == name {
			return &Commands[i]
		}
	}
	return nil
}
