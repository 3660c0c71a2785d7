package wire

// Limits bounds what one client may make the server hold or read. There are
// two sets of them: PreAuth and PostAuth.
type Limits struct {
	Line     int64 // octets of one line of a command, without its literals
	Command  int64 // octets of one command, literals included, the message of APPEND excepted
	Literal  int64 // octets of one literal, the message of APPEND excepted
	NonSync  int64 // octets of one non-synchronising literal (LITERAL-, RFC 7888 §5), the message of APPEND excepted
	Literals int   // literals of one command
	Nesting  int   // parentheses and search keys inside each other
	Items    int   // entries of one list in parentheses: FETCH items, field names, patterns, search keys
	Ranges   int   // ranges of a sequence set, once merged
	Message  int64 // octets of the message of APPEND
	Discard  int64 // octets of a refused non-synchronising literal that are read and dropped beyond those of a command; a larger one ends the connection
	Saved    int   // ranges of UIDs that "$" stands for
	Live     int   // searches whose results are kept up to date (RFC 5267 §4.3)
	Notify   int   // mailboxes that NOTIFY watches
	SASL     int64 // octets of one SASL response line
	Bad      int   // commands in a row that are answered BAD before the connection is closed
}

// PreAuth bounds a connection before login.
var PreAuth = Limits{
	Line:     8192,
	Command:  8192,
	Literal:  8192,
	NonSync:  4096,
	Literals: 8,
	Nesting:  1,
	Items:    30, // fields of ID (RFC 2971 §3.3)
	Ranges:   0,
	Message:  0,
	Discard:  0, // but for what Command leaves
	SASL:     12288,
	Bad:      3,
}

// PostAuth bounds a session.
var PostAuth = Limits{
	Line:     64 << 10,
	Command:  1 << 20,
	Literal:  64 << 10,
	NonSync:  64 << 10,
	Literals: 1000,
	Nesting:  128,
	Items:    1000,
	Ranges:   16384,
	Message:  100 << 20,
	Discard:  1 << 30,
	Saved:    1 << 16,
	Live:     8,
	Notify:   10000,
	SASL:     0,
	Bad:      20,
}
