// Package imapserver wires the roles of the daemon together. They are packages
// that meet only through handoff:
//
//	client --TCP--> login    accept, TLS, greeting, STARTTLS, SASL
//	                  |  credentials        |  octets without TLS, over a socket pair
//	                auth     who is it?   spawn    a worker process of that uid
//	                                        |
//	                                      worker   session (wire, search, message) on store (maildir)
//
// They run in one of two ways, as the configuration says:
//
//   - inline (Inline): all in one process, where all mail has one uid.
//   - process (Supervisor): the supervisor is root. It reads configuration,
//     users and certificates, owns the control socket, starts mailstead-pam,
//     and spawns. login and auth are the front, a process of the service user
//     that opens no file: what it needs comes in handoff messages. A worker is
//     a process of the uid that owns the mail.
//
// Run is what `mailstead-imapd serve` does with either: listeners, control
// socket, readiness, watchdog, reload and stop.
//
// cmd/mailstead-imapd calls this package; dialogue and `mailstead up` run it too.
// It must not import schema, render or reconcile.
package imapserver
