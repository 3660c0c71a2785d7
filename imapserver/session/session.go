// Package session is a connection after login: it reads commands (wire),
// executes them on the user's mail (store) and writes the responses. A worker
// calls Serve, once for each connection; one goroutine owns a session, and
// one file holds one command. It must not import login, auth or config.
package session

import (
	"context"
	"log/slog"
	"net"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// Params is what a session is told of its user and its connection.
type Params struct {
	Account   *store.Account
	User      string
	Namespace string       // prefix of the personal namespace: "" or "INBOX."
	Log       *slog.Logger // its attributes name the connection
	Limits    *wire.Limits // nil: wire.PostAuth
	Without   []imap.Cap   // capabilities that are switched off for this user

	Buffered []byte // what the client sent after its login, read already
	Tag      string // if not "": the tag of the LOGIN or AUTHENTICATE that Serve answers with OK first

	RemoteAddr string
	TLS        bool
}

// Serve runs a session until the client leaves, which is no error, or the
// connection fails. When ctx ends, the running command is finished and BYE
// sent. Serve closes conn and what it has opened of the account, not the account.
func Serve(ctx context.Context, conn net.Conn, p Params) error { panic("todo") }
