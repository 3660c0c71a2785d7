package limit

import "time"

// Set is the value of every limit.
type Set struct {
	Login  Login
	Auth   Auth
	Proxy  Proxy
	Before Command // of a connection before login
	After  Command // of a session
	Web    Web
	LMTP   LMTP
	Worker Worker
}

// Worker bounds what a process may have that serves the mail of one uid, and its users.
type Worker struct {
	Roots         int
	Subscriptions int // of a user
}

// LMTP bounds what a mail server of the host may cost.
type LMTP struct {
	Message     int64 // octets, on the wire and on disk
	Connections int
	Recipients  int           // of a message
	Line        int           // octets of a command (RFC 5321 §4.5.3.1.4, and what extensions add)
	Bad         int           // commands in a row
	Patience    time.Duration // for the next octets (RFC 5321 §4.5.3.2.7)
	Delivery    time.Duration // to one recipient
}

// Web bounds what a browser may cost at the web page.
type Web struct {
	Header      time.Duration
	Idle, Life  time.Duration
	Form        int64
	Requests    int // in a minute, of a source
	Logins      int
	Connections int
	PerSource   int
	Sessions    int
	Sources     int
}

// Login bounds what a client that has not logged in may cost, and how many
// sessions there may be. Connections and sessions are counted over all processes that
// accept connections (login.Board); those of a user by the one that has their mail.
type Login struct {
	Lifetime time.Duration
	Failures int

	// A known source, from which a user has logged in lately, is not dropped at
	// random and has Reserve more places: a flood of strangers shuts no user out.
	Begin, Rate, Full, Reserve int

	Known     int
	KnownLife time.Duration

	PerSource int // three times as many of its /26 (/48), nine times of its /21 (/32)
	NewMinute int // the same for the nets
	Sources   int

	Sessions       int
	SourceSessions int
	PerUser        int
	PerUserSource  int

	Answer time.Duration
	Stall  time.Duration
}

// Auth bounds what guessing may cost us and gain the guesser.
type Auth struct {
	Delay    time.Duration
	MaxDelay time.Duration

	// Far above what a person mistypes, and a device with an old password
	// reaches them only against itself.
	SourceMinute, SourceDay float64

	AccountMinute, AccountDay float64 // from sources that the account never logged in from

	Table    int
	Remember time.Duration // what a directory has said of a user

	Hashing       int
	Remote        int
	Queue         int
	Helpers       int
	IdleHelpers   int
	HelperTimeout time.Duration
	HelperLogins  int
}

// Command bounds what one client may make the server hold or read.
type Command struct {
	Line     int64
	Command  int64
	Literal  int64
	NonSync  int64 // LITERAL-, RFC 7888 §5
	Literals int
	Nesting  int
	Items    int
	Ranges   int
	Texts    int // search keys that look at all of a message
	Message  int64
	Discard  int64
	Saved    int
	Live     int
	Notify   int
	SASL     int64
	Bad      int
}

// Proxy bounds the connections that a proxy has to the servers behind it.
type Proxy struct {
	Kept        int // of users who have logged out
	KeptPerUser int
	KeptTime    time.Duration
	Recheck     time.Duration // the server looks at the password again
	Patience    time.Duration
	Alive       time.Duration
}
