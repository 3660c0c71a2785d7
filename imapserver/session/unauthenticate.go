package session

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// errUnauthenticated ends run after UNAUTHENTICATE.
var errUnauthenticated = errors.New("unauthenticated")

// unauthenticate is UNAUTHENTICATE (RFC 8437): the session ends, and the
// connection goes back to the login with all that the client has sent since.
// Nothing of the session is left, so there is nothing to reset. The login gives
// the answer, once it is ready for the next command. With COMPRESS it is not offered,
// as what was read ahead cannot be told apart into what is compressed and what is
// not; whoever sends it is told BYE. A refusal would have what is sent behind it run
// as the user who wants to be gone (RFC 8437 §3).
func (s *session) unauthenticate(tag string) (imap.ResponseCode, error) {
	if s.compressed {
		return "", &wire.ByeError{Text: "UNAUTHENTICATE is not possible with COMPRESS"}
	}
	s.deselect()
	s.endNotify()
	if err := s.w.Flush(); err != nil {
		return "", lost(err)
	}
	var answer bytes.Buffer
	w := wire.NewWriter(&answer)
	w.Status(tag, imap.StatusResponseTypeOK, "", "UNAUTHENTICATE completed")
	w.Flush()
	if err := s.Back(answer.Bytes(), s.r.Buffered()); err != nil {
		return "", fmt.Errorf("%w: %w", errUnauthenticated, err) // there is no way to answer
	}
	return "", errUnauthenticated
}
