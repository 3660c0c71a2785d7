package control

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"path"
	"time"
)

// RecipientRequest asks auth for a user whom only a directory may know: the first whom
// one knows of the names that an address may mean.
type RecipientRequest struct {
	Names []string `json:"names"`
}

// Recipient is the answer. Error says why it cannot be said now.
type Recipient struct {
	Known   bool     `json:"known,omitempty"`
	Meant   int      `json:"meant,omitempty"` // which of the names it is
	Name    string   `json:"name,omitempty"`  // of the user, as the directory has it
	UID     int      `json:"uid,omitempty"`
	GID     int      `json:"gid,omitempty"`
	Maildir string   `json:"maildir,omitempty"`
	Roots   []string `json:"roots,omitempty"` // directories below which the Maildir is
	Quota   *Quota   `json:"quota,omitempty"`
	Untold  bool     `json:"untold,omitempty"` // of an Error: the directory never says it without a password
	Error   string   `json:"error,omitempty"`
}

// Quota is how much mail a user may have: in octets, and in messages; 0 is no limit. Set
// is as the daemon's configuration has it.
type Quota struct {
	Storage  int64 `json:"storage,omitempty"`
	Messages int64 `json:"messages,omitempty"`
	Set      bool  `json:"set,omitempty"`
}

// RecipientSocket is the path of auth's socket for that, beside its control socket.
func RecipientSocket(control string) string { return path.Join(path.Dir(control), "deliver") }

// MaxNames is how many names may be asked for at once.
const MaxNames = 16

// The bounds of a question, and of how many are answered at once.
const (
	maxRecipientRequest = 32 << 10
	maxRecipients       = 64
)

// AskRecipient asks the auth whose socket for that is at path. The errors are those of
// Ask.
func AskRecipient(ctx context.Context, path string, r RecipientRequest) (Recipient, error) {
	return exchange[Recipient](ctx, path, r)
}

// RecipientServer answers those who deliver mail. Its functions are called from many
// goroutines.
type RecipientServer struct {
	Allow  func(uid int) bool // who may ask
	Answer func(ctx context.Context, uid int, r RecipientRequest) Recipient
}

// Serve answers requests until ctx ends or l fails, and has closed l when it returns.
func (s RecipientServer) Serve(ctx context.Context, l net.Listener) error {
	return each(ctx, l, maxRecipients, func(c net.Conn) {
		who, err := peer(c)
		if err != nil || !s.Allow(int(who.Uid)) {
			return
		}
		c.SetDeadline(time.Now().Add(requestTimeout))
		var r RecipientRequest
		if err := json.NewDecoder(io.LimitReader(c, maxRecipientRequest)).Decode(&r); err != nil {
			return
		}
		a := s.Answer(ctx, int(who.Uid), r)
		c.SetDeadline(time.Now().Add(requestTimeout))
		json.NewEncoder(c).Encode(a) // the asker may be gone
	})
}
