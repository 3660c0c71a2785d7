package auth

import "mailstead/imapserver/limit"

// Limits bounds what guessing may cost us and gain the guesser.
type Limits = limit.Auth

// Default is what holds where the configuration says nothing.
var Default = limit.Default().Auth
