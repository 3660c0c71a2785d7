// Package web is the page of a mail host: users look after their own logins at it,
// admins look at the host and propose changes. It owns the HTML, the sessions of
// browsers and what keeps strangers off; it decides nothing else. Who somebody is and
// what they may have, auth says (imapserver/control), and for admins a process of root's
// that systemd starts for each request (AskAdmin); the page has no more than the tokens
// that these gave to the people who have logged in at it.
//
// cmd/mailstead runs it and answers what AskAdmin asks. It imports, of the project,
// schema, render, render/profile, imapserver/control and imapserver/limit.
package web
