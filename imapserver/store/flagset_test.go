package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// A client that goes through flags and keywords leaves nothing of them in memory but what
// messages have, and these keep what they have.
func TestFlagsetsForgotten(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	a.SetRelaxed(true)
	appendMessage(t, a, "INBOX", mail1)
	appendMessage(t, a, "INBOX", mail2, imap.FlagSeen, "stays")
	v := selectBox(t, a, "INBOX", false)
	for i := range 3 * fewSets {
		var flags []imap.Flag
		for bit := range 12 {
			if i&(1<<bit) != 0 {
				flags = append(flags, imap.Flag(fmt.Sprint("k", bit)))
			}
		}
		if err := v.Store(t.Context(), []SeqNum{1}, StoreSet, flags); err != nil {
			t.Fatal(err)
		}
		if poll(t, v); len(v.At(1).Flags) != len(flags) {
			t.Fatalf("%d: %q instead of %q", i, v.At(1).Flags, flags)
		}
	}
	if n := len(v.mb.sets.sets); n > fewSets+1 {
		t.Errorf("%d are kept", n)
	}
	if got := v.At(2).Flags; !slices.Equal(got, []imap.Flag{imap.FlagSeen, "stays"}) {
		t.Errorf("the other message has %q", got)
	}
	before := v.At(2).ModSeq
	if err := v.Store(t.Context(), []SeqNum{2}, StoreAdd, []imap.Flag{"stays"}); err != nil {
		t.Fatal(err)
	}
	if poll(t, v); v.At(2).ModSeq != before {
		t.Error("what a message has already is a change")
	}
}
