package wire

import "mailstead/imapserver/limit"

// Limits bounds what one client may make the server hold or read. There are
// two sets of them, PreAuth and PostAuth, which are imapserver/limit's.
type Limits = limit.Command

// PreAuth bounds a connection before login.
var PreAuth = limit.Default().Before

// PostAuth bounds a session.
var PostAuth = limit.Default().After
