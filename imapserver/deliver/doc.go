// Package deliver puts mail into Maildirs: it is what mailstead-deliver is made
// of. Deliver does it for one message, by files alone, so that mail arrives
// whether the daemon runs or not; sessions that are open see it as they see what
// any other program delivers, by the directory and by maildirsize. Whose mail is
// where stands in tables that apply writes (Tables), or auth says it.
//
// cmd/mailstead-deliver and package lmtp call it. It must not import the store: a
// delivery opens no index.
package deliver
