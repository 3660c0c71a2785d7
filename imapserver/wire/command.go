package wire

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Command is one of the command types of this file: Noop, *Login, *Fetch ...
type Command any

// The commands. Mailbox names are UTF-8, as the client wrote them but for the
// encoding: prefix and INBOX are the session's business.
type (
	// Capability is CAPABILITY.
	Capability struct{}
	// Noop is NOOP.
	Noop struct{}
	// Logout is LOGOUT.
	Logout struct{}
	// Unauthenticate is UNAUTHENTICATE.
	Unauthenticate struct{}
	// StartTLS is STARTTLS. What the Reader has buffered by then must be
	// dropped together with the Reader.
	StartTLS struct{}
	// Check is CHECK.
	Check struct{}
	// Close is CLOSE.
	Close struct{}
	// Unselect is UNSELECT.
	Unselect struct{}
	// Idle is IDLE; Reader.ReadDone reads its end.
	Idle struct{}
	// Compress is COMPRESS; DEFLATE is all there is.
	Compress struct{}
	// Namespace is NAMESPACE.
	Namespace struct{}

	// ID is ID (RFC 2971); no Params for NIL.
	ID struct{ Params []IDParam }
	// IDParam is a field of ID; the value of NIL is "".
	IDParam struct{ Key, Value string }

	// Authenticate is AUTHENTICATE. Initial is the decoded initial response
	// (RFC 4959), nil where there is none; Reader.ReadSASL reads the others.
	Authenticate struct {
		Mechanism string // in capitals
		Initial   []byte
	}
	// Login is LOGIN.
	Login struct{ User, Password string }

	// Enable is ENABLE (RFC 5161); names in capitals, unknown ones included.
	Enable struct{ Caps []imap.Cap }

	// Select is SELECT and EXAMINE.
	Select struct {
		Mailbox  string
		ReadOnly bool
		QResync  *QResync // nil: not asked for
	}
	// Create is CREATE. Uses are special uses that the mailbox is to have.
	Create struct {
		Mailbox string
		Uses    []imap.MailboxAttr
	}
	// Delete is DELETE.
	Delete struct{ Mailbox string }
	// Rename is RENAME.
	Rename struct{ From, To string }
	// Subscribe is SUBSCRIBE and UNSUBSCRIBE.
	Subscribe struct {
		Mailbox string
		On      bool
	}

	// List is LIST (RFC 9051 §6.3.9), LSUB and XLIST.
	List struct {
		LSub      bool
		XList     bool
		Reference string
		Patterns  []string // without those that no name can match
		Extended  bool     // selection options, several patterns or return options were given

		SelectSubscribed bool
		SelectRemote     bool
		SelectRecursive  bool
		SelectSpecialUse bool

		ReturnSubscribed bool
		ReturnChildren   bool
		ReturnSpecialUse bool
		ReturnStatus     []StatusItem // nil: not asked for
		ReturnMyRights   bool
		ReturnMetadata   []string // entries; nil: not asked for
	}

	// Status is STATUS.
	Status struct {
		Mailbox string
		Items   []StatusItem
	}

	// Append is APPEND. The octets of its messages have not been read yet:
	// AppendMessage.Part gives them, Next the messages after the first. The
	// command is at its end once Next has given nil, or after Close.
	Append struct {
		Mailbox string
		First   *AppendMessage

		d        *decoder
		single   bool // no message may follow the first
		messages int
		literal  *Literal // that has been announced last
	}

	// Replace is REPLACE and UID REPLACE. Num is one message, Append has one.
	Replace struct {
		Num    imap.NumSet
		Append *Append
	}

	// UIDBatches is UIDBATCHES: batches First to Last, or all where Last is 0.
	UIDBatches struct{ Size, First, Last uint32 }

	// Expunge is EXPUNGE, and UID EXPUNGE where UIDs is not nil.
	Expunge struct{ UIDs imap.UIDSet }

	// Search is SEARCH and UID SEARCH. The Key's strings are UTF-8.
	Search struct {
		UID    bool
		Return *SearchReturn // nil: an answer as of RFC 3501
		Key    SearchKey
	}

	// Fetch is FETCH and UID FETCH: the type of Set tells which.
	Fetch struct {
		Set   imap.NumSet // imap.SeqSet or imap.UIDSet
		Items []FetchItem // macros are resolved; UID FETCH adds no UID by itself

		ChangedSince uint64        // 0: whatever the mod-sequence
		Vanished     bool          // tell what is gone since
		Partial      *PartialRange // of the messages of Set; nil: all of them
	}

	// Store is STORE and UID STORE.
	Store struct {
		Set    imap.NumSet
		Op     StoreOp
		Silent bool
		Flags  []imap.Flag

		UnchangedSince *uint64 // a mod-sequence; nil: in any case
	}

	// Copy is COPY, UID COPY, MOVE and UID MOVE.
	Copy struct {
		Set     imap.NumSet
		Mailbox string
		Move    bool
	}
)

// StoreOp is how STORE combines flags.
type StoreOp int

// The ways of STORE.
const (
	StoreSet StoreOp = iota
	StoreAdd
	StoreRemove
)

// The fields of ID by which a proxy tells a server that trusts it of its client.
const (
	// IDOrigin is the client's address, and IDSession the proxy's name of the session, as
	// Dovecot's proxies have them.
	IDOrigin, IDSession = "x-originating-ip", "x-session-id"
	// IDProxy is words, of which there are two.
	IDProxy = "x-mailstead-proxy"
	// IDsOfProxy is how many fields there are then.
	IDsOfProxy = 3
	// ProxyDelays: refusals may come at once, as the proxy delays them.
	ProxyDelays = "delays"
	// ProxyShared: many users come from the client's address.
	ProxyShared = "shared"
)

// Value gives a field; "" for one that is not there.
func (c *ID) Value(key string) string {
	if i := slices.IndexFunc(c.Params, func(p IDParam) bool { return strings.EqualFold(p.Key, key) }); i >= 0 {
		return c.Params[i].Value
	}
	return ""
}

// maxClient bounds what is kept of what a client says of itself.
const maxClient = 64

// Client is the name and the version of the client, as it says, cut short.
func (c *ID) Client() string {
	client := strings.TrimSpace(c.Value("name") + " " + c.Value("version"))
	return strings.Clone(client[:min(len(client), maxClient)])
}
