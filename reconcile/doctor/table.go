package doctor

// Code names a kind of finding, for programs.
type Code string

// The codes.
const (
	ListenerUnreachable Code = "listener-unreachable"
	ListenerStrange     Code = "listener-strange"
	StarttlsMissing     Code = "starttls-missing"
	LoginBeforeTLS      Code = "login-before-tls"
	TLSFails            Code = "tls-fails"
	ServerFails         Code = "server-fails"

	CertificateOther     Code = "certificate-other"
	CertificateName      Code = "certificate-name"
	CertificateUntrusted Code = "certificate-untrusted"
	CertificateUsage     Code = "certificate-usage"
	ChainIncomplete      Code = "chain-incomplete"
	ChainOrder           Code = "chain-order"
	ChainExpired         Code = "chain-expired"
	ChainEnds            Code = "chain-ends"
	CertificateExpired   Code = "certificate-expired"
	CertificateTooEarly  Code = "certificate-too-early"
	CertificateEnds      Code = "certificate-ends"
	CertificateFailed    Code = "certificate-failed"
	NothingRenews        Code = "nothing-renews"
	HookNotRun           Code = "hook-not-run"

	NameUnknown   Code = "name-unknown"
	NameElsewhere Code = "name-elsewhere"
	NameLocal     Code = "name-local"

	PortTaken Code = "port-taken"

	HostLacks Code = "host-lacks"

	DaemonDown      Code = "daemon-down"
	DaemonMute      Code = "daemon-mute"
	DaemonOutOfStep Code = "daemon-out-of-step"
	Changed         Code = "changed"
	Pending         Code = "pending"
	Waiting         Code = "waiting"

	FileExposed  Code = "file-exposed"
	FileWritable Code = "file-writable"

	MailGone       Code = "mail-gone"
	MailUnreadable Code = "mail-unreadable"
	MailBroken     Code = "mail-broken"
	MailIrregular  Code = "mail-irregular"
	MailUnread     Code = "mail-unreadable-message"
	MailStray      Code = "mail-stray"
	MailSize       Code = "mail-size"
	MailWireSize   Code = "mail-wire-size"
	MailDuplicate  Code = "mail-duplicate"
	MailStaleTmp   Code = "mail-stale-tmp"
	MailOwnFiles   Code = "mail-own-files"
	MailPartly     Code = "mail-partly"

	DiskFull     Code = "disk-full"
	DiskLow      Code = "disk-low"
	DiskReadOnly Code = "disk-read-only"

	UnitFailed     Code = "unit-failed"
	UnitStopped    Code = "unit-stopped"
	UnitMasked     Code = "unit-masked"
	UnitOverridden Code = "unit-overridden"
	UnitWeakened   Code = "unit-weakened"
	TimerDead      Code = "timer-dead"
	TimerLate      Code = "timer-late"

	ClockUnsynchronised Code = "clock-unsynchronised"
	ClockBack           Code = "clock-back"

	LimitInotify     Code = "limit-inotify"
	LimitDescriptors Code = "limit-descriptors"
	LimitPromise     Code = "limit-promise"
)

// Row is what there is to say of a code wherever it is found.
type Row struct {
	Code     Code
	Severity Severity
	Meaning  string
	Remedy   string
}

