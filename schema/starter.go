package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Starter gives the text of a commented starting description for a host. It
// loads. The error says why the host cannot have that name.
func Starter(host string) ([]byte, error) {
	s, err := compileSchema()
	if err != nil {
		return nil, err
	}
	if err := s.top.fields["hosts"].key.Unify(s.ctx.Encode(host)).Err(); err != nil {
		return nil, fmt.Errorf("%s cannot be the name of a host: it %s", quote(host), wanted(err))
	}
	return []byte(strings.ReplaceAll(starter, "HOST", strconv.Quote(host))), nil
}

const starter = `// What this host serves. "mailstead plan" shows what would be changed for it,
// and writes nothing; "mailstead apply" makes the changes after asking. Every
// .cue, .json and .yaml file of this directory is part of the description.
hosts: HOST: {
	// imap is port 143, where no login is accepted before STARTTLS; imaps is
	// port 993, where TLS comes first. What is not named is not served.
	listeners: {
		imap: {}
		imaps: {}
	}

	// The certificate of certbot's lineage of that name. Until it exists, plan
	// shows the command that makes it. Instead of certbot: {} there can be
	//   files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/private/mail.key"}
	//   selfSigned: {}
	tls: certificates: HOST: certbot: {}

	// Folders that every user gets beside the inbox. Clients find them by
	// their special use, whatever they are called.
	folders: {
		Archive: use: "archive"
		Drafts: use:  "drafts"
		Junk: use:    "junk"
		Sent: use:    "sent"
		Trash: use:   "trash"
	}

	// Nobody logs in yet. A system user logs in with the password of the
	// account, and has the mail in ~/Maildir:
	//   alice: {}
	// A virtual user has no account; "mailstead hash-password" makes the hash:
	//   "bob@example.org": password: hash: "$argon2id$..."
	users: {}
}
`
