package render

import "mailstead/schema"

// OutboxSocketUnit writes the unit of the socket at which users' mail is sent.
// Everybody may connect: what they get is sendmail under their own uid, as on
// any command line.
func OutboxSocketUnit(p schema.Paths) ([]byte, error) {
	u := newUnit()
	u.path("run", p.Run)
	u.section("Unit")
	u.set("Description", "Mailstead outbox")

	u.section("Socket")
	u.line("ListenStream", OutboxSocket(p))
	u.set("SocketMode", "0666")
	u.set("Accept", "yes")
	u.set("MaxConnections", 16)
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// OutboxService writes the unit that is started for each message. It has no
// sandbox: sendmail needs its privileges, and some mail servers deliver at once,
// in processes that stay when it has ended, and must not be killed.
func OutboxService(p schema.Paths, sendmail string) ([]byte, error) {
	u := newUnit()
	u.path("bin", p.Bin)
	u.path("sendmail", sendmail)
	u.section("Unit")
	u.set("Description", "Mailstead: send a message from an outbox")
	u.set("CollectMode", "inactive-or-failed")

	u.section("Service")
	u.exec("ExecStart", Program(p, "mailstead-imapd"), "outbox", "--sendmail", sendmail)
	u.set("StandardInput", "socket")
	u.set("StandardOutput", "journal")
	u.set("KillMode", "process")
	u.set("SendSIGKILL", "no")
	return u.bytes()
}
