package session

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/oracle"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a.b.c", true},
		{"%", "a.b", false},
		{"%", "a", true},
		{"%", "", true},
		{"a", "a", true},
		{"a", "b", false},
		{"a.%", "a.b", true},
		{"a.%", "a.b.c", false},
		{"a.%", "a", false},
		{"a%", "a", true},
		{"*b", "a.b", true},
		{"*b*", "abc", true},
		{"%b%", "a.b", false},
		{"%.%", "a.b", true},
		{"%.%", "a.b.c", false},
		{"*%", "a.b", true},
		{"%*", "a.b", true},
		{"a*c%", "abc.d", false},
		{"a*c%", "abcd", true},
		{"INBOX", "INBOX", true},
		{"inbox", "INBOX", true},
		{"inb%", "INBOX", true},
		{"inbox.a", "INBOX.a", true},
		{"inbox.a", "INBOX.A", false},
		{"INBOX.*", "INBOX", false},
		{"Ü%", "Übung", true},
		{"", "a", false},
		{"", "", true},
	}
	for _, tt := range tests {
		if got := newPattern(tt.pattern).match(tt.name, foldOf(tt.name)); got != tt.want {
			t.Errorf("%q on %q: got %t", tt.pattern, tt.name, got)
		}
	}
}

// A pattern built to make matchers try everything costs no more than another.
func TestMatchTime(t *testing.T) {
	name := strings.Repeat("a", 250)
	took := processorTime(func() {
		for _, text := range []string{
			strings.Repeat("*%", 200),
			strings.Repeat("%a", 120) + "b",
			strings.Repeat("*a%", 100) + "b",
			strings.Repeat("a", 60000),
		} {
			p := newPattern(text)
			for range 20 {
				p.match(name, 0)
			}
		}
	})
	if took > 2*time.Second {
		t.Errorf("80 matches took %v of a processor", took)
	}
}

// The matcher against the standard library's.
func FuzzMatch(f *testing.F) {
	f.Add("a*%b", "a.b")
	f.Add("%.%*", "x.y.z")
	f.Fuzz(func(t *testing.T, text, name string) {
		oracle.Cost(t, len(text)*len(name), func() { newPattern(text).match(name, 0) }) // in proportion to both: TestMatchTime
		if len(text) > 50 || len(name) > 50 {
			return
		}
		expr := regexp.QuoteMeta(text)
		expr = strings.ReplaceAll(expr, `\*`, `[\x00-\x{10FFFF}]*`)
		expr = strings.ReplaceAll(expr, `%`, `[^.]*`)
		re, err := regexp.Compile(`\A(?s:` + expr + `)\z`)
		if err != nil || strings.ToValidUTF8(text+name, "") != text+name {
			return
		}
		if got, want := newPattern(text).match(name, 0), re.MatchString(name); got != want {
			t.Errorf("%q on %q: got %t, want %t", text, name, got, want)
		}
	})
}
