package limit

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Unit is what a limit counts.
type Unit string

// The units. A rate is a number that may have a fraction.
const (
	Number  Unit = ""
	Rate    Unit = "rate"
	Percent Unit = "%"
	Seconds Unit = "s"
	Octets  Unit = "octets"
)

// Row is a limit. One with a name may be set in a description, from Min to Max;
// the others hold as they are.
type Row struct {
	Name     string
	Unit     Unit
	Default  int64
	Min, Max int64
	Meaning  string // completes "the limit is ..."
	at       func(*Set) any
}

// Table is the limits of connections, sessions and guesses, in the order of the
// manual. Those of a command are Commands.
var Table = []Row{
	{"loginTime", Seconds, 60, 30, 600, "how long a connection may take until it is logged in, from its accept, TLS included, in seconds", func(s *Set) any { return &s.Login.Lifetime }},
	{"failedLogins", Number, 3, 1, 10, "how many refused logins one connection may have before it is closed", func(s *Set) any { return &s.Login.Failures }},
	{"waiting", Number, 1000, 20, 100_000, "how many connections may be there that are not logged in; more are closed at once", func(s *Set) any { return &s.Login.Full }},
	{"dropFrom", Number, 200, 10, 100_000, "from how many connections that are not logged in on new ones are closed at random", func(s *Set) any { return &s.Login.Begin }},
	{"dropPercent", Percent, 30, 1, 100, "how many per cent of them that are closed there, which rises to all", func(s *Set) any { return &s.Login.Rate }},
	{"reserve", Number, 100, 0, 10_000, "how many more may wait where a user has logged in from there lately, which are not closed at random", func(s *Set) any { return &s.Login.Reserve }},
	{"waitingPerAddress", Number, 30, 1, 10_000, "how many of those that are not logged in one address may have (IPv6: a /64), three times as many its /26 (a /48), nine times its /21 (a /32)", func(s *Set) any { return &s.Login.PerSource }},
	{"newPerAddress", Number, 300, 10, 1_000_000, "how many new connections in a minute one address may make; its nets as many times more", func(s *Set) any { return &s.Login.NewMinute }},
	{"sessions", Number, 100_000, 10, 10_000_000, "how many sessions there may be", func(s *Set) any { return &s.Login.Sessions }},
	{"sessionsPerAddress", Number, 30_000, 1, 10_000_000, "how many of them one address may have, whoever its users are", func(s *Set) any { return &s.Login.SourceSessions }},
	{"sessionsPerUser", Number, 50, 1, 10_000, "how many of them one user may have", func(s *Set) any { return &s.Login.PerUser }},
	{"sessionsPerUserAndAddress", Number, 20, 1, 10_000, "how many of these may come from one address", func(s *Set) any { return &s.Login.PerUserSource }},
	{"stall", Seconds, 300, 10, 3600, "for how long a client may take nothing of what it is sent, in seconds", func(s *Set) any { return &s.Login.Stall }},
	{"delay", Seconds, 2, 0, 10, "how long the refusal of a login takes the first time, in seconds; for a source that goes on four times as long each time", func(s *Set) any { return &s.Auth.Delay }},
	{"longestDelay", Seconds, 15, 0, 25, "how long it takes at the most, in seconds", func(s *Set) any { return &s.Auth.MaxDelay }},
	{"guessesPerAddress", Rate, 10, 2, 10_000, "how many wrong passwords in a minute one address may try (IPv6: a /64) before it is refused unheard, and how many sessions of one user from there may end by a fault of the daemon", func(s *Set) any { return &s.Auth.SourceMinute }},
	{"guessesPerAddressAndDay", Rate, 50, 2, 1_000_000, "how many wrong passwords in a day", func(s *Set) any { return &s.Auth.SourceDay }},
	{"guessesPerUser", Rate, 30, 2, 10_000, "how many wrong passwords in a minute may be tried for one user by addresses from which that user has not logged in before; those from which they have are always heard, but where many users share the address, as at web mail", func(s *Set) any { return &s.Auth.AccountMinute }},
	{"guessesPerUserAndDay", Rate, 300, 2, 1_000_000, "how many of them in a day", func(s *Set) any { return &s.Auth.AccountDay }},
	{"proxyKept", Number, 1000, 0, 100_000, "how many connections to servers behind it a proxy keeps for users who have logged out", func(s *Set) any { return &s.Proxy.Kept }},
	{"proxyKeptPerUser", Number, 4, 0, 1000, "how many of them for one user", func(s *Set) any { return &s.Proxy.KeptPerUser }},
	{"proxyKeptTime", Seconds, 300, 1, 1700, "for how long it keeps one that nobody uses, in seconds", func(s *Set) any { return &s.Proxy.KeptTime }},
	{"proxyRecheck", Seconds, 3600, 1, 86_400, "after how long the server has to look at the password again, in seconds: a password that is good no more is good for no longer, unless the server ends the connection", func(s *Set) any { return &s.Proxy.Recheck }},
	{"proxyPatience", Seconds, 15, 1, 60, "how long a server behind a proxy may take for a login, from the connection on, in seconds; for the answer itself as much more as longestDelay is", func(s *Set) any { return &s.Proxy.Patience }},

	{"", Number, 1 << 16, 0, 0, "how many sources with a login are remembered by a listener, the latest", func(s *Set) any { return &s.Login.Known }},
	{"", Seconds, 30 * 24 * 3600, 0, 0, "for how long after the last login", func(s *Set) any { return &s.Login.KnownLife }},
	{"", Number, 1 << 16, 0, 0, "how many sources are counted by a listener, and as many of each size of net", func(s *Set) any { return &s.Login.Sources }},
	{"", Seconds, 30, 0, 0, "how long a worker has for its first octet", func(s *Set) any { return &s.Login.Answer }},
	{"", Number, 1 << 16, 0, 0, "how many sources, accounts, known sources with guesses and users of directories are remembered, each", func(s *Set) any { return &s.Auth.Table }},
	{"", Seconds, 24 * 3600, 0, 0, "for how long what a directory has said of a user is remembered", func(s *Set) any { return &s.Auth.Remember }},
	{"", Number, 0, 0, 0, "how many hashes are computed at once; 0: as many as there are processors", func(s *Set) any { return &s.Auth.Hashing }},
	{"", Number, 512, 0, 0, "how many logins wait for a hash or a helper; more are told to come back", func(s *Set) any { return &s.Auth.Queue }},
	{"", Number, 8, 0, 0, "how many PAM helpers run at most", func(s *Set) any { return &s.Auth.Helpers }},
	{"", Number, 2, 0, 0, "how many of them are kept while there is nothing to do", func(s *Set) any { return &s.Auth.IdleHelpers }},
	{"", Seconds, 10, 0, 0, "how long one login through PAM may take", func(s *Set) any { return &s.Auth.HelperTimeout }},
	{"", Number, 1000, 0, 0, "after how many logins a helper is replaced", func(s *Set) any { return &s.Auth.HelperLogins }},
	{"", Number, 128, 0, 0, "how many logins a proxy makes at a server behind it at once", func(s *Set) any { return &s.Auth.Remote }},
	{"", Seconds, 5, 0, 0, "how long a server has to show that a connection which was kept is alive", func(s *Set) any { return &s.Proxy.Alive }},
	{"", Seconds, 10, 0, 0, "how long the header of a request to the web page may take, and half of how long all of the request may", func(s *Set) any { return &s.Web.Header }},
	{"", Seconds, 30 * 60, 0, 0, "after how long without a request somebody has to log in again at the web page", func(s *Set) any { return &s.Web.Idle }},
	{"", Seconds, 8 * 3600, 0, 0, "after how long in any case", func(s *Set) any { return &s.Web.Life }},
	{"", Octets, 32 << 10, 0, 0, "octets of a form sent to the web page", func(s *Set) any { return &s.Web.Form }},
	{"", Number, 180, 0, 0, "how many requests in a minute one address may send to the web page", func(s *Set) any { return &s.Web.Requests }},
	{"", Number, 10, 0, 0, "how many of them may be logins; what guessing may is beside it", func(s *Set) any { return &s.Web.Logins }},
	{"", Number, 512, 0, 0, "how many connections the web page has at once", func(s *Set) any { return &s.Web.Connections }},
	{"", Number, 32, 0, 0, "how many of them are from one address", func(s *Set) any { return &s.Web.PerSource }},
	{"", Number, 4096, 0, 0, "in how many browsers somebody is logged in at the web page; beyond, those end that were not seen for longest", func(s *Set) any { return &s.Web.Sessions }},
	{"", Number, 1 << 16, 0, 0, "how many addresses are counted there", func(s *Set) any { return &s.Web.Sources }},
	{"", Number, 4096, 0, 0, "in how many directories the mail of one uid may be, each of which its process is let into; those of virtual users are one", func(s *Set) any { return &s.Worker.Roots }},
	{"", Number, 10_000, 0, 0, "to how many mailboxes a user may be subscribed; beyond, SUBSCRIBE is refused, and those that the file has had before stay", func(s *Set) any { return &s.Worker.Subscriptions }},
	{"", Octets, 100 << 20, 0, 0, "octets of a message that a mail server hands over, on the wire and on disk", func(s *Set) any { return &s.LMTP.Message }},
	{"", Number, 64, 0, 0, "how many connections of mail servers there may be, by LMTP", func(s *Set) any { return &s.LMTP.Connections }},
	{"", Number, 100, 0, 0, "how many recipients a message may have there; to the others it may be sent again", func(s *Set) any { return &s.LMTP.Recipients }},
	{"", Octets, 4096, 0, 0, "octets of a command of LMTP", func(s *Set) any { return &s.LMTP.Line }},
	{"", Number, 10, 0, 0, "how many of them in a row may make no sense", func(s *Set) any { return &s.LMTP.Bad }},
	{"", Seconds, 300, 0, 0, "how long a mail server may keep silent there", func(s *Set) any { return &s.LMTP.Patience }},
	{"", Seconds, 120, 0, 0, "how long the delivery of a message to one recipient may take", func(s *Set) any { return &s.LMTP.Delivery }},
}

