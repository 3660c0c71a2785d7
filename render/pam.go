package render

const pamText = `# Kept by mailstead: "mailstead apply" writes this file again, and what is
# changed here is lost.
#
# Who may read mail over IMAP: the rules of this host for every login. No password
# is changed, so there are no rules for that.
@include common-auth
@include common-account
`

// PAMService is the PAM service that mailstead-pam asks, as Debian writes one.
// session names the file whose session rules belong to it; without any, the helper
// opens no session: PAM would go by the rules of the service "other".
func PAMService(session string) []byte {
	if session == "" {
		return []byte(pamText)
	}
	return []byte(pamText + "session include " + session + "\n")
}
