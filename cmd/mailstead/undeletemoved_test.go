package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
	for moved, want := range map[bool]string{false: "Trash.Work_2>Work[] Trash>INBOX[7]", true: "Old.Box>INBOX[1] Older>INBOX[3] Plans>Plan[] Trash.Work_2>Work[] Trash>INBOX[7]"} {
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
