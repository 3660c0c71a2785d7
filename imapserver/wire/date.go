package wire

import (
	"strings"
	"time"
)

// The layouts of dates (RFC 9051 §9): date-text and date-time.
const (
	dateLayout     = "2-Jan-2006"
	dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"
)

// expectDate reads the date of a search key: midnight UTC of the day.
func (d *decoder) expectDate() time.Time {
	s, quoted := d.takeQuoted()
	if !quoted {
		s = d.expectAtom("date")
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil {
		d.fail("date expected, such as 1-Feb-2026")
	}
	return t
}

// takeDateTime takes the date of APPEND if one comes next.
func (d *decoder) takeDateTime() (t time.Time, ok bool) {
	s, ok := d.takeQuoted()
	if !ok {
		return t, false
	}
	t, err := time.Parse(dateTimeLayout, s)
	// Parse takes any number of spaces for one, and zones that have sixty minutes and a day.
	if err != nil || len(s) != len(dateTimeLayout) || strings.Count(s[1:], " ") != 2 || s[22:24] > "23" || s[24:] > "59" {
		d.fail(`date expected, such as " 1-Feb-2026 15:04:05 +0100"`)
		return time.Time{}, false
	}
	return t, true
}

// AppendDateTime adds t as date-time (RFC 9051 §9), quoted; of years that it does not have, the
// nearest moment of one that it has.
func AppendDateTime(dst []byte, t time.Time) []byte {
	switch {
	case t.Year() < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, t.Location())
	case t.Year() > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 0, t.Location())
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, dateTimeLayout)
	return append(dst, '"')
}