// CommandRow is a limit of one command: before login, and after.
type CommandRow struct {
	Unit          Unit
	Before, After int64
	Meaning       string
	at            func(*Command) any
}

// Commands is the limits of a command.
var Commands = []CommandRow{
	{Octets, 8192, 64 << 10, "octets of one line of a command, without its literals", func(c *Command) any { return &c.Line }},
	{Octets, 8192, 1 << 20, "octets of one command, literals included, the message of APPEND excepted", func(c *Command) any { return &c.Command }},
	{Octets, 8192, 64 << 10, "octets of one literal, the message of APPEND excepted", func(c *Command) any { return &c.Literal }},
	{Octets, 4096, 64 << 10, "octets of one non-synchronising literal (LITERAL-, RFC 7888 §5), the message of APPEND excepted", func(c *Command) any { return &c.NonSync }},
	{Number, 8, 1000, "literals of one command", func(c *Command) any { return &c.Literals }},
	{Number, 1, 128, "parentheses and search keys inside each other", func(c *Command) any { return &c.Nesting }},
	{Number, 30, 1000, "entries of one list in parentheses: FETCH items, field names, patterns, search keys, fields of ID (RFC 2971 §3.3)", func(c *Command) any { return &c.Items }},
	{Number, 0, 16384, "ranges of a sequence set, once merged", func(c *Command) any { return &c.Ranges }},
	{Number, 0, 64, "TEXT and BODY keys of one search, each of which goes through all of a message", func(c *Command) any { return &c.Texts }},
	{Octets, 0, 100 << 20, "octets of the message of APPEND", func(c *Command) any { return &c.Message }},
	{Octets, 0, 1 << 30, "octets of a refused non-synchronising literal that are read and dropped beyond those of a command; a larger one ends the connection", func(c *Command) any { return &c.Discard }},
	{Number, 0, 1 << 16, `ranges of UIDs that "$" stands for`, func(c *Command) any { return &c.Saved }},
	{Number, 0, 8, "searches whose results are kept up to date (RFC 5267 §4.3)", func(c *Command) any { return &c.Live }},
	{Number, 0, 10000, "mailboxes that NOTIFY watches", func(c *Command) any { return &c.Notify }},
	{Octets, 12288, 0, "octets of one SASL response line", func(c *Command) any { return &c.SASL }},
	{Number, 3, 20, "commands in a row that are answered BAD before the connection is closed", func(c *Command) any { return &c.Bad }},
}

