package session

import "github.com/emersion/go-imap/v2"

// logout is LOGOUT (RFC 9051 §6.1.3).
func (s *session) logout(tag string) (imap.ResponseCode, error) {
	s.w.Status("*", imap.StatusResponseTypeBye, "", "logging out")
	s.w.Status(tag, imap.StatusResponseTypeOK, "", "LOGOUT completed")
	return "", errLogout
}
