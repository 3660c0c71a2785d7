package render

const pamText = `# Kept by mailstead: "mailstead apply" writes this file again, and what is
# changed here is lost.
#
# Who may read mail over IMAP: the rules of this host for every login. No session
# is opened and no password changed, so the file has these two phases only.
@include common-auth
@include common-account
`

// PAMService is the PAM service that mailstead-pam asks, as Debian writes one.
func PAMService() []byte { return []byte(pamText) }
