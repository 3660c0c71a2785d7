// Package login is a connection before it is authenticated, and its TLS for as
// long as it lives: it accepts, greets, does STARTTLS and SASL, has auth check
// the credentials, and hands the octets without TLS to a worker through a
// socket pair, between which and the client it then copies; where sessions are
// in its own process, it lends them the connection (handoff.Host). It reads no file
// and knows no mailbox: certificates come in memory, users are auth's.
//
// The root package calls it. It imports config, handoff, sasl and wire, and
// must never import store or session.
package login
