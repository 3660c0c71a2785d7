package wire

import "github.com/emersion/go-imap/v2"

// UndoneRow is an extension that other servers have and this one does not.
type UndoneRow struct {
	Name imap.Cap
	RFC  int
	Why  string
}

// Undone is every such extension, with the reason.
var Undone = []UndoneRow{
	{"MESSAGELIMIT", 9738, "there is no limit to tell: every command takes as many messages as a mailbox has"},
	{"CONTEXT=SORT", 5267, "an order that is kept up to date costs a sort for every change; a client asks for it again (SORT answers NOUPDATE)"},
	{"URLAUTH", 4467, "it lends messages to whoever has a URL, for submission servers that fetch them (BURL), of which there are hardly any"},
	{"ANNOTATE-EXPERIMENT-1", 5257, "an experiment that no client uses; keywords and METADATA have its purposes"},
	{"CONVERT", 5259, "converting what strangers have sent is for the client, which shows it under its user's eyes"},
	{"FILTERS", 5466, "named searches, which no client keeps on a server"},
	{"LANGUAGE", 5255, "answers are English, as is the log that they are looked for in"},
	{"I18NLEVEL=2", 5255, "no client chooses another comparison than that of I18NLEVEL=1"},
	{"MAILBOX-REFERRALS", 2193, "all mailboxes of a user are on one host; LOGIN-REFERRALS says on which"},
	{"QUOTA=RES-MAILBOX", 9208, "the quota of a Maildir++ counts octets and messages"},
	{"QUOTA=RES-ANNOTATION-STORAGE", 9208, "annotations have limits of their own"},
	{"JMAPACCESS", 9698, "there is no JMAP service beside it"},
}
