package login

import "time"

// Limits bounds what a client that has not logged in may cost, and how many
// sessions a user may have. The octets of a command are wire.PreAuth's.
type Limits struct {
	Lifetime time.Duration // of a connection before it is logged in, from accept, TLS included
	Failures int           // refused logins of one connection

	// Connections that are not logged in are dropped at random from Begin on,
	// with a probability that rises from Rate (in per cent) to all at Full.
	// Those of a source from which a user has logged in lately are not, and have
	// Reserve more places: a flood of strangers shuts no user out.
	Begin, Rate, Full, Reserve int

	Known     int           // sources with a login that are remembered, the latest
	KnownLife time.Duration // since the last login of one

	PerSource int // connections of one source that are not logged in; three times as many of its /26 (/48), nine times of its /21 (/32)
	NewMinute int // new connections of one source in a minute; the same for the nets
	Sources   int // sources counted

	PerUser       int // sessions of one user
	PerUserSource int // of them from one source

	Answer time.Duration // that a worker has for its first octet
	Stall  time.Duration // for which a client may take nothing of what it is sent
}

// Default is the limits in force.
var Default = Limits{
	Lifetime:      60 * time.Second,
	Failures:      3,
	Begin:         200,
	Rate:          30,
	Full:          1000,
	Reserve:       100,
	Known:         1 << 16,
	KnownLife:     30 * 24 * time.Hour,
	PerSource:     30,
	NewMinute:     300,
	Sources:       1 << 16,
	PerUser:       50,
	PerUserSource: 20,
	Answer:        30 * time.Second,
	Stall:         5 * time.Minute,
}
