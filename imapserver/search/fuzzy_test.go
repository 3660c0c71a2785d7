package search

import (
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

func TestFuzzy(t *testing.T) {
	fuzzy := func(k ...wire.SearchKey) wire.SearchKey { return keys(wire.SearchFuzzy, k...) }
	subject := func(s string) wire.SearchKey { return fuzzy(header("Subject", s)) }
	for _, c := range []struct { // the subject is: Re: Café and tea
		name string
		key  wire.SearchKey
		want int // 0: no match
	}{
		{"as it stands", subject("caf\u00e9 and"), 100},
		{"without the accent", subject("cafe"), 100},
		{"an accent too many", subject("t\u00e9a"), 0},
		{"another order", subject("tea, caf\u00e9"), 90},
		{"the beginning of a word", fuzzy(header("From", "example, jurgens")), 67},
		{"one beginning alone", fuzzy(header("From", "jurgensen")), 45},
		{"half of the words", subject("tea coffee"), 45},
		{"less than half", subject("tea milk sugar"), 0},
		{"no word", subject("coffee"), 0},
		{"no letters", subject("#!"), 0},
		{"the empty string", subject(""), 100},
		{"text", fuzzy(text(wire.SearchBody, "m\u00fcnchen in Amsterdam")), 60},
		{"no string", fuzzy(flag(imap.FlagSeen)), 100},
		{"no string, no match", fuzzy(flag(imap.FlagDeleted)), 0},
		{"mean of two", fuzzy(header("Subject", "caf\u00e9"), header("Subject", "tea coffee")), 72},
		{"one of two", keys(wire.SearchOr, subject("coffee"), subject("tea and")), 90},
		{"beside an exact key", keys(wire.SearchAnd, subject("tea coffee"), header("From", "org")), 45},
		{"exact outside", keys(wire.SearchAnd, subject("tea"), header("Subject", "tea coffee")), 0},
		{"not", keys(wire.SearchNot, subject("coffee")), 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Compile(c.key, Frame{})
			p.Rate()
			ok, err := p.Match(t.Context(), &now, &source{raw: letter})
			if err != nil || ok != (c.want > 0) {
				t.Fatalf("have %v, %v", ok, err)
			}
			if ok && p.Score() != c.want {
				t.Errorf("score %d, want %d", p.Score(), c.want)
			}
		})
	}
}

// TestFuzzyLong: of a long string those words count that come first, each once.
func TestFuzzyLong(t *testing.T) {
	const found = "zulu yankee xray whiskey victor uniform tango sierra"
	p := Compile(keys(wire.SearchFuzzy, header("Subject", "zulu zulu "+found+" q1 q2 q3 q4 q5 q6 q7 q8 a1 a2 a3 a4 a5 a6 a7 a8")), Frame{})
	p.Rate()
	if ok, err := p.Match(t.Context(), &now, &source{raw: "Subject: " + found + "\r\n\r\n"}); !ok || err != nil || p.Score() != 45 {
		t.Errorf("%v, %v, score %d", ok, err, p.Score())
	}
}
