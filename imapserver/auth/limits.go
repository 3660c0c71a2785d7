package auth

import "time"

// Limits bounds what guessing may cost us and gain the guesser. Default is the
// table of them.
type Limits struct {
	Delay    time.Duration // from the login to its refusal, the first time
	MaxDelay time.Duration // the same, for a source that goes on

	SourceMinute float64 // refusals of one source in a minute before it is refused unheard
	SourceDay    float64 // the same in a day

	AccountMinute float64 // refusals of one account in a minute, from sources that it never logged in from
	AccountDay    float64 // the same in a day

	Table    int           // sources, accounts, known sources and users of directories remembered, each
	Remember time.Duration // what a directory has said of a user

	Hashing       int           // hashes computed at once; 0: as many as there are processors
	Queue         int           // logins that wait for a hash or a helper; more are told to come back
	Helpers       int           // mailstead-pam processes at most
	IdleHelpers   int           // of them kept while there is nothing to do
	HelperTimeout time.Duration // for one login through PAM
	HelperLogins  int           // logins until a helper is replaced
}

// Default is the limits in force.
//
// SourceMinute and SourceDay are far above what a person mistypes, and a
// device with an old password reaches them only against itself: a source is an
// address (IPv4) or a /64 (IPv6).
var Default = Limits{
	Delay:         2 * time.Second,
	MaxDelay:      15 * time.Second,
	SourceMinute:  10,
	SourceDay:     50,
	AccountMinute: 30,
	AccountDay:    300,
	Table:         1 << 16,
	Remember:      24 * time.Hour,
	Queue:         512,
	Helpers:       8,
	IdleHelpers:   2,
	HelperTimeout: 10 * time.Second,
	HelperLogins:  1000,
}
