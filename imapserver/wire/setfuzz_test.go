package wire

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/oracle"
)

// readSet reads a sequence set as the grammar has it, one number after the other:
// the slow way, for numbers up to most. ok is whether it is one.
func readSet(s string, most uint64) (has map[uint64]bool, ok bool) {
	has = map[uint64]bool{}
	number := func(s string) uint64 {
		if s == "*" {
			return most + 1
		}
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || s[0] == '0' || s[0] == '+' {
			return 0
		}
		return n
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, ":")
		from := number(first)
		to := from
		if ranged {
			to = number(last)
		}
		if from == 0 || to == 0 {
			return nil, false
		}
		star := first == "*" || last == "*"
		for n := min(from, to); n <= min(max(from, to), most); n++ {
			has[n] = true
		}
		if star {
			has[most+1] = true
		}
	}
	return has, true
}

// FuzzNumSet reads a set by the grammar and by ours: they agree on what it is and
// what is in it, and what is written of it is read as the same.
func FuzzNumSet(f *testing.F) {
	for _, s := range []string{"1", "5:3", "9,1:2,3,4:8", "*", "*:4", "4:*,*,9:*,7", "1,*", "4294967295", "01", "1:2:3", "2,2,2:2", "1,3,5:7,6:9"} {
		f.Add(s)
	}
	const most = 40
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, " \r\n{\"$%()") || len(s) > 4000 {
			return
		}
		read := func(s string) (string, bool) {
			req, err := newClient("a UID EXPUNGE "+s+"\r\n", &PostAuth).ReadCommand(Selected)
			if err != nil {
				return "", false
			}
			return req.Command.(*Expunge).UIDs.String(), true
		}
		var ours string
		var ok bool
		oracle.Cost(t, len(s), func() { ours, ok = read(s) })
		want, valid := readSet(s, most)
		if ok != valid {
			t.Fatalf("%q: ours says %t, the grammar %t", s, ok, valid)
		}
		if !ok {
			return
		}
		have, valid := readSet(ours, most)
		if !valid || len(have) != len(want) {
			t.Fatalf("%q became %q", s, ours)
		}
		for n := range want {
			if !have[n] {
				t.Fatalf("%q became %q, without %d", s, ours, n)
			}
		}
		if again, ok := read(ours); !ok || again != ours {
			t.Fatalf("%q became %q, and that %q", s, ours, again)
		}
	})
}

// FuzzDate: what is taken for a date is written as it was read, or as the calendar
// has it; numbers are what strconv says.
func FuzzDate(f *testing.F) {
	for _, s := range []string{" 1-Feb-2026 03:04:05 +0100", "31-Dec-9999 23:59:59 -2359", "29-Feb-2026 00:00:00 +0000", "1-feb-2026 00:00:00 +0000", "1-Feb-2026", "4294967296", "18446744073709551616", "007", "01-FeB-0000 00:00:00 +0000", "0 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n{\"\\%()") || len(s) > 1000 {
			return
		}
		var date, day, number error
		var got time.Time
		var size int64
		oracle.Cost(t, len(s), func() {
			var req Request
			if req, date = newClient("a APPEND x \""+s+"\" {1+}\r\nx\r\n", &PostAuth).ReadCommand(Selected); date == nil {
				got = req.Command.(*Append).First.Date
			}
			_, day = newClient("a SEARCH SINCE \""+s+"\"\r\n", &PostAuth).ReadCommand(Selected)
			if req, number = newClient("a SEARCH LARGER "+s+"\r\n", &PostAuth).ReadCommand(Selected); number == nil {
				size = req.Command.(*Search).Key.Size
			}
		})
		if n, err := strconv.ParseUint(s, 10, 64); number == nil && !strings.Contains(s, " ") && (err != nil || n > math.MaxInt64 || int64(n) != size) {
			t.Errorf("%q is taken for the number %d", s, size)
		}
		if date == nil && !got.IsZero() {
			again := strings.Trim(string(AppendDateTime(nil, got)), `"`)
			if day, ok := strings.CutPrefix(s, "0"); ok {
				s = " " + day // date-day-fixed is either
			}
			if rest, ok := strings.CutSuffix(s, " -0000"); ok {
				s = rest + " +0000" // which is the same instant
			}
			if !strings.EqualFold(again, s) {
				t.Errorf("%q is taken for the date %q", s, again)
			}
		}
		if d, err := time.Parse("2-Jan-2006", s); day == nil && err != nil {
			t.Errorf("%q is taken for the day %v", s, d)
		}
	})
}
