package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/control"
	"mailstead/reconcile/transfer"
)

// TestMoves: what was moved to a mailbox that is gone since, or by undelete itself, is
// not moved back, nor what somebody else has or what was moved too long ago.
func TestMoves(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	days := map[string]string{}
	for _, l := range []struct {
		ago  time.Duration
		rest string
	}{
		{30 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":1,"to":"Trash","to_uid":1`},
		{9 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":2,"to":"Old.Box","to_uid":2`},
		{8 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":3,"to":"Older","to_uid":3`},
		{7 * time.Hour, `"user":"anna","mailbox":"Old","command":"DELETE"`},
		{6 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":4,"to":"Old.Box","to_uid":1`},
		{5 * time.Hour, `"user":"anna","mailbox":"Trash","uid":5,"to":"INBOX","to_uid":5,"client":"mailstead undelete"`},
		{4 * time.Hour, `"user":"bob","mailbox":"INBOX","uid":6,"to":"Trash","to_uid":6`},
		{3 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":7,"to":"Trash","to_uid":7`},
		{170 * time.Minute, `"user":"anna","mailbox":"INBOX","uid":9,"to":"Here","to_uid":9`},
		{160 * time.Minute, `"user":"anna","mailbox":"Here","uid":9,"to":"There","to_uid":3`},
		{150 * time.Minute, `"user":"anna","mailbox":"There","uid":3,"to":"Trash","to_uid":8`},
		{140 * time.Minute, `"user":"anna","mailbox":"INBOX","uid":10,"to":"There","to_uid":4`},
		{130 * time.Minute, `"user":"anna","mailbox":"There","uid":4,"to":"INBOX","to_uid":11`},
		{128 * time.Minute, `"user":"anna","mailbox":"INBOX","uid":12,"to":"Gone","to_uid":7`},
		{126 * time.Minute, `"user":"anna","mailbox":"Gone","command":"DELETE"`},
		{124 * time.Minute, `"user":"anna","mailbox":"Gone","uid":7,"to":"Trash","to_uid":20`},
		{2 * time.Hour, `"user":"anna","mailbox":"INBOX","uid":8,"command":"EXPUNGE"`},
		{90 * time.Minute, `"user":"anna","mailbox":"Work","command":"RENAME","to":"Trash.Work"`},
		{80 * time.Minute, `"user":"anna","mailbox":"Trash.Work","command":"RENAME","to":"Trash.Work_2"`},
		{70 * time.Minute, `"user":"anna","mailbox":"Plan","command":"RENAME","to":"Plans"`},
		{60 * time.Minute, `"user":"anna","mailbox":"Home","command":"RENAME","to":"Trash.Home"`},
		{50 * time.Minute, `"user":"anna","mailbox":"Trash.Home","command":"RENAME","to":"Home"`},
	} {
		at := now.Add(-l.ago)
		days[at.Format(time.DateOnly)] += fmt.Sprintf("{\"at\":%q,%s}\n", at.Format(time.RFC3339), l.rest)
	}
	for day, text := range days {
		if err := os.WriteFile(filepath.Join(dir, day+".ndjson"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var o undeleteOptions
	o.user = "anna"
	for moved, want := range map[bool]string{false: "Trash.Work_2>Work[] Trash>Gone[20] Trash>INBOX[7] Trash>There[8]", true: "Here>INBOX[9] Old.Box>INBOX[1] Older>INBOX[3] Plans>Plan[] There>INBOX[3 4] Trash.Work_2>Work[] Trash>Gone[20] Trash>INBOX[7 8]"} {
		o.moved = moved
		all, err := o.moves(dir, now.Add(-24*time.Hour), []string{"Trash"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range all {
			got = append(got, fmt.Sprintf("%s>%s%v", m.From, m.To, m.uids))
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("moved %v: %q, not %q", moved, got, want)
		}
	}
}

// TestMoveOfAnother: what the record says of a mailbox is of its UIDVALIDITY; another
// one that has its name and its UIDs keeps its messages.
func TestMoveOfAnother(t *testing.T) {
	for validity, want := range map[uint32]int{0: 1, 7: 1, 8: 0} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			fmt.Fprint(theirs, "* PREAUTH\r\n")
			for r := bufio.NewScanner(theirs); r.Scan(); {
				tag, command, _ := strings.Cut(r.Text(), " ")
				switch verb, _, _ := strings.Cut(command, " "); {
				case verb == "SELECT":
					fmt.Fprint(theirs, "* OK [UIDVALIDITY 7] so far\r\n")
				case strings.Contains(command, "SEARCH"):
					fmt.Fprintf(theirs, "* ESEARCH (TAG %q) UID COUNT 1\r\n", tag)
				}
				fmt.Fprintf(theirs, "%s OK\r\n", tag)
			}
		}()
		s, err := transfer.Begin(t.Context(), ours)
		if err != nil {
			t.Fatal(err)
		}
		m := moved{From: "Trash", To: "INBOX", validity: validity, uids: []imap.UID{3}}
		if err := m.move(s, false); err != nil || m.Messages != want {
			t.Errorf("UIDVALIDITY %d: %d messages, %v", validity, m.Messages, err)
		}
		s.Close()
	}
}

// TestRecordWithZeros: what a power cut has left in place of lines hides no other.
func TestRecordWithZeros(t *testing.T) {
	dir := t.TempDir()
	line := `{"user":"anna","mailbox":"INBOX","uid":1}` + "\n"
	text := line + strings.Repeat("\x00", 2*maxRemovalLine) + "\n" + line
	if err := os.WriteFile(filepath.Join(dir, "2026-03-02.ndjson"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found, _, err := searchRemovals(dir, time.Time{}, func(*control.Removal) bool { return true })
	if err != nil || len(found) != 2 {
		t.Errorf("%d removals, %v", len(found), err)
	}
}
