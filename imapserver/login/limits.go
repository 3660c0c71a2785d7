package login

import "mailstead/imapserver/limit"

// Limits bounds what a client that has not logged in may cost, and how many
// sessions there may be. The octets of a command are wire.PreAuth's.
type Limits = limit.Login

// Default is what holds where the configuration says nothing.
var Default = limit.Default().Login
