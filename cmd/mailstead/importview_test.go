package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTransferProgress: on a terminal it says how far it is, how fast and how much time
// is left, and why it waits.
func TestTransferProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newTransferProgress(&console{err: &out, progress: true})
		p.Total(100, 4<<20)
		p.Mailbox("INBOX", "Old")
		time.Sleep(5 * time.Second)
		p.Brought(20, 1<<20)
		if got, want := out.String(), "\r\x1b[KINBOX: 20 of 100 messages, 1.0 MiB of 4.0 MiB, 4/s, 20s left"; !strings.HasSuffix(got, want) {
			t.Errorf("%q, not %q", got, want)
		}
		out.Reset()
		p.Wait(2*time.Second, errors.New("slow\x1b[2J down"))
		if got := out.String(); !strings.HasPrefix(got, "\r\x1b[KThe source is asked again in 2s: ") || strings.Contains(got, "\x1b[2J") {
			t.Errorf("%q", got)
		}
		out.Reset()
		quiet := newTransferProgress(&console{err: &out})
		quiet.Mailbox("INBOX", "Old")
		if quiet.Brought(1, 1); out.Len() > 0 {
			t.Errorf("without a terminal: %q", out.String())
		}
	})
}

// TestImportedJSON: what has brought nothing lists nothing.
func TestImportedJSON(t *testing.T) {
	var out bytes.Buffer
	if err := writeImported(&console{out: &out}, &importJob{Output: outputJSON}, nil, true); err != nil || !strings.Contains(out.String(), `"mailboxes": []`) {
		t.Errorf("%v\n%s", err, out.String())
	}
}
