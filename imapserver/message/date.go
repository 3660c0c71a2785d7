package message

import (
	"strings"
	"time"
)

// Date is the time that the Date field gives, in the field's own zone. ok is
// false where there is no field or it names no day. Where only the day can be
// read, the time is midnight UTC; where the zone cannot, the time is UTC
// (RFC 5256 §2.2).
func (m *Message) Date() (t time.Time, ok bool) {
	value, ok := firstField(m.fields(m.root), "Date")
	if !ok || len(value) > maxDate {
		return time.Time{}, false
	}
	s := string(unfold(value))
	if t, ok := parseDay(s); ok {
		return addClock(t, s), true
	}
	return time.Time{}, false
}

// addClock adds to a day the first word of a date that is a time of day, and the
// zone if it is the next word.
func addClock(day time.Time, s string) time.Time {
	words := strings.Fields(s)
	for i, w := range words {
		clock, err := time.Parse("15:04:05", w)
		if err != nil {
			clock, err = time.Parse("15:04", w)
		}
		if err != nil {
			continue
		}
		zone := time.UTC
		if i+1 < len(words) {
			zone = zoneOf(words[i+1])
		}
		return time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, zone)
	}
	return day
}

// zones has what RFC 5322 §4.3 says of names of zones, in hours. All others are UTC, wherever
// the host is.
var zones = map[string]int{"EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8}

func zoneOf(word string) *time.Location {
	if z, err := time.Parse("-0700", word[:min(len(word), 5)]); err == nil {
		_, offset := z.Zone()
		return time.FixedZone("", offset)
	}
	name, _, _ := strings.Cut(word, "(")
	return time.FixedZone("", zones[strings.ToUpper(name)]*60*60)
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// parseDay finds the day in a date, which need not be as RFC 5322 has it: "2 Jan 2006"
// with anything around it, or "Jan 2 15:04:05 2006" as asctime has it.
func parseDay(s string) (time.Time, bool) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '-' })
	for i, w := range words {
		month := monthOf(w)
		if month == 0 {
			continue
		}
		if i > 0 && i+1 < len(words) {
			if t, ok := makeDay(words[i-1], month, words[i+1]); ok {
				return t, true
			}
		}
		for j := i + 2; j < len(words); j++ {
			if len(words[j]) != 4 {
				continue
			}
			if t, ok := makeDay(words[i+1], month, words[j]); ok {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

func monthOf(word string) time.Month {
	if len(word) >= 3 {
		for i, name := range months {
			if strings.EqualFold(word[:3], name) {
				return time.Month(i + 1)
			}
		}
	}
	return 0
}

// makeDay puts a day together. Years of two and three digits are those of
// RFC 5322 §4.3.
func makeDay(day string, month time.Month, year string) (time.Time, bool) {
	d, ok := smallNumber(day)
	if !ok || d < 1 || d > 31 {
		return time.Time{}, false
	}
	y, ok := smallNumber(year)
	switch {
	case !ok || len(year) < 2:
		return time.Time{}, false
	case len(year) == 2 && y < 50:
		y += 2000
	case len(year) <= 3:
		y += 1900
	}
	t := time.Date(y, month, d, 0, 0, 0, 0, time.UTC)
	return t, t.Day() == d
}

func smallNumber(s string) (n int, ok bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
