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
//   - process: each role has a unit of systemd's. Auth (Run) is the service user's:
//     it reads configuration, users and certificates, and owns the control socket. A
//     login (RunLogin), one for each listener, opens no file: what it needs comes in
//     handoff messages. Spawn (RunSpawn) alone may become others, and starts a worker
//     (RunWorker) of the uid that auth names. systemd starts mailstead-pam.
//
// Run is what `mailstead-imapd serve` does with either: control socket, readiness,
// watchdog, reload and stop, and inline the listeners.
//
// cmd/mailstead-imapd calls this package; dialogue and `mailstead up` run it too.
// It must not import schema, render or reconcile.
package imapserver
