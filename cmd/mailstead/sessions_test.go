package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/control"
)

func TestExplainSessions(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	all := []control.Connection{
		{ID: "5f3a90c1d2e4", User: "alice", Listener: "imaps", Address: "192.0.2.7", TLS: "TLS 1.3", Client: "Phone", Began: now.Add(-26 * time.Hour), Doing: &control.Activity{
			State: "selected", Mailbox: "INBOX", Command: "UID MOVE", Since: now.Add(-95 * time.Second), Waits: "the lock of the mailbox",
			Where: "store.(*View).unlink", Client: "Phone\x1b 2", Commands: 31, In: 2048, Out: 300, Enabled: []string{"QRESYNC", "CONDSTORE"}}},
		{ID: "00", User: "alice", Began: now.Add(-time.Minute)},
	}
	var b bytes.Buffer
	if err := explainSessions(&console{out: &b}, all, now); err != nil {
		t.Fatal(err)
	}
	want := `5f3a90c1d2e4: alice on imaps from 192.0.2.7, for 1d2h
  tls        TLS 1.3
  client     Phone\u001b 2
  mailbox    INBOX
  doing      UID MOVE, for 1m35s
  waits for  the lock of the mailbox
  in         store.(*View).unlink
  so far     31 commands, 2.0 KiB received, 300 B sent
  enabled    [CONDSTORE QRESYNC]

00: alice over the control socket, for 1m0s
  doing  unknown: its worker has not answered
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := writeSessions(&console{out: &b}, all, now); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(b.String(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], "5f3a90c1d2e4  alice  imaps     192.0.2.7  TLS 1.3  1d2h") {
		t.Error(b.String())
	}
}