// Default is what holds where nothing is said.
func Default() Set {
	var s Set
	for _, row := range Table {
		put(row.at(&s), row.Default)
	}
	for _, row := range Commands {
		put(row.at(&s.Before), row.Before)
		put(row.at(&s.After), row.After)
	}
	return s
}

// put stores a value of the table where it belongs. There are no other types in
// Set, and a test goes through all of them.
func put(field any, n int64) {
	switch f := field.(type) {
	case *int:
		*f = int(n)
	case *int64:
		*f = n
	case *float64:
		*f = float64(n)
	case *time.Duration:
		*f = time.Duration(n) * time.Second
	}
}

// With gives the set with the named limits replaced, which Check has found good.
func (s Set) With(values map[string]int64) Set {
	for _, row := range Table {
		if n, ok := values[row.Name]; ok && row.Name != "" {
			put(row.at(&s), n)
		}
	}
	return s
}

// Check says what is wrong with limits by name: one error for each.
func Check(values map[string]int64) (faults []error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(Table, func(r Row) bool { return r.Name == name })
		if i < 0 || name == "" {
			faults = append(faults, fmt.Errorf("%s: there is no such limit", name))
			continue
		}
		if n, row := values[name], Table[i]; n < row.Min || n > row.Max {
			faults = append(faults, fmt.Errorf("%s: %d is not from %d to %d", name, n, row.Min, row.Max))
		}
	}
	return faults
}
