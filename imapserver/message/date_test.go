package message

import (
	"testing"
	"time"
)

func TestDate(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.FixedZone("CET", 3600) // of which nothing must be seen
	for _, c := range []struct{ value, want string }{
		{"Mon, 7 Feb 1994 21:52:25 -0800", "1994-02-07T21:52:25-08:00"},
		{"Mon, 7 Feb 1994 21:52:25 -0800 (PST (really))", "1994-02-07T21:52:25-08:00"},
		{"7 Feb 94 21:52 GMT", "1994-02-07T21:52:00Z"},
		{"Mon,\r\n 7 Feb 1994 21:52:25 +0100", "1994-02-07T21:52:25+01:00"},
		{"Monday, 07 February 1994 21:52:25", "1994-02-07T21:52:25Z"},
		{"Monday, 07 February 1994 21:52:25 +0100", "1994-02-07T21:52:25+01:00"},
		{"Mon, 7 Feb 1994 21:52:25 +9999", "1994-02-07T21:52:25Z"},
		{"Mon, 7 Feb 1994 21:52:25 Nowhere", "1994-02-07T21:52:25Z"},
		{"Mon, 7 Feb 1994 25:52:25 +0100", "1994-02-07T00:00:00Z"},
		{"Mon Feb  7 21:52:25 1994", "1994-02-07T21:52:25Z"},
		{"Mon Feb  7 21:52:25 CET 1994", "1994-02-07T21:52:25Z"},
		{"Tue, 1 Jul 2003 10:52:37 EST", "2003-07-01T10:52:37-05:00"},
		{"Tue, 1 Jul 2003 10:52:37 pdt(summer)", "2003-07-01T10:52:37-07:00"},
		{"Tue, 1 Jul 2003 10:52:37 -0330(NST)", "2003-07-01T10:52:37-03:30"},
		{"Tue, 1 Jul 2003 10:52:37 CET", "2003-07-01T10:52:37Z"},
		{"Tue, 1 Jul 2003 10:52:37 A", "2003-07-01T10:52:37Z"},
		{"Tue, 1 Jul 2003 10:52:37 UT", "2003-07-01T10:52:37Z"},
		{"Sat Mar 31 15:04:05 EST 2001", "2001-03-31T15:04:05-05:00"},
		{"7 Feb 60 21:52 GMT", "1960-02-07T21:52:00Z"},
		{"7-Feb-1994 some time", "1994-02-07T00:00:00Z"},
		{"Fri, 7 Feb 24 99:99", "2024-02-07T00:00:00Z"},
		{"Fri, 7 Feb 104 99:99", "2004-02-07T00:00:00Z"},
		{"31 Feb 1994", ""},
		{"Feb", ""},
		{"7 Feb", ""},
		{"1994-02-07", ""},
		{"", ""},
	} {
		date, ok := Parse([]byte("Date: " + c.value + "\r\n\r\n")).Date()
		have := ""
		if ok {
			have = date.Format(time.RFC3339)
		}
		if have != c.want {
			t.Errorf("%q: have %q, want %q", c.value, have, c.want)
		}
	}
	if _, ok := Parse([]byte("Subject: none\r\n\r\n")).Date(); ok {
		t.Error("a date without the field")
	}
}