// Table is every kind of finding, in the order of the documentation.
var Table = []Row{
	{ListenerUnreachable, Error, "Nobody can connect there.",
		"See whether the unit of the listener runs (systemctl status), and whether a firewall is in the way."},
	{ListenerStrange, Error, "What answers there is no IMAP server, or not this one: clients cannot log in.",
		"Find out what listens there (ss -ltnp), and end it."},
	{StarttlsMissing, Error, "Clients that insist on TLS, as they should, cannot log in.",
		"Find out what answers there (ss -ltnp): a listener with tls: \"starttls\" offers it. A firewall that filters mail may also take it away."},
	{LoginBeforeTLS, Error, "A client may send its password before TLS, for everybody on the way to read (RFC 9051 §11.1).",
		"Find out what answers there (ss -ltnp): a listener with tls: \"starttls\" takes no login before TLS."},
	{TLSFails, Error, "No client can log in there.",
		"The journal of the listener's unit says why: journalctl -u 'mailstead-login@*'."},
	{ServerFails, Error, "Whoever logs in at the proxy in front of it is told that it is away.",
		"See whether the server runs and can be reached from here. Its certificate has to be for its name (serverName), and from an authority that ca has."},
	{CertificateOther, Error, "What is served is not what was installed: the daemon has not read it, or somebody else answers.",
		"Reload the daemon: mailstead apply."},
	{CertificateName, Error, "Clients that are set up with this name refuse to connect, or warn.",
		"Have a certificate issued that has the name, or take the name from the description."},
	{CertificateUntrusted, Error, "Clients that do not know who has issued the certificate refuse to connect, or warn.",
		"Use a certificate of an authority that clients know, or give them this one's."},
	{CertificateUsage, Error, "Clients that look at what a certificate is for refuse to connect, and others do not: it looks like a fault of theirs.",
		"Have one issued for servers: extended key usage serverAuth, and key usage digitalSignature."},
	{ChainIncomplete, Error, "Clients that do not happen to know the intermediate certificate refuse to connect, and others do not: it looks like a fault of theirs.",
		"Put the intermediate certificates behind the leaf, in the file that the description names."},
	{ChainOrder, Warning, "Clients that take the chain as it comes refuse to connect (RFC 5246 §7.4.2), and others put it in order: it looks like a fault of theirs.",
		"Write the file anew: the leaf, then each issuer of the one before it, and nothing else."},
	{ChainExpired, Error, "Clients refuse to connect, or warn, although the certificate itself is good.",
		"Get the chain from the authority anew (certbot renew --force-renewal), and put it behind the leaf."},
	{ChainEnds, Warning, "From then on clients refuse to connect, although the certificate itself is good for longer: no renewal comes in time.",
		"Get the chain from the authority anew (certbot renew --force-renewal), or use another authority."},
	{CertificateExpired, Error, "Clients refuse to connect, or warn.",
		"Renew it (certbot renew), then run mailstead deploy-hook --all."},
	{CertificateTooEarly, Error, "Clients refuse to connect, or warn.",
		"Set the clock if it is wrong; otherwise wait, or use the certificate from before."},
	{CertificateEnds, Warning, "When it has ended, clients refuse to connect.",
		"Find out why nobody has renewed it: certbot renew --dry-run."},
	{CertificateFailed, Error, "The renewed certificate is not served: the old one is, until it ends.",
		"Mend what it says, then run mailstead deploy-hook --all."},
	{NothingRenews, Warning, "The certificate will end, and nobody will have renewed it.",
		"Enable certbot's timer: systemctl enable --now certbot.timer."},
	{HookNotRun, Warning, "A renewed certificate is not served when certbot has it, but when mailstead-cert-check.timer has looked: up to an hour and a half later.",
		"Have certbot run the hook again; mailstead deploy-hook --all does for now what it would have done."},
	{NameUnknown, Error, "Clients that are set up with this name do not find the host.",
		"Make an address record (A, AAAA) for the name, or take it from the description."},
	{NameElsewhere, Warning, "Clients that are set up with this name go to another machine, unless that passes them on to this one.",
		"Correct the address record, or take the name from the description. Behind a router that translates addresses this is as it should be."},
	{NameLocal, Note, "This machine itself takes the name for its own (/etc/hosts), so that nothing is said here about what others see.",
		"Look from another machine: mailstead doctor --outside."},
	{PortTaken, Error, "Clients that connect there speak to another program.",
		"End that program, then run mailstead apply."},
	{HostLacks, Error, "The description needs something that this host does not have: nothing can be applied until it is there, and whom it is about cannot log in.",
		"Give the host what is missing, or take it from the description."},
	{DaemonDown, Error, "Nobody can log in.",
		"Start it with mailstead apply. The journal says why it ended: journalctl -u mailstead-imapd."},
	{DaemonMute, Error, "People log in as before, but nobody can ask the daemon: what is applied does not reach it, and purge, undelete and the other commands do not work.",
		"Restart it, which ends no session: systemctl restart mailstead-imapd.service."},
	{DaemonOutOfStep, Error, "The daemon serves something else than is on disk.",
		"Run mailstead apply; what it does is shown first."},
	{Changed, Warning, "Somebody has changed what Mailstead applied; what that means depends on what it is.",
		"Look at it (mailstead plan), then put it back (mailstead apply) or write it into the description."},
	{Pending, Warning, "The description asks for something that the host does not have yet.",
		"Look at it (mailstead plan), then apply it."},
	{Waiting, Warning, "Part of the description is not in force.",
		"Do what is said, then run mailstead apply."},
	{FileExposed, Error, "Others on this host can read a secret: whoever has the key can pretend to be this host.",
		"Take the right away (chmod), and replace the secret if somebody may have read it."},
	{FileWritable, Error, "Whoever may write there decides what root does here.",
		"Take the right away (chmod go-w, chown root)."},
	{MailGone, Error, "The user's mail is not where it was applied. An apply would make an empty Maildir there, and mail programs would drop what they have of the old one.",
		"See whether its file system is mounted (findmnt), and who has moved the mail; run mailstead apply only if it is to begin anew."},
	{MailUnreadable, Error, "The user's mail cannot be looked at, so probably not be read either.",
		"mailstead explain-login USER says where it ends."},
	{MailBroken, Error, "Mail cannot be delivered there, or not be read.",
		"Run mailstead apply, or what it says."},
	{MailIrregular, Warning, "What is no file is no message: clients do not see it.",
		"Move it out of the Maildir."},
	{MailUnread, Error, "The user cannot read the message. FETCH, SEARCH, SORT and THREAD leave it out and end with NO, at which clients may stop.",
		"Give it to the owner of the Maildir (chown) or its mode back (chmod 600)."},
	{MailStray, Warning, "It is no message, nor anything that a mail server knows: clients do not see it.",
		"Move it out of the Maildir, or where it belongs: messages go into new/."},
	{MailSize, Warning, "The size in the name of the file (S=) is not that of the file: quotas count wrongly, and some servers give clients too little of the message.",
		"Rename the file without its S=; the message is then new to clients of servers that know it by its whole name."},
	{MailWireSize, Warning, "The size in the name of the file (W=) is not that of the message with CRLF: Dovecot, if it reads this Maildir, complains.",
		"Rename the file without its W=."},
	{MailDuplicate, Warning, "Two files have the same name before the flags: servers take them for one message, and clients see one of the two.",
		"Compare them, and remove one; or rename one, before the \":\"."},
	{MailStaleTmp, Warning, "Deliveries that were broken off have left them: they take room, and will never be messages.",
		"mailstead doctor --remove-stale-tmp removes them."},
	{MailOwnFiles, Error, "What is kept beside the messages (the index, subscriptions, the quota's sum) can be neither read nor written: the user's mail does not open, or not all of it works.",
		"Give it back to the owner of the Maildir (chown -R). A copy that root has put back belongs to root."},
	{MailPartly, Note, "There is more than is looked at without being asked to.",
		"mailstead doctor --all-messages looks at all of it."},
	{DiskFull, Error, "No mail is delivered or stored there, and what needs to note something fails. Reading goes on.",
		"Make room, or give it more: df -h, df -i. What clients delete now frees nothing where the description says keep."},
	{DiskLow, Warning, "When it is full, no mail is delivered or stored there.",
		"Make room, or give it more: df -h, df -i."},
	{DiskReadOnly, Error, "No mail is delivered or stored there, and flags stay as they are. The kernel does that when a disk has faults.",
		"Look why (dmesg, findmnt); then mount it for writing: mount -o remount,rw."},
	{UnitFailed, Error, "What the unit is for has not happened.",
		"Its journal says why: journalctl -u UNIT. Then start it again."},
	{UnitStopped, Error, "What the unit is for does not happen: without mailstead-spawn, or the sockets that the parts meet at, nobody can log in.",
		"See who has stopped it (journalctl -u UNIT), then start it: mailstead apply."},
	{UnitMasked, Error, "What the unit is for does not happen: nothing may start it, and no apply writes it.",
		"See who has masked it, and why; then systemctl unmask UNIT, and mailstead apply."},
	{UnitOverridden, Note, "Somebody has changed settings of the unit in a file beside it (systemctl edit), which Mailstead leaves alone.",
		"Read it, if something of the unit does not work: systemctl cat UNIT."},
	{UnitWeakened, Warning, "A file beside the unit (systemctl edit) takes back part of what keeps it from the rest of the host: whoever breaks into it gets further.",
		"Take it out of the file, then systemctl daemon-reload and systemctl try-restart UNIT."},
	{TimerDead, Error, "What the timer is for will not happen.",
		"Run mailstead apply."},
	{TimerLate, Warning, "What the timer is for has not happened when it should, and does not until that is over.",
		"See what its service does: systemctl status UNIT."},
	{ClockUnsynchronised, Warning, "The clock may be wrong: certificates, tokens and the dates of messages go by it.",
		"Have it set by the network: timedatectl set-ntp true."},
	{ClockBack, Error, "The clock is behind: certificates and tokens may be refused, and dates of messages are wrong.",
		"Set the clock (timedatectl), and find out why it was wrong."},
	{LimitInotify, Warning, "Beyond it, mailboxes are looked at every now and then: new mail shows up later.",
		"Raise it: sysctl -w, and a file in /etc/sysctl.d."},
	{LimitDescriptors, Warning, "Beyond it, new connections are refused.",
		"Raise the limit (systemctl edit UNIT, LimitNOFILE=), or find out who holds so many connections."},
	{LimitPromise, Warning, "So many people are let in as the host cannot hold: when they come, connections and logins fail by chance, and not for who is one too many.",
		"Promise less (limits: sessions or sessionsPerUser), or give the host more: memory, or LimitNOFILE= and MemoryMax= of the unit (systemctl edit UNIT)."},
}

// rowOf gives the row of a code; the tests see to it that there is one.
func rowOf(code Code) Row {
	for _, row := range Table {
		if row.Code == code {
			return row
		}
	}
	return Row{Code: code, Severity: Error}
}
