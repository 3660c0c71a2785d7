package bench

import (
	"strings"
	"testing"
)

// TestChecker has the checker find what a server may not say.
func TestChecker(t *testing.T) {
	for name, tt := range map[string]struct {
		lines []string // "COMMAND: response"
		want  string   // part of the error; "": there is none
	}{
		"in order":               {[]string{"SELECT: 2 EXISTS", "FETCH: 1 FETCH (UID 5 FLAGS ($c0))", "FETCH: 2 FETCH (UID 7 FLAGS ())", "NOOP: 1 EXPUNGE", "NOOP: 1 FETCH (UID 7)", "NOOP: 2 EXISTS"}, ""},
		"fewer messages":         {[]string{"SELECT: 2 EXISTS", "NOOP: 1 EXISTS"}, "EXISTS fell"},
		"expunge while numbered": {[]string{"SELECT: 2 EXISTS", "STORE 1: 1 EXPUNGE"}, "during STORE"},
		"expunge by UID":         {[]string{"SELECT: 2 EXISTS", "UID STORE 1: 1 EXPUNGE"}, ""},
		"expunge of nothing":     {[]string{"SELECT: 2 EXISTS", "NOOP: 3 EXPUNGE"}, "EXPUNGE of 3"},
		"fetch of nothing":       {[]string{"SELECT: 2 EXISTS", "NOOP: 3 FETCH (FLAGS ())"}, "FETCH of 3"},
		"UIDs that fall":         {[]string{"SELECT: 3 EXISTS", "FETCH: 1 FETCH (UID 5)", "FETCH: 3 FETCH (UID 4)"}, "after 5"},
		"another UID":            {[]string{"SELECT: 1 EXISTS", "FETCH: 1 FETCH (UID 5)", "FETCH: 1 FETCH (UID 6)"}, "was UID 5"},
		"a keyword gets lost":    {[]string{"SELECT: 1 EXISTS", "FETCH: 1 FETCH (UID 5 FLAGS ($c0))", "NOOP: 1 FETCH (FLAGS (\\Seen))"}, "it should be true"},
		"another message":        {[]string{"SELECT: 1 EXISTS", "FETCH: 1 FETCH (UID 5 BODY[X] {9}\r\nMessage-ID: <a>\r\n)", "FETCH: 1 FETCH (UID 5 BODY[X] {9}\r\nMessage-ID: <b>\r\n)"}, "was message <a>"},
		"found too much":         {[]string{"SELECT: 1 EXISTS", "FETCH: 1 FETCH (UID 5 FLAGS ())", "SEARCH KEYWORD $c0: SEARCH 1"}, "found true"},
		"not found":              {[]string{"SELECT: 1 EXISTS", "FETCH: 1 FETCH (UID 5 FLAGS ($c0))", "SEARCH KEYWORD $c0: SEARCH"}, "found false"},
		"found what is not":      {[]string{"SELECT: 1 EXISTS", "SEARCH ALL: SEARCH 2"}, "found \"2\""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox("INBOX")
			b.start = 100
			v := &view{box: b, keyword: "$c0", has: map[uint32]bool{}}
			var err error
			for _, line := range tt.lines {
				if err != nil {
					t.Fatalf("before its time: %v", err)
				}
				command, response, _ := strings.Cut(line, ": ")
				err = v.take(command, []byte("* "+response))
			}
			if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, not %q", err, tt.want)
			}
		})
	}
}

// TestCheckerAtTheEnd has it find what is missing, and what has come back.
func TestCheckerAtTheEnd(t *testing.T) {
	b := newBox("INBOX")
	for uid := uint32(1); uid <= 5; uid++ {
		if err := b.added(uid, uid-1, ""); err != nil {
			t.Fatal(err)
		}
	}
	b.doom([]uint32{2, 3})
	b.removed(2)
	b.removed(3)
	if list := b.faults([]uint32{1, 4, 5}); len(list) > 0 {
		t.Error(list)
	}
	if list := b.faults([]uint32{1, 3, 4, 5}); len(list) != 1 || !strings.Contains(list[0].Error(), "UID 3 is there") {
		t.Error("came back:", list)
	}
	if list := b.faults([]uint32{1, 5}); len(list) != 1 || !strings.Contains(list[0].Error(), "UID 4 was acknowledged") {
		t.Error("lost:", list)
	}
	b.removed(5)
	if list := b.faults([]uint32{1, 4}); len(list) != 2 {
		t.Error("removed by nobody:", list)
	}
	if err := b.added(6, 6, ""); err == nil {
		t.Error("a UID that does not rise")
	}
	if err := b.added(5, 0, ""); err == nil {
		t.Error("a UID twice")
	}
}
